/** The feed of facts as its readers see it, on the operator's own socket, also over a restart of the hub (S0-7). */
import { request } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readEvents } from '../../hub/client/connection.ts'
import { eventHandlers, wantedBy } from '../../hub/edge/routes/events.ts'
import { FROM_NOW } from '../../hub/guard/events.ts'
import { OPERATOR, type Principal } from '../../hub/guard/principal.ts'
import type { HubEvent } from '../../hub/protocol/events.ts'
import { askWhere } from '../support/asking-rules.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

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
const GONE = '018f0000-0000-7000-8000-00000000000a'

/** A reader of the stream: what it got, in order, and whether it was told that some are gone. */
function listen(h: Harness, query = '', headers: Record<string, string> = {}) {
  const heard = {
    events: [] as HubEvent[],
    lost: 0,
    isOpen: false,
    status: 0,
    isOver: false,
    hasEnded: false,
    close: () => undefined,
  }
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
      const ended = () => {
        heard.hasEnded = true
      }
      try {
        for await (const event of readEvents(answer, lost, ended)) heard.events.push(event)
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

test('who follows a task hears everything of it, then that it has ended, and the stream is over: while it runs, afterwards, and when its events are gone', async () => {
  await using h = await createHarness({ agents: { ...agents, waits: { script: puppet } } })
  // What began in the instant of the hub's start may have events that are gone.
  await h.clock.advance(1)
  const task = await h.submit('waits')
  const [live, others] = [await opened(h, `?task=${task}`), await opened(h)]
  await h.working(1)
  await h.ended(await h.submit('echo'))
  expect(live.hasEnded).toBe(false)
  await h.operator('POST', `/v1/tasks/${task}/cancel`, {})
  await h.until(() => live.isOver, 'the stream is over')
  expect([live.hasEnded, live.lost]).toEqual([true, 0])
  const own = h.events().filter(({ subject, data }) => subject === `task:${task}` || data.task === task)
  const last = own.findIndex(({ type }) => type === 'hub.task.completed.v1')
  expect(live.events).toEqual(own.slice(0, last + 1))
  expect(live.events.map(({ type }) => type)).toContain('hub.session.started.v1')
  await h.quiet()
  expect(others.isOver).toBe(false)

  // Asked again: the same, and nothing to those who have it all, however they say so.
  const again = await opened(h, `?task=${task}`)
  await h.until(() => again.isOver)
  expect([again.events, again.hasEnded, again.lost]).toEqual([live.events, true, 0])
  // Its session may end after it: what is told of that has come by now.
  const had = String(h.events().at(-1)?.sequence)
  const query = await opened(h, `?task=${task}&since=${had}`)
  await h.until(() => query.isOver)
  expect([query.events, query.hasEnded, query.lost]).toEqual([[], true, 0])
  const browser = listen(h, `?task=${task}`, { 'last-event-id': had })
  await h.until(() => browser.isOver)
  expect([browser.status, browser.events]).toEqual([204, []])
  const early = await opened(h, '', { 'last-event-id': '1' })
  expect(early.status).toBe(200)

  // After a restart nothing of it is left, and that is said, also to who asks for everything from its beginning.
  await h.stop()
  await h.start()
  for (const [asked, headers] of [
    [`?task=${task}`, {}],
    [`?task=${task}&since=${own[0]?.sequence}`, {}],
    [`?task=${task}`, { 'last-event-id': String(own[0]?.sequence) }],
  ] as const) {
    const late = await opened(h, asked, headers)
    await h.until(() => late.isOver)
    expect([late.events, late.lost, late.hasEnded], asked).toEqual([[], 1, true])
  }
  const unknown = await h.operator('GET', `/v1/events?task=${GONE}`)
  expect([unknown.status, unknown.body.code]).toEqual([404, 'unknown_task'])
})

test('one of a task whose first events are gone says so, and one that cannot be written is not left out in silence', async () => {
  await using h = await createHarness({ agents: { waits: { script: puppet } } })
  const { events } = h.hub.guard
  // As above: not in the instant of the start.
  await h.clock.advance(1)
  const task = await h.submit('waits')
  await h.working(1)
  const whole = await opened(h, `?task=${task}`)
  for (let nth = 0; nth < RING_MAX; nth += 1) events.publish('hub.task.log.v1', 'task:x', { text: nth })
  const late = await opened(h, `?task=${task}`)
  // JSON has no such number.
  const unwritable = { text: 10n }
  events.publish('hub.task.log.v1', 'task:x', unwritable)
  const all = await opened(h, `?since=${FROM_NOW}`)
  events.publish('hub.task.log.v1', 'task:x', unwritable)
  await h.until(() => all.lost === 1)
  await h.operator('POST', `/v1/tasks/${task}/cancel`, {})
  await h.until(() => whole.isOver && late.isOver)
  expect([whole.lost, late.lost, late.hasEnded]).toEqual([0, 1, true])
  expect(late.events.map(({ type }) => type)).toEqual(['hub.task.completed.v1'])
  all.close()
})

test('a token sees only events that show what it may read otherwise, and follows a task only if it may see tasks', async () => {
  await using h = await createHarness({ agents, config: { http: { port: 0 } } })
  const task = await h.submit('echo')
  await h.ended(task)
  await h.ended(await h.submit('crash'))
  await h.quiet()
  const all = h.events()
  const seenBy = (actions: string[]) => {
    const wanted = wantedBy({ kind: 'automation', id: 't', actions }, undefined)
    return new Set(all.filter(wanted).map(({ type }) => type))
  }
  expect(seenBy(['event.stream'])).toEqual(new Set())
  expect(seenBy(['event.stream', 'alert.list'])).toEqual(new Set(['hub.alert.raised.v1']))
  expect([...seenBy(['task.show', 'session.show'])].sort()).toEqual([
    'hub.session.ended.v1',
    'hub.session.started.v1',
    'hub.task.completed.v1',
    'hub.task.queued.v1',
    'hub.task.running.v1',
  ])
  const by = (principal: Principal) => all.filter(wantedBy(principal, undefined)).length
  expect([by(OPERATOR), by({ kind: 'device', id: 'd', rights: ['view'] })]).toEqual([all.length, all.length])
  expect(by({ kind: 'device', id: 'd', rights: ['heartbeat'] })).toBe(0)
  // What only the owner may list, no device sees.
  const flag = { type: 'hub.flag.changed.v1', subject: 'flag:x', data: {} } as HubEvent
  expect(wantedBy({ kind: 'device', id: 'd', rights: ['view'] }, undefined)(flag)).toBe(false)
  const following = (actions: string[]) =>
    h.hub.guard.gate.admit(
      { principal: { kind: 'automation', id: 't', actions }, operation: 'event.stream', resource: 'event' },
      (grant) =>
        eventHandlers({ tasks: h.hub.work.tasks })['event.stream']?.effect(
          grant as never,
          { task } as never,
          {} as never,
        ),
    )
  expect(() => following(['event.stream'])).toThrow('task.show beside event.stream')
  expect(following(['event.stream', 'task.show'])).toMatchObject({ task, isOver: true })
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

test('who follows a task hears what a rule asks about it and what was answered, if it may read approvals', async () => {
  await using h = await createHarness({ agents: { ...agents, solo: { script: puppet } } })
  askWhere(h.hub.guard, ({ operation, resource }) =>
    operation === 'task.dispatch' && resource.agent === 'echo' ? 'echo may start?' : undefined,
  )
  const task = await h.submit('echo')
  await h.until(() => h.hub.guard.approvals.list(false).length > 0, 'a person is asked', 200)
  const reader = await opened(h, `?task=${task}`)
  const [{ id = '' } = {}] = h.hub.guard.approvals.list(false)
  await h.operator('POST', `/v1/approvals/${id}/answer`, { approve: true, text: 'go on' })
  await h.ended(task)
  await h.until(() => reader.hasEnded, 'the stream ends with the task')
  const heard = reader.events.filter(({ type }) => type.startsWith('hub.approval.'))
  const about = { approval: id, task, agent: 'echo' }
  expect(heard.map(({ type, subject, data }) => [type, subject, data])).toEqual([
    [
      'hub.approval.asked.v1',
      `approval:${id}`,
      { ...about, operation: 'task.dispatch', resource: `task:${task}`, text: 'echo may start?' },
    ],
    [
      'hub.approval.answered.v1',
      `approval:${id}`,
      { ...about, kind: 'act', answer: 'approved', by: 'operator', text: 'go on' },
    ],
  ])
  // The start comes after the yes that it needed.
  const types = reader.events.map(({ type }) => type)
  expect(types.indexOf('hub.task.running.v1')).toBeGreaterThan(types.indexOf('hub.approval.answered.v1'))

  // A question of an agent has its own event, and its answer comes too.
  const [solo] = await h.bring('solo')
  await h.pumped(solo.say({ kind: 'ask', body: { text: 'Well?' } }))
  const [question] = h.hub.guard.approvals.list(false)
  await h.operator('POST', `/v1/approvals/${question?.id}/answer`, { approve: false, text: '' })
  const ofSolo = h.events().filter(wantedBy(OPERATOR, solo.joined?.task.task))
  expect(ofSolo.filter(({ type }) => /asked|approval/.test(type)).map(({ type, data }) => [type, data.answer])).toEqual(
    [
      ['hub.task.asked.v1', undefined],
      ['hub.approval.answered.v1', 'rejected'],
    ],
  )
  const blind: Principal = { kind: 'automation', id: 't', actions: ['event.stream', 'task.show'] }
  const seeing: Principal = { ...blind, actions: [...(blind.actions ?? []), 'approval.list'] }
  const seenBy = (principal: Principal) => heard.filter(wantedBy(principal, task)).length
  expect([seenBy(blind), seenBy(seeing)]).toEqual([0, 2])
})
