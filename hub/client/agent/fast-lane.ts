/**
 * Whether messages go by frames now, and when a fast line is opened (docs/protocol.md 3).
 *
 * 1. Nobody waits for an opening: until it succeeds, and when it fails, messages go as signed requests.
 * 2. If the hub asks for a new line (4001), it is opened at once, and messages keep their order; any other end is a lost link.
 * 3. A delivery counts as held once the program has taken it; a new line offers everything after that.
 */
import { HubError } from '../../base/errors.ts'
import type { Delivery } from '../../protocol/envelope.ts'
import { CLOSE_CODES, ENVELOPE_BYTES_MAX } from '../../protocol/frame.ts'
import type { Ack, FastLine, FastLineOptions } from './fast-line.ts'
import { UNCONFIRMED_MAX } from './pending.ts'
import { LinkLost } from './wire.ts'

/**
 * `auto`: opens a fast session when more than 20 messages were sent within a second. `always`: opens it before `connect` returns, so that even
 * messages sent without waiting keep their order. Both use signed requests if it cannot be opened. `never`: signed requests only.
 */
export type SessionMode = 'auto' | 'never' | 'always'

export interface FastLane {
  /** Whether messages are taken: there is a line, or it is being opened again. */
  isOpen(): boolean
  /** Says that a message is about to go; opens a line when that is due. */
  note(): void
  /** Opens one now; resolves in any case. */
  open(): Promise<void>
  /** Resolves when it is committed. Rejects with the hub's refusal or LinkLost. */
  send(envelope: Buffer): Promise<void>
  settled(): Promise<void>
  /** Waits for pushed deliveries; none when the line has ended. */
  receive(): Promise<Delivery[]>
  /** Everything up to this number came by signed request. */
  holds(number: number): void
  close(reason: unknown): void
}

export type OpenLine = (
  heard: Pick<FastLineOptions, 'after' | 'onAck' | 'onDelivery' | 'onClosed'>,
) => Promise<FastLine>

/** More sends than this within a second are worth a line. */
const SENDS_A_SECOND = 20
const REOPENED_MAX = 3
const RETRY_MIN_MS = 2_000
const RETRY_MAX_MS = 60_000

export function createFastLane(
  mode: SessionMode,
  parts: {
    openLine: OpenLine
    errorOf: (problem: Record<string, unknown>) => unknown
    /** An open line was lost: the hub may have restarted, although no request noticed. */
    onLost: () => void
  },
): FastLane {
  const queue = createFastQueue(parts.errorOf)
  const sends: number[] = []
  let line: FastLine | undefined
  let opening: Promise<void> | undefined
  let isReopening = false
  /** Reopenings in a row before anything was acknowledged. */
  let reopened = 0
  let closed = false
  let retryAt = 0
  let failures = 0
  let held = 0
  let pushed: Delivery[] = []
  let wake = () => {}

  const isOpen = () => line !== undefined || isReopening

  async function connect(): Promise<void> {
    let mine: FastLine | undefined
    let hasEnded = false
    pushed = []
    try {
      mine = await parts.openLine({
        after: held,
        onAck(ack) {
          reopened = 0
          queue.take(ack)
        },
        onDelivery(delivery) {
          pushed.push(delivery)
          wake()
        },
        onClosed(code) {
          hasEnded = true
          if (line === mine && mine !== undefined) end(code)
        },
      })
      if (closed || hasEnded) throw new LinkLost('the fast line closed at once')
      line = mine
      failures = 0
      queue.attach(mine)
    } catch (thrown) {
      mine?.close()
      pushed = []
      retryAt = performance.now() + Math.min(RETRY_MIN_MS * 2 ** failures, RETRY_MAX_MS)
      failures += 1
      isReopening = false
      queue.failAll(new LinkLost('the fast line could not be opened', { cause: thrown }))
    }
    isReopening = false
    wake()
  }

  function begin(): Promise<void> {
    opening ??= connect().finally(() => {
      opening = undefined
    })
    return opening
  }

  function end(code: number): void {
    line = undefined
    pushed = []
    if (code === CLOSE_CODES.rekey && reopened < REOPENED_MAX && !closed) {
      reopened += 1
      isReopening = true
      queue.attach(undefined)
      void begin()
    } else {
      queue.failAll(new LinkLost(`the fast line closed with ${code}`))
      if (!closed) parts.onLost()
    }
    wake()
  }

  function isBusy(now: number): boolean {
    sends.push(now)
    if (sends.length <= SENDS_A_SECOND) return false
    return now - (sends.shift() ?? 0) <= 1_000
  }

  return {
    isOpen,
    note() {
      if (mode === 'never' || closed || line !== undefined || opening !== undefined) return
      const now = performance.now()
      if ((mode === 'always' || isBusy(now)) && now >= retryAt) void begin()
    },
    open: begin,
    send: queue.send,
    settled: queue.settled,
    async receive() {
      while (pushed.length === 0 && isOpen()) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      const taken = pushed
      pushed = []
      const last = taken.at(-1)
      if (last === undefined) return []
      held = Math.max(held, last.number)
      line?.seen(held, taken.length)
      return taken
    },
    holds(number) {
      held = Math.max(held, number)
    },
    close(reason) {
      closed = true
      queue.failAll(reason)
      line?.close()
      wake()
    },
  }
}

/**
 * Envelopes on the fast line, in their order: at most 1 024 unconfirmed, each settled by the hub's ack.
 *
 * 1. What was sent on one line and not confirmed goes out first on the next, in the same order, under the same ids.
 * 2. A refusal settles its own envelope only.
 */
interface FastQueue {
  /** Resolves when it is committed. Rejects with the hub's refusal, or with LinkLost: then send it again. */
  send(envelope: Buffer): Promise<void>
  take(ack: Ack): void
  /** The line to send on from now; none while one is opened again. */
  attach(line: FastLine | undefined): void
  failAll(thrown: unknown): void
  /** Resolves when nothing waits. */
  settled(): Promise<void>
}

interface Waiting {
  envelope: Buffer
  sequence: number
  resolve: () => void
  reject: (thrown: unknown) => void
}

/** As long as a signed request would wait for its answer. */
const ACK_MS_MAX = 60_000

export function createFastQueue(errorOf: (problem: Record<string, unknown>) => unknown): FastQueue {
  let line: FastLine | undefined
  let unconfirmed: Waiting[] = []
  let backlog: Waiting[] = []
  const idle: (() => void)[] = []
  let late: NodeJS.Timeout | undefined

  function pump(): void {
    const room = UNCONFIRMED_MAX - unconfirmed.length
    if (line === undefined || room <= 0 || backlog.length === 0) return
    for (const waiting of backlog.splice(0, room)) {
      waiting.sequence = line.say(waiting.envelope)
      unconfirmed.push(waiting)
    }
    late ??= setTimeout(() => line?.close(), ACK_MS_MAX).unref()
  }
  function rest(): void {
    clearTimeout(late)
    late = undefined
    if (unconfirmed.length + backlog.length > 0) return
    for (const done of idle.splice(0)) done()
  }

  return {
    async send(envelope) {
      // The hub would end the line for its length, before it knows whose message it is.
      if (envelope.length > ENVELOPE_BYTES_MAX)
        throw new HubError(
          'too_large',
          `a message holds at most ${ENVELOPE_BYTES_MAX} bytes, this one has ${envelope.length}`,
        )
      await new Promise<void>((resolve, reject) => {
        backlog.push({ envelope, sequence: 0, resolve, reject })
        pump()
      })
    },
    take({ upTo, refused }) {
      const open = unconfirmed.findIndex(({ sequence }) => sequence > upTo)
      const settled = unconfirmed.splice(0, open === -1 ? unconfirmed.length : open)
      if (settled.length > 0) rest()
      for (const { sequence, resolve, reject } of settled) {
        const problem = refused.get(sequence)
        if (problem === undefined) resolve()
        else reject(errorOf(problem))
      }
      pump()
    },
    attach(next) {
      line = next
      backlog = unconfirmed.concat(backlog)
      unconfirmed = []
      rest()
      pump()
    },
    failAll(thrown) {
      const lost = unconfirmed.concat(backlog)
      line = undefined
      unconfirmed = []
      backlog = []
      rest()
      for (const { reject } of lost) reject(thrown)
    },
    settled: () =>
      unconfirmed.length + backlog.length === 0 ? Promise.resolve() : new Promise((resolve) => void idle.push(resolve)),
  }
}
