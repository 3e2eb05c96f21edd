/** Doctor's rows of what the hub stands on: store, audit, rules, disk, ballast, clock and pace, each with what mends it (S0-26, S1-16). */
import type { AuditLog } from '../guard/audit/log.ts'
import type { DiskVerdict } from '../guard/conditions/disk.ts'
import type { ConditionName, Modes } from '../guard/modes.ts'
import type { Policy } from '../guard/policy/bundle.ts'
import type { Store } from '../store/database.ts'
import type { Check } from './doctor.ts'

export const DISK_OK = { fine: true, warn: null, no_new_tasks: false, degraded: false } as const

export function createFootingChecks(parts: {
  home: string
  store: Pick<Store, 'failure'>
  audit: Pick<AuditLog, 'head' | 'bufferState'>
  policy: Pick<Policy, 'status'>
  modes: Pick<Modes, 'active'>
  disk: { last(): DiskVerdict }
  /** Undefined where it is not watched: on the home's own file system, or not of this machine. */
  engineDisk: { last(): DiskVerdict | undefined }
  ballast: { isWhole(): boolean }
}): () => Check[] {
  const { home, store, audit, policy, modes, disk, engineDisk, ballast } = parts

  return () => {
    const reasonOf = (name: ConditionName) => modes.active().find((condition) => condition.name === name)?.reason
    /** Green with `well` while its condition is not raised. */
    const row = (name: string, condition: ConditionName, well: string, mend: string): Check => {
      const why = reasonOf(condition)
      return { name, ok: why === undefined, detail: why ?? well, mend }
    }
    const failure = store.failure()
    const waiting = audit.bufferState().size
    const { version, revision } = policy.status()
    const { level, detail } = disk.last()
    return [
      {
        name: 'store',
        ok: failure === undefined,
        detail: failure?.reason ?? `${audit.head().size} audit records`,
        mend: failure?.latched
          ? 'look at the disk (dmesg), then hub restart'
          : `free space on the file system of ${home}`,
      },
      row(
        'audit',
        'audit_failing',
        waiting === 0 ? 'every record is in the log' : `${waiting} records wait for the store`,
        'cure the store row first; else hub audit verify, and restore a backup',
      ),
      row(
        'policy',
        'policy_unavailable',
        `version ${version}, revision ${revision.slice(0, 12)}`,
        'mend policy/data.json, then hub policy reload',
      ),
      { name: 'disk', ok: DISK_OK[level], detail, mend: `free space on the file system of ${home}` },
      ...engineRow(engineDisk.last()),
      {
        name: 'ballast',
        ok: ballast.isWhole() ? true : null,
        detail: ballast.isWhole()
          ? 'a stop can be recorded on a full disk'
          : 'not made: a stop on a full disk leaves no record',
        mend: `free space on the file system of ${home}; it is made again by itself`,
      },
      row(
        'clock',
        'clock_fault',
        'plausible',
        'set the time (timedatectl set-ntp true), or hub resume to take it as it is',
      ),
      row(
        'loops',
        'loop_failing',
        'every loop does its work',
        'look at logs/hub.log for the loop that is named, then `hub restart`',
      ),
      row('pace', 'loop_lagging', 'no stall', 'give the machine less to do; it ends by itself'),
    ]
  }
}

const engineRow = (seen: DiskVerdict | undefined): Check[] =>
  seen === undefined
    ? []
    : [
        {
          name: 'engine disk',
          ok: DISK_OK[seen.level],
          detail: seen.detail,
          mend: 'docker system df; free space there',
        },
      ]
