/**
 * Facts, memory and state in; findings, what to act on, and the next state out. Pure: no clock, no disk, no engine.
 * J1 no container is called an orphan without evidence: a valid answer of the hub, or a whole ledger. J2 deadlines by label need neither.
 * J3 misses of the hub are counted; a silent hub is never trusted. J4 an announced silence hides only health findings.
 */
import type { Reading } from '../base/clock.ts'
import type { Config } from '../config/config.ts'
import { conditionsOf } from './conditions.ts'
import { judgeDeadline, judgeOrphan } from './containers.ts'
import type { Facts, Memory } from './facts.ts'
import {
  containerFindings,
  type Finding,
  judgeReturning,
  plainFindings,
  presenceFindings,
  type Verdict,
} from './findings.ts'
import type { Answer, Lease } from './lease.ts'
import type { Announced, State } from './state.ts'
import { emergencyFindings } from './stops.ts'
import { elapsedBetween, type Gap, planDeadlines, planPresence, planReminders } from './timeline.ts'
import { judgeActions, NOTHING_UNDONE } from './undone.ts'
import { headInTurn, judgeBuffered, judgeWitness, witnessNow } from './witness.ts'

export interface Judgement {
  readonly state: State
  readonly memory: Memory
  readonly findings: readonly Finding[]
  readonly recycle: readonly Verdict[]
  /** An answer to keep as evidence. */
  readonly evidence: string | null
}

/** How long the hub may keep answering after it announced a stop, before the stop counts as called off. */
const STOP_ANNOUNCED_MS = 3_600_000

export const firstMemory = (lineMs: number): Memory => ({
  startedLineMs: lineMs,
  everAnswered: false,
  misses: 0,
  engineMisses: 0,
  engineAnswers: 0,
  engineReason: '',
  unreadable: 0,
  seen: {},
  acted: {},
  remains: {},
  undone: NOTHING_UNDONE,
  orphans: {},
})

/** The state moved to now: line, mark and presence. Done before the lease, so that a passed deadline is in it. Pure. */
export function planAdvance(state: State, now: Reading, config: Config): State {
  const gap = elapsedBetween(state.mark, now)
  return {
    ...state,
    lineMs: state.lineMs + gap.elapsedMs,
    mark: now,
    wallHighMs: Math.max(state.wallHighMs, now.wallMs),
    // Tasks that waited while the machine slept did not wait for the hub.
    throughput: state.throughput && { ...state.throughput, sinceMs: state.throughput.sinceMs + gap.sleptMs },
    presence: planReminders(planPresence(state.presence, gap, config), now.wallMs, config),
  }
}

/** Waking counts as a start: time in sleep is no miss, and the hub gets its start-up grace again (T73). */
export const planWaking = (memory: Memory, gap: Gap, lineMs: number): Memory =>
  gap.sleptMs === 0 ? memory : { ...memory, startedLineMs: lineMs, everAnswered: false, misses: 0, engineMisses: 0 }

/** The records that the hub is asked to show: the newest witnessed, an older one in its turn, and what waited for a failing store. */
function askedOf({ witness, heads, buffered, lineMs }: State, { intervalMs }: Config): readonly number[] {
  const older = headInTurn(heads, Math.floor(lineMs / intervalMs))
  return [...new Set([witness?.size ?? [], older?.[0] ?? [], buffered?.seq ?? []].flat())]
}

/** The lease that a state gives. Only durations cross between the processes (T76). */
export function planLease(state: State, config: Config): Lease {
  const p = state.presence
  const conditions = conditionsOf(state)
  return {
    epoch: state.epoch,
    bootId: state.mark.bootId,
    intervalMs: config.intervalMs,
    heartbeatAgeMs: p.nowMs - p.strongAtMs,
    deadlineInMs: Math.max(0, planDeadlines(p, config).safeAtMs - p.nowMs),
    demand: conditions.length > 0 ? 'safe' : 'normal',
    conditions,
    witnessSize: state.witness?.size ?? 0,
    witnessHead: state.witness?.head ?? '',
    ask: askedOf(state, config),
    awayInMs: p.away === null ? null : Math.max(0, p.away.untilMs - p.nowMs),
    stopId: state.stopId,
  }
}

/** An announcement made now, from the door or from an answer. */
export function announcedNow(kind: Announced['kind'], lineMs: number, forMs: number, config: Config): Announced {
  const mostMs = kind === 'restart' ? config.restartSilenceMs : STOP_ANNOUNCED_MS
  return { kind, untilMs: lineMs + Math.min(forMs, mostMs), away: false }
}

function planAnnounced(
  { announced: known, run, lineMs }: State,
  answer: Answer | null,
  config: Config,
): Announced | null {
  if (answer?.announced) return announcedNow(answer.announced.kind, lineMs, Number.MAX_SAFE_INTEGER, config)
  if (known === null) return null
  // Another process answers: the end was so short that no round saw the hub away.
  if (run !== null && answer?.run != null && answer.run !== run) return null
  // It is back, or still there long after it announced its end.
  if (answer !== null) return known.away || lineMs > known.untilMs ? null : known
  if (known.kind === 'restart' && lineMs > known.untilMs) return null
  return { ...known, away: true }
}

function planThroughput(known: State['throughput'], answer: Answer | null, lineMs: number): State['throughput'] {
  if (answer === null || answer.mode !== 'normal' || answer.queued === 0) return null
  return known?.dispatched === answer.dispatched ? known : { dispatched: answer.dispatched, sinceMs: lineMs }
}

/** While one of these holds nothing of ours may run. */
function stoppedBy(state: State): 'emergency_stop' | 'unattended_stop' | null {
  if (state.emergency !== null) return 'emergency_stop'
  return state.presence.stoppedSinceMs === null ? null : 'unattended_stop'
}

function judgeContainers(state: State, memory: Memory, facts: Facts, config: Config): Verdict[] {
  if (facts.containers.kind === 'failed') return []
  const { heard, ledger, now } = facts
  const sessions = heard.kind === 'answer' ? heard.answer.sessions : ledger.kind === 'read' ? ledger.sessions : null
  return facts.containers.list.flatMap((container) => {
    const seenForMs = state.lineMs - (memory.seen[container.id] ?? state.lineMs)
    const orphan = () =>
      sessions && judgeOrphan(container, sessions, { seenForMs, wallMs: now.wallMs }, config.orphanAgeMs)
    const stopped = stoppedBy(state)
    const fault = stopped ?? judgeDeadline(container, now, config.ttlGraceMs) ?? orphan()
    return fault ? [{ container, fault, actedRounds: memory.acted[container.id] ?? 0 }] : []
  })
}

/** One round's judgement over a state that was already advanced to `facts.now`. */
export function judge(before: State, known: Memory, facts: Facts, config: Config): Judgement {
  const answer = facts.heard.kind === 'answer' ? facts.heard.answer : null
  const listed = facts.containers.kind === 'listed' ? facts.containers.list : null
  const starting = !known.everAnswered && before.lineMs - known.startedLineMs < config.startGraceMs
  const word = answer && judgeWitness(before.witness, answer, before.instance, facts.checkpointKey, before.heads)
  const isNew = word?.kind === 'mismatch' && before.mismatchSinceMs === null
  const announced = planAnnounced(before, answer, config)
  const resting = announced !== null && announced.kind !== 'restart' && answer === null
  // Only the engine can prove that nothing of ours is left; while it is silent the clock stays as it was.
  // An emergency stop also stops the clock, whether or not the hub answers reads meanwhile (docs/safety.md 5).
  const paused =
    (resting || before.emergency !== null) && (listed === null ? before.presence.paused : listed.length === 0)
  const waited = answer === null ? { buffered: before.buffered, lost: 0 } : judgeBuffered(before.buffered, answer)
  const state: State = {
    ...before,
    announced,
    run: answer?.run ?? before.run,
    throughput: planThroughput(before.throughput, answer, before.lineMs),
    ...witnessNow(before, word?.kind === 'accepted' ? word.witness : before.witness),
    buffered: waited.buffered,
    auditLost: before.auditLost + waited.lost,
    mismatchSinceMs: isNew ? before.lineMs : before.mismatchSinceMs,
    presence: { ...before.presence, paused },
  }
  const counted: Memory = {
    ...known,
    everAnswered: known.everAnswered || answer !== null,
    misses: answer !== null ? 0 : known.misses + (starting ? 0 : 1),
    unreadable: facts.heard.kind === 'unreadable' ? known.unreadable + 1 : 0,
    engineMisses: listed !== null ? 0 : known.engineMisses + 1,
    engineAnswers: listed !== null ? known.engineAnswers + 1 : 0,
    engineReason: facts.containers.kind === 'failed' ? facts.containers.reason : known.engineReason,
    seen: listed ? Object.fromEntries(listed.map((one) => [one.id, known.seen[one.id] ?? before.lineMs])) : known.seen,
  }
  const recycle = judgeContainers(state, counted, facts, config)
  const actions = judgeActions(known.undone, state, facts)
  const returning = judgeReturning(known.orphans, recycle, state.lineMs)
  const findings = [
    ...plainFindings(state, counted, facts, config),
    ...presenceFindings(state, facts.now, config),
    ...emergencyFindings(state, config.zone),
    ...containerFindings(recycle, known.remains),
    ...returning.findings,
    ...actions.findings,
  ]
  const acted = listed ? Object.fromEntries(recycle.map((one) => [one.container.id, one.actedRounds + 1])) : known.acted
  const evidence = isNew && answer && word.kind === 'mismatch' ? `${word.reason}\n${answer.raw}\n` : null
  return {
    state,
    memory: { ...counted, acted, undone: actions.undone, orphans: returning.orphans },
    findings,
    recycle,
    evidence,
  }
}
