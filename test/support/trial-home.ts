/**
 * A home for trials of recovery: real hub, real watchdog, real engine behind a proxy that fails as told, and a witness of what the engine
 * ran. Each process can be killed and started again. Questions go over the sockets, not through the command.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSystemClock } from '../../hub/base/clock.ts'
import type { AttemptView, ModeView, SessionView, TaskView } from '../../hub/client/answers.ts'
import { hubDoor, pathsOf, watchdogDoor } from '../../hub/client/cli/home.ts'
import { hubArgv, isAlive, startProcess, waitGone, watchdogArgv } from '../../hub/client/cli/processes.ts'
import { type Connection, createConnection } from '../../hub/client/connection.ts'
import { createEngine, type Engine } from '../../hub/work/sandbox/engine.ts'
import { assembleImages, loadImages } from '../../scripts/images/assembly.ts'
import { createImageEngine } from '../../scripts/images/loading.ts'
import { type EngineProxy, openEngineProxy } from './engine-proxy.ts'
import { ENGINE_SOCKET } from './engine-socket.ts'
import { type EngineWitness, openEngineWitness } from './engine-witness.ts'

const root = join(import.meta.dirname, '../..')
const FOLDER = 'test/support/images/trial'
/** A guard against what never comes, on the slowest machine too. */
const UNTIL_MS_MAX = 120_000
const ENDED: readonly string[] = ['succeeded', 'failed', 'cancelled', 'timed_out']

const TYPES = { 'trial.ping': null, 'trial.noise': null }

/** The agents of a trial; each may do whatever the trial agent knows. */
const AGENTS: Readonly<Record<string, Record<string, unknown>>> = {
  trial: { repeatable: true, may: { delegate: ['trial-child'], message: ['trial'] } },
  'trial-child': { repeatable: true },
  'trial-noisy': { may: { message: ['trial-child'] } },
  /** Not repeated without a word of the operator. */
  'trial-once': {},
}

export async function loadTrialImage(socketPath = ENGINE_SOCKET): Promise<void> {
  const options = { root, cacheDir: join(root, '.cache/images'), folders: [FOLDER], prefix: 'hub-test/' }
  const images = assembleImages(options).filter(({ reference }) => reference === 'hub-test/trial:latest')
  await loadImages(
    images,
    createImageEngine({ socketPath, deadlineMs: 60_000, loadDeadlineMs: 300_000 }),
    () => undefined,
  )
}

export interface TrialOptions {
  /** Lines added to hub.yaml's top level. */
  hubYaml?: string
  callTimeout?: string
  watchdog?: Record<string, unknown>
  /** Fields of every card beside its own. */
  card?: Record<string, unknown>
  /** Another program in the place of the hub's: script and arguments before `--home`. */
  hubProgram?: readonly string[]
  engineSocket?: string
}

export interface TrialHome extends AsyncDisposable {
  readonly home: string
  readonly instance: string
  readonly hub: Connection
  readonly watchdog: Connection
  readonly proxy: EngineProxy
  readonly witness: EngineWitness
  /** The engine itself, not through the proxy. */
  readonly engine: Engine
  /** Every submission that was acknowledged. */
  readonly acknowledged: string[]
  readonly pids: { hub: number; watchdog: number }
  start(name: 'hub' | 'watchdog'): Promise<void>
  /** SIGKILL, and waits until it is gone. */
  kill(name: 'hub' | 'watchdog'): Promise<void>
  /** SIGTERM to the hub: containers stay. */
  stopHub(): Promise<void>
  isUp(name: 'hub' | 'watchdog'): boolean
  mode(): Promise<ModeView>
  untilNormal(): Promise<void>
  /** Asked again while the hub is degraded or safe: a machine that is busy enough keeps it from normal mode for a while. */
  submit(agent: string, params: Record<string, unknown>, more?: Record<string, unknown>): Promise<string>
  task(id: string): Promise<TaskView>
  attempts(id: string): Promise<AttemptView[]>
  sessions(): Promise<SessionView[]>
  /** Sessions whose agent has joined and works. */
  working(count: number): Promise<SessionView[]>
  ended(...ids: string[]): Promise<TaskView[]>
  /** Asks again until the answer satisfies; a question that fails is asked again. Throws after `withinMs`. */
  until<Answer>(
    what: string,
    ask: () => Promise<Answer>,
    good: (answer: Answer) => boolean,
    withinMs?: number,
  ): Promise<Answer>
  /** Until the engine has no container of ours. */
  empty(withinMs?: number): Promise<void>
  log(): string
}

export async function openTrialHome(options: TrialOptions = {}): Promise<TrialHome> {
  const home = mkdtempSync(join(tmpdir(), 'th-'))
  const paths = pathsOf(home)
  const upstream = options.engineSocket ?? ENGINE_SOCKET
  execFileSync(process.execPath, hubArgv(home, 'init'), { stdio: ['ignore', 'ignore', 'inherit'] })
  const proxy = await openEngineProxy(upstream)
  const engineYaml = `engine: { socket: ${proxy.socket}, callTimeout: ${options.callTimeout ?? '20s'} }`
  writeFileSync(
    join(home, 'hub.yaml'),
    `http: { port: 0 }\nmetrics: { port: 0 }\n${engineYaml}\n${options.hubYaml ?? 'limits: { questionWait: 0 }'}\n`,
  )
  const watchdogConfig = { port: 0, intervalMs: 1000, engineSocket: proxy.socket, ...options.watchdog }
  writeFileSync(`${paths.home}/watchdog/config.json`, JSON.stringify(watchdogConfig))
  const rules = join(home, 'policy', 'data.json')
  const data = JSON.parse(readFileSync(rules, 'utf8')) as { agents: Record<string, object> }
  const card = readFileSync(join(root, FOLDER, 'agent.yaml'), 'utf8')
  const common = {
    description: 'Of a trial',
    image: /^image: (\S+)$/m.exec(card)?.[1],
    run: ['node', `/app/${FOLDER}/main.js`],
    restarts: 2,
    messages: { sends: TYPES, receives: TYPES },
    limits: { ttl: '10m', memory: '256MiB', pids: 64 },
    ...options.card,
  }
  for (const [name, own] of Object.entries(AGENTS)) {
    writeFileSync(join(home, 'agents', `${name}.yaml`), JSON.stringify({ name, ...common, ...own }))
    const may = (own.may ?? {}) as { delegate?: string[]; message?: string[] }
    data.agents[name] = {
      ...data.agents.echo,
      capabilities: [],
      delegate: may.delegate ?? [],
      message: may.message ?? [],
    }
  }
  writeFileSync(rules, JSON.stringify(data))

  const instance = readFileSync(paths.instance, 'utf8').trim()
  const clock = createSystemClock()
  const engine = createEngine({ socketPath: upstream, callMs: 120_000 }, { clock })
  const witness = await openEngineWitness(instance, upstream)
  const [hub, watchdog] = [createConnection(hubDoor(home)), createConnection(watchdogDoor(home))]
  const acknowledged: string[] = []
  const pids = { hub: 0, watchdog: 0 }
  const program = {
    hub: {
      argv: options.hubProgram ? [...options.hubProgram, '--home', home] : hubArgv(home, 'serve'),
      log: paths.hubLog,
    },
    watchdog: { argv: watchdogArgv(home), log: paths.watchdogLog },
  }

  const until: TrialHome['until'] = async (what, ask, good, withinMs = UNTIL_MS_MAX) => {
    const endAt = performance.now() + withinMs
    let last: unknown
    for (;;) {
      try {
        const answer = await ask()
        last = answer
        if (good(answer)) return answer
      } catch (thrown) {
        last = thrown
      }
      if (performance.now() > endAt) {
        const seen = last instanceof Error ? last.message : JSON.stringify(last)
        throw new Error(`${what}: it did not come to this within ${withinMs / 1000} s; last: ${seen}\n${trial.log()}`)
      }
      await sleep(50)
    }
  }

  const trial: TrialHome = {
    home,
    instance,
    hub,
    watchdog,
    proxy,
    witness,
    engine,
    acknowledged,
    pids,
    async start(name) {
      const started = await startProcess(
        { name, ...program[name] },
        { home, cache: process.env.NODE_COMPILE_CACHE ?? paths.cache, note: () => undefined, readyMs: UNTIL_MS_MAX },
      )
      pids[name] = started.pid
    },
    async kill(name) {
      if (trial.isUp(name)) process.kill(pids[name], 'SIGKILL')
      if (!(await waitGone(pids[name], home, UNTIL_MS_MAX))) throw new Error(`the ${name} does not die`)
    },
    async stopHub() {
      if (trial.isUp('hub')) process.kill(pids.hub, 'SIGTERM')
      if (!(await waitGone(pids.hub, home, UNTIL_MS_MAX))) throw new Error('the hub does not end')
    },
    isUp: (name) => isAlive(pids[name], home),
    mode: async () => await hub.call('mode.show'),
    // The canary has gone before, so that what is told to fail or counted is the trial's own.
    untilNormal: async () =>
      void (await until(
        'normal mode and a proven engine',
        trial.mode,
        ({ mode, canary }) => mode === 'normal' && canary?.state === 'passed',
      )),
    async submit(agent, params, more = {}) {
      for (const endAt = performance.now() + UNTIL_MS_MAX; ; await sleep(200)) {
        try {
          const { task } = await hub.call('task.submit', { agent, params, ...more })
          acknowledged.push(task.id)
          return task.id
        } catch (thrown) {
          const isBusy = /^mode_(?:degraded|safe)$/.test(String((thrown as { code?: unknown }).code))
          if (!isBusy || performance.now() > endAt) throw thrown
        }
      }
    },
    task: async (id) => (await hub.call('task.show', { id })).task,
    attempts: async (id) => (await hub.call('task.show', { id })).attempts,
    sessions: async () => (await hub.call('session.list', { limit: 100 })).sessions,
    working: (count) =>
      until(
        `${count} agents at work`,
        async () => (await trial.sessions()).filter(({ state }) => state === 'working'),
        (open) => open.length === count,
      ),
    ended: (...ids) =>
      until(
        `the end of ${ids.length} tasks`,
        () => Promise.all(ids.map(trial.task)),
        (tasks) => tasks.every(({ state }) => ENDED.includes(state)),
      ),
    until,
    empty: async (withinMs) =>
      void (await until(
        'no container of ours',
        () => engine.list(instance),
        (left) => left.length === 0,
        withinMs,
      )),
    log: () => readFileSync(paths.hubLog, 'utf8').split('\n').slice(-40).join('\n'),
    async [Symbol.asyncDispose]() {
      proxy.heal()
      for (const name of ['hub', 'watchdog'] as const) await trial.kill(name)
      witness.close()
      for (const { id } of await engine.list(instance).catch(() => [])) await engine.remove(id)
      await proxy.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
  try {
    await trial.start('hub')
    await trial.start('watchdog')
    await trial.untilNormal()
  } catch (thrown) {
    await trial[Symbol.asyncDispose]()
    throw thrown
  }
  return trial
}
