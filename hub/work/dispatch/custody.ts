/**
 * Takes evidence of a session that was stopped for security, before its container is destroyed (S1-66, fault D7).
 *
 * C1. By then it can do nothing more: its tokens ended in the transaction that stopped it, its line is cut, and its container is paused.
 * C2. Once for each session, over restarts too. Whoever asks again gets the same report.
 * C3. Destruction waits for it `CAPTURE_MS_MAX` and no longer. Once everything is being stopped, nothing waits for evidence.
 * C4. Its container then ends without grace, whoever ends it.
 * C5. An audit record names the bundle and the digest of its manifest.
 */
import { basename } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import { CONTAIN_MS_MAX } from '../../guard/alerts/kinds.ts'
import type { Gate } from '../../guard/gate.ts'
import type { StopGrant } from '../../guard/grant.ts'
import type { Modes } from '../../guard/modes.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { STOP_GRACE_MS } from '../../protocol/stop-grace.ts'
import type { Evidence, EvidenceReport } from '../evidence.ts'
import type { SessionRow } from './rows.ts'

/** The container is destroyed after this long, captured or not. An alert that names the session waits as long. */
export const CAPTURE_MS_MAX = CONTAIN_MS_MAX

/** More than can be open at once (`limits.sessions` is at most 255). */
const REPORTS_MAX = 512

const CUSTODY = hubPrincipal('custody')

export interface Custody {
  /**
   * Captures evidence of the session, or answers what was captured of it before. Takes at most `CAPTURE_MS_MAX`. Never throws.
   * `pauses`: false for a container that is already being ended, which a pause would only delay.
   */
  take(grant: StopGrant, session: SessionRow, how?: { pauses: boolean }): Promise<EvidenceReport>
  /** Whether evidence of this session was asked for in this run: its container is to be ended as it was captured, without running on. */
  has(session: string): boolean
  /**
   * How long its container may take to end once it is told to. None where evidence of it is kept: a stop with grace would thaw what was paused,
   * and let it run on until its signal.
   */
  graceMsOf(session: Pick<SessionRow, 'id' | 'exitReason'>): number
  /** Everything is being stopped: whoever waits for evidence goes on at once. */
  hurry(): void
}

export function createCustody(parts: {
  clock: Pick<Clock, 'sleep'>
  log: Log
  gate: Gate
  modes: Pick<Modes, 'has'>
  evidence: Evidence
}): Custody {
  const { clock, log, gate, modes, evidence } = parts
  const reports = new Map<string, Promise<EvidenceReport>>()
  const taking = new Map<string, AbortController>()

  const has = (session: string) => reports.has(session)

  const nothing = (reason: string): EvidenceReport => ({
    folder: null,
    sha256: null,
    files: [],
    faults: [{ part: 'all', reason }],
  })

  /** By the time a session of this hub may be captured, nobody may still be stopping all of them. */
  const isStoppingAll = () => modes.has('emergency_stop') || modes.has('unattended_stop')

  function record(session: string, { folder, sha256, files, faults }: EvidenceReport): void {
    const named = folder === null ? 'no evidence' : `evidence/${basename(folder)}`
    const failed = faults.length === 0 ? '' : `; not captured: ${faults.map(({ part }) => part).join(' ')}`
    const auditEffect = `${named} sha256:${sha256 ?? 'none'}, ${files.length} files${failed}`.slice(0, 500)
    const call = { principal: CUSTODY, operation: 'session.capture', resource: `session:${session}` } as const
    try {
      gate.admitStop(call, () => ({ auditEffect }))
    } catch (thrown) {
      log.error({ session, reason: toHubError(thrown).reason }, 'that evidence was captured could not be recorded')
    }
  }

  async function captured(grant: StopGrant, session: SessionRow, pauses: boolean): Promise<EvidenceReport> {
    if (isStoppingAll()) return nothing('everything is being stopped, and that does not wait for evidence')
    const earlier = evidence.earlier(session.id)
    if (earlier !== undefined) return earlier
    const bound = new AbortController()
    taking.set(session.id, bound)
    const over = new AbortController()
    const late = clock.sleep(CAPTURE_MS_MAX, over.signal).then(() => bound.abort())
    try {
      const report = await evidence.capture(grant, session, { signal: bound.signal, pauses })
      record(session.id, report)
      for (const { part, reason } of report.faults)
        log.warn({ session: session.id, part, reason }, 'a part of the evidence could not be captured')
      return report
    } catch (thrown) {
      return nothing(toHubError(thrown).reason.slice(0, 300))
    } finally {
      taking.delete(session.id)
      over.abort()
      await late
    }
  }

  return {
    take(grant, session, { pauses } = { pauses: true }) {
      const known = reports.get(session.id)
      if (known !== undefined) return known
      const report = captured(grant, session, pauses)
      reports.set(session.id, report)
      const [oldest] = reports.keys()
      if (reports.size > REPORTS_MAX && oldest !== undefined) reports.delete(oldest)
      return report
    },
    has,
    graceMsOf: ({ id, exitReason }) => (exitReason === 'security' || has(id) ? 0 : STOP_GRACE_MS),
    hurry() {
      for (const bound of taking.values()) bound.abort()
    },
  }
}
