/** What an entrance or a loop asks the gate to admit. */
import type { HubError } from '../base/errors.ts'
import type { OperationName } from '../protocol/operations.ts'
import type { ConditionName } from './modes.ts'
import type { Principal } from './principal.ts'

export interface Call {
  readonly principal: Principal
  readonly operation: OperationName
  /** What it is about, for the record: `task:…`, `agent:reader`. */
  readonly resource: string
  /** What the rules may look at. No time and nothing random: decisions are memoised on it. */
  readonly facts?: Readonly<Record<string, unknown>>
  readonly payloadHash?: string
  /** This very request only restricts, whatever its operation may else do (a question answered with no): any mode permits it, as mending. */
  readonly restricts?: boolean
  /** Of a stop that has to hold although the store cannot be written: the request, as the operation's handler takes it (stop-wishes.ts). */
  readonly wish?: unknown
  /** The condition that this call may end by what it proves: that one alone does not hold it back. */
  readonly mends?: ConditionName
  /** A signed request's nonce or a session's token id, burned in this transaction. */
  readonly burn?: { scope: string; value: string; expiresAtMs: number }
  /** Generation and socket once more, now that nothing can come in between. */
  readonly recheck?: () => HubError | undefined
}
