/**
 * One task from its handler's start to its posted result.
 *
 * 1. A result is posted exactly once, whatever ends the handler: return, throw, cancel, drain, SIGTERM or the deadline.
 * 2. A task that is stopped before it is done is `failed` with the reason; its value is what the handler still returned, or last marked as
 *    partial. If the hub or a person told it to finish, or the hub ended its session and takes what there is, what it returns within the
 *    grace is its result. Any other stop except the deadline says `stopped`, so that the hub knows that the task was interrupted and did not fail.
 * 3. The abort comes early enough that a partial result arrives before the deadline.
 * 4. While a question waits for a person the clock stands still, for `waitMs` in all, as it does at the hub (fault C1).
 */
import { HubError } from '../../base/errors.ts'
import type { ResultBody } from '../../protocol/envelope.ts'
import type { ResultFault } from '../../protocol/result-faults.ts'
import { STOP_GRACE_MS } from '../../protocol/stop-grace.ts'
import type { StopReason } from '../../protocol/stop-reasons.ts'
import type { TaskFacts } from './contract.ts'

export type TaskHandler = (task: TaskFacts, signal: AbortSignal) => unknown

export interface RunOptions {
  /** Runs after the handler and before the result is posted: the shim stores `/workspace/out` here. */
  beforeResult?: () => Promise<Afterthought | undefined>
  /** Why there is nothing to run: the task fails with this text. */
  failure?: string | undefined
}

/** What the shim finds once the program has ended. */
export interface Afterthought {
  /** Added to the result: outputs that could not be stored, although the task succeeded. */
  lost?: string | undefined
  /** The success was none. */
  fault?: { code: ResultFault; why: string } | undefined
}

/** Thrown by the handler of the shim: a failure whose kind is known. */
export class ProgramFault extends Error {
  readonly code: ResultFault
  constructor(code: ResultFault, why: string) {
    super(why)
    this.code = code
  }
}

export interface TaskRunOptions {
  task: TaskFacts
  /** Span from the join to the deadline. */
  ttlMs: number
  /** How long questions may stop that span in all. */
  waitMs?: number
  /** Posts the result; rejects with what the hub said. `withinMs` is left to do so. */
  post: (body: ResultBody, withinMs: number) => Promise<void>
}

export interface TaskRun {
  readonly signal: AbortSignal
  /** Why the task stops early, and how long it still has, in ms. The shortest time wins. */
  stop(reason: HubError, graceMs: number): void
  partial(value: unknown): void
  /** Why its model stopped. */
  stopReason(reason: StopReason): void
  /** Stops the clock until the returned function is called; if several wait, until the last one is. */
  waiting(): () => void
  run(handler: TaskHandler | undefined, options?: RunOptions): Promise<ResultBody>
}

const ERROR_CHARS_MAX = 4_000
/** Why a task is told to finish: what its handler then returns is its result. */
const FINISHES: ReadonlySet<string> = new Set(['mode_draining', 'inbox_closed'])

/** A value JSON cannot hold, or that the hub finds too large: the program's fault, to be said in its result. */
const isValueRefused = (thrown: unknown) =>
  thrown instanceof TypeError ||
  (thrown instanceof HubError && ['too_large', 'schema_invalid', 'limit_exceeded'].includes(thrown.code))

const whenStopped = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref())
const failed = (error: string): ResultBody => ({ outcome: 'failed', error: error.slice(0, ERROR_CHARS_MAX) })

export function createTaskRun({ task, ttlMs, waitMs = 0, post }: TaskRunOptions): TaskRun {
  const abort = new AbortController()
  const startedAt = performance.now()
  let partialValue: unknown
  let stopReason: StopReason | undefined
  let endAt = startedAt + ttlMs
  let waitLeftMs = waitMs
  let asked = 0
  let askedAt = 0
  let handlerEnd: NodeJS.Timeout | undefined
  let giveUp = () => {}
  const handlerGone = new Promise<void>((resolve) => {
    giveUp = resolve
  })

  function stop(reason: HubError, graceMs: number): void {
    countWait()
    endAt = Math.min(endAt, performance.now() + graceMs)
    clearTimeout(handlerEnd)
    const leftMs = Math.max(0, endAt - performance.now())
    // A fifth of the grace is kept for storing and posting; of the hours of a drain only seconds.
    handlerEnd = setTimeout(giveUp, leftMs - Math.min(leftMs / 5, STOP_GRACE_MS))
    abort.abort(new HubError(reason.code, reason.message, { facts: { ...reason.facts, graceMs } }))
  }
  const graceMs = Math.min(STOP_GRACE_MS, ttlMs / 5)
  let deadline: NodeJS.Timeout
  /** Adds the waiting time that is left: an open question uses it up before the span goes on. */
  function arm(waitingMs: number): void {
    clearTimeout(deadline)
    const late = () => stop(new HubError('ttl_expired', 'the session reached its time to live'), graceMs)
    deadline = setTimeout(late, Math.max(0, endAt + waitingMs - graceMs - performance.now())).unref()
  }
  /** Moves the end by what was waited since it was last counted. */
  function countWait(): void {
    if (asked === 0) return
    const waited = Math.min(performance.now() - askedAt, waitLeftMs)
    askedAt = performance.now()
    waitLeftMs -= waited
    endAt += waited
  }
  let hasEnded = false
  const isOver = () => hasEnded || abort.signal.aborted
  function waiting(): () => void {
    countWait()
    if (asked === 0) askedAt = performance.now()
    asked += 1
    if (!isOver()) arm(waitLeftMs)
    let told = false
    return () => {
      if (told) return
      told = true
      countWait()
      asked -= 1
      if (!isOver()) arm(asked === 0 ? 0 : waitLeftMs)
    }
  }
  arm(0)

  async function outcomeOf(handler: TaskHandler | undefined): Promise<ResultBody> {
    let failure: string | undefined
    let code: ResultFault | undefined
    let value: unknown
    let returned = false
    const handled = (async () => {
      if (handler === undefined) throw new Error('the program registered no task handler: call hub.onTask(handler)')
      value = await handler(task, abort.signal)
      returned = true
    })().catch((thrown: unknown) => {
      failure = thrown instanceof Error ? thrown.message : String(thrown)
      if (thrown instanceof ProgramFault) code = thrown.code
    })
    await Promise.race([handled, handlerGone])
    const reason = abort.signal.reason as HubError | undefined
    const finished = reason !== undefined && (FINISHES.has(reason.code) || reason.facts.returns === true) && returned
    if (reason !== undefined && !finished) failure = `stopped before it was done: ${reason.message}`
    value ??= failure === undefined ? undefined : partialValue
    const cut = reason !== undefined && !finished && reason.code !== 'ttl_expired'
    const base: ResultBody =
      failure === undefined
        ? { outcome: 'succeeded' }
        : {
            ...failed(failure),
            ...(cut ? { stopped: true } : {}),
            ...(code === undefined || reason !== undefined ? {} : { code }),
          }
    const why = stopReason !== undefined && reason !== undefined && !finished ? 'cancelled' : stopReason
    const told = why === undefined ? base : { ...base, stopReason: why }
    return value === undefined ? told : { ...told, value }
  }

  async function run(handler: TaskHandler | undefined, options: RunOptions = {}): Promise<ResultBody> {
    const { failure } = options
    let body = failure === undefined ? await outcomeOf(handler) : failed(failure)
    hasEnded = true
    clearTimeout(deadline)
    const left = () => Math.max(200, endAt - performance.now())
    try {
      const stopped = whenStopped(abort.signal).then(() => sleep(left() / 2))
      const found = await Promise.race([options.beforeResult?.(), stopped])
      const { lost, fault } = found ?? {}
      if (fault !== undefined && body.outcome === 'succeeded')
        body = { ...body, ...failed(fault.why), code: fault.code }
      if (lost !== undefined)
        body = { ...body, error: [body.error, lost].filter(Boolean).join('; ').slice(0, ERROR_CHARS_MAX) }
    } catch (thrown) {
      body = { ...body, ...failed(`its outputs could not be stored: ${(thrown as Error).message}`) }
    }
    try {
      await post(body, left())
    } catch (thrown) {
      if (!isValueRefused(thrown)) {
        // Cancelled or out of time: the hub has settled the task already and takes nothing more.
        if (abort.signal.aborted && thrown instanceof HubError) return body
        throw thrown
      }
      const why = (thrown as Error).message
      body = failed(`the returned value was refused: ${why}; return less, and store larger things as artifacts`)
      await post(body, left())
    } finally {
      clearTimeout(handlerEnd)
    }
    return body
  }

  return {
    signal: abort.signal,
    stop,
    partial(value) {
      partialValue = value
    },
    stopReason(reason) {
      stopReason = reason
    },
    waiting,
    run,
  }
}
