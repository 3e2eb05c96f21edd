/** Why an agent's model stopped (S4-20): the words of a result and of a turn, in one list. */
export const STOP_REASONS = ['end_turn', 'max_tokens', 'tool_use', 'stop_sequence', 'cancelled', 'error'] as const
export type StopReason = (typeof STOP_REASONS)[number]

/** Each in words; for the pages of reference and for people. */
export const STOP_REASON_WORDS = {
  end_turn: 'it was done',
  max_tokens: 'it came to the most tokens of an answer, or to the end of its context',
  tool_use: 'it wanted a tool, and was not given another turn',
  stop_sequence: 'it wrote a text at which it was to stop',
  cancelled: 'it was stopped',
  error: 'its model or its program failed',
} as const satisfies Record<StopReason, string>

/** The reason that a program named, if it is one. */
export const stopReasonOf = (value: unknown): StopReason | undefined => STOP_REASONS.find((each) => each === value)
