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

export function createAlertedArtifacts(folder: string, { clock, random, guard }: Outer) {
  const { store, alerts } = guard
  return createArtifacts(
    { folder },
    {
      store,
      clock,
      random,
      judged(sha256, isRight) {
        const cause = `artifact_corrupt:${sha256}`
        if (!isRight) alerts.raise(cause, 'warning', `artifact ${sha256} is damaged on disk and is not served`)
        else if (alerts.isOpen(cause)) alerts.resolve(cause)
      },
    },
  )
}
