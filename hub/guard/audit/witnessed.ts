/**
 * Compares the log with what the watchdog has witnessed (fault F5). A log that was cut, rolled back, rewritten or signed again can be whole in
 * itself; only a witness that saw it before can tell that it is another one. Pure.
 */

/** As the watchdog says it; `away`: it could not be asked. */
export type WitnessSaid =
  | { kind: 'away'; reason: string }
  | {
      kind: 'says'
      /** Heads it has seen: the newest first. None at a new home. */
      heads: readonly { size: number; head: string }[]
      /** It was shown a log that does not follow from them, and the operator has not accepted it. */
      isMismatch: boolean
    }

export interface WitnessVerdict {
  asked: boolean
  /** Records of the newest head it has seen; null if it was not asked, or has seen none. */
  size: number | null
  /** Why the log is not the one it has seen, or why it could not be asked; null if it agrees. */
  reason: string | null
}

/** `hashOf`: of a record, by what it holds now; null if there is none. */
export function judgeWitnessed(said: WitnessSaid, hashOf: (seq: number) => string | null): WitnessVerdict {
  if (said.kind === 'away') return { asked: false, size: null, reason: said.reason }
  const size = said.heads[0]?.size ?? null
  for (const seen of said.heads) {
    const hash = hashOf(seen.size)
    if (hash === seen.head) continue
    const how = hash === null ? 'gone' : 'not the one that the watchdog has seen'
    return { asked: true, size, reason: `record ${seen.size} is ${how}` }
  }
  const reason = said.isMismatch ? 'the watchdog was shown a log that does not follow from the one it has seen' : null
  return { asked: true, size, reason }
}

const isSeen = (value: unknown): value is { size: number; head: string } => {
  const { size, head } = (value ?? {}) as Record<string, unknown>
  return Number.isSafeInteger(size) && typeof head === 'string'
}

/** Reads it out of the watchdog's status; what is not understood counts as away. */
export function witnessIn(status: unknown): WitnessSaid {
  const { witness, olderHeads, conditions } = (status ?? {}) as Record<string, unknown>
  if (witness === undefined || !Array.isArray(conditions))
    return { kind: 'away', reason: 'its answer is not understood' }
  const heads = Array.isArray(olderHeads) ? olderHeads.map((each) => ({ size: each?.[0], head: each?.[1] })) : []
  const all = witness === null ? [] : [witness, ...heads]
  if (!all.every(isSeen)) return { kind: 'away', reason: 'its answer is not understood' }
  return {
    kind: 'says',
    heads: all.map(({ size, head }) => ({ size, head })),
    isMismatch: conditions.includes('witness_mismatch'),
  }
}
