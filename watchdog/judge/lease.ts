/**
 * The words between hub and watchdog, and how they are read: lease, answer, and the order to stop. Pure; hub-line.ts carries them.
 * An answer must echo this epoch and counter, so none can be replayed (T92).
 */
export interface Checkpoint {
  readonly size: number
  readonly head: string
  /** SHA-256 of the checkpoint before, signature included; 64 zeros for the first. */
  readonly previous: string
  readonly instance: string
  readonly wallMs: number
  readonly bootId: string
  readonly signature: string
}

/** A record that the hub was asked for, and its hash as worked out from what it holds now; null if there is none. */
export interface Asked {
  readonly seq: number
  readonly hash: string | null
}

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
  /** Records whose hash the answer should bring. */
  readonly ask: readonly number[]
  /** What is left of a planned absence. */
  readonly awayInMs: number | null
  /** Names the last stop of everything; a hub that does not know it yet holds its tasks. 0: there was none. */
  readonly stopId: number
}

export interface Answer {
  /** Another one for each process of the hub; null from an older hub, which says nothing about this. */
  readonly run: string | null
  readonly mode: string
  readonly conditions: readonly string[]
  readonly dispatched: number
  readonly queued: number
  readonly auditSize: number
  readonly auditHead: string
  readonly checkpoints: readonly Checkpoint[]
  /** Hashes of the records that were asked for; null if there is no such record. What the hub cannot read now is missing. */
  readonly asked: readonly Asked[]
  /** Records that wait for a failing store, and the hash that the last of them will have. */
  readonly bufferSize: number
  readonly bufferHead: string | null
  readonly sessions: readonly Session[]
  readonly announced: { readonly kind: 'restart' | 'shutdown' | 'down' } | null
  /** As it came, for evidence. */
  readonly raw: string
}

/**
 * `silent`: nobody answered. `refused`: the hub said no. `forged`: not the hub's answer to this lease. `unreadable`: it is the
 * hub's by its MAC, but has an unknown version or shape, as after an upgrade of only the hub.
 */
export type Heard =
  | { readonly kind: 'answer'; readonly answer: Answer }
  /** `isIll`: the hub had an internal error, which says nothing about the lease. */
  | { readonly kind: 'refused'; readonly reason: string; readonly isIll?: boolean }
  | { readonly kind: 'silent' | 'forged' | 'unreadable'; readonly reason: string }

/** Who asked: only the first two leave a condition behind. `unattended`: this process itself, at the ceiling. */
export type StopBy = 'contact' | 'emergency' | 'operator' | 'unattended'
export interface StopOrder {
  readonly by: StopBy
  readonly reason: string
}

type Row = Readonly<Record<string, unknown>>
export const isRow = (value: unknown): value is Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= 512
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
export function parseAnswer(raw: string, instance: string, epoch: number, counter: number): Heard {
  const unreadable = (reason: string): Heard => ({ kind: 'unreadable', reason })
  const forged = (reason: string): Heard => ({ kind: 'forged', reason })
  let value: unknown
  try {
    value = JSON.parse(raw)
  } catch {
    return unreadable('it is not JSON')
  }
  if (!isRow(value)) return unreadable('it is not a JSON object')
  // The echo before the version: only an answer without any echo may be of a version that says it in another way.
  const isKnown = value.version === 1
  const differs = (said: unknown, own: unknown) => said !== own && (isKnown || said !== undefined)
  if (differs(value.instance, instance)) return forged('it belongs to another instance')
  if (differs(value.epoch, epoch) || differs(value.counter, counter)) return forged('it echoes another lease')
  if (!isKnown) return unreadable('its version is unknown')
  const { mode, conditions, dispatched, queued, auditSize, auditHead, checkpoints, sessions, announced } = value
  if (!isText(mode) || !isList(conditions, 64, isText)) return unreadable('its mode is malformed')
  if (!isCount(dispatched) || !isCount(queued) || !isCount(auditSize)) return unreadable('its counts are malformed')
  if (!isText(auditHead) || !isList(checkpoints, 1024, isCheckpoint)) return unreadable('its audit head is malformed')
  if (!isList(sessions, 4096, isSession)) return unreadable('its sessions are malformed')
  // An older hub says nothing about this.
  const { asked = [], bufferSize = 0, bufferHead = null, run = null } = value
  if (run !== null && !isText(run)) return unreadable('its name for its own process is malformed')
  if (!isList(asked, 8, isAsked)) return unreadable('its answer about the records asked for is malformed')
  if (!isCount(bufferSize) || (bufferHead !== null && !isText(bufferHead)))
    return unreadable('its words about waiting records are malformed')
  const kind = isRow(announced) ? KINDS.find((one) => one === announced.kind) : undefined
  if (announced !== null && kind === undefined) return unreadable('its announcement is malformed')
  const told = kind === undefined ? null : { kind }
  const audit = { auditSize, auditHead, checkpoints, asked, bufferSize, bufferHead }
  const answer = { run, mode, conditions, dispatched, queued, ...audit, sessions, announced: told }
  return { kind: 'answer', answer: { ...answer, raw } }
}
