/** What the way outward costs, each figure beside the direct call of the same run: latency, first byte, large bodies, streams, money, and what others feel. */
import { type ChildProcess, spawn } from 'node:child_process'
import { Agent, request } from 'node:http'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { createSystemClock } from '../../hub/base/clock.ts'
import { KILL_POINTS, killRound } from '../support/kill-rounds.ts'
import { createSigningClient, type SigningClient } from '../support/signing-client.ts'
import type { Figure } from './run.ts'

const ROUNDS = 400
/** The hub's pace lets a session begin some 100 requests a second. */
const APART_MS = 11
const FIRST_BYTES = 100
const STREAMS = 100
const LARGE_BYTES = 256 * 1024 ** 2
const PULL_BYTES = 1024 ** 3
const BUDGET_MICRO_USD = 50_000
const MESSAGE_EVERY_MS = 100
const KILL_ROUNDS = 200

const [LONG, SHORT] = ['long', 'short']

const here = (name: string) => join(import.meta.dirname, name)
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const percentile = (all: readonly number[], share: number) =>
  all.toSorted((a, b) => a - b)[Math.min(all.length - 1, Math.floor(all.length * share))] ?? 0
const rounded = (value: number) => Math.round(value * 100) / 100

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout?.on('data', (piece) => {
      text += piece
      const [line, rest] = text.split('\n', 2)
      if (rest !== undefined) resolve(line ?? '')
    })
    child.once('exit', () => reject(new Error(`a process of the bench ended: ${text}`)))
  })
}

type To = { socketPath: string } | { host: string; port: number }
interface Call {
  path: string
  method?: string
  body?: unknown
}

/** Milliseconds to the first byte of the body, and to its end; with the answer. */
function timed(to: To, agent: Agent, { path, method = 'GET', body }: Call) {
  const from = performance.now()
  const text = body === undefined ? undefined : JSON.stringify(body)
  const isLong = (body as { model?: string } | undefined)?.model === LONG
  const headers = text === undefined ? {} : { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' }
  return new Promise<{ firstMs: number; wholeMs: number; status: number; text: string }>((resolve, reject) => {
    const asked = request({ ...to, agent, path, method, headers }, (response) => {
      let firstMs = 0
      let got = ''
      const told = (wholeMs: number) => resolve({ firstMs, wholeMs, status: response.statusCode ?? 0, text: got })
      response.on('data', (piece: Buffer) => {
        if (firstMs === 0) firstMs = performance.now() - from
        if (got.length < 2000) got += piece
        if (isLong) told(0)
      })
      response.on('end', () => told(performance.now() - from))
      response.on('error', () => undefined)
    })
    asked.on('error', reject).end(text)
  })
}

/** Of the upstream: a stream of five seconds, or of a few milliseconds. */
const chatAt = (path: string, model: string): Call => ({
  ...{ path, method: 'POST' },
  body: { model, max_tokens: 50, stream: true, messages: [{ role: 'user', content: 'hello' }] },
})

interface Scene {
  direct: To
  gateway: (reader: number) => To
  readers: { socket: string }[]
  clients: SigningClient[]
  /** Whom they write to. */
  reader: SigningClient
  ended: AbortController
  home: string
  rssMb: () => Promise<number>
}

async function latency({ direct, gateway }: Scene): Promise<Figure[]> {
  const agents = { direct: new Agent({ keepAlive: true }), gateway: new Agent({ keepAlive: true }) }
  const took = { direct: [] as number[], gateway: [] as number[] }
  for (let n = 0; n < ROUNDS + 20; n += 1) {
    const one = await timed(direct, agents.direct, { path: '/small' })
    await sleep(APART_MS / 2)
    const other = await timed(gateway(0), agents.gateway, { path: '/up/api/small' })
    if (other.status !== 200) throw new Error(`the gateway answered ${other.status}: ${other.text}`)
    await sleep(APART_MS / 2)
    if (n < 20) continue
    took.direct.push(one.wholeMs)
    took.gateway.push(other.wholeMs)
  }
  const first = { direct: [] as number[], gateway: [] as number[] }
  for (let n = 0; n < FIRST_BYTES; n += 1) {
    const one = await timed(direct, agents.direct, chatAt('/v1/chat/completions', SHORT))
    const other = await timed(gateway(0), agents.gateway, chatAt('/up/model/v1/chat/completions', SHORT))
    if (other.status !== 200) throw new Error(`the gateway answered ${other.status}: ${other.text}`)
    first.direct.push(one.firstMs)
    first.gateway.push(other.firstMs)
  }
  const [directP50, gatewayP50] = [percentile(took.direct, 0.5), percentile(took.gateway, 0.5)]
  const ms = (key: string, value: number, text: string): Figure => ({ key, value: rounded(value), unit: 'ms', text })
  return [
    ms('directP50Ms', directP50, `a small GET to the upstream itself, ${ROUNDS} times`),
    ms('gatewayP50Ms', gatewayP50, 'the same through the gateway, in turns with it'),
    ms('addedP50Ms', gatewayP50 - directP50, 'the difference; the aim is below 1.5'),
    ms(
      'addedP99Ms',
      percentile(took.gateway, 0.99) - percentile(took.direct, 0.99),
      'the difference of both p99; the aim is below 5',
    ),
    ms(
      'firstByteAddedMs',
      percentile(first.gateway, 0.5) - percentile(first.direct, 0.5),
      `first event of a streamed answer of a model, ${FIRST_BYTES} times; the aim is below 2`,
    ),
  ]
}

async function pulled(to: To, path: string): Promise<number> {
  const where = 'socketPath' in to ? to.socketPath : String(to.port)
  const child = spawn(process.execPath, [here('egress-peer.ts'), 'pull', where, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { bytes, ms } = JSON.parse(await firstLine(child)) as { bytes: number; ms: number }
  return bytes / ms
}

async function largeBody({ direct, gateway }: Scene): Promise<Figure[]> {
  const path = `/large?bytes=${LARGE_BYTES}`
  const [bare, through] = [await pulled(direct, path), await pulled(gateway(0), `/up/api${path}`)]
  const speed = (each: number) => `${Math.round(each / 1048.576)} MiB/s`
  return [
    {
      key: 'largeBodyRatio',
      value: rounded(through / bare),
      unit: '',
      text: `one body of 256 MiB: ${speed(through)} through the gateway, ${speed(bare)} direct; the aim is 0.5`,
    },
  ]
}

async function streams(scene: Scene): Promise<Figure[]> {
  const before = await scene.rssMb()
  const agents = scene.readers.map(() => new Agent({ keepAlive: true, maxSockets: 32 }))
  const began = await Promise.all(
    Array.from({ length: STREAMS }, (_, n) => {
      const at = n % scene.readers.length
      return timed(scene.gateway(at), agents[at] as Agent, chatAt('/up/model/v1/chat/completions', LONG))
    }),
  )
  await sleep(3000)
  const during = await scene.rssMb()
  await sleep(4000)
  for (const each of agents) each.destroy()
  return [
    {
      key: 'streams',
      value: began.filter(({ status }) => status === 200).length,
      unit: '',
      text: 'streamed answers at the same time',
    },
    {
      key: 'rssGrowthMb',
      value: rounded(during - before),
      unit: 'MiB',
      text: 'growth of the resident memory of the hub meanwhile; the aim is 30 at most',
    },
  ]
}

async function money(scene: Scene): Promise<Figure[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 20 })
  const ask = { path: '/up/paid/v1/messages', method: 'POST' }
  let spent = 0
  let refused = 0
  let requests = 0
  const one = async (): Promise<boolean> => {
    requests += 1
    const body = {
      model: 'claude-haiku-4-5',
      max_tokens: 60,
      messages: [{ role: 'user', content: `call ${requests}` }],
    }
    const { status, text } = await timed(scene.gateway(1), agent, { ...ask, body })
    if (status === 200) spent += 10 + 60 * 5
    else if (status === 402) refused += 1
    else throw new Error(`the gateway answered ${status}: ${text}`)
    return status === 200
  }
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      while (await one());
    }),
  )
  return [
    {
      key: 'overshootMicroUsd',
      value: Math.max(0, spent - BUDGET_MICRO_USD),
      unit: 'uUSD',
      text: 'spent beyond a budget of 0.05 USD by 20 parallel calls at a time; the aim is 0',
    },
    {
      key: 'budgetUsable',
      value: rounded(spent / BUDGET_MICRO_USD),
      unit: '',
      text: 'share of that budget that could be spent; the aim is 0.95',
    },
    {
      key: 'refusalsPerRequest',
      value: refused / 20,
      unit: '',
      text: 'refusals for each client that was told that its money is spent',
    },
  ]
}

async function others(scene: Scene): Promise<Figure[]> {
  const { clients, reader, ended } = scene
  const reading = (async () => {
    while (!ended.signal.aborted) await reader.receive(1000).catch(() => sleep(100))
  })()
  async function sent(until: () => boolean): Promise<number[]> {
    const took: number[] = []
    await Promise.all(
      clients.map(async (client, n) => {
        await sleep((n * MESSAGE_EVERY_MS) / clients.length)
        while (!until()) {
          const from = performance.now()
          const { status, body } = await client.send({
            kind: 'request',
            to: 'agent:reader',
            type: 'bench.tick',
            body: {},
          })
          if (status !== 200 && body.code !== 'mailbox_full')
            throw new Error(`a message was answered ${status}: ${JSON.stringify(body)}`)
          took.push(performance.now() - from)
          await sleep(Math.max(0, MESSAGE_EVERY_MS - (performance.now() - from)))
        }
      }),
    )
    return took
  }
  const endAt = performance.now() + 5000
  const alone = await sent(() => performance.now() > endAt)
  let isOver = false
  const pulling = pulled(scene.gateway(2), `/up/api/large?bytes=${PULL_BYTES}`).then((speed) => {
    isOver = true
    return speed
  })
  const beside = await sent(() => isOver)
  const speed = await pulling
  ended.abort()
  await reading
  return [
    {
      key: 'othersAloneP99Ms',
      value: rounded(percentile(alone, 0.99)),
      unit: 'ms',
      text: '20 sessions at 10 messages a second, alone: send to acknowledgement',
    },
    {
      key: 'othersP99Ms',
      value: rounded(percentile(beside, 0.99)),
      unit: 'ms',
      text: `the same while one pulls 1 GiB (${Math.round(speed / 1048.576)} MiB/s); the aim is below 50`,
    },
  ]
}

/** `kill -9` at each of the six points in turn, as many at a time as there are cores: each round has a home of its own. */
async function killed(say: (line: string) => void, rounds: number): Promise<Figure> {
  let wrong = 0
  let begun = 0
  const lane = async () => {
    while (begun < rounds) {
      begun += 1
      const fault = await killRound(KILL_POINTS[begun % KILL_POINTS.length] ?? 'mid stream')
      if (fault === undefined) continue
      wrong += 1
      say(fault)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, lane))
  const text = `rounds of ${rounds} with kill -9 at one of 6 points of a call, after which the account is not what the model server's count permits; the aim is 0`
  return { key: 'afterKillWrong', value: wrong, unit: '', text }
}

export async function benchEgress(
  say: (line: string) => void,
  { rounds = KILL_ROUNDS }: { rounds?: number } = {},
): Promise<Figure[]> {
  const upstream = spawn(process.execPath, [here('egress-peer.ts'), 'upstream'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const port = Number(await firstLine(upstream))
  const hub = spawn(process.execPath, [here('egress-hub.ts'), String(port), String(BUDGET_MICRO_USD / 1e6)], {
    stdio: ['pipe', 'pipe', 'inherit', 'ipc'],
  })
  try {
    const { home, sessions } = JSON.parse(await firstLine(hub)) as {
      home: string
      sessions: { agent: string; socket: string }[]
    }
    const readers = sessions.filter(({ agent }) => agent === 'reader')
    const ended = new AbortController()
    const clock = createSystemClock()
    const joined = new Map<string, SigningClient[]>()
    for (const { agent, socket } of sessions) {
      const client = createSigningClient({ socketPath: socket, clock, ended: ended.signal })
      await client.join()
      joined.set(agent, [...(joined.get(agent) ?? []), client])
    }
    const [reader] = (joined.get('reader') ?? []).slice(-1)
    if (reader === undefined) throw new Error('nobody reads')
    const scene: Scene = {
      ...{ home, readers, reader, ended, clients: joined.get('other') ?? [] },
      direct: { host: '127.0.0.1', port },
      gateway: (reader) => ({ socketPath: join(dirname(readers[reader]?.socket ?? ''), 'egress.sock') }),
      rssMb: () =>
        new Promise((resolve) => {
          hub.once('message', (told) => resolve((told as { rss: number }).rss / 1024 ** 2))
          hub.send('rss')
        }),
    }
    const figures: Figure[] = []
    for (const [what, measure] of Object.entries({ latency, largeBody, streams, money, others })) {
      say(what)
      figures.push(...(await measure(scene)))
    }
    say('killed')
    return rounds === 0 ? figures : [...figures, await killed(say, rounds)]
  } finally {
    hub.stdin?.end()
    upstream.stdin?.end()
  }
}
