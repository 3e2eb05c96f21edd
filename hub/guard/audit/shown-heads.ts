/**
 * The heads that were shown to somebody since the start: only such a one is accepted after a mismatch of the witness. The hash of any old
 * record is in the true log and in a false one, and would say nothing of which of them the operator has looked at.
 */
export interface ShownHeads {
  note(head: string): void
  has(head: string): boolean
}

/** The oldest is forgotten: each stands for a look at a log that has moved since. */
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
