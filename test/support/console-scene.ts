/**
 * A whole hub with its console page and a real watch behind the watchdog's door in its home: what the page says is what a person would
 * see. Time of the hub goes on by itself while `during` runs, so a browser can wait for things.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { openDoors } from '../../watchdog/door/door.ts'
import type { Watch } from '../../watchdog/watch/watch.ts'
import { freePort } from './free-port.ts'
import { type AgentSpec, createHarness, type Harness } from './hub-harness.ts'
import { watchScene } from './watch-scene.ts'

export interface ConsoleScene {
  readonly h: Harness
  readonly port: number
  readonly watch: Watch
  /** Presence time of the watch alone. */
  pass(ms: number): void
  /** A one-time link as `hub console` prints it. */
  link(wish?: object): Promise<string>
  /** Lets the hub's time go on for so long and no longer, until the returned function is called: for what a page shows only meanwhile. */
  hold(ms: number): () => void
  /** Runs while the hub's time goes on. */
  during<Result>(work: () => Promise<Result>): Promise<Result>
  [Symbol.asyncDispose](): Promise<void>
}

export async function openConsoleScene(
  agents: Record<string, AgentSpec>,
  config: Record<string, unknown> = {},
): Promise<ConsoleScene> {
  const port = await freePort()
  const h = await createHarness({ agents, config: { http: { port }, ...config }, startWallMs: Date.now() })
  const identity = {
    instance: h.instance,
    checkpointKey: join(h.home, 'keys', 'checkpoint.pub'),
  }
  const scene = watchScene({ operator: { zone: 'Europe/Berlin' } }, identity)
  scene.clock.stepWall(Date.now() - scene.clock.read().wallMs)
  const { watch } = scene.start()
  await watch.round()
  const folder = join(h.home, 'watchdog', 'run')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const nothing = undefined as never
  let leftMs = Number.POSITIVE_INFINITY
  const doors = await openDoors(
    { socket: join(folder, 'watchdog.sock'), port: 0, staleMs: 1000 },
    {
      watch,
      alertTest: async () => ({ channels: [] }),
      wake: () => {},
      exit: () => {},
      contact: nothing,
      stop: nothing,
    },
  )
  return {
    h,
    port,
    watch,
    pass: (ms) => scene.clock.move(ms),
    async link(wish = {}) {
      const { status, body } = await h.operator('POST', '/v1/console', wish)
      if (status !== 200) throw new Error(JSON.stringify(body))
      return String(body.url)
    },
    hold(ms) {
      leftMs = ms
      return () => {
        leftMs = Number.POSITIVE_INFINITY
      }
    },
    async during(work) {
      let works = true
      const time = (async () => {
        while (works) {
          if (leftMs > 0) await h.clock.advance(20)
          leftMs -= 20
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      })()
      try {
        return await work()
      } finally {
        works = false
        await time
      }
    },
    async [Symbol.asyncDispose]() {
      doors.close()
      await h[Symbol.asyncDispose]()
      scene.remove()
    },
  }
}

/** A window of a browser that runs scripts. Requests to anywhere but `port` are noted and cut off; so is what the page complains of. */
export async function openWindow(
  browser: Browser,
  port: number,
  look: { width?: number; height?: number; scheme?: 'light' | 'dark' } = {},
) {
  const { width = 1100, height = 900, scheme = 'light' } = look
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme })
  const elsewhere: string[] = []
  const asked: { method: string; url: string; headers: Record<string, string> }[] = []
  const complaints: string[] = []
  await context.route('**', (route) => {
    const request = route.request()
    const url = request.url()
    asked.push({ method: request.method(), url, headers: request.headers() })
    if (url.startsWith(`http://127.0.0.1:${port}/`)) return route.continue()
    elsewhere.push(url)
    return route.abort()
  })
  const page = await context.newPage()
  page.setDefaultTimeout(120_000)
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (line) => {
    if (line.type() === 'error' || line.type() === 'warning') complaints.push(line.text())
  })
  return { context, page, elsewhere, asked, complaints, close: () => context.close() }
}
