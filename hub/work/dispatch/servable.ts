/**
 * Whether what is asked for can ever start: its agent is there, fit and no service, takes this class of data, can do what is needed and be
 * told all of it, and may work that long. Asked before there is a task, so that nobody waits for one that cannot begin.
 */
import { HubError } from '../../base/errors.ts'
import { type DataClass, takesClass } from '../../protocol/data-class.ts'
import { spanWritten } from '../../protocol/spans.ts'
import type { Agent, Registry } from '../registry.ts'
import { canServe, takesNo } from './slots.ts'
import { type RequireModel, type Told, thatCanBeTold } from './wished.ts'

/** What of a task decides who can serve it. */
export interface Wanted extends Told {
  agent?: string | undefined
  needs: readonly string[]
  ttlMs?: number | undefined
  sensitivity?: DataClass | null | undefined
}

export interface Servable {
  /**
   * Throws `unknown_agent`, `no_capable_agent`, `agent_unhealthy`, `image_missing`, `unsupported_mode`, `flag_off` or `limit_exceeded`.
   * `among`: the agents that the rules let the hub choose from, if none is named.
   */
  require(wanted: Wanted, among: readonly string[] | undefined): void
  /** The agents that can do it, fit or not just now. Throws `no_capable_agent` if there is none. */
  requireCapable(wanted: Omit<Wanted, 'ttlMs'>, among?: readonly string[]): Agent[]
}

/**
 * A time that is too long is refused with both figures; it is never shortened without a word (fault C14). `mostMs`: the longest session of
 * each agent that could do the task. Pure.
 */
function requireSpan(
  { agent, ttlMs }: { agent?: string | undefined; ttlMs?: number | undefined },
  mostMs: readonly number[],
): void {
  const most = Math.max(0, ...mostMs)
  if (ttlMs === undefined || most === 0 || ttlMs <= most) return
  const way =
    agent === undefined
      ? ''
      : `, or raise limits.ttl of its card and agents.${agent}.ttlMs in policy/data.json (in milliseconds)`
  const detail = `ttl is ${spanWritten(ttlMs)}, but ${agent ?? 'an agent that can do this'} may have ${spanWritten(most)} at most: ask for less${way}`
  throw new HubError('limit_exceeded', detail, { facts: { key: 'ttl', value: ttlMs, ceiling: most } })
}

export function createServable(parts: {
  registry: Registry
  /** Why nothing may be started under the configured runtime. */
  runtimeFault: () => string | undefined
  requireModel: RequireModel
  /** The longest session that the rules' data gives an agent. Undefined if it has no row there; the rules then refuse it. */
  grantedTtlMs: (agent: string) => number | undefined
}): Servable {
  const { registry, runtimeFault, requireModel, grantedTtlMs } = parts

  function requireServable(request: Wanted, among: readonly string[] | undefined): void {
    if (request.agent !== undefined) {
      const agent = registry.find(request.agent)
      if (agent === undefined) throw registry.missing(request.agent)
      requireReady(agent)
      if (agent.card.mode === 'service')
        throw new HubError(
          'unsupported_mode',
          `agent ${request.agent} is a service, which takes messages and no tasks; the hub keeps one session of it running`,
        )
      if (!takesClass(agent.card.sensitivity, request.sensitivity))
        throw new HubError('no_capable_agent', takesNo(agent.card, request.sensitivity))
    }
    const capable = requireCapable(request, among)
    requireSpan(
      request,
      capable.map(({ card, limits }) => Math.min(limits.ttlMs, grantedTtlMs(card.name) ?? limits.ttlMs)),
    )
  }

  function requireCapable(request: Omit<Wanted, 'ttlMs'>, among: readonly string[] = []): Agent[] {
    const capable = registry
      .list()
      .filter(({ card }) => canServe({ ...request, among }, { ...card, isService: card.mode === 'service' }))
    if (capable.length === 0)
      throw new HubError(
        'no_capable_agent',
        `no agent that may take ${request.sensitivity ? `a ${request.sensitivity}` : 'this'} task has ${request.needs.join(', ')}; see \`hub agent list\``,
      )
    return thatCanBeTold(capable, request, requireModel)
  }

  function requireReady({ card, state, reason, imageId, imageCode = 'image_missing', barred }: Agent): void {
    const fault = runtimeFault()
    if (fault !== undefined) throw new HubError('unsupported_mode', fault)
    if (state !== 'registered')
      throw new HubError('agent_unhealthy', `agent ${card.name} is ${state}${reason === '' ? '' : `: ${reason}`}`)
    if (imageId === undefined) throw new HubError(imageCode, reason)
    if (barred !== '') throw new HubError('flag_off', `agent ${card.name} does not start: ${barred}`)
  }

  return { require: requireServable, requireCapable }
}
