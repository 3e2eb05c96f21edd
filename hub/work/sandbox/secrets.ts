/**
 * The operator's secrets, given to agents by name (S0-24, S1-53, docs/sandbox.md 3). Owns the folder `secrets` of the home.
 *
 * 1. A value leaves only for a grant of exactly its name. It is read when it is asked for. Only what masks it everywhere (base/redaction.ts)
 *     keeps it beside that: no cache, no log, no error.
 * 2. A file counts only if nobody else could have read it: a plain file of ours, 0600 or less, in a folder of ours, 0700 or less. Links are
 *     not followed.
 * 3. A file wins over the environment. If the file is refused, the environment does not replace it.
 * 4. The values that are there are made known to that one when the hub starts and whenever a file changes (`learn`), and each when it is read.
 * 5. What an agent is told of a refusal names no path of this machine.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import { HubError } from '../../base/errors.ts'
import { scrub } from '../../base/random.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'

export const SECRET_BYTES_MAX = 64 * 1024
/** As many files as are looked at; more secrets than that are masked once they are read. */
const FILES_MAX = 1000
export const SECRET_PREFIX = 'HUB_SECRET_'

/** The name of a secret in the environment: `api-key` is `HUB_SECRET_API_KEY`. */
export const variableOf = (name: string): string => `${SECRET_PREFIX}${name.toUpperCase().replaceAll('-', '_')}`

/** One word of a shell, whatever is in it. */
const asWord = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)

/** What the operator runs to set a secret of this folder; its value is no word of a command. */
export const setWords = (folder: string, name: string): string =>
  `(umask 077; mkdir -p ${asWord(folder)}; cat > ${asWord(join(folder, name))}) and paste it, Ctrl-D at its end`

/** Why a secret cannot be given out, and the command that fixes it (it names paths: for the operator). */
export interface SecretFault {
  why: string
  mend: string
}

export interface Secrets {
  /** A copy of the value, for the caller to scrub. Throws `config_invalid` with the name of a secret that is missing or refused. */
  get(grant: Grant, name: string): Buffer
  /** The same for the hub's own use, such as an alert channel that the configuration gives this name. No agent sees it. */
  ofHub(name: string): Buffer
  /** Undefined if the secret can be given out. Reads no value. */
  faultOf(name: string): SecretFault | undefined
  /**
   * Makes known every value that is there and was not known yet. Answers the names of those that cannot be masked, because they are too
   * short or too common; each once. Never throws.
   */
  learn(): string[]
  /** Overwrites what came from the environment. Those secrets are gone from then on. */
  scrub(): void
}

type Found = { fd: number; size: number } | { value: Buffer } | { fault: SecretFault }

export function createSecrets(options: {
  folder: string
  uid: number
  fromEnvironment: ReadonlyMap<string, Buffer>
  /** Hears each value; false if it cannot be masked. */
  know?: (name: string, value: Buffer) => boolean
}): Secrets {
  const { folder, uid, know = () => true } = options
  const environment = new Map(options.fromEnvironment)
  const learnt = new Map<string, string>()

  function folderFault(): SecretFault | undefined {
    const found = lstatSync(folder, { throwIfNoEntry: false })
    const fault = found && faultOfEntry(found, 'a folder', found.isDirectory(), 0o077, uid)
    if (fault === undefined) return undefined
    return { why: `cannot be read: the folder secrets ${fault}`, mend: `chmod 700 ${folder}` }
  }

  function look(name: string): Found {
    const path = join(folder, name)
    const put = setWords(folder, name)
    const fault = folderFault()
    if (fault !== undefined) return { fault }
    let fd: number
    try {
      // Not blocking: a pipe in its place must not hold up the hub.
      fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException
      if (code !== 'ENOENT') return { fault: { why: `cannot be opened: ${code ?? 'unknown'}`, mend: put } }
      const value = environment.get(name)
      if (value !== undefined) return sized(value.length, { value }, put)
      const why = `is missing: the operator puts it into secrets/${name} of the hub's home, or starts the hub with ${variableOf(name)}`
      return { fault: { why, mend: put } }
    }
    const found = fstatSync(fd)
    const refused = faultOfEntry(found, 'a plain file', found.isFile(), 0o177, uid)
    const judged =
      refused === undefined
        ? sized(found.size, { fd, size: found.size }, put)
        : { fault: { why: `is refused: its file ${refused}`, mend: `chmod 600 ${path}` } }
    if ('fault' in judged) closeSync(fd)
    return judged
  }

  function read(name: string): Buffer {
    const found = look(name)
    if ('fault' in found) throw new HubError('config_invalid', `the secret ${name} ${found.fault.why}`)
    if ('value' in found) {
      know(name, found.value)
      return Buffer.from(found.value)
    }
    try {
      const value = Buffer.alloc(found.size)
      if (readSync(found.fd, value) !== found.size)
        throw new HubError('conflict', `the secret ${name} changed while it was read`)
      know(name, value)
      return value
    } finally {
      closeSync(found.fd)
    }
  }

  /** By name, what shows that a value has changed. */
  function marks(): Map<string, string> {
    const all = new Map([...environment.keys()].map((name) => [name, '']))
    if (folderFault() !== undefined) return all
    try {
      for (const name of readdirSync(folder, { encoding: 'utf8' }).slice(0, FILES_MAX)) {
        const found = lstatSync(join(folder, name), { throwIfNoEntry: false })
        if (found?.isFile()) all.set(name, `${found.ino} ${found.size} ${found.mtimeMs} ${found.ctimeMs}`)
      }
    } catch {
      // No such folder, or not one that can be read now: nothing is given out of it either.
    }
    return all
  }

  return {
    get(grant, name) {
      assertGrant(grant, 'secret.get')
      if (grant.resource !== `secret:${name}`)
        throw new HubError('internal', '', { reason: `a grant for ${grant.resource} was used for the secret ${name}` })
      return read(name)
    },
    ofHub: read,
    faultOf(name) {
      const found = look(name)
      if ('fault' in found) return found.fault
      if ('fd' in found) closeSync(found.fd)
      return undefined
    },
    learn() {
      const weak: string[] = []
      for (const [name, mark] of marks()) {
        if (learnt.get(name) === mark) continue
        learnt.set(name, mark)
        try {
          const value = read(name)
          if (!know(name, value)) weak.push(name)
          scrub(value)
        } catch {
          // Not readable now, so it is not given out either; looked at again when it changes.
        }
      }
      return weak
    },
    scrub() {
      for (const value of environment.values()) scrub(value)
      environment.clear()
    },
  }
}

function sized(bytes: number, found: Found, mend: string): Found {
  if (bytes === 0) return { fault: { why: 'is empty', mend } }
  if (bytes > SECRET_BYTES_MAX)
    return { fault: { why: `holds ${bytes} bytes; a secret holds at most ${SECRET_BYTES_MAX}`, mend } }
  return found
}

function faultOfEntry(found: Stats, kind: string, isKind: boolean, forbidden: number, uid: number): string | undefined {
  if (!isKind) return `is not ${kind}`
  if (found.uid !== uid) return `belongs to user ${found.uid}, not to the hub's`
  if ((found.mode & forbidden) !== 0) return `has mode ${(found.mode & 0o777).toString(8)} and is open to others`
  return undefined
}
