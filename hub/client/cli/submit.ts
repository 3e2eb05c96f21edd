/** `hub submit`: packs the input, sends it once, submits, and if asked waits and writes what came out. */
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { nameShape } from '../../protocol/names.ts'
import type { TaskView } from '../answers.ts'
import { EXIT, usage } from '../problem.ts'
import { unpackArtifacts } from '../unpack.ts'
import { requireAgent } from './agent-names.ts'
import { type Context, given, type Run, spanOption, wholeOption } from './context.ts'
import { sendInput, showInput } from './input.ts'
import { clean } from './text.ts'
import { showOutcome, watchTask } from './watch.ts'

/** `k=v` as text, `k:=v` as JSON. Of one key given twice the last counts. @throws Problem usage */
export function parseParams(texts: readonly string[]): Record<string, unknown> {
  const params: [string, unknown][] = texts.map((text) => {
    const match = /^([^=:]{1,64})(:?=)(.*)$/s.exec(text)
    if (match === null) throw usage(`--param: ${JSON.stringify(text)} is not k=v (or k:=JSON)`)
    const [, key = '', sign, value = ''] = match
    if (sign === '=') return [key, value]
    try {
      return [key, JSON.parse(value)]
    } catch {
      throw usage(`--param: ${JSON.stringify(value)} is not JSON; for plain text write ${key}=${value}`)
    }
  })
  return Object.fromEntries(params)
}

/** Answers whether everything could be written. */
async function writeOut({ hub, terminal }: Context, task: TaskView, dir: string): Promise<boolean> {
  const { written, left } = await unpackArtifacts(dir, task.artifacts, (sha256) => hub.fetch(sha256))
  for (const name of written) terminal.note(`wrote ${path.join(dir, name)}`)
  for (const { name, why } of left) terminal.note(`not written: artifact ${JSON.stringify(name)}, ${why}`)
  if (written.length + left.length === 0) terminal.note('the task left no artifacts')
  return left.length === 0
}

/** What stands on the command line, as the hub's request; judged before anything is packed. @throws Problem usage */
function requestOf(agent: string | undefined, options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const needs = (options.needs as string[] | undefined)
    ?.flatMap((each) => each.split(','))
    .filter((each) => each !== '')
  if (agent === undefined && (needs ?? []).length === 0) {
    throw usage('name an agent, or what it must be able to do: --needs CAP', '`hub agent list` shows both')
  }
  return given({
    agent,
    needs,
    params: parseParams((options.param as string[] | undefined) ?? []),
    ttlMs: spanOption('--ttl', options.ttl),
    priority: wholeOption('--priority', options.priority, 0, 9),
    hold: options.hold === true ? true : undefined,
  })
}

export const submit: Run = async (context, [agent], options) => {
  const { hub, json, terminal } = context
  const request = requestOf(agent, options)
  const input = options.input as string | undefined
  if (options.dryRun === true) {
    await showInput(context, input)
    return EXIT.done
  }
  if (agent !== undefined && nameShape.safeParse(agent).success) await requireAgent(hub, agent)
  const out = options.out as string | undefined
  const inputs = input === undefined ? undefined : await sendInput(context, input, options.withSecrets === true)
  const headers = { 'idempotency-key': randomUUID() }
  const { task } = (await hub.call('task.submit', given({ ...request, inputs }), { headers })) as { task: TaskView }
  // Whoever names a place for the outcome wants to have it.
  if (options.wait !== true && out === undefined) {
    if (json) terminal.json(task)
    else terminal.out(`${clean(task.id)} ${clean(task.state)}${task.held ? ' (held)' : ''}`)
    return EXIT.done
  }
  terminal.note(`task ${task.id} ${task.state}`)
  const leave = () => {
    terminal.live('')
    terminal.note(`the task goes on: \`hub wait ${task.id}\`, \`hub task cancel ${task.id}\``)
    process.exit(130)
  }
  process.once('SIGINT', leave)
  const ended = await watchTask(context, task.id)
  process.removeListener('SIGINT', leave)
  const isWhole = out === undefined || (await writeOut(context, ended, out))
  const code = await showOutcome(context, ended)
  return code === EXIT.done && !isWhole ? EXIT.refused : code
}
