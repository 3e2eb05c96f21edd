/**
 * Requests of one connection are served one at a time, and a flooder is not read any further (fault F11, T65). Node parses all requests
 * that one read of a socket brings, 64 KiB of them, and would serve them side by side.
 *
 * H1. A request that comes while another of its connection is under way waits its turn. The socket is not read meanwhile, so what waits of
 *     one connection is what one read brought.
 * H2. All connections of one session are one peer: 64 refusals for its rate cost all of them a rest (brake.ts).
 * H3. A connection may have a pace of its own. Faster requests wait; nobody refuses them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../base/clock.ts'
import { createBrake } from './brake.ts'

export interface Turns {
  /** Calls `serve` when everything before it on its connection has been answered. */
  take(request: IncomingMessage, response: ServerResponse, serve: () => void): void
  /** A request of this connection is under way or waits. */
  isBusy(socket: Duplex): boolean
  /** It waits because it asked faster than its pace. */
  isOverPace(socket: Duplex): boolean
  /** A request was over the peer's rate. */
  flooded(): void
  /** The peer has ended: nothing that waits is served any more. */
  stop(): void
}

/** Requests a second on one connection, with a burst of twice that. */
export interface Pace {
  perSecond: number
}

interface Line {
  socket: Duplex
  isBusy: boolean
  waiting: { response: ServerResponse; serve: () => void }[]
  /** How many may begin at once now. */
  level: number
  atMs: number
  timer: Timer | undefined
}

export function createTurns(clock: Clock, pace?: Pace): Turns {
  const lines = new WeakMap<Duplex, Line>()
  /** Those with something that waits. */
  const held = new Set<Line>()
  let isResting = false
  let isOver = false
  const brake = createBrake(
    {
      pause() {
        isResting = true
      },
      resume() {
        isResting = false
        for (const line of [...held]) advance(line)
      },
    },
    clock,
  )

  function lineOf(socket: Duplex): Line {
    const known = lines.get(socket)
    if (known !== undefined) return known
    const made: Line = {
      socket,
      isBusy: false,
      waiting: [],
      level: (pace?.perSecond ?? 0) * 2,
      atMs: clock.monotonicMs(),
      timer: undefined,
    }
    lines.set(socket, made)
    // After each request that it parsed, Node reads on, even if somebody paused the socket meanwhile.
    socket.on('resume', () => {
      if (made.waiting.length > 0) socket.pause()
    })
    socket.once('close', () => {
      made.timer?.cancel()
      made.waiting = []
      held.delete(made)
    })
    return made
  }

  /** How long the connection must wait before its next request; 0 if it may begin. */
  function waitMs(line: Line): number {
    if (pace === undefined) return 0
    const nowMs = clock.monotonicMs()
    const { perSecond } = pace
    line.level = Math.min(perSecond * 2, line.level + ((nowMs - line.atMs) / 1000) * perSecond)
    line.atMs = nowMs
    if (line.level < 1) return Math.ceil(((1 - line.level) / perSecond) * 1000)
    line.level -= 1
    return 0
  }

  function advance(line: Line): void {
    if (line.isBusy || isResting || isOver || line.timer !== undefined) return
    if (line.waiting.length === 0) {
      held.delete(line)
      line.socket.resume()
      return
    }
    const laterMs = waitMs(line)
    if (laterMs > 0) {
      line.timer = clock.after(laterMs, () => {
        line.timer = undefined
        advance(line)
      })
      return
    }
    const next = line.waiting.shift()
    if (next === undefined) return
    line.isBusy = true
    next.response.once('close', () => {
      line.isBusy = false
      if (!line.socket.destroyed) advance(line)
    })
    next.serve()
  }

  return {
    take({ socket }, response, serve) {
      const line = lineOf(socket)
      line.waiting.push({ response, serve })
      held.add(line)
      advance(line)
      // Only once it is known that it waits: a lone request must not stop the reading of its own body.
      if (line.waiting.length > 0) socket.pause()
    },
    isBusy(socket) {
      const line = lines.get(socket)
      return line !== undefined && (line.isBusy || line.waiting.length > 0)
    },
    isOverPace: (socket) => lines.get(socket)?.timer !== undefined,
    flooded: brake.flooded,
    stop() {
      isOver = true
      brake.stop()
      for (const line of held) line.timer?.cancel()
      held.clear()
    },
  }
}
