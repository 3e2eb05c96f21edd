/** Parts of the work ring whose findings are alerts: the breaker and the stored artifacts. */
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import { createArtifacts } from '../work/artifacts.ts'
import { createBreaker } from '../work/dispatch/breaker.ts'
import type { Guard } from './guard.ts'

interface Outer {
  clock: Clock
  random: Random
  guard: Guard
}

export function createAlertedBreaker(recyclesMax: number, { clock, guard }: Outer) {
  const { store, alerts, events } = guard
  return createBreaker(
    { recyclesMax },
    {
      store,
      clock,
      tripped(agent, text) {
        alerts.raise(`agent_breaker:${agent}`, 'warning', `agent ${agent} is halted: ${text}`)
        events.publish('hub.agent.halted.v1', `agent:${agent}`, { agent, reason: text })
      },
      ended: (agent) => alerts.resolve(`agent_breaker:${agent}`),
    },
  )
}

/** Of more damaged files than this the folder is at fault and not each of them: one alert says so (fault G10). */
const DAMAGED_TOLD_MAX = 5
const MANY = 'artifacts_damaged'

export function createAlertedArtifacts(folder: string, { random, guard }: Omit<Outer, 'clock'>) {
  const { store, alerts } = guard
  const bad = new Set<string>()
  return createArtifacts(
    { folder },
    {
      store,
      clock: guard.footing.steady,
      random,
      judged(sha256, isRight) {
        const cause = `artifact_corrupt:${sha256}`
        if (isRight) {
          bad.delete(sha256)
          if (alerts.isOpen(cause)) alerts.resolve(cause)
          return
        }
        bad.add(sha256)
        if (bad.size <= DAMAGED_TOLD_MAX || alerts.isOpen(cause))
          alerts.raise(
            cause,
            'warning',
            `artifact ${sha256} is damaged on disk and is not served: look at the disk (dmesg), then put the same bytes again or the file back from a backup`,
          )
        else
          alerts.raise(
            MANY,
            'warning',
            `more than ${DAMAGED_TOLD_MAX} artifacts are damaged or gone and are not served: put ${folder} back from a backup (backups/*/artifacts)`,
          )
      },
      passed: () => {
        if (bad.size <= DAMAGED_TOLD_MAX && alerts.isOpen(MANY)) alerts.resolve(MANY)
      },
    },
  )
}
