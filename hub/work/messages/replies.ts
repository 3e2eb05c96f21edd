/** Open requests: a reply must match one, from the session it was put to, once and before its deadline (T46). In memory. */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'

export const OPEN_REQUESTS_MAX = 1024
const DEFAULT_TIMEOUT_MS = 30_000

export interface Replies {
  /** Remembers that `requester` waits for `responder`. A repeat of the same id keeps the first deadline. Throws `rate_limited` at 1 024 open ones. */
  expect(request: { id: string; requester: string; responder: string; timeoutMs: number | undefined }): void
  /** The session that waits for this reply; removes it. Throws `already_resolved` when nothing is open under that id for this responder. */
  settle(id: string, responder: string): string
  /** Who asked `responder` under this id, without settling; undefined if nothing is open. */
  requesterOf(id: string, responder: string): string | undefined
  forget(session: string): void
  /** Removes what is past its deadline; answers how many. */
  expire(): number
}

export function createReplies(clock: Clock): Replies {
  const open = new Map<string, { requester: string; responder: string; untilMs: number }>()
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
  return {
    expect({ id, requester, responder, timeoutMs }) {
      const key = keyOf(id, responder)
      if (open.has(key)) return
      const count = counts.get(requester) ?? 0
      if (count >= OPEN_REQUESTS_MAX) throw new HubError('rate_limited', `${count} requests wait for their replies`)
      counts.set(requester, count + 1)
      open.set(key, { requester, responder, untilMs: clock.monotonicMs() + (timeoutMs ?? DEFAULT_TIMEOUT_MS) })
    },
    settle(id, responder) {
      const key = keyOf(id, responder)
      const entry = open.get(key)
      if (entry === undefined || entry.untilMs <= clock.monotonicMs()) {
        remove(key)
        throw new HubError('already_resolved', 'no request of that id waits for your reply')
      }
      remove(key)
      return entry.requester
    },
    requesterOf: (id, responder) => open.get(keyOf(id, responder))?.requester,
    forget(session) {
      for (const [key, entry] of open) if (entry.requester === session || entry.responder === session) remove(key)
    },
    expire() {
      const now = clock.monotonicMs()
      const past = [...open].filter(([, entry]) => entry.untilMs <= now)
      for (const [key] of past) remove(key)
      return past.length
    },
  }
}
