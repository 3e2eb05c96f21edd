/**
 * How fast the system comes to rest (docs/safety.md), and what the watchdog costs while nothing is wrong. Stops are those of the `hub` command, its own
 * start included; beside them stands what the bare engine takes to stop and remove as many containers.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { sleep } from '../../hub/client/cli/processes.ts'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { type BenchHub, createBenchHub, rssMb } from './bench-hub.ts'
import { measureLoad, raised, topicsOf } from './load.ts'
import type { Figure } from './run.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const SLEEPER = 'test/support/images/bench-sleeper'
const CHATTER = 'test/support/images/bench-chatter'
const SESSIONS = 12
const IDLE_MS = 10_000
/** Short, so that a run is short; the shipped interval is 30 s. */
const INTERVAL_MS = 2_000
const MISSES = 3

type Say = (line: string) => void
const round = (value: number, digits = 0): number => Math.round(value * 10 ** digits) / 10 ** digits

function buildImages(): void {
  const argv = [`${root}scripts/build-images.ts`, '--json', '--folder', root + SLEEPER, '--folder', root + CHATTER]
  execFileSync(process.execPath, argv, { stdio: ['ignore', 'ignore', 'inherit'] })
}

async function fill(bench: BenchHub): Promise<void> {
  await bench.untilNormal()
  await Promise.all(Array.from({ length: SESSIONS }, () => bench.submit('bench-sleeper')))
  await bench.until('twelve live sessions', bench.sessions, (open) => {
    return open.length === SESSIONS && open.every(({ state }) => state === 'working')
  })
  await sleep(1_000)
}

/** `hub shutdown` as a person types it, until it has said that all are gone. */
async function shutdownMs(bench: BenchHub, path: string, ...words: string[]): Promise<number> {
  const argv = [`${root}hub/client/cli.ts`, '--home', bench.home, 'shutdown', '--yes', '--json', ...words]
  const startedAt = performance.now()
  const text = execFileSync(process.execPath, argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const tookMs = performance.now() - startedAt
  const view = JSON.parse(text) as { path: string; containers: { outcome: string }[] }
  const gone = view.containers.filter(({ outcome }) => outcome !== 'failed').length
  if (view.path !== path || gone !== SESSIONS) throw new Error(`by the ${view.path}: ${gone} of ${SESSIONS} gone`)
  return tookMs
}

/** The same number of containers of the same image, stopped and removed by the engine alone. */
async function bareStopMs(): Promise<number> {
  const clock = createSystemClock()
  const call = async (method: 'POST' | 'DELETE', path: string, body?: object) => {
    const text = body === undefined ? {} : { body: JSON.stringify(body) }
    const asked = { socketPath: ENGINE_SOCKET, method, path, deadlineMs: 30_000, bytesMax: 1e6, ...text }
    return JSON.parse((await exchange(clock, asked)).body.toString() || '{}') as { Id?: string }
  }
  const program = "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1000)"
  const body = {
    Image: 'hub/bench-sleeper',
    Entrypoint: ['node', '-e', program],
    HostConfig: { NetworkMode: 'none', Init: true, Memory: 256 * 2 ** 20 },
  }
  const made = await Promise.all(Array.from({ length: SESSIONS }, () => call('POST', '/containers/create', body)))
  await Promise.all(made.map(({ Id }) => call('POST', `/containers/${Id}/start`)))
  await sleep(2_000)
  const startedAt = performance.now()
  await Promise.all(
    made.map(async ({ Id }) => {
      await call('POST', `/containers/${Id}/stop?t=5`)
      await call('DELETE', `/containers/${Id}?force=1&v=1`)
    }),
  )
  return performance.now() - startedAt
}

async function measureDeath(bench: BenchHub): Promise<number> {
  await bench.untilNormal()
  await sleep(INTERVAL_MS)
  const before = raised(bench.home).length
  const killedAt = performance.now()
  process.kill(bench.pid(), 'SIGKILL')
  await bench.until(
    'the alert',
    async () => raised(bench.home).slice(before),
    (all) => all.includes('hub_health'),
  )
  return performance.now() - killedAt
}

/** From the round that sees the missed deadline to safe mode in the hub; several, each after a heartbeat. */
async function measureDeadline(bench: BenchHub): Promise<number> {
  const spans: number[] = []
  for (let turn = 0; turn < 5; turn += 1) {
    const beat = (await bench.watchdog.send('POST', '/v1/heartbeat', {})) as { safeAtMs: number }
    await bench.untilNormal()
    await sleep(Math.max(0, beat.safeAtMs - Date.now()) + 5)
    const startedAt = performance.now()
    await bench.watchdog.send('POST', '/v1/look', {})
    await bench.until('safe mode', bench.health, ({ mode }) => mode === 'safe')
    spans.push(performance.now() - startedAt)
  }
  return [...spans].sort((a, b) => a - b)[spans.length >> 1] ?? Number.NaN
}

export async function benchSafety(say: Say, { seconds = 60 }: { seconds?: number } = {}): Promise<Figure[]> {
  buildImages()
  say(`bare engine: ${SESSIONS} containers stopped and removed`)
  const bareMs = await bareStopMs()
  await using bench = await createBenchHub(root, SLEEPER, {
    agents: [CHATTER],
    copies: SESSIONS,
    grants: { topics: topicsOf(SESSIONS), ttlMs: 3 * 3_600_000 },
  })
  // A first start compiles every source; from the second on they come out of the cache. At the shipped interval of 30 s.
  await bench.restartWatchdog({ port: 0 })
  await bench.untilNormal()
  await sleep(IDLE_MS)
  const idleMb = rssMb(bench.watchdogPid())
  say(`normal running under load for ${seconds} s`)
  const load = await measureLoad(bench, { seconds, sessions: SESSIONS }, say)

  await bench.restartWatchdog({
    port: 0,
    intervalMs: INTERVAL_MS,
    missesMax: MISSES,
    leaseTimeoutMs: 1_000,
    startGraceMs: 0,
  })
  say('the hub dies')
  const deathMs = await measureDeath(bench)
  await bench.start()
  say('stopped by the hub')
  await fill(bench)
  const hubMs = await shutdownMs(bench, 'hub')
  await bench.start()
  say('stopped by the watchdog, the hub dead')
  await fill(bench)
  process.kill(bench.pid(), 'SIGKILL')
  const watchdogMs = await shutdownMs(bench, 'watchdog')
  await bench.start()
  say('stopped by the command, both dead')
  await fill(bench)
  for (const pid of [bench.pid(), bench.watchdogPid()]) process.kill(pid, 'SIGKILL')
  const emergencyMs = await shutdownMs(bench, 'command', '--emergency')
  await bench.start()
  const spans = { remindFirstMs: 1_000, remindLastMs: 2_000, missedMs: 3_000, missedGraceMs: 0 }
  await bench.restartWatchdog({ port: 0, intervalMs: 60_000, ...spans })
  await bench.hub.call('mode.resume', {})
  say('a missed deadline')
  const deadlineMs = await measureDeadline(bench)

  return [
    {
      key: 'deathToAlertMs',
      value: round(deathMs),
      unit: 'ms',
      text: `kill -9 of the hub to the raised alert; ${MISSES} misses at an interval of ${INTERVAL_MS} ms (shipped: 30 s)`,
    },
    {
      key: 'deathToAlertIntervals',
      value: round(deathMs / INTERVAL_MS, 2),
      unit: '',
      text: 'the same in intervals of the watchdog',
    },
    {
      key: 'deadlineToSafeMs',
      value: round(deadlineMs),
      unit: 'ms',
      text: 'round that sees the missed deadline to safe mode in the hub, p50 of 5; the aim is below 1000',
    },
    {
      key: 'bareStopMs',
      value: round(bareMs),
      unit: 'ms',
      text: `baseline: the bare engine stops and removes ${SESSIONS} containers that listen`,
    },
    {
      key: 'shutdownHubMs',
      value: round(hubMs),
      unit: 'ms',
      text: `\`hub shutdown\` with ${SESSIONS} sessions until all are confirmed, by the hub`,
    },
    { key: 'shutdownWatchdogMs', value: round(watchdogMs), unit: 'ms', text: 'the same by the watchdog, the hub dead' },
    {
      key: 'shutdownEmergencyMs',
      value: round(emergencyMs),
      unit: 'ms',
      text: 'the same by the command with --emergency, both dead',
    },
    {
      key: 'watchdogIdleMb',
      value: idleMb,
      unit: 'MiB',
      text: 'resident memory of the watchdog 10 s after its second start; the aim is below 90',
    },
    {
      key: 'watchdogCpuPercent',
      value: round(load.cpuPercent, 2),
      unit: '%',
      text: `of one core during the load, interval 30 s; the aim is below 0.5`,
    },
    {
      key: 'falseAlarms',
      value: load.alarms.length,
      unit: '',
      text: `raised by hub and watchdog in ${seconds} s of normal running under load`,
    },
    {
      key: 'loadRecordsPerSecond',
      value: round(load.recordsPerSecond),
      unit: '/s',
      text: `that load: audit records; ${SESSIONS} sessions publish as fast as the shipped quotas let them`,
    },
  ]
}
