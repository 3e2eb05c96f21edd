/** Operations on turns: prompts to sessions that live (docs/chat.md). */
import { HubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import { principalText } from '../../guard/principal.ts'
import type { BriefTurn, TurnView } from '../../protocol/turn-views.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import { fitting, type TurnRow } from '../../work/dispatch/turn-rows.ts'
import type { Turns } from '../../work/dispatch/turns.ts'
import { type Handlers, handler, stopHandler } from '../serve.ts'

/** Beside a task or a session so many turns are shown, and so much of each, in bytes; the rest is a read of its own, which is recorded. */
export const TURNS_SHOWN = 20
const PROMPT_SHOWN = 500
const TEXT_SHOWN = 2_000

type Ref = { id: string }
type SayRequest = Ref & { prompt: string; turn?: string }

const brief = ({ id, session, number, state, stopReason }: TurnRow): BriefTurn => ({
  ...{ id, session, number, state, stopReason },
})

function view(row: TurnRow, most: { prompt: number; text: number }): TurnView {
  const { askedBy, error, usage, createdAtMs, startedAtMs, endedAtMs } = row
  const [prompt, text] = [fitting(row.prompt, most.prompt), fitting(row.text, most.text)]
  const cut = row.isCut || prompt.length < row.prompt.length || text.length < row.text.length
  return { ...brief(row), prompt, askedBy, error, text, cut, usage, createdAtMs, startedAtMs, endedAtMs }
}

export const shownTurns = (turns: Pick<Turns, 'of'>, session: string): TurnView[] =>
  turns.of(session, TURNS_SHOWN).map((row) => view(row, { prompt: PROMPT_SHOWN, text: TEXT_SHOWN }))

export function turnHandlers(parts: { tasks: Tasks; turns: Turns; random: Random; nowMs: () => number }): Handlers {
  const { tasks, turns, random, nowMs } = parts
  const resource = ({ id }: Ref) => `session:${id}`
  const whole = { prompt: Number.POSITIVE_INFINITY, text: Number.POSITIVE_INFINITY }

  return {
    'session.turns': handler({
      resource,
      effect: (_grant, { id, turn, limit, cursor }: Ref & { turn?: string; limit: number; cursor?: string }) => {
        if (tasks.session(id) === undefined)
          throw new HubError('unknown_session', `${id}: there is no session with that id`)
        if (turn !== undefined) {
          const row = turns.turn(id, turn)
          if (row === undefined) throw new HubError('conflict', `session ${id} has no turn ${turn}`)
          return { turns: [view(row, whole)], next: null }
        }
        const page = turns.of(id, limit, cursor === undefined ? undefined : Number(cursor)).reverse()
        const last = page.at(-1)
        return {
          turns: page.map((row) => view(row, whole)),
          next: last === undefined || last.number === 1 ? null : String(last.number),
        }
      },
    }),
    'session.say': handler({
      resource,
      facts: ({ id }: SayRequest) => ({ agent: tasks.session(id)?.agent ?? null }),
      effect: (grant, request: SayRequest) => {
        const { id, prompt, turn = newUuid(random, nowMs()) } = request
        const row = turns.say(grant, { session: id, turn, prompt, askedBy: principalText(grant.principal) })
        return { turn: brief(row), auditEffect: `turn:${row.id}` }
      },
      after: ({ turn }) => ({ turn }),
    }),
    'session.interrupt': stopHandler({
      resource,
      effect: (grant, { id }: Ref) => {
        const row = turns.interrupt(grant, id)
        return { turn: row === undefined ? null : brief(row), auditEffect: row === undefined ? '' : `turn:${row.id}` }
      },
      after: ({ turn }) => ({ turn }),
    }),
    'session.close': stopHandler({
      resource,
      effect: (grant, { id }: Ref) => turns.close(grant, id, `it was closed by ${principalText(grant.principal)}`),
      after: (_result, { id }) => ({ session: id, closed: true }),
    }),
  }
}
