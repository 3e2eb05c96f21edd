/** What a session may do, and how a chain of delegations only ever narrows it (protocol.md section 5, T42, T45). Pure. */
import type { Principal } from '../../guard/principal.ts'
import type { AgentCard } from '../../protocol/agent.ts'
import type { Authority } from '../../protocol/task.ts'
import type { SessionRow } from './rows.ts'

export const DELEGATION_DEPTH_MAX = 3

const both = (one: readonly string[], other: readonly string[]) => one.filter((item) => other.includes(item))

/** As whom a session asks the gate. Frozen: the same object then stands for the same authority, and decisions are remembered by it. */
export const principalOfSession = ({ id, agent, generation, authority }: SessionRow): Principal =>
  Object.freeze({ kind: 'agent', id: agent, agent, session: id, generation, authority })

/** What the operator's own task starts from: everything the card wishes, for `ttlMs`. Policy narrows it afterwards. */
export function rootAuthority(card: AgentCard, ttlMs: number, depthLeft: number, tasksLeft: number): Authority {
  const { message, delegate, topics, secrets, egress } = card.may
  return { capabilities: card.capabilities, message, delegate, topics, secrets, egress, ttlMs, depthLeft, tasksLeft }
}

/** The intersection of what a card wishes and what the chain above it holds: never wider, never longer, one level less deep. */
export function narrowAuthority(wish: Authority, ceiling: Authority): Authority {
  return {
    capabilities: both(wish.capabilities, ceiling.capabilities),
    message: both(wish.message, ceiling.message),
    delegate: both(wish.delegate, ceiling.delegate),
    topics: both(wish.topics, ceiling.topics),
    secrets: both(wish.secrets, ceiling.secrets),
    egress: both(wish.egress, ceiling.egress),
    ttlMs: Math.min(wish.ttlMs, ceiling.ttlMs),
    depthLeft: Math.min(wish.depthLeft, ceiling.depthLeft),
    tasksLeft: Math.min(wish.tasksLeft, ceiling.tasksLeft),
  }
}

/** Applies what the policy narrowed; a policy can only take away. */
export function applyNarrowing(
  authority: Authority,
  narrow: { capabilities?: readonly string[]; ttlMs?: number },
): Authority {
  return {
    ...authority,
    capabilities:
      narrow.capabilities === undefined ? authority.capabilities : both(authority.capabilities, narrow.capabilities),
    ttlMs: narrow.ttlMs === undefined ? authority.ttlMs : Math.min(authority.ttlMs, narrow.ttlMs),
  }
}
