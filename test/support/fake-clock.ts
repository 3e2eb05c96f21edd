/** A clock that moves only when told to: `advance` runs every timer that falls due, in order, letting promises settle between. */
import type { Clock } from '../../hub/base/clock.ts'

export interface FakeClock extends Clock {
  /** Moves wall, boot and monotonic time together. */
  advance(ms: number): Promise<void>
  /** Steps the wall clock alone, as a person or NTP would. */
  stepWall(ms: number): void
  /** Suspend: wall and boot move, monotonic does not. */
  suspend(ms: number): void
  /** As a process finds the clocks that was stopped (SIGSTOP): all have moved, no timer has run. */
  jump(ms: number): void
  pendingTimers(): number
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve))

export function createFakeClock(startWallMs = Date.UTC(2026, 0, 5, 9), bootId = 'boot-a'): FakeClock {
  let wall = startWallMs
  let boot = 1_000_000
  let monotonic = 500
  let timers: { at: number; fn: () => void }[] = []

  const after = (delayMs: number, fn: () => void) => {
    const timer = { at: monotonic + Math.max(0, delayMs), fn }
    timers.push(timer)
    return {
      cancel: () => {
        timers = timers.filter((other) => other !== timer)
      },
    }
  }
  const moveTo = (target: number) => {
    const delta = target - monotonic
    monotonic += delta
    wall += delta
    boot += delta
  }
  return {
    bootId,
    wallMs: () => wall,
    bootMs: () => boot,
    monotonicMs: () => monotonic,
    after,
    sleep(delayMs, signal) {
      return new Promise((resolve) => {
        if (signal?.aborted) return resolve()
        const timer = after(delayMs, resolve)
        signal?.addEventListener(
          'abort',
          () => {
            timer.cancel()
            resolve()
          },
          { once: true },
        )
      })
    },
    async advance(ms) {
      const end = monotonic + ms
      await settle()
      for (;;) {
        const due = timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0]
        if (due === undefined) break
        timers = timers.filter((timer) => timer !== due)
        moveTo(Math.max(due.at, monotonic))
        due.fn()
        await settle()
        await settle()
      }
      moveTo(end)
      await settle()
    },
    stepWall(ms) {
      wall += ms
    },
    suspend(ms) {
      wall += ms
      boot += ms
    },
    jump: (ms) => moveTo(monotonic + ms),
    pendingTimers: () => timers.length,
  }
}
