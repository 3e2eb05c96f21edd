/** The operator's presence as findings: the levels are the steps of safety.md section 3, the words those a person reads. Pure. */
import type { Reading } from './clock.ts'
import type { Config } from './config.ts'
import type { Finding } from './findings.ts'
import type { State } from './state.ts'
import { type Presence, planDeadlines } from './timeline.ts'
import { instantText, spanText } from './wording.ts'

/** Presence instant to words, in the operator's zone. */
type At = (presenceMs: number) => string

/** Level 1 and 2 are the reminders, 3 is the missed deadline. */
function dueFinding(p: Presence, at: At, config: Config): Finding[] {
  const plan = planDeadlines(p, config)
  const isMissed = p.safeSinceMs !== null || p.nowMs >= plan.dueAtMs
  const level = isMissed ? 3 : p.reminded.due
  if (level === 0) return []
  const word = isMissed ? 'The heartbeat was missed.' : 'A heartbeat is due soon.'
  const last =
    p.away === null ? `Last sign of the operator ${spanText(p.nowMs - plan.baseMs)} ago, due` : 'Back was planned'
  const text = `${word} ${last} ${at(plan.dueAtMs)}, safe mode ${at(plan.safeAtMs)}. Run: hub heartbeat`
  return [{ id: 'heartbeat_due', level, severity: 'warning', text }]
}

function missedFinding(p: Presence, safeSinceMs: number, at: At, config: Config): Finding {
  const stopAtMs = Math.max(planDeadlines(p, config).stopAtMs, p.wakeUntilMs ?? 0)
  const awake = p.wakeUntilMs === null || p.nowMs >= p.wakeUntilMs
  const text = `Safe mode since ${at(safeSinceMs)}: nothing new starts. Everything stops by itself ${at(stopAtMs)}. It ends with: hub heartbeat`
  return { id: 'heartbeat_missed', level: awake ? 2 + p.reminded.safe : 1, severity: 'warning', text }
}

/** Told once the stop has ended: it is the final report. */
function stopFinding(stoppedSinceMs: number, report: NonNullable<Presence['stopReport']>, at: At): Finding {
  const left = report.failed === 0 ? '' : ` ${report.failed} could not be confirmed gone and are tried again.`
  const text = `Unattended stop ${at(stoppedSinceMs)}: everything was stopped, ${report.gone} containers confirmed gone.${left} Nothing starts again by itself, and nothing more is reported but what is left over. To go on: hub up, then hub heartbeat`
  return { id: 'unattended_stop', level: 1, severity: 'warning', text }
}

function awayFinding(p: Presence, away: NonNullable<Presence['away']>, at: At, config: Config): Finding {
  const work = away.keepWorking ? 'Agents go on working.' : 'Nothing new starts; what runs ends by itself.'
  const note = away.note === '' ? '' : ` Note: ${away.note}`
  const text = `Planned absence until ${at(away.untilMs)}. ${work} There is nothing to do. If nobody is back by ${at(planDeadlines(p, config).safeAtMs)}, the contact hears of it.${note}`
  return { id: 'away', level: 1, severity: 'warning', text }
}

/** Every finding about presence. */
export function presenceFindings({ presence: p }: State, now: Reading, config: Config): Finding[] {
  const at: At = (presenceMs) => instantText(now.wallMs + presenceMs - p.nowMs, now.wallMs, config.operator.zone)
  // After the stop, and once a heartbeat was given before `hub up`, no deadline runs any more.
  const hasDeadline = p.stoppedSinceMs === null || p.safeSinceMs !== null
  return [
    ...(hasDeadline ? dueFinding(p, at, config) : []),
    ...(p.safeSinceMs === null ? [] : [missedFinding(p, p.safeSinceMs, at, config)]),
    ...(p.stoppedSinceMs === null || p.stopReport === null ? [] : [stopFinding(p.stoppedSinceMs, p.stopReport, at)]),
    ...(p.away === null ? [] : [awayFinding(p, p.away, at, config)]),
  ]
}
