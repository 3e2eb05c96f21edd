/** `hub submit`: packs the input, sends it once and submits the task. If asked, it waits and writes the artifacts. */
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import type { DataClass } from '../../../protocol/data-class.ts'
import { microOfArgument } from '../../../protocol/dollars.ts'
import { nameShape } from '../../../protocol/ids.ts'
import { sessionOfBundle, type TaskSpec } from '../../../protocol/task-spec.ts'
import type { Wishes } from '../../../protocol/wish-places.ts'
import type { TaskView } from '../../answers.ts'
import { EXIT, usage } from '../../problem.ts'
import { unpackArtifacts } from '../../unpack.ts'
import { requireAgent } from '../agents/names.ts'
import { type Context, given, type Run, spanOption, typed, wholeOption } from '../context.ts'
import { shortId } from '../ids.ts'
import { createProgress } from '../progress.ts'
import { clean } from '../text.ts'
import { sendInput, showInput } from './input.ts'
import { repositoryWish, sendRepository, showRepository } from './repository.ts'
import { typedText } from './typed-text.ts'
import { showOutcome, watchTask } from './watch.ts'

/** `k=v` as text, `k:=v` as JSON. If a key is given twice, the last counts. @throws Problem usage */
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

/** True if everything was written. */
async function writeOut(context: Context, task: TaskView, dir: string): Promise<boolean> {
  const { hub, terminal } = context
  const progress = createProgress(context, 'writing the artifacts of the task')
  const { written, left } = await unpackArtifacts(dir, task.artifacts, (sha256) => hub.fetch(sha256), progress)
  terminal.live('')
  for (const name of written) terminal.note(`wrote ${path.join(dir, name)}`)
  for (const { name, why } of left) terminal.note(`not written: artifact ${JSON.stringify(name)}, ${why}`)
  if (written.length + left.length === 0) terminal.note('the task has no artifacts')
  return left.length === 0
}

/** The command line as a request to the hub; checked before anything is packed. @throws Problem usage */
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
    sensitivity: typed<DataClass>(options.sensitivity),
  })
}

const specOf = (sent: object, wishes: Wishes | undefined): { spec?: TaskSpec } =>
  wishes === undefined ? {} : { spec: { ...('spec' in sent ? (sent.spec as TaskSpec) : {}), ...wishes } }

const SYSTEM_BYTES_MAX = 64 * 1024

/** What the command line asks of the agent's model; undefined if that is nothing. @throws Problem usage */
export function wishesOption(options: Readonly<Record<string, unknown>>): Wishes | undefined {
  const usd = typed<string>(options.usd)
  const budget = usd === undefined ? undefined : microOfArgument(usd)
  if (usd !== undefined && (budget === undefined || budget === 0))
    throw usage(`--usd: ${JSON.stringify(usd)} is no amount of US dollars; write 2 or 0.25`)
  const system = typed<string>(options.system)
  const wishes = given({
    model: typed<string>(options.model),
    system: system === undefined ? undefined : typedText('--system', system, SYSTEM_BYTES_MAX),
    maxTurns: wholeOption('--max-turns', options.maxTurns, 1, 10_000),
    budget,
  })
  return Object.keys(wishes).length === 0 ? undefined : wishes
}

export const submit: Run = async (context, [agent], options) => {
  const { hub, json, terminal } = context
  const request = requestOf(agent, options)
  const input = options.input as string | undefined
  const wish = repositoryWish(options)
  const wishes = wishesOption(options)
  if (options.dryRun === true) {
    await (wish === undefined ? showInput(context, input) : showRepository(context, wish))
    return EXIT.done
  }
  if (agent !== undefined && nameShape.safeParse(agent).success) await requireAgent(hub, agent)
  const out = options.out as string | undefined
  const sent =
    wish !== undefined
      ? await sendRepository(context, wish)
      : { inputs: input === undefined ? undefined : await sendInput(context, input, options.withSecrets === true) }
  const headers = { 'idempotency-key': randomUUID() }
  const { task } = await hub.call('task.submit', given({ ...request, ...sent, ...specOf(sent, wishes) }), { headers })
  // --out includes --wait.
  if (options.wait !== true && out === undefined) {
    if (json) terminal.json(task)
    else terminal.out(`${clean(task.id)} ${clean(task.state)}${task.held ? ' (held)' : ''}`)
    return EXIT.done
  }
  terminal.note(`task ${task.id} ${task.state}`)
  const leave = () => {
    terminal.live('')
    terminal.note(`the task keeps running: \`hub wait ${task.id}\`, \`hub task cancel ${task.id}\``)
    process.exit(130)
  }
  process.once('SIGINT', leave)
  const ended = await watchTask(context, task.id)
  process.removeListener('SIGINT', leave)
  const isWhole = out === undefined || (await writeOut(context, ended, out))
  const code = await showOutcome(context, ended)
  if (wish !== undefined && ended.artifacts.some(({ name }) => sessionOfBundle(name) !== undefined))
    terminal.note(
      `its branch: \`hub branch log ${shortId(ended.id)}\`, then \`hub branch checkout\` or \`hub branch apply\``,
    )
  return code === EXIT.done && !isWhole ? EXIT.refused : code
}
