/**
 * Whether messages go by frames now, and when a fast line is opened (protocol.md section 3).
 *
 * 1. Nobody waits for an opening: until it succeeds, and when it fails, messages go as signed requests.
 * 2. A line that the hub wants opened anew (4001) is, at once, and what was under way stays in its order; any other end is a lost link.
 * 3. A delivery counts as held once the program took it; a new line is offered everything after that.
 */
import type { Delivery } from '../../protocol/envelope.ts'
import { CLOSE_CODES } from '../../protocol/frame.ts'
import type { FastLine, FastLineOptions } from './fast-line.ts'
import { createFastQueue } from './fast-queue.ts'
import { LinkLost } from './wire.ts'

/**
 * `auto`: a fast session is opened when more than 20 messages were sent within a second. `always`: before `connect` answers, so that even
 * what is sent without waiting keeps its order. Both do without when it cannot be opened. `never`: signed requests only.
 */
export type SessionMode = 'auto' | 'never' | 'always'

export interface FastLane {
  /** Whether messages are taken: there is a line, or it is being opened anew. */
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
  /** Everything up to this number came another way. */
  holds(number: number): void
  close(reason: unknown): void
}

export type OpenLine = (
  heard: Pick<FastLineOptions, 'after' | 'onAck' | 'onDelivery' | 'onClosed'>,
) => Promise<FastLine>

/** More sends than this within a second are worth a line. */
const SENDS_A_SECOND = 20
const VAIN_MAX = 3
const RETRY_MIN_MS = 2_000
const RETRY_MAX_MS = 60_000

export function createFastLane(
  mode: SessionMode,
  parts: {
    openLine: OpenLine
    errorOf: (problem: Record<string, unknown>) => unknown
    /** An open line was lost: the hub may be another one by now, though no request noticed. */
    onLost: () => void
  },
): FastLane {
  const queue = createFastQueue(parts.errorOf)
  const sends: number[] = []
  let line: FastLine | undefined
  let opening: Promise<void> | undefined
  let isAnew = false
  /** Openings in a row that were taken back before anything was acknowledged. */
  let vain = 0
  let closed = false
  let retryAt = 0
  let failures = 0
  let held = 0
  let pushed: Delivery[] = []
  let wake = () => {}

  const isOpen = () => line !== undefined || isAnew

  async function connect(): Promise<void> {
    let mine: FastLine | undefined
    let hasEnded = false
    pushed = []
    try {
      mine = await parts.openLine({
        after: held,
        onAck(ack) {
          vain = 0
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
      isAnew = false
      queue.failAll(new LinkLost('the fast line could not be opened', { cause: thrown }))
    }
    isAnew = false
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
    if (code === CLOSE_CODES.rekey && vain < VAIN_MAX && !closed) {
      vain += 1
      isAnew = true
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
