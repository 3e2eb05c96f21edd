/** How much time has passed since a persisted instant (docs/safety.md 9). Pure but for the clock that is handed in. */
import type { Clock } from './clock.ts'

/** An instant as it is kept: by both clocks, with the boot it was read in. */
export interface Mark {
  bootId: string
  bootMs: number
  wallMs: number
}

export const markOf = (clock: Clock): Mark => ({
  bootId: clock.bootId,
  bootMs: clock.bootMs(),
  wallMs: clock.wallMs(),
})

/** Within one boot: by boot time, which counts suspend and never steps. Across a reboot: by the wall clock, never below zero. */
export const elapsedMs = (mark: Mark, clock: Clock): number =>
  Math.max(0, mark.bootId === clock.bootId ? clock.bootMs() - mark.bootMs : clock.wallMs() - mark.wallMs)
