/**
 * `hub agent try`: runs one task in the real sandbox, under the name of a copy, and shows its log and every denial live. The exit code is
 * the task's.
 *
 * 1. However it ends (the task, an error, Ctrl-C, SIGTERM), the copy is removed from the home before the command exits.
 * 2. With `--watch` a change of the folder builds and runs again. A failed build is shown, and the next change is waited for.
 */
import { watch } from 'node:fs'
import { ERRORS } from '../../../base/errors.ts'
import type { HubEvent } from '../../../protocol/events.ts'
import { paramFault } from '../../../protocol/wishes.ts'
import type { TaskView } from '../../answers.ts'
import { EXIT, fixOf, toProblem, usage } from '../../problem.ts'
import type { Context, Options, Run } from '../context.ts'
import { sleep } from '../processes.ts'
import { clean, cleanLines } from '../text.ts'
import { parseParams, submit } from '../work/submit.ts'
import { listen, showOutcome, watchTask } from '../work/watch.ts'
import { createDevCopy, type DevCopy, openSubject } from './dev-copy.ts'
import { BuildStopped, INTERRUPTED, untilStopped } from './image-process.ts'

/** For events that are still on their way when the task has ended; the last of them ends the wait. */
const TRAILING_MS = 5_000
const SETTLED_MS = 200

/** Submits as `hub submit` does, and returns the task instead of printing it. */
async function submitTask(context: Context, dev: string, options: Options): Promise<TaskView> {
  let task: TaskView | undefined
  const json = (value: unknown) => {
    task = value as TaskView
  }
  const terminal = { ...context.terminal, json }
  const { input, param, withSecrets } = options
  await submit({ ...context, json: true, terminal }, [dev], { input, param, withSecrets })
  if (task === undefined) throw new Error('the task was not submitted')
  return task
}

/** Prints the task's logs and denials until the task ends or the signal comes, also across a restart of the hub. */
async function narrate(context: Context, task: string, copy: DevCopy, signal: AbortSignal): Promise<void> {
  const sessions = new Set<string>()
  const over = new AbortController()
  const tell = (event: HubEvent) => {
    if (event.type === 'hub.session.started.v1' && event.data.task === task) sessions.add(event.subject)
    if (event.type === 'hub.task.log.v1' && event.subject === `task:${task}`) {
      const { level, text } = event.data
      for (const line of cleanLines(String(text)).split('\n')) context.terminal.note(`${clean(level)}  ${line}`)
    }
    const refusal = sessions.has(event.subject) ? refusalOf(event) : undefined
    if (refusal !== undefined) for (const line of refusalText(refusal, copy)) context.terminal.fault(line)
    if (event.type === 'hub.task.completed.v1' && event.data.task === task) over.abort()
  }
  // From the first event the hub still has: the task may be running already.
  await listen(context, {}, tell, () => {}, AbortSignal.any([signal, over.signal]))
}

/** Runs one task with the folder as it is now, to its end; the signal cancels it. */
async function runOnce(context: Context, copy: DevCopy, options: Options, stop: AbortSignal): Promise<number> {
  try {
    await copy.place(stop)
  } catch (thrown) {
    if (!(thrown instanceof BuildStopped)) throw thrown
    return INTERRUPTED
  }
  if (stop.aborted) return INTERRUPTED
  const task = await submitTask(context, copy.dev, options)
  context.terminal.note(`task ${task.id} of ${copy.dev}`)
  const listening = new AbortController()
  const told = narrate(context, task.id, copy, listening.signal)
  const cancel = () => void context.hub.call('task.cancel', { id: task.id }).catch(() => {})
  stop.addEventListener('abort', cancel, { once: true })
  if (stop.aborted) cancel()
  try {
    const ended = await watchTask(context, task.id)
    await Promise.race([told, sleep(TRAILING_MS)])
    const { error } = ended
    if (error === null) return await showOutcome(context, ended)
    const [, fix] = refusalText({ ...error, what: '' }, copy)
    const code = await showOutcome(context, ended)
    if (code === EXIT.refused && fix !== undefined) context.terminal.fault(fix)
    return stop.aborted ? INTERRUPTED : code
  } finally {
    stop.removeEventListener('abort', cancel)
    listening.abort()
  }
}

/** `next` resolves once a change of the folder has settled, or at the signal. A change made while a task runs counts too. */
function createChanges(folder: string, stop: AbortSignal) {
  let changed = Promise.withResolvers<void>()
  const watcher = watch(folder, { recursive: true, signal: stop }, (_, file) => {
    if (file !== null && !/(^|\/)(\.|node_modules)/.test(String(file))) changed.resolve()
  })
  watcher.on('error', () => changed.resolve())
  stop.addEventListener('abort', () => changed.resolve(), { once: true })
  return {
    async next() {
      await changed.promise
      if (!stop.aborted) await sleep(SETTLED_MS)
      changed = Promise.withResolvers<void>()
    },
  }
}

async function watchFolder(context: Context, copy: DevCopy, folder: string, options: Options, stop: AbortSignal) {
  const changes = createChanges(folder, stop)
  let code: number = EXIT.done
  while (!stop.aborted) {
    try {
      code = await runOnce(context, copy, options, stop)
    } catch (error) {
      const problem = toProblem(error)
      context.terminal.fault(`hub: ${problem.message}`)
      context.terminal.fault(`next: ${problem.next}`)
      code = EXIT.fault
    }
    if (stop.aborted) break
    context.terminal.note(`watching ${folder}; Ctrl-C ends this`)
    await changes.next()
  }
  return code
}

export const tryOut: Run = async (context, [named = ''], options) => {
  const { folder, card } = openSubject(context.home, named)
  // Before its image is built.
  const fault = paramFault(card, parseParams((options.param as string[] | undefined) ?? []))
  if (fault !== undefined) throw usage(fault)
  if (options.watch === true && folder === undefined) {
    throw usage('--watch needs the folder', 'name the folder of the agent')
  }
  if (options.watch === true && options.input === '-') throw usage('--watch cannot read stdin again', 'name a file')
  const copy = createDevCopy(context, () => openSubject(context.home, named))
  const watched = options.watch === true ? folder : undefined
  return untilStopped(
    () => context.terminal.note(`stopping, and removing ${copy.dev}`),
    async (stop) => {
      try {
        if (watched === undefined) return await runOnce(context, copy, options, stop)
        return await watchFolder(context, copy, watched, options, stop)
      } finally {
        await copy.remove()
      }
    },
  )
}

/** What an agent was refused, for its author. */
interface Refusal {
  code: string
  detail: string
  /** `message.send` and its addressee, where it is known. */
  what: string
}

/** The SDK deals with these repeats itself, so they are not shown. */
const SILENT = new Set(['nonce_used', 'already_resolved'])

export function refusalOf(event: HubEvent): Refusal | undefined {
  if (event.type !== 'hub.message.refused.v1') return undefined
  const { code, detail, operation, resource } = event.data
  if (typeof code !== 'string' || SILENT.has(code)) return undefined
  const what = [operation, resource].filter((each) => typeof each === 'string').join(' ')
  return { code, detail: typeof detail === 'string' ? detail : '', what }
}

/** What was refused and why, and below it the line that fixes it. `dev` is the name it ran under; the line to change is that of `name`. */
export function refusalText({ code, detail, what }: Refusal, names: { name: string; dev: string }): string[] {
  const own = (text: string) => text.replaceAll(names.dev, names.name)
  const fix = fixOf(own(detail))
  const row = Object.hasOwn(ERRORS, code) ? ERRORS[code as keyof typeof ERRORS] : undefined
  const byAllow = fix?.includes('policy/data.json')
    ? ` (\`hub agent allow ${names.name}\` grants what the card asks for)`
    : ''
  return [
    `denied: ${own(what)}${what === '' ? '' : ': '}${code}: ${own(detail)}`,
    `  fix: ${fix === undefined ? (row?.next ?? 'see `hub audit list --outcome refused`') : `${fix}${byAllow}`}`,
  ].map(clean)
}
