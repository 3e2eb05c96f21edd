/** The driver `command`: an ordinary program; its exit code says how it went (docs/protocol.md 10). */
import { createReadStream } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { STOP_GRACE_MS } from '../../hub/protocol/stop-grace.ts'
import { expandArgv } from './argv.ts'
import { type Child, startChild } from './child.ts'
import { createConversation } from './conversation.ts'
import {
  type DriverOptions,
  type Ending,
  exitText,
  FAREWELL_MS,
  failed,
  GRACE,
  keepLarge,
  onStop,
  RESULT_BYTES_MAX,
  readLog,
  resultEnding,
} from './ending.ts'
import { createLineSplitter, LINE_BYTES_MAX, type Line } from './lines.ts'
import { readVerb, type VerbName } from './verbs.ts'

/** EX_TEMPFAIL of sysexits.h: the command asks to be started again. */
const TRY_AGAIN = 75
/** What a command says may come from its input, so it may report by JSON lines, but not act: acting is for `json-lines`. */
const VERBS: readonly VerbName[] = ['progress', 'log', 'result']
const TAIL_BYTES = 64 * 1024
/** A result's body is 64 KiB in all; JSON makes bytes longer. */
const VALUE_BYTES = 48 * 1024

export async function driveCommand(options: DriverOptions): Promise<Ending> {
  const { hub, env, workspace, cwd, log, classes, input, inputFolder } = options
  const { task } = hub.joined
  const { argv, namesInput } = expandArgv(options.argv, { input, params: task.params, spec: task.spec })
  // A file that no argument names is the command's standard input; else it reads nothing.
  const inputFile = input === inputFolder || namesInput ? undefined : input
  const child = startChild(argv, { env, cwd })
  options.silence.watch(child)
  onStop(hub, (graceMs) => child.stop({ termAfterMs: 0, killAfterMs: graceMs * GRACE.kill }))
  const conversation = createConversation({
    hub,
    verbs: VERBS,
    warn: (text) => log.add(text, 'warn'),
    // A command is told nothing: its input is the task's.
    say: async () => {},
    hand: () => {},
    keepLarge: (value) => keepLarge(workspace, value),
    classify: classes.set,
  })
  const lines = createLineSplitter(LINE_BYTES_MAX, RESULT_BYTES_MAX)
  const tail = createTail()
  const take = async (line: Line) => {
    const whole = line.whole === undefined ? line : { bytes: line.whole }
    const verb = line.bytes[0] === 0x7b ? readVerb(whole) : undefined
    if (verb !== undefined && 'op' in verb && VERBS.includes(verb.op)) await conversation.take(line)
    else log.add(line.tooLong === undefined ? line.bytes.toString() : `${line.bytes}... (${line.tooLong} bytes)`)
  }
  let parting = false
  const output = child.read('stdout', async (chunk) => {
    tail.add(chunk)
    for (const line of lines.push(chunk)) await take(line)
    if (conversation.result() === undefined || parting) return
    // It has given its result; what it still does must not last until the deadline (fault C27).
    parting = true
    child.stop({ termAfterMs: FAREWELL_MS, killAfterMs: FAREWELL_MS + STOP_GRACE_MS })
  })
  const [exit] = await Promise.all([child.exit, output, readLog(child, 'stderr', log), feed(child, inputFile)])
  for (const line of lines.end()) await take(line)

  const given = resultEnding(conversation)
  if (given !== undefined) return given
  if (exit.kind === 'not_started')
    return failed(`the command could not be started: ${exit.why}`, undefined, 'not_started')
  // What it says when it is ended for its silence is no success.
  const silent = options.silence.ended()
  if (silent !== undefined) return { kind: 'crash', why: silent }
  if (exit.kind === 'killed') return { kind: 'crash', why: `the command was ended by ${exit.signal}` }
  if (exit.code === TRY_AGAIN) return { kind: 'crash', why: 'the command asks to be started again (exit code 75)' }
  const value = { exitCode: exit.code, stdout: await fitting(tail, workspace) }
  if (exit.code !== 0) return failed(`the command failed with ${exitText(exit)}`, value)
  return { kind: 'result', result: { outcome: 'succeeded', value } }
}

async function feed(child: Child, file: string | undefined): Promise<void> {
  if (file !== undefined) {
    for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
      // Refused: the command has ended or closed its input, and wants no more of it.
      if (!child.write(chunk)) break
      await child.drained()
    }
  }
  child.endInput()
}

/** The last bytes of a stream. */
function createTail() {
  let kept: Buffer[] = []
  let bytes = 0
  let total = 0
  const join = () => Buffer.concat(kept).subarray(-TAIL_BYTES)
  return {
    add(chunk: Buffer): void {
      kept.push(Buffer.from(chunk))
      bytes += chunk.length
      total += chunk.length
      if (bytes < 4 * TAIL_BYTES) return
      kept = [Buffer.from(join())]
      bytes = TAIL_BYTES
    },
    text: () => join().toString(),
    total: () => total,
  }
}

/**
 * As much of the end as a result can hold. If that is not all, the kept output becomes an artifact: `stdout.txt`, or a name that says how much
 * of the output it is (fault C35), unless the command made such a file.
 */
async function fitting(tail: ReturnType<typeof createTail>, workspace: string): Promise<string> {
  const text = tail.text()
  let end = text
  while (Buffer.byteLength(JSON.stringify(end)) > VALUE_BYTES) end = end.slice(Math.ceil(end.length / 8)).toWellFormed()
  const name = tail.total() > TAIL_BYTES ? `stdout-last-${TAIL_BYTES}-of-${tail.total()}-bytes.txt` : 'stdout.txt'
  const file = join(workspace, 'out', name)
  const isThere = (await stat(file).catch(() => undefined)) !== undefined
  if ((end.length < text.length || tail.total() > TAIL_BYTES) && !isThere) await writeFile(file, text, { flag: 'wx' })
  return end
}
