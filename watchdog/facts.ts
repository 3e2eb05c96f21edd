/** What a round learns (facts) and what it may forget at a restart (memory): the inputs of the judge beside the state. */
import type { KeyObject } from 'node:crypto'
import type { Reading } from './clock.ts'
import type { Container } from './engine.ts'
import type { Heard } from './lease.ts'
import type { Ledger } from './ledger.ts'
import type { Remains } from './processes.ts'

export interface Facts {
  readonly now: Reading
  /** Listed before the hub was asked. */
  readonly containers:
    | { readonly kind: 'listed'; readonly list: readonly Container[] }
    | { readonly kind: 'failed'; readonly reason: string }
  /** Why watchdog and engine share no API version; null where they do. */
  readonly disagreement: string | null
  readonly heard: Heard
  readonly ledger: Ledger
  readonly checkpointKey: KeyObject | null
  /** What this process itself fails at: [finding id, what it says]. */
  readonly own: readonly (readonly [string, string])[]
}

/** What may be forgotten at a restart: counting then begins anew, which only delays. */
export interface Memory {
  readonly startedLineMs: number
  readonly everAnswered: boolean
  readonly misses: number
  /** Looks at the engine in a row: that failed, and that did not. */
  readonly engineMisses: number
  readonly engineAnswers: number
  /** What the last look that failed said. */
  readonly engineReason: string
  /** Rounds in a row in which the hub's answer was proven and not understood. */
  readonly unreadable: number
  /** Container id -> line instant of the first sight. */
  readonly seen: Readonly<Record<string, number>>
  /** Container id -> rounds it was acted on. */
  readonly acted: Readonly<Record<string, number>>
  /** Container name -> what of it runs, of those that could not be removed in the last round that acted. */
  readonly remains: Readonly<Record<string, Remains>>
  /** Container id -> line instant at which it was first judged an orphan; of the last hour. */
  readonly orphans: Readonly<Record<string, number>>
  /** Rounds in a row in which an action of acting.ts was wanted and not done. */
  readonly undone: Readonly<Record<'safe_not_obeyed' | 'stop_unconfirmed' | 'lease_refused', number>>
}
