/**
 * Acts of this session that a person was asked about: who waits for which answer, and doing an act again after a yes (docs/protocol.md 4).
 *
 * 1. An answer that came before anybody waits for it is kept: the newest 1 024.
 * 2. Only the hub itself answers: what has a sender is a message like any other (inbox.ts).
 */
import { HubError } from '../../base/errors.ts'
import type { AnsweredBody } from '../../protocol/approval.ts'

export interface AnswerOptions {
  /** Without it, it waits as long as the session lives. */
  timeoutMs?: number | undefined
}

export interface AgreeOptions extends AnswerOptions {
  /** Called each time a person is asked, with the id of the approval. */
  onAsked?: ((approval: string) => void) | undefined
}

export interface Answers {
  hear(body: AnsweredBody): void
  wait(approval: string, options?: AnswerOptions): Promise<AnsweredBody>
  agreed<Result>(act: () => Promise<Result>, options?: AgreeOptions): Promise<Result>
  failAll(thrown: unknown): void
}

const KEPT_MAX = 1024

/** The approval that a refusal names; undefined for anything else that was thrown. */
export const approvalOf = (thrown: unknown): string | undefined =>
  thrown instanceof HubError && thrown.code === 'needs_approval' && typeof thrown.facts.approval === 'string'
    ? thrown.facts.approval
    : undefined

const isTakenBack = (thrown: unknown): boolean =>
  thrown instanceof HubError && thrown.code === 'needs_approval' && thrown.facts.returned === true

export function createAnswers(): Answers {
  const heard = new Map<string, AnsweredBody>()
  const waiting = new Map<string, ReturnType<typeof Promise.withResolvers<AnsweredBody>>>()
  let ended: { thrown: unknown } | undefined

  async function wait(approval: string, { timeoutMs }: AnswerOptions = {}): Promise<AnsweredBody> {
    const known = heard.get(approval)
    if (known !== undefined) return known
    if (ended !== undefined) throw ended.thrown
    if (!waiting.has(approval) && waiting.size >= KEPT_MAX)
      throw new HubError('limit_exceeded', `over ${KEPT_MAX} approvals are waited for`)
    const waiter = waiting.get(approval) ?? Promise.withResolvers<AnsweredBody>()
    waiting.set(approval, waiter)
    // Whoever waits hears of it; nobody may be left.
    waiter.promise.catch(() => {})
    if (timeoutMs === undefined) return await waiter.promise
    const late = Promise.withResolvers<never>()
    const text = `nobody answered approval ${approval} within ${timeoutMs} ms; it still waits`
    const timer = setTimeout(() => late.reject(new HubError('timed_out', text)), timeoutMs)
    try {
      return await Promise.race([waiter.promise, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    wait,
    hear(body) {
      const { approval } = body
      heard.set(approval, body)
      if (heard.size > KEPT_MAX) heard.delete(heard.keys().next().value ?? '')
      waiting.get(approval)?.resolve(body)
      waiting.delete(approval)
    },
    async agreed(act, { timeoutMs, onAsked } = {}) {
      const untilAt = timeoutMs === undefined ? undefined : performance.now() + timeoutMs
      for (;;) {
        try {
          return await act()
        } catch (thrown) {
          const approval = approvalOf(thrown)
          // It was admitted and taken back, because other rules ask now: once more, and a person is asked anew.
          if (approval === undefined && isTakenBack(thrown)) continue
          if (approval === undefined) throw thrown
          onAsked?.(approval)
          const leftMs = untilAt === undefined ? undefined : Math.max(1, untilAt - performance.now())
          const { answer, text } = await wait(approval, { timeoutMs: leftMs })
          if (answer === 'rejected' || answer === 'expired') throw refusalOf(approval, answer, text)
        }
      }
    },
    failAll(thrown) {
      ended ??= { thrown }
      for (const { reject } of waiting.values()) reject(thrown)
      waiting.clear()
    },
  }
}

/** As the hub says it when the act is tried again. */
function refusalOf(approval: string, answer: 'rejected' | 'expired', text: string): HubError {
  const said = text === '' ? '' : `: ${text}`
  const detail = answer === 'rejected' ? `a person said no${said}` : 'nobody answered in time, which is a no'
  return new HubError('approval_refused', detail, { facts: { approval } })
}
