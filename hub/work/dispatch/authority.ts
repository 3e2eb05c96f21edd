/** What a session may do. A chain of delegations can only narrow it (docs/protocol.md 5, T42, T45). Pure. */
import type { Principal } from '../../guard/principal.ts'
import type { AgentCard } from '../../protocol/agent.ts'
import { narrow } from '../../protocol/egress/grants.ts'
import { relaxFact, relaxOf } from '../../protocol/relax.ts'
import type { Authority } from '../../protocol/task.ts'
import type { SessionRow } from './rows.ts'

export const DELEGATION_DEPTH_MAX = 3

const both = (one: readonly string[], other: readonly string[]) => one.filter((item) => other.includes(item))

/** The principal under which a session asks the gate. It is frozen, because decisions are remembered by this object. */
export const principalOfSession = ({ id, agent, generation, authority }: SessionRow): Principal =>
  Object.freeze({ kind: 'agent', id: agent, agent, session: id, generation, authority })

/** The authority of the operator's own task: everything its card asks for, for `ttlMs`. Policy narrows it afterwards. */
export function rootAuthority(card: AgentCard, ttlMs: number, depthLeft: number, tasksLeft: number): Authority {
  const { message, delegate, topics, secrets, egress } = card.may
  return {
    ...{ capabilities: card.capabilities, message, delegate, topics, secrets, egress, ttlMs, depthLeft, tasksLeft },
    ...relaxFact(relaxOf(card)),
  }
}

/** The intersection of what the card asks for and what the chain above holds: never wider, never longer, one level less deep. */
export function narrowAuthority(wish: Authority, ceiling: Authority): Authority {
  return {
    capabilities: both(wish.capabilities, ceiling.capabilities),
    message: both(wish.message, ceiling.message),
    delegate: both(wish.delegate, ceiling.delegate),
    topics: both(wish.topics, ceiling.topics),
    secrets: both(wish.secrets, ceiling.secrets),
    egress: narrow(wish.egress, ceiling.egress),
    ttlMs: Math.min(wish.ttlMs, ceiling.ttlMs),
    depthLeft: Math.min(wish.depthLeft, ceiling.depthLeft),
    tasksLeft: Math.min(wish.tasksLeft, ceiling.tasksLeft),
    ...relaxFact(wish.relax?.filter((each) => ceiling.relax?.includes(each))),
  }
}

/** Applies what the policy narrowed. A policy can only take away. */
export function applyNarrowing(
  authority: Authority,
  most: {
    capabilities?: readonly string[]
    ttlMs?: number
    egress?: readonly string[]
    relax?: readonly string[]
  },
): Authority {
  const { relax, ...others } = authority
  return {
    ...others,
    ...relaxFact(relax?.filter((each) => most.relax?.includes(each))),
    capabilities:
      most.capabilities === undefined ? authority.capabilities : both(authority.capabilities, most.capabilities),
    // Only what they name: where they say nothing of it, it is nothing.
    egress: narrow(authority.egress, most.egress ?? []),
    ttlMs: most.ttlMs === undefined ? authority.ttlMs : Math.min(authority.ttlMs, most.ttlMs),
  }
}

/** As a fact for the rules: without egress there is none, and what is asked stays as it always was. */
export const egressFact = ({ egress }: Pick<Authority, 'egress'>): { egress?: readonly string[] } =>
  egress.length === 0 ? {} : { egress }
