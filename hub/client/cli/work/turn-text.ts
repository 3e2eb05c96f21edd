/** Turns as people read them: in a table, shortened, or one of them whole. Pure. */
import { STOP_REASON_WORDS } from '../../../protocol/stop-reasons.ts'
import type { TurnView } from '../../answers.ts'
import { EXIT } from '../../problem.ts'
import { shortId } from '../ids.ts'
import {
  type Cell,
  clean,
  cleanLines,
  columns,
  inOneLine,
  type Paint,
  type Style,
  spanWords,
  whenText,
} from '../text.ts'

const STYLES: Readonly<Record<TurnView['state'], Style>> = {
  waiting: 'dim',
  running: 'cyan',
  done: 'green',
  cancelled: 'yellow',
  failed: 'red',
}
const PROMPT_CHARS = 40
const TEXT_CHARS = 120

export const isOver = ({ state }: Pick<TurnView, 'state'>): boolean => state !== 'waiting' && state !== 'running'

/** 0 for a turn that is done, whatever ended it; 5 for one that failed or was cancelled. */
export const codeOfTurn = ({ state }: Pick<TurnView, 'state'>): number =>
  state === 'done' ? EXIT.done : EXIT.taskFailed

/** `done`, or `done (max_tokens)`: the reason only where the state does not say it. */
export function turnState({ state, stopReason }: Pick<TurnView, 'state' | 'stopReason'>): string {
  const isSaid = stopReason === null || stopReason === 'end_turn' || state !== 'done'
  return isSaid ? state : `${state} (${stopReason})`
}

/** Why it did not come to its own end; empty if it did or still goes on. */
export function turnReason({ state, stopReason, error }: Pick<TurnView, 'state' | 'stopReason' | 'error'>): string {
  if (error !== null) return error
  if (stopReason === null || stopReason === 'end_turn') return ''
  return state === 'done' ? `${stopReason}: ${STOP_REASON_WORDS[stopReason]}` : ''
}

const shortened = (text: string, most: number): string => {
  const characters = [...inOneLine(text)]
  return characters.length <= most ? characters.join('') : `${characters.slice(0, most - 1).join('')}…`
}

/** One row for each, and below it how to read the whole. */
export function turnTable(turns: readonly TurnView[], paint: Paint): string {
  const rows = turns.map((turn): Cell[] => [
    String(turn.number),
    { text: turnState(turn), style: STYLES[turn.state] },
    shortened(turn.prompt, PROMPT_CHARS),
    shortened([turn.error ?? '', turn.text].filter((each) => each !== '').join(': '), TEXT_CHARS),
  ])
  const session = turns.at(-1)?.session ?? ''
  const table = columns(['TURN', 'STATE', 'PROMPT', 'SAID'], rows, paint)
  return `${table}\n${paint('dim', `\`hub session turns ${session} NUMBER\` shows one whole`)}`
}

/** One turn whole: who asked what and when, how it ended, and what was said. */
export function turnText(turn: TurnView, nowMs: number, paint: Paint): string {
  const { number, session, askedBy, createdAtMs, startedAtMs, endedAtMs, prompt, text, cut, usage } = turn
  const took = startedAtMs === null || endedAtMs === null ? '' : `, took ${spanWords(endedAtMs - startedAtMs)}`
  const state = paint(STYLES[turn.state], clean(turnState(turn)))
  const asked = `by ${clean(askedBy)} ${whenText(createdAtMs, nowMs)}${took}`
  const reason = turnReason(turn)
  const said = [
    `${paint('bold', `turn ${number}`)} of ${shortId(session)}: ${state}, asked ${asked}`,
    ...(reason === '' ? [] : [clean(reason)]),
    ...(usage === null ? [] : [`tokens of the session so far: ${usage.input} sent, ${usage.output} received`]),
    ...cleanLines(prompt)
      .split('\n')
      .map((line) => paint('dim', `> ${line}`)),
  ]
  if (text !== '') said.push('', cleanLines(text))
  if (cut) said.push(paint('dim', '(there was more; no more is kept)'))
  return said.join('\n')
}
