/** What the watch says of itself: `GET /v1/status` and the answer to a heartbeat. Pure; durations for programs, no clock read. */
import type { Config } from './config.ts'
import type { Memory } from './facts.ts'
import { conditionsOf } from './judge.ts'
import type { State } from './state.ts'
import { type Presence, planDeadlines } from './timeline.ts'

/** What the rounds saw, beside the state. */
export interface Seen {
  readonly rounds: number
  readonly roundAgeMs: number | null
  readonly hub: { readonly answering: boolean; readonly mode: string; readonly reason: string }
  readonly engine: string
  readonly memory: Memory
}

/** The answer to a heartbeat: the next deadlines, as wall instants of this moment and as what remains. */
export interface PresenceAnswer {
  readonly acceptedAtMs: number
  readonly dueAtMs: number
  readonly dueInMs: number
  readonly safeAtMs: number
  readonly stopAtMs: number
}

export function presenceAnswer(p: Presence, wallMs: number, config: Config): PresenceAnswer {
  const plan = planDeadlines(p, config)
  const atMs = (presenceMs: number) => wallMs + presenceMs - p.nowMs
  return {
    acceptedAtMs: wallMs,
    dueAtMs: atMs(plan.dueAtMs),
    dueInMs: plan.dueAtMs - p.nowMs,
    safeAtMs: atMs(plan.safeAtMs),
    stopAtMs: atMs(plan.stopAtMs),
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
    demand: conditionsOf(now).length > 0 ? 'safe' : 'normal',
    conditions: conditionsOf(now),
    heartbeat: {
      strongAgeMs: p.nowMs - p.strongAtMs,
      weakAgeMs: p.weakAtMs === null ? null : p.nowMs - p.weakAtMs,
      dueInMs: plan.dueAtMs - p.nowMs,
      safeInMs: plan.safeAtMs - p.nowMs,
      stopInMs: plan.stopAtMs - p.nowMs,
      paused: p.paused,
    },
    witness: now.witness && { size: now.witness.size, head: now.witness.head },
    alerts: Object.entries(now.alerts).map(([finding, one]) => ({
      finding,
      level: one.level,
      forMs: now.lineMs - one.sinceMs,
    })),
  }
}
