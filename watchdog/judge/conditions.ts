/**
 * The conditions this process holds (docs/safety.md 1), as one table: who may end each, whether it sticks, whether the contact is told.
 * The hub has the same names in its own table; here is what travels in the lease. Pure.
 */
import type { State } from './state.ts'

interface ConditionRow {
  /** Whether it holds now. */
  readonly holds: (state: State) => boolean
  /** Survives restarts of both processes, reboots and every step of a clock; ends only as said. */
  readonly sticky: boolean
  readonly endsBy: string
  /** The finding by which people hear of it, and whether the contact does. */
  readonly contactIsTold: boolean
}

export const CONDITIONS = {
  heartbeat_missed: {
    holds: ({ presence }) => presence.safeSinceMs !== null,
    sticky: true,
    endsBy: 'hub heartbeat',
    contactIsTold: true,
  },
  unattended_stop: {
    holds: ({ presence }) => presence.stoppedSinceMs !== null,
    sticky: true,
    endsBy: 'hub up, then hub heartbeat',
    contactIsTold: true,
  },
  witness_mismatch: {
    holds: ({ mismatchSinceMs }) => mismatchSinceMs !== null,
    sticky: true,
    endsBy: 'hub resume --accept-head HASH',
    contactIsTold: true,
  },
  // With --keep-working it demands nothing until its end. The grace after that is for coming back, not for more work.
  away: {
    holds: ({ presence: { away, nowMs } }) => away !== null && (!away.keepWorking || nowMs >= away.untilMs),
    sticky: true,
    endsBy: 'hub back, or its end and hub heartbeat',
    contactIsTold: true,
  },
  emergency_stop: {
    holds: ({ emergency }) => emergency !== null,
    sticky: true,
    endsBy: 'hub resume',
    // Not needed: the contact saw the page confirm it, or the operator stopped at the machine.
    contactIsTold: false,
  },
} as const satisfies Record<string, ConditionRow>
export type ConditionName = keyof typeof CONDITIONS

/** Those that hold; each demands safe mode. */
export const conditionsOf = (state: State): readonly ConditionName[] =>
  (Object.keys(CONDITIONS) as ConditionName[]).filter((name) => CONDITIONS[name].holds(state))
