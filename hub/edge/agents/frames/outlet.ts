/**
 * The outgoing side of one fast session: acks and deliveries, never more than the peer takes (T67).
 *
 * O1. Deliveries leave in the order of their numbers, each once. What the peer has no room for stays in its bounded mailbox. It is offered
 *     when the socket has drained, or when the peer has said what it has.
 * O2. A peer that takes nothing for 5 s, or lets over 1 MiB wait, is terminated, never closed: closing lingers 30 s, and `send` never
 *     blocks.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Clock, Timer } from '../../../base/clock.ts'
import type { OpenedSession } from '../../../guard/identity/opened-sessions.ts'
import { FRAME_TYPES } from '../../../protocol/frame.ts'
import type { Mail } from '../../../work/messages/mailboxes.ts'

export interface FrameOutlet {
  ack(text: string): void
  /** A delivery that was just put into the mailbox. */
  deliver(mail: Mail): void
  /** The peer has everything up to `after`. Offering begins with this call. */
  seen(after: number): void
  /** Nothing more leaves. */
  stop(): void
}

const BUFFERED_BYTES_MAX = 1024 * 1024
/** Above this, deliveries wait in the mailbox, so that a burst does not get a healthy reader cut off. */
const PUSHED_BYTES_MAX = 256 * 1024
const DRAIN_MS_MAX = 5000
const LOOK_EVERY_MS = 1000

export function createFrameOutlet(parts: {
  ws: WebSocket
  socket: Socket
  opened: Pick<OpenedSession, 'seal'>
  clock: Clock
  /** Forgets deliveries up to `after`, and answers the next ones. `more`: the mailbox has further ones. */
  take: (after: number) => { deliveries: Mail[]; more: boolean }
  /** How often the peer is pinged. */
  pingMs: () => number
  /** The peer answered a ping; only a running event loop does that. */
  heard: () => void
  /** Ends the line at once. */
  cut: (why: string) => void
}): FrameOutlet {
  const { ws, socket, opened, clock, take, pingMs, heard, cut } = parts
  let offered = 0
  let after = 0
  let behind = true
  let stopped = false
  let timer: Timer | undefined
  let drained = 0
  let drainedAtMs = 0

  const drainedBytes = () => socket.bytesWritten - socket.writableLength

  function write(frame: Buffer): void {
    if (stopped || ws.readyState !== ws.OPEN) return
    if (ws.bufferedAmount > BUFFERED_BYTES_MAX) {
      cut('it left over 1 MiB unread')
      return
    }
    ws.send(frame)
    watch()
  }

  function watch(): void {
    if (timer !== undefined || stopped || ws.bufferedAmount === 0) return
    drained = drainedBytes()
    drainedAtMs = clock.monotonicMs()
    look()
  }
  function look(): void {
    timer = clock.after(LOOK_EVERY_MS, () => {
      timer = undefined
      if (stopped || ws.bufferedAmount === 0) return
      if (drainedBytes() !== drained) {
        drained = drainedBytes()
        drainedAtMs = clock.monotonicMs()
      } else if (clock.monotonicMs() - drainedAtMs >= DRAIN_MS_MAX) {
        cut('it took nothing for 5 s')
        return
      }
      look()
    })
  }

  function push({ number, text }: Mail): void {
    offered = number
    write(opened.seal(FRAME_TYPES.delivery, text))
  }

  function catchUp(): void {
    const { deliveries, more } = take(after)
    for (const delivery of deliveries) {
      if (delivery.number <= offered) continue
      if (stopped || ws.bufferedAmount > PUSHED_BYTES_MAX) return
      push(delivery)
    }
    behind = more
  }

  let asking: Timer | undefined
  function ask(): void {
    asking = clock.after(pingMs(), () => {
      if (ws.readyState === ws.OPEN) ws.ping()
      ask()
    })
  }
  ws.on('pong', heard)
  heard()
  ask()

  socket.on('drain', () => {
    if (behind && !stopped) catchUp()
  })

  return {
    ack: (text) => write(opened.seal(FRAME_TYPES.ack, text)),
    deliver(delivery) {
      if (!behind && ws.bufferedAmount <= PUSHED_BYTES_MAX) push(delivery)
      else behind = true
    },
    seen(said) {
      after = Math.max(after, said)
      offered = Math.max(offered, after)
      if (behind) catchUp()
    },
    stop() {
      stopped = true
      timer?.cancel()
      asking?.cancel()
    },
  }
}
