/** Where the watchdog's files are, and its two inputs from `hub init`: the instance id and the key it shares with the hub. */
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'

/** A fault of the home or its configuration: the process does not start, and the text says what to do. */
export class StartError extends Error {}

/** Paths of one home (docs/protocol.md 1). */
export function pathsOf(home: string) {
  const own = path.join(home, 'watchdog')
  return {
    own,
    log: path.join(home, 'logs', 'watchdog.log'),
    secrets: path.join(home, 'secrets'),
    state: path.join(own, 'state'),
    run: path.join(own, 'run'),
    socket: path.join(own, 'run', 'watchdog.sock'),
    alerts: path.join(own, 'alerts.log'),
    outbox: path.join(own, 'outbox'),
    contact: path.join(own, 'contact.json'),
    evidence: path.join(own, 'evidence'),
    pid: path.join(own, 'watchdog.pid'),
    key: path.join(home, 'keys', 'watchdog.key'),
    checkpointKey: path.join(home, 'keys', 'checkpoint.pub'),
    instance: path.join(home, 'instance'),
    hubSocket: path.join(home, 'run', 'watchdog.sock'),
    ledger: path.join(home, 'ledger.json'),
    stopOrder: path.join(home, 'stop-order'),
  }
}
export type Paths = ReturnType<typeof pathsOf>

/** `lost`: what to do in a home that has been used; one that has no ledger was never started and only wants `hub init`. */
function readText(file: string, what: string, home: string, lost: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'is missing' : `cannot be read (${(error as Error).message})`
    const remedy = existsSync(path.join(home, 'ledger.json')) ? lost : `run: hub init --home ${home}`
    throw new StartError(`${what} ${file} ${why}; ${remedy}`)
  }
}

const FROM_BACKUP = 'put it back from a backup (backups/*/instance)'
const RENEW = 'put it back from a backup (backups/*/keys), or make a new one: hub keys renew'

/** The instance id of a home. @throws StartError */
export function readInstance(file: string): string {
  const text = readText(file, 'the instance id', path.dirname(file), FROM_BACKUP).trim()
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) {
    throw new StartError(`${file} does not hold a lower-case UUID; ${FROM_BACKUP}`)
  }
  return text
}

/** The 32-byte key shared with the hub. A mode wider than 0600 stops the start (T92). @throws StartError */
export function readKey(file: string): Buffer {
  const text = readText(file, 'the key', path.dirname(path.dirname(file)), RENEW)
  const mode = statSync(file).mode & 0o777
  if ((mode & 0o077) !== 0) {
    throw new StartError(
      `${file} has mode ${mode.toString(8)}; others may have read it: renew it, or chmod 600 ${file}`,
    )
  }
  if (!/^[0-9a-f]{64}\n?$/.test(text)) throw new StartError(`${file} must hold 64 hex characters; ${RENEW}`)
  return Buffer.from(text.trim(), 'hex')
}

/** Makes a private folder, or makes an existing one private. */
export function privateFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
}
