/** `hub task ...`: lists, shows, cancels, retries and releases tasks, and says how one ended. */
import type { TaskMoney } from '../../../protocol/budget.ts'
import { usdWritten } from '../../../protocol/dollars.ts'
import { STOP_REASON_WORDS } from '../../../protocol/stop-reasons.ts'
import { TRANSCRIPT_TEXT_CHARS, TRANSCRIPT_TRIES } from '../../../protocol/transcripts.ts'
import type { Wishes } from '../../../protocol/wish-places.ts'
import type { AttemptView, LateView, TaskView } from '../../answers.ts'
import { unwrittenOf } from '../../connection.ts'
import { EXIT, toProblem, usage } from '../../problem.ts'
import { type Context, given, pageOf, type Run, showList, stopped, typed } from '../context.ts'
import { shortDigest, shortId } from '../ids.ts'
import { costRows } from '../money/words.ts'
import {
  type Cell,
  clean,
  cleanLines,
  columns,
  countOf,
  facts,
  instantText,
  type Paint,
  type Style,
  sizeText,
  spanWords,
  whenText,
} from '../text.ts'
import { turnTable } from './turn-text.ts'

const STYLES: Readonly<Record<string, Style>> = {
  queued: 'dim',
  running: 'cyan',
  succeeded: 'green',
  failed: 'red',
  cancelled: 'yellow',
  timed_out: 'red',
}
export const stateCell = (state: string): Cell => ({ text: state, style: STYLES[state] ?? 'bold' })
export const isTerminal = (task: TaskView): boolean => task.state !== 'queued' && task.state !== 'running'

/** The exit code for an ended task: 3 for a refusal by the rules, 6 if its time ran out, 5 for any other failure. */
export function outcomeCode(task: TaskView): number {
  if (task.state === 'succeeded') return EXIT.done
  if (task.state === 'timed_out') return EXIT.timedOut
  const denied = ['policy_denied', 'forbidden', 'needs_approval', 'delegation_wider']
  return task.state === 'failed' && denied.includes(task.error?.code ?? '') ? EXIT.refused : EXIT.taskFailed
}

/** Codes that say no more than the state. */
const SAID_BY_STATE = new Set(['cancelled', 'ttl_expired'])

/**
 * Why a task did not succeed, in one line (fault C2): the hub's reason, or the agent's. If it succeeded: what was lost of its result.
 * Else empty.
 */
export function reasonText(task: TaskView): string {
  if (task.error !== null) {
    const { code, detail } = task.error
    return SAID_BY_STATE.has(code) ? detail : `${detail} (${code})`
  }
  if (!isTerminal(task)) return ''
  const said = task.outcome?.error
  // Succeeded, but something of its result was lost (fault C29).
  if (task.state === 'succeeded') return typeof said === 'string' ? said : ''
  return typeof said === 'string' && said !== '' ? said : 'its agent gave no reason'
}

export function progressText(task: TaskView): string {
  const reason = reasonText(task)
  if (reason !== '') return reason
  if (task.held) return 'held: `hub task release` or `hub task cancel`'
  if (typeof task.waitsFor === 'string') return task.waitsFor
  if (task.progress === null || isTerminal(task)) return ''
  const { text = '', done, total } = task.progress
  return typeof done === 'number' && typeof total === 'number' ? `${text} (${done} of ${total})`.trim() : text
}

const tookText = (task: TaskView, nowMs: number): string =>
  task.startedAtMs === null ? '' : spanWords((task.endedAtMs ?? nowMs) - task.startedAtMs)

export const taskTable = (tasks: readonly TaskView[], nowMs: number, paint: Paint): string =>
  columns(
    ['TASK', 'STATE', 'AGENT', 'SUBMITTED', 'TOOK', 'WHAT'],
    tasks.map((task) => [
      shortId(task.id),
      stateCell(task.state),
      task.agent ?? task.needs.join(','),
      instantText(task.createdAtMs, nowMs),
      tookText(task, nowMs),
      progressText(task),
    ]),
    paint,
  )

/** `failed: why`: the first line of a task that did not succeed. */
export const failureLine = (task: TaskView): string => `${task.state.replace('_', ' ')}: ${reasonText(task)}`

const SYSTEM_CHARS = 80

/** What is asked of its agent's model. */
function wishRows({ model, system, maxTurns, budget }: Wishes): [string, Cell][] {
  const prompt = system !== undefined && system.length > SYSTEM_CHARS ? `${system.slice(0, SYSTEM_CHARS)}...` : system
  const rows: [string, string | undefined][] = [
    ['model', model],
    ['system prompt', prompt?.replaceAll('\n', ' ')],
    ['most turns', maxTurns?.toString()],
    ['may cost', budget === undefined ? undefined : usdWritten(budget)],
  ]
  return rows.filter((row): row is [string, string] => row[1] !== undefined)
}

/** What is kept of the conversation of its CLI, and what the next start does with it. */
function conversationText(kept: NonNullable<TaskView['conversation']>, nowMs: number): string {
  const { keptAtMs, size, tries, next } = kept
  const then =
    next === 'resume'
      ? `the next start goes on with it${tries === 0 ? '' : `, try ${tries + 1} of ${TRANSCRIPT_TRIES}`}`
      : `${TRANSCRIPT_TRIES} starts that went on with it have fallen; the next begins anew and is told its last ${TRANSCRIPT_TEXT_CHARS} characters`
  return `${sizeText(size)}, kept ${whenText(keptAtMs, nowMs)}; ${then}`
}

/** One task in full, with what it cost: why it failed first, its value last, as JSON or, if it is text, as text. */
export function taskText(task: TaskView, nowMs: number, paint: Paint, money?: TaskMoney | null): string {
  const first = reasonText(task) === '' ? '' : `${paint('red', clean(failureLine(task)))}\n\n`
  const rows: [string, Cell][] = [
    ['task', task.id],
    ['state', stateCell(task.state)],
    ['agent', task.agent ?? `any with ${task.needs.join(', ')}`],
    ...(typeof task.sensitivity === 'string' ? [['sensitivity', task.sensitivity] satisfies [string, Cell]] : []),
    ['submitted', `${whenText(task.createdAtMs, nowMs)} by ${task.requestedBy}`],
  ]
  rows.push(...wishRows(task.spec ?? {}))
  if (task.startedAtMs !== null) rows.push(['took', tookText(task, nowMs)])
  if (task.attempts > 1) rows.push(['attempts', `${task.attempts}, ${task.restarts} of them restarts`])
  if (task.acceptedFrom !== undefined) rows.push(['came late', `after the end of task ${task.acceptedFrom}`])
  if (task.parent !== null) rows.push(['parent', task.parent])
  if (task.children > 0) rows.push(['children', `${task.children}: \`hub task list --parent ${shortId(task.id)}\``])
  // A trace has the id of the task at its root.
  if (task.parent === null) rows.push(['trace', task.id.replaceAll('-', '')])
  if (task.session !== null) rows.push(['session', task.session])
  if (first === '' && progressText(task) !== '')
    rows.push([task.state === 'queued' ? 'waits' : 'doing', progressText(task)])
  const stopped = task.outcome?.stopReason
  if (stopped !== undefined) rows.push(['stop reason', `${stopped}: ${STOP_REASON_WORDS[stopped]}`])
  if (task.conversation !== undefined) rows.push(['conversation', conversationText(task.conversation, nowMs)])
  if (money) rows.push(...costRows(money))
  for (const artifact of task.artifacts) {
    rows.push([
      'artifact',
      `${artifact.name}${artifact.unfinished === true ? ' (unfinished)' : ''}  ${sizeText(artifact.size)}  ${shortDigest(artifact.sha256)}`,
    ])
  }
  const text = first + facts(rows, paint)
  const value = task.outcome?.value
  if (value === undefined || value === null) return text
  const shown = typeof value === 'string' ? value : JSON.stringify(value, null, 2)
  return `${text}\n\n${cleanLines(shown)}`
}

/** What came after its end, and the word that keeps it. */
function lateText({ session, cameAtMs, outcome, accepted, artifacts }: LateView, task: string, nowMs: number): string {
  const what = `late: session ${session} handed in a result after the end, ${whenText(cameAtMs, nowMs)}: ${outcome.outcome}, ${countOf(artifacts.length, 'artifact')}`
  const way =
    accepted === null ? `\`hub task accept ${shortId(task)}\` keeps it as a task` : `kept as task ${shortId(accepted)}`
  return clean(`${what}; ${way}`)
}

function attemptTable(attempts: readonly AttemptView[], nowMs: number, paint: Paint): string {
  const rows = attempts.map((each) => [
    String(each.attempt),
    each.state,
    each.session ?? '',
    each.startedAtMs === null ? '' : instantText(each.startedAtMs, nowMs),
    each.startedAtMs === null ? '' : spanWords((each.endedAtMs ?? nowMs) - each.startedAtMs),
    each.exit === null ? '' : `${each.exit}${each.exitCode === null ? '' : ` (exit ${each.exitCode})`}`,
  ])
  return columns(['ATTEMPT', 'STATE', 'SESSION', 'STARTED', 'TOOK', 'ENDED'], rows, paint)
}

/** Cancels, retries or releases one task, and shows it. */
export async function moved(
  context: Context,
  operation: 'task.accept' | 'task.cancel' | 'task.retry' | 'task.release',
  id: string,
) {
  const answer = await context.hub.call(operation, { id })
  if (context.json) context.terminal.json(answer)
  else if (unwrittenOf(answer) !== undefined) context.terminal.out(`${id} ${stopped(answer, '')}`)
  else context.terminal.out(answer.task ? taskTable([answer.task], Date.now(), context.terminal.paint) : `${id}: done`)
  return EXIT.done
}

export const list: Run = async (context, _, options) => {
  const request = given({
    ...pageOf(options),
    state: typed<TaskView['state']>(options.state),
    parent: typed(options.parent),
  })
  const { tasks, next } = await context.hub.call('task.list', request)
  const table = (rows: readonly TaskView[]) => taskTable(rows, Date.now(), context.terminal.paint)
  showList(context, tasks, { next, empty: 'no tasks: `hub submit AGENT` makes one', table })
  return EXIT.done
}

export const show: Run = async ({ hub, json, terminal }, [id = '']) => {
  const answer = await hub.call('task.show', { id }, { own: true })
  if (json) terminal.json(answer)
  else {
    terminal.out(taskText(answer.task, Date.now(), terminal.paint, answer.money))
    for (const each of answer.late ?? []) terminal.out(`\n${lateText(each, answer.task.id, Date.now())}`)
    if (answer.attempts.length > 0) terminal.out(`\n${attemptTable(answer.attempts, Date.now(), terminal.paint)}`)
    if (answer.turns?.length) terminal.out(`\n${turnTable(answer.turns, terminal.paint)}`)
  }
  return EXIT.done
}

export const accept: Run = (context, [id = '']) => moved(context, 'task.accept', id)
export const retry: Run = (context, [id = '']) => moved(context, 'task.retry', id)

const PAGES_MAX = 1000

/** Every held task, oldest first: the first submitted is released first. */
async function everyHeld({ hub }: Context): Promise<TaskView[]> {
  const found: TaskView[] = []
  let cursor: string | undefined
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const page = await hub.call('task.list', given({ held: 'true', limit: 100, cursor }))
    found.push(...page.tasks)
    if (page.next === null) break
    cursor = page.next
  }
  return found.reverse()
}

/** One request for each task, with its own record. A task whose state changed in the meantime is skipped. */
async function moveAll(context: Context, operation: 'task.cancel' | 'task.release', wasYes: boolean, done: string) {
  const { hub, json, terminal } = context
  const held = await everyHeld(context)
  const verb = operation === 'task.release' ? 'Release' : 'Cancel'
  if (held.length > 0 && !(await terminal.confirm(`${verb} ${countOf(held.length, 'held task')}?`, wasYes)))
    return EXIT.refused
  const answers: unknown[] = []
  for (const { id } of held) {
    try {
      const answer = await hub.call(operation, { id })
      answers.push(answer)
      if (!json) terminal.out(`${id} ${stopped(answer, done)}`)
    } catch (error) {
      const problem = toProblem(error)
      if (problem.code !== 'already_resolved') throw problem
    }
  }
  if (json) terminal.json(answers)
  else if (held.length === 0) terminal.out('no task is held')
  return EXIT.done
}

const command =
  (operation: 'task.cancel' | 'task.release', flag: 'held' | 'all', done: string): Run =>
  (context, [id], options) => {
    const wide = options[flag] === true
    if (wide === (id !== undefined)) throw usage(`name a task, or say --${flag}`)
    return id === undefined ? moveAll(context, operation, options.yes === true, done) : moved(context, operation, id)
  }

export const cancel: Run = command('task.cancel', 'held', 'cancelled')
export const release: Run = command('task.release', 'all', 'may start')
