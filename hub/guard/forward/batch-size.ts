/**
 * How much a receiver is sent at once. One that says that a batch is too much for it (HTTP 413), or that does not take it in time, is sent half
 * of it, down to one record. What it takes lets the batches grow again. Where growing failed, that is tried less and less often.
 */
import { HubError, toHubError } from '../../base/errors.ts'
import { BATCH_RECORDS_MAX, type Batch } from './batch.ts'

/** Batches that it has to take before it is sent more, at most. */
const PATIENCE_MAX = 64

/** `size`: it says that this is too large for it. `time`: it did not take it in time, or the connection broke meanwhile. */
export type TooMuch = 'size' | 'time'

/** Thrown by a sink for a batch that is too much for its receiver. */
export const tooMuchError = (what: TooMuch, detail: string): HubError =>
  new HubError('timed_out', detail, { facts: { tooMuch: what } })

/** Undefined for any other fault: sending less would not help. */
export function tooMuchOf(thrown: unknown): TooMuch | undefined {
  const { tooMuch } = toHubError(thrown).facts
  return tooMuch === 'size' || tooMuch === 'time' ? tooMuch : undefined
}

export interface BatchSize {
  /** Records in the next batch, at most. */
  max(): number
  taken(): void
  /** This batch was too much. False if it was one record: then it cannot be halved. */
  halve(batch: Pick<Batch, 'entries'>): boolean
}

export function createBatchSize(): BatchSize {
  let max = BATCH_RECORDS_MAX
  let takenInARow = 0
  let patience = 1
  /** It was sent more than before, and has not taken it yet. */
  let isTrying = false
  return {
    max: () => max,
    taken() {
      if (isTrying) patience = 1
      isTrying = false
      takenInARow += 1
      if (max === BATCH_RECORDS_MAX || takenInARow < patience) return
      max = Math.min(BATCH_RECORDS_MAX, max * 2)
      takenInARow = 0
      isTrying = true
    },
    halve({ entries }) {
      if (isTrying) patience = Math.min(PATIENCE_MAX, patience * 2)
      isTrying = false
      takenInARow = 0
      // Its bytes may have ended it before its number of records did.
      max = Math.max(1, Math.floor(Math.min(max, entries.length) / 2))
      return entries.length > 1
    },
  }
}
