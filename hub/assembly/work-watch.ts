/** What of the work becomes an alert and has no other place to be seen from: agents that failed too often, sessions that ended while one was open. */
import type { Guard } from './guard.ts'
import type { Work } from './work.ts'

export function createWorkWatch({ guard, work }: { guard: Guard; work: Work }) {
  const { alerts, events } = guard
  const mayServe = (name: string) => {
    const agent = work.registry.find(name)
    return agent?.card.mode === 'service' && agent.state === 'registered'
  }
  const end = events.subscribe(({ type, subject, data }) => {
    const name = subject.slice(subject.indexOf(':') + 1)
    if (type === 'hub.session.ended.v1') {
      work.afterStart.ended(name)
      alerts.resolve(`session_stalled:${name}`, 'The session has ended.')
    }
    if (type === 'hub.agent.crashed.v1')
      alerts.raise(
        `agent_unhealthy:${name}`,
        'warning',
        `Agent ${name} ended without a result as often as its card allows (last: ${String(data.how)}); task ${String(data.task)} failed. It starts no more until \`hub agent reset ${name}\`.`,
      )
  })

  return {
    /** Every minute: containers once more, and alerts of agents that may start again, or that nobody starts any more. */
    async round() {
      for (const { cause } of alerts.list()) {
        const [kind, name = ''] = cause.split(':')
        if (kind === 'agent_unhealthy' && work.registry.find(name)?.state !== 'unhealthy')
          alerts.resolve(cause, `Agent ${name} may start again.`)
        if (kind === 'service_refused' && !mayServe(name))
          alerts.resolve(cause, `Agent ${name} is no service that would be started now.`)
      }
      await work.afterStart.round()
    },
    end,
  }
}
