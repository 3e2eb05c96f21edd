/**
 * Judges whether a hub can start on a home, before anything in it is opened (fault G5, fault G9). A fault is one line that says what to do.
 *
 * If something is missing although a hub has run here, it was lost, and nothing empty takes its place (T81).
 */
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { diskWords } from '../base/disk-words.ts'
import { HubError } from '../base/errors.ts'
import { keepPublicFile, pem, readSigningKey } from '../guard/identity/keys.ts'

const INSTANCE = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const FOLDERS = [
  'keys',
  'policy',
  'agents',
  'run',
  'logs',
  'artifacts',
  'transcripts',
  'evidence',
  'secrets',
  'watchdog',
]

const refused = (text: string): HubError => new HubError('config_invalid', text)

/** What shows that a hub has run on this home; undefined if none has, and then nothing in it can be lost. */
export function signOfUse(home: string): string | undefined {
  const holds = (name: string) => {
    try {
      return readdirSync(join(home, name)).length > 0
    } catch {
      return false
    }
  }
  return (
    ['hub.db', 'hub.db-wal', 'ledger.json'].find((name) => existsSync(join(home, name))) ??
    ['artifacts', 'evidence', 'backups'].find(holds)
  )
}

/** Never an empty database in the place of one that was lost (T81, fault G5). Throws `config_invalid`. */
export function requireDatabase(home: string, used = signOfUse(home)): void {
  const path = join(home, 'hub.db')
  if (existsSync(path) || used === undefined) return
  const kept = existsSync(`${path}-wal`) ? ' together with the hub.db-wal that is there' : ''
  throw refused(
    `${path} is missing although this hub was used (${used} is there): put it back${kept}, or make a new home from a backup: hub restore BACKUP --home NEW`,
  )
}

export interface HomeFacts {
  instance: string
  /** What is odd but does not stop the start, a line each. */
  notes: string[]
}

/** Throws `config_invalid` or `store_unavailable` with the reason and the remedy in one line. */
export function judgeHome(home: string): HomeFacts {
  requireFolder(home)
  for (const name of FOLDERS) {
    const path = join(home, name)
    const found = statSync(path, { throwIfNoEntry: false })
    if (found !== undefined && !found.isDirectory())
      throw refused(`${path} must be a folder, but is not; move away what is there`)
  }
  requireNoDeadLinks(home)
  const used = signOfUse(home)
  if (used === undefined) throw refused(`${home} is not a complete home yet; run: hub init --home ${home}`)
  requireDatabase(home, used)
  const instance = readInstance(home)
  requirePair(join(home, 'keys'))
  const notes: string[] = []
  const config = join(home, 'hub.yaml')
  if (lstatSync(config, { throwIfNoEntry: false }) === undefined)
    notes.push(
      `${config} is missing: every setting has its default, and no alert leaves this machine; put it back from a backup, or run hub init for an empty one`,
    )
  return { instance, notes }
}

/** Names every link that leads nowhere before anything is made in its place. Not for `policy`: without rules the hub starts degraded and says so. */
function requireNoDeadLinks(home: string): void {
  for (const name of [...FOLDERS.filter((each) => each !== 'policy'), 'hub.yaml', 'hub.db']) {
    const path = join(home, name)
    if (!lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) continue
    let leads: boolean
    try {
      leads = statSync(path, { throwIfNoEntry: false }) !== undefined
    } catch {
      // A circle, or a folder that may not be entered: reported when it is opened.
      leads = true
    }
    if (!leads)
      throw refused(
        `${path} is a link to ${readlinkSync(path)}, and nothing is there; bring that back, or remove the link`,
      )
  }
}

function requireFolder(home: string): void {
  const found = statSync(home, { throwIfNoEntry: false })
  if (found === undefined) throw refused(`there is no hub at ${home}; run: hub init --home ${home}`)
  if (!found.isDirectory()) throw refused(`${home} is not a folder; choose another --home`)
  if ((found.mode & 0o077) !== 0) throw refused(`${home} is open to others; run: chmod 700 ${home}`)
  try {
    accessSync(home, constants.W_OK)
  } catch (thrown) {
    throw new HubError('store_unavailable', `nothing can be written to ${diskWords(thrown, home) ?? home}`)
  }
}

/** Never a new id in place of a lost one: this home's containers have the old one (fault G9). Throws `config_invalid`. */
export function requireInstance(home: string, used = signOfUse(home)): void {
  if (used !== undefined) readInstance(home)
}

/** The id in `instance`. If the ledger has another one, the error names that: this home's containers are labelled with it. */
function readInstance(home: string): string {
  const path = join(home, 'instance')
  const known = ledgerInstance(home)
  const remedy =
    known === undefined ? 'put it back from a backup (backups/*/instance)' : `write it back: echo ${known} > ${path}`
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (thrown) {
    const why =
      (thrown as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'is missing'
        : `cannot be read (${(thrown as Error).message})`
    throw refused(`${path} ${why}; ${remedy}`)
  }
  if (!INSTANCE.test(text)) throw refused(`${path} does not hold an instance id; ${remedy}`)
  if (known !== undefined && known !== text)
    throw refused(`${path} says ${text}, but this home's ledger is of ${known}; ${remedy}`)
  return text
}

/** Unproven, and only for the text of a remedy: the ledger itself is judged by its MAC. */
function ledgerInstance(home: string): string | undefined {
  try {
    const { instance } = JSON.parse(readFileSync(join(home, 'ledger.json'), 'utf8')) as { instance?: unknown }
    return typeof instance === 'string' && INSTANCE.test(instance) ? instance : undefined
  } catch {
    return undefined
  }
}

/** The key that signs the log and the public half that the watchdog uses must be one pair; a lost public half is made again. */
function requirePair(keys: string): void {
  const path = join(keys, 'checkpoint.pub')
  if (!existsSync(join(keys, 'checkpoint.key'))) return
  const own = pem(readSigningKey(join(keys, 'checkpoint.key')).publicKey)
  const there = existsSync(path) ? readFileSync(path, 'utf8') : ''
  if (there.includes('BEGIN PUBLIC KEY') && there !== own)
    throw refused(
      `${join(keys, 'checkpoint.key')} is not the key that signed this log (it does not belong to checkpoint.pub); put it back from a backup (backups/*/keys)`,
    )
  keepPublicFile(keys, 'checkpoint')
}
