/**
 * A whole hub in this process: real SQLite, the shipped compiled policy, real Unix sockets; the container engine is the fake one, and in
 * the place of each container runs a script with a signing client on that session's real socket. Time is a fake clock that `until` moves.
 *
 * A hub can be stopped, killed (its engine calls never answer again, its database is closed under it) and made anew on the same home with
 * the same engine and the same running scripts.
 */
import { access, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { systemRandom } from '../../hub/base/random.ts'
import { createRedaction } from '../../hub/base/redaction.ts'
import { createLog, type LogLevel } from '../../hub/base/telemetry.ts'
import { readConfigFile } from '../../hub/config.ts'
import type { Schedule } from '../../hub/guard/audit/nightly-look.ts'
import type { DiskFacts } from '../../hub/guard/conditions/disk.ts'
import { createKeyFiles, readKeys } from '../../hub/guard/identity/keys.ts'
import { macOf } from '../../hub/guard/operator/lease.ts'
import { createHub, type Hub, type HubOuter } from '../../hub/hub.ts'
import type { Tracing } from '../../hub/observe/tracing.ts'
import { CANARY_AGENT } from '../../hub/protocol/agent.ts'
import type { HubEvent } from '../../hub/protocol/events.ts'
import type { Ballast } from '../../hub/store/ballast.ts'
import type { Canary } from '../../hub/work/dispatch/canary.ts'
import type { SessionRow, TaskRow } from '../../hub/work/dispatch/rows.ts'
import type { Hook } from '../../hub/work/messages/hooks.ts'
import type { Engine } from '../../hub/work/sandbox/engine.ts'
import { eventFault } from './event-check.ts'
import { createFakeClock, type FakeClock } from './fake-clock.ts'
import { createFakeEngine, type FakeContainer, type FakeEngine } from './fake-engine.ts'
import { memoryFolder } from './memory-folder.ts'
import { watchInputs } from './rule-input-check.ts'
import { HOST } from './sandbox-facts.ts'
import { createSigningClient, type SigningClient } from './signing-client.ts'

export interface TestAgent extends SigningClient {
  readonly container: FakeContainer
  readonly session: string
  readonly agent: string
  /** Aborts when the container has ended. */
  readonly ended: AbortSignal
}
/** Runs in the place of a program. Ends with exit code 0 when it returns, 1 when it throws. */
export type Script = (agent: TestAgent) => unknown

/** What most programs do: join, work, hand in what the work answered. */
export const worker =
  (work: (agent: TestAgent) => unknown): Script =>
  async (agent) => {
    await agent.join()
    await agent.result(await work(agent))
  }
/** Runs until it is stopped. */
export const forever = (agent: TestAgent): Promise<never> =>
  new Promise((_, reject) => agent.ended.addEventListener('abort', () => reject(new Error('it was ended'))))

/** Joins and does nothing by itself: the test speaks for it. */
export const puppet: Script = async (agent) => {
  await agent.join()
  return forever(agent)
}

export interface AgentSpec {
  script: Script
  /** Fields of the card beside name, image and program. */
  card?: Record<string, unknown>
  /** Its row in policy/data.json; by default it may do what its card wishes. */
  policy?: Record<string, unknown>
  /** Ignores SIGTERM. */
  stubborn?: boolean
}

export interface AuditRow {
  seq: number
  hash: string
  principal: string
  action: string
  resource: string
  decision_id: string | null
  payload_hash: string | null
  outcome: string
  reason: string
  effect: string
}

export interface OperatorAnswer {
  status: number
  body: Record<string, unknown>
}

type Verb = 'create' | 'inspect' | 'inspectImage' | 'start' | 'wait' | 'list' | 'stop' | 'remove' | 'logs'

export interface HarnessOptions {
  agents: Record<string, AgentSpec>
  /** JSON schemas beside the cards, by file name. */
  schemas?: Record<string, unknown>
  config?: Record<string, unknown>
  /** Of `complaints`; warn without it. */
  logLevel?: LogLevel
  /** Without a lease the hub starts nothing. */
  lease?: boolean
  hooks?: readonly Hook[]
  tracing?: Tracing | undefined
  useLog?: HubOuter['useLog']
  schedule?: Schedule
  /** What the home's disk has left; room enough without it. */
  disk?: () => DiskFacts
  /** None by default: four megabytes for each of a thousand homes. */
  ballast?: Ballast
  /** A real canary session before anything is dispatched; without it the engine counts as proven. */
  canary?: boolean
  /** Where the wall clock begins; the present where something signs by the machine's own clock. */
  startWallMs?: number
  /** A home that is there already, used as it is. */
  home?: string
  instance?: string
  /** As it is in use, for figures: nothing is checked beside its work, and each commit waits for the disk. */
  isMeasured?: boolean
}

export interface Harness {
  readonly home: string
  readonly instance: string
  readonly clock: FakeClock
  readonly engine: FakeEngine
  readonly hub: Hub
  /** Everybody that was started, in order. */
  readonly started: TestAgent[]
  /** Every line of the hub's log at warn and above. */
  readonly complaints: { level: number; msg: string; reason?: string }[]
  readonly exits: string[]
  operator(
    method: 'GET' | 'POST',
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<OperatorAnswer>
  /** Submits and answers the task's id; throws when it is refused. */
  submit(agent: string, params?: Record<string, unknown>, more?: Record<string, unknown>): Promise<string>
  /** Submits to each of these agents in turn and answers them once they have joined. */
  bring<Names extends string[]>(...agents: Names): Promise<{ [At in keyof Names]: TestAgent }>
  /** Until so many running agents have joined and heard so. */
  working(count: number): Promise<void>
  task(id: string): TaskRow
  sessionsOf(task: string): SessionRow[]
  lease(word?: Record<string, unknown>): Promise<number>
  /** What the hub said to the last of them. */
  leaseAnswer(): Record<string, unknown>
  audit(since?: number): AuditRow[]
  events(type?: string): HubEvent[]
  /** Moves time in small steps until the check holds; throws after minutes of real time, saying what it sees. */
  until(check: () => unknown, what?: string, stepMs?: number): Promise<void>
  /** Until the tasks are in an end state. */
  ended(...tasks: string[]): Promise<void>
  /** Until no session and no container is left. */
  quiet(): Promise<void>
  /** Moves time while the promise is open. */
  pumped<Result>(promise: Promise<Result>, stepMs?: number): Promise<Result>
  stop(): Promise<void>
  /** As kill -9: what the engine was asked goes unanswered, nothing more is written. */
  kill(): Promise<void>
  /** The next call of this verb kills the hub, before or after the engine has done it. */
  killAt(verb: Verb, when: 'before' | 'after'): void
  readonly killed: boolean
  start(lease?: boolean): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const POOL_THREADS = 4
const look = promisify(access)
/**
 * What the hub has given to the pool of threads (a token is proven there, a file is copied there) has its turn before time moves on. By a
 * timer alone those threads would fall behind on a busy machine, and seconds of the clock pass while they wait for a core.
 */
const poolTurn = () => Promise.all(Array.from({ length: POOL_THREADS }, () => look('/')))
const tick = async () => {
  await new Promise<void>((resolve) => setTimeout(resolve, 1))
  await poolTurn()
}
const sessionFolders = (home: string): string[] => {
  try {
    return readdirSync(join(home, 'run', 's'))
  } catch {
    return []
  }
}
const isListening = (path: string) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
/** Half of ten gigabytes. */
const ROOMY: DiskFacts = { blocks: 2_500_000, bavail: 1_250_000, bsize: 4096, files: 1_000_000, ffree: 500_000 }
const NO_BALLAST: Ballast = { keep: () => undefined, release: () => false, isWhole: () => true }
/** Of no concern to a test of something else: an engine that is always fit, and always the same. */
const PROVEN: Canary = {
  hasImage: () => true,
  ask: async () => ({ engine: 'fake', components: { runc: '1.1.5' }, refused: [] }),
  run: async () => ({ findings: [], tookMs: 0, atMs: 0, engine: 'fake' }),
}
const never = () => new Promise<never>(() => undefined)
/** Of the machine, not of the product: only what hangs for good meets it, on the slowest machine too. */
const REAL_MS_MAX = 240_000
const BUNDLE = fileURLToPath(new URL('../../policies', import.meta.url))

/** The engine as one run of the hub sees it: when that run is dead, nothing is answered any more. */
function engineOfRun(engine: FakeEngine) {
  const run = { dead: false, killAt: undefined as { verb: Verb; when: 'before' | 'after' } | undefined }
  const gated = async <Result>(verb: string, work: () => Promise<Result>): Promise<Result> => {
    const hit = run.killAt?.verb === verb ? run.killAt.when : undefined
    if (hit === 'before') run.dead = true
    if (run.dead) return never()
    const done = await work().then(
      (result) => () => result,
      (thrown) => () => {
        throw thrown
      },
    )
    if (hit === 'after') run.dead = true
    if (run.dead) return never()
    return done()
  }
  const seen: Engine = {
    ping: () => gated('ping', () => engine.ping()),
    disagreement: engine.disagreement,
    info: () => gated('info', () => engine.info()),
    inspectImage: (name) => gated('inspectImage', () => engine.inspectImage(name)),
    create: (name, body) => gated('create', () => engine.create(name, body)),
    inspect: (id) => gated('inspect', () => engine.inspect(id)),
    start: (id) => gated('start', () => engine.start(id)),
    waitNextExit(id) {
      const { opened, exit, cancel } = engine.waitNextExit(id)
      const heard = { opened: gated('wait', () => opened), exit: gated('wait', () => exit), cancel }
      heard.opened.catch(() => undefined)
      heard.exit.catch(() => undefined)
      return heard
    },
    stop: (id, grace) => gated('stop', () => engine.stop(id, grace)),
    kill: (id) => gated('kill', () => engine.kill(id)),
    pause: (id) => gated('pause', () => engine.pause(id)),
    top: (id) => gated('top', () => engine.top(id)),
    remove: (id) => gated('remove', () => engine.remove(id)),
    list: (instance, withinMs) => gated('list', () => engine.list(instance, withinMs)),
    listOthers: (instance) => engine.listOthers(instance),
    events: (instance, hear, signal) => engine.events(instance, (event) => run.dead || hear(event), signal),
    logs: (id, bytesMax) => gated('logs', () => engine.logs(id, bytesMax)),
  }
  return { run, seen }
}

export async function createHarness(options: HarnessOptions): Promise<Harness> {
  const home = options.home ?? mkdtempSync(join(memoryFolder(), 'h-'))
  const instance = options.instance ?? 'test-instance'
  const clock = createFakeClock(options.startWallMs)
  const { firstUser } = (options.config?.engine ?? {}) as { firstUser?: number }
  const engine = createFakeEngine({ clock, firstUser })
  const started: TestAgent[] = []
  const complaints: Harness['complaints'] = []
  const exits: string[] = []
  if (options.home === undefined) writeHome(home, options)
  const keys = readKeys(join(home, 'keys'))
  const redaction = createRedaction()
  const log = createLog(
    options.logLevel ?? 'warn',
    { write: (line) => void complaints.push(JSON.parse(line)) },
    redaction.text,
  )

  engine.onStart = (container) => {
    const agent = container.body.Labels['hub.agent'] ?? ''
    const spec = options.agents[agent]
    const client = createSigningClient({ socketPath: container.socketPath, clock, ended: container.ended })
    const self: TestAgent = Object.assign(client, {
      container,
      agent,
      session: container.session,
      ended: container.ended,
    })
    started.push(self)
    Promise.resolve()
      .then(() => spec?.script(self))
      .then(
        () => container.exit(0),
        (thrown) => {
          container.log += `${String(thrown)}\n`
          container.exit(1)
        },
      )
    return spec?.stubborn ? { onTerm: () => undefined } : undefined
  }

  let hub: Hub | undefined
  let run: ReturnType<typeof engineOfRun>['run'] | undefined
  let leases = 0
  let leaseAnswer: Record<string, unknown> = {}
  const theHub = () => {
    if (hub === undefined) throw new Error('the hub is not running')
    return hub
  }

  const oddInputs: ReadonlySet<string>[] = []
  const harness: Harness = {
    home,
    instance,
    clock,
    engine,
    started,
    complaints,
    exits,
    get hub() {
      return theHub()
    },
    get killed() {
      return run?.dead ?? false
    },
    operator(method, path, body, headers = {}) {
      return harness.pumped(ask(join(home, 'run', 'operator.sock'), method, path, body, headers))
    },
    async submit(agent, params = {}, more = {}) {
      const { status, body } = await harness.operator('POST', '/v1/tasks', { agent, params, ...more })
      if (status !== 200) throw new Error(`${status} ${String(body.code)}: ${String(body.detail)}`)
      return (body.task as { id: string }).id
    },
    async bring<Names extends string[]>(...agents: Names) {
      const brought: TestAgent[] = []
      for (const agent of agents) {
        const task = await harness.submit(agent)
        const mine = () => started.findLast(({ joined }) => joined?.task.task === task)
        await harness.until(() => mine()?.token, `${agent} joins`)
        brought.push(mine() as TestAgent)
      }
      return brought as { [At in keyof Names]: TestAgent }
    },
    working: (count) =>
      harness.until(
        () => started.filter(({ token, ended }) => token !== '' && !ended.aborted).length === count,
        `${count} agents at work`,
      ),
    task(id) {
      const task = theHub().work.tasks.task(id)
      if (task === undefined) throw new Error(`no task ${id}`)
      return task
    },
    sessionsOf: (task) =>
      theHub()
        .work.tasks.sessions({ limit: 1000, all: true })
        .filter((session) => session.task === task)
        .reverse(),
    async lease(word = {}) {
      leases += 1
      const lease = {
        version: 1,
        instance,
        epoch: 1,
        counter: leases,
        bootId: clock.bootId,
        intervalMs: 600_000,
        heartbeatAgeMs: 0,
        deadlineInMs: 86_400_000,
        demand: 'normal',
        conditions: [],
        ...word,
      }
      const text = JSON.stringify(lease)
      const mac = macOf(keys.watchdog, 'hub-lease-v1', text)
      const door = join(home, 'run', 'watchdog.sock')
      const { status, body } = await harness.pumped(ask(door, 'POST', '/v1/lease', lease, { 'hub-mac': mac }))
      leaseAnswer = body
      return status
    },
    leaseAnswer: () => leaseAnswer,
    audit: (since = 0) =>
      theHub().guard.store.prepare('select * from audit_record where seq > ? order by seq').all(since) as AuditRow[],
    events: (type) =>
      theHub()
        .guard.events.since(0)
        .events.filter((event) => type === undefined || event.type === type),
    async until(check, what = check.toString(), stepMs = 20) {
      const giveUpAt = performance.now() + REAL_MS_MAX
      while (!check()) {
        if (performance.now() > giveUpAt)
          throw new Error(`it never came to this: ${what}\n${stateText(hub, complaints)}`)
        await tick()
        await clock.advance(stepMs)
      }
    },
    ended: (...ids) =>
      harness.until(
        () => ids.every((id) => !['queued', 'running'].includes(harness.task(id).state)),
        `the end of ${ids.length} tasks`,
      ),
    quiet: () =>
      harness.until(
        () => theHub().work.tasks.sessionsOpen().length === 0 && engine.containers.size === 0,
        'no session and no container is left',
      ),
    async pumped(promise, stepMs = 10) {
      let open = true
      const settled = promise.finally(() => {
        open = false
      })
      settled.catch(() => undefined)
      const giveUpAt = performance.now() + REAL_MS_MAX
      while (open) {
        await tick()
        if (!open) break
        if (performance.now() > giveUpAt) throw new Error(`nothing came of it\n${stateText(hub, complaints)}`)
        await clock.advance(stepMs)
      }
      return settled
    },
    async stop() {
      const { events } = theHub().guard
      await harness.pumped(theHub().stop())
      const faults = events.since(0).events.flatMap((event) => eventFault(event) ?? [])
      if (faults.length > 0)
        throw new Error(`events that are not as the reference says: ${[...new Set(faults)].join('; ')}`)
      if (run !== undefined) run.dead = true
      hub = undefined
    },
    async kill() {
      const dying = theHub()
      if (run !== undefined) run.dead = true
      // Its loops and listeners must not live on in this process; what hangs in the engine hangs for ever.
      void dying.stop().catch(() => undefined)
      const door = join(home, 'run', 'operator.sock')
      for (let reached = true; reached; ) {
        reached = await ask(door, 'GET', '/healthz', undefined, {}).then(
          () => true,
          () => false,
        )
      }
      // A killed process holds no socket any more: who speaks to it finds nobody, and not a hub without its store.
      // A canary's door is not waited for: it hangs with the engine for ever, and nobody speaks there once its container is dead.
      const canaries = dying.work.containment.ledger.list().filter(({ agent }) => agent === CANARY_AGENT)
      const sessions = sessionFolders(home).filter((each) => !canaries.some(({ session }) => session === each))
      for (const session of sessions)
        while (await isListening(join(home, 'run', 's', session, 'hub.sock'))) await tick()
      if (dying.guard.store.failure() === undefined) {
        try {
          dying.guard.store.close()
        } catch {}
      }
      hub = undefined
    },
    killAt(verb, when) {
      if (run !== undefined) run.killAt = { verb, when }
    },
    async start(lease = true) {
      const made = engineOfRun(engine)
      run = made.run
      hub = createHub(
        {
          home,
          instance,
          version: '0',
          settings: readConfigFile(join(home, 'hub.yaml')),
          keys,
          bundleFolder: BUNDLE,
          host: HOST,
          uid: process.getuid?.() ?? 0,
        },
        {
          clock,
          random: systemRandom,
          log,
          redaction,
          engine: made.seen,
          hooks: options.hooks ?? [],
          tracing: options.tracing,
          statfs: options.disk ?? (() => ROOMY),
          ballast: options.ballast ?? NO_BALLAST,
          ...(options.canary === true ? {} : { canary: PROVEN }),
          ...(options.schedule === undefined ? {} : { schedule: options.schedule }),
          ...(options.useLog === undefined ? {} : { useLog: options.useLog }),
          onExit: (how) => void exits.push(how),
        },
      )
      if (options.isMeasured !== true) {
        oddInputs.push(watchInputs(hub.guard.decisions))
        // No test here takes the power away, and what a killed process wrote stays: not to wait for the disk loses nothing.
        hub.guard.store.prepare('pragma synchronous = off').run()
      }
      await harness.pumped(hub.start())
      if (lease) await harness.lease()
    },
    async [Symbol.asyncDispose]() {
      for (const container of engine.containers.values()) container.exit(137)
      if (hub !== undefined) await harness.stop()
      rmSync(home, { recursive: true, force: true })
      const odd = new Set(oddInputs.flatMap((each) => [...each]))
      if (odd.size > 0) throw new Error([...odd].join('\n'))
    },
  }
  try {
    await harness.start(options.lease ?? true)
  } catch (thrown) {
    rmSync(home, { recursive: true, force: true })
    throw thrown
  }
  return harness
}

const WISHES = ['message', 'delegate', 'topics', 'secrets', 'egress'] as const

function writeHome(home: string, { agents, schemas = {}, config = {} }: HarnessOptions): void {
  for (const folder of ['agents', 'policy', 'watchdog', 'keys'])
    mkdirSync(join(home, folder), { recursive: true, mode: 0o700 })
  createKeyFiles(join(home, 'keys'), systemRandom)
  // JSON is YAML too.
  writeFileSync(join(home, 'hub.yaml'), JSON.stringify({ http: { port: 0 }, metrics: { port: 0 }, ...config }))
  for (const [name, schema] of Object.entries(schemas))
    writeFileSync(join(home, 'agents', name), JSON.stringify(schema))
  const rows: Record<string, unknown> = {}
  for (const [name, { card = {}, policy = {} }] of Object.entries(agents)) {
    const may = (card.may ?? {}) as Record<string, string[]>
    const whole = { name, description: `${name} of a test`, image: 'hub/agent', run: ['node', '/app/x.js'], ...card }
    writeFileSync(join(home, 'agents', `${name}.yaml`), JSON.stringify(whole))
    rows[name] = {
      submit: true,
      capabilities: card.capabilities ?? [],
      ttlMs: 3_600_000,
      ...Object.fromEntries(WISHES.map((wish) => [wish, may[wish] ?? []])),
      ...policy,
    }
  }
  writeFileSync(join(home, 'policy', 'data.json'), JSON.stringify({ agents: rows }))
}

/** One exchange over a Unix socket, JSON both ways. */
export function ask(
  socketPath: string,
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<OperatorAnswer> {
  const bytes = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
  const type = bytes === undefined ? {} : { 'content-type': 'application/json', 'content-length': bytes.length }
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers: { ...type, ...headers }, agent: false }, (incoming) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.on('error', reject)
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const json = String(incoming.headers['content-type']).includes('json')
        resolve({ status: incoming.statusCode ?? 0, body: json ? JSON.parse(text) : { text } })
      })
    })
    sent.on('error', reject)
    sent.end(bytes)
  })
}

function stateText(hub: Hub | undefined, complaints: Harness['complaints']): string {
  if (hub === undefined) return 'the hub is not running'
  const { tasks } = hub.work
  const rows = tasks
    .tasks({ limit: 100 })
    .map(({ id, agent, state, depth, held }) => `${id} ${agent} ${state} ${depth} ${held}`)
  const open = tasks.sessionsOpen().map(({ id, agent, state, detail }) => `${id} ${agent} ${state} ${detail}`)
  const modes = hub.guard.modes.active().map(({ name, reason }) => `${name}: ${reason}`)
  const said = complaints.slice(-10).map(({ msg, reason }) => `${msg}: ${reason ?? ''}`)
  return [...rows, ...open, ...modes, ...said].join('\n')
}
