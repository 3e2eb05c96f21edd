/** A home of its own with a real hub process and a real watchdog process, for benchmarks. Everything is gone again at the end. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { ModeView, SessionView, TaskView } from '../../hub/client/answers.ts'
import { removeImage } from '../../hub/client/cli/engine.ts'
import { hubDoor, pathsOf, watchdogDoor } from '../../hub/client/cli/home.ts'
import { hubArgv, sleep, startProcess, waitGone, watchdogArgv } from '../../hub/client/cli/processes.ts'
import { type Connection, createConnection } from '../../hub/client/connection.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'

/** The least that still survives a busy machine: a lease lives for three of these. */
const INTERVAL_MS = 2_000
const NORMAL_MS = 60_000

export interface BenchHub extends AsyncDisposable {
  readonly home: string
  readonly hub: Connection
  readonly watchdog: Connection
  start(): Promise<void>
  /** The hub ended by a signal, as a service manager does it, and started again. */
  restart(): Promise<void>
  pid(): number
  watchdogPid(): number
  /** Ended if it lives, and started again with this configuration. */
  restartWatchdog(config: object): Promise<void>
  health(): Promise<ModeView>
  untilNormal(): Promise<ModeView>
  submit(agent: string, params?: Record<string, unknown>, ttlMs?: number): Promise<TaskView>
  sessions(): Promise<SessionView[]>
  /** Asks again until the answer satisfies; every 10 ms unless told. */
  until<Answer>(what: string, ask: () => Promise<Answer>, good: (answer: Answer) => boolean): Promise<Answer>
  /** Stops every session by the hub, as `hub shutdown` does; answers how many are confirmed gone. The hub ends. */
  shutdown(): Promise<{ gone: number; failed: string[] }>
}

/**
 * `sleeper` is the folder of an agent beyond the shipped ones; `agents` are further ones, with `grants` beside those of the echo agent.
 * `copies` of each of them stand in the catalogue under its name and a number, 0 first: quotas are an agent's.
 */
export async function createBenchHub(
  root: string,
  sleeper: string,
  more: { agents?: readonly string[]; copies?: number; grants?: object } = {},
): Promise<BenchHub> {
  const home = mkdtempSync('/tmp/hub-bench-')
  const paths = pathsOf(home)
  execFileSync(process.execPath, hubArgv(home, 'init'), { stdio: ['ignore', 'ignore', 'inherit'] })
  // By the slot rule one of 13 is kept for children, so that exactly twelve submitted tasks run at a time.
  const limits = 'limits: { sessions: 13, sessionsPerAgent: 13, delegationDepth: 1, ttl: 3h }'
  writeFileSync(
    join(home, 'hub.yaml'),
    `http: { port: 0 }\nmetrics: { port: 0 }\nengine: { socket: ${ENGINE_SOCKET} }\nlogLevel: warn\n${limits}\n`,
  )
  writeFileSync(
    `${paths.home}/watchdog/config.json`,
    JSON.stringify({ port: 0, intervalMs: INTERVAL_MS, engineSocket: ENGINE_SOCKET }),
  )
  const rules = join(home, 'policy', 'data.json')
  const data = JSON.parse(readFileSync(rules, 'utf8')) as { agents: Record<string, object> }
  const enrol = (folder: string, name: string) => {
    const card = readFileSync(join(root, folder, 'agent.yaml'), 'utf8').replace(/^name: .*$/m, `name: ${name}`)
    writeFileSync(join(home, 'agents', `${name}.yaml`), card)
    data.agents[name] = { ...data.agents.echo, capabilities: [], ...more.grants }
  }
  enrol(sleeper, basename(sleeper))
  for (const folder of more.agents ?? [])
    for (let copy = 0; copy < (more.copies ?? 1); copy += 1) enrol(folder, `${basename(folder)}-${copy}`)
  writeFileSync(rules, JSON.stringify(data))

  const hub = createConnection(hubDoor(home))
  const watchdog = createConnection(watchdogDoor(home))
  const options = { home, cache: paths.cache, note: (text: string) => process.stderr.write(`${text}\n`) }
  let pid = 0

  async function until<Answer>(what: string, ask: () => Promise<Answer>, good: (answer: Answer) => boolean) {
    const endAt = performance.now() + NORMAL_MS
    for (;;) {
      const answer = await ask().catch(() => undefined)
      if (answer !== undefined && good(answer)) return answer
      if (performance.now() > endAt)
        throw new Error(`${what} did not come about within ${NORMAL_MS / 1000} s; see ${home}`)
      await sleep(10)
    }
  }
  const health = async () => await hub.call('health.show')

  const start = async () => {
    pid = (await startProcess({ name: 'hub', argv: hubArgv(home, 'serve'), log: paths.hubLog }, options)).pid
  }
  await start()
  const startDog = () => startProcess({ name: 'watchdog', argv: watchdogArgv(home), log: paths.watchdogLog }, options)
  let dog = await startDog()

  const bench: BenchHub = {
    home,
    hub,
    watchdog,
    start,
    async restart() {
      process.kill(pid, 'SIGTERM')
      await waitGone(pid, home, 20_000)
      await start()
    },
    pid: () => pid,
    watchdogPid: () => dog.pid,
    async restartWatchdog(config) {
      if (!(await waitGone(dog.pid, home, 0))) process.kill(dog.pid, 'SIGTERM')
      await waitGone(dog.pid, home, 20_000)
      writeFileSync(`${paths.home}/watchdog/config.json`, JSON.stringify(config))
      dog = await startDog()
    },
    health,
    until,
    untilNormal: () => until('normal mode', health, ({ mode }) => mode === 'normal'),
    async submit(agent, params = {}, ttlMs) {
      return (await hub.call('task.submit', { agent, params, ttlMs })).task
    },
    async sessions() {
      return (await hub.call('session.list', { limit: 100 })).sessions
    },
    async shutdown() {
      await watchdog.send('POST', '/v1/announce', { kind: 'restart', forMs: 300_000 })
      const answer = await hub.call('hub.shutdown', { exit: 'shutdown', reason: 'bench' }, { deadlineMs: 90_000 })
      const { containers } = answer as { containers: { container: string; outcome: string; reason?: string }[] }
      await waitGone(pid, home, 20_000)
      const failed = containers.filter(({ outcome }) => outcome === 'failed')
      return {
        gone: containers.length - failed.length,
        failed: failed.map(({ container, reason }) => `${container}: ${reason}`),
      }
    },
    async [Symbol.asyncDispose]() {
      const alive = await health().catch(() => undefined)
      if (alive !== undefined) await bench.shutdown()
      await watchdog.send('POST', '/v1/exit').catch(() => process.kill(dog.pid, 'SIGKILL'))
      await waitGone(dog.pid, home, 20_000)
      // They are of the bench alone. While another bench runs one, the engine keeps it.
      for (const folder of [sleeper, ...(more.agents ?? [])]) await removeImage(paths, `hub/${basename(folder)}`)
      rmSync(home, { recursive: true, force: true })
    },
  }
  return bench
}

/** Resident memory of a process in MiB, one decimal. */
export function rssMb(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Math.round((Number(line?.[1]) / 1024) * 10) / 10
}
