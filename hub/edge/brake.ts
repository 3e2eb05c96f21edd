/**
 * Whether one line is read from. It is not read while its waiting frames fill a whole group, or while its agent floods (T65).
 *
 * A frame over the quota costs the hub a MAC, a turn and an answer, which a flooder could demand ten thousand times a second. So 64 of them
 * cost the line a rest in which nothing is read: its own socket fills up, and the others do not notice.
 */
import type { Clock, Timer } from '../base/clock.ts'

/** What a connection can do; a WebSocket. */
export interface Peer {
  pause(): void
  resume(): void
}

export interface Brake extends Peer {
  /** Paused by `pause`; a rest does not count. */
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
      // What was read before the rest is still served, and does not make the rest longer.
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
