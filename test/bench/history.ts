/**
 * What a long history costs: start, `hub status`, lists, dispatch and memory at 0, 1 million and 10 million audit records, all in the unsealed
 * month, and 100 000 tasks; and how late twenty agents are answered while the whole log is verified and exported. The baseline is the same home
 * with nothing in it, in the same run. The records are made by the store's own code, each with its right hash, without waiting for the disk.
 * The engine is the tests' own: what a container takes would hide what the hub takes. `HUB_BENCH_RECORDS` makes fewer, for a quick look.
 */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createSystemClock } from '../../hub/base/clock.ts'
import { type Connection, createConnection } from '../../hub/client/connection.ts'
import { createCheckpoints } from '../../hub/guard/audit/checkpoint.ts'
import { createAuditLog } from '../../hub/guard/audit/log.ts'
import { readKeys } from '../../hub/guard/identity/keys.ts'
import { openStore, type Store } from '../../hub/store/database.ts'
import { createBenchHub } from './bench-hub.ts'
import { talk } from './flood.ts'
import { type FrameClient, openFrameClient } from './frame-client.ts'
import type { Figure } from './run.ts'

const RECORDS_MAX = Number(process.env.HUB_BENCH_RECORDS ?? 10_000_000)
const TASKS = 100_000
/** Between two signed heads: what a busy hub writes in two seconds. */
const SIGNED_EVERY = 1000
const STARTS = 7
const CALLS = 200
const DISPATCHES = 25
const AGENTS = 20
const SPAN_SECONDS = 10

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SLEEPER = 'test/support/images/bench-sleeper'

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const heard = <Word>(child: ChildProcess) => new Promise<Word>((resolve) => child.once('message', resolve))
const sorted = (values: number[]) => values.sort((a, b) => a - b)
const quantile = (values: readonly number[], share: number) =>
  values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN
const median = (values: number[]) => quantile(sorted(values), 0.5)
const fastest = (values: number[]) => Math.min(...values)
const ms = (value: number) => `${value.toFixed(value < 10 ? 2 : 0)} ms`

/** Brings the log to `size` records. */
function fillRecords(home: string, size: number, say: (line: string) => void): void {
  const store = openStore(join(home, 'hub.db'))
  store.prepare('pragma synchronous = off').run()
  const clock = createSystemClock()
  const audit = createAuditLog({ store, clock, home })
  const instance = readFileSync(join(home, 'instance'), 'utf8').trim()
  const { privateKey, publicKey } = readKeys(join(home, 'keys')).checkpoint
  const checkpoints = createCheckpoints({ store, audit, clock, instance, privateKey, publicKey })
  const startedAt = performance.now()
  const from = audit.head().size
  for (let at = from; at < size; ) {
    const count = Math.min(SIGNED_EVERY, size - at)
    store.transaction(() => {
      for (let n = 0; n < count; n += 1) audit.append(recordOf(at + n))
    })
    checkpoints.take()
    at += count
  }
  const seconds = (performance.now() - startedAt) / 1000
  store.checkpoint()
  store.close()
  const gib = statSync(join(home, 'hub.db')).size / 1024 ** 3
  say(`made ${size - from} records in ${seconds.toFixed(0)} s; hub.db is ${gib.toFixed(1)} GiB`)
}

const recordOf = (n: number) => ({
  principal: `agent:bench/s${String(n % 500).padStart(14, 'a')}`,
  action: n % 3 === 0 ? 'message.sent' : n % 3 === 1 ? 'task.progressed' : 'task.dispatched',
  resource: `session:s${String(n % 700).padStart(14, 'b')}`,
  decisionId: `018f0000-0000-7000-8000-${String(n % 10_000).padStart(12, '0')}`,
  policyRevision: 'r'.repeat(64),
  payloadHash: 'c'.repeat(64),
  outcome: n % 50 === 0 ? ('refused' as const) : ('ok' as const),
  reason: 'the rules allow it',
  effect: '',
})

/** Finished tasks, each with its attempt and its session. */
function fillTasks(home: string): void {
  const store = openStore(join(home, 'hub.db'))
  store.prepare('pragma synchronous = off').run()
  const atMs = Date.now() - 86_400_000
  for (let from = 0; from < TASKS; from += 5000)
    store.transaction(() => {
      for (let n = from; n < from + 5000; n += 1) insertTask(store, n, atMs + n)
    })
  store.checkpoint()
  store.close()
}

function insertTask(store: Store, n: number, atMs: number): void {
  const id = `018f0000-0000-7000-8000-${String(n).padStart(12, '0')}`
  const attempt = `018f0000-0000-7000-9000-${String(n).padStart(12, '0')}`
  const session = `s${String(n).padStart(14, 'q')}`
  store
    .prepare(
      `insert into task (id, state, agent, needs, params, priority, held, depth, chain, attempts, outcome, requested_by, created_at_ms, started_at_ms, ended_at_ms)
       values (?, ?, 'bench', '[]', '{"text":"work"}', 0, 0, 0, '[]', 1, '{"ok":true}', 'operator', ?, ?, ?)`,
    )
    .run(id, n % 20 === 0 ? 'failed' : 'succeeded', atMs, atMs, atMs + 1000)
  store
    .prepare(
      `insert into attempt (id, task, ordinal, state, session, exit_code, started_at_ms, ended_at_ms) values (?, ?, 1, 'settled', ?, 0, ?, ?)`,
    )
    .run(attempt, id, session, atMs, atMs + 1000)
  store
    .prepare(
      `insert into session (id, agent, task, attempt, state, container_name, image_id, authority, expires_at_ms, expires_boot, exit_reason, created_at_ms, ended_at_ms)
       values (?, 'bench', ?, ?, 'recycled', ?, 'sha256:0', '{"secrets":[]}', ?, 'boot', 'done', ?, ?)`,
    )
    .run(session, id, attempt, `hub-${session}`, atMs + 3_600_000, atMs, atMs + 1000)
}

interface Running {
  child: ChildProcess
  hub: Connection
  startMs: number
}
async function startHub(home: string): Promise<Running> {
  const startedAt = performance.now()
  const child = fork(here('./messages-hub.ts'), [home, String(AGENTS)], {
    env: { ...process.env, HUB_BENCH_TELL: '1' },
  })
  await heard(child)
  const startMs = performance.now() - startedAt
  return {
    child,
    startMs,
    hub: createConnection({ name: 'hub', socketPath: join(home, 'run', 'operator.sock'), start: '' }),
  }
}
async function stopHub({ child }: Running): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.send('end')
  await gone
}
const rssOf = async ({ child }: Running) => {
  child.send('usage')
  return (await heard<{ rss: number }>(child)).rss / 1024 ** 2
}

/** Both in turn, so that whatever else the machine does falls on both: the medians of each, or the fastest where each is long and few are made. */
async function inTurn(
  times: number,
  first: () => Promise<number>,
  second: () => Promise<number>,
  pick: (spans: number[]) => number = median,
): Promise<[number, number]> {
  const spans: [number[], number[]] = [[], []]
  for (let n = 0; n < times; n += 1) {
    spans[0].push(await first())
    spans[1].push(await second())
  }
  return [pick(spans[0]), pick(spans[1])]
}
async function spanOf(call: () => unknown): Promise<number> {
  const at = performance.now()
  await call()
  return performance.now() - at
}

/** From the operator's word to the engine's start, one task at a time. */
async function dispatchMs({ child, hub }: Running): Promise<number> {
  const started = heard(child)
  const at = performance.now()
  const { task } = await hub.call('task.submit', { agent: 'bench' })
  await started
  const span = performance.now() - at
  await hub.call('task.cancel', { id: task.id })
  while ((await hub.call('session.list', {})).sessions.length > 0) await sleep(10)
  return span
}

/** The command as a person runs it, program start and all. */
const statusMs = (home: string) =>
  spanOf(() =>
    execFileSync(process.execPath, [here('../../hub/client/cli.ts'), '--home', home, 'status'], {
      env: { ...process.env, NODE_COMPILE_CACHE: join(home, 'cache') },
      stdio: 'ignore',
    }),
  )

async function startMs(home: string): Promise<number> {
  const running = await startHub(home)
  await stopHub(running)
  return running.startMs
}

/** Of the empty home and of the other one. */
type Pair = readonly [empty: number, full: number]
interface Measured {
  start: Pair
  status: Pair
  health: Pair
  taskList: Pair
  auditList: Pair
  dispatch: Pair
  rss: Pair
}

async function measure(emptyHome: string, home: string, say: (line: string) => void, what: string): Promise<Measured> {
  const start = await inTurn(
    STARTS,
    () => startMs(emptyHome),
    () => startMs(home),
    fastest,
  )
  const [empty, full] = [await startHub(emptyHome), await startHub(home)]
  // What is looked through after a start is over, so that each figure is of a hub at rest.
  const looked = await spanOf(async () => {
    for (const { child } of [empty, full]) {
      child.send('looked')
      await heard(child)
    }
  })
  const walkMs = await spanOf(async () => {
    const verdict = await full.hub.call('audit.verify', {}, { deadlineMs: 3_600_000 })
    if (!verdict.ok) throw new Error(`the log that was made is broken: ${JSON.stringify(verdict)}`)
  })
  const both = (times: number, ask: (running: Running) => Promise<number>) =>
    inTurn(
      times,
      () => ask(empty),
      () => ask(full),
    )
  const calls = (operation: 'health.show' | 'task.list' | 'audit.list') =>
    both(CALLS, ({ hub }) => spanOf(() => hub.call(operation, {})))
  // First, so that every list has a whole page to show, in an empty home too.
  const dispatch = await both(DISPATCHES, dispatchMs)
  const found: Measured = {
    ...{ start, dispatch },
    status: await inTurn(
      STARTS,
      () => statusMs(emptyHome),
      () => statusMs(home),
      fastest,
    ),
    health: await calls('health.show'),
    taskList: await calls('task.list'),
    auditList: await calls('audit.list'),
    rss: [await rssOf(empty), await rssOf(full)],
  }
  await stopHub(empty)
  await stopHub(full)
  const text = (name: string, [before, now]: Pair) => `${name} ${ms(now)} (empty ${ms(before)})`
  say(
    `${what}: ${text('start', found.start)}, ${text('hub status', found.status)}, ${text('its answer', found.health)}, ${text('task list', found.taskList)}, ` +
      `${text('audit list', found.auditList)}, ${text('dispatch', found.dispatch)}, ${found.rss.map((each) => each.toFixed(0)).join(' and ')} MB; ` +
      `looked through after the start in ${ms(looked)}, verified in ${ms(walkMs)}`,
  )
  return found
}

/** Twenty agents alone, and while one command verifies and another exports. */
async function beside(home: string, say: (line: string) => void): Promise<{ aloneMs: number; besideMs: number }> {
  const running = await startHub(home)
  const { hub } = running
  for (let nth = 0; nth < AGENTS; nth += 1) await hub.call('task.submit', { agent: 'bench' })
  let ids: string[] = []
  for (; ids.length < AGENTS; await sleep(50)) {
    const { sessions } = await hub.call('session.list', { limit: 100 })
    ids = sessions.filter(({ state }) => state === 'starting').map(({ id }) => id)
  }
  const clients: FrameClient[] = []
  for (const id of ids) clients.push(await openFrameClient(join(home, 'run', 's', id, 'hub.sock')))
  running.child.send('looked')
  await heard(running.child)
  await talk(clients, 2)
  const alone = await talk(clients, SPAN_SECONDS)
  // The commands as people run them, each a process of its own, begun again when it is done.
  let ending = false
  const commands = new Set<ChildProcess>()
  const again = async (verb: string) => {
    while (!ending) {
      const child = spawn(process.execPath, [here('../../hub/client/cli.ts'), '--home', home, 'audit', verb], {
        stdio: 'ignore',
      })
      commands.add(child)
      await new Promise((resolve) => child.once('exit', resolve))
      commands.delete(child)
    }
  }
  const both = Promise.all([again('verify'), again('export')])
  await sleep(1500)
  const during = await talk(clients, SPAN_SECONDS)
  ending = true
  for (const child of commands) child.kill('SIGKILL')
  await both
  say(
    `${AGENTS} agents at 10 a second: p99 ${ms(quantile(alone, 0.99))} alone, ${ms(quantile(during, 0.99))} while one command verified and another exported`,
  )
  for (const client of clients) client.close()
  await stopHub(running)
  return { aloneMs: quantile(alone, 0.99), besideMs: quantile(during, 0.99) }
}

/** What the canary takes on the engine of this machine, which the rest of this bench does without; undefined where none answers. */
async function canaryMs(say: (line: string) => void): Promise<number | undefined> {
  try {
    await using bench = await createBenchHub(ROOT, SLEEPER)
    type Health = { canary?: { state: string; tookMs: number | null } }
    const ask = async () => (await bench.hub.send('GET', '/v1/health')) as Health
    const { canary } = await bench.until('the canary has passed', ask, (found) => found.canary?.state === 'passed')
    return canary?.tookMs ?? undefined
  } catch (thrown) {
    say(`no canary on this machine's engine: ${(thrown as Error).message}`)
    return undefined
  }
}

export async function benchHistory(say: (line: string) => void): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'hb-'))
  const [emptyHome, home] = [join(folder, 'e'), join(folder, 'h')]
  const bare: number[] = []
  try {
    for (let n = 0; n < STARTS; n += 1) {
      const at = performance.now()
      execFileSync(process.execPath, ['-e', ''])
      bare.push(performance.now() - at)
    }
    say(`bare start of Node: ${ms(median(bare))}`)
    for (const each of [emptyHome, home]) await stopHub(await startHub(each))
    fillRecords(home, RECORDS_MAX / 10, say)
    const tenth = await measure(emptyHome, home, say, `${RECORDS_MAX / 10} records`)
    fillTasks(home)
    fillRecords(home, RECORDS_MAX, say)
    const full = await measure(emptyHome, home, say, `${RECORDS_MAX} records, ${TASKS} tasks`)
    const others = await beside(home, say)
    const canary = await canaryMs(say)
    const ratio = ([empty, long]: Pair) => long / empty
    const figure = (key: string, value: number, unit: string, text: string, digits = 2): Figure => ({
      key,
      value: Number(value.toFixed(digits)),
      unit,
      text,
    })
    return [
      figure('nodeStartMs', median(bare), 'ms', 'baseline: Node with nothing to run', 0),
      figure(
        'startEmptyMs',
        full.start[0],
        'ms',
        `baseline: process begun to entrances open, empty home; the fastest of ${STARTS}`,
        0,
      ),
      figure('startRatio1M', ratio(tenth.start), '', 'the same at a tenth of the records; the aim is at most 1.2'),
      figure('startRatio10M', ratio(full.start), '', 'at all records and 100 000 tasks; the aim is at most 1.2'),
      figure('statusEmptyMs', full.status[0], 'ms', 'baseline: `hub status` as a person runs it, empty home', 0),
      figure('statusMs10M', full.status[1], 'ms', 'the aim is below 200', 0),
      figure('taskListRatio', ratio(full.taskList), '', `of ${ms(full.taskList[0])}; the aim is at most 1.2`),
      figure('auditListRatio', ratio(full.auditList), '', `of ${ms(full.auditList[0])}; the aim is at most 1.2`),
      figure(
        'dispatchRatio',
        ratio(full.dispatch),
        '',
        `of ${ms(full.dispatch[0])}, submitted to started; at most 1.2`,
      ),
      figure(
        'rssGrowthMb',
        full.rss[1] - full.rss[0],
        'MB',
        `over ${full.rss[0].toFixed(0)} MB, after all was verified`,
        1,
      ),
      figure('aloneP99Ms', others.aloneMs, 'ms', `baseline: ${AGENTS} agents, 10 messages a second each`, 1),
      figure('verifyOthersP99Ms', others.besideMs, 'ms', 'the same during verify and export; the aim is below 30', 1),
      ...(canary === undefined
        ? []
        : [figure('canaryMs', canary, 'ms', 'create to removed, on the engine of this machine; at most 3000', 0)]),
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
