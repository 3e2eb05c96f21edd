/** Operations on agents. */
import type { Tasks } from '../../work/dispatch/tasks.ts'
import type { Agent, Registry } from '../../work/registry.ts'
import { type Handlers, handler } from '../serve.ts'
import { agentView } from '../views.ts'

type Ref = { name: string }

export function agentHandlers(parts: { registry: Registry; tasks: Tasks; onChanged: () => void }): Handlers {
  const { registry, tasks, onChanged } = parts
  const find = (name: string): Agent => {
    const agent = registry.find(name)
    if (agent === undefined) throw registry.missing(name)
    return agent
  }
  const view = (agent: Agent) =>
    agentView(agent, tasks.sessionsOpen().filter((session) => session.agent === agent.card.name).length)
  const list = () => ({ agents: registry.list().map(view), problems: registry.problems() })
  const resource = ({ name }: Ref) => `agent:${name}`
  const setState = (state: 'registered' | 'suspended', reason: string) =>
    handler({
      resource,
      effect: (grant, { name }: Ref) => registry.setState(grant, name, state, reason),
      after: (_result, { name }) => {
        onChanged()
        return { agent: view(find(name)) }
      },
    })

  return {
    'agent.list': handler({ effect: list }),
    'agent.show': handler({ resource, effect: (_grant, { name }: Ref) => ({ agent: view(find(name)) }) }),
    'agent.reload': handler({
      effect: () => undefined,
      after: async () => {
        await registry.read(true)
        onChanged()
        return list()
      },
    }),
    'agent.reset': setState('registered', ''),
    'agent.suspend': setState('suspended', 'suspended by the operator'),
  }
}
