/**
 * The heads that were shown to somebody since the start: after a mismatch of the witness only one of these is accepted. The hash of an old
 * record can be in the true log and in a false one, so it would not show which of the two the operator has looked at.
 */
export interface ShownHeads {
  note(head: string): void
  has(head: string): boolean
}

/** Beyond this the oldest is forgotten: it was shown when the log was shorter. */
const KEPT_MAX = 4096

export function createShownHeads(): ShownHeads {
  const heads = new Set<string>()
  return {
    note(head) {
      heads.add(head)
      if (heads.size > KEPT_MAX) heads.delete(heads.values().next().value ?? '')
    },
    has: (head) => heads.has(head),
  }
}
