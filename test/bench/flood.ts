/**
 * How late twenty modest sessions are answered beside one that floods (T65), each in the way its frames go: sealed, judged, written down with
 * FULL, acknowledged. The baseline is the same twenty without it, in the same run. The flooder is a process of its own.
 * Then the same by HTTP: signed requests of the twenty, and a container that pipelines 22 000 of them a second on four connections (fault F11).
 * And what one agent makes the disk hold that is refused as fast as it can, database and log (fault F2).
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { newUuid, systemRandom } from '../../hub/base/random.ts'
import { createConnection } from '../../hub/client/connection.ts'
import { HTTP_PER_SECOND } from './flood-plan.ts'
import { type FrameClient, openFrameClient } from './frame-client.ts'
import type { Figure } from './run.ts'

const NORMAL = 20
const EACH_PER_SECOND = 10
/** Signed requests: each is a commit of its own. Who says more opens a line. */
const HTTP_EACH_PER_SECOND = 2
const SPAN_SECONDS = 10
/** More than a minute, since refusals are summed by the minute. */
const REFUSED_SECONDS = 75
/** In the order of their sessions. */
const FLOODS = ['flood', 'http', 'refused'] as const

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const heard = <Word>(child: ChildProcess) => new Promise<Word>((resolve) => child.once('message', resolve))
const quantile = (sorted: readonly number[], share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

/** The sockets of so many modest sessions, and of the flooders' behind them. */
async function openSessions(home: string, count: number): Promise<string[]> {
  const hub = createConnection({ name: 'hub', socketPath: join(home, 'run', 'operator.sock'), start: '' })
  for (let nth = 0; nth < count; nth += 1) await hub.call('task.submit', { agent: 'bench' })
  for (const _ of FLOODS) await hub.call('task.submit', { agent: 'flooder' })
  for (;;) {
    const { sessions } = await hub.call('session.list', { limit: 100 })
    const open = sessions.filter(({ state }) => state === 'starting')
    open.sort((a, b) => a.agent.localeCompare(b.agent))
    if (open.length === count + FLOODS.length) return open.map(({ id }) => join(home, 'run', 's', id, 'hub.sock'))
    await sleep(50)
  }
}

/** Milliseconds from each send to its acknowledgement, sorted; sends are spread evenly over the second and over the sessions. */
export async function talk(clients: readonly FrameClient[], seconds: number): Promise<number[]> {
  const latencies: number[] = []
  const waiting = clients.map(() => [] as { sequence: number; at: number }[])
  for (const [place, client] of clients.entries())
    client.onAck = (upTo, refused) => {
      if (refused > 0) throw new Error('a modest session was refused')
      const mine = waiting[place] ?? []
      while (mine[0] !== undefined && mine[0].sequence <= upTo)
        latencies.push(performance.now() - (mine.shift()?.at ?? Number.NaN))
    }
  const total = NORMAL * EACH_PER_SECOND * seconds
  const startedAt = performance.now()
  for (let given = 0; given < total; ) {
    const due = Math.min(total, Math.ceil(((performance.now() - startedAt) / 1000) * NORMAL * EACH_PER_SECOND))
    for (; given < due; given += 1) {
      const place = given % clients.length
      const id = newUuid(systemRandom, Date.now())
      clients[place]?.send(`{"id":"${id}","kind":"log","to":"hub","type":"task.log","body":{"text":"x"}}`)
      waiting[place]?.push({ sequence: clients[place]?.sent ?? 0, at: performance.now() })
    }
    await sleep(1)
  }
  while (waiting.some((mine) => mine.length > 0)) await sleep(5)
  return latencies.sort((a, b) => a - b)
}

/** The same by signed requests: milliseconds from each to its answer, sorted. */
async function ask(clients: readonly FrameClient[], seconds: number): Promise<number[]> {
  const latencies: number[] = []
  const open: Promise<void>[] = []
  const one = async (client: FrameClient) => {
    const id = newUuid(systemRandom, Date.now())
    const at = performance.now()
    const body = `{"id":"${id}","kind":"log","to":"hub","type":"task.log","body":{"text":"x"}}`
    const { status, text } = await client.signed('POST', '/v1/send', body)
    if (status !== 200) throw new Error(`a modest session was refused: ${text}`)
    latencies.push(performance.now() - at)
  }
  const perSecond = NORMAL * HTTP_EACH_PER_SECOND
  const total = perSecond * seconds
  const startedAt = performance.now()
  for (let given = 0; given < total; ) {
    const due = Math.min(total, Math.ceil(((performance.now() - startedAt) / 1000) * perSecond))
    for (; given < due; given += 1) {
      const client = clients[given % clients.length]
      if (client !== undefined) open.push(one(client))
    }
    await sleep(1)
  }
  await Promise.all(open)
  return latencies.sort((a, b) => a - b)
}

interface Flood {
  sent: number
  refused: number
  seconds: number
}

/** A flooder that has joined on the session of this socket, and floods from `begin` on. */
async function joinFlooder(socket: string, word: (typeof FLOODS)[number]) {
  const child = fork(here('./flooder.ts'), [socket])
  await heard(child)
  let flood: Flood = { sent: 0, refused: 0, seconds: 1 }
  child.on('message', (told) => {
    flood = told as Flood
  })
  return { begin: () => void child.send(word), told: () => flood, end: () => void child.kill('SIGKILL') }
}

export async function benchFlood(
  say: (line: string) => void,
  { seconds = SPAN_SECONDS }: { seconds?: number } = {},
): Promise<Figure[]> {
  const home = join(mkdtempSync(join(tmpdir(), 'hb-')), 'h')
  const hub = fork(here('./messages-hub.ts'), [home, '1'], { env: { ...process.env, HUB_BENCH_LOG: '1' } })
  const flooders: Awaited<ReturnType<typeof joinFlooder>>[] = []
  try {
    await heard(hub)
    const sockets = await openSessions(home, NORMAL)
    for (const [at, socket] of sockets.splice(-FLOODS.length).entries())
      flooders.push(await joinFlooder(socket, FLOODS[at] ?? 'flood'))
    const [byFrames, byHttp, byRefusals] = flooders
    if (byFrames === undefined || byHttp === undefined || byRefusals === undefined) throw new Error('no flooder')
    const clients: FrameClient[] = []
    for (const path of sockets) clients.push(await openFrameClient(path))
    await talk(clients, 2)
    const alone = await talk(clients, seconds)
    say(`alone: p50 ${quantile(alone, 0.5).toFixed(1)} ms, p99 ${quantile(alone, 0.99).toFixed(1)} ms`)
    byFrames.begin()
    await sleep(1_000)
    const beside = await talk(clients, seconds)
    const flood = byFrames.told()
    const floodPerSecond = flood.sent / flood.seconds
    byFrames.end()
    say(`beside: p50 ${quantile(beside, 0.5).toFixed(1)} ms, p99 ${quantile(beside, 0.99).toFixed(1)} ms`)
    await ask(clients, 2)
    const httpAlone = await ask(clients, seconds)
    say(`by HTTP alone: p50 ${quantile(httpAlone, 0.5).toFixed(1)} ms, p99 ${quantile(httpAlone, 0.99).toFixed(1)} ms`)
    byHttp.begin()
    await sleep(1_000)
    const httpBeside = await ask(clients, seconds)
    const pipelined = byHttp.told()
    say(
      `by HTTP beside: p50 ${quantile(httpBeside, 0.5).toFixed(1)} ms, p99 ${quantile(httpBeside, 0.99).toFixed(1)} ms`,
    )
    byHttp.end()
    for (const client of clients) client.close()
    const bytes = async () => {
      const told = heard<{ bytes: number }>(hub)
      hub.send('disk')
      return (await told).bytes
    }
    const bytesBefore = await bytes()
    byRefusals.begin()
    await sleep(REFUSED_SECONDS * 1000)
    const perHour = ((await bytes()) - bytesBefore) * (3600 / REFUSED_SECONDS)
    const { refused } = byRefusals.told()
    say(`${refused} refusals in ${REFUSED_SECONDS} s`)
    const figure = (key: string, value: number, unit: string, text: string, digits = 1): Figure => ({
      key,
      value: Number(value.toFixed(digits)),
      unit,
      text,
    })
    return [
      figure(
        'aloneP50Ms',
        quantile(alone, 0.5),
        'ms',
        `baseline: ${NORMAL} sessions, ${EACH_PER_SECOND} a second each`,
      ),
      figure('aloneP99Ms', quantile(alone, 0.99), 'ms', 'send to acknowledgement'),
      figure('besideP50Ms', quantile(beside, 0.5), 'ms', 'the same beside the flooder'),
      figure('besideP99Ms', quantile(beside, 0.99), 'ms', 'the aim is below 50'),
      figure('floodPerSecond', floodPerSecond, '/s', 'frames of the flooder that the hub read, judged and refused', 0),
      figure('floodRefusedShare', flood.refused / flood.sent, '', 'of them refused; its quota is 200 a second', 3),
      figure(
        'aloneHttpP99Ms',
        quantile(httpAlone, 0.99),
        'ms',
        `${NORMAL} sessions, ${HTTP_EACH_PER_SECOND} signed requests a second each, nobody floods`,
      ),
      figure('p99OfOthersHttpMs', quantile(httpBeside, 0.99), 'ms', 'beside pipelined requests; the aim is below 50'),
      figure(
        'httpOfferedPerSecond',
        HTTP_PER_SECOND,
        '/s',
        'pipelined on four connections, as far as they are read',
        0,
      ),
      figure('httpServedPerSecond', pipelined.sent / pipelined.seconds, '/s', 'of them answered', 0),
      figure(
        'diskPerHourRefusedMb',
        perHour / 1024 ** 2,
        'MiB',
        `database and log, one agent refused as fast as it can, from ${REFUSED_SECONDS} s; the aim is below 20`,
      ),
      figure('refusedPerSecond', refused / REFUSED_SECONDS, '/s', 'refusals it got in that time', 0),
    ]
  } finally {
    for (const { end } of flooders) end()
    hub.kill('SIGKILL')
    rmSync(join(home, '..'), { recursive: true, force: true })
  }
}
