/**
 * Messages through the hub's whole path (MAC, sequence, strict parse, schema, policy, audit row committed with FULL, delivery, ack),
 * beside a raw relay of the same payload that forwards and acknowledges and checks nothing, in the same run.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { newUuid, systemRandom } from '../../hub/base/random.ts'
import { createConnection } from '../../hub/client/connection.ts'
import { type FrameClient, openFrameClient } from './frame-client.ts'
import { benchPolicy } from './policy.ts'
import type { Figure } from './run.ts'

const SESSIONS = 8
/** HUB_BENCH_PROF=DIR leaves a CPU profile of the hub there. */
const profile =
  process.env.HUB_BENCH_PROF === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${process.env.HUB_BENCH_PROF}`]
const TEXT = 'x'.repeat(200)
const SPAN_MS = 4000

interface Usage {
  cpu: { user: number; system: number }
  rss: number
  records: number
}
interface Load {
  perSecond: number
  cpuUs: number
  p50Ms: number
  p99Ms: number
  refused: number
}
/** One session as the driver sees it: give it a message, hear acks. */
interface Lane {
  send(): void
  onAck: (upTo: number, refused: number) => void
  readonly sent: number
}

const started = (child: ChildProcess) =>
  new Promise<ChildProcess>((resolve, reject) => {
    child.once('message', () => resolve(child))
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)))
  })
const usageOf = (child: ChildProcess) =>
  new Promise<Usage>((resolve) => {
    child.once('message', (usage) => resolve(usage as Usage))
    child.send('usage')
  })
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const quantile = (sorted: readonly number[], share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Keeps `inFlight` messages of each lane unacknowledged for a span; or sends at a fixed rate when `perSecond` is given. */
async function drive(
  child: ChildProcess,
  lanes: readonly Lane[],
  inFlight: number,
  spanMs: number,
  perSecond?: number,
): Promise<Load> {
  const latencies: number[] = []
  let refusedAll = 0
  let running = true
  const outstanding = lanes.map(() => [] as { sequence: number; at: number }[])
  const push = (lane: Lane, place: number) => {
    lane.send()
    outstanding[place]?.push({ sequence: lane.sent, at: performance.now() })
  }
  let done = 0
  for (const [place, lane] of lanes.entries()) {
    lane.onAck = (upTo, refused) => {
      refusedAll += refused
      const waiting = outstanding[place] ?? []
      const now = performance.now()
      while (waiting[0] !== undefined && waiting[0].sequence <= upTo) {
        latencies.push(now - (waiting.shift()?.at ?? now))
        done += 1
        if (running && perSecond === undefined) push(lane, place)
      }
    }
  }
  const before = await usageOf(child)
  const startedAt = performance.now()
  if (perSecond === undefined)
    for (const [place, lane] of lanes.entries()) for (let n = 0; n < inFlight; n += 1) push(lane, place)
  else {
    let given = 0
    while (performance.now() - startedAt < spanMs) {
      const due = Math.floor(((performance.now() - startedAt) / 1000) * perSecond)
      for (; given < due; given += 1) push(lanes[given % lanes.length] as Lane, given % lanes.length)
      await sleep(1)
    }
  }
  if (perSecond === undefined) await sleep(spanMs)
  running = false
  const seconds = (performance.now() - startedAt) / 1000
  const counted = done
  const after = await usageOf(child)
  for (let tries = 0; outstanding.some((waiting) => waiting.length > 0) && tries < 200; tries += 1) await sleep(10)
  const cpu = after.cpu.user + after.cpu.system - before.cpu.user - before.cpu.system
  latencies.sort((a, b) => a - b)
  return {
    perSecond: counted / seconds,
    cpuUs: cpu / counted,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    refused: refusedAll,
  }
}

async function openRaw(folder: string): Promise<{ child: ChildProcess; lanes: Lane[] }> {
  const child = await started(fork(here('./raw-relay.ts'), [folder, String(SESSIONS)]))
  const lanes: Lane[] = []
  for (let place = 0; place < SESSIONS; place += 1) {
    const ws = new WebSocket(`ws+unix:${join(folder, `${place}.sock`)}:/`, { perMessageDeflate: false })
    await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
    const payload = Buffer.from(envelopeText(place, 1))
    let sent = 0
    const lane: Lane = {
      onAck: () => undefined,
      get sent() {
        return sent
      },
      send() {
        sent += 1
        ws.send(payload)
      },
    }
    ws.on('message', (data: Buffer) => {
      if (data.length < 64) lane.onAck((JSON.parse(data.toString()) as { upTo: number }).upTo, 0)
    })
    lanes.push(lane)
  }
  return { child, lanes }
}

const envelopeText = (place: number, n: number) =>
  `{"id":"${newUuid(systemRandom, Date.now())}","kind":"event","to":"topic:t${place}","type":"bench.work","body":{"n":${n},"text":"${TEXT}"}}`

function laneOf(client: FrameClient, place: number): Lane {
  let n = 0
  const lane: Lane = {
    onAck: () => undefined,
    get sent() {
      return client.sent
    },
    send() {
      n += 1
      client.send(envelopeText(place, n))
    },
  }
  client.onAck = (upTo, refused) => lane.onAck(upTo, refused)
  return lane
}

async function openHub(
  home: string,
): Promise<{ child: ChildProcess; clients: FrameClient[]; lanes: Lane[]; ids: string[] }> {
  const child = await started(fork(here('./messages-hub.ts'), [home, String(SESSIONS)], { execArgv: profile }))
  const hub = createConnection({ name: 'hub', socketPath: join(home, 'run', 'operator.sock'), start: '' })
  for (let place = 0; place < SESSIONS; place += 1) await hub.call('task.submit', { agent: 'bench' })
  let ids: string[] = []
  for (let tries = 0; ids.length < SESSIONS && tries < 100; tries += 1) {
    await sleep(50)
    const { sessions } = await hub.call('session.list', {})
    ids = sessions.filter((session) => session.state === 'starting').map((session) => session.id)
  }
  const clients: FrameClient[] = []
  for (const id of ids) clients.push(await openFrameClient(join(home, 'run', 's', id, 'hub.sock')))
  for (const [place, client] of clients.entries()) {
    const from = (place + SESSIONS - 1) % SESSIONS
    const answer = await client.signed('POST', '/v1/subscribe', JSON.stringify({ topic: `t${from}` }))
    if (answer.status !== 200) throw new Error(answer.text)
  }
  return { child, clients, lanes: clients.map(laneOf), ids }
}

/** Request and reply between pairs, `inFlight` at a time for each asking session. */
async function requestReply(
  clients: readonly FrameClient[],
  ids: readonly string[],
  inFlight: number,
): Promise<number> {
  let done = 0
  let running = true
  const ask = (place: number) => {
    const to = ids[(place + 1) % ids.length]
    clients[place]?.send(
      `{"id":"${newUuid(systemRandom, Date.now())}","kind":"request","to":"session:${to}","type":"bench.work","body":{"n":1,"text":"q"}}`,
    )
  }
  for (const [place, client] of clients.entries()) {
    client.onAck = () => undefined
    client.onDelivery = (body) => {
      const delivery = JSON.parse(body.toString()) as { kind: string; id: string }
      if (delivery.kind === 'reply') {
        done += 1
        if (running) ask(place)
      } else
        client.send(
          `{"id":"${newUuid(systemRandom, Date.now())}","kind":"reply","to":"hub","correlationId":"${delivery.id}","body":{"n":2}}`,
        )
    }
  }
  const startedAt = performance.now()
  for (let place = 0; place < clients.length; place += 1) for (let n = 0; n < inFlight; n += 1) ask(place)
  await sleep(SPAN_MS / 2)
  running = false
  const perSecond = done / ((performance.now() - startedAt) / 1000)
  await sleep(200)
  for (const client of clients) client.onDelivery = () => undefined
  return perSecond
}

async function signedRequests(client: FrameClient): Promise<number> {
  const startedAt = performance.now()
  let done = 0
  const worker = async () => {
    while (performance.now() - startedAt < SPAN_MS / 2) {
      const { status, text } = await client.signed(
        'POST',
        '/v1/send',
        `{"id":"${newUuid(systemRandom, Date.now())}","kind":"progress","body":{"done":${done}}}`,
      )
      if (status !== 200) throw new Error(text)
      done += 1
    }
  }
  await Promise.all([worker(), worker(), worker()])
  return done / ((performance.now() - startedAt) / 1000)
}

const SYNCED_BYTES = 64 * 1024

/** What the disk alone takes: so many bytes, about those of one commit, at the end of a file, and synced. p50 and p99. */
function syncsOf(file: string, spanMs: number): { p50Ms: number; p99Ms: number } {
  const handle = openSync(file, 'w')
  const bytes = Buffer.alloc(SYNCED_BYTES, 1)
  const took: number[] = []
  for (const endAt = performance.now() + spanMs; performance.now() < endAt; ) {
    const from = performance.now()
    writeSync(handle, bytes)
    fdatasyncSync(handle)
    took.push(performance.now() - from)
  }
  closeSync(handle)
  rmSync(file)
  took.sort((a, b) => a - b)
  return { p50Ms: quantile(took, 0.5), p99Ms: quantile(took, 0.99) }
}

const round = (value: number, digits = 0) => Math.round(value * 10 ** digits) / 10 ** digits

export async function benchMessages(say: (line: string) => void): Promise<Figure[]> {
  const [rules, decided, remembered] = await benchPolicy(() => undefined)
  say(
    `policy alone: rules ${rules?.value}/s, decided and written ${decided?.value}/s, remembered ${remembered?.value}/s`,
  )
  const folder = mkdtempSync(join(tmpdir(), 'hb-'))
  const raw = await openRaw(folder)
  const hub = await openHub(join(folder, 'h'))
  try {
    await drive(raw.child, raw.lanes, 64, 1000)
    await drive(hub.child, hub.lanes, 64, 2000)
    const rows: Record<string, { raw: Load; hub: Load }> = {}
    for (const inFlight of process.env.HUB_BENCH_PROF === undefined ? [1, 8, 64] : [8, 64]) {
      const pair = {
        raw: await drive(raw.child, raw.lanes, inFlight, SPAN_MS),
        hub: await drive(hub.child, hub.lanes, inFlight, SPAN_MS),
      }
      rows[inFlight] = pair
      const text = (load: Load) =>
        `${round(load.perSecond)}/s, ${round(load.cpuUs, 1)} us CPU, p50 ${round(load.p50Ms, 2)} ms, p99 ${round(load.p99Ms, 2)} ms`
      say(
        `${String(inFlight).padStart(2)} in flight x ${SESSIONS} sessions: raw ${text(pair.raw)}; checked ${text(pair.hub)}; ratio ${round(pair.hub.perSecond / pair.raw.perSecond, 2)}${pair.hub.refused > 0 ? `; REFUSED ${pair.hub.refused}` : ''}`,
      )
    }
    if (process.env.HUB_BENCH_PROF !== undefined) return []
    const steady = await drive(hub.child, hub.lanes, 0, SPAN_MS, 10_000)
    const disk = syncsOf(join(folder, 'synced'), SPAN_MS / 2)
    say(
      `at ${round(steady.perSecond)}/s: p50 ${round(steady.p50Ms, 2)} ms, p99 ${round(steady.p99Ms, 2)} ms; the disk alone p50 ${round(disk.p50Ms, 2)} ms, p99 ${round(disk.p99Ms, 2)} ms`,
    )
    const replies = await requestReply(hub.clients, hub.ids, 8)
    say(`request and reply: ${round(replies)}/s`)
    const [first] = hub.clients
    const signed = first === undefined ? 0 : await signedRequests(first)
    say(`signed requests: ${round(signed)}/s`)
    hub.clients.forEach((client, place) => {
      const lane = hub.lanes[place]
      if (lane !== undefined) client.onAck = (upTo, refused) => lane.onAck(upTo, refused)
    })
    const rssStart = (await usageOf(hub.child)).rss
    const wanted = process.env.HUB_TEST_LONG === '1' ? 1_000_000 : 200_000
    const from = (await usageOf(hub.child)).records
    while ((await usageOf(hub.child)).records - from < wanted) await drive(hub.child, hub.lanes, 64, 2000)
    const rssEnd = (await usageOf(hub.child)).rss
    const growth = (rssEnd - rssStart) / 1024 ** 2
    say(`resident after ${wanted} more messages: ${round(rssEnd / 1024 ** 2)} MB, ${round(growth, 1)} MB more`)
    const [at8, at64] = [rows[8], rows[64]]
    if (at8 === undefined || at64 === undefined) throw new Error('a row is missing')
    const figure = (key: string, value: number, unit: string, text: string, digits = 0): Figure => ({
      key,
      value: round(value, digits),
      unit,
      text,
    })
    return [
      figure('rawPerSecond', at64.raw.perSecond, '/s', 'raw ws relay, forward and ack, no checks, 64 in flight'),
      figure('checkedPerSecond', at64.hub.perSecond, '/s', 'checked, durable, acknowledged, 64 in flight'),
      figure('ratio', at64.hub.perSecond / at64.raw.perSecond, '', 'checked to raw at 64 in flight', 2),
      figure('ratio8', at8.hub.perSecond / at8.raw.perSecond, '', 'checked to raw at 8 in flight', 2),
      figure('cpuUsPerMessage', at64.hub.cpuUs, 'us', 'hub CPU, user and system, a message at 64 in flight', 1),
      figure('p50Ms', at64.hub.p50Ms, 'ms', 'send to ack at 64 in flight', 2),
      figure('p99Ms', at64.hub.p99Ms, 'ms', 'send to ack at 64 in flight', 2),
      figure('p99At10kMs', steady.p99Ms, 'ms', 'send to ack at 10 000 a second', 2),
      figure('syncP99Ms', disk.p99Ms, 'ms', 'the disk alone: 64 KiB at the end of a file, and synced', 2),
      figure('requestReplyPerSecond', replies, '/s', 'round trips between sessions, 8 in flight each'),
      figure('signedRequestsPerSecond', signed, '/s', 'signed requests over one socket, 3 at a time'),
      figure('rssStartMb', rssStart / 1024 ** 2, 'MB', 'resident memory of the hub before the long run'),
      figure('rssGrowthMb', growth, 'MB', `growth over ${wanted} messages`, 1),
    ]
  } finally {
    for (const child of [raw.child, hub.child]) {
      child.send('end')
      await new Promise((resolve) => child.once('exit', resolve))
    }
    for (const client of hub.clients) client.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
