/**
 * Whether one line is read from. Two hold it: its frames already waiting fill a whole group, or its agent floods (T65).
 *
 * A frame over the quota costs the hub a MAC, its turn and an answer, which a flooder would make it pay ten thousand times a second. So each
 * 64 of them cost the line a rest in which nothing is read: its own socket fills up, and the others do not feel it.
 */
import type { Clock, Timer } from '../base/clock.ts'

/** What a connection can do; a WebSocket. */
export interface Peer {
  pause(): void
  resume(): void
}

export interface Brake extends Peer {
  /** By `pause`; a rest does not count. */
  readonly isPaused: boolean
  /** A frame of it was over its quota. */
  flooded(): void
  /** The line has ended: nothing resumes it any more. */
  stop(): void
}

export const FLOODED_FRAMES_MAX = 64
export const REST_MS = 250

export function createBrake(peer: Peer, clock: Clock): Brake {
  let isPaused = false
  let flooded = 0
  let rest: Timer | undefined
  const apply = () => (isPaused || rest !== undefined ? peer.pause() : peer.resume())
  return {
    get isPaused() {
      return isPaused
    },
    pause() {
      isPaused = true
      apply()
    },
    resume() {
      isPaused = false
      apply()
    },
    flooded() {
      flooded += 1
      // What had been read before the rest still has its turn, and makes it no longer.
      if (flooded < FLOODED_FRAMES_MAX || rest !== undefined) return
      rest = clock.after(REST_MS, () => {
        rest = undefined
        flooded = 0
        apply()
      })
      apply()
    },
    stop: () => rest?.cancel(),
  }
}
