/** What becomes of an alert that a runtime monitor posts (S1-77). Pure: `edge/routes/monitor.ts` asks, and acts on the answer. */
import { sessionIdShape } from './ids.ts'
import type { MonitorPost } from './operations.ts'

/** `recycled` alone does something. The others name why nothing was done. */
export const MONITOR_OUTCOMES = [
  'recycled',
  'already_ended',
  'resolved',
  'not_critical',
  'no_session',
  'bad_session',
  'unknown_session',
] as const
export type MonitorOutcome = (typeof MONITOR_OUTCOMES)[number]

export interface MonitorVerdict {
  /** Safe to show and to log. */
  alert: string
  session: string | null
  outcome: MonitorOutcome
}

const NAME_MAX = 80

/** Labels are a stranger's text: only plain characters of the name are kept, so that none passes for a line of the hub. */
const nameOf = (labels: Readonly<Record<string, string>>): string =>
  (Object.hasOwn(labels, 'alertname') ? (labels.alertname ?? '') : '')
    .replaceAll(/[^\w .:()/-]/g, '')
    .slice(0, NAME_MAX)

/**
 * One verdict for each alert of a post, in its order. `stateOf`: whether a session is live, has ended, or was never there. A session that
 * several alerts name is recycled by the first.
 */
export function judgeAlerts(
  { alerts }: Pick<MonitorPost, 'alerts'>,
  stateOf: (session: string) => 'live' | 'ended' | 'unknown',
): MonitorVerdict[] {
  const taken = new Set<string>()
  return alerts.map(({ status, labels }) => {
    const label = (key: string) => (Object.hasOwn(labels, key) ? labels[key] : undefined)
    const named = label('session')
    const session = named !== undefined && sessionIdShape.safeParse(named).success ? named : null
    const outcome = ((): MonitorOutcome => {
      if (status !== 'firing') return 'resolved'
      if (label('severity') !== 'critical') return 'not_critical'
      if (named === undefined) return 'no_session'
      if (session === null) return 'bad_session'
      const state = stateOf(session)
      if (state === 'unknown') return 'unknown_session'
      if (state === 'ended' || taken.has(session)) return 'already_ended'
      taken.add(session)
      return 'recycled'
    })()
    return { alert: nameOf(labels), session, outcome }
  })
}
