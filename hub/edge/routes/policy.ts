/** Operations on the rules: what is in force, and reading the operator's data again. */

import { HubError } from '../../base/errors.ts'
import { nextTurn } from '../../base/turn.ts'
import type { PolicyHealth } from '../../guard/conditions/policy-health.ts'
import type { Policy } from '../../guard/policy/bundle.ts'
import { strangersIn } from '../../guard/policy/data.ts'
import type { PolicyChanges } from '../../guard/policy/data-difference.ts'
import type { DecisionReader } from '../../guard/policy/decisions.ts'
import { explain } from '../../guard/policy/explain.ts'
import type { ExplainRequest } from '../../protocol/operations.ts'
import type { Registry } from '../../work/registry.ts'
import { type Handlers, handler } from '../serve.ts'

export function policyHandlers(parts: {
  registry: Pick<Registry, 'list'>
  policy: Policy
  rules: PolicyHealth
  changes: PolicyChanges
  made: DecisionReader
  onChanged: () => void
  /** Decides again about what waits: the rules that let it through are no longer in force. */
  decideAgain: () => void
}): Handlers {
  const { registry, policy, rules, changes, made, onChanged, decideAgain } = parts
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
    'policy.show': handler({
      effect: () => {
        const { data = null, home } = policy.active()
        return { data, sources: [...(home?.sources ?? [])].map(([name, text]) => ({ name, text })) }
      },
    }),
    'policy.explain': handler({
      effect: (_grant, { decision, input }: ExplainRequest) => {
        const recorded = decision === undefined ? undefined : made.show(decision)
        if (decision !== undefined && recorded === undefined)
          throw new HubError(
            'unknown_decision',
            `there is no decision ${decision}; \`hub audit show\` names that of a record`,
          )
        const asked = input ?? recorded?.input
        if (asked === null || asked === undefined)
          throw new HubError(
            'conflict',
            'the question of this decision was too long to be kept, so it cannot be asked again',
          )
        return { active: policy.active(), asked, recorded }
      },
      after: async ({ active, asked, recorded }) => ({
        ...(await explain(active, asked, nextTurn)),
        ...(recorded === undefined ? {} : { recorded }),
      }),
    }),
    'decision.list': handler({
      effect: (_grant, { limit, cursor }: { limit: number; cursor?: string }) => {
        const decisions = made.list(limit, cursor)
        return { decisions, next: decisions.length < limit ? null : (decisions.at(-1)?.id ?? null) }
      },
    }),
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
