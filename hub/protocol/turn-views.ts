/** What is shown of turns, and the rows of the table of answers that are about them (protocol/answers.ts). */
import { z } from 'zod'
import { sessionIdShape, uuidShape } from './ids.ts'
import { STOP_REASONS } from './stop-reasons.ts'
import { TURN_STATES, turnUsageShape } from './turn.ts'

const row = <Answer extends z.ZodType | null>(does: string, answer: Answer) => ({ does, answer })
const instant = z.int().describe('milliseconds since 1970')

/** Without what was said. */
const briefShape = z.strictObject({
  id: uuidShape,
  session: sessionIdShape,
  number: z.int().describe('counts the turns of the session from 1'),
  state: z.enum(TURN_STATES),
  stopReason: z.enum(STOP_REASONS).nullable().describe('why it ended'),
})
export const turnShape = briefShape.extend({
  prompt: z.string(),
  askedBy: z.string(),
  error: z.string().nullable().describe('why it failed or was never begun'),
  text: z.string().describe('what it said so far'),
  cut: z.boolean().describe('prompt or text is longer than what is here; `session.turns` has more of it'),
  usage: turnUsageShape.nullable().describe('tokens of the session up to this turn, by the count of its program'),
  createdAtMs: instant,
  startedAtMs: instant.nullable(),
  endedAtMs: instant.nullable(),
})
export type TurnView = z.output<typeof turnShape>
export type BriefTurn = z.output<typeof briefShape>

/** Beside what a stop answers. */
const unwritten = {
  unwritten: z
    .strictObject({ kept: z.enum(['file', 'memory', 'all_held']), detail: z.string() })
    .optional()
    .describe('the stop is under way and not recorded yet'),
}

/** Rows of the table of answers (protocol/answers.ts). */
export const TURN_ANSWERS = {
  'session.turns': row(
    'The turns of a session, newest first, with all that is kept of what they said; or one of them.',
    z.strictObject({ turns: z.array(turnShape), next: z.string().nullable() }),
  ),
  'session.say': row(
    'Gives a session a prompt: of a chat the next turn, of a task a note to its program at work.',
    z.strictObject({ turn: briefShape }),
  ),
  'session.interrupt': row(
    'Cancels the turn that goes on, or the next one; what it said stays, and the session goes on.',
    z.strictObject({ turn: briefShape.nullable(), ...unwritten }),
  ),
  'session.close': row(
    'Tells a chat that nothing more comes: its program gives its result, and its task succeeds.',
    z.strictObject({ session: sessionIdShape, closed: z.literal(true), ...unwritten }),
  ),
}
