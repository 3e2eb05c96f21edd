/** The findings of a round: one per cause, with a level that rises as it grows worse, and the words a person reads. Pure. */
import type { Reading } from '../base/clock.ts'
import { instantText, spanText } from '../base/time-text.ts'
import type { Config } from '../config/config.ts'
import type { Container, Fault } from './containers.ts'
import type { Facts, Memory } from './facts.ts'
import type { State } from './state.ts'
import { type Presence, planDeadlines } from './timeline.ts'

export interface Finding {
  /** The cause; alerts are raised and resolved by it. */
  readonly id: string
  /** 1 and up; a rise is told again, louder. */
  readonly level: number
  readonly severity: 'warning' | 'critical'
  readonly text: string
}

export interface Verdict {
  readonly container: Container
  readonly fault: Fault | 'unattended_stop' | 'emergency_stop'
  /** Rounds in which it was already acted on. */
  readonly actedRounds: number
}

const WALL_BACK_MS = 5_000
/** After this many rounds without success the alarm is louder (docs/safety.md 4). */
const ACTED_ROUNDS_MAX = 3
const NAMED_MAX = 8
/** A single one may happen during an upgrade. */
const UNREADABLE_ROUNDS_MAX = 3

const WORDS: Readonly<Record<Verdict['fault'], string>> = {
  ttl_passed: 'past the deadline',
  boot_mismatch: 'with a deadline from another boot',
  deadline_unreadable: 'without a readable deadline',
  orphan: 'of no live session',
  unattended_stop: 'left after the unattended stop',
  emergency_stop: 'left after everything was stopped',
}

const containersText = (count: number): string => `${count} container${count === 1 ? '' : 's'}`

/** One finding for all containers of one fault. */
function containerFinding(
  fault: Verdict['fault'],
  verdicts: readonly Verdict[],
  remains: Memory['remains'],
): Finding[] {
  // A stop is told by its own finding; only what it left behind is news.
  const isStop = fault === 'unattended_stop' || fault === 'emergency_stop'
  const own = verdicts.filter((one) => one.fault === fault && (!isStop || one.actedRounds > 0))
  if (own.length === 0) return []
  const stuck = own.filter((one) => one.actedRounds >= ACTED_ROUNDS_MAX)
  const names = own.slice(0, NAMED_MAX).map((one) => `${one.container.name} (${one.container.state})`)
  const more = own.length > NAMED_MAX ? ` and ${own.length - NAMED_MAX} more` : ''
  const base = `${containersText(own.length)} ${WORDS[fault]}, being removed: ${names.join(', ')}${more}.`
  const id = isStop ? fault.replace('stop', 'remains') : fault
  if (stuck.length === 0) return [{ id, level: 1, severity: 'warning', text: base }]
  const left = stuck.map(({ container }) => remains[container.name] ?? 'unknown')
  const pids = left.flatMap((one) => (one === 'unknown' ? [] : one))
  // A container without a process harms nobody, however long the engine shows it (fault A6).
  const isHarmless = pids.length === 0 && !left.includes('unknown')
  const runs = isHarmless
    ? ' None of their processes runs any more.'
    : pids.length === 0
      ? ''
      : ` Still running: process ${pids.join(', ')}; end it with: sudo kill -9 ${pids.join(' ')}.`
  const ids = stuck.slice(0, NAMED_MAX).map((one) => one.container.id.slice(0, 12))
  const text = `${base} ${stuck.length} ${stuck.length === 1 ? 'is' : 'are'} still there after ${ACTED_ROUNDS_MAX} rounds of removing.${runs} On the host run: docker rm -f ${ids.join(' ')}; if that is refused too, restart the engine`
  if (isHarmless) return [{ id, level: 1, severity: 'warning', text }]
  return [{ id, level: 2, severity: 'critical', text }]
}

export const containerFindings = (verdicts: readonly Verdict[], remains: Memory['remains']): Finding[] =>
  (Object.keys(WORDS) as Verdict['fault'][]).flatMap((fault) => containerFinding(fault, verdicts, remains))

/** Looks in a row that raise or end `engine_unavailable`: one that fails every second time changes nothing (fault A11). */
const LOOKS_TO_CHANGE = 2

/** Whether the engine counts as away. `isTold`: it did before; an open alert outlives a restart, which starts the counts again. Pure. */
export const engineIsAway = (memory: Pick<Memory, 'engineMisses' | 'engineAnswers'>, isTold: boolean): boolean =>
  isTold ? memory.engineAnswers < LOOKS_TO_CHANGE : memory.engineMisses >= LOOKS_TO_CHANGE

/** Takes findings of the first level in turn. */
function collect() {
  const found: Finding[] = []
  const add = (severity: Finding['severity']) => (id: string, text: string) => {
    found.push({ id, level: 1, severity, text })
  }
  return { found, warn: add('warning'), alarm: add('critical') }
}

/** Everything but presence and containers. `memory` already counts this round. */
export const plainFindings = (state: State, memory: Memory, facts: Facts, config: Config): Finding[] => [
  ...hubFindings(state, memory, facts, config),
  ...engineFindings(state, memory, facts),
  ...auditFindings(state, facts, config),
  ...ownFindings(state, facts),
]

/** Whether the hub answers its leases, and the state of the ledger while it does not. */
function hubFindings(state: State, memory: Memory, { heard, ledger }: Facts, config: Config): Finding[] {
  const { found, warn, alarm } = collect()
  // An open alert outlives a restart of this process, which starts its counts again: only an answer ends it.
  const over = (misses: number, id: string) => misses >= config.missesMax || state.alerts[id] !== undefined
  // After the unattended stop there is silence: then it is the operator's matter whether the hub runs.
  const isQuiet = state.announced !== null || state.presence.stoppedSinceMs !== null
  const hubGone = over(memory.misses, 'hub_health') && !isQuiet && heard.kind !== 'answer'
  if (hubGone) {
    warn(
      'hub_health',
      `The hub did not answer ${config.missesMax} leases in a row (${heard.reason}); it starts no tasks. Read its log, then run: hub up`,
    )
  }
  if (heard.kind === 'forged') {
    alarm(
      'hub_forged',
      `Something on the hub's socket gave a wrong answer to a lease: ${heard.reason}. The watchdog ignored it.`,
    )
  }
  if (heard.kind === 'unreadable') {
    const isLouder = memory.unreadable >= UNREADABLE_ROUNDS_MAX || state.alerts.hub_unreadable?.level === 2
    found.push({
      id: 'hub_unreadable',
      level: isLouder ? 2 : 1,
      severity: 'warning',
      text: `The watchdog does not understand the hub's answer to a lease: ${heard.reason}. Without a valid lease the hub starts no tasks. Do hub and watchdog have the same version? Upgrade both, then restart the watchdog`,
    })
  }
  if (ledger.kind === 'damaged') {
    warn(
      'ledger',
      `ledger.json is damaged (${ledger.reason}). While the hub is away, the watchdog removes no orphans; it still removes containers past their deadline.`,
    )
  } else if (ledger.kind === 'missing' && hubGone) {
    warn(
      'ledger',
      'ledger.json is missing and the hub is away. The watchdog removes no orphans; it still removes containers past their deadline. Start the hub: hub up',
    )
  }
  return found
}

function engineFindings(state: State, memory: Memory, facts: Facts): Finding[] {
  const { found, warn, alarm } = collect()
  if (engineIsAway(memory, state.alerts.engine_unavailable !== undefined)) {
    warn(
      'engine_unavailable',
      `The container engine failed to list our containers ${LOOKS_TO_CHANGE} times in a row (${memory.engineReason || 'see the last alert'}), so nothing can be removed. Run: docker info`,
    )
  }
  if (facts.disagreement !== null) {
    alarm(
      'engine_unsupported',
      `Engine and hub have no API version in common (${facts.disagreement}). The hub can start and stop nothing; the watchdog can still stop containers. Upgrade the hub, or let the engine accept an older version (DOCKER_MIN_API_VERSION). To remove everything by hand: docker rm -f $(docker ps -aq --filter label=hub.instance=${state.instance})`,
    )
  }
  return found
}

/** What the hub's work and its audit log show. */
function auditFindings(state: State, { heard, checkpointKey }: Facts, config: Config): Finding[] {
  const { found, warn, alarm } = collect()
  if (state.throughput !== null && state.lineMs - state.throughput.sinceMs >= config.throughputWindowMs) {
    warn(
      'throughput',
      `Tasks are waiting, and none has started for ${Math.round(config.throughputWindowMs / 60_000)} min. Run: hub status`,
    )
  }
  if (state.mismatchSinceMs !== null) {
    alarm(
      'witness_mismatch',
      'The audit log is not the one that the watchdog saw before. Evidence is in watchdog/evidence. Run: hub audit verify',
    )
  }
  if (state.auditLost > 0) {
    warn(
      'audit_lost',
      `${state.auditLost} audit records are lost: they waited for a store that could not be written, and the hub ended. What they record was done, but the audit log does not show it. Read logs/hub.log of that time, then run: hub heartbeat`,
    )
  }
  if (heard.kind === 'answer' && checkpointKey === null && heard.answer.checkpoints.length > 0) {
    warn(
      'witness_unproven',
      'keys/checkpoint.pub is missing or damaged, so the watchdog cannot check the audit log. Restore it from a backup.',
    )
  }
  return found
}

/** The watchdog itself: its clock, its memory, and what it fails at. */
function ownFindings(state: State, { now, own }: Facts): Finding[] {
  const { found, warn } = collect()
  if (now.wallMs < state.wallHighMs - WALL_BACK_MS) {
    warn(
      'clock_fault',
      'The wall clock went back. No deadline has changed, because the watchdog counts by boot time. Check time synchronisation.',
    )
  }
  if (state.lost) {
    warn(
      'state_lost',
      'The watchdog lost its memory, so it keeps the hub in safe mode. To end this run: hub heartbeat, then hub audit verify',
    )
  }
  for (const [id, text] of own) warn(id, text)
  return found
}

// Orphans that come back after they were removed (docs/safety.md 7: critical). One orphan is a fault and is removed; new ones at three
// different times within an hour mean that somebody with access to the engine starts them under this hub's label. Pure.

/** Container id -> line instant at which it was first judged an orphan. */
export type OrphansSeen = Readonly<Record<string, number>>

const WITHIN_MS = 3_600_000
const TIMES_MIN = 3
/** What is remembered; the oldest go first. */
const REMEMBERED_MAX = 64

export function judgeReturning(
  known: OrphansSeen,
  recycle: readonly Verdict[],
  lineMs: number,
): { orphans: OrphansSeen; findings: Finding[] } {
  const seen = new Map(Object.entries(known).filter(([, atMs]) => lineMs - atMs < WITHIN_MS))
  const orphans = recycle.filter(({ fault }) => fault === 'orphan')
  for (const { container } of orphans) if (!seen.has(container.id)) seen.set(container.id, lineMs)
  const kept = Object.fromEntries([...seen].sort(([, a], [, b]) => a - b).slice(-REMEMBERED_MAX))
  const times = new Set(Object.values(kept)).size
  if (times < TIMES_MIN) return { orphans: kept, findings: [] }
  const text = `Containers with this hub's label come back after they are removed: at ${times} different times within an hour. The hub did not start them; somebody with access to the container engine did. On the host run: docker events`
  return {
    orphans: kept,
    findings: [{ id: 'orphan_returns', level: 1, severity: 'critical', text }],
  }
}

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
  const text = `Safe mode since ${at(safeSinceMs)}: nothing new starts. Everything stops by itself ${at(stopAtMs)}. To end safe mode run: hub heartbeat`
  return { id: 'heartbeat_missed', level: awake ? 2 + p.reminded.safe : 1, severity: 'warning', text }
}

/** Told once the stop has ended: it is the final report. */
function stopFinding(stoppedSinceMs: number, report: NonNullable<Presence['stopReport']>, at: At): Finding {
  const left = report.failed === 0 ? '' : ` ${report.failed} could not be confirmed as gone; the watchdog tries again.`
  const text = `Unattended stop ${at(stoppedSinceMs)}: everything was stopped, ${containersText(report.gone)} confirmed gone.${left} Nothing starts again by itself. From now on only leftovers are reported. To start again: hub up, then hub heartbeat`
  return { id: 'unattended_stop', level: 1, severity: 'warning', text }
}

function awayFinding(p: Presence, away: NonNullable<Presence['away']>, at: At, config: Config): Finding {
  const work = away.keepWorking ? 'Agents keep working.' : 'Nothing new starts; what runs ends by itself.'
  const note = away.note === '' ? '' : ` Note: ${away.note}`
  const text = `Planned absence until ${at(away.untilMs)}. ${work} There is nothing to do. If nobody is back by ${at(planDeadlines(p, config).safeAtMs)}, the contact is told.${note}`
  return { id: 'away', level: 1, severity: 'warning', text }
}

/** Every finding about the operator's presence; the levels are the steps of docs/safety.md 3. */
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
