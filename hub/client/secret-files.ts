/**
 * Which files of an input look like secrets (fault C19), by their name or by how they begin. A look and no proof: it is there for what is sent
 * by mistake, and a secret in a file of any other name is not found.
 */

/** Names that hold secrets as a rule, in lower case; each is the whole last part of a path. */
const NAMES: readonly RegExp[] = [
  /^\.env$|^\.envrc$|\.env$/,
  /^\.env\.(?!(example|sample|template|dist|defaults|schema)$)/,
  /^id_(rsa|dsa|ecdsa|ed25519)(_sk)?$/,
  /\.(key|p12|pfx|jks|keystore|kdbx|ppk|tfstate)$/,
  /^[._]netrc$|^\.pgpass$|^\.my\.cnf$|^\.pypirc$|^\.git-credentials$|^\.htpasswd$|^\.dockercfg$|^\.vault-token$/,
  /^kubeconfig$|^credentials(\.json)?$|^client_secrets?.*\.json$|^service[-_]account.*\.json$/,
  /^secrets?\.(ya?ml|json|toml|ini)$/,
]
/** Files that hold a secret under a name that says nothing. */
const PLACES: readonly RegExp[] = [/(^|\/)\.docker\/config\.json$/, /(^|\/)\.kube\/config$/, /(^|\/)\.gnupg\//]
const PRIVATE_KEY = /-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----/
/** How far into a file a key is looked for. */
const START_BYTES = 4096

/**
 * Why this file looks like a secret, or undefined. `start` is its first bytes; a source that merely speaks of keys has none at its beginning.
 * The public half of a pair is none.
 */
export function secretLook(path: string, start: Uint8Array): string | undefined {
  const lower = path.toLowerCase()
  const name = lower.slice(lower.lastIndexOf('/') + 1)
  if (NAMES.some((each) => each.test(name)) || PLACES.some((each) => each.test(lower))) return 'by its name'
  const text = Buffer.from(start.subarray(0, START_BYTES)).toString('latin1')
  const found = PRIVATE_KEY.exec(text)
  // Certificates and keys stand in one file as often as not, with lines of words before them.
  if (found !== null && (/\.(pem|crt|cer)$/.test(name) || text.slice(0, found.index).trim() === ''))
    return 'it holds a private key'
  if (name === '.npmrc' && /_(authtoken|password|auth)\s*=/i.test(text)) return 'it holds a token'
  return undefined
}
