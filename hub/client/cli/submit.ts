/** `hub submit`: packs the input, sends it once, submits, and if asked waits and writes what came out. */
import { randomUUID } from 'node:crypto'
import { realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import { HubError } from '../../base/errors.ts'
import type { FolderRef } from '../../protocol/envelope.ts'
import { nameShape } from '../../protocol/names.ts'
import type { TaskView } from '../answers.ts'
import { type PackedFolder, packFile, packFolder } from '../pack.ts'
import { EXIT, type Problem, toProblem, usage } from '../problem.ts'
import { unpackArtifacts } from '../unpack.ts'
import { requireAgent } from './agent-names.ts'
import { type Context, given, type Run, spanOption, wholeOption } from './context.ts'
import { createSpool } from './spool.ts'
import { clean, sizeText } from './text.ts'
import { showOutcome, watchTask } from './watch.ts'

/** What one submission may carry at most; the hub's own limits may be lower, and it says so. */
const INPUT_LIMITS = { bytesMax: 256 * 1024 ** 2, filesMax: 100_000 }

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

/** What is given is packed where it lies; only what comes on stdin has to be kept meanwhile, in the home's own room. */
async function packInput(input: string, spool: () => Promise<string>, begins: () => void): Promise<PackedFolder> {
  if (input === '-') return packFile(await spool(), INPUT_LIMITS.bytesMax)
  const found = await stat(input).catch((error: NodeJS.ErrnoException) => {
    throw usage(`--input: ${input} cannot be read (${error.code})`, 'name a file or a folder that exists')
  })
  if (found.isDirectory()) {
    begins()
    return packFolder(input, INPUT_LIMITS)
  }
  if (!found.isFile()) throw usage(`--input: ${input} is neither a file nor a folder`, 'name a file or a folder')
  if (found.size > INPUT_LIMITS.bytesMax) {
    throw usage(
      `--input: ${input} has ${sizeText(found.size)}; at most ${sizeText(INPUT_LIMITS.bytesMax)}`,
      'send less',
    )
  }
  // A link that was named is meant; within a folder none is followed.
  return packFile(await realpath(input), INPUT_LIMITS.bytesMax, path.basename(input))
}

const asUsage = (error: unknown): Problem =>
  error instanceof HubError ? usage(`--input: ${error.message}`, 'send less, or mend it') : toProblem(error)

/** Packs and uploads what the hub does not have yet. */
async function sendInput({ hub, terminal, home }: Context, input: string): Promise<FolderRef> {
  const spool = createSpool(home)
  try {
    const begins = () => terminal.live('packing the input')
    const packed = await packInput(input, () => spool.take(process.stdin, INPUT_LIMITS.bytesMax), begins).catch(
      (error: unknown) => {
        throw asUsage(error)
      },
    )
    for (const note of packed.notes) terminal.note(`input: ${note}`)
    const { manifestBytes, manifestSha256, pack } = packed
    const blobs = [
      { sha256: pack.sha256, name: 'pack', size: pack.size, content: () => Readable.from(pack.content()) },
      {
        sha256: manifestSha256,
        name: 'manifest.json',
        size: manifestBytes.length,
        content: () => Readable.from([manifestBytes]),
      },
    ]
    for (const { content, ...blob } of blobs) {
      if (await hub.has(blob.sha256)) continue
      terminal.live(`sending ${packed.manifest.files.length} files, ${sizeText(pack.size)}`)
      await hub.upload({ ...blob, content: content() })
    }
    return { manifest: manifestSha256, pack: pack.sha256 }
  } finally {
    terminal.live('')
    spool.remove()
  }
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
  if (agent !== undefined && nameShape.safeParse(agent).success) await requireAgent(hub, agent)
  const out = options.out as string | undefined
  const input = options.input as string | undefined
  const inputs = input === undefined ? undefined : await sendInput(context, input)
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
