/**
 * kill -9 of a real process of the hub at one point of a metered call, a new start on the same home, and the account beside what the model server
 * itself counted (E9).
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { createHarness } from './hub-harness.ts'
import { startModelServer } from './models/model-server.ts'

export const KILL_POINTS = [
  ...(['before reserve', 'after reserve', 'after send', 'mid stream', 'after last byte', 'after settle'] as const),
]
export type KillPoint = (typeof KILL_POINTS)[number]

const USAGE = { input: 11, output: 7 }
/** Of claude-haiku-4-5 in millionths of a dollar: 1 USD a million in, 5 USD out. */
const COST = USAGE.input + USAGE.output * 5

interface Call {
  state: string
  usd: number | null
  reservedUsd: number
}
interface Shown {
  accounts: { scope: string; spentUsd: number; estimatedUsd: number; heldUsd: number }[]
  calls: Call[]
}

/** What the account must say after a death at this point. */
function expected(point: KillPoint, call: Call | undefined): { calls: number; state?: string; usd: number } {
  if (point === 'before reserve') return { calls: 0, usd: 0 }
  if (point === 'after settle') return { calls: 1, state: 'measured', usd: COST }
  return { calls: 1, state: 'estimated', usd: call?.reservedUsd ?? Number.NaN }
}

/** Ends the process of the hub at the point. Answers its home, its task, and how many calls the model server was sent. */
async function killedAt(point: KillPoint): Promise<{ home: string; task: string; came: number }> {
  let isThere = () => {}
  const there = new Promise<void>((resolve) => (isThere = resolve))
  await using server = await startModelServer(() => {
    if (point === 'after send') isThere()
    const delayMs = point === 'after send' ? 60_000 : 0
    const stall = point === 'mid stream' ? { stallAfter: 200 } : {}
    return { text: 'a long answer', usage: USAGE, transport: { delayMs, ...stall } }
  })
  const words = [join(import.meta.dirname, 'killed-hub.ts'), server.url, point]
  const hub = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] })
  const death = once(hub, 'exit')
  try {
    const first = await Promise.race([once(hub.stdout, 'data'), death])
    const { home, task, socket } = JSON.parse(String(first[0])) as Record<'home' | 'task' | 'socket', string>
    const headers = { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' }
    const asked = request(
      { socketPath: socket, method: 'POST', path: '/up/model/v1/messages', headers },
      (response) => {
        response.once('data', () => point === 'mid stream' && isThere())
        response.on('error', () => undefined).resume()
      },
    )
    asked.on('error', () => undefined)
    const messages = [{ role: 'user', content: 'hello' }]
    asked.end(JSON.stringify({ model: 'claude-haiku-4-5', max_tokens: 100, stream: true, messages }))
    if (point === 'after send' || point === 'mid stream') {
      await there
      hub.kill('SIGKILL')
    }
    const [, signal] = await death
    if (signal !== 'SIGKILL') throw new Error(`the hub ended by itself and not ${point}`)
    return { home, task, came: server.came.length }
  } finally {
    hub.kill('SIGKILL')
  }
}

/** One round. Answers what is wrong with the account afterwards, after a second start too; undefined if nothing is. */
export async function killRound(point: KillPoint): Promise<string | undefined> {
  const { home, task, came } = await killedAt(point)
  try {
    await using h = await createHarness({ home, agents: {} })
    for (const start of ['first', 'second']) {
      const { accounts, calls } = (await h.operator('GET', `/v1/budget?task=${task}`)).body as unknown as Shown
      const tree = accounts.find(({ scope }) => scope === 'tree')
      const wanted = expected(point, calls[0])
      const isRight =
        calls.length === wanted.calls &&
        calls[0]?.state === wanted.state &&
        (calls[0]?.usd ?? 0) === wanted.usd &&
        (tree?.heldUsd ?? 0) === 0 &&
        (tree?.spentUsd ?? 0) === wanted.usd &&
        (tree?.estimatedUsd ?? 0) === (wanted.state === 'estimated' ? wanted.usd : 0) &&
        // What the server answered for is never free.
        wanted.usd >= came * COST
      if (!isRight) return `${point}, ${start} start: ${JSON.stringify({ came, tree, calls })}`
      if (start === 'first') {
        await h.kill()
        await h.start()
      }
    }
    return undefined
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}
