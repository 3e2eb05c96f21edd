/**
 * What the operator says to the watch: heartbeat, away, back, up. heartbeat.ts judges each; it is on disk before it is answered, and in the
 * log with its source. If it cannot be written to disk, this throws, and it does not count.
 */
import type { Config } from '../config/config.ts'
import { conditionsOf } from '../judge/conditions.ts'
import { decideAway, planBack, planHeartbeat, planUp } from '../judge/heartbeat.ts'
import type { State } from '../judge/state.ts'
import type { Presence } from '../judge/timeline.ts'
import { type PresenceAnswer, presenceAnswer } from './status.ts'

/** Who spoke and what they added. */
export interface Said {
  readonly source: string
  readonly note: string
}

export interface OperatorWords {
  heartbeat(strong: boolean, said: Said): PresenceAnswer
  /** A planned absence from now until a wall instant; a text says why not. */
  away(request: { untilMs: number; keepWorking: boolean }, said: Said): PresenceAnswer | string
  /** Ends it; a strong heartbeat. */
  back(said: Said): PresenceAnswer
  /** `hub up` was said; returns the conditions that still hold. */
  up(): { conditions: readonly string[] }
}

/** The words over one state. `hubMode`: what the hub last answered, or null. */
export function createOperatorWords(
  config: Config,
  parts: {
    advanced: () => State
    commit: (next: State) => void
    hubMode: () => string | null
    log: { info(fields: object, text: string): void }
  },
): OperatorWords {
  const { advanced, commit, log } = parts

  function strong(what: string, said: Said, before: State, presence: Presence): PresenceAnswer {
    // The operator is here and has seen the clock: its present time is the new mark.
    const next = { ...before, wallHighMs: before.mark.wallMs, lost: false, auditLost: 0, presence }
    commit(next)
    log.info({ ...said }, what)
    return presenceAnswer(next, config)
  }

  return {
    heartbeat(isStrong, said) {
      const before = advanced()
      const presence = planHeartbeat(before.presence, isStrong, before.mark.wallMs, config)
      if (isStrong) return strong('heartbeat', said, before, presence)
      const next = { ...before, presence }
      commit(next)
      log.info({ ...said }, 'weak heartbeat')
      return presenceAnswer(next, config)
    },
    away({ untilMs, keepWorking }, said) {
      const before = advanced()
      const mode = parts.hubMode()
      // A hub that does not answer must not stop anybody from leaving: it starts nothing anyway.
      const held = [...conditionsOf(before), ...(mode === null || mode === 'normal' ? [] : [`hub mode ${mode}`])]
      const request = { untilInMs: untilMs - before.mark.wallMs, keepWorking, note: said.note }
      const next = decideAway(before.presence, request, held, config)
      return typeof next === 'string' ? next : strong('away', said, before, next)
    },
    back(said) {
      const before = advanced()
      return strong('back', said, before, planBack(before.presence, before.mark.wallMs, config))
    },
    up() {
      const before = advanced()
      const next = { ...before, presence: planUp(before.presence) }
      commit(next)
      return { conditions: conditionsOf(next) }
    },
  }
}
