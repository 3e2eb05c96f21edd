/** `hub session say|interrupt|close|turns`: prompts to a session, and what was said (docs/chat.md). Its task may stand for it. */
import { randomUUID } from 'node:crypto'
import type { HubEvent } from '../../../protocol/events.ts'
import { PROMPT_BYTES_MAX } from '../../../protocol/turn.ts'
import type { TaskView, TurnView } from '../../answers.ts'
import { unwrittenOf } from '../../connection.ts'
import { EXIT, Problem, toProblem } from '../../problem.ts'
import { type Context, given, pageOf, type Run, showList, stopped, wholeOption } from '../context.ts'
import { idOfEither } from '../ids.ts'
import { clean, cleanLines } from '../text.ts'
import { isTerminal, progressText } from './tasks.ts'
import { codeOfTurn, isOver, turnReason, turnState, turnText } from './turn-text.ts'
import { typedOrPiped } from './typed-text.ts'
import { newsOf, waitFor } from './watch.ts'

/** How long a prompt waits for the session of a task that was just submitted. */
const START_MS = 60_000

/** The session of a task: the one that lives, else the last one; undefined before the first. */
async function sessionOfTask({ hub }: Context, id: string): Promise<{ task: TaskView; session: string | undefined }> {
  const { task, attempts } = await hub.call('task.show', { id })
  const last = attempts.findLast(({ session }) => session !== null)
  return { task, session: task.session ?? last?.session ?? undefined }
}

/** The session that a text names, by itself or by its task. @throws Problem `unknown_session` for a task that has none */
async function sessionOf(context: Context, text: string): Promise<string> {
  const { kind, id } = await idOfEither(context.hub.call, ['session', 'task'], text)
  if (kind === 'session') return id
  const { task, session } = await sessionOfTask(context, id)
  if (session !== undefined) return session
  throw new Problem(
    'unknown_session',
    'refused',
    `task ${id} is ${task.state} and has no session`,
    `\`hub task show ${id}\``,
  )
}

/** The same for a session that is to be spoken to. Of a task that was just submitted, its start is waited for. @throws Problem */
async function livingSession(context: Context, text: string): Promise<string> {
  const { kind, id } = await idOfEither(context.hub.call, ['session', 'task'], text)
  if (kind === 'session') return id
  const none = (detail: string, next: string) => new Problem('unknown_session', 'refused', detail, next)
  const look = async () => {
    const { task } = await sessionOfTask(context, id)
    if (isTerminal(task))
      throw none(
        `task ${id} has ended (${task.state}), and its session with it`,
        `\`hub task retry ${id}\` begins it again`,
      )
    if (task.held) throw none(`task ${id} is held and has no session yet`, `\`hub task release ${id}\` lets it start`)
    if (task.session === null)
      context.terminal.live(`waiting for its session: ${progressText(task) || `it is ${task.state}`}`)
    return task.session ?? undefined
  }
  const late = new Problem(
    'timed_out',
    'unavailable',
    `task ${id} has not started in time; nothing was said`,
    `\`hub task show ${id}\` says what it waits for`,
  )
  const isWorthALook = ({ type }: HubEvent) => type === 'hub.session.started.v1' || type === 'hub.task.running.v1'
  // Mostly it is there, and then what happened before is no news.
  return (await look()) ?? (await waitFor(context, { task: id, news: newsOf, isWorthALook, look, late }, START_MS))
}

/** The end of a turn. Only then is its text read, which leaves a record. */
async function endOf(context: Context, session: string, turn: Pick<TurnView, 'id' | 'number'>): Promise<TurnView> {
  const { hub, terminal } = context
  const { session: row } = await hub.call('session.show', { id: session })
  const isOwn = ({ type, data }: HubEvent) => type === 'hub.session.turn.v1' && data.turn === turn.id
  const read = async () => (await hub.call('session.turns', { id: session, turn: turn.id })).turns[0]
  if (row.task === null) throw new Problem('unknown_session', 'refused', `session ${session} has no task`, '')
  const leave = () => {
    terminal.live('')
    terminal.note(
      `turn ${turn.number} goes on: \`hub session turns ${session} ${turn.number}\`, \`hub session interrupt ${session}\``,
    )
    process.exit(130)
  }
  // What was before it in the feed is of other turns.
  let isNew = false
  const news = (event: HubEvent) => {
    isNew ||= isOwn(event)
    if (!isNew) return ''
    return isOwn(event) ? `turn ${turn.number} is ${clean(event.data.state)}` : newsOf(event)
  }
  process.once('SIGINT', leave)
  try {
    return await waitFor(context, {
      news,
      task: row.task,
      isWorthALook: (event) =>
        isOwn(event) || event.type === 'hub.task.asked.v1' || event.type === 'hub.approval.asked.v1',
      async look() {
        const shown = (await hub.call('session.show', { id: session })).turns?.find(({ id }) => id === turn.id)
        // So many came after it that it is not among the last ones any more.
        return shown !== undefined && !isOver(shown)
          ? undefined
          : await read().then((one) => (one && isOver(one) ? one : undefined))
      },
      late: new Problem('timed_out', 'unavailable', `turn ${turn.number} has not ended in time`, ''),
    })
  } finally {
    process.removeListener('SIGINT', leave)
  }
}

/** Cancels the turn that goes on. That there is none is what was wanted. */
async function interruptFirst(context: Context, id: string): Promise<void> {
  const { hub, terminal } = context
  try {
    const { turn } = await hub.call('session.interrupt', { id })
    if (turn !== null) terminal.note(`turn ${turn.number} ${turn.state}`)
  } catch (error) {
    const problem = toProblem(error)
    if (problem.code !== 'already_resolved') throw problem
    terminal.note('no turn went on')
  }
}

/** What to do instead, for the refusals of a session that takes no prompt. */
function adviceFor(problem: Problem, session: string): Problem {
  const next: Readonly<Record<string, string>> = {
    inbox_closed: `\`hub session turns ${session}\` shows what was said; \`hub submit AGENT\` begins another chat`,
    unsupported_mode: '`hub agent drivers` says which drivers are given prompts',
    limit_exceeded: `\`hub session interrupt ${session}\` cancels the one that goes on`,
  }
  const advice = next[problem.code]
  return advice === undefined
    ? problem
    : new Problem(problem.code, problem.kind, problem.message, advice, problem.facts)
}

export const say: Run = async (context, [named = '', typed = ''], options) => {
  const { hub, json, terminal } = context
  const prompt = await typedOrPiped('the text', typed, PROMPT_BYTES_MAX)
  const id = await livingSession(context, named)
  if (options.interrupt === true) await interruptFirst(context, id)
  // With an id of its own a request that is sent again is the same turn.
  const { turn } = await hub.call('session.say', { id, prompt, turn: randomUUID() }).catch((error: unknown) => {
    throw adviceFor(toProblem(error), id)
  })
  if (options.wait !== true) {
    if (json) terminal.json(turn)
    else terminal.out(`${id} turn ${turn.number} ${turn.state}`)
    return EXIT.done
  }
  const ended = await endOf(context, id, turn)
  if (json) terminal.json(ended)
  else if (ended.text !== '') terminal.out(cleanLines(ended.text.replace(/\n$/, '')))
  const reason = turnReason(ended)
  if (codeOfTurn(ended) !== EXIT.done || reason !== '')
    terminal.note(`turn ${ended.number} ${turnState(ended)}${reason === '' ? '' : `: ${reason}`}`)
  if (ended.cut) terminal.note('it said more than is kept')
  return codeOfTurn(ended)
}

export const interrupt: Run = async (context, [named = '']) => {
  const { hub, json, terminal } = context
  const id = await sessionOf(context, named)
  const answer = await hub.call('session.interrupt', { id })
  if (json) terminal.json(answer)
  else if (answer.turn === null) terminal.out(`${id} ${stopped(answer, 'no turn went on')}`)
  else terminal.out(`${id} turn ${answer.turn.number} ${stopped(answer, answer.turn.state)}`)
  return EXIT.done
}

export const close: Run = async (context, [named = '']) => {
  const { hub, json, terminal } = context
  const id = await sessionOf(context, named)
  const answer = await hub.call('session.close', { id })
  if (json) terminal.json(answer)
  else terminal.out(`${id} ${unwrittenOf(answer) === undefined ? 'told that nothing more comes' : stopped(answer, '')}`)
  return EXIT.done
}

export const turns: Run = async (context, [named = '', typed], options) => {
  const { hub, json, terminal } = context
  const number = wholeOption('the number of a turn', typed, 1, 99_999_999)
  const id = await sessionOf(context, named)
  const show = (turn: TurnView) => turnText(turn, Date.now(), terminal.paint)
  if (number === undefined) {
    const answer = await hub.call('session.turns', given({ id, ...pageOf(options) }))
    // The newest page, read from its oldest turn on.
    const table = (rows: readonly TurnView[]) => [...rows].reverse().map(show).join('\n\n')
    showList(context, answer.turns, { next: answer.next, empty: `nothing was said to session ${id} yet`, table })
    return EXIT.done
  }
  // A page that begins below the next one.
  const [turn] = (await hub.call('session.turns', { id, limit: 1, cursor: String(number + 1) })).turns
  if (turn?.number !== number)
    throw new Problem(
      'conflict',
      'refused',
      `session ${id} has no turn ${number}; ${turn === undefined ? 'it has none' : `its last one is ${turn.number}`}`,
      `\`hub session turns ${id}\``,
    )
  if (json) terminal.json(turn)
  else terminal.out(show(turn))
  return EXIT.done
}
