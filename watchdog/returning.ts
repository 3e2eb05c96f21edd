/**
 * Orphans that come back after they were removed (safety.md section 7: critical). One orphan is a fault and is removed; new ones at three
 * different times within an hour mean that somebody with access to the engine starts them under this hub's label. Pure.
 */
import type { Finding, Verdict } from './findings.ts'

/** Container id -> line instant at which it was first judged an orphan. */
export type OrphansSeen = Readonly<Record<string, number>>

const WITHIN_MS = 3_600_000
const TIMES_MIN = 3
/** What is remembered; the oldest go first. */
const REMEMBERED_MAX = 64

export function judgeReturning(
  known: OrphansSeen,
  recycle: readonly Verdict[],
  lineMs: number,
): { orphans: OrphansSeen; findings: Finding[] } {
  const seen = new Map(Object.entries(known).filter(([, atMs]) => lineMs - atMs < WITHIN_MS))
  const orphans = recycle.filter(({ fault }) => fault === 'orphan')
  for (const { container } of orphans) if (!seen.has(container.id)) seen.set(container.id, lineMs)
  const kept = Object.fromEntries([...seen].sort(([, a], [, b]) => a - b).slice(-REMEMBERED_MAX))
  const times = new Set(Object.values(kept)).size
  if (times < TIMES_MIN) return { orphans: kept, findings: [] }
  const text = `Containers under this hub's label that it did not start come back after they are removed: at ${times} different times within an hour. Somebody with access to the container engine starts them. On the host run: docker events`
  return {
    orphans: kept,
    findings: [{ id: 'orphan_returns', level: 1, severity: 'critical', text }],
  }
}
