/** Doctor's rows of what the hub depends on: store, audit, rules, disk, ballast, clock and pace. Each says what fixes it (S0-26, S1-16). */
import { execFile } from 'node:child_process'
import { GIT_LEAST, gitFault } from '../../base/git-version.ts'
import type { AuditLog } from '../../guard/audit/log.ts'
import type { DiskVerdict } from '../../guard/conditions/disk.ts'
import type { ConditionName, Modes } from '../../guard/modes.ts'
import type { Policy } from '../../guard/policy/bundle.ts'
import type { Store } from '../../store/database.ts'
import { HOME_PARTS, type HomeSize } from '../../work/retention/home-size.ts'
import type { Check } from './doctor.ts'

/** A disk that is full in fewer days than this is worth a look. */
const DAYS_SOON = 14

const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`

/** How large the home is, and when it fills the disk. */
export function growthCheck(view: HomeSize | null): Check {
  const mend = 'hub prune --dry-run, then hub prune; `retention` in hub.yaml says how long things are kept'
  if (view === null) return { name: 'growth', ok: null, detail: 'not counted yet', mend: 'hub doctor in a minute' }
  const { parts, bytes, growthPerDayBytes: growth, daysToFull: days } = view
  const largest = HOME_PARTS.filter((part) => parts[part] > 0).map((part) => `${part} ${mib(parts[part])}`)
  const pace =
    growth === null
      ? 'its growth is known after six hours'
      : `${growth < 0 ? '' : '+'}${mib(growth)} a day, ${days === null ? 'no end in sight' : `full in ${days} days`}`
  const detail = `${mib(bytes)} (${largest.join(', ')}); ${pace}`
  return { name: 'growth', ok: days !== null && days < DAYS_SOON ? null : true, detail, mend }
}

const GIT_MS = 5000
const askGit = (): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile('git', ['--version'], { timeout: GIT_MS }, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    )
  })

/** The hub does without git; sending repositories and taking branches does not. */
export const createGitCheck =
  (ask: () => Promise<string> = askGit) =>
  async (): Promise<Check[]> => {
    const said = await ask().catch(() => undefined)
    const fault = said === undefined ? 'it is not installed' : gitFault(said)
    const detail = fault === undefined ? String(said).trim() : `${fault}: hub submit --repo and hub branch are refused`
    return [{ name: 'git', ok: fault === undefined ? true : null, detail, mend: `install git ${GIT_LEAST} or newer` }]
  }

export const DISK_OK = { fine: true, warn: null, no_new_tasks: false, degraded: false } as const

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

export function createHostChecks(parts: {
  home: string
  store: Pick<Store, 'failure'>
  audit: Pick<AuditLog, 'head' | 'bufferState'>
  policy: Pick<Policy, 'status'>
  modes: Pick<Modes, 'active'>
  disk: { last(): DiskVerdict }
  /** Undefined if it is not watched: it is on the home's own file system, or on another machine. */
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
        'fix the store row first; if that is green, hub audit verify, and restore a backup',
      ),
      row(
        'policy',
        'policy_unavailable',
        `version ${version}, revision ${revision.slice(0, 12)}`,
        'fix policy/data.json, then hub policy reload',
      ),
      { name: 'disk', ok: DISK_OK[level], detail, mend: `free space on the file system of ${home}` },
      ...engineRow(engineDisk.last()),
      {
        name: 'ballast',
        ok: ballast.isWhole() ? true : null,
        detail: ballast.isWhole()
          ? 'a stop can be recorded on a full disk'
          : 'the ballast file is missing: a stop on a full disk would leave no record',
        mend: `free space on the file system of ${home}; the hub then makes it again by itself`,
      },
      row(
        'clock',
        'clock_fault',
        'plausible',
        'set the time (timedatectl set-ntp true), or accept the clock as it is with hub resume',
      ),
      row(
        'loops',
        'loop_failing',
        'every loop does its work',
        'look in logs/hub.log for the loop named here, then `hub restart`',
      ),
      row('pace', 'loop_lagging', 'no stall', 'give the machine less to do; it ends by itself'),
    ]
  }
}
