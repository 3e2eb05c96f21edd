/** Turns of a session: what a prompt is, how it is handed to the program, and what the program says while it works on it (docs/protocol.md 10). */
import { z } from 'zod'
import { createMachine } from '../base/machine.ts'
import { sessionIdShape, uuidShape } from './ids.ts'
import { STOP_REASONS, type StopReason } from './stop-reasons.ts'

/** Of one prompt, as UTF-8. */
export const PROMPT_BYTES_MAX = 64 * 1024
/** Prompts of one session that wait for their turn. */
export const WAITING_PROMPTS_MAX = 32
/** Of the text of one turn so much is kept, as UTF-8: its beginning. */
export const TURN_TEXT_BYTES_MAX = 256 * 1024
/** Of the text in one frame. */
const FRAME_TEXT_BYTES_MAX = 32 * 1024

/** As UTF-8. */
const bytesOf = (text: string): number => new TextEncoder().encode(text).length

export const TURN_STATES = ['waiting', 'running', 'done', 'cancelled', 'failed'] as const
export type TurnState = (typeof TURN_STATES)[number]

export const turnMachine = createMachine<TurnState>('turn', {
  waiting: ['running', 'cancelled', 'failed'],
  running: ['done', 'cancelled', 'failed'],
  done: [],
  cancelled: [],
  failed: [],
})

/** What a stop reason makes of a turn. */
export const stateAfter = (reason: StopReason): 'done' | 'cancelled' | 'failed' =>
  reason === 'cancelled' ? 'cancelled' : reason === 'error' ? 'failed' : 'done'

const promptShape = z
  .string()
  .min(1, 'is empty')
  .refine((text) => bytesOf(text) <= PROMPT_BYTES_MAX, `is longer than ${PROMPT_BYTES_MAX} bytes`)
/** `turn`: its id, which the caller may choose: the same prompt again under the same id is the same turn. */
export const sayShape = z.strictObject({ id: sessionIdShape, prompt: promptShape, turn: uuidShape.optional() })
/** One of them, or the newest by pages: the cursor is the number of the last one seen. */
export const turnListShape = z.strictObject({
  id: sessionIdShape,
  turn: uuidShape.optional(),
  limit: z.coerce.number().int().min(1).max(100).default(25),
  cursor: z
    .string()
    .regex(/^\d{1,9}$/)
    .optional(),
})

/** Types of the deliveries that hand over a prompt and take one back. They come from the hub itself, so they have no `from`. */
export const PROMPT_TYPE = 'turn.prompt'
export const TURN_CANCELLED_TYPE = 'turn.cancelled'
export interface PromptBody {
  turn: string
  /** Counts the turns of the session from 1. */
  number: number
  prompt: string
}
export interface TurnCancelledBody {
  turn: string
}

const count = z.int().nonnegative()
/** Tokens of the model, as the program counts them: of the whole session so far. */
export const turnUsageShape = z.strictObject({ input: count, cached: count.default(0), output: count })
export type TurnUsage = z.output<typeof turnUsageShape>

/** A turn begins, or ends. */
export const turnBodyShape = z.discriminatedUnion('state', [
  z.strictObject({ turn: uuidShape, state: z.literal('running') }),
  z.strictObject({
    turn: uuidShape,
    state: z.literal('ended'),
    stopReason: z.enum(STOP_REASONS),
    usage: turnUsageShape.optional(),
    /** Of `error`: what went wrong. */
    error: z.string().max(4096).optional(),
  }),
])
export type TurnBody = z.output<typeof turnBodyShape>

/** What the program says while it works on a turn: a piece of text, a call of a tool, what was used. */
export const frameBodyShape = z.strictObject({
  turn: uuidShape,
  text: z
    .string()
    .refine((text) => bytesOf(text) <= FRAME_TEXT_BYTES_MAX, `at most ${FRAME_TEXT_BYTES_MAX} bytes`)
    .optional(),
  tool: z.strictObject({ name: z.string().min(1).max(200), text: z.string().max(1000).optional() }).optional(),
  usage: turnUsageShape.optional(),
})
export type FrameBody = z.output<typeof frameBodyShape>
