/** A named periodic job: runs, backs off after a fault, can be nudged, reports its last success. One run at a time, never two. */
import type { Clock } from './clock.ts'

export interface Loop {
  readonly name: string
  start(): void
  /** Run soon instead of at the next tick; nudges during a run cause exactly one more. */
  nudge(): void
  /** Stops after the present run and resolves then. */
  stop(): Promise<void>
  /** Monotonic instant of the last run that ended well, or undefined. */
  lastSuccessAt(): number | undefined
}

export interface LoopOptions {
  name: string
  /** A function is asked before each wait. */
  everyMs: number | (() => number)
  /** After the n-th fault in a row the wait is `everyMs * 2^n`, at most this. */
  backoffMaxMs?: number
  run: () => Promise<void> | void
  onFault: (name: string, thrown: unknown, faultsInARow: number) => void
  /** It ended well: for the first time, or again after a fault. */
  onWell?: (name: string) => void
}

export function createLoop(options: LoopOptions, clock: Clock): Loop {
  const { name, run, onFault } = options
  const everyMs = () => (typeof options.everyMs === 'number' ? options.everyMs : options.everyMs())
  let turning = { stopped: true }
  let faults = 0
  let lastSuccess: number | undefined
  let wake = new AbortController()
  let nudged = false
  let running: Promise<void> | undefined

  async function turn(mine: { stopped: boolean }): Promise<void> {
    while (!mine.stopped) {
      nudged = false
      try {
        await run()
        if (faults > 0 || lastSuccess === undefined) options.onWell?.(name)
        faults = 0
        lastSuccess = clock.monotonicMs()
      } catch (thrown) {
        faults += 1
        onFault(name, thrown, faults)
      }
      if (mine.stopped || nudged) continue
      wake = new AbortController()
      const waitMs = everyMs()
      const mostMs = options.backoffMaxMs ?? Math.max(waitMs, 30_000)
      await clock.sleep(faults === 0 ? waitMs : Math.min(waitMs * 2 ** faults, mostMs), wake.signal)
    }
  }

  return {
    name,
    start() {
      if (!turning.stopped) return
      const mine = { stopped: false }
      turning = mine
      // Started again while the last run is still ending: the new run waits for it.
      const next = running === undefined ? turn(mine) : running.then(() => turn(mine))
      running = next
      void next.finally(() => {
        if (running === next) running = undefined
      })
    },
    nudge() {
      nudged = true
      wake.abort()
    },
    async stop() {
      turning.stopped = true
      wake.abort()
      await running
    },
    lastSuccessAt: () => lastSuccess,
  }
}
