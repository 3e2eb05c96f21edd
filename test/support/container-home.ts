/** A home with a real hub, a real watchdog and the real engine, for tests of what runs in containers. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSystemClock } from '../../hub/base/clock.ts'
import { hubDoor } from '../../hub/client/cli/home.ts'
import { type Connection, createConnection } from '../../hub/client/connection.ts'
import { EXIT } from '../../hub/client/problem.ts'
import { createEngine } from '../../hub/work/sandbox/engine.ts'
import { createSystemClock as createWatchdogClock } from '../../watchdog/base/clock.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { ENGINE_SOCKET } from './engine-socket.ts'
import { type Outcome, runHub } from './fake-hub.ts'

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
/** A guard against what never comes, on the slowest machine too. */
const UNTIL_MS_MAX = 120_000

/** Waits for a condition, never for a time; says what it saw last if that does not come. What it asks may be refused meanwhile. */
export async function until<Answer>(
  what: string,
  look: () => Promise<Answer> | Answer,
  good: (answer: Answer) => boolean,
): Promise<Answer> {
  const giveUpAt = performance.now() + UNTIL_MS_MAX
  for (;;) {
    const answer = await look()
    if (good(answer)) return answer
    if (performance.now() > giveUpAt)
      throw new Error(`it never came to this: ${what}; last ${JSON.stringify(answer)?.slice(0, 1000)}`)
    await sleep(100)
  }
}

/** Waits until the hub's canary session has gone, so that no container but those of the test is there; one that fails is the test's to see. */
async function proven(hub: Connection): Promise<void> {
  await until(
    'the canary session is over',
    () => hub.call('health.show'),
    ({ canary }) => canary?.state !== 'waiting',
  )
}

/** The refusals of a hub that is degraded or safe, by their code or by what they advise. */
const NOT_NORMAL = /mode_(?:degraded|safe)|`hub status` (?:says what is wrong|names the condition)/

/**
 * Runs a command again while the hub refuses it for being degraded or safe: a machine that is busy enough keeps it from normal mode for a
 * while, and that is no part of a test. Any other refusal is answered as it is.
 */
export async function inNormalMode(run: () => Promise<Outcome>): Promise<Outcome> {
  const endAt = performance.now() + UNTIL_MS_MAX
  for (;;) {
    const outcome = await run()
    const isRefused = outcome.code === EXIT.refused || outcome.code === EXIT.unreachable
    if (!isRefused || !NOT_NORMAL.test(outcome.stdout + outcome.stderr) || performance.now() > endAt) return outcome
    await sleep(200)
  }
}
/** `hub submit` in this home, in normal mode. */
export const submitTo = (home: string, args: readonly string[], options: Parameters<typeof runHub>[2] = {}) =>
  inNormalMode(() => runHub(home, ['submit', ...args], options))

/** `cards` are files of agents, or whole cards; each gets the grants of the echo agent, and the egress and delegations that its card asks for. */
export async function openContainerHome(options: {
  cards: (string | (Record<string, unknown> & { name: string }))[]
  env?: Record<string, string>
  /** Further keys of their rows, by name. */
  rows?: Record<string, object>
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
    JSON.stringify({
      http: { port: 0 },
      metrics: { port: 0 },
      engine: { socket: ENGINE_SOCKET },
      ...options.config,
      limits,
    }),
  )
  writeFileSync(
    join(home, 'watchdog', 'config.json'),
    JSON.stringify({ port: 0, intervalMs: 1000, engineSocket: ENGINE_SOCKET, ...options.watchdog }),
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
    const { egress, delegate } = (typeof card === 'string' ? {} : (card.may ?? {})) as Record<string, string[]>
    data.agents[name] = {
      ...data.agents.echo,
      capabilities: [],
      ...(isService ? { service: true } : {}),
      ...(egress === undefined ? {} : { egress }),
      ...(delegate === undefined ? {} : { delegate }),
      ...options.rows?.[name],
    }
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
  const door = createConnection(hubDoor(home))
  const json = async <Answer>(...args: string[]): Promise<Answer> => {
    const asked = [...args, '--json']
    const { code, stdout, stderr } = await (args[0] === 'submit' ? submitTo(home, asked.slice(1)) : hub(...asked))
    const answer = (stdout === '' ? {} : JSON.parse(stdout)) as Answer & { kind?: unknown }
    // A refusal is a document too, and none that was asked for. What `hub status` says of a hub that is down is an answer.
    if (stdout === '' || (NOTHING_DONE.includes(code) && answer.kind !== undefined))
      throw new Error(`hub ${args.join(' ')}: ${stderr}${stdout}`)
    return answer
  }
  const wordsOf = (params: Record<string, unknown>) =>
    Object.entries(params).flatMap(([name, value]) => ['--param', `${name}:=${JSON.stringify(value)}`])
  const engine = createEngine({ socketPath: ENGINE_SOCKET, callMs: 120_000 }, { clock: createSystemClock() })
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
    await proven(door)
  } catch (thrown) {
    await close()
    throw thrown
  }

  return {
    home,
    instance,
    engine,
    hub,
    /** The hub's own socket: for what is asked again and again, a process for each question would be most of the work. */
    door,
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
      const call = { socketPath: ENGINE_SOCKET, method, path, deadlineMs: 120_000, bytesMax: 1e6 }
      return (await exchange(createWatchdogClock(), call)).status
    },
    /** The task as it ended. */
    run: (agent: string, params: Record<string, unknown>, ...more: string[]) =>
      json<Task>('submit', agent, ...wordsOf(params), '--wait', ...more),
    /** Submits without waiting; answers once a container runs for it. */
    async place(agent: string, params: Record<string, unknown>, ...more: string[]): Promise<Session> {
      const { id } = await json<Task>('submit', agent, ...wordsOf(params), ...more)
      const look = async () => {
        const { sessions } = await door.call('session.list', { limit: 100 })
        const mine = sessions.find((session) => session.task === id && session.containerId !== null)
        const { task } = await door.call('task.show', { id })
        if (mine === undefined && !['queued', 'running'].includes(task.state))
          throw new Error(`nothing runs for it: ${JSON.stringify(task)}`)
        return { mine, task }
      }
      const { mine } = await until(`a container runs for ${id}`, look, ({ mine: found }) => found !== undefined)
      return mine as unknown as Session
    },
    /** `hub submit` with these words, asked again while a busy machine keeps the hub from normal mode. */
    submit: (...args: string[]) => submitTo(home, args),
    // These two over the socket: they are asked again and again until something has come.
    session: async (id: string) => (await door.call('session.show', { id })).session as unknown as Session,
    shown: async (id: string) =>
      (await door.call('task.show', { id })) as unknown as { task: Task; attempts: { exit: string | null }[] },
  }
}
export type ContainerHome = Awaited<ReturnType<typeof openContainerHome>>
