/** What each metric is (S0-12): type, meaning and labels. The text and the reference page are made from it. */
import { MODES } from '../guard/modes.ts'
import { DISPATCH_PHASES } from '../work/meters.ts'
import type { AgentState } from '../work/registry.ts'
import { ENGINE_VERBS } from '../work/sandbox/engine-timing.ts'

export interface Definition {
  type: 'gauge' | 'counter' | 'histogram'
  /** For the text and the reference page. */
  help: string
  labels?: Readonly<Record<string, string>>
}

export const STATES_OF_AGENTS = [
  'registered',
  'unhealthy',
  'halted',
  'suspended',
] as const satisfies readonly AgentState[]

const OF_MODEL = {
  upstream: 'name of an upstream of hub.yaml',
  model: 'name of a model with a price; `other` for those without one, and beyond 64 series',
}

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
  hub_money_day_spent_micro_usd: { type: 'gauge', help: 'spent today, in millionths of a US dollar' },
  hub_money_day_estimated_micro_usd: { type: 'gauge', help: 'the part of it that nobody measured' },
  hub_money_day_reserved_micro_usd: { type: 'gauge', help: 'reserved today by calls under way' },
  hub_money_day_limit_micro_usd: { type: 'gauge', help: 'what may be spent in a day; missing without a limit' },
  hub_money_waiting: { type: 'gauge', help: 'calls that wait for money that others have reserved' },
  hub_model_calls_total: {
    type: 'counter',
    help: 'metered calls that were settled since the hub began',
    labels: { ...OF_MODEL, result: 'measured, estimated (at its reserve), released (it cost nothing)' },
  },
  hub_model_cost_micro_usd_total: {
    type: 'counter',
    help: 'what they cost, in millionths of a US dollar; what the operator corrected later is not in it',
    labels: { ...OF_MODEL, basis: 'measured, estimated' },
  },
  hub_model_tokens_total: {
    type: 'counter',
    help: 'their tokens, without reads of a cache',
    labels: { ...OF_MODEL, direction: 'in, out' },
  },
  hub_upstream_paused: {
    type: 'gauge',
    help: '1 while its quota is used up, else 0',
    labels: { upstream: 'name of an upstream of hub.yaml' },
  },
  hub_egress_open: { type: 'gauge', help: 'requests and lines outward that are under way' },
  hub_egress_requests_total: {
    type: 'counter',
    help: 'requests and lines outward since the hub began, by how they ended',
    labels: { result: 'answered, refused (by list, rule or limit), failed, left (by its program)' },
  },
  hub_egress_bytes_total: {
    type: 'counter',
    help: 'bytes of bodies and lines since the hub began',
    labels: { direction: 'in, out' },
  },
  hub_egress_turned_away_total: {
    type: 'counter',
    help: 'connections that were turned away because their session had as many as it may',
  },
  hub_egress_leaks_total: { type: 'counter', help: 'how often a secret was masked in an answer from outside' },
  process_start_time_seconds: { type: 'gauge', help: 'when the process began, seconds since 1970' },
  process_cpu_seconds_total: { type: 'counter', help: 'processor time of the process' },
  process_resident_memory_bytes: { type: 'gauge', help: 'resident memory of the process' },
} as const satisfies Record<string, Definition>
export type MetricName = keyof typeof METRICS
