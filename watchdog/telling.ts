/** What a round tells: the operator by findings, the contact by the condition table; and the state that remembers both. Pure. */
import { type AlertEvent, planAlerts } from './alert-plan.ts'
import type { Config } from './config.ts'
import type { Judgement } from './judge.ts'
import type { Heard } from './lease.ts'
import { type Notice, planNotices } from './notices/plan.ts'
import type { State } from './state.ts'
import { planDeadlines } from './timeline.ts'

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
