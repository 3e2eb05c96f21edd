/**
 * What the backup contact is told, and when (docs/safety.md 1, 3 and 6). Pure; what was told persists in the state.
 * C1 the contact hears only of the conditions in the table: the missed heartbeat, the unattended stop, a critical alert or a witness
 * mismatch; and, as short notes, a planned absence and a pause by the operator. Not of the emergency stop: its page confirms it. C2 each step is told once, over
 * restarts too; a critical cause that comes back within 6 h is not told again. C3 a sign of life in safe mode is told once per step.
 * C4 once the operator is back, one all-clear; without anything told before, none.
 */
import type { NoticesTold } from '../../judge/state.ts'

export type NoticeKind = 'missed' | 'reminder' | 'stopped' | 'critical' | 'away' | 'paused' | 'checked_in' | 'all_clear'

/** What a message is made of; it is put into words when it is sent, so that "in 3 h" is true then. Wall instants. */
export interface Notice {
  readonly kind: NoticeKind | 'test' | 'rehearsal'
  /** Unique among the notices of one occurrence. */
  readonly step: string
  /** Last sign of the operator; null if the matter is not about that. */
  readonly lastSeenAtMs: number | null
  /** When everything stops by itself, or when a planned absence ends. */
  readonly nextAtMs: number | null
  /** What could not be confirmed as stopped. */
  readonly unconfirmed: number
  /** What the operator wrote to a planned absence; what a test asks the contact to read out. '' = nothing. */
  readonly note: string
}

/** What the plan looks at; presence instants are on the presence clock. */
export interface Situation {
  /** Those of the round (findings.ts). */
  readonly findings: readonly {
    readonly id: string
    readonly level: number
    readonly severity: 'warning' | 'critical'
  }[]
  readonly lineMs: number
  readonly wallMs: number
  readonly presence: {
    readonly nowMs: number
    readonly strongAtMs: number
    readonly weakAtMs: number | null
    readonly safeSinceMs: number | null
    readonly ceilingFromMs: number | null
    readonly stoppedSinceMs: number | null
    readonly stopReport: { readonly failed: number } | null
    readonly away: { readonly sinceMs: number; readonly untilMs: number; readonly note: string } | null
  }
  readonly stopAtMs: number
  /** The hub holds safe mode for a critical alert of its own. */
  readonly hubCritical: boolean
  /** The hub is safe because the operator asked for it (`hub safe-mode`). */
  readonly hubPaused: boolean
}

const REPEAT_AFTER_MS = 6 * 3_600_000
/** Levels of `heartbeat_missed`: 1 goes only to the operator (the machine just woke up), then the entry and the two reminders. */
const MISSED_LEVEL = 2

function dueSteps(now: Situation): { step: string; kind: NoticeKind }[] {
  const p = now.presence
  const steps: { step: string; kind: NoticeKind }[] = []
  for (const one of now.findings) {
    if (one.severity === 'critical') steps.push({ step: `critical:${one.id}`, kind: 'critical' })
    if (one.id !== 'heartbeat_missed' || one.level < MISSED_LEVEL || p.stoppedSinceMs !== null) continue
    const from = p.ceilingFromMs ?? p.safeSinceMs ?? 0
    if (one.level === MISSED_LEVEL) steps.push({ step: `missed:${p.safeSinceMs}`, kind: 'missed' })
    else steps.push({ step: `reminder:${from}:${one.level}`, kind: 'reminder' })
  }
  if (now.hubCritical) steps.push({ step: 'critical:hub', kind: 'critical' })
  // Told with the report, which says what the stop achieved.
  if (p.stoppedSinceMs !== null && p.stopReport !== null)
    steps.push({ step: `stopped:${p.stoppedSinceMs}`, kind: 'stopped' })
  return steps
}

export function planNotices(known: NoticesTold, now: Situation): { told: NoticesTold; notices: readonly Notice[] } {
  const p = now.presence
  const wall = (presenceMs: number) => now.wallMs + presenceMs - p.nowMs
  const about = (kind: NoticeKind, step: string, nextAtMs: number | null): Notice => ({
    kind,
    step,
    lastSeenAtMs: wall(Math.max(p.strongAtMs, p.weakAtMs ?? 0)),
    nextAtMs,
    unconfirmed: kind === 'stopped' ? (p.stopReport?.failed ?? 0) : 0,
    note: kind === 'away' ? (p.away?.note ?? '') : '',
  })
  const absent = p.safeSinceMs !== null || p.stoppedSinceMs !== null
  const due = dueSteps(now)
  const awayStep = p.away === null ? null : `away:${p.away.sinceMs}`
  const pausedStep = now.hubPaused ? 'paused' : null
  const still = new Set([awayStep, pausedStep, ...due.map((one) => one.step)])
  const steps = Object.fromEntries(
    Object.entries(known.steps).filter(
      ([step, atMs]) => known.open || still.has(step) || now.lineMs - atMs < REPEAT_AFTER_MS,
    ),
  )
  let told: NoticesTold = { ...known, steps }
  const notices: Notice[] = []

  // An operator who is back needs no helper, whatever else is still open: they see it themselves.
  const back = p.strongAtMs > known.strongAtMs
  const settled = (back && p.safeSinceMs === null) || (!absent && due.length === 0)
  if (known.open && settled) {
    const clear = about('all_clear', `all_clear:${known.toldAtMs}`, null)
    notices.push(back ? clear : { ...clear, lastSeenAtMs: null })
    told = { ...told, open: false }
  }

  const fresh = due.filter(({ step }) => told.steps[step] === undefined)
  // If several are due at once, the gravest is told, and all count as told.
  const gravest = (['critical', 'stopped', 'missed', 'reminder'] as const).find((kind) =>
    fresh.some((one) => one.kind === kind),
  )
  if (gravest !== undefined) {
    const step = fresh.find((one) => one.kind === gravest)?.step ?? ''
    const running = absent && p.stoppedSinceMs === null
    notices.push(about(gravest, step, running ? wall(now.stopAtMs) : null))
    const more = Object.fromEntries(fresh.map((one) => [one.step, now.lineMs]))
    told = {
      steps: { ...told.steps, ...more },
      open: true,
      toldAtMs: p.nowMs,
      strongAtMs: p.strongAtMs,
      checkedIn: false,
    }
  } else if (told.open && !told.checkedIn && absent && p.stoppedSinceMs === null && (p.weakAtMs ?? 0) > told.toldAtMs) {
    notices.push(about('checked_in', `checked_in:${p.weakAtMs}`, wall(now.stopAtMs)))
    told = { ...told, checkedIn: true }
  }

  if (p.away !== null && awayStep !== null && told.steps[awayStep] === undefined) {
    notices.push(about('away', awayStep, wall(p.away.untilMs)))
    told = { ...told, steps: { ...told.steps, [awayStep]: now.lineMs } }
  }
  // A contact who was told of an absence, planned or not, needs no second message about the same pause.
  if (pausedStep !== null && p.away === null && !absent && told.steps[pausedStep] === undefined) {
    notices.push(about('paused', pausedStep, null))
    told = { ...told, steps: { ...told.steps, [pausedStep]: now.lineMs } }
  }
  return { told, notices }
}
