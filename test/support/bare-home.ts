/** A home with the two real processes and an engine that has nothing: for what concerns the processes themselves, not their containers. */
import { type ChildProcess, execFileSync, type StdioOptions, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathsOf } from '../../watchdog/base/home.ts'
import { createListEngine } from './empty-engine.ts'
import { freePort } from './free-port.ts'
import { ask } from './hub-harness.ts'

const root = resolve(import.meta.dirname, '../..')
/** For a busy machine; nothing waits so long that goes well. */
const UNTIL_MS_MAX = 120_000

/** Waits for a condition, never for a time. */
export async function seen<Answer>(
  what: string,
  look: () => Promise<Answer | undefined | false> | Answer | undefined | false,
): Promise<Answer> {
  const giveUpAt = performance.now() + UNTIL_MS_MAX
  for (;;) {
    const found = await Promise.resolve()
      .then(look)
      .catch(() => undefined)
    if (found !== undefined && found !== false) return found
    if (performance.now() > giveUpAt) throw new Error(`never seen: ${what}`)
    await sleep(20)
  }
}

/** `template`: a home as `hub init` makes it, to be copied into `base`. */
export async function openBareHome(base: string, template: string, watchdog: Record<string, unknown> = {}) {
  const home = mkdtempSync(join(base, 'home-'))
  execFileSync('cp', ['-a', `${template}/.`, home])
  // A copy is another home, and finds out anew where it stands (fault B4).
  rmSync(join(home, 'place'), { force: true })
  mkdirSync(join(home, 'logs'), { recursive: true, mode: 0o700 })
  const socket = join(home, 'engine.sock')
  /** By id: containers of this home, which go when they are told to. */
  const containers = new Set<string>()
  const engine = createListEngine(containers, readFileSync(join(home, 'instance'), 'utf8').trim())
  await new Promise<void>((done) => engine.listen(socket, done))
  const [hubPort, port] = [await freePort(), await freePort()]
  writeFileSync(
    join(home, 'hub.yaml'),
    JSON.stringify({ http: { port: hubPort }, metrics: { port: 0 }, engine: { socket } }),
  )
  const spans = { port, engineSocket: socket, intervalMs: 100, startGraceMs: 0, hubStopMs: 500, ...watchdog }
  writeFileSync(join(home, 'watchdog', 'config.json'), JSON.stringify(spans))

  const children: ChildProcess[] = []
  // Outside of vitest shared by all homes of this base: to strip the types of a hundred sources takes seconds.
  const env = { NODE_COMPILE_CACHE: join(base, 'cache'), ...process.env }
  const spawned = (stdio: StdioOptions, ...words: string[]): ChildProcess => {
    const child = spawn(process.execPath, [...words, '--home', home], { stdio, env })
    children.push(child)
    return child
  }
  const paths = pathsOf(home)
  const askHub = (method: 'GET' | 'POST', path: string, body?: object) =>
    ask(join(home, 'run', 'operator.sock'), method, path, body, {})
  const askWatchdog = (method: 'GET' | 'POST', path: string, body?: object) => ask(paths.socket, method, path, body, {})
  const answers = async (asked: ReturnType<typeof askHub>) => (await asked).status === 200
  return {
    home,
    paths,
    containers,
    ports: { hub: hubPort, watchdog: port },
    logs: { hub: join(home, 'logs', 'hub.log'), watchdog: join(home, 'logs', 'watchdog.log') },
    startHub: (stdio: StdioOptions) => spawned(stdio, join(root, 'hub/main.ts'), 'serve'),
    startWatchdog: (stdio: StdioOptions) => spawned(stdio, join(root, 'watchdog/main.ts')),
    askHub,
    askWatchdog,
    hubUp: () => seen('the hub', () => answers(askHub('GET', '/v1/agents'))),
    watchdogUp: () => seen('the watchdog', () => answers(askWatchdog('GET', '/v1/status'))),
    close() {
      for (const child of children) child.kill('SIGKILL')
      engine.close()
    },
  }
}
export type BareHome = Awaited<ReturnType<typeof openBareHome>>

export const exitOf = (child: ChildProcess): Promise<number | null> =>
  new Promise((done) => {
    if (child.exitCode !== null || child.signalCode !== null) done(child.exitCode)
    else child.once('exit', (code) => done(code))
  })
