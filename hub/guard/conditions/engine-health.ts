/**
 * Whether the container engine answers: owner of the condition `engine_unavailable`.
 *
 * H1. Judged only by looks (the list of our containers), never by a single create or start: an engine that lists its containers is there,
 *     whatever else it refuses. A look that is refused, late or not understood is a bad one: an engine that answers 500 to everything is
 *     no use.
 * H2. Two bad looks in a row raise it, two good ones in a row clear it, so an engine that fails every second time changes nothing.
 *     Before the first good look one bad one is enough: nobody has seen this engine answer.
 */
import type { Modes } from '../modes.ts'

/** In a row. */
const LOOKS_TO_CHANGE = 2

export interface EngineHealth {
  readonly isAway: boolean
  /** Looks in a row that contradict `isAway`. */
  readonly against: number
}

export const UNSEEN: EngineHealth = { isAway: false, against: LOOKS_TO_CHANGE - 1 }

/** After one more look. Pure. */
export function judgeLook(before: EngineHealth, isGood: boolean): EngineHealth {
  if (isGood !== before.isAway) return { isAway: before.isAway, against: 0 }
  const against = before.against + 1
  return against >= LOOKS_TO_CHANGE ? { isAway: !before.isAway, against: 0 } : { isAway: before.isAway, against }
}

export interface EngineWatch {
  good(): void
  bad(reason: string): void
  isAway(): boolean
  /** The last look contradicted the state, so another look soon is worth it. */
  isUnsure(): boolean
}

export function createEngineWatch({ modes }: { modes: Pick<Modes, 'raise' | 'clear'> }): EngineWatch {
  let health = UNSEEN
  return {
    good() {
      health = judgeLook(health, true)
      if (!health.isAway) modes.clear('engine_unavailable')
    },
    bad(reason) {
      health = judgeLook(health, false)
      if (health.isAway) modes.raise('engine_unavailable', reason)
    },
    isAway: () => health.isAway,
    isUnsure: () => health.against > 0,
  }
}
