/** The feed of facts as its readers see it, on the operator's own socket, also over a restart of the hub (S0-7). */
import { request } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readEvents } from '../../hub/client/connection.ts'
import { FROM_NOW } from '../../hub/guard/events.ts'
import type { HubEvent } from '../../hub/protocol/events.ts'
import { createHarness, type Harness, worker } from '../support/hub-harness.ts'

const agents = {
  echo: { script: worker(() => 'done') },
  crash: {
    script: async () => {
      throw new Error('as always')
    },
    card: { restarts: 0 },
  },
}
const RING_MAX = 4096

/** A reader of the stream: what it got, in order, and whether it was told that some are gone. */
function listen(h: Harness, query = '', headers: Record<string, string> = {}) {
  const heard = { events: [] as HubEvent[], lost: 0, isOpen: false, status: 0, isOver: false, close: () => undefined }
  const sent = request(
    { socketPath: join(h.home, 'run', 'operator.sock'), path: `/v1/events${query}`, headers, agent: false },
    async (answer) => {
      heard.status = answer.statusCode ?? 0
      answer.once('data', () => {
        heard.isOpen = true
      })
      const lost = () => {
        heard.lost += 1
      }
      try {
        for await (const event of readEvents(answer, lost)) heard.events.push(event)
      } catch {}
      heard.isOver = true
    },
  )
  sent.on('error', () => undefined).end()
  return Object.assign(heard, { close: () => void sent.destroy() })
}
const opened = async (h: Harness, query?: string, headers?: Record<string, string>) => {
  const reader = listen(h, query, headers)
  await h.until(() => reader.isOpen || reader.status >= 400, 'the stream is open')
  return reader
}
const numbers = (events: readonly HubEvent[]) => events.map(({ sequence }) => sequence)

test('two readers hear the same events in the order of their numbers, also those that one event leads to', async () => {
  await using h = await createHarness({ agents })
  const early = await opened(h)
  const live = await opened(h, `?since=${FROM_NOW}`)
  const before = h.events().length
  await h.ended(await h.submit('echo'))
  // The alert of a crash is raised by a listener, in the middle of the telling of that crash.
  await h.ended(await h.submit('crash'))
  await h.until(() => live.events.some(({ type }) => type === 'hub.alert.raised.v1'))
  const late = await opened(h)
  await h.quiet()
  const all = h.events()
  await h.until(() => [early, late].every(({ events }) => events.length === all.length))
  await h.until(() => live.events.length === all.length - before)
  expect(early.events).toEqual(all)
  expect(late.events).toEqual(all)
  expect(live.events).toEqual(all.slice(before))
  expect(numbers(all)).toEqual([...numbers(all)].sort((a, b) => a - b))
  expect(new Set(numbers(all)).size).toBe(all.length)
  expect([early.lost, late.lost, live.lost]).toEqual([0, 0, 0])
})

test('a reader resumes after the number it had, by `since` or by Last-Event-ID, and a faulty number is refused', async () => {
  await using h = await createHarness({ agents })
  await h.ended(await h.submit('echo'))
  const all = numbers(h.events())
  const at = all[1] ?? 0
  for (const [query, headers] of [
    [`?since=${at}`, {}],
    ['', { 'last-event-id': String(at) }],
    // The address still says where the reader once began; the header says what it has had since.
    [`?since=${all[0]}`, { 'last-event-id': String(at) }],
  ] as const) {
    const reader = await opened(h, query, headers)
    await h.until(() => reader.events.length > 0)
    expect([numbers(reader.events).slice(0, all.length - 2), reader.lost], query).toEqual([all.slice(2), 0])
  }
  for (const wrong of ['x', '-1', '1.5'])
    expect((await opened(h, '', { 'last-event-id': wrong })).status, wrong).toBe(400)
})

test('numbers rise over a restart: a `since` of before skips nothing of now, and says that some are gone (fault D10)', async () => {
  await using h = await createHarness({ agents })
  await h.ended(await h.submit('echo'))
  await h.ended(await h.submit('echo'))
  const before = numbers(h.events())
  const last = before.at(-1) ?? 0
  await h.stop()
  await h.start()
  const all = h.events()
  expect(Math.min(...numbers(all))).toBeGreaterThan(last)
  const reader = await opened(h, `?since=${last}`)
  await h.until(() => reader.events.length === all.length)
  expect([reader.events, reader.lost]).toEqual([all, 1])
  // A number that is still to come is one of a database from before a restore.
  const ahead = await opened(h, `?since=${last + 10 ** 12}`)
  await h.until(() => ahead.events.length === all.length)
  expect([ahead.events, ahead.lost]).toEqual([all, 1])
})

test('a reader that comes back too late is told that events are gone, and gets all that are left', async () => {
  await using h = await createHarness({ agents })
  const { events } = h.hub.guard
  const first = h.events()[0]?.sequence ?? 0
  for (let nth = 0; nth < RING_MAX; nth += 1) events.publish('hub.task.log.v1', 'task:x', { text: nth })
  const reader = await opened(h, `?since=${first}`)
  await h.until(() => reader.events.length === RING_MAX)
  expect([reader.lost, reader.events.at(-1)?.data]).toEqual([1, { text: RING_MAX - 1 }])
  const there = await opened(h, `?since=${h.events()[0]?.sequence}`)
  await h.until(() => there.events.length === RING_MAX - 1)
  expect(there.lost).toBe(0)
})

test('a history larger than what a reader may leave waiting is written in pieces, and nothing that happens meanwhile is lost', async () => {
  await using h = await createHarness({ agents })
  const { events } = h.hub.guard
  const first = h.events()[0]?.sequence ?? 0
  const filler = 'x'.repeat(2000)
  const numberOf = (event: HubEvent | undefined) => Number.parseInt(String(event?.data.text), 10)
  for (let nth = 0; nth < 2000; nth += 1) events.publish('hub.task.log.v1', 'task:x', { text: `${nth} ${filler}` })
  const reader = listen(h, `?since=${first}`)
  await h.until(() => reader.isOpen, 'the stream is open')
  events.publish('hub.task.log.v1', 'task:x', { text: '2000' })
  await h.until(() => numberOf(reader.events.at(-1)) === 2000 || reader.isOver, 'all of it')
  expect([reader.isOver, reader.lost]).toEqual([false, 0])
  const told = reader.events.filter(({ type }) => type === 'hub.task.log.v1')
  expect(told.map(numberOf)).toEqual([...Array(2001).keys()])
})

test('a listener that throws misses one event and no more, and the log says so once', async () => {
  await using h = await createHarness({ agents })
  const { events } = h.hub.guard
  const seen: unknown[] = []
  const end = events.subscribe(({ data }) => {
    if (data.text === 1 || data.text === 2) throw new Error('a bad moment')
    seen.push(data.text)
  })
  const reader = await opened(h, `?since=${FROM_NOW}`)
  for (const nth of [0, 1, 2, 3]) events.publish('hub.task.log.v1', 'task:x', { text: nth })
  end()
  events.publish('hub.task.log.v1', 'task:x', { text: 4 })
  expect(seen).toEqual([0, 3])
  await h.until(() => reader.events.length === 5)
  expect(h.complaints.filter(({ msg }) => msg.includes('listener of the event feed'))).toMatchObject([
    { reason: 'a bad moment' },
  ])
})

test('nothing can be changed through the feed: every way of writing to it is refused, recorded, and publishes nothing', async () => {
  await using h = await createHarness({ agents })
  const before = h.events()
  const records = h.audit().length
  const event = { type: 'hub.task.completed.v1', subject: 'task:x', data: {} }
  for (const [method, path] of [
    ['POST', '/v1/events'],
    ['POST', '/v1/events?since=0'],
    ['POST', '/v1/events/1'],
  ] as const) {
    const { status, body } = await h.operator(method, path, event)
    expect([status, body.code], path).toEqual([404, 'unknown_operation'])
  }
  const unknown = await h.operator('GET', '/v1/events?publish=1')
  expect([unknown.status, unknown.body.code]).toEqual([400, 'schema_invalid'])
  expect(h.events()).toEqual(before)
  const refused = h.audit().slice(records)
  expect(refused.map(({ outcome }) => outcome)).toEqual(['refused', 'refused', 'refused', 'refused'])
})
