/**
 * What the hub adds to the bare engine, how fast it takes up its work after a crash, and how fast everything stops.
 * Bare and dispatched runs take turns, so that whatever else the machine does falls on both alike.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { sleep } from '../../hub/client/cli/processes.ts'
import type { HubEvent } from '../../hub/protocol/events.ts'
import { type BareRun, createBareEngine } from './bare-engine.ts'
import { type BenchHub, createBenchHub, rssMb } from './bench-hub.ts'
import { askEngine, containerMb } from './engine-counts.ts'
import type { Figure } from './run.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const SLEEPER = 'test/support/images/bench-sleeper'
const WARM_UP = 3
const RUNS = 25
const BATCH = 60
const SESSIONS = 12
const IDLE_MS = 5_000

type Say = (line: string) => void
interface Dispatched {
  joinMs: number
  resultMs: number
}

const p50 = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const round = (value: number, digits = 0): number => Math.round(value * 10 ** digits) / 10 ** digits

/** The image ids by name. */
function buildImages(): Map<string, string> {
  const argv = [`${root}scripts/build-images.ts`, '--json', '--folder', `${root}${SLEEPER}`]
  const lines = execFileSync(process.execPath, argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  const rows = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; id: string })
  return new Map(rows.map(({ name, id }) => [name, id]))
}

/** Every completed task with the instant at which this process heard of it. */
function listen(bench: BenchHub, signal: AbortSignal) {
  const heard = new Map<string, number>()
  let wake = Promise.withResolvers<void>()
  const loop = async () => {
    for await (const event of bench.hub.events({}, signal) as AsyncIterable<HubEvent>) {
      if (event.type !== 'hub.task.completed.v1') continue
      heard.set(String(event.data.task), performance.now())
      wake.resolve()
      wake = Promise.withResolvers<void>()
    }
  }
  const running = loop()
  running.catch(() => {})
  return {
    async ended(task: string): Promise<number> {
      for (;;) {
        const at = heard.get(task)
        if (at !== undefined) return at
        await Promise.race([
          wake.promise,
          sleep(30_000).then(() => Promise.reject(new Error(`task ${task} did not end`))),
        ])
      }
    },
  }
}

async function dispatchOne(bench: BenchHub, ended: (task: string) => Promise<number>): Promise<Dispatched> {
  const startedAt = performance.now()
  const startedWallMs = performance.timeOrigin + startedAt
  const task = await bench.submit('echo', { hello: 1 })
  const resultMs = (await ended(task.id)) - startedAt
  const page = await bench.hub.call('audit.list', { action: 'session.joined', limit: 1 })
  const joinMs = (page.records[0]?.atMs ?? Number.NaN) - startedWallMs
  if (!(joinMs > 0 && joinMs <= resultMs + 1))
    throw new Error(`a join ${joinMs} ms after the submit is none of this task`)
  // The next one starts on a machine that is not still removing the last container.
  await bench.until(
    'the end of the session',
    () => bench.sessions(),
    (open) => open.length === 0,
  )
  return { joinMs, resultMs }
}

async function measureStarts(bench: BenchHub, imageId: string, ended: (task: string) => Promise<number>, say: Say) {
  using bare = createBareEngine(root)
  const bares: BareRun[] = []
  const dispatched: Dispatched[] = []
  for (let at = -WARM_UP; at < RUNS; at += 1) {
    const pair = [await bare.run(imageId), await dispatchOne(bench, ended)] as const
    if (at < 0) continue
    bares.push(pair[0])
    dispatched.push(pair[1])
    if ((at + 1) % 5 === 0) say(`${at + 1} of ${RUNS} bare and dispatched starts`)
  }
  return { bares, dispatched }
}

async function measureBatch(bench: BenchHub, ended: (task: string) => Promise<number>): Promise<number> {
  const startedAt = performance.now()
  const tasks = await Promise.all(Array.from({ length: BATCH }, (_, ordinal) => bench.submit('echo', { ordinal })))
  const endedAt = await Promise.all(tasks.map(({ id }) => ended(id)))
  return (BATCH / (Math.max(...endedAt) - startedAt)) * 60_000
}

/** Twelve sleepers, each of which has joined and said so. */
async function fill(bench: BenchHub, params: Record<string, unknown>): Promise<Set<string>> {
  await bench.untilNormal()
  await Promise.all(Array.from({ length: SESSIONS }, () => bench.submit('bench-sleeper', params)))
  const awake = await bench.until('twelve live sessions', bench.sessions, (open) => {
    return open.length === SESSIONS && open.every(({ state }) => state === 'ready' || state === 'working')
  })
  // Joined is not yet asleep: the program is still being loaded.
  await sleep(1_000)
  return new Set(awake.map(({ id }) => id))
}

/** As `major.minor`, a number: 29.6, and 20.1 for 20.10. */
async function engineVersion(): Promise<number> {
  const { Version } = await askEngine<{ Version: string }>('/version')
  return Number(/^\d+\.\d+/.exec(Version)?.[0])
}

/** What the engine counts for one container, without what the kernel would give back at once; p50 of all. */
async function sessionMb(bench: BenchHub): Promise<number> {
  const open = await bench.sessions()
  const sizes = await Promise.all(open.map(({ containerId }) => containerMb(containerId)))
  return p50(sizes)
}

async function measureRecovery(bench: BenchHub) {
  const before = await fill(bench, {})
  const sessionIdleMb = await sessionMb(bench)
  const killedAt = performance.now()
  process.kill(bench.pid(), 'SIGKILL')
  await bench.start()
  const adopted = await bench.until('the sessions again', bench.sessions, (open) => open.length === SESSIONS)
  const recoveryMs = performance.now() - killedAt
  if (adopted.some(({ id }) => !before.has(id))) throw new Error('a session was started anew instead of adopted')
  await bench.untilNormal()
  return { recoveryMs, normalMs: performance.now() - killedAt, sessionIdleMb }
}

async function measureShutdown(bench: BenchHub): Promise<number> {
  const startedAt = performance.now()
  const { gone, failed } = await bench.shutdown()
  if (gone !== SESSIONS) throw new Error(`${gone} of ${SESSIONS} confirmed gone: ${failed.join('; ')}`)
  return performance.now() - startedAt
}

export async function benchDispatch(say: Say): Promise<Figure[]> {
  const images = buildImages()
  await using bench = await createBenchHub(root, SLEEPER)
  // A first start compiles every source; from the second on they come out of the cache.
  const idleMb = async () => {
    await bench.untilNormal()
    await sleep(IDLE_MS)
    return rssMb(bench.pid())
  }
  const hubFirstIdleMb = await idleMb()
  await bench.restart()
  const hubIdleMb = await idleMb()
  const ending = new AbortController()
  const { ended } = listen(bench, ending.signal)
  const { bares, dispatched } = await measureStarts(bench, images.get('hub/echo') ?? '', ended, say)
  say(`${BATCH} tasks, ${SESSIONS} at a time`)
  const tasksPerMinute = await measureBatch(bench, ended)
  ending.abort()
  say(`recovery with ${SESSIONS} sessions`)
  const { recoveryMs, normalMs, sessionIdleMb } = await measureRecovery(bench)
  say('shutdown, cooperative')
  const cooperativeMs = await measureShutdown(bench)
  await bench.start()
  await bench.untilNormal()
  say('shutdown, stubborn')
  await fill(bench, { stubborn: true })
  const stubbornMs = await measureShutdown(bench)

  const start = p50(bares.map(({ firstWordMs }) => firstWordMs))
  const run = p50(bares.map(({ endMs }) => endMs))
  const join = p50(dispatched.map(({ joinMs }) => joinMs))
  const result = p50(dispatched.map(({ resultMs }) => resultMs))
  const figure = (key: string, value: number, unit: string, text: string, digits = 0): Figure => ({
    key,
    value: round(value, digits),
    unit,
    text,
  })
  return [
    figure('engineVersion', await engineVersion(), '', 'of the engine, as it says it: major.minor', 2),
    figure('engineStartP50Ms', start, 'ms', "bare engine: create call to the shim's first connection on its socket"),
    figure('engineRunP50Ms', run, 'ms', 'bare engine: create call to the exit of the same container, its join refused'),
    figure('dispatchP50Ms', join, 'ms', "task.submit sent to session.join in the audit: the agent's first instruction"),
    figure('resultP50Ms', result, 'ms', 'task.submit sent to the completed event heard by the submitter'),
    figure('ratio', join / start, '', 'dispatchP50Ms / engineStartP50Ms', 2),
    figure('resultRatio', result / run, '', 'resultP50Ms / engineRunP50Ms', 2),
    figure('tasksPerMinute', tasksPerMinute, '', `${BATCH} echo tasks, ${SESSIONS} at a time`),
    figure(
      'recoveryMs',
      recoveryMs,
      'ms',
      `kill -9 with ${SESSIONS} sessions to all of them adopted and entrances open`,
    ),
    figure(
      'recoveryNormalMs',
      normalMs,
      'ms',
      'the same to normal mode: the next lease, here at most 2 s away, by default 30 s',
    ),
    figure('hubIdleMb', hubIdleMb, 'MiB', `resident memory of the hub ${IDLE_MS / 1000} s after its second start`, 1),
    figure('hubFirstIdleMb', hubFirstIdleMb, 'MiB', 'the same after the first start, without the compile cache', 1),
    figure('sessionIdleMb', sessionIdleMb, 'MiB', 'of one session that waits, as the engine counts its container', 1),
    figure(
      'shutdownCooperativeMs',
      cooperativeMs,
      'ms',
      `hub.shutdown to ${SESSIONS} confirmed gone and the hub ended`,
    ),
    figure('shutdownStubbornMs', stubbornMs, 'ms', 'the same with agents that hear neither the hub nor SIGTERM'),
  ]
}
