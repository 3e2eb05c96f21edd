/** A home with a real hub, a real watchdog and the real engine, for tests of what runs in containers. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSystemClock } from '../../hub/base/clock.ts'
import { hubDoor } from '../../hub/client/cli/home.ts'
import { createConnection } from '../../hub/client/connection.ts'
import { EXIT } from '../../hub/client/problem.ts'
import { createEngine } from '../../hub/work/sandbox/engine.ts'
import { createSystemClock as createWatchdogClock } from '../../watchdog/base/clock.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { ENGINE_SOCKET } from './engine-socket.ts'
import { runHub } from './fake-hub.ts'

const root = resolve(import.meta.dirname, '../..')

export type Task = Record<string, unknown> & { id: string; state: string; outcome: { value?: unknown } | null }
/** What the task brought; throws saying why it brought nothing. */
export function resultOf<Value>({ outcome, error }: Task): Value {
  if (outcome === null) throw new Error(`the task ended without a result: ${JSON.stringify(error)}`)
  return outcome.value as Value
}
export type Session = Record<string, unknown> & { id: string; task: string; containerId: string; expiresAtMs: number }

/** Whether the process has gone; one that nobody has waited for yet counts. */
export function hasEnded(pid: number): boolean {
  try {
    return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return true
  }
}

const NOTHING_DONE: readonly (number | null)[] = [EXIT.usage, EXIT.refused, EXIT.unreachable]
const PROVEN_MS = 60_000
/** Waits until the hub's canary session has gone, so that no container but those of the test is there; one that fails is the test's to see. */
async function proven(home: string): Promise<void> {
  const hub = createConnection(hubDoor(home))
  for (const endAt = performance.now() + PROVEN_MS; performance.now() < endAt; await sleep(50)) {
    const { canary } = await hub.call('health.show')
    if (canary?.state !== 'waiting') return
  }
}

/** `cards` are files of agents, or whole cards; each gets the grants of the echo agent. */
export async function openContainerHome(options: {
  cards: (string | (Record<string, unknown> & { name: string }))[]
  env?: Record<string, string>
  /** Further keys of hub.yaml. */
  config?: Record<string, unknown>
  /** Further keys of the watchdog's. */
  watchdog?: Record<string, unknown>
  /** An empty folder of the caller's to be the home, say a small file system; it stays. */
  at?: string
  /** Starts one of the two, unless it runs, and answers its process id; else they are children of this process. */
  begin?: (part: 'hub' | 'watchdog', home: string) => Promise<number>
}) {
  const home = options.at ?? mkdtempSync(join(tmpdir(), 'ch-'))
  const children: ChildProcess[] = []
  execFileSync(process.execPath, [join(root, 'hub/main.ts'), 'init', '--home', home])
  // Whoever waits for what the labels bring waits for the time to live and no longer; what is added for questions has tests of its own.
  const limits = { questionWait: 0, ...(options.config?.limits as object | undefined) }
  writeFileSync(
    join(home, 'hub.yaml'),
    JSON.stringify({ http: { port: 0 }, engine: { socket: ENGINE_SOCKET }, ...options.config, limits }),
  )
  writeFileSync(
    join(home, 'watchdog', 'config.json'),
    JSON.stringify({ port: 0, intervalMs: 500, engineSocket: ENGINE_SOCKET, ...options.watchdog }),
  )
  const dataFile = join(home, 'policy', 'data.json')
  const data = JSON.parse(readFileSync(dataFile, 'utf8')) as { agents: Record<string, object> }
  for (const card of options.cards) {
    const name =
      typeof card === 'string' ? (/^name: (\S+)/m.exec(readFileSync(join(root, card), 'utf8'))?.[1] ?? '') : card.name
    const file = join(home, 'agents', `${name}.yaml`)
    if (typeof card === 'string') copyFileSync(join(root, card), file)
    else writeFileSync(file, JSON.stringify(card))
    const isService = typeof card !== 'string' && card.mode === 'service'
    data.agents[name] = { ...data.agents.echo, capabilities: [], ...(isService ? { service: true } : {}) }
  }
  writeFileSync(dataFile, JSON.stringify(data))

  /** Starts a process of the home and waits for its ready line. */
  const start = (...argv: string[]) =>
    new Promise<ChildProcess>((done, fail) => {
      const env = { ...process.env, ...options.env }
      const child = spawn(process.execPath, [join(root, argv[0] ?? ''), ...argv.slice(1), '--home', home], { env })
      children.push(child)
      let said = ''
      const take = (text: Buffer) => {
        said += text
        if (said.includes('"ready"')) done(child)
      }
      child.stdout.on('data', take)
      child.stderr.on('data', take)
      child.on('exit', (code) => fail(new Error(`${argv[0]} ended with ${code}: ${said}`)))
    })
  const ARGV = { hub: ['hub/main.ts', 'serve'], watchdog: ['watchdog/main.ts'] } as const
  const begun = new Set<number>()
  const begin = async (part: 'hub' | 'watchdog'): Promise<number> => {
    const pid = options.begin === undefined ? ((await start(...ARGV[part])).pid ?? 0) : await options.begin(part, home)
    begun.add(pid)
    return pid
  }
  const hub = (...args: string[]) => runHub(home, args)
  const json = async <Answer>(...args: string[]): Promise<Answer> => {
    const { code, stdout, stderr } = await hub(...args, '--json')
    const answer = (stdout === '' ? {} : JSON.parse(stdout)) as Answer & { kind?: unknown }
    // A refusal is a document too, and none that was asked for. What `hub status` says of a hub that is down is an answer.
    if (stdout === '' || (NOTHING_DONE.includes(code) && answer.kind !== undefined))
      throw new Error(`hub ${args.join(' ')}: ${stderr}${stdout}`)
    return answer
  }
  const wordsOf = (params: Record<string, unknown>) =>
    Object.entries(params).flatMap(([name, value]) => ['--param', `${name}:=${JSON.stringify(value)}`])
  const engine = createEngine({ socketPath: ENGINE_SOCKET, callMs: 20_000 }, { clock: createSystemClock() })
  const instance = readFileSync(join(home, 'instance'), 'utf8').trim()
  const close = async () => {
    await hub('down').catch(() => undefined)
    for (const child of children) child.kill('SIGKILL')
    if (options.begin !== undefined) for (const pid of begun) if (!hasEnded(pid)) process.kill(pid, 'SIGKILL')
    for (const { id } of await engine.list(instance)) await engine.remove(id)
    if (options.at === undefined) rmSync(home, { recursive: true, force: true })
  }
  const pids = { hub: 0, watchdog: 0 }
  try {
    pids.hub = await begin('hub')
    pids.watchdog = await begin('watchdog')
    await proven(home)
  } catch (thrown) {
    await close()
    throw thrown
  }

  return {
    home,
    instance,
    engine,
    hub,
    json,
    close,
    hubPid: pids.hub,
    watchdogPid: pids.watchdog,
    /** Starts one of the two again, and answers its process id; `close` ends it too. */
    startHub: () => begin('hub'),
    startWatchdog: () => begin('watchdog'),
    /** The exit code of the first hub or watchdog. */
    ended: (name: 'hub' | 'watchdog') =>
      new Promise<number | null>((resolve) => children[name === 'hub' ? 0 : 1]?.once('exit', (code) => resolve(code))),
    /** One call to the engine that neither program makes. */
    async engineCall(method: 'POST', path: string): Promise<number> {
      const call = { socketPath: ENGINE_SOCKET, method, path, deadlineMs: 20_000, bytesMax: 1e6 }
      return (await exchange(createWatchdogClock(), call)).status
    },
    /** The task as it ended. */
    run: (agent: string, params: Record<string, unknown>, ...more: string[]) =>
      json<Task>('submit', agent, ...wordsOf(params), '--wait', ...more),
    /** Submits without waiting; answers once a container runs for it. */
    async place(agent: string, params: Record<string, unknown>, ...more: string[]): Promise<Session> {
      const { id } = await json<Task>('submit', agent, ...wordsOf(params), ...more)
      for (;;) {
        const open = await json<Session[]>('session', 'list')
        const mine = open.find((session) => session.task === id && session.containerId !== null)
        if (mine !== undefined) return mine
        const { task } = await json<{ task: Task }>('task', 'show', id)
        if (task.error !== null) throw new Error(`nothing runs for it: ${JSON.stringify(task.error)}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    session: async (id: string) => (await json<{ session: Session }>('session', 'show', id)).session,
  }
}
export type ContainerHome = Awaited<ReturnType<typeof openContainerHome>>
