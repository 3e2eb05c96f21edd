/**
 * What must be told, given the open alerts and the findings of now (X5): raised once per cause, louder only when it grows
 * worse, resolved once. Pure; the open ones and the number of the telling persist in the state, so a restart neither repeats nor forgets.
 */

import type { Config } from '../config/config.ts'
import type { Finding } from '../judge/findings.ts'
import type { Judgement } from '../judge/judge.ts'
import type { Heard } from '../judge/lease.ts'
import type { State } from '../judge/state.ts'
import { planDeadlines } from '../judge/timeline.ts'
import { type Notice, planNotices } from './notices/plan.ts'

export interface AlertEvent {
  /** The same for the same event told again after a crash: number of the telling, finding, event and level. */
  readonly id: string
  readonly event: 'raised' | 'louder' | 'resolved'
  readonly finding: string
  readonly level: number
  readonly severity: 'warning' | 'critical'
  readonly text: string
  /** How long the cause has been there. */
  readonly forMs: number
}

/** A telling's number as ids show it. It starts high, so that a lost state repeats none; in plain digits it would look like an instant (fault G11). */
export const tellingName = (told: number): string => `w${told.toString(36)}`

export function planAlerts(
  { alerts: open, told, lineMs }: Pick<State, 'alerts' | 'told' | 'lineMs'>,
  findings: readonly Finding[],
): { alerts: State['alerts']; events: readonly AlertEvent[] } {
  const events: AlertEvent[] = []
  const add = (event: AlertEvent['event'], finding: Omit<AlertEvent, 'id' | 'event' | 'forMs'>, sinceMs: number) => {
    const id = `${tellingName(told)}-${finding.finding}-${event}-${finding.level}`
    events.push({ id, event, ...finding, forMs: Math.max(0, lineMs - sinceMs) })
  }
  const alerts: Record<string, { level: number; sinceMs: number }> = {}
  for (const { id: finding, level, severity, text } of findings) {
    const known = open[finding]
    const sinceMs = known?.sinceMs ?? lineMs
    if (known === undefined) add('raised', { finding, level, severity, text }, sinceMs)
    else if (level > known.level) add('louder', { finding, level, severity, text }, sinceMs)
    alerts[finding] = { level, sinceMs }
  }
  for (const [finding, { level, sinceMs }] of Object.entries(open)) {
    if (alerts[finding] !== undefined) continue
    const text = `Resolved: ${finding.replaceAll('_', ' ')}.`
    add('resolved', { finding, level, severity: 'warning', text }, sinceMs)
  }
  return { alerts, events }
}

// What a round tells: the operator by findings, the contact by the condition table; and the state that remembers both. Pure.

export interface Told {
  readonly state: State
  readonly events: readonly AlertEvent[]
  readonly notices: readonly Notice[]
}

export function planTelling(
  { state, findings }: Pick<Judgement, 'state' | 'findings'>,
  heard: Heard,
  config: Config,
): Told {
  const alerts = planAlerts(state, findings)
  const p = state.presence
  const hubHolds = heard.kind === 'answer' ? heard.answer.conditions : []
  const contact =
    config.contact.channels.length === 0
      ? { told: state.contactTold, notices: [] }
      : planNotices(state.contactTold, {
          findings,
          lineMs: state.lineMs,
          wallMs: state.mark.wallMs,
          presence: p,
          stopAtMs: Math.max(planDeadlines(p, config).stopAtMs, p.wakeUntilMs ?? 0),
          hubCritical: hubHolds.includes('critical_alert'),
          hubPaused: hubHolds.includes('operator_request'),
        })
  const told = alerts.events.length + contact.notices.length > 0 ? state.told + 1 : state.told
  return {
    state: { ...state, alerts: alerts.alerts, told, contactTold: contact.told },
    events: alerts.events,
    notices: contact.notices,
  }
}
