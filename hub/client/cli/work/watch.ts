/**
 * Waits for one task, or for something of it, and shows its progress. An event only says that something happened; the hub is then asked for the state. So a
 * missed event, a restart of the hub or a broken stream costs seconds, never the answer.
 */
import { ERRORS } from '../../../base/errors.ts'
import type { EventType, HubEvent } from '../../../protocol/events.ts'
import type { TaskView } from '../../answers.ts'
import { EXIT, fixOf, fixStep, Problem, toProblem, usage } from '../../problem.ts'
import { type Context, type Run, spanOption } from '../context.ts'
import { wholeId } from '../ids.ts'
import { approvalLines } from '../presence/approvals.ts'
import { sleep } from '../processes.ts'
import { clean } from '../text.ts'
import { failureLine, isTerminal, outcomeCode, progressText, reasonText, taskText } from './tasks.ts'

const POLL_MS = 5_000
/** How long the hub may not answer, as in a restart, before the wait is given up. */
const AWAY_MS = 60_000
/** After these there is something new to show, or to leave. */
const WORTH_A_LOOK: ReadonlySet<string> = new Set<EventType>([
  'hub.task.completed.v1',
  'hub.task.asked.v1',
  'hub.approval.asked.v1',
])

/** One line for an event; empty for events that tell a person nothing. */
export function newsOf(event: HubEvent): string {
  const { text, done, total } = event.data as { text?: unknown; done?: unknown; total?: unknown }
  if (event.type === 'hub.task.progress.v1') {
    return typeof done === 'number' && typeof total === 'number' ? `${clean(text)} (${done} of ${total})` : clean(text)
  }
  if (event.type === 'hub.task.running.v1') return 'running'
  if (event.type === 'hub.session.started.v1') return 'its container has started'
  if (event.type === 'hub.agent.crashed.v1') return 'the agent crashed'
  return ''
}

/** Shows each question of the task and of its children once, with the command that answers it (fault C1). */
function createQuestions({ hub, terminal }: Context, task: string) {
  const said = new Set<string>()
  return async () => {
    // If the questions may not be read, the wait goes on without them.
    const { approvals } = await hub.call('approval.list').catch(() => ({ approvals: [] }))
    for (const one of [...approvals].reverse()) {
      if (said.has(one.id) || (one.task !== task && one.root !== task)) continue
      said.add(one.id)
      for (const line of approvalLines(one)) terminal.note(line)
    }
  }
}

/** Passes every event, or those of one task, to `heard` until the signal, or until that task has ended. A broken stream calls `broken` and is opened again; no event comes twice. */
export async function listen(
  { hub }: Pick<Context, 'hub'>,
  of: { task?: string },
  heard: (event: HubEvent) => void,
  broken: () => void,
  signal: AbortSignal,
): Promise<void> {
  let last = ''
  let isOver = false
  const ended = () => {
    isOver = true
  }
  while (!signal.aborted) {
    const before = last
    try {
      for await (const event of hub.events(of, signal, { ended })) {
        if (event.time <= before) continue
        last = event.time
        heard(event)
      }
    } catch {
      // The polling beside this says whether the hub is away for good.
    }
    if (signal.aborted) return
    broken()
    if (isOver) return
    await sleep(500)
  }
}

/** What is waited for. */
interface Wait<Found> {
  /** Whose events are heard. */
  task: string
  /** One line for an event; empty for events that tell a person nothing. */
  news: (event: HubEvent) => string
  /** After it there is something new to look at. */
  isWorthALook: (event: HubEvent) => boolean
  /** Asks the hub; undefined while it has not come. @throws Problem */
  look: () => Promise<Found | undefined>
  /** What is thrown once the time is over. */
  late: Problem
}

/** What was waited for. @throws Problem `late` after `timeoutMs`, `unreachable` if the hub stays silent, and what `look` throws */
export async function waitFor<Found>(
  context: Context,
  { task, news: newsFor, isWorthALook, look, late }: Wait<Found>,
  timeoutMs = Number.POSITIVE_INFINITY,
): Promise<Found> {
  const { terminal } = context
  const ending = new AbortController()
  const endAtMs = Date.now() + timeoutMs
  let news = Promise.withResolvers<void>()
  void listen(
    context,
    { task },
    (event) => {
      const text = newsFor(event)
      if (text !== '') terminal.live(text)
      if (isWorthALook(event)) news.resolve()
    },
    () => news.resolve(),
    ending.signal,
  )
  const questions = createQuestions(context, task)
  let awaySinceMs: number | undefined
  try {
    for (;;) {
      try {
        const found = await look()
        awaySinceMs = undefined
        if (found !== undefined) return found
        await questions()
      } catch (error) {
        const problem = toProblem(error)
        awaySinceMs ??= Date.now()
        if (problem.kind !== 'unavailable' || Date.now() - awaySinceMs > AWAY_MS) throw problem
        terminal.live('the hub does not answer; waiting for it')
      }
      const restMs = endAtMs - Date.now()
      if (restMs <= 0) throw late
      const pollMs = Math.min(restMs, awaySinceMs === undefined ? POLL_MS : 500)
      const timer = setTimeout(() => news.resolve(), pollMs)
      await news.promise
      clearTimeout(timer)
      news = Promise.withResolvers<void>()
    }
  } finally {
    ending.abort()
    terminal.live('')
  }
}

/** The task once it has ended. @throws Problem `timed_out` after `timeoutMs`, `unreachable` if the hub stays silent */
export async function watchTask(context: Context, id: string, timeoutMs?: number): Promise<TaskView> {
  const { hub, terminal } = context
  return await waitFor(
    context,
    {
      task: id,
      news: newsOf,
      isWorthALook: ({ type }) => WORTH_A_LOOK.has(type),
      async look() {
        const { task } = await hub.call('task.show', { id })
        if (isTerminal(task)) return task
        if (task.held) terminal.live(progressText(task))
        return undefined
      },
      late: new Problem(
        'timed_out',
        'unavailable',
        `task ${id} has not ended in time; it keeps running`,
        `\`hub wait ${id}\``,
      ),
    },
    timeoutMs,
  )
}

/** What to do about a task that did not succeed. Advice in the reason itself comes before general advice (fault C8). Pure. */
function nextAfter(task: TaskView, hasLogged: boolean): string {
  const own = task.error === null ? undefined : fixOf(task.error.detail)
  if (own !== undefined) return `${fixStep(own)}, then \`hub task retry ${task.id}\``
  if (outcomeCode(task) === EXIT.refused) return '`hub audit list --outcome refused` shows the decision'
  if (hasLogged) return `\`hub task logs ${task.id}\``
  const code = task.error?.code ?? ''
  if (task.state === 'cancelled') return `\`hub task retry ${task.id}\` submits it again`
  // The general advice starts with its log, and there is none.
  if (code === 'agent_unhealthy')
    return `it logged nothing; fix its program, then \`hub agent reset ${task.agent}\` and \`hub task retry ${task.id}\``
  if (Object.hasOwn(ERRORS, code)) return ERRORS[code as keyof typeof ERRORS].next
  return `it logged nothing; fix its input or its agent, then \`hub task retry ${task.id}\``
}

/** Whether the task logged anything; false if the hub cannot say. */
async function hasLogged({ hub }: Context, id: string): Promise<boolean> {
  const answer = await hub.call('task.logs', { id }).catch(() => ({ lines: [] }))
  return answer.lines.length > 0
}

/** Shows how a task ended: why it failed first, what to do about it last (fault C2). */
export async function showOutcome(context: Context, task: TaskView): Promise<number> {
  const { json, terminal } = context
  const code = outcomeCode(task)
  // If a program reads the outcome, the person still sees the reason.
  const isSeen = !json && terminal.paint.width !== undefined
  // If it succeeded: what was lost of its result (fault C29).
  if (reasonText(task) !== '' && !isSeen) terminal.note(`hub: task ${task.id} ${failureLine(task)}`)
  if (json) terminal.json(task)
  else terminal.out(taskText(task, Date.now(), terminal.paint))
  if (code !== EXIT.done) terminal.note(`next: ${nextAfter(task, await hasLogged(context, task.id))}`)
  return code
}

/** The named task, else the one submitted last. */
async function chosenTask({ hub }: Context, id: string | undefined): Promise<string> {
  if (id !== undefined) return await wholeId(hub.call, 'task', id)
  const { tasks } = await hub.call('task.list', { limit: 100 })
  const newest = tasks.reduce<TaskView | undefined>(
    (best, task) => (task.depth === 0 && (best === undefined || task.createdAtMs > best.createdAtMs) ? task : best),
    undefined,
  )
  if (newest === undefined) throw usage('there is no task to wait for', '`hub submit AGENT`')
  return newest.id
}

/** `hub wait [TASK] --for task=done`: done means any end; the exit code says which. */
export const wait: Run = async (context, [id], options) => {
  const wanted = options.for ?? 'task=done'
  if (wanted !== 'task=done') throw usage(`--for: ${JSON.stringify(wanted)} is not possible; write task=done`)
  const timeoutMs = spanOption('--timeout', options.timeout)
  return showOutcome(context, await watchTask(context, await chosenTask(context, id), timeoutMs))
}
