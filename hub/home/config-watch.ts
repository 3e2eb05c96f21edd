/**
 * Watches `hub.yaml` while the hub runs (S0-13, S0-14).
 *
 * W1. The file is looked at, not listened to: a look sees an editor that writes in place, one that replaces the file by a rename, a link that
 *     is turned, and a file system that tells nobody, all alike. A look is one call to the system.
 * W2. A changed file is judged once it has rested for `SETTLE_MS`. One that never rests is judged every `RESTLESS_MS` as it is then.
 * W3. The whole text is judged, then the difference takes effect in one commit with the record that names its keys. A text with a fault
 *     changes nothing: it is a refusal in the audit log, and the alert `config_refused` says line and key until the file is accepted.
 * W4. A key that needs a restart keeps its value, and the alert `restart_needed` names it until the file says again what is in force.
 * W5. A file that is gone changes nothing either. A machine that has no file handle left ends that look; the next one tries again.
 */
import { statSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { diskWords } from '../base/disk-words.ts'
import { HubError, toHubError } from '../base/errors.ts'
import { textOfPlainFile } from '../base/plain-file.ts'
import type { Log } from '../base/telemetry.ts'
import type { Guard } from '../guard/guard.ts'
import { hubPrincipal } from '../guard/principal.ts'
import type { Answer } from '../protocol/answers.ts'
import { type Fault, firstOf } from '../protocol/judging.ts'
import type { ConfigKey } from '../protocol/views-guard.ts'

const SETTLE_MS = 1000
const RESTLESS_MS = 10_000
const REFUSED = 'config_refused'
const RESTART = 'restart_needed'
const APPLY = { principal: hubPrincipal('config'), operation: 'config.apply', resource: 'config' } as const
const GONE = 'gone'
/** The machine or this process has run out of something for a moment. */
const BUSY: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'EAGAIN', 'EINTR', 'ENOMEM', 'EBUSY', 'ESTALE'])

/** What a text would change. */
export interface PlanOf<Config> {
  /** The configuration after the change: keys that need a restart are as they were. */
  config: Config
  given: unknown
  /** What the text holds. */
  file: unknown
  /** Keys whose change counts now. */
  changed: readonly string[]
  /** Keys whose change waits for a restart. */
  waiting: readonly string[]
}

/** The configuration in force. */
export interface ForceOf<Config> {
  now: () => Config
  /** What this text would change. Takes nothing over. */
  plan(text: string): PlanOf<Config> | { faults: readonly Fault[] }
  /** From now on this is in force. Answers what undoes that. */
  take(plan: PlanOf<Config>): () => void
  /** Every key, with what the file says where that differs; `undefined` for a file that is not accepted. */
  rows(file: unknown): ConfigKey[]
}

export interface ConfigWatch {
  /** One look; called by a loop. Throws `store_unavailable` if a change cannot be recorded; then it is not in force, and the next look tries again. */
  look(): void
  /** What is in force, and what the file says now. */
  view(): Answer<'config.show'>
}

export interface ConfigWatchParts<Config> {
  clock: Pick<Clock, 'monotonicMs'>
  log: Log
  guard: Pick<Guard, 'gate' | 'store' | 'alerts'>
  force: ForceOf<Config>
  /** How the file is looked at and read; by the system without it. */
  files?: { markOf: (path: string) => string; textOf: (path: string) => string | undefined }
  /** Prepares what may fail, before anything is taken over; throws what is wrong with it. */
  prepare: (plan: PlanOf<Config>) => void
  /** It is in force. */
  applied: (changed: readonly string[]) => void
}

const codeOf = (thrown: unknown): unknown => (thrown as NodeJS.ErrnoException).code

/** What tells one state of the file from another. Throws what the system says. */
function markOf(path: string): string {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  if (found === undefined) return GONE
  const { dev, ino, size, mtimeNs, ctimeNs, mode } = found
  return [dev, ino, size, mtimeNs, ctimeNs, mode].join(':')
}

/** `text`: what the hub has started with. */
export function createConfigWatch<Config>(
  options: { path: string; text: string },
  parts: ConfigWatchParts<Config>,
): ConfigWatch {
  const { path } = options
  const { clock, log, guard, force, prepare, applied, files = { markOf, textOf: textOfPlainFile } } = parts
  const { gate, store, alerts } = guard
  /** A hub that began without a file misses none. */
  let hadFile = options.text !== ''
  let judged: string | undefined
  let seen: { mark: string; sinceMs: number } | undefined
  let restlessSinceMs: number | undefined
  const told = new Map<string, string>()

  function say(cause: typeof REFUSED | typeof RESTART, text: string): void {
    if (told.get(cause) === text) return
    if (told.has(cause)) alerts.resolve(cause, 'The file was changed again.')
    told.set(cause, text)
    alerts.raise(cause, 'warning', text)
  }
  function unsay(cause: typeof REFUSED | typeof RESTART, text: string): void {
    told.delete(cause)
    alerts.resolve(cause, text)
  }

  function refuse(why: string): void {
    gate.refuse(APPLY, new HubError('config_invalid', `hub.yaml: ${why}`))
    log.warn({ reason: why }, 'hub.yaml was not accepted; the earlier settings stay in force')
    say(
      REFUSED,
      `hub.yaml was not accepted: ${why}. The earlier settings stay in force. \`hub config check\` shows all of it.`,
    )
  }

  /** In one commit with its record. */
  function takeOver(plan: PlanOf<Config>): void {
    const { changed, waiting } = plan
    gate.admit(APPLY, () => {
      store.onRollback(force.take(plan))
      const parts = [changed.join(', '), waiting.length === 0 ? '' : `after a restart: ${waiting.join(', ')}`]
      return { auditEffect: parts.filter((part) => part !== '').join('; ') }
    })
    if (changed.length > 0) applied(changed)
    log.info({ changed, waiting }, 'hub.yaml was changed, and is in force')
  }

  function judge(text: string): void {
    const plan = force.plan(text)
    if ('faults' in plan) {
      refuse(firstOf(plan.faults))
      return
    }
    const { changed, waiting } = plan
    const wait = `hub.yaml changes what the hub reads only when it starts: ${waiting.join(', ')}. Run \`hub restart\`; agents keep running. Until then the earlier values count.`
    if (changed.length > 0 || (waiting.length > 0 && told.get(RESTART) !== wait)) {
      try {
        prepare(plan)
      } catch (thrown) {
        refuse(toHubError(thrown).reason)
        return
      }
      takeOver(plan)
    }
    unsay(REFUSED, 'The file is accepted.')
    if (waiting.length > 0) say(RESTART, wait)
    else unsay(RESTART, 'What the file says is in force.')
  }

  /** The mark of a file that has changed and rests, or that has not rested for too long. */
  function settled(): string | undefined {
    let mark: string
    try {
      mark = files.markOf(path)
    } catch (thrown) {
      if (BUSY.has(codeOf(thrown))) return undefined
      mark = `unreadable: ${String(codeOf(thrown))}`
    }
    if (mark === judged) {
      seen = restlessSinceMs = undefined
      return undefined
    }
    const nowMs = clock.monotonicMs()
    if (seen?.mark !== mark) seen = { mark, sinceMs: nowMs }
    restlessSinceMs ??= nowMs
    return nowMs - seen.sinceMs >= SETTLE_MS || nowMs - restlessSinceMs >= RESTLESS_MS ? mark : undefined
  }

  /** Its text; undefined if this look ends without one. */
  function read(): { text: string } | { fault: string } | undefined {
    try {
      const text = files.textOf(path)
      if (text !== undefined) {
        hadFile = true
        return { text }
      }
      return hadFile
        ? {
            fault:
              'the file is gone. To go back to every default, leave an empty file there; a restart without one does that too',
          }
        : { text: '' }
    } catch (thrown) {
      if (BUSY.has(codeOf(thrown))) return undefined
      return { fault: thrown instanceof HubError ? thrown.message : (diskWords(thrown) ?? toHubError(thrown).reason) }
    }
  }

  return {
    look() {
      const mark = settled()
      if (mark === undefined) return
      const found = read()
      if (found === undefined) return
      if ('fault' in found) refuse(found.fault)
      else judge(found.text)
      judged = mark
      seen = restlessSinceMs = undefined
    },
    view() {
      const found = read() ?? { fault: 'too many files are open for a look at it; try again' }
      if ('fault' in found) return { fault: found.fault, keys: force.rows(undefined) }
      const plan = force.plan(found.text)
      if ('faults' in plan) return { fault: firstOf(plan.faults), keys: force.rows(undefined) }
      return { fault: null, keys: force.rows(plan.file) }
    },
  }
}
