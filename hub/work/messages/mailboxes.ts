/**
 * One bounded mailbox per session, in memory (S0-2, S0-3, T66). Deliveries are numbered and offered again until passed.
 *
 * B1. The 513th waiting message is refused, never dropped. The hub's own words (a child's outcome, `finish`) have further places, so that
 *     no sender can keep them from a session by filling its mailbox.
 * B2. Numbers rise across restarts of the hub (they begin at epoch * 2^32), so a client's `after` never hides new mail.
 */
import { type BoundedQueue, createBoundedQueue } from '../../base/bounded.ts'
import { HubError } from '../../base/errors.ts'
import { type Delivery, MAILBOX_MAX } from '../../protocol/envelope.ts'

const OFFER_MAX = 64

export interface Mailboxes {
  open(session: string): void
  close(session: string): void
  /** Takes nothing more from others; what waits in it can still be read, and the hub's own words still come (safety.md section 5). */
  seal(session: string): void
  isOpen(session: string): boolean
  depth(session: string): number
  /** Keeps a place for one delivery, to be `put` or let go. Throws `inbox_closed` or `mailbox_full`. */
  reserve(session: string): void
  letGo(session: string): void
  /** Puts a delivery into its kept place. A mailbox that closed meanwhile takes nothing: its session is over. */
  putReserved(session: string, delivery: Omit<Delivery, 'number'>): void
  /** Of the hub itself: also into a mailbox that is full for others. Throws `inbox_closed`, or `mailbox_full` past the hub's own places. */
  put(session: string, delivery: Omit<Delivery, 'number'>): void
  /** Hears every delivery as it is put, instead of waiting for it; undefined ends that. */
  listen(session: string, listener: ((delivery: Delivery) => void) | undefined): void
  /** Forgets deliveries up to `after`. */
  pass(session: string, after: number): void
  /** Forgets deliveries up to `after` and answers the next ones, at most 64. */
  take(session: string, after: number): Delivery[]
  /** Resolves when the mailbox holds something beyond `after`, closes, or the signal aborts. */
  waitForMail(session: string, after: number, signal: AbortSignal): Promise<void>
}

interface Box {
  queue: BoundedQueue<Delivery>
  next: number
  reserved: number
  sealed: boolean
  listener: ((delivery: Delivery) => void) | undefined
  waiters: Set<() => void>
}

export function createMailboxes(options: { epoch: number; limit?: number; ownMax?: number }): Mailboxes {
  const { limit = MAILBOX_MAX, ownMax = 64 } = options
  const boxes = new Map<string, Box>()
  const boxOf = (session: string): Box => {
    const box = boxes.get(session)
    if (box === undefined) throw new HubError('inbox_closed', `session ${session} has ended`)
    return box
  }
  const wake = (box: Box) => {
    for (const waiter of box.waiters) waiter()
    box.waiters.clear()
  }
  function keepPlace(session: string, places: number): void {
    const box = boxOf(session)
    if (box.queue.size + box.reserved >= places) {
      throw new HubError('mailbox_full', `session ${session} has ${box.queue.size} unread deliveries`)
    }
    box.reserved += 1
  }
  function fill(session: string, content: Omit<Delivery, 'number'>): void {
    const box = boxes.get(session)
    if (box === undefined) return
    const delivery = { number: box.next, ...content }
    box.reserved -= 1
    box.next += 1
    box.queue.push(delivery)
    box.listener?.(delivery)
    wake(box)
  }
  return {
    open(session) {
      if (boxes.has(session)) return
      boxes.set(session, {
        queue: createBoundedQueue(limit + ownMax),
        next: options.epoch * 2 ** 32 + 1,
        waiters: new Set(),
        reserved: 0,
        sealed: false,
        listener: undefined,
      })
    },
    close(session) {
      const box = boxes.get(session)
      boxes.delete(session)
      if (box !== undefined) wake(box)
    },
    seal(session) {
      const box = boxes.get(session)
      if (box !== undefined) box.sealed = true
    },
    isOpen: (session) => boxes.has(session),
    depth: (session) => boxes.get(session)?.queue.size ?? 0,
    reserve(session) {
      if (boxOf(session).sealed) throw new HubError('inbox_closed', `session ${session} was told to finish`)
      keepPlace(session, limit)
    },
    letGo(session) {
      const box = boxes.get(session)
      if (box !== undefined) box.reserved -= 1
    },
    putReserved: fill,
    put(session, delivery) {
      keepPlace(session, limit + ownMax)
      fill(session, delivery)
    },
    listen(session, listener) {
      const box = boxes.get(session)
      if (box !== undefined) box.listener = listener
    },
    pass: (session, after) => void boxOf(session).queue.dropWhile((delivery) => delivery.number <= after),
    take(session, after) {
      const { queue } = boxOf(session)
      queue.dropWhile((delivery) => delivery.number <= after)
      return queue.peekAll().slice(0, OFFER_MAX)
    },
    waitForMail(session, after, signal) {
      const box = boxOf(session)
      box.queue.dropWhile((delivery) => delivery.number <= after)
      if (box.queue.size > 0 || signal.aborted) return Promise.resolve()
      return new Promise((resolve) => {
        const done = () => {
          box.waiters.delete(done)
          signal.removeEventListener('abort', done)
          resolve()
        }
        box.waiters.add(done)
        signal.addEventListener('abort', done, { once: true })
      })
    },
  }
}
