/** Owner of `loop_failing`: a loop of the hub that failed three times in a row does not do its work, even if the rest goes on (fault G3). */
import type { Alerts } from '../alerts/alerts.ts'
import type { Modes } from '../modes.ts'

const FAULTS_IN_A_ROW = 3

export interface LoopWatch {
  failed(loop: string, reason: string, faultsInARow: number): void
  /** It ended well: for the first time in this run, or again after a fault. */
  well(loop: string): void
}

export function createLoopWatch(parts: {
  modes: Pick<Modes, 'raise' | 'clear'>
  alerts: Pick<Alerts, 'raise' | 'resolve'>
}): LoopWatch {
  const { modes, alerts } = parts
  const failing = new Set<string>()
  return {
    failed(loop, reason, faultsInARow) {
      if (faultsInARow < FAULTS_IN_A_ROW || failing.has(loop)) return
      failing.add(loop)
      modes.raise('loop_failing', `${loop}: ${reason}`)
      const text = `The loop ${loop} of the hub fails again and again: ${reason}. Nothing new starts until it works; see logs/hub.log, then run: hub doctor`
      alerts.raise(`loop_failing:${loop}`, 'warning', text)
    },
    well(loop) {
      // Always, because the alert may be from an earlier run.
      alerts.resolve(`loop_failing:${loop}`)
      if (failing.delete(loop) && failing.size === 0) modes.clear('loop_failing')
    },
  }
}
