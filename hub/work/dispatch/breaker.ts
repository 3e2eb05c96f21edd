/**
 * The breaker (S1-65): an agent that loses too many sessions within ten minutes is halted.
 *
 * R1. What counts is decided purely (`countsFor`): what the agent is responsible for, not what people, a TTL or a shutdown did.
 * R2. Count and halt are in the store, written in the transaction that recycles the session. They survive a restart.
 * R3. Only `hub agent reset` ends a halt, never the clock.
 */
import type { Clock } from '../../base/clock.ts'
import { elapsedMs, type Mark, markOf } from '../../base/span.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { Events } from '../../guard/events.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import type { ExitReason } from '../../protocol/task.ts'
import type { Store } from '../../store/database.ts'
import { readExpiry } from './expiry.ts'
import type { SessionRow } from './rows.ts'

const BREAKER_WINDOW_MS = 600_000
const TOGETHER_MS = 5000

export interface Breaker {
  /** Hears of every session that begins to be recycled, within that transaction. */
  count(session: SessionRow, reason: ExitReason): void
  haltOf(agent: string): { sinceMs: number; reason: string } | undefined
  halted(): { agent: string; reason: string }[]
  reset(grant: Grant, agent: string): void
}

/**
 * Whether a recycled session counts against its agent. Pure. An orphan counts only if it worked in this boot: a machine or hub that went
 * down says nothing about an agent. Sessions that ran together and end within 5 s of each other have one reason, and count once.
 */
export function countsFor(facts: {
  reason: ExitReason
  hadJoined: boolean
  ofThisBoot: boolean
  /** The last one that counted: how long ago it was, and whether this session already ran then. */
  last: { agoMs: number; wasUp: boolean } | undefined
}): boolean {
  const { reason, hadJoined, ofThisBoot, last } = facts
  if (reason === 'security' || reason === 'unhealthy') return true
  if (reason !== 'crashed' && !(reason === 'orphan' && hadJoined && ofThisBoot)) return false
  return last === undefined || !last.wasUp || last.agoMs > TOGETHER_MS
}

type Counted = Mark & { seq: number }

export function createBreaker(
  options: { recyclesMax: number },
  parts: { store: Store; clock: Clock; alerts: Pick<Alerts, 'raise' | 'resolve'>; events: Pick<Events, 'publish'> },
): Breaker {
  const { store, clock, alerts, events } = parts
  const rowsOf = store.prepare(
    'select seq, boot_id as bootId, boot_ms as bootMs, wall_ms as wallMs from recycle where agent = ? order by seq',
  )
  const insert = store.prepare(
    'insert into recycle (agent, session, reason, boot_id, boot_ms, wall_ms) values (?, ?, ?, ?, ?, ?)',
  )
  const forget = store.prepare('delete from recycle where agent = ? and seq <= ?')
  const halt = store.prepare('insert or ignore into halted_agent values (?, ?, ?)')
  const found = store.prepare('select since_ms as sinceMs, reason from halted_agent where agent = ?')
  const all = store.prepare('select agent, reason from halted_agent order by agent')

  function tell(agent: string, text: string): void {
    alerts.raise(`agent_breaker:${agent}`, 'warning', `agent ${agent} is halted: ${text}`)
    events.publish('hub.agent.halted.v1', `agent:${agent}`, { agent, reason: text })
  }

  return {
    count({ id, agent, state, expiresBoot, createdAtMs }, reason) {
      const rows = rowsOf.all(agent) as Counted[]
      const recent = rows.filter((row) => elapsedMs(row, clock) < BREAKER_WINDOW_MS)
      const last = recent.at(-1)
      const counts = countsFor({
        reason,
        hadJoined: state !== 'provisioning' && state !== 'starting',
        ofThisBoot: readExpiry(expiresBoot).bootId === clock.bootId,
        last: last && { agoMs: elapsedMs(last, clock), wasUp: createdAtMs <= last.wallMs },
      })
      if (!counts) return
      const { bootId, bootMs, wallMs } = markOf(clock)
      insert.run(agent, id, reason, bootId, bootMs, wallMs)
      const old = rows.findLast((row) => !recent.includes(row))
      if (old !== undefined) forget.run(agent, old.seq)
      if (recent.length < options.recyclesMax || found.get(agent) !== undefined) return
      const minutes = BREAKER_WINDOW_MS / 60_000
      const text = `${recent.length + 1} sessions had to be ended within ${minutes} min, the last one for ${reason}; look at their logs, then \`hub agent reset ${agent}\``
      halt.run(agent, wallMs, text)
      store.afterCommit(() => tell(agent, text))
    },
    haltOf: (agent) => found.get(agent) as { sinceMs: number; reason: string } | undefined,
    halted: () => all.all() as { agent: string; reason: string }[],
    reset(grant, agent) {
      assertGrant(grant, 'agent.reset')
      store.prepare('delete from recycle where agent = ?').run(agent)
      store.prepare('delete from halted_agent where agent = ?').run(agent)
      store.afterCommit(() => alerts.resolve(`agent_breaker:${agent}`))
    },
  }
}
