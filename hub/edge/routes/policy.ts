/** Operations on the rules: what is in force, and reading the operator's data again. */
import type { PolicyHealth } from '../../guard/conditions/policy-health.ts'
import type { Policy } from '../../guard/policy/bundle.ts'
import { strangersIn } from '../../guard/policy/data.ts'
import type { PolicyChanges } from '../../guard/policy/data-difference.ts'
import type { Registry } from '../../work/registry.ts'
import { type Handlers, handler } from '../serve.ts'

export function policyHandlers(parts: {
  registry: Pick<Registry, 'list'>
  policy: Policy
  rules: PolicyHealth
  changes: PolicyChanges
  onChanged: () => void
  /** Decides again about what waits: the rules that let it through are no longer in force. */
  decideAgain: () => void
}): Handlers {
  const { registry, policy, rules, changes, onChanged, decideAgain } = parts
  /** Also what is wrong in rules that are in force: names that nobody has, and a later file that was refused. */
  const policyView = () => {
    const { data } = policy.active()
    const cards = registry.list().map(({ card }) => card.name)
    return {
      ...policy.status(),
      refused: rules.refused() ?? null,
      warnings: data === undefined ? [] : strangersIn(data, cards),
    }
  }

  return {
    'policy.status': handler({ effect: policyView }),
    'policy.reload': handler({
      // The reason, if one was given: `hub agent allow` names the agent, and the record keeps it.
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
