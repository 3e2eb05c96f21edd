/** Replies still owed to this session: each with its time-out, repeated until it comes (docs/protocol.md 3). */
import { ERRORS, type ErrorCode, HubError } from '../../base/errors.ts'
import type { Delivery } from '../../protocol/envelope.ts'
import type { Body } from './contract.ts'

export interface PendingReplies {
  /** Waits for the reply whose correlation id is `id`. `repeat` says the same thing again, under the same id. Rejects with `timed_out`. */
  open(id: string, options: { what: string; timeoutMs?: number; repeat: () => Promise<unknown> }): Promise<Body>
  /** Passes a `reply` or `refused` delivery to its waiter. False if there is none: it came twice or too late, or nobody waits for an answer. */
  settle(delivery: Delivery): boolean
  fail(id: string, thrown: unknown): void
  /** Repeats everything that is still unanswered, after a restored link. */
  repeatAll(): void
  failAll(thrown: unknown): void
}

/** docs/protocol.md 3: an SDK has at most this many unconfirmed messages. */
export const UNCONFIRMED_MAX = 1024
const REPEAT_MS = 15_000

export function createPendingReplies(): PendingReplies {
  const waiting = new Map<
    string,
    { resolve: (body: Body) => void; reject: (thrown: unknown) => void; say: () => void }
  >()

  const fail = (id: string, thrown: unknown) => waiting.get(id)?.reject(thrown)
  return {
    open(id, { what, timeoutMs, repeat }) {
      if (waiting.size >= UNCONFIRMED_MAX) {
        return Promise.reject(new HubError('limit_exceeded', `over ${UNCONFIRMED_MAX} messages await an answer`))
      }
      return new Promise<Body>((resolve, reject) => {
        // A refused repeat changes nothing: the first was accepted, and the time-out ends the waiting.
        const say = () => void repeat().catch(() => {})
        const again = setInterval(say, REPEAT_MS).unref()
        const late = () => fail(id, new HubError('timed_out', `no reply to ${what} within ${timeoutMs} ms`))
        const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs)
        const end = () => {
          waiting.delete(id)
          clearInterval(again)
          clearTimeout(timer)
        }
        waiting.set(id, {
          say,
          resolve(body) {
            end()
            resolve(body)
          },
          reject(thrown) {
            end()
            reject(thrown)
          },
        })
      })
    },
    settle({ kind, correlationId = '', body }) {
      const isAwaited = waiting.has(correlationId)
      if (kind === 'reply') waiting.get(correlationId)?.resolve(body)
      else fail(correlationId, refusalOf(body))
      return isAwaited
    },
    fail,
    repeatAll() {
      for (const { say } of waiting.values()) say()
    },
    failAll(thrown) {
      for (const { reject } of [...waiting.values()]) reject(thrown)
    },
  }
}

/** The body of a `refused` delivery as an error: the hub took the message and could not carry it to its end. */
function refusalOf(body: Body): HubError {
  const detail = String(body.detail ?? body.error ?? 'the message was refused')
  const code = Object.hasOwn(ERRORS, String(body.code)) ? (body.code as ErrorCode) : 'inbox_closed'
  return new HubError(code, detail, { facts: body })
}
