/** Operations on agents and policy. */
import { HubError } from '../../base/errors.ts'
import type { PolicyHealth } from '../../guard/conditions/policy-health.ts'
import type { Policy } from '../../guard/policy/bundle.ts'
import type { PolicyChanges } from '../../guard/policy/changes.ts'
import { strangersIn } from '../../guard/policy/data.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import type { Agent, Registry } from '../../work/registry.ts'
import { type Handlers, handler } from '../serve.ts'
import { agentView } from '../views.ts'

type Ref = { name: string }

export function agentHandlers(parts: {
  registry: Registry
  tasks: Tasks
  policy: Policy
  rules: PolicyHealth
  changes: PolicyChanges
  onChanged: () => void
  /** What waits was let through by rules that are no more. */
  decideAgain: () => void
}): Handlers {
  const { registry, tasks, policy, rules, changes, onChanged, decideAgain } = parts
  const find = (name: string): Agent => {
    const agent = registry.find(name)
    if (agent === undefined) throw new HubError('unknown_agent', `no agent is named ${name}; see \`hub agent list\``)
    return agent
  }
  const view = (agent: Agent) =>
    agentView(agent, tasks.sessionsOpen().filter((session) => session.agent === agent.card.name).length)
  const list = () => ({ agents: registry.list().map(view), problems: registry.problems() })
  const resource = ({ name }: Ref) => `agent:${name}`
  /** With what is wrong in it although it is in force: names that nobody bears, and a later file that was refused. */
  const policyView = () => {
    const { data } = policy.active()
    const cards = registry.list().map(({ card }) => card.name)
    return {
      ...policy.status(),
      refused: rules.refused() ?? null,
      warnings: data === undefined ? [] : strangersIn(data, cards),
    }
  }
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
    'policy.status': handler({ effect: policyView }),
    'policy.reload': handler({
      // Why, where one was given: `hub agent allow` names the agent, and the record keeps it.
      resource: ({ reason }: { reason: string }) => (reason === '' ? 'policy' : `policy:${reason}`),
      effect: () => {
        rules.reload()
        const changed = changes.sinceRecorded() ?? ''
        changes.record()
        return { changed, auditEffect: changed }
      },
      after: ({ changed }: { changed: string }) => {
        onChanged()
        decideAgain()
        return { ...policyView(), changed }
      },
    }),
  }
}
