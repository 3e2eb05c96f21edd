/** The watchdog's memory: everything that survives a restart (docs/threats.md 7). Pure; act/state-file.ts keeps it on disk. */
import type { Reading } from '../base/clock.ts'
import { firstPresence, type Presence } from './timeline.ts'
import type { Buffered, Head } from './witness.ts'

export interface Announced {
  readonly kind: 'restart' | 'shutdown' | 'down'
  /** On the watchdog's own line; silence at most until then while the hub still answers. */
  readonly untilMs: number
  /** The hub has been seen away since. */
  readonly away: boolean
}

/** Everything was stopped by somebody who may not start it again (stops.ts). */
export interface Emergency {
  readonly by: 'contact' | 'emergency'
  /** At most 200 characters: the state has to fit its slot. */
  readonly reason: string
  /** On the watchdog's own line. */
  readonly sinceMs: number
}

/** What the backup contact was told (tell/notices/plan.ts). */
export interface NoticesTold {
  /** Steps told -> instant of the watchdog's line. */
  readonly steps: Readonly<Record<string, number>>
  /** Something was told and no all-clear has followed. */
  readonly open: boolean
  /** Presence instants of the last step told and of the last strong heartbeat then. */
  readonly toldAtMs: number
  readonly strongAtMs: number
  readonly checkedIn: boolean
}

const NOTHING_TOLD: NoticesTold = { steps: {}, open: false, toldAtMs: 0, strongAtMs: 0, checkedIn: false }

export interface State {
  readonly version: 1
  readonly instance: string
  /** Rises at each start: the fence against an older watchdog (T91). */
  readonly epoch: number
  /** The watchdog's own line of time: only elapsed spans are added, so it never steps (section 7). */
  readonly lineMs: number
  readonly mark: Reading
  readonly wallHighMs: number
  readonly presence: Presence
  readonly announced: Announced | null
  /** The process of the hub that answered last (lease.ts); null: none yet, or one that does not say. */
  readonly run: string | null
  readonly throughput: { readonly dispatched: number; readonly sinceMs: number } | null
  readonly witness: { readonly size: number; readonly head: string; readonly digest: string } | null
  readonly mismatchSinceMs: number | null
  /** Older heads that were witnessed, oldest first (witness.ts). */
  readonly heads: readonly Head[]
  /** The last of the records that waited for a failing store: its number, its hash, how many waited (witness.ts). */
  readonly buffered: Buffered | null
  /** How many of them were never written; kept until the next strong heartbeat. 0: none. */
  readonly auditLost: number
  /** The state file was unreadable at a start; kept until the next strong heartbeat. */
  readonly lost: boolean
  /** Everything was stopped by the contact or with `--emergency`; kept until the operator resumes. */
  readonly emergency: Emergency | null
  /** Names the last stop that this process was told of or made; 0: none yet. */
  readonly stopId: number
  /** Open alerts by finding. */
  readonly alerts: Readonly<Record<string, { readonly level: number; readonly sinceMs: number }>>
  /** Rises with every round that told something. What is told twice after a crash has the same number, so it is recognised. */
  readonly told: number
  /** What the backup contact was told about the present matter. */
  readonly contactTold: NoticesTold
}

/** Fields that a state written by an earlier version lacks; those of the presence come from `firstPresence`. */
const ADDED = {
  run: null,
  contactTold: NOTHING_TOLD,
  emergency: null,
  stopId: 0,
  heads: [],
  buffered: null,
  auditLost: 0,
} satisfies Partial<State>

/** The state of a new home: begins with a strong heartbeat now. */
export function firstState(mark: Reading, instance: string): State {
  return {
    version: 1,
    instance,
    // Above every earlier epoch of this home, even if its state was lost: a start takes more than a second.
    epoch: Math.floor(mark.wallMs / 1000),
    lineMs: 0,
    mark,
    wallHighMs: mark.wallMs,
    presence: firstPresence(),
    announced: null,
    throughput: null,
    witness: null,
    mismatchSinceMs: null,
    lost: false,
    ...ADDED,
    alerts: {},
    told: Math.floor(mark.wallMs / 1000),
  }
}

/** A state as a file holds it, with what an earlier version did not write. */
export function stateOf(text: string): State {
  const written = JSON.parse(text) as State
  const presence = { ...firstPresence(), ...written.presence }
  return { ...ADDED, ...written, told: written.told ?? written.epoch, presence }
}
