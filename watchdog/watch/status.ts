/** What the watch says of itself: `GET /v1/status` and the answer to a heartbeat. Pure; durations for programs, no clock read. */
import { quietSpanAt } from '../base/quiet-hours.ts'
import { instantText, zoneName } from '../base/time-text.ts'
import type { Config } from '../config/config.ts'
import { CONDITIONS, conditionsOf } from '../judge/conditions.ts'
import type { Memory } from '../judge/facts.ts'
import type { State } from '../judge/state.ts'
import { planDeadlines } from '../judge/timeline.ts'

/** What the rounds saw, besides the state. */
export interface Seen {
  readonly rounds: number
  readonly roundAgeMs: number | null
  readonly hub: { readonly answering: boolean; readonly mode: string; readonly reason: string }
  readonly engine: string
  readonly memory: Memory
  /** Containers of the stop that is under way. */
  readonly stopping: { readonly requested: number; readonly confirmed: number } | null
}

/** The answer to the operator: the next deadlines, as wall instants, as time left, and in words. */
export interface PresenceAnswer {
  readonly acceptedAtMs: number
  readonly dueAtMs: number
  readonly dueInMs: number
  readonly safeAtMs: number
  readonly stopAtMs: number
  /** The operator's, as an IANA name; texts are written in it. */
  readonly zone: string
  /** What still holds after it. */
  readonly conditions: readonly string[]
  readonly text: string
}

export function presenceAnswer(state: State, config: Config): PresenceAnswer {
  const { wallMs } = state.mark
  const p = state.presence
  const plan = planDeadlines(p, config)
  const atMs = (presenceMs: number) => wallMs + presenceMs - p.nowMs
  const at = (presenceMs: number) => instantText(atMs(presenceMs), wallMs, config.operator.zone)
  const conditions = conditionsOf(state)
  const holding = conditions.map((name) => `${name} still holds; to end it: ${CONDITIONS[name].endsBy}`)
  const path =
    p.stoppedSinceMs === null
      ? [
          `${p.away === null ? 'next due' : 'back by'} ${at(plan.dueAtMs)}; without it nothing starts after ${at(plan.safeAtMs)}, and everything stops ${at(plan.stopAtMs)}`,
        ]
      : []
  return {
    acceptedAtMs: wallMs,
    dueAtMs: atMs(plan.dueAtMs),
    dueInMs: plan.dueAtMs - p.nowMs,
    safeAtMs: atMs(plan.safeAtMs),
    stopAtMs: atMs(plan.stopAtMs),
    zone: zoneName(config.operator.zone),
    conditions,
    text: [...holding, ...path].join('. '),
  }
}

export function statusOf(now: State, seen: Seen, config: Config): Readonly<Record<string, unknown>> {
  const p = now.presence
  const plan = planDeadlines(p, config)
  return {
    version: 1,
    instance: now.instance,
    epoch: now.epoch,
    rounds: seen.rounds,
    roundAgeMs: seen.roundAgeMs,
    hub: { ...seen.hub, misses: seen.memory.misses, announced: now.announced?.kind ?? null },
    engine: seen.engine,
    stopping: seen.stopping,
    demand: conditionsOf(now).length > 0 ? 'safe' : 'normal',
    conditions: conditionsOf(now),
    heartbeat: {
      strongAgeMs: p.nowMs - p.strongAtMs,
      weakAgeMs: p.weakAtMs === null ? null : p.nowMs - p.weakAtMs,
      dueInMs: plan.dueAtMs - p.nowMs,
      safeInMs: plan.safeAtMs - p.nowMs,
      stopInMs: plan.stopAtMs - p.nowMs,
      paused: p.paused,
      due: config.due.kind,
      zone: zoneName(config.operator.zone),
      // How far weak heartbeats can extend the deadline.
      weakMostInMs: p.strongAtMs + config.weakMaxMs - p.nowMs,
      quiet: quietSpanAt(now.mark.wallMs, config.operator) !== null,
      away: p.away && {
        untilInMs: p.away.untilMs - p.nowMs,
        keepWorking: p.away.keepWorking,
        note: p.away.note,
      },
      stopped: p.stoppedSinceMs !== null,
      stopReport: p.stopReport,
    },
    witness: now.witness && { size: now.witness.size, head: now.witness.head },
    olderHeads: now.heads,
    buffered: now.buffered,
    auditLost: now.auditLost,
    alerts: Object.entries(now.alerts).map(([finding, one]) => ({
      finding,
      level: one.level,
      forMs: now.lineMs - one.sinceMs,
    })),
  }
}
