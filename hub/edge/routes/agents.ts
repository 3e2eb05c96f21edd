/** Operations on agents. */
import type { PolicyRow } from '../../guard/policy/data.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import type { Agent, Registry } from '../../work/registry.ts'
import type { Secrets } from '../../work/sandbox/secrets.ts'
import { lacksOf } from '../agent-lacks.ts'
import { type Handlers, handler } from '../serve.ts'
import { agentView } from '../views.ts'

type Ref = { name: string }

export function agentHandlers(parts: {
  registry: Registry
  tasks: Tasks
  secrets: Pick<Secrets, 'faultOf'>
  /** The row of an agent in the rules' data that are in force. */
  rowOf: (agent: string) => PolicyRow | undefined
  onChanged: () => void
}): Handlers {
  const { registry, tasks, secrets, rowOf, onChanged } = parts
  const find = (name: string): Agent => {
    const agent = registry.find(name)
    if (agent === undefined) throw registry.missing(name)
    return agent
  }
  const view = (agent: Agent) =>
    agentView(agent, tasks.sessionsOpen().filter((session) => session.agent === agent.card.name).length)
  const list = () => ({
    agents: registry.list().map(view),
    problems: registry.problems(),
    shadowed: registry.shadowed().map(({ agent, file, by }) => ({ agent, card: file.path, by: by.path })),
  })
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
    'agent.show': handler({
      resource,
      effect(_grant, { name }: Ref) {
        const [agent, row] = [find(name), rowOf(name)]
        return { agent: view(agent), row: row ?? null, lacks: lacksOf(agent, { row, secretFault: secrets.faultOf }) }
      },
    }),
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
