/** A container home for tests of stopping: agents that never end by themselves, and the words of whoever stops or looks on. */
import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import type { StopView } from '../../hub/client/answers.ts'
import { hasEnded, openContainerHome, until } from './container-home.ts'
import { freePort } from './free-port.ts'
import { ask } from './hub-harness.ts'
import { press, send } from './plain-http.ts'
import { load, spyImage } from './spy-image.ts'

const HUB_STOP = resolve(import.meta.dirname, '../../scripts/hub-stop')
const deaf = {
  name: 'deaf',
  description: 'Never ends by itself',
  image: 'hub-test/spy',
  run: ['node', '/app/test/support/images/spy/main.js'],
  repeatable: true,
  limits: { ttl: '5m', memory: '128MiB' },
}

export { hasEnded, until }

export type Stopped = StopView & { code: number | null; stderr: string }

export async function openStopHome(
  options: Omit<Parameters<typeof openContainerHome>[0], 'cards'> & { card?: Record<string, unknown> } = {},
) {
  await load([spyImage()])
  const ports = { hub: await freePort(), watchdog: await freePort() }
  const home = await openContainerHome({
    ...options,
    cards: [{ ...deaf, ...options.card }],
    config: { shutdownTimeout: '1s', http: { port: ports.hub }, ...options.config },
    watchdog: {
      port: ports.watchdog,
      startGraceMs: 0,
      stopGraceMs: 1000,
      ...options.watchdog,
    },
  })
  const health = async () => {
    const asked = ask(join(home.home, 'run', 'operator.sock'), 'GET', '/healthz', undefined, {})
    const { status, body } = await asked.catch(() => ({ status: 0, body: {} }))
    return { status, ...(body as { mode?: string; conditions?: { name: string }[] }) }
  }
  const shutdownText = (...words: string[]) => home.hub('shutdown', '--yes', '--json', ...words)

  let hubNow = home.hubPid

  return {
    ...home,
    ports,
    /** The hub that runs now, or ran last. */
    hubNow: () => hubNow,
    async startHub() {
      hubNow = await home.startHub()
      return hubNow
    },
    health,
    conditions: async () => ((await health()).conditions ?? []).map(({ name }) => name),
    left: async () => (await home.engine.list(home.instance)).length,
    /** `idle` ends when it is told to; `wedge`: its one thread stands still, and only the engine ends it. */
    async place(what: 'idle' | 'wedge', ...more: string[]) {
      const session = await home.place('deaf', { what }, ...more)
      const said = async () => (await home.door.call('task.logs', { id: session.task })).lines
      await until('it is at work', said, (lines) => JSON.stringify(lines).includes(`about to try: ${what}`))
      return session
    },
    signal: (name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT', ...pids: number[]) => {
      for (const pid of pids) process.kill(pid, name)
    },
    shutdownText,
    /** `hub shutdown`, its answer read. */
    async shutdown(...words: string[]): Promise<Stopped> {
      const { code, stdout, stderr } = await shutdownText(...words)
      if (stdout === '') throw new Error(`${code} ${stderr}`)
      return { ...(JSON.parse(stdout) as StopView), code, stderr }
    },
    /** The words of a new card. */
    async newCard(): Promise<string> {
      const who = ['--name', 'Bea', '--operator-name', 'Ada', '--out', join(home.home, 'card.html')]
      return (await home.json<{ words: string }>('contact', 'card', ...who)).words
    },
    /** `hub-stop` with these words, as anybody at the machine. */
    hubStop: (words: string, ...more: string[]) =>
      new Promise<{ code: number | null; said: string }>((done, fail) => {
        const ours = more.length > 0 ? more : [String(ports.watchdog), String(ports.hub)]
        const child = spawn(HUB_STOP, ['--card', '-', ...ours])
        let said = ''
        for (const stream of [child.stdout, child.stderr])
          stream.on('data', (part: Buffer) => {
            said += part
          })
        child.on('error', fail)
        child.on('close', (code) => done({ code, said }))
        child.stdin.end(words)
      }),
    /** One press or look at the page of one of the two; the word it answers for programs. */
    page: async (at: 'hub' | 'watchdog', method: 'GET' | 'POST', words: string) =>
      String(
        (await (method === 'POST' ? press(ports[at], `/stop/${words}`) : send(ports[at], { path: `/stop/${words}` })))
          .headers['hub-stop'],
      ),
  }
}
export type StopHome = Awaited<ReturnType<typeof openStopHome>>
