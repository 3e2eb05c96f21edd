/**
 * The list of sessions that may have a container, for a watchdog whose hub is dead (docs/sandbox.md 1, docs/safety.md 4).
 *
 * L1. A session is in it before its container is made, and leaves it after the removal is confirmed. So an old ledger holds too many
 *     sessions, never too few.
 * L2. The file is whole, or the one before it is (whole-file.ts).
 * L3. Only the hub and its watchdog can write one: HMAC-SHA256 over the canonical text of everything but `mac`.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { canonicalText } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { replaceOwn } from '../../base/whole-file.ts'

export interface LedgerEntry {
  session: string
  /** Name of the container. */
  container: string
  containerId: string | null
  agent: string
  generation: number
  attempt: number
  expiresAtMs: number
  /** `<boot id>:<boot ms>` */
  expiresBoot: string
}

export interface Ledger {
  /** Adds or replaces. On disk when it returns. Throws `store_unavailable`. */
  put(entry: LedgerEntry): void
  /** On disk when it returns. */
  drop(session: string): void
  list(): LedgerEntry[]
  /** Writes the present list again with this mode. */
  write(mode: string): void
}

/** The file calls that it makes, handed in so that a test can fail each of them. */
export interface LedgerFiles {
  read(path: string): string
  /** On disk when it returns. The file is whole whenever it throws. */
  replace(path: string, text: string): void
}

export interface LedgerOptions {
  path: string
  instance: string
  /** Counts the starts of the hub. */
  epoch: number
  /** Key of the hub-watchdog traffic. */
  key: Buffer
  mode: string
}

const VERSION = 1

export const ledgerFiles: LedgerFiles = {
  read: (path) => readFileSync(path, 'utf8'),
  replace: (path, text) => replaceOwn(path, [Buffer.from(text)]),
}

const macOf = (key: Buffer, document: object) => createHmac('sha256', key).update(canonicalText(document)).digest('hex')

/** Reads what an earlier run left: its sessions, or none if there is no file. Throws `config_invalid` if it is damaged. */
export function readLedger(
  options: Pick<LedgerOptions, 'path' | 'instance' | 'key'>,
  files = ledgerFiles,
): LedgerEntry[] {
  let text: string
  try {
    text = files.read(options.path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw damaged(options.path, 'cannot be read', error)
  }
  try {
    const { mac, ...document } = JSON.parse(text) as {
      mac: string
      version: number
      instance: string
      sessions: LedgerEntry[]
    }
    const [right, given] = [Buffer.from(macOf(options.key, document)), Buffer.from(String(mac))]
    if (right.length !== given.length || !timingSafeEqual(right, given)) throw new Error('its MAC is wrong')
    if (document.version !== VERSION || document.instance !== options.instance)
      throw new Error('it belongs to another hub')
    return document.sessions
  } catch (error) {
    throw damaged(options.path, (error as Error).message, error)
  }
}

function damaged(path: string, why: string, cause: unknown): HubError {
  const detail = `the ledger ${path} is damaged (${why}); make sure that none of its containers runs (docker ps --filter label=hub.instance=ID, with the ID in HOME/instance), then move it away: mv ${path} ${path}.damaged`
  return new HubError('config_invalid', detail, { cause })
}

/** A ledger that begins with `entries`, which the caller has compared with the database. Nothing is written before the first change. */
export function createLedger(
  options: LedgerOptions,
  { clock, files = ledgerFiles, entries = [] }: { clock: Clock; files?: LedgerFiles; entries?: readonly LedgerEntry[] },
): Ledger {
  let sessions = new Map(entries.map((entry) => [entry.session, entry]))
  let mode = options.mode

  function save(next: Map<string, LedgerEntry>, nextMode: string): void {
    const document = {
      version: VERSION,
      instance: options.instance,
      epoch: options.epoch,
      writtenAtMs: clock.wallMs(),
      mode: nextMode,
      sessions: [...next.values()],
    }
    try {
      files.replace(options.path, `${JSON.stringify({ ...document, mac: macOf(options.key, document) })}\n`)
    } catch (error) {
      throw new HubError(
        'store_unavailable',
        `the ledger ${options.path} cannot be written; free space or repair the disk`,
        {
          cause: error,
        },
      )
    }
    // Only what is on disk counts.
    sessions = next
    mode = nextMode
  }

  return {
    put(entry) {
      save(new Map(sessions).set(entry.session, { ...entry }), mode)
    },
    drop(session) {
      const next = new Map(sessions)
      if (next.delete(session)) save(next, mode)
    },
    list: () => [...sessions.values()],
    write: (next) => save(sessions, next),
  }
}
