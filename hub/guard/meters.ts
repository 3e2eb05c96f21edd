/** What the guard counts (S0-12): answers of the rules, alerts, refusals, and how long rules, records, commits and the event loop take. */

import { ERRORS, type ErrorCode } from '../base/errors.ts'
import { createGrid, createSpread, createTally, type Example } from '../base/meters.ts'
import { OPERATIONS, type OperationName } from '../protocol/operations.ts'
import { ALERT_KINDS, SEVERITIES } from './alerts/kinds.ts'

/** From ten microseconds, what a remembered answer costs, to the 5 ms above which a bundle is refused, and beyond. */
const SHORT_S = [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1]
/** From a commit on a fast disk to the five seconds that count as a stall. */
const LONG_S = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5]

/** `here`: where what is measured now stands, if traces are kept. */
export const createGuardMeters = (here?: () => Example | undefined) => ({
  /** By operation and answer; a remembered answer counts too. */
  decisions: createGrid(Object.keys(OPERATIONS) as OperationName[], ['allow', 'ask', 'deny']),
  /** One question to the rules that was not remembered. */
  ruleSeconds: createSpread(SHORT_S, here),
  /** Alerts that were opened or became more serious, by the kind of their cause. */
  alerts: createGrid(ALERT_KINDS, SEVERITIES),
  /** By code; each refusal, also one that is only part of a summed record. */
  refusals: createTally(Object.keys(ERRORS) as ErrorCode[]),
  /** Hash and row of one record, within its transaction. */
  recordSeconds: createSpread(SHORT_S, here),
  /** One commit, until the disk has it. */
  commitSeconds: createSpread(LONG_S, here),
  /** How late the loop came that looks once a second. */
  lagSeconds: createSpread(LONG_S),
})
export type GuardMeters = ReturnType<typeof createGuardMeters>
