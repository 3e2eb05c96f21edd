/**
 * Records that waited for a failing store, as the watchdog remembers them (S1-18, D3 of the requirements). The hub tells with each answer how many
 * wait and the hash of the last as it will be written. Until that hash stands in the log it is remembered, over restarts of both; if
 * something else stands there, or nothing, they were lost. Pure.
 */
import type { Answer } from './lease.ts'

export interface Buffered {
  /** The number that the last of them will have. */
  readonly seq: number
  readonly head: string
  readonly count: number
}

/** What to remember after an answer, and how many are lost by it. The hub was asked for `known.seq`. */
export function judgeBuffered(
  known: Buffered | null,
  { auditSize, bufferSize, bufferHead, asked }: Pick<Answer, 'auditSize' | 'bufferSize' | 'bufferHead' | 'asked'>,
): { buffered: Buffered | null; lost: number } {
  const now =
    bufferSize === 0 || bufferHead === null
      ? null
      : { seq: auditSize + bufferSize, head: bufferHead, count: bufferSize }
  if (known === null) return { buffered: now, lost: 0 }
  const said = asked.find(({ seq }) => seq === known.seq)
  // It could not read the record now, or this answer is to a lease that did not ask yet.
  if (said === undefined) return { buffered: known, lost: 0 }
  return { buffered: now, lost: said.hash === known.head ? 0 : known.count }
}
