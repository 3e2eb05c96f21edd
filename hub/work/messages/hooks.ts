/**
 * What a program that embeds the hub may do around each message: trace it, slow it down, refuse it (S0-21).
 *
 * H1. Hooks are outside the gate: asked before admission, told afterwards. They can skip neither the rules nor the audit record. They see
 *     who sends what kind and size to whom, frozen, and never the body.
 * H2. A hook that throws, gives a senseless answer or takes longer than a second is counted and skipped. It is no gate, and the gate still
 *     decides.
 * H3. A hook slows down only the session that it delays.
 */
import type { Clock } from '../../base/clock.ts'
import { type ErrorCode, HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Envelope } from '../../protocol/envelope.ts'

/** The same object before and after one message. */
export interface SendFacts {
  readonly id: string
  readonly sender: { readonly agent: string; readonly session: string }
  readonly kind: Envelope['kind']
  readonly type: string
  readonly to: string
  /** Of the whole envelope. */
  readonly bytes: number
  readonly traceparent: string | undefined
}
export type SendOutcome = { readonly ok: true } | { readonly ok: false; readonly code: ErrorCode }
/** `delayMs` is at most 10 s. A refusal is `forbidden`, or `rate_limited` if it has `retryAfterMs`. Its reason is shown to the agent. */
export type Verdict = { delayMs: number } | { refuse: string; retryAfterMs?: number } | undefined

export interface Hook {
  readonly name: string
  beforeSend?(facts: SendFacts): Verdict | Promise<Verdict>
  afterSend?(facts: SendFacts, outcome: SendOutcome): void | Promise<void>
}

export interface Hooks {
  /** Asks each hook in its order, and waits as long as they say. Answers the first refusal. Never throws. */
  before(facts: SendFacts): Promise<HubError | undefined>
  /** Tells each hook. Waits for none and never throws. */
  after(facts: SendFacts, outcome: SendOutcome): void
  /** Does both around one send, which records the refusal. Throws what `send` throws. */
  around<Result>(facts: SendFacts, send: (refusal: HubError | undefined) => Result): Promise<Result>
  /** By name of the hook: how often it threw, gave a senseless answer or was late. */
  faults(): Readonly<Record<string, number>>
}

export const HOOK_MS_MAX = 1000
export const DELAY_MS_MAX = 10_000
const LOG_EVERY = 1000
const LATE = Symbol('late')
export const ACCEPTED: SendOutcome = Object.freeze({ ok: true })
export const outcomeOf = (thrown: unknown): SendOutcome => ({ ok: false, code: toHubError(thrown).code })

export const sendFacts = (
  sender: { agent: string; id: string },
  { id, kind, type, to, traceparent }: Envelope,
  bytes: number,
): SendFacts =>
  Object.freeze({
    id,
    sender: Object.freeze({ agent: sender.agent, session: sender.id }),
    kind,
    type,
    to,
    bytes,
    traceparent,
  })

const isSpan = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0

/** Undefined if there are no hooks: then nothing is awaited and nothing is built for them. */
export function createHooks(hooks: readonly Hook[], parts: { clock: Clock; log: Log }): Hooks | undefined {
  const { clock, log } = parts
  const counts = new Map<string, number>()
  if (hooks.length === 0) return undefined

  function fault(hook: Hook, reason: string): undefined {
    const count = (counts.get(hook.name) ?? 0) + 1
    counts.set(hook.name, count)
    if (count % LOG_EVERY === 1) log.warn({ hook: hook.name, count, reason }, 'a hook failed; it was skipped')
  }

  /** What the hook answered within its second. */
  async function inTime<Answer>(hook: Hook, asked: () => Answer | Promise<Answer>): Promise<Answer | undefined> {
    const done = new AbortController()
    try {
      const answer = asked()
      if (!(answer instanceof Promise)) return answer
      const first = await Promise.race([answer, clock.sleep(HOOK_MS_MAX, done.signal).then((): typeof LATE => LATE)])
      return first === LATE ? fault(hook, `no answer within ${HOOK_MS_MAX} ms`) : first
    } catch (thrown) {
      return fault(hook, toHubError(thrown).reason)
    } finally {
      done.abort()
    }
  }

  async function askOne(hook: Hook, facts: SendFacts): Promise<HubError | undefined> {
    const verdict: unknown = await inTime(hook, () => hook.beforeSend?.(facts))
    if (verdict === undefined) return undefined
    const { delayMs, refuse, retryAfterMs } = (verdict ?? {}) as Record<string, unknown>
    if (typeof refuse === 'string') {
      const detail = `${hook.name}: ${refuse}`
      return isSpan(retryAfterMs)
        ? new HubError('rate_limited', detail, { facts: { retryAfterMs: Math.ceil(retryAfterMs) } })
        : new HubError('forbidden', detail)
    }
    if (!isSpan(delayMs)) return fault(hook, 'its answer is neither a delay nor a refusal')
    await clock.sleep(Math.min(delayMs, DELAY_MS_MAX))
    return undefined
  }

  const made: Hooks = {
    async before(facts) {
      for (const hook of hooks) {
        if (hook.beforeSend === undefined) continue
        const refusal = await askOne(hook, facts)
        if (refusal !== undefined) return refusal
      }
      return undefined
    },
    after(facts, outcome) {
      for (const hook of hooks)
        if (hook.afterSend !== undefined) void inTime(hook, () => hook.afterSend?.(facts, outcome))
    },
    async around(facts, send) {
      const refusal = await made.before(facts)
      try {
        const result = send(refusal)
        made.after(facts, ACCEPTED)
        return result
      } catch (thrown) {
        made.after(facts, outcomeOf(thrown))
        throw thrown
      }
    },
    faults: () => Object.fromEntries(counts),
  }
  return made
}
