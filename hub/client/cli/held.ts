/** `hub task release` and `hub task cancel`: one task, or all that wait for the operator's word. */
import type { TaskView } from '../answers.ts'
import { EXIT, toProblem, usage } from '../problem.ts'
import { type Context, given, type Run, stopped } from './context.ts'
import { moved } from './tasks.ts'
import { countOf } from './text.ts'

const PAGES_MAX = 1000

/** Every held task, oldest first: what was asked for first is let go first. */
async function everyHeld({ hub }: Context): Promise<TaskView[]> {
  const found: TaskView[] = []
  let cursor: string | undefined
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const page = (await hub.call('task.list', given({ state: 'queued', limit: 100, cursor }))) as {
      tasks: TaskView[]
      next: string | null
    }
    found.push(...page.tasks.filter(({ held }) => held))
    if (page.next === null) break
    cursor = page.next
  }
  return found.reverse()
}

/** Each by itself, with its own record; one that was moved meanwhile is passed over. */
async function moveAll(context: Context, operation: 'task.cancel' | 'task.release', wasYes: boolean, done: string) {
  const { hub, json, terminal } = context
  const held = await everyHeld(context)
  const verb = operation === 'task.release' ? 'Let go of' : 'Cancel'
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
