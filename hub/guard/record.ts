/** Builds the record: the chained log, its signed heads and months, and those who look through it. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Redaction } from '../base/redaction.ts'
import type { Log } from '../base/telemetry.ts'
import { nextTurn } from '../base/turn.ts'
import { askWatchdog } from '../base/watchdog-client.ts'
import type { Store } from '../store/database.ts'
import type { Meta } from '../store/meta.ts'
import type { GuardWatch } from './alerts/guard-alerts.ts'
import { createCheckpoints } from './audit/checkpoint.ts'
import { createDecisionMarks } from './audit/decision-marks.ts'
import { createAuditLog, SIGNED_RECORDS } from './audit/log.ts'
import { createSealing } from './audit/sealing.ts'
import { segmentBytes, segmentPath } from './audit/segment-file.ts'
import { createAuditShow } from './audit/show.ts'
import { createShownHeads } from './audit/shown-heads.ts'
import { createAuditVerifier } from './audit/verifier.ts'
import { checkStart } from './audit/walk.ts'
import { witnessIn } from './audit/witnessed.ts'
import type { SteadyClock } from './conditions/steady-clock.ts'
import type { HubKeys } from './identity/keys.ts'
import type { GuardMeters } from './meters.ts'
import type { Modes } from './modes.ts'
import type { Decisions } from './policy/decisions.ts'

const LOOKED_AT = 'audit_looked_at'

export interface RecordParts {
  clock: Clock
  steady: SteadyClock
  random: Random
  log: Log
  store: Store
  meta: Meta
  modes: Modes
  /** Turns findings into alerts. */
  alertWatch: GuardWatch
  decisions: Decisions
  redaction: Redaction
  meters: Pick<GuardMeters, 'recordSeconds'>
}

export function createRecord(options: { home: string; instance: string; keys: HubKeys }, parts: RecordParts) {
  const { home, instance, keys } = options
  const { clock, steady, random, log, store, meta, modes, alertWatch, decisions } = parts
  const { privateKey, publicKey } = keys.checkpoint
  const audit = createAuditLog({ store, clock, home, hide: parts.redaction.text, spread: parts.meters.recordSeconds })
  const checkpoints = createCheckpoints({ store, audit, clock, instance, privateKey, publicKey })
  audit.onEvery(SIGNED_RECORDS, checkpoints.take)
  const marks = createDecisionMarks({ store, audit, forgetMemory: decisions.forget })
  const onUnsealed = alertWatch.sealingJudged
  const sealing = createSealing({ home, audit, checkpoints, marks, clock, log, turn: nextTurn, onUnsealed })
  const verifier = createAuditVerifier({
    walk: { home, audit, checkpoints },
    turn: nextTurn,
    clock,
    onVerdict: alertWatch.chainJudged,
    askWitness: () =>
      askWatchdog(join(home, 'watchdog', 'run', 'watchdog.sock'), '/v1/status', undefined, 'GET').then(
        witnessIn,
        (thrown) => ({ kind: 'away', reason: toHubError(thrown).message }),
      ),
    onMismatch: (reason) => modes.raise('witness_mismatch', reason),
    onLooked() {
      try {
        meta.set(LOOKED_AT, String(steady.wallMs()))
      } catch (thrown) {
        if (toHubError(thrown).code !== 'store_unavailable') throw thrown
      }
    },
  })
  return {
    audit,
    checkpoints,
    auditShow: createAuditShow({ home, audit, checkpoints, marks, turn: nextTurn }),
    marks,
    sealing,
    verifier,
    shownHeads: createShownHeads(),
    /** When the whole log was looked through last, epoch ms; undefined before the first. */
    lookedAtMs: () => Number(meta.get(LOOKED_AT) ?? Number.NaN) || undefined,
    /** Checks the log before anything else begins. If it is not whole, the hub starts in safe mode. */
    checkStart() {
      const bytesOf = (name: string) => segmentBytes(segmentPath(home, name))
      const pick = (below: number) => random.bytes(6).readUIntBE(0, 6) % below
      const fault = checkStart({ audit, checkpoints, bytesOf, pick })
      if (fault !== null) alertWatch.chainJudged(fault)
    },
  }
}
export type AuditRecord = ReturnType<typeof createRecord>
