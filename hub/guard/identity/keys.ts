/** The hub's keys on disk: made once by `hub init`, read at start. Wider modes stop the start; no keys means no start (T35). */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { digestOf } from '../../base/canonical.ts'
import { HubError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'

export interface SigningKey {
  /** First 16 hex characters of the digest of the public key. */
  kid: string
  privateKey: KeyObject
  publicKey: KeyObject
}

/** Those read once at start; the token keys have a ring of their own (key-ring.ts). */
export interface HubKeys {
  checkpoint: SigningKey
  /** 32 bytes shared with the watchdog. */
  watchdog: Buffer
}

export const pem = (key: KeyObject): string =>
  key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }) as string

export const kidOf = (publicKey: KeyObject): string => digestOf('hub-key-v1', pem(publicKey)).slice(0, 16)

/** Writes the keys that are missing into `folder`; keys that exist are left as they are. */
export function createKeyFiles(folder: string, random: Random): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  for (const name of ['token', 'checkpoint']) {
    const path = join(folder, `${name}.key`)
    if (existsSync(path)) continue
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    writeFileSync(path, pem(privateKey), { mode: 0o600, flag: 'wx' })
    writeFileSync(join(folder, `${name}.pub`), pem(publicKey), { mode: 0o600 })
  }
  const shared = join(folder, 'watchdog.key')
  if (!existsSync(shared)) writeFileSync(shared, `${random.bytes(32).toString('hex')}\n`, { mode: 0o600, flag: 'wx' })
}

/** Reads all keys. Throws `config_invalid` naming the file that is missing, unreadable or too widely readable, and the mending command. */
export function readKeys(folder: string): HubKeys {
  requireMode(folder, 0o077)
  const watchdog = readPrivate(join(folder, 'watchdog.key')).trim()
  if (!/^[0-9a-f]{64}$/.test(watchdog))
    throw new HubError('config_invalid', `${join(folder, 'watchdog.key')} is not 64 hex characters`)
  return {
    checkpoint: readSigningKey(join(folder, 'checkpoint.key')),
    watchdog: Buffer.from(watchdog, 'hex'),
  }
}

/** Throws `config_invalid` naming the file that is missing, open to others or no Ed25519 key. */
export function readSigningKey(path: string): SigningKey {
  const text = readPrivate(path)
  try {
    const privateKey = createPrivateKey(text)
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error(`it is ${privateKey.asymmetricKeyType}`)
    const publicKey = createPublicKey(privateKey)
    return { kid: kidOf(publicKey), privateKey, publicKey }
  } catch (thrown) {
    throw new HubError('config_invalid', `${path} is not an Ed25519 key: ${(thrown as Error).message}`, {
      cause: thrown,
    })
  }
}

function readPrivate(path: string): string {
  requireMode(path, 0o077)
  return readFileSync(path, 'utf8')
}

function requireMode(path: string, forbidden: number): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) throw new HubError('config_invalid', `${path} is missing; run \`hub init\``)
  if ((found.mode & forbidden) !== 0)
    throw new HubError('config_invalid', `${path} is open to others; run: chmod go-rwx ${path}`)
}
