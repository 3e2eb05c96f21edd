/** What the gateway counts (S0-12). */
import { createTally } from '../../base/meters.ts'

const EGRESS_ENDS = ['answered', 'refused', 'failed', 'left'] as const

export const createEgressMeters = () => ({
  /** By how they ended. */
  requests: createTally(EGRESS_ENDS),
  /** Connections that were turned away because their session had as many as it may. */
  turnedAway: 0,
  /** Of bodies. */
  bytesOut: 0,
  bytesIn: 0,
  /** How often a secret was masked in an answer. */
  leaks: 0,
  /** Requests and lines under way now. */
  open: 0,
})
export type EgressMeters = ReturnType<typeof createEgressMeters>
