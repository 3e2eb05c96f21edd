/** Whether an agent can be given a task as it is asked for (S4-6): its program is told all of it, and the model is one that its upstreams know. */
import { HubError, toHubError } from '../../base/errors.ts'
import type { AgentCard } from '../../protocol/agent.ts'
import type { TaskSpec } from '../../protocol/task-spec.ts'
import { wishFault } from '../../protocol/wishes.ts'

/** Throws if none of these grants leads to a model upstream that knows what this model costs. */
export type RequireModel = (egress: readonly string[], model: string) => void

/** Why it cannot; undefined if it can. */
function wishRefusal(
  card: AgentCard,
  spec: TaskSpec | null | undefined,
  requireModel: RequireModel,
): HubError | undefined {
  const fault = wishFault(card, spec ?? {})
  if (fault !== undefined) return new HubError('schema_invalid', fault)
  try {
    if (spec?.model !== undefined) requireModel(card.may.egress, spec.model)
    return undefined
  } catch (thrown) {
    return toHubError(thrown)
  }
}

/** Those of these agents that can. Throws why the first of them cannot where none can. */
export function thatCanBeTold<Each extends { card: AgentCard }>(
  agents: readonly Each[],
  spec: TaskSpec | null | undefined,
  requireModel: RequireModel,
): Each[] {
  const refusals = agents.map(({ card }) => wishRefusal(card, spec, requireModel))
  const able = agents.filter((_, at) => refusals[at] === undefined)
  const [first] = refusals
  if (able.length === 0 && first !== undefined) throw first
  return able
}
