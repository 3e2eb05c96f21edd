/**
 * One bounded mailbox per session, in memory (S0-2, S0-3, T66). Deliveries are numbered, and offered again until the reader acknowledges
 * them.
 *
 * B1. The 513th waiting message is refused, never dropped. The hub's own words (a child's outcome, `finish`) have extra places, so no
 *     sender can block them by filling the mailbox.
 * B2. Numbers rise across restarts of the hub (they begin at epoch * 2^32), so a client's `after` never hides new mail.
 * B3. Bytes are bounded too (fault F6): for one mailbox, for one sender in all mailboxes, and in all. A sender's share is so small that the
 *     sessions at work at once cannot fill the whole.
 * B4. A delivery waits as the text that will be sent, made once. As an object, its body may take twenty times as many bytes.
 */
import { type BoundedQueue, createBoundedQueue } from '../../base/bounded.ts'
import { HubError } from '../../base/errors.ts'
import type { Example, Spread } from '../../base/meters.ts'
import { BODY_BYTES_MAX, type Delivery, MAILBOX_MAX } from '../../protocol/envelope.ts'
import { readTraceparent, type Place as TracePlace } from '../../protocol/traces.ts'

const OFFER_MAX = 64
/** The most in one offer, beyond its first delivery. */
const OFFER_BYTES_MAX = 1024 ** 2

export const MAIL_BYTES_MAX = 64 * 1024 ** 2
export const BOX_BYTES_MAX = 8 * 1024 ** 2
export const SENDER_BYTES_MAX = 4 * 1024 ** 2
const SENDER_BYTES_MIN = 1024 ** 2
/** Places for the hub's own words, in each mailbox beside what others may send. */
const OWN_BYTES_EACH = BODY_BYTES_MAX + 4096
/** What each delivery costs beside its text. */
const OVERHEAD_BYTES = 256

export type Content = Omit<Delivery, 'number'>
/** A delivery as it waits and as it leaves: its JSON. */
export interface Mail {
  readonly number: number
  readonly text: string
}
/** A place that is kept for one delivery. Call exactly one of the two, once. */
export interface Place {
  /** A mailbox that closed meanwhile takes nothing: its session is over. */
  put(): void
  letGo(): void
}

export interface Mailboxes {
  open(session: string): void
  close(session: string): void
  /** Takes nothing more from others. What waits can still be read, and the hub's own words still come (docs/safety.md 5). */
  seal(session: string): void
  /** Answers who waits for mail now, although there is none. */
  wake(session: string): void
  isOpen(session: string): boolean
  /** Removes waiting mail that must not be delivered any more. Answers what that was; each `about` is the object that `test` was given. */
  keepOnly(test: (session: string, about: About) => boolean): About[]
  depth(session: string): number
  /** How long the oldest waiting delivery has waited, ms; 0 without one. */
  oldestMs(session: string): number
  /** The most memory that all waiting mail takes, in bytes. */
  bytes(): number
  /** Keeps a place and its bytes for a message of `sender`, a session. Throws `inbox_closed` or `mailbox_full`. */
  reserve(session: string, sender: string, content: Content): Place
  /** For the hub's own words, also if the mailbox is full for others. Throws `inbox_closed`, or `mailbox_full` above the hub's own places. */
  put(session: string, content: Content): void
  /** The listener hears every delivery as it is put, instead of waiting for it. Undefined ends that. */
  listen(session: string, listener: ((mail: Mail) => void) | undefined): void
  /** Forgets deliveries up to `after`. */
  pass(session: string, after: number): void
  /** Forgets deliveries up to `after`, and answers the next ones: at most 64 and 1 MiB. */
  take(session: string, after: number): Mail[]
  /** Resolves when the mailbox holds something beyond `after`, when it closes, or when the signal aborts. */
  waitForMail(session: string, after: number, signal: AbortSignal): Promise<void>
}

/** What the rules look at in a waiting delivery. */
export type About = Pick<Content, 'id' | 'from' | 'messageKind' | 'type' | 'topic' | 'dataClass'>
interface Waiting extends Mail {
  about: About
  bytes: number
  /** Undefined for the hub itself. */
  sender: string | undefined
  /** Since when it waits, monotonic. */
  atMs: number
  /** Only where traces are kept. */
  place: TracePlace | undefined
}
interface Box {
  queue: BoundedQueue<Waiting>
  next: number
  /** The hub's own places in it, as configured when it was opened. */
  ownMax: number
  reserved: number
  /** Bytes of waiting mail and kept places. */
  bytes: number
  sealed: boolean
  listener: ((mail: Mail) => void) | undefined
  waiters: Set<() => void>
}

/** The most memory that one string takes: two bytes for each character if one of them needs two. */
const bytesOf = (text: string): number =>
  OVERHEAD_BYTES + (Buffer.byteLength(text) === text.length ? text.length : 2 * text.length)

/** How much mail of one sender may wait if this many sessions work at once. Pure. */
export const senderBytesMax = (sessions: number): number =>
  Math.min(SENDER_BYTES_MAX, Math.max(SENDER_BYTES_MIN, Math.floor(MAIL_BYTES_MAX / sessions)))

const mib = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MiB`

export function createMailboxes(options: {
  epoch: number
  limit?: number
  ownMax?: number
  /** How many sessions may work at once, as configured. */
  sessions?: number
  /** Monotonic. Without it, nothing waits for any time. */
  nowMs?: () => number
  /** Gets how long each delivery waited until its reader confirmed it. */
  waited?: Spread
  /** By what that time can be found, from where the message stands; absent where no traces are kept. */
  exampleOf?: ((place: TracePlace) => Example | undefined) | undefined
}): Mailboxes {
  const { limit = MAILBOX_MAX, nowMs = () => 0, waited, exampleOf } = options
  const boxes = new Map<string, Box>()
  const bySender = new Map<string, number>()
  /** From senders; each mailbox bounds the hub's own words itself. */
  let sent = 0
  let own = 0

  const boxOf = (session: string): Box => {
    const box = boxes.get(session)
    if (box === undefined) throw new HubError('inbox_closed', `session ${session} has ended`)
    return box
  }
  const wake = (box: Box) => {
    for (const waiter of box.waiters) waiter()
    box.waiters.clear()
  }

  function count(box: Box, sender: string | undefined, bytes: number): void {
    box.bytes += bytes
    if (sender === undefined) {
      own += bytes
      return
    }
    sent += bytes
    const left = (bySender.get(sender) ?? 0) + bytes
    if (left > 0) bySender.set(sender, left)
    else bySender.delete(sender)
  }
  const forget = (box: Box, after: number, confirmed?: Spread) => {
    if (box.queue.size === 0) return
    const now = nowMs()
    box.queue.dropWhile((mail) => {
      if (mail.number > after) return false
      count(box, mail.sender, -mail.bytes)
      confirmed?.add((now - mail.atMs) / 1000, mail.place && exampleOf?.(mail.place))
      return true
    })
  }

  function requireBytes(session: string, box: Box, sender: string | undefined, bytes: number): void {
    const boxMax = BOX_BYTES_MAX + (sender === undefined ? box.ownMax * OWN_BYTES_EACH : 0)
    if (box.bytes + bytes > boxMax)
      throw new HubError('mailbox_full', `the unread mail of session ${session} holds ${mib(boxMax)}`)
    if (sender === undefined) return
    const senderMax = senderBytesMax(options.sessions ?? 12)
    if ((bySender.get(sender) ?? 0) + bytes > senderMax)
      throw new HubError('mailbox_full', `your mail that nobody has read yet holds ${mib(senderMax)}`)
    if (sent + bytes > MAIL_BYTES_MAX)
      throw new HubError('mailbox_full', `all mail that nobody has read yet holds ${mib(MAIL_BYTES_MAX)}`)
  }

  function keep(session: string, sender: string | undefined, content: Content): Place {
    const box = boxOf(session)
    const text = JSON.stringify(content)
    const { id, from, messageKind, type, topic, dataClass } = content
    const about = { id, from, messageKind, type, topic, dataClass } as About
    const places = sender === undefined ? limit + box.ownMax : limit
    if (box.queue.size + box.reserved >= places)
      throw new HubError('mailbox_full', `session ${session} has ${box.queue.size} unread deliveries`)
    const bytes = bytesOf(text)
    requireBytes(session, box, sender, bytes)
    box.reserved += 1
    count(box, sender, bytes)
    const letGo = () => {
      box.reserved -= 1
      count(box, sender, -bytes)
    }
    return {
      letGo,
      put() {
        if (boxes.get(session) !== box) return letGo()
        box.reserved -= 1
        const mail = {
          number: box.next,
          text: `{"number":${box.next},${text.slice(1)}`,
          about,
          bytes,
          sender,
          atMs: nowMs(),
          place: exampleOf && readTraceparent(content.traceparent),
        }
        box.next += 1
        box.queue.push(mail)
        box.listener?.(mail)
        wake(box)
      },
    }
  }

  return {
    open(session) {
      if (boxes.has(session)) return
      const ownMax = options.ownMax ?? 64
      boxes.set(session, {
        queue: createBoundedQueue(limit + ownMax),
        ownMax,
        next: options.epoch * 2 ** 32 + 1,
        waiters: new Set(),
        reserved: 0,
        bytes: 0,
        sealed: false,
        listener: undefined,
      })
    },
    close(session) {
      const box = boxes.get(session)
      boxes.delete(session)
      if (box === undefined) return
      forget(box, Number.POSITIVE_INFINITY)
      wake(box)
    },
    seal(session) {
      const box = boxes.get(session)
      if (box !== undefined) box.sealed = true
    },
    wake(session) {
      const box = boxes.get(session)
      if (box !== undefined) wake(box)
    },
    isOpen: (session) => boxes.has(session),
    keepOnly(test) {
      const taken: About[] = []
      for (const [session, box] of boxes) {
        const gone = box.queue.keepOnly(({ about }) => test(session, about))
        for (const { sender, bytes } of gone) count(box, sender, -bytes)
        taken.push(...gone.map(({ about }) => about))
      }
      return taken
    },
    depth: (session) => boxes.get(session)?.queue.size ?? 0,
    oldestMs(session) {
      const [oldest] = boxes.get(session)?.queue.peekAll() ?? []
      return oldest === undefined ? 0 : nowMs() - oldest.atMs
    },
    bytes: () => sent + own,
    reserve(session, sender, content) {
      if (boxOf(session).sealed) throw new HubError('inbox_closed', `session ${session} was told to finish`)
      return keep(session, sender, content)
    },
    put: (session, content) => keep(session, undefined, content).put(),
    listen(session, listener) {
      const box = boxes.get(session)
      if (box !== undefined) box.listener = listener
    },
    pass: (session, after) => forget(boxOf(session), after, waited),
    take(session, after) {
      const box = boxOf(session)
      forget(box, after, waited)
      const offered: Mail[] = []
      let bytes = 0
      for (const mail of box.queue.peekAll()) {
        bytes += mail.text.length
        if (offered.length === OFFER_MAX || (offered.length > 0 && bytes > OFFER_BYTES_MAX)) break
        offered.push(mail)
      }
      return offered
    },
    waitForMail(session, after, signal) {
      const box = boxOf(session)
      forget(box, after, waited)
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
