/** From a time in the metrics to the step that took it (S0-11, S0-12): histograms name traces that are kept, to whoever asks for OpenMetrics. */
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace'
import { describe, expect, test } from 'vitest'
import { createTracing, type Tracing } from '../../hub/observe/tracing.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'
import { send } from '../support/plain-http.ts'
import { prometheusTools, startPrometheus } from '../support/prometheus.ts'

/** As Prometheus asks. */
const OPEN =
  'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5'
const say = { sends: { say: null }, receives: { say: null } }
const agents = {
  alice: { script: puppet, card: { messages: say, may: { message: ['bob'] } } },
  bob: { script: puppet, card: { messages: say, may: { message: [] } } },
}
const hexOf = (id: string) => id.replaceAll('-', '')

async function inMemory(sample: number) {
  const exporter = new InMemorySpanExporter()
  const clock = createFakeClock()
  const tracing = await createTracing(
    { sample },
    { clock, instance: 'test-instance', version: '0', processor: new SimpleSpanProcessor({ exporter }) },
  )
  return { tracing, clock, spans: () => exporter.getFinishedSpans() }
}

/** A hub in which alice has written to bob, who has read it. */
async function spoken(tracing?: Tracing) {
  const port = await freePort()
  const h = await createHarness({ agents, config: { metrics: { port } }, ...(tracing && { tracing }) })
  const { 0: alice, 1: bob } = await h.bring('alice', 'bob')
  await h.pumped(alice.say({ kind: 'request', to: 'agent:bob', type: 'say' }))
  await h.pumped(bob.next())
  await h.pumped(bob.receive(0))
  const ask = async (accept?: string) => {
    await h.clock.advance(1000)
    return h.pumped(send(port, { path: '/metrics', headers: accept === undefined ? {} : { accept } }))
  }
  return { h, port, ask, tasks: { alice: alice.joined?.task.task ?? '', bob: bob.joined?.task.task ?? '' } }
}

/** Of each line with an exemplar: its series, and what stands behind it. */
const exemplarsOf = (text: string) =>
  [
    ...text.matchAll(
      /^(\w+)_bucket\{([^}]*)\} (\d+) # \{trace_id="([0-9a-f]{32})",span_id="([0-9a-f]{16})"\} (\S+) (\S+)$/gm,
    ),
  ].map(([, name = '', labels = '', count, trace = '', span = '', seconds, at]) => ({
    ...{ name, labels, trace, span },
    ...{ count: Number(count), seconds: Number(seconds), at: Number(at) },
  }))

test('S0-12: a start, a message, its decision, record, commit and delivery name the trace of their task and the step', async () => {
  const { tracing, clock, spans } = await inMemory(1)
  const { h, ask, tasks } = await spoken(tracing)
  await using _ = h
  const { text, headers } = await ask(OPEN)
  expect(headers['content-type']).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8')
  expect(headers.vary).toBe('accept')
  const found = exemplarsOf(text)
  expect(found.length).toBe(text.split('\n').filter((line) => line.includes(' # ')).length)
  const of = (name: string, labels = '') => found.filter((each) => each.name === name && each.labels.startsWith(labels))
  // Both started with a clock that stands still, so the one that came last is named.
  for (const phase of ['queue', 'create', 'join']) {
    const [start] = of('hub_dispatch_seconds', `phase="${phase}"`)
    expect([hexOf(tasks.alice), hexOf(tasks.bob)], phase).toContain(start?.trace)
  }
  for (const verb of ['create', 'inspect', 'start'])
    expect([hexOf(tasks.alice), hexOf(tasks.bob)], verb).toContain(of('hub_engine_seconds', `verb="${verb}"`)[0]?.trace)
  expect(of('hub_engine_seconds', 'verb="list"')).toEqual([])
  const sent = spans().find(({ name, attributes }) => name === 'orch.msg.send' && attributes['hub.kind'] === 'request')
  const step = { trace: hexOf(tasks.alice), span: sent?.spanContext().spanId }
  for (const name of ['hub_decision_seconds', 'hub_audit_record_seconds', 'hub_message_delivery_seconds'])
    expect(of(name)[0], name).toMatchObject(step)
  expect(of('hub_commit_seconds').map(({ trace }) => trace)).toContain(step.trace)
  for (const { name, labels, seconds, at, count } of found) {
    const le = Number(/le="([^"]+)"/.exec(labels)?.[1]?.replace('+Inf', 'Infinity'))
    expect(seconds, `${name} ${labels}`).toBeLessThanOrEqual(le)
    expect(at).toBe(clock.wallMs() / 1000)
    expect(count).toBeGreaterThan(0)
  }
  // No time of the process as a whole, and nothing but the ids.
  expect(of('hub_event_loop_lag_seconds')).toEqual([])
})

test('S0-12: the plain text stays as it is for everybody else, and says the same', async () => {
  const { tracing } = await inMemory(1)
  const { h, ask } = await spoken(tracing)
  await using _ = h
  const plain = await ask()
  expect(plain.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
  expect(plain.text).not.toMatch(/ # |trace_id|# EOF/)
  const seriesOf = (text: string) =>
    text
      .split('\n')
      .flatMap((line) => (line === '' || line.startsWith('#') ? [] : [line.replace(/ # .*/, '').replace(/ \S+$/, '')]))
  const open = await ask(OPEN)
  expect(open.text.endsWith('\n# EOF\n')).toBe(true)
  expect(seriesOf(open.text)).toEqual(seriesOf(plain.text))
})

test.each([
  ['no trace is kept', 0],
  ['there is no tracing', undefined],
] as const)('S0-12: where %s nothing is named', async (_why, sample) => {
  const { h, ask } = await spoken(sample === undefined ? undefined : (await inMemory(sample)).tracing)
  await using _ = h
  const { text } = await ask(OPEN)
  expect(text).toContain('# EOF')
  expect(text).not.toContain('trace_id')
})

const TOOLS = prometheusTools()
describe.skipIf(TOOLS === undefined)("with Debian's Prometheus (needs it: scripts/observe/prometheus up)", () => {
  test('S0-12: it keeps them, and one question for a slow start answers with the id of the task', async () => {
    const { tracing, clock } = await inMemory(1)
    const { h, port, tasks } = await spoken(tracing)
    await using _ = h
    await using prometheus = await startPrometheus({
      ...{ tools: TOOLS ?? '', port, flags: ['--enable-feature=exemplar-storage'] },
    })
    interface Found {
      seriesLabels: Record<string, string>
      exemplars: { labels: Record<string, string>; value: string; timestamp: number }[]
    }
    const at = clock.wallMs() / 1000
    const query = encodeURIComponent('hub_dispatch_seconds_bucket{phase="join"}')
    let found: Found[] = []
    while (found.length === 0) {
      await h.clock.advance(500)
      await new Promise((done) => setTimeout(done, 50))
      const answer = prometheus.api<Found[]>(`/api/v1/query_exemplars?query=${query}&start=${at - 1}&end=${at + 1}`)
      found = await answer.then(({ data }) => data ?? []).catch(() => [])
    }
    expect(found[0]?.seriesLabels).toMatchObject({ __name__: 'hub_dispatch_seconds_bucket', job: 'hub', phase: 'join' })
    const [exemplar] = found[0]?.exemplars ?? []
    expect(exemplar?.timestamp).toBe(at)
    expect([hexOf(tasks.alice), hexOf(tasks.bob)]).toContain(exemplar?.labels.trace_id)
    // Nothing of a text was left out, and counters keep their names.
    const { data } = await prometheus.api<{ result: { value: [number, string] }[] }>(
      `/api/v1/query?query=${encodeURIComponent('scrape_samples_scraped{job="hub"}')}`,
    )
    expect(Number(data.result[0]?.value[1])).toBeGreaterThan(100)
    const counter = await prometheus.api<{ result: { value: [number, string] }[] }>(
      `/api/v1/query?query=${encodeURIComponent('hub_messages_total{kind="request",result="accepted"}')}`,
    )
    expect(counter.data.result[0]?.value[1]).toBe('1')
  })
})
