/** Open requests. A reply must match one, from the session that got it, once and before its deadline (T46). In memory. */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'

const OPEN_REQUESTS_MAX = 1024
const DEFAULT_TIMEOUT_MS = 30_000

export interface OpenRequest {
  requester: string
  responder: string
  untilMs: number
}

export interface Replies {
  /**
   * Remembers that `requester` waits for `responder`. A repeat of the same id keeps the first deadline and answers false. Throws
   * `rate_limited` at 1 024 open ones.
   */
  expect(request: { id: string; requester: string; responder: string; timeoutMs: number | undefined }): boolean
  /** Removes the one request that this reply answers. Throws `already_resolved` if no request under that id is open for this responder. */
  settle(id: string, responder: string): OpenRequest
  /** Undoes `settle` or `expect`. */
  reopen(id: string, responder: string, request: OpenRequest): void
  withdraw(id: string, responder: string): void
  forget(session: string): void
  /** Removes what is past its deadline. Answers how many. */
  expire(): number
}

/** `heldBackMs`: by how much a reply that is settled now may have come earlier (T75). */
export function createReplies(clock: Clock, heldBackMs: () => number = () => 0): Replies {
  const open = new Map<string, OpenRequest>()
  const keyOf = (id: string, responder: string) => `${responder} ${id}`
  const counts = new Map<string, number>()
  const remove = (key: string) => {
    const entry = open.get(key)
    if (entry === undefined) return
    open.delete(key)
    const left = (counts.get(entry.requester) ?? 1) - 1
    if (left > 0) counts.set(entry.requester, left)
    else counts.delete(entry.requester)
  }
  const add = (key: string, request: OpenRequest) => {
    counts.set(request.requester, (counts.get(request.requester) ?? 0) + 1)
    open.set(key, request)
  }
  return {
    expect({ id, requester, responder, timeoutMs }) {
      const key = keyOf(id, responder)
      if (open.has(key)) return false
      const count = counts.get(requester) ?? 0
      if (count >= OPEN_REQUESTS_MAX)
        throw new HubError(
          'rate_limited',
          `${count} of your requests still wait for their replies; wait for some of them first`,
        )
      add(key, { requester, responder, untilMs: clock.monotonicMs() + (timeoutMs ?? DEFAULT_TIMEOUT_MS) })
      return true
    },
    settle(id, responder) {
      const key = keyOf(id, responder)
      const entry = open.get(key)
      if (entry === undefined || entry.untilMs + heldBackMs() <= clock.monotonicMs()) {
        remove(key)
        throw new HubError('already_resolved', 'no request with that id waits for your reply')
      }
      remove(key)
      return entry
    },
    reopen: (id, responder, request) => add(keyOf(id, responder), request),
    withdraw: (id, responder) => remove(keyOf(id, responder)),
    forget(session) {
      for (const [key, entry] of open) if (entry.requester === session || entry.responder === session) remove(key)
    },
    expire() {
      const now = clock.monotonicMs() - heldBackMs()
      const past = [...open].filter(([, entry]) => entry.untilMs <= now)
      for (const [key] of past) remove(key)
      return past.length
    },
  }
}
