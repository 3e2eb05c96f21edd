/** What a round learns (facts) and what it may forget at a restart (memory): the inputs of the judge beside the state. */
import type { KeyObject } from 'node:crypto'
import type { Reading } from '../base/clock.ts'
import type { Container } from './containers.ts'
import type { Heard, Session } from './lease.ts'

/** The hub's list of live sessions on disk: missing and damaged are different facts, and neither kills. */
export type Ledger =
  | { readonly kind: 'read'; readonly sessions: readonly Session[] }
  | { readonly kind: 'missing' }
  | { readonly kind: 'damaged'; readonly reason: string }

/** The living processes, none, or not known. */
export type Remains = readonly number[] | 'unknown'

export interface Facts {
  readonly now: Reading
  /** Listed before the hub was asked. */
  readonly containers:
    | { readonly kind: 'listed'; readonly list: readonly Container[] }
    | { readonly kind: 'failed'; readonly reason: string }
  /** Why watchdog and engine share no API version; null if they share one. */
  readonly disagreement: string | null
  readonly heard: Heard
  readonly ledger: Ledger
  readonly checkpointKey: KeyObject | null
  /** What this process itself fails at: [finding id, what it says]. */
  readonly own: readonly (readonly [string, string])[]
}

/** What may be forgotten at a restart: counting then starts again, which only delays. */
export interface Memory {
  readonly startedLineMs: number
  readonly everAnswered: boolean
  readonly misses: number
  /** Looks at the engine in a row: failed ones, and good ones. */
  readonly engineMisses: number
  readonly engineAnswers: number
  /** The reason of the last failed look. */
  readonly engineReason: string
  /** Rounds in a row in which the hub's answer was proven and not understood. */
  readonly unreadable: number
  /** Container id -> line instant of the first sight. */
  readonly seen: Readonly<Record<string, number>>
  /** Container id -> rounds it was acted on. */
  readonly acted: Readonly<Record<string, number>>
  /** Container name -> its processes that still run, for those that the last acting round could not remove. */
  readonly remains: Readonly<Record<string, Remains>>
  /** Container id -> line instant at which it was first judged an orphan; of the last hour. */
  readonly orphans: Readonly<Record<string, number>>
  /** Rounds in a row in which an action of undone.ts was wanted and not done. */
  readonly undone: Readonly<Record<'safe_not_obeyed' | 'stop_unconfirmed' | 'lease_refused', number>>
}
