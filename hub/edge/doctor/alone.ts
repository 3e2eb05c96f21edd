/**
 * The doctor's table while the hub is dead (S0-26): `hub/main.ts doctor`, a process of its own that opens nothing for writing and starts
 * nothing. Its rows have the names of the running hub's table. A row that only a running hub can answer says so.
 */
import { closeSync, openSync, readFileSync, readSync, statfsSync, statSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { type CardPlaces, cardFiles } from '../../base/card-files.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import { type DiskMarks, judgeDisk } from '../../guard/conditions/disk.ts'
import { readKeys, readSigningKey } from '../../guard/identity/keys.ts'
import { createPolicy } from '../../guard/policy/bundle.ts'
import { createEngine } from '../../work/sandbox/engine.ts'
import { sharedWith, usersOfOthers } from '../../work/sandbox/shared-users.ts'
import { FIRST_USER } from '../../work/sandbox/users.ts'
import { createWatchdogChecks } from './channels.ts'
import type { Check } from './doctor.ts'
import { createEngineChecks, createUsersCheck } from './engine.ts'
import { forwardRow } from './forwarding.ts'
import { createGitCheck, DISK_OK } from './host.ts'
import { createPortChecks, portOwners } from './ports.ts'
import { createUnitsCheck } from './process.ts'

const UP = 'hub up'
const ASK_MS = 3000
const LOG_BYTES = 64 * 1024
const SQLITE = 'SQLite format 3\0'

/** Rows that only a running hub can answer. */
const ONLY_RUNNING = [
  'audit',
  'ballast',
  'clock',
  'pace',
  'mode',
  'runtime',
  'canary',
  'growth',
  'core dumps',
  'environment',
  'loops',
  'drill',
  'contact',
  'alerts',
]

const unknown = (name: string): Check => ({ name, ok: null, detail: 'known only while the hub runs', mend: UP })
const lastLine = (thrown: unknown): string => {
  const { code, message, reason } = toHubError(thrown)
  return code === 'internal' ? reason : message
}

/** A row that is green with what `look` answers, and red with what it throws. */
function row(name: string, mend: string, look: () => string): Check {
  try {
    return { name, ok: true, detail: look(), mend }
  } catch (thrown) {
    return { name, ok: false, detail: lastLine(thrown), mend }
  }
}

/** The last line that the hub wrote before it ended, from its log. */
function lastWord(home: string): string {
  try {
    const path = join(home, 'logs', 'hub.log')
    const { size } = statSync(path)
    const file = openSync(path, 'r')
    const bytes = Buffer.alloc(Math.min(size, LOG_BYTES))
    readSync(file, bytes, 0, bytes.length, size - bytes.length)
    closeSync(file)
    const line = bytes
      .toString('utf8')
      .split('\n')
      .findLast((each) => each.startsWith('hub: '))
    return line === undefined ? '' : `; its last message: ${line.slice(5, 405)}`
  } catch {
    return ''
  }
}

function askWatchdog(home: string): Promise<unknown> {
  const socketPath = join(home, 'watchdog', 'run', 'watchdog.sock')
  return new Promise((resolve, reject) => {
    const asked = http.get({ socketPath, path: '/v1/status', agent: false, timeout: ASK_MS }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (piece: string) => {
        text += piece
      })
      answer.on('error', reject)
      answer.on('end', () => {
        try {
          resolve(JSON.parse(text))
        } catch (thrown) {
          reject(thrown)
        }
      })
    })
    asked.on('timeout', () => asked.destroy(new Error(`it did not answer within ${ASK_MS / 1000} s`)))
    asked.on('error', ({ message }) => reject(new HubError('timed_out', `the watchdog did not answer (${message})`)))
  })
}

/** The process in the pid file, if one of this home still runs. If it does not answer, it hangs. */
function hungProcess(home: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(home, 'run', 'hub.pid'), 'utf8').trim())
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(home) ? pid : undefined
  } catch {
    return undefined
  }
}

function hubRow(home: string, pid: number | undefined): Check {
  const [detail = '', mend = ''] =
    pid === undefined
      ? [`it does not run${lastWord(home)}`, 'hub up; if it fails, look into logs/hub.log']
      : [`process ${pid} runs but does not answer`, 'hub restart']
  return { name: 'hub', ok: false, detail, mend }
}

function storeRow(home: string): Check {
  return row('store', 'hub restore BACKUP --home NEW (RUNBOOK.md)', () => {
    const path = join(home, 'hub.db')
    const head = Buffer.alloc(16)
    const file = openSync(path, 'r')
    readSync(file, head, 0, head.length, 0)
    closeSync(file)
    if (head.toString('latin1') !== SQLITE) throw new Error(`${path} is not a database`)
    return `${path} exists, ${Math.ceil(statSync(path).size / 1024 ** 2)} MiB; the hub checks it when it starts`
  })
}

function diskRow(home: string, marks: DiskMarks | undefined): Check {
  const mend = `free space on the file system of ${home}`
  const look = () => {
    try {
      return statfsSync(home)
    } catch {
      return undefined
    }
  }
  const spare = { warnPercent: 10, noNewTasksPercent: 5, degradedPercent: 2, degradedBytes: 200 * 1000 ** 2 }
  const { level, detail } = judgeDisk(look(), marks ?? spare, 'fine')
  return { name: 'disk', ok: DISK_OK[level], detail, mend }
}

/** What the rows need from `hub.yaml`. */
interface ConfigFacts {
  http: { port: number }
  metrics: { port: number }
  engine: { socket: string; callTimeout: number; firstUser: number }
  disk: DiskMarks
  audit: { forward: readonly { name: string }[] }
}

/** Every row that can be judged without a running hub; the others say so. Opens nothing for writing. */
export async function doctorAlone(
  { home, bundleFolder, cards }: { home: string; bundleFolder: string; cards?: Pick<CardPlaces, 'package' | 'system'> },
  { clock, readConfig }: { clock: Clock; readConfig: (path: string) => ConfigFacts },
): Promise<Check[]> {
  let config: ReturnType<typeof readConfig> | undefined
  const configRow = row('configuration', 'correct hub.yaml, then hub up', () => {
    config = readConfig(join(home, 'hub.yaml'))
    return 'hub.yaml is valid'
  })
  const pid = hungProcess(home)
  const watchdog = () => askWatchdog(home)
  const watchdogRow = await watchdog().then(
    (): Check => ({ name: 'watchdog', ok: true, detail: 'it answers', mend: UP }),
    (thrown): Check => ({ name: 'watchdog', ok: false, detail: lastLine(thrown), mend: UP }),
  )
  const { socket, callTimeout } = config?.engine ?? { socket: '/var/run/docker.sock', callTimeout: ASK_MS }
  const firstUser = config?.engine.firstUser ?? FIRST_USER
  const engine = createEngine({ socketPath: socket, callMs: Math.min(callTimeout, ASK_MS) }, { clock })
  const only = ONLY_RUNNING.map(unknown)
  const [audit, ballast, clockRow, pace, mode, runtime, canary, ...late] = only as [
    Check,
    Check,
    Check,
    Check,
    Check,
    Check,
    Check,
  ]
  const ports = createPortChecks(() =>
    portOwners(
      home,
      { port: config?.http.port ?? 0, isUp: pid !== undefined, metrics: { port: config?.metrics.port ?? 0 } },
      watchdog,
    ),
  )
  return [
    hubRow(home, pid),
    configRow,
    row('keys', 'hub keys renew, or put them back from a backup, as this row says', () => {
      readKeys(join(home, 'keys'))
      readSigningKey(join(home, 'keys', 'token.key'))
      return 'all keys exist and are private'
    }),
    storeRow(home),
    audit,
    row('policy', 'fix policy/data.json, then hub up', () => {
      const { version, revision } = createPolicy(
        { bundleDir: bundleFolder, dataPath: join(home, 'policy', 'data.json') },
        { clock },
      ).status()
      return `version ${version}, revision ${revision.slice(0, 12)}`
    }),
    diskRow(home, config?.disk),
    ballast,
    clockRow,
    pace,
    ...(await createEngineChecks(engine, { kernel: release(), node: process.version })()),
    watchdogRow,
    mode,
    row(
      'agents',
      'put a card into agents/',
      () => `${cardFiles({ ...cards, home: join(home, 'agents') }).length} cards; the hub reads them when it starts`,
    ),
    runtime,
    canary,
    ...(await createUsersCheck(firstUser, async () =>
      sharedWith(firstUser, await usersOfOthers(engine, readFileSync(join(home, 'instance'), 'utf8').trim())),
    )()),
    ...(await ports()),
    ...(await createUnitsCheck({ home })()),
    ...(await createGitCheck()()),
    ...(await createWatchdogChecks(watchdog)()),
    ...late,
    ...(config?.audit.forward ?? []).map(({ name }) => unknown(forwardRow(name))),
  ]
}
