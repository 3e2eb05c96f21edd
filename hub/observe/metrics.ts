/**
 * The hub's metrics (S0-12): one table says what each means, and one function reads them. The rings only count (`hub/base/meters.ts`); here,
 * when somebody asks, their numbers are put into words by prom-client, which is loaded with the first question.
 *
 * Q1. A label never holds what an agent or a stranger chose: names of agents are those of loaded cards with a session, at most as many as
 *     there are places for sessions; names of channels are those of hub.yaml; all others are words of the hub's own tables.
 * Q2. A text is made at most once a second. Whoever asks meanwhile gets the last one, so questions cost the hub nothing, however many come.
 * Q3. What cannot be read, such as rows of a database that fails, is left out. A figure is never made up.
 * Q4. Only OpenMetrics can hold exemplars: a time of a histogram with the ids of the step in which it was measured. There is one for each
 *     bucket where traces are kept. The plain text never changes for that.
 */
import type { Metric, RegistryContentType } from 'prom-client'
import type { Clock } from '../base/clock.ts'
import type { Spread } from '../base/meters.ts'
import { mayBeCritical } from '../guard/alerts/kinds.ts'
import type { Guard } from '../guard/guard.ts'
import { CONDITIONS, type ConditionName, MODES } from '../guard/modes.ts'
import { sessionMachine } from '../protocol/task.ts'
import { DISPATCH_PHASES } from '../work/meters.ts'
import type { AgentState } from '../work/registry.ts'
import { ENGINE_VERBS } from '../work/sandbox/engine-timing.ts'
import type { Work } from '../work/work.ts'

export interface Definition {
  type: 'gauge' | 'counter' | 'histogram'
  /** For the text and the reference page. */
  help: string
  labels?: Readonly<Record<string, string>>
}

const STATES_OF_AGENTS = ['registered', 'unhealthy', 'halted', 'suspended'] as const satisfies readonly AgentState[]

/** Every metric, in the order in which it is shown. Units are in the names: seconds, bytes, or a plain count. */
export const METRICS = {
  hub_build_info: {
    type: 'gauge',
    help: 'always 1; what runs',
    labels: { version: 'of the hub', node: 'version of Node' },
  },
  hub_mode: { type: 'gauge', help: '1 for the mode that the hub is in, else 0', labels: { mode: MODES.join(', ') } },
  hub_condition: {
    type: 'gauge',
    help: '1 while this condition holds, else 0',
    labels: { condition: 'each of the page on conditions' },
  },
  hub_lease_age_seconds: { type: 'gauge', help: "age of the watchdog's last lease; missing before the first" },
  hub_lease_remaining_seconds: { type: 'gauge', help: 'what is left of the lease; below 0 nothing new starts' },
  hub_heartbeat_age_seconds: { type: 'gauge', help: "time since the operator's last heartbeat, as the lease tells it" },
  hub_heartbeat_deadline_seconds: { type: 'gauge', help: 'time until safe mode for want of a heartbeat' },
  hub_alerts_open: { type: 'gauge', help: 'alerts that are open', labels: { severity: 'critical, warning, info' } },
  hub_alerts_total: {
    type: 'counter',
    help: 'alerts that were opened since the hub began, or became more serious',
    labels: { kind: 'first word of the cause', severity: 'critical, warning, info' },
  },
  hub_alert_channel_waiting: {
    type: 'gauge',
    help: 'messages that wait for this channel',
    labels: { channel: 'name of the channel in hub.yaml' },
  },
  hub_alert_channel_failures: {
    type: 'gauge',
    help: 'tries of this channel that failed since one succeeded',
    labels: { channel: 'name of the channel in hub.yaml' },
  },
  hub_tasks: {
    type: 'gauge',
    help: 'tasks that have not ended, without those of services',
    labels: { state: 'queued, held, running' },
  },
  hub_tasks_ended_total: {
    type: 'counter',
    help: 'tasks that ended since the hub began',
    labels: { state: 'succeeded, failed, cancelled, timed_out' },
  },
  hub_dispatch_seconds: {
    type: 'histogram',
    help: 'time until a session works. queue: from the request to a place for it (first attempts); create: until its container is started; join: until its program has joined',
    labels: { phase: DISPATCH_PHASES.join(', ') },
  },
  hub_engine_seconds: {
    type: 'histogram',
    help: 'time of one call to the container engine, also of one that failed',
    labels: { verb: ENGINE_VERBS.join(', ') },
  },
  hub_agents: {
    type: 'gauge',
    help: 'agents whose cards are loaded',
    labels: { state: STATES_OF_AGENTS.join(', ') },
  },
  hub_sessions: {
    type: 'gauge',
    help: 'sessions that may still have a container',
    labels: { state: 'each state of a session but recycled' },
  },
  hub_mailbox_depth: {
    type: 'gauge',
    help: 'deliveries that wait for the sessions of this agent',
    labels: { agent: 'name of an agent with a session' },
  },
  hub_mailbox_fullest: {
    type: 'gauge',
    help: 'deliveries that wait for one session of this agent: the one for which most do',
    labels: { agent: 'name of an agent with a session' },
  },
  hub_mailbox_oldest_seconds: {
    type: 'gauge',
    help: 'how long the oldest of them has waited',
    labels: { agent: 'name of an agent with a session' },
  },
  hub_mailbox_bytes: { type: 'gauge', help: 'memory of all deliveries that wait' },
  hub_messages_total: {
    type: 'counter',
    help: 'messages of agents since the hub began',
    labels: { kind: 'kind of the message', result: 'accepted, refused' },
  },
  hub_message_delivery_seconds: {
    type: 'histogram',
    help: 'time from the commit of a delivery until its recipient has confirmed it',
  },
  hub_decisions_total: {
    type: 'counter',
    help: 'answers of the rules since the hub began, remembered ones too',
    labels: { action: 'name of the operation, once the rules were asked about it', result: 'allow, ask, deny' },
  },
  hub_decision_seconds: { type: 'histogram', help: 'time of one question to the rules that was not remembered' },
  hub_refusals_total: {
    type: 'counter',
    help: 'refusals since the hub began, also those that are only part of a summed record',
    labels: { code: 'each of the page on errors' },
  },
  hub_audit_records_total: { type: 'counter', help: 'records in the audit log, of all its time' },
  hub_audit_waiting: { type: 'gauge', help: 'records that wait in memory because the store fails' },
  hub_audit_record_seconds: { type: 'histogram', help: 'time of one audit record within its transaction' },
  hub_commit_seconds: { type: 'histogram', help: 'time of one commit of the database, until the disk has it' },
  hub_event_loop_lag_seconds: {
    type: 'histogram',
    help: 'how late the loop of the process came that looks once a second',
  },
  process_start_time_seconds: { type: 'gauge', help: 'when the process began, seconds since 1970' },
  process_cpu_seconds_total: { type: 'counter', help: 'processor time of the process' },
  process_resident_memory_bytes: { type: 'gauge', help: 'resident memory of the process' },
} as const satisfies Record<string, Definition>
export type MetricName = keyof typeof METRICS

/** A value, and the labels in the order of the definition. */
type Sample<Value> = readonly [Value, ...string[]]
type Readings = {
  [Name in MetricName]: readonly Sample<(typeof METRICS)[Name]['type'] extends 'histogram' ? Spread : number>[]
}

export interface MetricsParts {
  version: string
  clock: Clock
  guard: Pick<Guard, 'alertDelivery' | 'alerts' | 'audit' | 'lease' | 'meters' | 'modes'>
  work: Pick<Work, 'catalogue' | 'messaging' | 'meters' | 'tasks'>
}

/** What reads the rows of a database that may fail (Q3). */
function readable<Found>(read: () => readonly Found[]): readonly Found[] {
  try {
    return read()
  } catch {
    return []
  }
}

const pairs = <Name extends string>(counts: Readonly<Record<Name, number>>): Sample<number>[] =>
  Object.entries<number>(counts).map(([name, count]) => [count, name])

type Cells = Readonly<Record<string, Readonly<Record<string, number>>>>
const cells = (counts: Cells): (readonly [number, string, string])[] =>
  Object.entries(counts).flatMap(([row, columns]) =>
    Object.entries(columns).map(([column, count]) => [count, row, column] as const),
  )
/** Of a table with many rows, those in which anything was counted. */
const usedCells = (counts: Cells): Sample<number>[] =>
  cells(Object.fromEntries(Object.entries(counts).filter(([, row]) => Object.values(row).some((count) => count > 0))))

const countBy = <Name extends string>(names: readonly Name[], found: readonly Name[]): Sample<number>[] =>
  names.map((name) => [found.filter((each) => each === name).length, name])

const MS = 1000

/** Of the guard: modes, the operator's presence, alerts, rules and record. */
function ofGuard({ guard }: MetricsParts) {
  const { alertDelivery, alerts, audit, lease, meters, modes } = guard
  const mode = modes.current()
  const channels = readable(alertDelivery.states)
  const ageMs = lease.ageMs()
  const state = lease.state()
  const seconds = (ms: number | undefined): Sample<number>[] => (ms === undefined ? [] : [[ms / MS]])
  return {
    hub_mode: MODES.map((each) => [Number(each === mode), each] as const),
    hub_condition: (Object.keys(CONDITIONS) as ConditionName[]).map((each) => [Number(modes.has(each)), each] as const),
    hub_lease_age_seconds: seconds(ageMs),
    hub_lease_remaining_seconds: seconds(state?.remainingMs),
    hub_heartbeat_age_seconds: seconds(state?.heartbeatAgeMs),
    hub_heartbeat_deadline_seconds: seconds(state?.deadlineInMs),
    hub_alerts_open: countBy(
      ['critical', 'warning', 'info'],
      alerts.list().map(({ severity }) => severity),
    ),
    hub_alerts_total: cells(meters.alerts.counts).filter(
      ([count, kind, severity]) =>
        count > 0 || severity === 'warning' || (severity === 'critical' && mayBeCritical(kind)),
    ),
    hub_alert_channel_waiting: channels.map(({ channel, waiting }) => [waiting, channel] as const),
    hub_alert_channel_failures: channels.map(({ channel, failedInARow }) => [failedInARow, channel] as const),
    hub_decisions_total: usedCells(meters.decisions.counts),
    hub_decision_seconds: [[meters.ruleSeconds]],
    hub_refusals_total: pairs(meters.refusals.counts),
    hub_audit_records_total: readable(() => [[audit.head().size]]),
    hub_audit_waiting: readable(() => [[audit.bufferState().size]]),
    hub_audit_record_seconds: [[meters.recordSeconds]],
    hub_commit_seconds: [[meters.commitSeconds]],
    hub_event_loop_lag_seconds: [[meters.lagSeconds]],
  } satisfies Partial<Readings>
}

/** Of the work: tasks, agents, sessions and messages. */
function ofWork({ work }: MetricsParts) {
  const { catalogue, messaging, meters, tasks } = work
  const { mailboxes } = messaging
  const open = readable(tasks.sessionsBrief)
  const byAgent = new Map<string, { depth: number; fullest: number; oldestMs: number }>()
  for (const { id, agent } of open) {
    const all = byAgent.get(agent) ?? { depth: 0, fullest: 0, oldestMs: 0 }
    const depth = mailboxes.depth(id)
    all.depth += depth
    all.fullest = Math.max(all.fullest, depth)
    all.oldestMs = Math.max(all.oldestMs, mailboxes.oldestMs(id))
    byAgent.set(agent, all)
  }
  const states = sessionMachine.states
  return {
    hub_tasks: readable((): Sample<number>[] => {
      const { queued = 0, running = 0 } = tasks.countByState()
      const held = tasks.countHeld()
      return [
        [queued - held, 'queued'],
        [held, 'held'],
        [running, 'running'],
      ]
    }),
    hub_tasks_ended_total: pairs(meters.ended.counts),
    hub_dispatch_seconds: DISPATCH_PHASES.map((phase) => [meters.dispatchSeconds[phase], phase] as const),
    hub_engine_seconds: ENGINE_VERBS.map((verb) => [meters.engineSeconds[verb], verb] as const),
    hub_agents: countBy(
      STATES_OF_AGENTS,
      readable(() => catalogue.registry.list().map(({ state }) => state)),
    ),
    hub_sessions: countBy(
      states.filter((state) => state !== 'recycled'),
      open.map(({ state }) => state),
    ),
    hub_mailbox_depth: [...byAgent].map(([agent, { depth }]) => [depth, agent] as const),
    hub_mailbox_fullest: [...byAgent].map(([agent, { fullest }]) => [fullest, agent] as const),
    hub_mailbox_oldest_seconds: [...byAgent].map(([agent, { oldestMs }]) => [oldestMs / MS, agent] as const),
    hub_mailbox_bytes: [[mailboxes.bytes()]],
    hub_messages_total: cells(meters.messages.counts),
    hub_message_delivery_seconds: [[meters.deliverySeconds]],
  } satisfies Partial<Readings>
}

/** Reads all of it now. */
function readMetrics(parts: MetricsParts, startedMs: number): Readings {
  const { user, system } = process.cpuUsage()
  return {
    hub_build_info: [[1, parts.version, process.version]],
    ...ofGuard(parts),
    ...ofWork(parts),
    process_start_time_seconds: [[startedMs / MS]],
    process_cpu_seconds_total: [[(user + system) / 1_000_000]],
    process_resident_memory_bytes: [[process.memoryUsage.rss()]],
  }
}

const named = (labels: Definition['labels'], values: readonly string[]): Record<string, string> =>
  Object.fromEntries(Object.keys(labels ?? {}).map((name, at) => [name, values[at] ?? '']))

/** A line of the text; without a name of its own it has that of its metric. */
interface Line {
  metricName?: string
  labels: Record<string, string | number>
  value: number
  exemplar?: { labelSet: Record<string, string>; value: number; timestamp: number } | undefined
}

/** Written by the library only in OpenMetrics. */
function exemplarOf({ examples }: Spread, at: number): Line['exemplar'] {
  const found = examples.get(at)
  if (found === undefined) return undefined
  const labelSet = { trace_id: found.traceId, span_id: found.spanId }
  return { labelSet, value: found.seconds, timestamp: found.atMs / 1000 }
}

/** The lines of a histogram, as the library's own would give them. */
function linesOf(name: string, labels: Record<string, string>, spread: Spread): Line[] {
  let count = 0
  const buckets = spread.counts.map((each, at) => {
    count += each
    const le = spread.bounds[at] ?? '+Inf'
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count, exemplar: exemplarOf(spread, at) }
  })
  const whole = [
    { metricName: `${name}_sum`, labels, value: spread.sum() },
    { metricName: `${name}_count`, labels, value: count },
  ]
  return [...buckets, ...whole]
}

// The registry alone: the whole package loads node:cluster and node:http with it, 15 MiB.
const loadRegistry = () => import('prom-client/lib/registry.js')

export type Format = 'prometheus' | 'openmetrics'

/** Loads the library, and answers what makes one text of what `read` finds. */
async function loadWriter(
  format: Format,
  read: () => Readings,
  load: typeof loadRegistry,
): Promise<{ type: string; write: () => Promise<string> }> {
  const { default: Registry } = await load()
  const isOpen = format === 'openmetrics'
  const registry = new Registry<RegistryContentType>()
  registry.setContentType(isOpen ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE)
  let readings = {} as Readings
  for (const [name, { type, help, labels }] of Object.entries<Definition>(METRICS) as [MetricName, Definition][]) {
    const valuesOf = ([value, ...rest]: Sample<Spread | number>): Line[] =>
      typeof value === 'number' ? [{ value, labels: named(labels, rest) }] : linesOf(name, named(labels, rest), value)
    // Of a counter, OpenMetrics names the family without `_total`, and the library adds it to each line.
    const shown = isOpen && type === 'counter' ? name.replace(/_total$/, '') : name
    // Its own metrics count by themselves, one look-up for each value; these show what the rings have counted.
    const get = async () => ({
      name: shown,
      help,
      type,
      values: (readings[name] as Sample<Spread | number>[]).flatMap(valuesOf),
      aggregator: 'sum',
    })
    registry.registerMetric({ name: shown, get } as unknown as Metric)
  }
  return {
    type: registry.contentType,
    write() {
      readings = read()
      return registry.metrics()
    },
  }
}

export interface MetricsText {
  type: string
  body: string
}

const MADE_FOR_MS = 1000

/** Answers what makes the text in one format (Q2). It throws what the library throws; one that could not be loaded is loaded again for the next text. */
function createText(format: Format, parts: MetricsParts, load: typeof loadRegistry): () => Promise<MetricsText> {
  const startedMs = parts.clock.wallMs()
  let writer: ReturnType<typeof loadWriter> | undefined
  let last: { atMs: number; text: Promise<MetricsText> } | undefined
  async function make(): Promise<MetricsText> {
    writer ??= loadWriter(format, () => readMetrics(parts, startedMs), load)
    writer.catch(() => {
      writer = undefined
    })
    const { type, write } = await writer
    return { type, body: await write() }
  }
  return () => {
    const atMs = parts.clock.monotonicMs()
    if (last === undefined || atMs - last.atMs >= MADE_FOR_MS) last = { atMs, text: make() }
    return last.text
  }
}

/** Answers what makes the text in a format. */
export function createMetrics(parts: MetricsParts, load = loadRegistry): (format?: Format) => Promise<MetricsText> {
  const texts = {
    prometheus: createText('prometheus', parts, load),
    openmetrics: createText('openmetrics', parts, load),
  }
  return (format = 'prometheus') => texts[format]()
}
