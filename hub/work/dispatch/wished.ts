/**
 * Whether an agent can be given a task as it is asked for (S4-6): its program is told all of it and lacks no parameter, and the model is one
 * that its upstreams know.
 */
import { HubError, toHubError } from '../../base/errors.ts'
import type { AgentCard } from '../../protocol/agent.ts'
import type { TaskSpec } from '../../protocol/task-spec.ts'
import { taskFault } from '../../protocol/wishes.ts'

/** Throws if none of these grants leads to a model upstream that knows what this model costs. */
export type RequireModel = (egress: readonly string[], model: string) => void

/** What of a task its program is told. */
export interface Told {
  spec?: TaskSpec | null | undefined
  params: Readonly<Record<string, unknown>>
}

/** Why it cannot; undefined if it can. */
function refusalOf(card: AgentCard, told: Told, requireModel: RequireModel): HubError | undefined {
  const { spec } = told
  const fault = taskFault(card, told)
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
  told: Told,
  requireModel: RequireModel,
): Each[] {
  const refusals = agents.map(({ card }) => refusalOf(card, told, requireModel))
  const able = agents.filter((_, at) => refusals[at] === undefined)
  const [first] = refusals
  if (able.length === 0 && first !== undefined) throw first
  return able
}
