/** What an alert is: its row, its states, and the closed list of what may be critical (docs/safety.md 7). Pure. */
import { createMachine } from '../../base/machine.ts'

/** In rising order. */
export const SEVERITIES = ['info', 'warning', 'critical'] as const
export type Severity = (typeof SEVERITIES)[number]

/** Of an alert: whether any channel took it. Of a delivery: whether its channel did. An alert that is told again starts over. */
export type AlertState = 'raised' | 'sent' | 'given_up'
export const alertMachine = createMachine<AlertState>('alert', {
  raised: ['sent', 'given_up'],
  sent: ['raised'],
  given_up: ['sent', 'raised'],
})
export const deliveryMachine = createMachine<AlertState>('delivery', {
  raised: ['sent', 'given_up'],
  sent: [],
  given_up: [],
})

export interface Alert {
  readonly id: string
  /** `kind` or `kind:subject`; at most one alert of a cause is open. */
  readonly cause: string
  readonly severity: Severity
  readonly text: string
  readonly state: AlertState
  /** Critical, and keeps the hub in safe mode until `hub resume --alert ID`. */
  readonly holds: boolean
  /** For an event without an end of its own: it resolves once it was not raised again for this long. */
  readonly lastsMs: number | null
  readonly raisedAtMs: number
  readonly resolvedAtMs: number | null
}

export type AlertEvent = 'raised' | 'louder' | 'resolved'

/** One line of the outbox: what one channel has to tell. */
export interface Delivery {
  readonly id: string
  readonly alert: string
  readonly channel: string
  readonly event: AlertEvent
  /** The highest this alert had while the line waited: a critical one does not wait behind warnings. */
  readonly severity: Severity
  readonly text: string
  readonly state: AlertState
  readonly tries: number
  readonly createdAtMs: number
  readonly endedAtMs: number | null
  /** Why the last try failed. */
  readonly detail: string
}

/** What an alert may be about: the first word of its cause. The list is closed, because the metrics count by it. */
export const ALERT_KINDS = [
  'agent_breaker',
  'agent_unhealthy',
  'alerts_full',
  'approval',
  'artifact_corrupt',
  'artifacts_damaged',
  'audit_chain_broken',
  'audit_forward',
  'audit_unsealed',
  'budget_damaged',
  'budget_low',
  'cards_not_loaded',
  'channel_failing',
  'config_refused',
  'contact_drill_overdue',
  'contact_guessing',
  'contact_stop',
  'container_returned',
  'database_damaged',
  'disk_low',
  'drill_overdue',
  'egress_bytes',
  'egress_stopped',
  'engine_disk_low',
  'engine_unfit',
  'engine_unsupported',
  'flag_emergency',
  'image_unproven',
  'kill_unconfirmed',
  'lease_forged',
  'lease_lapsed',
  'lease_pending',
  'lease_refused',
  'loop_failing',
  'mode_degraded',
  'mode_draining',
  'mode_flapping',
  'mode_safe',
  'outbox_full',
  'placeholder_foreign',
  'policy_built_in',
  'policy_refused',
  'profile_mismatch',
  'question',
  'questions_waiting',
  'refused_often',
  'restart_needed',
  'secret_leaving',
  'service_refused',
  'session_reported',
  'session_stalled',
  'session_stopped',
  'session_users_shared',
  'unanswered',
  'upstream_exhausted',
  'upstream_refuses',
  'usage_above',
  'usage_odd',
  'witness_mismatch',
] as const
export type AlertKind = (typeof ALERT_KINDS)[number]
/** The kind alone, or with what it is about: an agent, a session, a file. */
export type Cause = AlertKind | `${AlertKind}:${string}`

/** Kinds of causes that may be critical. What an agent can provoke is not among them: it could stop the hub or wake the contact (S1-67). */
export const CRITICAL_KINDS: ReadonlySet<string> = new Set<AlertKind>([
  'audit_chain_broken',
  'database_damaged',
  'witness_mismatch',
  'profile_mismatch',
  'kill_unconfirmed',
  'secret_leaving',
  'lease_forged',
  'container_returned',
  'engine_unsupported',
])
/** These have a condition of their own, which already keeps the hub from starting anything and has its own end. */
const OWN_CONDITION: ReadonlySet<string> = new Set(['witness_mismatch', 'engine_unsupported'])

/** A critical alert that names a session is told at most this much later, because that session is contained and examined first (S1-67). */
export const CONTAIN_MS_MAX = 15_000

export function kindOf(cause: Cause): AlertKind
export function kindOf(cause: string): string
export function kindOf(cause: string): string {
  return cause.split(':', 1)[0] ?? ''
}
export const mayBeCritical = (cause: string): boolean => CRITICAL_KINDS.has(kindOf(cause))
export const holdsSafe = (cause: string, severity: Severity): boolean =>
  severity === 'critical' && !OWN_CONDITION.has(kindOf(cause))
export const isLouder = (severity: Severity, than: Severity): boolean =>
  SEVERITIES.indexOf(severity) > SEVERITIES.indexOf(than)
