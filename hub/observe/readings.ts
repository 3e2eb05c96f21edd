/**
 * Reads every metric of the table from where it is counted.
 *
 * Q1. A label never holds what an agent or a stranger chose: names of agents are those of loaded cards with a session, at most as many as
 *     there are places for sessions; names of channels and upstreams are those of hub.yaml, and of models those with a price; all others are
 *     words of the hub's own tables.
 * Q2. What cannot be read, such as rows of a database that fails, is left out. A figure is never made up.
 */
import type { Clock } from '../base/clock.ts'
import type { Spread } from '../base/meters.ts'
import type { EgressMeters } from '../edge/egress/records.ts'
import { mayBeCritical } from '../guard/alerts/kinds.ts'
import type { Guard } from '../guard/guard.ts'
import { CONDITIONS, type ConditionName, MODES } from '../guard/modes.ts'
import { sessionMachine } from '../protocol/task.ts'
import { DISPATCH_PHASES } from '../work/meters.ts'
import { ENGINE_VERBS } from '../work/sandbox/engine-timing.ts'
import type { Work } from '../work/work.ts'
import { type METRICS, type MetricName, STATES_OF_AGENTS } from './table.ts'

/** A value, and the labels in the order of the definition. */
export type Sample<Value> = readonly [Value, ...string[]]
export type Readings = {
  [Name in MetricName]: readonly Sample<(typeof METRICS)[Name]['type'] extends 'histogram' ? Spread : number>[]
}

export interface MetricsParts {
  version: string
  clock: Clock
  guard: Pick<Guard, 'alertDelivery' | 'alerts' | 'audit' | 'lease' | 'meters' | 'modes'>
  work: Pick<Work, 'catalogue' | 'messaging' | 'meters' | 'money' | 'tasks'>
  /** What the way outward counts; asked once the hub is built. */
  egress: () => EgressMeters
}

/** What reads the rows of a database that may fail (Q2). */
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

/** Of what agents reach outside, and what that costs. Money is left out where no upstream is declared. */
function ofOutside({ work, egress }: MetricsParts) {
  const { money } = work
  const { bytesIn, bytesOut, leaks, open, requests, turnedAway } = egress()
  const declared = money.declared()
  const [day] = readable(() => (declared.length === 0 ? [] : [money.dayNow()]))
  const one = (value: number | null | undefined): Sample<number>[] => (typeof value === 'number' ? [[value]] : [])
  const models = money.meters.all()
  return {
    hub_money_day_spent_micro_usd: one(day?.spentUsd),
    hub_money_day_estimated_micro_usd: one(day?.estimatedUsd),
    hub_money_day_reserved_micro_usd: one(day?.heldUsd),
    hub_money_day_limit_micro_usd: one(day?.limitUsd),
    hub_money_waiting: one(day?.waiting),
    hub_model_calls_total: models.flatMap(({ upstream, model, calls }) =>
      Object.entries(calls).map(([result, count]) => [count, upstream, model, result] as const),
    ),
    hub_model_cost_micro_usd_total: models.flatMap(({ upstream, model, usd }) =>
      Object.entries(usd).map(([basis, micro]) => [micro, upstream, model, basis] as const),
    ),
    hub_model_tokens_total: models.flatMap(({ upstream, model, input, output }) => [
      [input, upstream, model, 'in'] as const,
      [output, upstream, model, 'out'] as const,
    ]),
    hub_upstream_paused: readable(() => {
      const paused = new Set(money.quota.list().map((each) => each.upstream))
      return declared.map((name) => [Number(paused.has(name)), name] as const)
    }),
    hub_egress_open: [[open]],
    hub_egress_requests_total: pairs(requests.counts),
    hub_egress_bytes_total: [
      [bytesIn, 'in'],
      [bytesOut, 'out'],
    ],
    hub_egress_turned_away_total: [[turnedAway]],
    hub_egress_leaks_total: [[leaks]],
  } satisfies Partial<Readings>
}

/** Reads all of it now. */
export function readMetrics(parts: MetricsParts, startedMs: number): Readings {
  const { user, system } = process.cpuUsage()
  return {
    hub_build_info: [[1, parts.version, process.version]],
    ...ofGuard(parts),
    ...ofWork(parts),
    ...ofOutside(parts),
    process_start_time_seconds: [[startedMs / MS]],
    process_cpu_seconds_total: [[(user + system) / 1_000_000]],
    process_resident_memory_bytes: [[process.memoryUsage.rss()]],
  }
}
