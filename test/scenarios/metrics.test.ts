/**
 * A whole hub and its metrics (S0-12): each figure moves with what it counts, no label holds what an agent chose, and Debian's Prometheus gets an
 * answer to each query of the dashboard and each rule.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { COMMANDS } from '../../hub/client/cli/table.ts'
import { METRICS, type MetricName } from '../../hub/observe/table.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'
import { callModel, declared, writeKey } from '../support/models/model-call.ts'
import { type ModelServer, startModelServer } from '../support/models/model-server.ts'
import { send } from '../support/plain-http.ts'
import { prometheusTools, startPrometheus } from '../support/prometheus.ts'

const OBSERVE = join(import.meta.dirname, '../../scripts/observe')
const say = { sends: { say: null }, receives: { say: null } }
const agents = {
  alice: {
    script: puppet,
    card: { messages: say, may: { message: ['bob'], egress: ['anthropic', 'llama'] } },
    policy: { egress: ['anthropic', 'llama'] },
  },
  bob: { script: puppet, card: { messages: say, may: { message: [] } } },
}

type Values = Map<string, number>
/** Of each line without a comment: what stands before its value. */
const valuesOf = (text: string): Values =>
  new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )

let h: Harness
let models: ModelServer
let port: number
beforeAll(async () => {
  port = await freePort()
  models = await startModelServer(() => ({ text: 'good day', usage: { input: 11, output: 7 } }))
  const llama = { kind: 'openai', url: models.url, local: true, price: 'free' }
  const upstreams = { ...declared(models.url), llama }
  h = await createHarness({ agents, config: { metrics: { port }, upstreams, budget: { day: { usd: '3 USD' } } } })
  writeKey(h.home)
})
afterAll(async () => {
  await h[Symbol.asyncDispose]()
  await models[Symbol.asyncDispose]()
})

/** The newest of this agent. */
function running(name: string): TestAgent {
  const found = h.started.findLast(({ agent }) => agent === name)
  if (found === undefined) throw new Error(`${name} does not run`)
  return found
}

async function scrape(): Promise<Values> {
  // What was made within a second is given again.
  await h.clock.advance(1000)
  const { status, text } = await h.pumped(send(port, { path: '/metrics' }))
  expect(status).toBe(200)
  return valuesOf(text)
}

test('S0-12: the depth of a mailbox and the age of its mail rise while its reader rests, and fall when it reads', async () => {
  const { 0: alice, 1: bob } = await h.bring('alice', 'bob')
  const before = await scrape()
  expect(before.get('hub_mailbox_depth{agent="bob"}')).toBe(0)
  for (let n = 0; n < 3; n += 1) await h.pumped(alice.say({ kind: 'request', to: 'agent:bob', type: 'say' }))
  await h.clock.advance(30_000)
  const waiting = await scrape()
  expect(waiting.get('hub_mailbox_depth{agent="bob"}')).toBe(3)
  expect(waiting.get('hub_mailbox_fullest{agent="bob"}')).toBe(3)
  expect(waiting.get('hub_mailbox_oldest_seconds{agent="bob"}')).toBeGreaterThan(30)
  expect(waiting.get('hub_mailbox_bytes')).toBeGreaterThan(0)
  expect(waiting.get('hub_message_delivery_seconds_count')).toBe(0)
  for (let n = 0; n < 3; n += 1) await h.pumped(bob.next())
  await h.pumped(bob.receive(0))
  const read = await scrape()
  expect(read.get('hub_mailbox_depth{agent="bob"}')).toBe(0)
  expect(read.get('hub_mailbox_oldest_seconds{agent="bob"}')).toBe(0)
  expect(read.get('hub_message_delivery_seconds_count')).toBe(3)
  expect(read.get('hub_message_delivery_seconds_sum')).toBeGreaterThan(90)
  expect(read.get('hub_message_delivery_seconds_bucket{le="30"}')).toBe(0)
  expect(read.get('hub_message_delivery_seconds_bucket{le="120"}')).toBe(3)
  expect(read.get('hub_messages_total{kind="request",result="accepted"}')).toBe(3)
})

test('S0-12: tasks, sessions, starts, answers of the rules, refusals by code and the record are counted', async () => {
  const before = await scrape()
  const grew = (after: Values, name: string) => (after.get(name) ?? Number.NaN) - (before.get(name) ?? 0)
  const [alice, bob] = [running('alice'), running('bob')]
  // Nobody permits bob's message, and a task of an unknown agent is refused.
  for (let n = 0; n < 2; n += 1) await h.pumped(bob.send({ kind: 'request', to: 'agent:alice', type: 'say' }))
  expect((await h.operator('POST', '/v1/tasks', { agent: 'nobody' })).status).toBeGreaterThan(400)
  const held = await h.submit('alice', {}, { hold: true })
  const during = await scrape()
  expect(grew(during, 'hub_messages_total{kind="request",result="refused"}')).toBe(2)
  expect(grew(during, 'hub_refusals_total{code="policy_denied"}')).toBeGreaterThanOrEqual(2)
  expect(grew(during, 'hub_decisions_total{action="message.send",result="deny"}')).toBe(2)
  expect(grew(during, 'hub_decision_seconds_count')).toBeGreaterThan(0)
  expect(grew(during, 'hub_commit_seconds_count')).toBeGreaterThan(0)
  expect(grew(during, 'hub_audit_record_seconds_count')).toBe(grew(during, 'hub_audit_records_total'))
  expect(grew(during, 'hub_event_loop_lag_seconds_count')).toBeGreaterThan(0)
  expect([
    during.get('hub_tasks{state="held"}'),
    during.get('hub_tasks{state="queued"}'),
    during.get('hub_tasks{state="running"}'),
    during.get('hub_sessions{state="working"}'),
    during.get('hub_agents{state="registered"}'),
  ]).toEqual([1, 0, 2, 2, 2])
  for (const phase of ['queue', 'create', 'join'])
    expect(during.get(`hub_dispatch_seconds_count{phase="${phase}"}`), phase).toBe(2)

  await h.operator('POST', `/v1/tasks/${held}/cancel`, {})
  await h.pumped(alice.result())
  await h.until(() => h.hub.work.tasks.sessionsOpen().length === 1)
  const after = await scrape()
  expect(grew(after, 'hub_tasks_ended_total{state="succeeded"}')).toBe(1)
  expect(grew(after, 'hub_tasks_ended_total{state="cancelled"}')).toBe(1)
  // A session that has ended takes the mailbox of its agent along.
  expect(after.has('hub_mailbox_depth{agent="alice"}')).toBe(false)
  await h.bring('alice')
})

test('S0-12: calls of the engine are timed by verb, also one that fails; alerts are counted by kind and severity', async () => {
  const before = await scrape()
  const grew = (after: Values, name: string) => (after.get(name) ?? Number.NaN) - (before.get(name) ?? Number.NaN)
  // One is answered by nobody until its deadline; the next is refused at once.
  h.engine.fault('list', 'stall', 1)
  await h.clock.advance(20_000)
  h.engine.fault('kill', 'refuse', 1)
  await h.pumped(h.hub.work.containment.engine.kill('nobody').catch(() => undefined))
  const { alerts } = h.hub.guard
  const cause = 'refused_often:a-name that nobody listed"'
  for (const severity of ['info', 'info', 'warning'] as const) alerts.raise(cause, severity, 'text')
  alerts.repeat(cause, 'told once more')
  alerts.resolve(cause)
  alerts.raise(cause, 'warning', 'again')
  alerts.raise('database_damaged', 'critical', 'text')
  const [critical] = alerts.list().filter(({ severity }) => severity === 'critical')
  await h.operator('POST', '/v1/mode/resume', { alert: critical?.id })
  const after = await scrape()
  expect(grew(after, 'hub_engine_seconds_bucket{verb="list",le="5"}')).toBeGreaterThan(0)
  expect(
    grew(after, 'hub_engine_seconds_count{verb="list"}') - grew(after, 'hub_engine_seconds_bucket{verb="list",le="5"}'),
  ).toBe(1)
  expect(grew(after, 'hub_engine_seconds_sum{verb="list"}')).toBeGreaterThanOrEqual(10)
  expect(grew(after, 'hub_engine_seconds_count{verb="kill"}')).toBe(1)
  for (const verb of ['create', 'start', 'inspect', 'remove'])
    expect(after.get(`hub_engine_seconds_count{verb="${verb}"}`), verb).toBeGreaterThan(0)
  // The first, the one that became more serious, and the one after the end; nothing of what it was about.
  expect(after.get('hub_alerts_total{kind="refused_often",severity="info"}')).toBe(1)
  expect(grew(after, 'hub_alerts_total{kind="refused_often",severity="warning"}')).toBe(2)
  expect(grew(after, 'hub_alerts_total{kind="database_damaged",severity="critical"}')).toBe(1)
  expect([...after.keys()].filter((name) => name.includes('nobody listed'))).toEqual([])
})

test('S0-12: money, calls, tokens, quotas and what goes outward are counted; a model that an agent names has no series of its own', async () => {
  const [alice] = await h.bring('alice')
  const before = await scrape()
  expect(before.get('hub_money_day_spent_micro_usd')).toBe(0)
  expect(before.get('hub_money_day_limit_micro_usd')).toBe(3_000_000)
  expect(before.get('hub_upstream_paused{upstream="anthropic"}')).toBe(0)
  const statuses: number[] = []
  const ask = async (more: Record<string, unknown>, path?: string) =>
    statuses.push((await h.pumped(callModel(h, alice, more, path).done)).status)
  await ask({})
  await ask({ model: 'never-seen-model' })
  await ask({ model: 'never-seen-model' }, '/up/llama/v1/chat/completions')
  models.script = () => ({
    ...{ status: 429, headers: { 'retry-after': '7200' } },
    body: { error: { type: 'rate_limit_error', message: 'no more' } },
  })
  await ask({ temperature: 0.5 })
  expect(statuses).toEqual([200, 402, 200, 429])
  await h.until(async () => (await scrape()).get('hub_egress_open') === 0, 'all have ended')
  const after = await scrape()
  // claude-haiku-4-5: 1 USD a million in, 5 USD out.
  const cost = 11 * 1 + 7 * 5
  const haiku = 'upstream="anthropic",model="claude-haiku-4-5"'
  const told = (name: string) => after.get(name)
  expect([
    told('hub_money_day_spent_micro_usd'),
    told('hub_money_day_estimated_micro_usd'),
    told('hub_money_day_reserved_micro_usd'),
    told('hub_money_waiting'),
    told(`hub_model_cost_micro_usd_total{${haiku},basis="measured"}`),
    told(`hub_model_cost_micro_usd_total{${haiku},basis="estimated"}`),
    told(`hub_model_calls_total{${haiku},result="measured"}`),
    told(`hub_model_calls_total{${haiku},result="released"}`),
    told(`hub_model_tokens_total{${haiku},direction="in"}`),
    told(`hub_model_tokens_total{${haiku},direction="out"}`),
  ]).toEqual([cost, 0, 0, 0, cost, 0, 1, 1, 11, 7])
  expect(told('hub_model_calls_total{upstream="llama",model="other",result="measured"}')).toBe(1)
  expect(told('hub_upstream_paused{upstream="anthropic"}')).toBe(1)
  expect(told('hub_upstream_paused{upstream="llama"}')).toBe(0)
  expect(told('hub_egress_requests_total{result="answered"}')).toBe(3)
  expect(told('hub_egress_requests_total{result="refused"}')).toBe(1)
  expect(told('hub_refusals_total{code="model_unknown"}')).toBe(1)
  expect(told('hub_egress_bytes_total{direction="out"}')).toBeGreaterThan(100)
  expect(told('hub_egress_bytes_total{direction="in"}')).toBeGreaterThan(100)
  expect([...after.keys()].filter((name) => name.includes('seen-model'))).toEqual([])
})

test('S0-12: mode, lease and heartbeat are those of the hub', async () => {
  await h.lease({ intervalMs: 20_000, heartbeatAgeMs: 5000, deadlineInMs: 60_000 })
  const fresh = await scrape()
  expect(fresh.get('hub_mode{mode="normal"}')).toBe(1)
  expect(fresh.get('hub_lease_age_seconds')).toBeLessThan(5)
  await h.clock.advance(65_000)
  const lapsed = await scrape()
  expect(lapsed.get('hub_lease_remaining_seconds')).toBeLessThan(0)
  expect(lapsed.get('hub_heartbeat_age_seconds')).toBeGreaterThan(70)
  expect(lapsed.get('hub_heartbeat_deadline_seconds')).toBeLessThan(0)
  expect([lapsed.get('hub_mode{mode="normal"}'), lapsed.get('hub_mode{mode="safe"}')]).toEqual([0, 1])
  expect(lapsed.get('hub_condition{condition="lease_lapsed"}')).toBe(1)
  await h.lease()
  expect((await scrape()).get('hub_mode{mode="normal"}')).toBe(1)
})

test('S0-12: what an agent or a stranger writes makes no series, and each series is of the table', async () => {
  const alice = running('alice')
  const before = await scrape()
  for (const word of ['never"seen', 'x'.repeat(60), 'hub_fake 1']) {
    await h.pumped(alice.send({ kind: 'event', to: `topic:${word}`, type: word }))
    await h.pumped(alice.send({ kind: 'request', to: `agent:${word}`, type: word, body: { [word]: word } }))
    await h.operator('POST', '/v1/tasks', { agent: word, params: { [word]: word } })
  }
  const after = await scrape()
  const added = [...after.keys()].filter((name) => !before.has(name))
  // A row of the rules' answers appears with its first answer; its words are those of the operations.
  expect(
    added.filter((name) => !/^hub_decisions_total\{action="[a-z.]+",result="(allow|ask|deny)"\}$/.test(name)),
  ).toEqual([])
  for (const name of after.keys()) {
    const [metric = ''] = name.split('{')
    const defined = Object.keys(METRICS).find(
      (each) => each === metric.replace(/_(bucket|sum|count)$/, '') || each === metric,
    )
    expect(defined, name).toBeDefined()
    const labels = [...name.matchAll(/(\w+)="/g)].map(([, label]) => label).filter((label) => label !== 'le')
    expect(labels, name).toEqual(Object.keys((METRICS[defined as MetricName] as { labels?: object }).labels ?? {}))
  }
  const shown = new Set([...after.keys()].map((name) => name.split('{')[0]?.replace(/_(bucket|sum|count)$/, '')))
  expect(
    Object.keys(METRICS).filter((name) => !shown.has(name) && !shown.has(name.replace(/_(sum|count)$/, ''))),
  ).toEqual([])
})

test('S0-12: however often somebody asks, the text is made once a second', async () => {
  await h.clock.advance(1000)
  const ask = () => h.pumped(send(port, { path: '/metrics' }), 0)
  const texts = (await Promise.all(Array.from({ length: 5 }, ask))).map(({ text }) => text)
  expect(new Set(texts).size).toBe(1)
  await h.clock.advance(1000)
  expect((await ask()).text).not.toBe(texts[0])
})

const TOOLS = prometheusTools()
interface Rule {
  alert: string
  expr: string
  annotations: { summary: string; do: string }
}
const RULES = (
  parse(readFileSync(join(OBSERVE, 'alerts.yml'), 'utf8')) as { groups: { rules: Rule[] }[] }
).groups.flatMap(({ rules }) => rules)
const DASHBOARD = JSON.parse(readFileSync(join(OBSERVE, 'dashboard.json'), 'utf8')) as {
  panels: { title: string; targets?: { expr: string }[] }[]
}
const QUERIES = DASHBOARD.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const))

test('S0-12: each rule says what to do, in words that the command has', () => {
  const words = new Set(
    COMMANDS.map(({ words }) =>
      words
        .split(' ')
        .filter((word) => /^[a-z]/.test(word))
        .join(' '),
    ),
  )
  for (const { alert, annotations } of RULES)
    for (const [, command = ''] of `${annotations.do};`.matchAll(/\bhub ([a-z ]*[a-z])(?=;| --| \()/g))
      expect(words, `${alert}: hub ${command}`).toContain(command)
})

test('S0-12: dashboard and rules ask for nothing that is not in the table', () => {
  const asked = [...QUERIES.map(([, expr]) => expr), ...RULES.map(({ expr }) => expr)].flatMap((expr) => [
    ...expr.matchAll(/\b(?:hub|process)_[a-z_]+/g),
  ])
  const names = new Set(asked.map(([name]) => name))
  expect(names.size).toBeGreaterThan(20)
  for (const name of names)
    expect(Object.hasOwn(METRICS, name) || Object.hasOwn(METRICS, name.replace(/_(bucket|sum|count)$/, '')), name).toBe(
      true,
    )
})

/** What makes each rule fire: series of a minute's step, and when to look. Each must be silent before. */
const FIRES: Readonly<Record<string, readonly [at: string, ...series: (readonly [string, string])[]]>> = {
  HubDown: ['5m', ['up{job="hub"}', '0x60']],
  HubNotNormal: ['20m', ['hub_mode{mode="safe"}', '1x60'], ['hub_mode{mode="normal"}', '0x60']],
  HubCriticalAlert: ['1m', ['hub_alerts_open{severity="critical"}', '2x60']],
  HubLeaseGone: ['10m', ['hub_lease_remaining_seconds{job="hub"}', '-1x60'], ['up{job="hub"}', '1x60']],
  HubHeartbeatDue: ['1m', ['hub_heartbeat_deadline_seconds', '3000x60']],
  HubMailboxFills: ['10m', ['hub_mailbox_fullest{agent="bob"}', '400x60']],
  HubMailboxStands: ['10m', ['hub_mailbox_oldest_seconds{agent="bob"}', '700x60']],
  HubQueueStands: [
    '70m',
    ['hub_tasks{state="queued"}', '3x90'],
    ['hub_dispatch_seconds_count{phase="create"}', '7x90'],
  ],
  HubStartsSlowly: [
    '40m',
    ['hub_dispatch_seconds_bucket{phase="create",le="10"}', '0x60'],
    ['hub_dispatch_seconds_bucket{phase="create",le="30"}', '0+10x60'],
    ['hub_dispatch_seconds_bucket{phase="create",le="+Inf"}', '0+10x60'],
  ],
  HubEngineSlow: [
    '40m',
    ['hub_engine_seconds_bucket{verb="list",le="5"}', '0x60'],
    ['hub_engine_seconds_bucket{verb="list",le="10"}', '0+10x60'],
    ['hub_engine_seconds_bucket{verb="list",le="+Inf"}', '0+10x60'],
  ],
  HubCommitsSlowly: [
    '40m',
    ['hub_commit_seconds_bucket{le="0.25"}', '0x60'],
    ['hub_commit_seconds_bucket{le="0.5"}', '0+10x60'],
    ['hub_commit_seconds_bucket{le="+Inf"}', '0+10x60'],
  ],
  HubLags: [
    '40m',
    ['hub_event_loop_lag_seconds_bucket{le="1"}', '0x60'],
    ['hub_event_loop_lag_seconds_bucket{le="5"}', '0+60x60'],
    ['hub_event_loop_lag_seconds_bucket{le="+Inf"}', '0+60x60'],
  ],
  HubRefusesOften: ['20m', ['hub_refusals_total{code="policy_denied"}', '0+600x60']],
  HubAuditWaits: ['10m', ['hub_audit_waiting', '4x60']],
  HubAlertsFlap: ['30m', ['hub_alerts_total{kind="lease_lapsed",severity="warning"}', '0+1x60']],
  HubMoneyNearlySpent: [
    '1m',
    ['hub_money_day_spent_micro_usd', '8000000x60'],
    ['hub_money_day_limit_micro_usd', '10000000x60'],
  ],
  HubUpstreamPaused: ['10m', ['hub_upstream_paused{upstream="anthropic"}', '1x60']],
  HubChannelFails: ['10m', ['hub_alert_channel_failures{channel="file"}', '9x60']],
}

describe.skipIf(TOOLS === undefined)("with Debian's Prometheus (needs it: scripts/observe/prometheus up)", () => {
  const folder = mkdtempSync(join(tmpdir(), 'prom-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const promtool = (...words: string[]) => execFileSync(join(TOOLS ?? '', 'promtool'), words, { encoding: 'utf8' })

  test('S0-12: promtool accepts rules, configuration and the text itself, and each rule fires when it should', async () => {
    const { text } = await h.pumped(send(port, { path: '/metrics' }))
    execFileSync(join(TOOLS ?? '', 'promtool'), ['check', 'metrics'], { input: text })
    expect(promtool('check', 'config', join(OBSERVE, 'prometheus.yml'))).toContain(`${RULES.length} rules found`)
    expect(Object.keys(FIRES).sort()).toEqual(RULES.map(({ alert }) => alert).sort())
    // Annotations and labels are not what is judged: they are taken from the rule.
    const tests = Object.entries(FIRES).map(([alertname, [eval_time, ...series]]) => ({
      interval: '1m',
      input_series: series.map(([name, values]) => ({ series: name, values })),
      promql_expr_test: [
        {
          expr: `count(ALERTS{alertname="${alertname}",alertstate="firing"})`,
          eval_time,
          exp_samples: [{ labels: '{}', value: 1 }],
        },
      ],
    }))
    const quiet = {
      interval: '1m',
      input_series: [
        ...[
          ['up{job="hub"}', '1x90'],
          ['hub_lease_remaining_seconds{job="hub"}', '60x90'],
          ['hub_mode{mode="normal"}', '1x90'],
          ['hub_mode{mode="safe"}', '0x90'],
        ],
        ...[
          // A thousand for ten sessions is no full mailbox.
          ['hub_mailbox_depth{agent="bob"}', '1000x90'],
          ['hub_mailbox_fullest{agent="bob"}', '100x90'],
          ['hub_tasks{state="queued"}', '3x90'],
          ['hub_dispatch_seconds_count{phase="create"}', '0+1x90'],
        ],
        ...[
          // A hub without an upstream has no limit; one with has money left.
          ['hub_money_day_spent_micro_usd', '7999999x90'],
          ['hub_money_day_limit_micro_usd', '10000000x90'],
          ['hub_upstream_paused{upstream="anthropic"}', '0x90'],
        ],
        // A stop may wait out its grace, and every question is an alert.
        ...[
          ['hub_engine_seconds_bucket{verb="stop",le="10"}', '0x90'],
          ['hub_engine_seconds_bucket{verb="stop",le="+Inf"}', '0+10x90'],
          ['hub_alerts_total{kind="question",severity="warning"}', '0+5x90'],
          ['hub_alerts_total{kind="disk_low",severity="warning"}', '1x90'],
        ],
      ].map(([series, values]) => ({ series, values })),
      promql_expr_test: [{ expr: 'count(ALERTS)', eval_time: '80m', exp_samples: [] }],
    }
    const file = join(folder, 'rules-test.yml')
    writeFileSync(file, JSON.stringify({ rule_files: [join(OBSERVE, 'alerts.yml')], tests: [...tests, quiet] }))
    expect(promtool('test', 'rules', file)).toContain('SUCCESS')
  })

  test('S0-12: Prometheus reads the hub; every query of the dashboard and every rule answers', async () => {
    await using prometheus = await startPrometheus({ tools: TOOLS ?? '', port, rules: join(OBSERVE, 'alerts.yml') })
    const { api } = prometheus
    const answerTo = async (expr: string) => {
      const asked = expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', 'hub')
      const { status, data } = await api<{ result: unknown[] }>(`/api/v1/query?query=${encodeURIComponent(asked)}`)
      return status === 'success' ? data.result.length : -1
    }
    const until = async (check: () => Promise<boolean>) => {
      // Prometheus is told by time what it should do, and the hub's time moves with it.
      while (!(await check().catch(() => false))) {
        await h.clock.advance(500)
        await new Promise((done) => setTimeout(done, 50))
      }
    }
    // A query of a rate needs two scrapes.
    await until(async () => (await answerTo('count_over_time(up{job="hub"}[1m]) > 3')) === 1)
    expect(QUERIES.length).toBeGreaterThan(30)
    for (const [title, expr] of QUERIES) {
      let found = -1
      await until(async () => {
        found = await answerTo(expr)
        return found !== 0
      })
      expect(found, `${title}: ${expr}`).toBeGreaterThan(0)
    }
    const rules = async () =>
      (await api<{ groups: { rules: { name: string; health: string }[] }[] }>('/api/v1/rules')).data.groups.flatMap(
        (group) => group.rules,
      )
    await until(async () => (await rules()).every(({ health }) => health !== 'unknown'))
    expect((await rules()).map(({ name, health }) => [name, health])).toEqual(RULES.map(({ alert }) => [alert, 'ok']))
  })
})
