/** The audit log alone, over a store in a home: its months, its signed heads and its sealing, on a clock that a test moves. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { silentLog } from '../../hub/base/telemetry.ts'
import { nextTurn } from '../../hub/base/turn.ts'
import { createCheckpoints } from '../../hub/guard/audit/checkpoint.ts'
import { createDecisionMarks } from '../../hub/guard/audit/decision-marks.ts'
import { createAuditLog } from '../../hub/guard/audit/log.ts'
import { createSealing } from '../../hub/guard/audit/sealing.ts'
import { segmentBytes, segmentPath } from '../../hub/guard/audit/segment-file.ts'
import { checkStart, walkAudit } from '../../hub/guard/audit/walk.ts'
import type { AuditEntry } from '../../hub/protocol/audit-chain.ts'
import { openStore } from '../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../hub/store/migrations.ts'
import { createFakeClock } from './fake-clock.ts'
import { memoryFolder } from './memory-folder.ts'

export const entry = (resource: string): AuditEntry => ({
  principal: 'operator',
  action: 'task.submitted',
  resource,
  decisionId: null,
  policyRevision: 'r-1',
  payloadHash: null,
  outcome: 'ok',
  reason: 'as written \u2028 ü',
  effect: '',
})

const { privateKey, publicKey } = generateKeyPairSync('ed25519')

/** What a hub makes over its store. */
function over(home: string, clock: ReturnType<typeof createFakeClock>, isNew: boolean) {
  const store = openStore(join(home, 'hub.db'))
  if (isNew) migrate(store, shippedMigrations(), 1, () => undefined)
  const audit = createAuditLog({ store, clock, home })
  const checkpoints = createCheckpoints({ store, audit, clock, instance: 'test-hub', privateKey, publicKey })
  const seen = { forgotten: 0, unsealed: undefined as string | undefined }
  const forgetMemory = () => {
    seen.forgotten += 1
  }
  const onUnsealed = (reason: string | undefined) => {
    seen.unsealed = reason
  }
  const marks = createDecisionMarks({ store, audit, forgetMemory })
  const sealing = createSealing({
    home,
    audit,
    checkpoints,
    marks,
    clock,
    log: silentLog(),
    turn: nextTurn,
    onUnsealed,
  })
  return { store, audit, checkpoints, sealing, seen, forgetMemory, onUnsealed }
}

export type AuditHome = ReturnType<typeof createAuditHome>

export function createAuditHome() {
  const home = mkdtempSync(join(memoryFolder(), 'hub-months-'))
  const clock = createFakeClock()
  const fileOf = (month: string) => segmentPath(home, month)
  const bytesOf = (month: string) => segmentBytes(fileOf(month))
  const log = {
    ...over(home, clock, true),
    ...{ home, clock, publicKey, fileOf, bytesOf },
    /** As after a start of the hub; `between` is what became of the files while it was down. */
    reopen(between = () => {}): void {
      log.store.close()
      between()
      Object.assign(log, over(home, clock, false))
    },
    /** So many records, every hundredth signed, and the last. */
    append(count: number, more: Partial<AuditEntry> = {}): void {
      for (let left = count; left > 0; left -= 100) {
        log.store.transaction(() => {
          for (let n = 0; n < Math.min(100, left); n += 1)
            log.audit.append({ ...entry(`task:${log.audit.head().size + 1}`), ...more })
        })
        log.checkpoints.take()
      }
    },
    at: (iso: string) => clock.stepWall(Date.parse(iso) - clock.wallMs()),
    /** Two months, of which the first has ended. */
    twoMonths(first = 1234, second = 345): void {
      log.at('2026-10-30T12:00:00Z')
      log.append(first)
      log.at('2026-11-01T00:00:00Z')
      log.append(second)
    },
    walk: () => walkAudit({ home, audit: log.audit, checkpoints: log.checkpoints, turn: nextTurn }),
    /** `pick`: where in each eighth a start looks. */
    checkStart: (pick: (below: number) => number = () => 0) =>
      checkStart({ audit: log.audit, checkpoints: log.checkpoints, bytesOf, pick }),
    tables: () =>
      log.store
        .prepare("select name from sqlite_schema where type = 'table' and name like 'audit_%' order by name")
        .pluck()
        .all()
        .filter((name) => /^audit_(record|dropped)/.test(String(name))),
    states: () => log.audit.months.all().map(({ name, state }) => `${name} ${state}`),
    /** Every record and every signed head, as an export reads them. */
    everything() {
      const { audit, checkpoints } = log
      const records = []
      const signed = []
      for (let at = 0; at < audit.head().size; ) {
        const page = audit.page(at, audit.head().size)
        records.push(...page.records)
        const to = page.records.at(-1)?.seq ?? Number.POSITIVE_INFINITY
        signed.push(...(page.checkpoints ?? checkpoints.between(at, to)))
        at = to
      }
      return { records, signed }
    },
    [Symbol.dispose]() {
      log.store.close()
      rmSync(home, { recursive: true })
    },
  }
  return log
}
