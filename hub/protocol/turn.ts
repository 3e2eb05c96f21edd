/** Turns of a session: what a prompt is, how it is handed to the program, and what the program says while it works on it (docs/protocol.md 10). */
import { z } from 'zod'
import { uuidShape } from './ids.ts'
import { STOP_REASONS } from './stop-reasons.ts'

/** Of the text in one frame. */
const FRAME_TEXT_BYTES_MAX = 32 * 1024

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
const turnUsageShape = z.strictObject({ input: count, cached: count.default(0), output: count })
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
    .refine((text) => Buffer.byteLength(text) <= FRAME_TEXT_BYTES_MAX, `at most ${FRAME_TEXT_BYTES_MAX} bytes`)
    .optional(),
  tool: z.strictObject({ name: z.string().min(1).max(200), text: z.string().max(1000).optional() }).optional(),
  usage: turnUsageShape.optional(),
})
export type FrameBody = z.output<typeof frameBodyShape>
