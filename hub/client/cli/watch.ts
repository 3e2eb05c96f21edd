/**
 * Waiting for one task, with its progress live. The event stream only says that something happened; what is so is asked of the hub,
 * so a missed event, a restart of the hub or a stream that breaks costs seconds, never the answer.
 */
import { ERRORS } from '../../base/errors.ts'
import type { HubEvent } from '../../protocol/events.ts'
import type { ApprovalView, TaskView } from '../answers.ts'
import { EXIT, mendingOf, mendStep, Problem, toProblem, usage } from '../problem.ts'
import { questionLines } from './approvals.ts'
import { type Context, type Run, spanOption } from './context.ts'
import { wholeId } from './ids.ts'
import { sleep } from './processes.ts'
import { failureLine, isTerminal, outcomeCode, progressText, reasonText, taskText } from './tasks.ts'
import { clean } from './text.ts'

const POLL_MS = 5_000
/** How long a hub may be away, as in a restart, before the wait is given up. */
const AWAY_MS = 60_000

/** One line of an event, or nothing for what is no news to a person. */
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

/** Says each question of the task and of what it delegated once, with the word that answers it (fault C1). */
function createQuestions({ hub, terminal }: Context, task: string) {
  const said = new Set<string>()
  return async () => {
    // Who may not read them waits all the same.
    const answer = (await hub.call('approval.list').catch(() => ({}))) as { approvals?: ApprovalView[] }
    for (const one of [...(answer.approvals ?? [])].reverse()) {
      if (said.has(one.id) || (one.task !== task && one.root !== task)) continue
      said.add(one.id)
      for (const line of questionLines(one)) terminal.note(line)
    }
  }
}

/** Hands every event, or those of one task, to `heard` until the signal; a broken stream is said and opened again, nothing is heard twice. */
export async function listen(
  { hub }: Pick<Context, 'hub'>,
  of: { task?: string },
  heard: (event: HubEvent) => void,
  broken: () => void,
  signal: AbortSignal,
): Promise<void> {
  let last = ''
  while (!signal.aborted) {
    const before = last
    try {
      for await (const event of hub.events(of, signal)) {
        if (event.time <= before) continue
        last = event.time
        heard(event)
      }
    } catch {
      // The polling beside this says whether the hub is away for good.
    }
    if (signal.aborted) return
    broken()
    await sleep(500)
  }
}

/** The task once it has ended. @throws Problem `timed_out` after `timeoutMs`, `unreachable` where the hub stays away */
export async function watchTask(context: Context, id: string, timeoutMs = Number.POSITIVE_INFINITY): Promise<TaskView> {
  const { hub, terminal } = context
  const ending = new AbortController()
  const endAtMs = Date.now() + timeoutMs
  let news = Promise.withResolvers<void>()
  void listen(
    context,
    { task: id },
    (event) => {
      const text = newsOf(event)
      if (text !== '') terminal.live(text)
      if (event.type === 'hub.task.completed.v1' || event.type === 'hub.task.asked.v1') news.resolve()
    },
    () => news.resolve(),
    ending.signal,
  )
  const questions = createQuestions(context, id)
  let awaySinceMs: number | undefined
  try {
    for (;;) {
      try {
        const { task } = (await hub.call('task.show', { id })) as { task: TaskView }
        awaySinceMs = undefined
        if (isTerminal(task)) return task
        if (task.held) terminal.live(progressText(task))
        await questions()
      } catch (error) {
        const problem = toProblem(error)
        awaySinceMs ??= Date.now()
        if (problem.kind !== 'unavailable' || Date.now() - awaySinceMs > AWAY_MS) throw problem
        terminal.live('the hub does not answer; waiting for it')
      }
      const restMs = endAtMs - Date.now()
      if (restMs <= 0) {
        throw new Problem(
          'timed_out',
          'unavailable',
          `task ${id} has not ended in time; it goes on`,
          `\`hub wait ${id}\``,
        )
      }
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

/** What to do about a task that did not succeed; the reason's own advice goes before any general one (fault C8). Pure. */
function nextAfter(task: TaskView, hasLogged: boolean): string {
  const own = task.error === null ? undefined : mendingOf(task.error.detail)
  if (own !== undefined) return `${mendStep(own)}, then \`hub task retry ${task.id}\``
  if (outcomeCode(task) === EXIT.refused) return '`hub audit list --outcome refused` has the decision'
  if (hasLogged) return `\`hub task logs ${task.id}\``
  const code = task.error?.code ?? ''
  if (task.state === 'cancelled') return `\`hub task retry ${task.id}\` asks for it again`
  // What the table says of it begins with its log, and there is none.
  if (code === 'agent_unhealthy')
    return `it logged nothing; mend its program, then \`hub agent reset ${task.agent}\` and \`hub task retry ${task.id}\``
  if (Object.hasOwn(ERRORS, code)) return ERRORS[code as keyof typeof ERRORS].next
  return `it logged nothing; mend its input or its agent, then \`hub task retry ${task.id}\``
}

/** Whether the task logged anything that a person could read; where the hub cannot say, it did not. */
async function hasLogged({ hub }: Context, id: string): Promise<boolean> {
  const answer = await hub.call('task.logs', { id }).catch(() => ({ lines: [] }))
  return ((answer as { lines?: unknown[] }).lines ?? []).length > 0
}

/** Shows how a task ended: why it failed first, what to do about it last (fault C2). */
export async function showOutcome(context: Context, task: TaskView): Promise<number> {
  const { json, terminal } = context
  const code = outcomeCode(task)
  // Where the outcome is read by a program, the person still sees the reason.
  const isSeen = !json && terminal.paint.width !== undefined
  // Of one that succeeded, what was lost of it (fault C29).
  if (reasonText(task) !== '' && !isSeen) terminal.note(`hub: task ${task.id} ${failureLine(task)}`)
  if (json) terminal.json(task)
  else terminal.out(taskText(task, Date.now(), terminal.paint))
  if (code !== EXIT.done) terminal.note(`next: ${nextAfter(task, await hasLogged(context, task.id))}`)
  return code
}

/** The task named, else the one submitted last. */
async function chosenTask({ hub }: Context, id: string | undefined): Promise<string> {
  if (id !== undefined) return await wholeId(hub.call, 'task', id)
  const { tasks } = (await hub.call('task.list', { limit: 100 })) as { tasks: TaskView[] }
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
  if (wanted !== 'task=done') throw usage(`--for: ${JSON.stringify(wanted)} cannot be waited for; write task=done`)
  const timeoutMs = spanOption('--timeout', options.timeout)
  return showOutcome(context, await watchTask(context, await chosenTask(context, id), timeoutMs))
}
