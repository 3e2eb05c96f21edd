/**
 * The watchdog's line to the hub: the lease of each round and the word to shut down (safety.md section 2, threats.md section 10).
 * Both bodies and both answers carry a MAC over label and raw bytes; an answer must echo this epoch and counter, so none can be replayed (T92).
 */
import type { Clock } from './clock.ts'
import { macHex, sameHex } from './digest.ts'
import type { Remains } from './processes.ts'
import { exchange } from './wire.ts'
import type { Asked, Checkpoint } from './witness.ts'

export interface Session {
  readonly session: string
  readonly container: string
  readonly containerId: string | null
  readonly agent: string
  readonly generation: number
  readonly attempt: number
  readonly expiresAtMs: number
  readonly expiresBoot: string
}

export interface Lease {
  readonly epoch: number
  readonly bootId: string
  readonly intervalMs: number
  readonly heartbeatAgeMs: number
  readonly deadlineInMs: number
  readonly demand: 'normal' | 'safe'
  readonly conditions: readonly string[]
  /** Size of the last checkpoint witnessed; the answer brings those after it. */
  readonly witnessSize: number
  /** The head witnessed there; '' is none. */
  readonly witnessHead: string
  /** Records whose hash the answer shall bring. */
  readonly ask: readonly number[]
  /** What is left of a planned absence. */
  readonly awayInMs: number | null
  /** Names the last stop of everything; a hub that does not know it yet holds its tasks. 0: there was none. */
  readonly stopId: number
}

export interface Answer {
  readonly mode: string
  readonly conditions: readonly string[]
  readonly dispatched: number
  readonly queued: number
  readonly auditSize: number
  readonly auditHead: string
  readonly checkpoints: readonly Checkpoint[]
  /** Hashes of the records that were asked for; null where there is no such record. What the hub cannot read now is missing. */
  readonly asked: readonly Asked[]
  /** Records that wait for a store that fails, and the hash of the last as it will be written. */
  readonly bufferSize: number
  readonly bufferHead: string | null
  readonly sessions: readonly Session[]
  readonly announced: { readonly kind: 'restart' | 'shutdown' | 'down' } | null
  /** As it came, for evidence. */
  readonly raw: string
}

/**
 * `silent`: nobody answered. `refused`: the hub said no. `forged`: an answer that is not the hub's to this lease. `unreadable`: it is the
 * hub's by its MAC, but of a version or shape unknown here, as after an upgrade of the hub alone.
 */
export type Heard =
  | { readonly kind: 'answer'; readonly answer: Answer }
  /** `isIll`: it failed over it, which says nothing of the lease. */
  | { readonly kind: 'refused'; readonly reason: string; readonly isIll?: boolean }
  | { readonly kind: 'silent' | 'forged' | 'unreadable'; readonly reason: string }

export interface Confirmed {
  readonly container: string
  readonly outcome: 'gone' | 'already_gone' | 'failed'
  readonly reason?: string
  /** Of one that failed: what of it runs; absent where that is not known. */
  readonly remains?: Remains
}

/** Who asked: only the first two leave a condition behind. `unattended`: this process itself, at the ceiling. */
export type StopBy = 'contact' | 'emergency' | 'operator' | 'unattended'
export interface StopOrder {
  readonly by: StopBy
  readonly reason: string
}

export interface HubLine {
  lease(lease: Lease): Promise<Heard>
  /** Asks the hub to stop everything and report; null if it did not within the deadline. */
  shutdown(epoch: number, order: StopOrder, deadlineMs: number): Promise<readonly Confirmed[] | null>
}

type Row = Readonly<Record<string, unknown>>
const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value)
const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= 512
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isList = <T>(value: unknown, max: number, item: (one: unknown) => one is T): value is T[] =>
  Array.isArray(value) && value.length <= max && value.every(item)

/** Whether a value of an answer or a ledger is one live session. */
export function isSession(value: unknown): value is Session {
  return (
    isRow(value) &&
    [value.session, value.container, value.agent, value.expiresBoot].every(isText) &&
    (value.containerId === null || isText(value.containerId)) &&
    [value.generation, value.attempt, value.expiresAtMs].every(isCount)
  )
}

/** Whether a value is one signed checkpoint in shape; its signature is the witness's to check. */
export function isCheckpoint(value: unknown): value is Checkpoint {
  return (
    isRow(value) &&
    ['head', 'previous', 'instance', 'bootId', 'signature'].every((key) => isText(value[key])) &&
    isCount(value.size) &&
    isCount(value.wallMs)
  )
}

const isAsked = (value: unknown): value is Asked =>
  isRow(value) && isCount(value.seq) && (value.hash === null || isText(value.hash))

const KINDS = ['restart', 'shutdown', 'down'] as const

/** Reads an answer whose MAC is already proven. Pure. */
function parseAnswer(raw: string, instance: string, epoch: number, counter: number): Heard {
  const unreadable = (reason: string): Heard => ({ kind: 'unreadable', reason })
  const forged = (reason: string): Heard => ({ kind: 'forged', reason })
  let value: unknown
  try {
    value = JSON.parse(raw)
  } catch {
    return unreadable('it is not JSON')
  }
  if (!isRow(value)) return unreadable('it is no JSON object')
  // The echo before the version: only one that has none at all may be of a version that says it otherwise.
  const isKnown = value.version === 1
  const differs = (said: unknown, own: unknown) => said !== own && (isKnown || said !== undefined)
  if (differs(value.instance, instance)) return forged('it is of another instance')
  if (differs(value.epoch, epoch) || differs(value.counter, counter)) return forged('it echoes another lease')
  if (!isKnown) return unreadable('its version is unknown')
  const { mode, conditions, dispatched, queued, auditSize, auditHead, checkpoints, sessions, announced } = value
  if (!isText(mode) || !isList(conditions, 64, isText)) return unreadable('its mode is malformed')
  if (!isCount(dispatched) || !isCount(queued) || !isCount(auditSize)) return unreadable('its counts are malformed')
  if (!isText(auditHead) || !isList(checkpoints, 1024, isCheckpoint)) return unreadable('its audit head is malformed')
  if (!isList(sessions, 4096, isSession)) return unreadable('its sessions are malformed')
  // A hub of before this was asked says nothing of it.
  const { asked = [], bufferSize = 0, bufferHead = null } = value
  if (!isList(asked, 8, isAsked)) return unreadable('its answer about the records asked for is malformed')
  if (!isCount(bufferSize) || (bufferHead !== null && !isText(bufferHead)))
    return unreadable('what it says of records that wait is malformed')
  const kind = isRow(announced) ? KINDS.find((one) => one === announced.kind) : undefined
  if (announced !== null && kind === undefined) return unreadable('its announcement is malformed')
  const told = kind === undefined ? null : { kind }
  const audit = { auditSize, auditHead, checkpoints, asked, bufferSize, bufferHead }
  const answer = { mode, conditions, dispatched, queued, ...audit, sessions, announced: told }
  return { kind: 'answer', answer: { ...answer, raw } }
}

const OUTCOMES = ['gone', 'already_gone', 'failed'] as const
function confirmedOf(value: unknown): Confirmed[] {
  const rows = isRow(value) && Array.isArray(value.containers) ? value.containers : []
  return rows.flatMap((row: unknown) => {
    const outcome = isRow(row) ? OUTCOMES.find((one) => one === row.outcome) : undefined
    if (!isRow(row) || outcome === undefined || !isText(row.container)) return []
    const reason = isText(row.reason) ? { reason: row.reason } : {}
    return [{ container: row.container, outcome, ...reason }]
  })
}

/** The line over the hub's Unix socket. One counter runs through leases and shutdowns of an epoch. */
export function createHubLine(
  options: { socketPath: string; key: Buffer; instance: string; timeoutMs: number },
  clock: Clock,
): HubLine {
  let counter = 0
  async function say(path: string, label: string, body: object, deadlineMs: number) {
    const text = JSON.stringify(body)
    const headers = { 'hub-mac': macHex(options.key, `${label}-v1`, text) }
    const { socketPath } = options
    const reply = await exchange(clock, {
      socketPath,
      method: 'POST',
      path,
      headers,
      body: text,
      deadlineMs,
      bytesMax: 4e6,
    })
    const mac = String(reply.headers['hub-mac'] ?? '')
    return { reply, proven: sameHex(mac, macHex(options.key, `${label}-answer-v1`, reply.body)) }
  }
  return {
    async lease(lease) {
      counter += 1
      const mine = counter
      const body = { version: 1, instance: options.instance, counter: mine, ...lease }
      try {
        const { reply, proven } = await say('/v1/lease', 'hub-lease', body, options.timeoutMs)
        if (reply.status !== 200)
          return { kind: 'refused', reason: `the hub answered ${reply.status}`, isIll: reply.status >= 500 }
        if (!proven) return { kind: 'forged', reason: 'its MAC is wrong' }
        return parseAnswer(reply.body.toString('utf8'), options.instance, lease.epoch, mine)
      } catch (error) {
        return { kind: 'silent', reason: (error as Error).message }
      }
    },
    async shutdown(epoch, order, deadlineMs) {
      counter += 1
      const body = { version: 1, instance: options.instance, epoch, counter, ...order }
      try {
        const { reply, proven } = await say('/v1/shutdown', 'hub-shutdown', body, deadlineMs)
        if (reply.status !== 200 || !proven) return null
        return confirmedOf(JSON.parse(reply.body.toString('utf8')))
      } catch {
        return null
      }
    },
  }
}
