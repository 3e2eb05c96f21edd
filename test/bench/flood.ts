/**
 * How late twenty modest sessions are answered beside one that floods (T65), each in the way its frames go: sealed, judged, written down with
 * FULL, acknowledged. The baseline is the same twenty without it, in the same run. The flooder is a process of its own.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { newUuid, systemRandom } from '../../hub/base/random.ts'
import { createConnection } from '../../hub/client/connection.ts'
import { type FrameClient, openFrameClient } from './frame-client.ts'
import type { Figure } from './run.ts'

const NORMAL = 20
const EACH_PER_SECOND = 10
const SPAN_SECONDS = 10

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const heard = <Word>(child: ChildProcess) => new Promise<Word>((resolve) => child.once('message', resolve))
const quantile = (sorted: readonly number[], share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

/** The sockets of so many modest sessions, and of the flooder's behind them. */
async function openSessions(home: string, count: number): Promise<string[]> {
  const hub = createConnection({ name: 'hub', socketPath: join(home, 'run', 'operator.sock'), start: '' })
  for (let nth = 0; nth < count; nth += 1) await hub.call('task.submit', { agent: 'bench' })
  await hub.call('task.submit', { agent: 'flooder' })
  for (;;) {
    const { sessions } = (await hub.call('session.list', { limit: 100 })) as {
      sessions: { id: string; agent: string; state: string }[]
    }
    const open = sessions.filter(({ state }) => state === 'starting')
    open.sort((a, b) => a.agent.localeCompare(b.agent))
    if (open.length === count + 1) return open.map(({ id }) => join(home, 'run', 's', id, 'hub.sock'))
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

export async function benchFlood(
  say: (line: string) => void,
  { seconds = SPAN_SECONDS }: { seconds?: number } = {},
): Promise<Figure[]> {
  const home = join(mkdtempSync(join(tmpdir(), 'hb-')), 'h')
  const hub = fork(here('./messages-hub.ts'), [home, '1'])
  let flooder: ChildProcess | undefined
  try {
    await heard(hub)
    const sockets = await openSessions(home, NORMAL)
    const last = sockets.pop() ?? ''
    const clients: FrameClient[] = []
    for (const path of sockets) clients.push(await openFrameClient(path))
    await talk(clients, 2)
    const alone = await talk(clients, seconds)
    say(`alone: p50 ${quantile(alone, 0.5).toFixed(1)} ms, p99 ${quantile(alone, 0.99).toFixed(1)} ms`)
    flooder = fork(here('./flooder.ts'), [last])
    await heard(flooder)
    let flood = { sent: 0, refused: 0, seconds: 1 }
    flooder.on('message', (word) => {
      flood = word as typeof flood
    })
    flooder.send('flood')
    await sleep(1_000)
    const beside = await talk(clients, seconds)
    const floodPerSecond = flood.sent / flood.seconds
    say(`beside: p50 ${quantile(beside, 0.5).toFixed(1)} ms, p99 ${quantile(beside, 0.99).toFixed(1)} ms`)
    for (const client of clients) client.close()
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
    ]
  } finally {
    for (const child of [flooder, hub]) child?.kill('SIGKILL')
    rmSync(join(home, '..'), { recursive: true, force: true })
  }
}
