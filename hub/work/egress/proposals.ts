/**
 * What agents were refused outside, for a person who may want to permit it (docs/egress.md 6). It permits nothing by itself, and tells nobody.
 *
 * P1. One row for each agent, upstream and class, with a count. Counts are written at most once in ten seconds.
 * P2. At most 32 of one agent and 256 in all: an agent that asks for a thousand hosts must not hide one line among them (E19). Beyond that nothing is
 *     kept of new ones. What the rules grant by now makes room.
 */
import type { Clock } from '../../base/clock.ts'
import type { Gate } from '../../guard/gate.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { covers } from '../../protocol/egress/grants.ts'
import type { EgressClass } from '../../protocol/egress/upstreams.ts'
import type { Store } from '../../store/database.ts'

const OF_AGENT_MAX = 32
const ALL_MAX = 256
const WRITE_EVERY_MS = 10_000
const PROPOSER = hubPrincipal('egress')

export interface Proposal {
  id: number
  agent: string
  /** Name of the upstream, or `host:port`. */
  upstream: string
  class: EgressClass
  count: number
  firstAtMs: number
  lastAtMs: number
}

export interface Proposals {
  /** An agent was refused this by the rules. Never throws for want of a store. */
  note(agent: string, upstream: string, kind: EgressClass): void
  /** What the rules do not grant by now, newest first. */
  list(): Proposal[]
}

/** The grant that permits exactly this. Pure. */
const grantFor = ({ upstream, class: kind }: Pick<Proposal, 'upstream' | 'class'>): string =>
  kind === 'connect' ? upstream : `${upstream}:${kind}`

export function createProposals(parts: {
  store: Store
  gate: Gate
  clock: Clock
  /** Epoch ms by the steady clock. */
  nowMs: () => number
  /** What the rules grant this agent now. */
  grantsOf: (agent: string) => readonly string[]
}): Proposals {
  const { store, gate, clock, nowMs, grantsOf } = parts
  const put = store.prepare(
    `insert into egress_proposal (agent, upstream, class, count, first_at_ms, last_at_ms) values (?, ?, ?, ?, ?, ?)
     on conflict (agent, upstream, class) do update set count = count + excluded.count, last_at_ms = excluded.last_at_ms`,
  )
  const all = store.prepare(
    'select id, agent, upstream, class, count, first_at_ms as firstAtMs, last_at_ms as lastAtMs from egress_proposal order by last_at_ms desc, id desc limit 1000',
  )
  const drop = store.prepare('delete from egress_proposal where id = ?')
  /** By what is proposed: how often since it was written, and when that was. */
  const unwritten = new Map<string, { count: number; writtenMs: number }>()

  const rows = () => all.all() as Proposal[]
  const isGranted = (row: Proposal) => grantsOf(row.agent).some((grant) => covers(grant, row))

  /** Whether there is room for one more of this agent; what is granted by now goes first. */
  function hasRoom(agent: string, upstream: string, kind: string): boolean {
    const known = rows()
    if (known.some((row) => row.agent === agent && row.upstream === upstream && row.class === kind)) return true
    const kept = known.filter((row) => {
      if (!isGranted(row)) return true
      drop.run(row.id)
      return false
    })
    return kept.length < ALL_MAX && kept.filter((row) => row.agent === agent).length < OF_AGENT_MAX
  }

  function write(grant: Grant, agent: string, upstream: string, kind: EgressClass, count: number) {
    assertGrant(grant, 'egress.propose')
    if (!hasRoom(agent, upstream, kind)) return { auditEffect: 'there are as many proposals as are kept' }
    put.run(agent, upstream, kind, count, nowMs(), nowMs())
    return { auditEffect: `${upstream} ${kind}: ${count} more` }
  }

  return {
    note(agent, upstream, kind) {
      const key = [agent, upstream, kind].join(' ')
      const known = unwritten.get(key) ?? { count: 0, writtenMs: Number.NEGATIVE_INFINITY }
      known.count += 1
      if (!unwritten.has(key) && unwritten.size >= ALL_MAX) unwritten.clear()
      unwritten.set(key, known)
      if (clock.monotonicMs() - known.writtenMs < WRITE_EVERY_MS) return
      try {
        gate.admit({ principal: PROPOSER, operation: 'egress.propose', resource: `agent:${agent}` }, (grant) =>
          write(grant, agent, upstream, kind, known.count),
        )
        Object.assign(known, { count: 0, writtenMs: clock.monotonicMs() })
      } catch {
        // The gate has said why; it stays counted.
      }
    },
    list: () => rows().filter((row) => !isGranted(row)),
  }
}

/** As it is shown to people. Pure. */
export const proposalView = (row: Proposal) => ({ ...row, grant: grantFor(row) })
