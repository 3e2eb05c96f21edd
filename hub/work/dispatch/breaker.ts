/**
 * The breaker of automatic recycling (S1-65): an agent whose sessions are taken away once too often within ten minutes is halted.
 *
 * R1. What counts is decided purely (`countsFor`): what an agent answers for, not what people, a TTL or a shutdown did.
 * R2. Count and halt stand in the store, written in the transaction that recycles the session; a restart forgets neither.
 * R3. A halt ends by `hub agent reset` alone, never by the clock.
 */
import type { Clock } from '../../base/clock.ts'
import { elapsedMs, type Mark, markOf } from '../../base/span.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import type { ExitReason } from '../../protocol/task.ts'
import type { Store } from '../../store/database.ts'
import { readExpiry } from './expiry.ts'
import type { SessionRow } from './rows.ts'

export const BREAKER_WINDOW_MS = 600_000
const TOGETHER_MS = 5000

export interface Breaker {
  /** Hears of every session that begins to be recycled, within that transaction. */
  count(session: SessionRow, reason: ExitReason): void
  haltOf(agent: string): { sinceMs: number; reason: string } | undefined
  halted(): { agent: string; reason: string }[]
  reset(grant: Grant, agent: string): void
}

/**
 * Whether a recycle counts against its agent, purely. An orphan counts only where it had been at work in this boot: a machine or a hub that
 * went down says nothing of an agent. Sessions that were up together and fall within 5 s of one another fall for one reason, and count once.
 */
export function countsFor(facts: {
  reason: ExitReason
  hadJoined: boolean
  ofThisBoot: boolean
  /** The last one counted: how long ago, and whether this session was up already then. */
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
  parts: { store: Store; clock: Clock; tripped: (agent: string, text: string) => void; ended: (agent: string) => void },
): Breaker {
  const { recyclesMax } = options
  const { store, clock, tripped, ended } = parts
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
      if (recent.length < recyclesMax || found.get(agent) !== undefined) return
      const minutes = BREAKER_WINDOW_MS / 60_000
      const text = `${recent.length + 1} sessions had to be recycled within ${minutes} min, the last as ${reason}; look at their logs, then \`hub agent reset ${agent}\``
      halt.run(agent, wallMs, text)
      store.afterCommit(() => tripped(agent, text))
    },
    haltOf: (agent) => found.get(agent) as { sinceMs: number; reason: string } | undefined,
    halted: () => all.all() as { agent: string; reason: string }[],
    reset(grant, agent) {
      assertGrant(grant, 'agent.reset')
      store.prepare('delete from recycle where agent = ?').run(agent)
      store.prepare('delete from halted_agent where agent = ?').run(agent)
      store.afterCommit(() => ended(agent))
    },
  }
}
