/** What a whole hub leaves in a trace (S0-11): every step of a task under one id, passed on through messages, delegation and containers. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace'
import { describe, expect, test } from 'vitest'
import { createSystemClock } from '../../hub/base/clock.ts'
import { createLog, silentLog } from '../../hub/base/telemetry.ts'
import { createTracing, openTracing, type Tracing } from '../../hub/observe/tracing.ts'
import { placeOfTask, readTraceparent, SPANS } from '../../hub/protocol/traces.ts'
import { askWhere } from '../support/asking-rules.ts'
import { collectorTool, startCollector } from '../support/collector.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const say = { sends: { say: null }, receives: { say: null } }
const agents = {
  alice: { script: puppet, card: { messages: say, may: { message: ['bob'], delegate: ['carol'] } } },
  bob: { script: puppet, card: { messages: say, may: { message: [] } } },
  carol: { script: worker(() => ({ found: 7 })), card: {} },
  lame: {
    script: () => {
      throw new Error('it does not start')
    },
    card: { restarts: 0 },
  },
}

/** A tracer whose spans stay in memory. */
async function inMemory(sample = 1): Promise<{ tracing: Tracing; spans: () => ReadableSpan[] }> {
  const exporter = new InMemorySpanExporter()
  const processor = new SimpleSpanProcessor({ exporter })
  const tracing = await createTracing(
    { sample },
    { clock: createFakeClock(), instance: 'test-instance', version: '0', processor },
  )
  return { tracing, spans: () => exporter.getFinishedSpans() }
}

const hexOf = (id: string) => id.replaceAll('-', '')
const msOf = ([seconds, nanos] = [0, 0]) => seconds * 1000 + nanos / 1e6
const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId
const traceOf = (span: ReadableSpan | undefined) => span?.spanContext().traceId
const parentOf = (span: ReadableSpan | undefined) => span?.parentSpanContext?.spanId

describe('with the exporter in memory', () => {
  test('S0-11: one task, its start, its messages and the stop occur, linked by the trace that has the id of the task', async () => {
    const { tracing, spans } = await inMemory()
    await using h = await createHarness({ agents, tracing })
    const [alice, bob] = await h.bring('alice', 'bob')
    const [task = ''] = [alice.joined?.task.task]
    const named = (name: string, of = task) =>
      spans().filter((span) => span.name === name && traceOf(span) === hexOf(of))

    const [submit] = named('orch.task.submit')
    expect(idOf(submit)).toBe(placeOfTask(task, task).spanId)
    expect(parentOf(submit)).toBeUndefined()
    const [spawn] = named('orch.agent.spawn')
    expect(parentOf(spawn)).toBe(idOf(submit))
    expect(spawn?.attributes).toEqual({ 'hub.task': task, 'hub.session': alice.session, 'hub.agent': 'alice' })
    for (const name of ['orch.agent.create', 'orch.agent.join'])
      expect(parentOf(named(name)[0]), name).toBe(idOf(spawn))

    // The container is told its place, and what it sends stands below it.
    const given = alice.joined?.task.traceparent
    expect(given).toBe(`00-${hexOf(task)}-${idOf(submit)}-01`)
    await h.pumped(alice.say({ kind: 'request', to: 'agent:bob', type: 'say', body: { text: 'not to be seen' } }))
    const [sent] = named('orch.msg.send')
    expect([parentOf(sent), sent?.attributes['hub.kind'], sent?.status.code]).toEqual([idOf(submit), 'request', 0])
    const got = await h.pumped(bob.next())
    expect(readTraceparent(got.traceparent)).toEqual({ traceId: hexOf(task), spanId: idOf(sent) })
    const decided = named('orch.policy.decide').find((span) => parentOf(span) === idOf(sent))
    const decision = String(decided?.attributes['hub.decision'])
    expect(h.audit().findLast(({ action }) => action === 'message.sent')?.decision_id).toBe(decision)

    // A refusal is an error by its code, and the answer of somebody from another tree is linked, not taken into this trace.
    await h.pumped(alice.send({ kind: 'request', to: 'agent:carol', type: 'say' }))
    const refused = named('orch.msg.send').at(-1)
    expect([refused?.attributes['hub.code'], refused?.status.code]).toEqual(['policy_denied', 2])
    await h.pumped(
      bob.send({
        kind: 'reply',
        to: `session:${alice.session}`,
        correlationId: got.id,
        ...(got.traceparent && { traceparent: got.traceparent }),
        body: {},
      }),
    )
    const reply = spans().findLast(({ attributes }) => attributes['hub.kind'] === 'reply')
    expect(traceOf(reply)).toBe(hexOf(bob.joined?.task.task ?? ''))
    expect(reply?.links.map(({ context }) => context.traceId)).toEqual([hexOf(task)])

    // A question of an agent is one span below its task, from the question to the answer, by the times that are stored.
    await h.pumped(alice.say({ kind: 'ask', body: { text: 'not to be seen' } }))
    await h.clock.advance(7_000)
    const [asked] = h.hub.guard.approvals.list(false)
    await h.operator('POST', `/v1/approvals/${asked?.id}/answer`, { approve: false, text: 'not to be seen' })
    const [wait] = named('orch.approval.wait')
    const whose = { 'hub.task': task, 'hub.session': alice.session, 'hub.agent': 'alice' }
    expect(wait?.attributes).toEqual({
      ...{ ...whose, 'hub.approval': asked?.id, 'hub.kind': 'ask_user', 'hub.answer': 'rejected' },
    })
    expect(parentOf(wait)).toBe(idOf(submit))
    const { askedAtMs = 0, endedAtMs } = h.hub.guard.approvals.find(asked?.id ?? '') ?? {}
    expect([msOf(wait?.startTime), msOf(wait?.endTime)]).toEqual([askedAtMs, endedAtMs])
    expect(msOf(wait?.duration)).toBeGreaterThanOrEqual(7_000)

    const report = h.operator('POST', '/v1/shutdown', {})
    await h.pumped(report)
    const stop = spans().find(({ name }) => name === 'orch.shutdown')
    for (const name of ['orch.shutdown.finish', 'orch.shutdown.confirm'])
      expect(parentOf(spans().find((span) => span.name === name)), name).toBe(idOf(stop))
    expect(stop?.attributes).toMatchObject({ 'hub.exit': 'shutdown', 'hub.requested': 2 })
    // Nothing of what anybody wrote, and no name that is not in the table.
    expect(
      JSON.stringify(spans().map(({ attributes, name, status, events }) => [name, attributes, status, events])),
    ).not.toMatch(/not to be seen|Hub-|eyJ/)
    expect([...new Set(spans().map(({ name }) => name))].sort()).toEqual(Object.keys(SPANS).sort())
  })

  test('S0-11: a child of a delegation stands in the trace of its root, across a restart; a failed start is an error', async () => {
    const { tracing, spans } = await inMemory()
    const options = { agents, tracing }
    await using h = await createHarness(options)
    const [alice] = await h.bring('alice')
    const task = alice.joined?.task.task ?? ''
    const delegate = await h.pumped(alice.delegate({ agent: 'carol' }))
    const child = await h.pumped(alice.outcome(delegate))
    const ofChild = spans().filter(({ attributes }) => attributes['hub.task'] === child.task)
    expect(ofChild.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['orch.task.submit', 'orch.agent.spawn', 'orch.msg.send']),
    )
    for (const span of ofChild) expect(traceOf(span), span.name).toBe(hexOf(task))
    const made = ofChild.find(({ name }) => name === 'orch.task.submit')
    expect([parentOf(made), made?.attributes['hub.parent']]).toEqual([placeOfTask(task, task).spanId, task])
    // What the child handed in is below its own place: the trace comes back with the result.
    expect(ofChild.find(({ attributes }) => attributes['hub.kind'] === 'result')?.parentSpanContext?.spanId).toBe(
      idOf(made),
    )

    const lame = await h.submit('lame')
    await h.ended(lame)
    await h.until(() =>
      spans().some(({ attributes, name }) => name === 'orch.agent.spawn' && attributes['hub.task'] === lame),
    )
    const failed = spans().find(
      ({ attributes, name }) => name === 'orch.agent.spawn' && attributes['hub.task'] === lame,
    )
    expect([failed?.status.code, failed?.attributes['hub.code']]).toEqual([2, 'crashed'])

    await h.stop()
    const later = await inMemory()
    options.tracing = later.tracing
    await h.start()
    const again = await h.pumped(alice.say({ kind: 'log', body: { text: 'still here' } }))
    const sent = later.spans().find(({ attributes }) => attributes['hub.message'] === again)
    expect([traceOf(sent), parentOf(sent)]).toEqual([hexOf(task), placeOfTask(task, task).spanId])
  })

  test('S0-11, S2-26: a start that a rule asks about is decided below its task, waited for across a restart, and decided once more', async () => {
    const before = await inMemory()
    const options = { agents, tracing: before.tracing }
    await using h = await createHarness(options)
    const ask = () =>
      askWhere(h.hub.guard, ({ operation, resource }) =>
        operation === 'task.dispatch' && resource.agent === 'carol' ? 'not to be seen' : undefined,
      )
    ask()
    const task = await h.submit('carol')
    const asked = async () => {
      await h.until(() => h.hub.guard.approvals.list(false).length > 0, 'a person is asked', 200)
      return h.hub.guard.approvals.list(false)[0]
    }
    const first = await asked()
    // While it waits nobody asks the rules again.
    await h.clock.advance(6_000)
    const below = (name: string, spans: ReadableSpan[]) =>
      spans.filter((span) => span.name === name && parentOf(span) === placeOfTask(task, task).spanId)
    const decided = below('orch.policy.decide', before.spans())
    expect(decided.map(({ attributes }) => [attributes['hub.operation'], attributes['hub.answer']])).toEqual([
      ['task.dispatch', 'ask'],
    ])
    expect(below('orch.approval.wait', before.spans())).toEqual([])

    await h.stop()
    const later = await inMemory()
    options.tracing = later.tracing
    await h.start()
    ask()
    const { id = '', askedAtMs } = (await asked()) ?? {}
    expect(id).toBe(first?.id)
    await h.operator('POST', `/v1/approvals/${id}/answer`, { approve: true, text: 'not to be seen' })
    await h.ended(task)
    const waits = below('orch.approval.wait', later.spans())
    expect(waits.map(({ attributes }) => attributes)).toEqual([
      {
        ...{ 'hub.task': task, 'hub.agent': 'carol', 'hub.approval': id, 'hub.kind': 'act' },
        ...{ 'hub.operation': 'task.dispatch', 'hub.answer': 'approved' },
      },
    ])
    expect(msOf(waits[0]?.startTime)).toBe(askedAtMs)
    const [, record] = h.audit().filter(({ action }) => action === 'task.dispatched')
    expect(below('orch.policy.decide', later.spans())[0]?.attributes).toMatchObject({
      'hub.operation': 'task.dispatch',
      'hub.decision': record?.decision_id,
    })
    expect(JSON.stringify(waits.map(({ attributes, status }) => [attributes, status]))).not.toContain('not to be seen')

    // What ends without an answer is a span too.
    const other = await h.submit('carol')
    await asked()
    await h.operator('POST', `/v1/tasks/${other}/cancel`, {})
    await h.until(() => later.spans().some(({ attributes }) => attributes['hub.answer'] === 'over'), 'it ends', 500)
  })

  test('S0-11: the trace that a caller brings is linked to the task it causes, and chooses nothing', async () => {
    const { tracing, spans } = await inMemory()
    await using h = await createHarness({ agents, tracing })
    const theirs = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) }
    const submit = async (traceparent: string) => {
      const { body } = await h.operator('POST', '/v1/tasks', { agent: 'bob', hold: true }, { traceparent })
      const { id } = body.task as { id: string }
      return spans().find(({ name, attributes }) => name === 'orch.task.submit' && attributes['hub.task'] === id)
    }
    const made = await submit(`00-${theirs.traceId}-${theirs.spanId}-01`)
    expect(traceOf(made)).toBe(hexOf(String(made?.attributes['hub.task'])))
    expect(made?.links.map(({ context }) => [context.traceId, context.spanId])).toEqual([
      [theirs.traceId, theirs.spanId],
    ])
    for (const odd of ['', 'x', `00-${'0'.repeat(32)}-${theirs.spanId}-01`, `ff-${theirs.traceId}-${theirs.spanId}-01`])
      expect((await submit(odd))?.links, odd).toEqual([])
  })

  test('S0-11: which traces are kept follows from their ids: none at 0, and the agents are told so', async () => {
    const { tracing, spans } = await inMemory(0)
    await using h = await createHarness({ agents, tracing })
    const [bob] = await h.bring('bob')
    expect(bob.joined?.task.traceparent).toMatch(/-00$/)
    expect(spans()).toEqual([])
    const half = (await inMemory(0.5)).tracing.tracer
    const ids = Array.from({ length: 400 }, (_, n) =>
      `${(n * 2_654_435_761).toString(16).padStart(32, '7')}`.slice(-32),
    )
    const kept = ids.filter((traceId) => half.traceparentOf({ traceId, spanId: '1'.repeat(16) }).endsWith('1'))
    expect(kept.length).toBeGreaterThan(100)
    expect(kept.length).toBeLessThan(300)
    const other = (await inMemory(0.5)).tracing.tracer
    expect(ids.filter((traceId) => other.traceparentOf({ traceId, spanId: '2'.repeat(16) }).endsWith('1'))).toEqual(
      kept,
    )
  })

  test('S0-11: without a collector nothing is added to what agents are told, and no span is made', async () => {
    await using h: Harness = await createHarness({ agents })
    const [bob] = await h.bring('bob')
    expect(bob.joined?.task).not.toHaveProperty('traceparent')
    expect(h.hub.work.supervision.traces).toBeUndefined()
    expect(
      await openTracing({ sample: 1 }, { clock: h.clock, instance: 'i', version: '0', log: silentLog() }),
    ).toBeUndefined()
  })
})

/** A collector on loopback: answers each sending as it is told. */
async function collector(answer: (request: IncomingMessage) => number | undefined) {
  const bodies: Buffer[] = []
  const server: Server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      bodies.push(Buffer.concat(parts))
      const status = answer(request)
      if (status !== undefined) response.writeHead(status, { 'content-type': 'application/json' }).end('{}')
    })
  })
  await new Promise<void>((done) => server.listen({ host: '127.0.0.1', port: 0 }, done))
  const { port } = server.address() as { port: number }
  return {
    bodies,
    endpoint: `http://127.0.0.1:${port}`,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

describe('with a collector over OTLP and HTTP', () => {
  const open = (endpoint: string, said: { msg: string; level: number }[] = []) =>
    openTracing(
      { endpoint, sample: 1, everyMs: 20 },
      {
        clock: createSystemClock(),
        instance: 'test-instance',
        version: '7.8.9',
        log: createLog('info', { write: (line) => void said.push(JSON.parse(line)) }),
      },
    )

  test('S0-11: spans arrive as OTLP at /v1/traces, with their ids, attributes and who sent them', async () => {
    const paths: string[] = []
    const c = await collector(({ url, headers }) => {
      paths.push(`${url} ${headers['content-type']}`)
      return 200
    })
    const tracing = await open(c.endpoint)
    const place = placeOfTask('01890000-0000-7000-8000-0000000000aa', '01890000-0000-7000-8000-0000000000aa')
    tracing?.tracer.begin('orch.task.submit', { own: place, ids: { task: 'the-task' } }).end('cancelled')
    await tracing?.close()
    c.close()
    expect(paths).toEqual(['/v1/traces application/json'])
    const sent = JSON.parse(String(c.bodies[0])) as {
      resourceSpans: {
        resource: { attributes: { key: string; value: { stringValue: string } }[] }
        scopeSpans: {
          spans: {
            name: string
            traceId: string
            spanId: string
            status: { code: number }
            attributes: { key: string; value: { stringValue: string } }[]
          }[]
        }[]
      }[]
    }
    const [{ resource, scopeSpans } = { resource: { attributes: [] }, scopeSpans: [] }] = sent.resourceSpans
    const textsOf = (attributes: { key: string; value: { stringValue: string } }[]) =>
      Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue]))
    expect(textsOf(resource.attributes)).toMatchObject({
      'service.name': 'hub',
      'service.version': '7.8.9',
      'service.instance.id': 'test-instance',
    })
    const [span] = scopeSpans.flatMap(({ spans }) => spans)
    expect(span).toMatchObject({ name: 'orch.task.submit', ...place, status: { code: 2 } })
    expect(textsOf(span?.attributes ?? [])).toEqual({ 'hub.task': 'the-task', 'hub.code': 'cancelled' })
  })

  test('S0-11: a collector that refuses is said once and spans are dropped; when it takes them again, that is said too', async () => {
    let status = 400
    const c = await collector(() => status)
    const said: { msg: string; level: number }[] = []
    const tracing = await open(c.endpoint, said)
    const send = async () => {
      const before = c.bodies.length
      tracing?.tracer.begin('orch.shutdown', { ids: {} }).end()
      while (c.bodies.length === before) await new Promise((done) => setTimeout(done, 20))
    }
    for (let times = 0; times < 2; times += 1) await send()
    status = 200
    await send()
    await tracing?.close()
    c.close()
    expect(said.map(({ msg }) => msg.replace(/[;,] .*$/, ''))).toEqual([
      'spans cannot be sent to the collector and are dropped',
      'spans are sent to the collector again',
    ])
  })

  test('S0-11: a collector that hangs holds up neither the hub, nor a task, nor the end', async () => {
    const c = await collector(() => undefined)
    const said: { msg: string; level: number }[] = []
    const tracing = await open(c.endpoint, said)
    const h = await createHarness({ agents, tracing })
    const tasks = await Promise.all(Array.from({ length: 3 }, () => h.submit('carol')))
    await h.ended(...tasks)
    expect(tasks.map((id) => h.task(id).state)).toEqual(['succeeded', 'succeeded', 'succeeded'])
    // More than there is room for: what has none is dropped.
    for (let n = 0; n < 5000; n += 1) tracing?.tracer.begin('orch.shutdown', { ids: {} }).end()
    await h[Symbol.asyncDispose]()
    expect(c.bodies.length).toBeGreaterThan(0)
    c.close()
  })
})

// In the long run it must be there; elsewhere its tests are left out where nobody has built it.
const COLLECTOR = collectorTool(process.env.HUB_TEST_LONG !== undefined)
describe.skipIf(COLLECTOR === undefined)('with the OpenTelemetry Collector itself (scripts/collector up)', () => {
  test('S0-11: it takes every step of a task and of its failed start, under one id each', async () => {
    await using collector = await startCollector(COLLECTOR ?? '')
    const until = async (check: () => boolean) => {
      while (!check()) await new Promise((done) => setTimeout(done, 20))
    }
    await until(collector.isReady)
    const said: { msg: string }[] = []
    const tracing = await openTracing(
      { endpoint: collector.endpoint, sample: 1, everyMs: 20 },
      {
        ...{ clock: createSystemClock(), instance: 'test-instance', version: '7.8.9' },
        log: createLog('info', { write: (line) => void said.push(JSON.parse(line)) }),
      },
    )
    const h = await createHarness({ agents, tracing })
    const [task, lame] = [await h.submit('carol'), await h.submit('lame')]
    await h.ended(task, lame)
    await h[Symbol.asyncDispose]()
    const of = (id: string) => collector.spans().filter(({ trace }) => trace === hexOf(id))
    await until(() => of(lame).length >= 2 && of(task).length >= 5)

    const named = (name: string) => of(task).filter((span) => span.name === name)
    const [submit] = named('orch.task.submit')
    expect(submit).toEqual({
      ...{
        name: 'orch.task.submit',
        trace: hexOf(task),
        id: placeOfTask(task, task).spanId,
        parent: '',
        status: 'Unset',
      },
      attributes: { 'hub.task': task, 'hub.agent': 'carol' },
      resource: { 'service.name': 'hub', 'service.version': '7.8.9', 'service.instance.id': 'test-instance' },
    })
    const [spawn] = named('orch.agent.spawn')
    expect(spawn?.parent).toBe(submit?.id)
    for (const name of ['orch.agent.create', 'orch.agent.join']) expect(named(name)[0]?.parent, name).toBe(spawn?.id)
    const [result] = named('orch.msg.send')
    expect([result?.parent, result?.attributes['hub.kind']]).toEqual([submit?.id, 'result'])
    expect(named('orch.policy.decide').map(({ parent }) => parent)).toContain(result?.id)
    const failed = of(lame).find(({ name }) => name === 'orch.agent.spawn')
    expect([failed?.status, failed?.attributes['hub.code']]).toEqual(['Error', 'crashed'])
    // Neither side complained.
    expect(said).toEqual([])
    expect(collector.said()).not.toMatch(/\t(error|warn)\t/)
  })
})
