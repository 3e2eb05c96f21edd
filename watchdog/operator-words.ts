/**
 * What the operator says to the watch: heartbeat, away, back, up. Each is judged by heartbeat.ts, persisted before it is answered, and
 * stands in the log with its source. Throws if the disk did not take it; then it does not count.
 */

import { conditionsOf } from './conditions.ts'
import type { Config } from './config.ts'
import { decideAway, planBack, planHeartbeat, planUp } from './heartbeat.ts'
import type { State } from './state.ts'
import { type PresenceAnswer, presenceAnswer } from './status.ts'
import type { Presence } from './timeline.ts'

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
  /** `hub up` was said; answers what holds in spite of it. */
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
    // The operator is here and has seen the clock: what it says now is the new mark.
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
      // A hub that does not answer does not keep anybody from leaving: then nothing is dispatched either.
      const held = [...conditionsOf(before), ...(mode === null || mode === 'normal' ? [] : [`mode ${mode} of the hub`])]
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
