/** Runs a program that knows nothing of the SDK, by the driver its card names, as the handler of the session's task. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type HubAgent, ProgramFault, type TaskFacts } from '../../hub/client/agent.ts'
import { environmentOf } from './child.ts'
import type { Classes } from './classes.ts'
import { driveOf } from './drivers.ts'
import { type Ending, failed, onStop } from './ending.ts'
import { unpackInputs } from './inputs.ts'
import { createLogLines } from './log-lines.ts'
import type { RepositoryWork } from './repository.ts'
import type { Silence } from './silence.ts'
import type { StreamValue } from './stream-run.ts'
import type { Transcripts } from './transcripts.ts'

/** For the last lines of a log: a busy hub gets them all. While a grace runs there is less time. */
const LAST_WORDS_MS = 20_000
const STOPPED_WORDS_MS = 1_000
/** For keeping what a program that fell has left. */
const KEEP_MS = 20_000

interface ProgramPlace {
  workspace: string
  home: string
  /** Variables of the tools that the shim offers it. */
  told: Readonly<Record<string, string>>
  classes: Classes
  /** The clone that the program works in, if the task has one. */
  repository: RepositoryWork | undefined
  /** The conversation over the starts of the task, if its card has it kept. */
  transcripts: Transcripts | undefined
  /** Keeps what there is, although the program gave no result. */
  fallen: () => Promise<void>
  silence: Silence
}

/** The program failed before it began its conversation. */
function isIdle(ending: Ending): boolean {
  if (ending.kind === 'crash' || ending.result.outcome === 'succeeded') return false
  const { text = '', conversation, calls } = (ending.result.value ?? {}) as Partial<StreamValue>
  return text === '' && conversation === undefined && (calls?.done ?? 0) + (calls?.failed ?? 0) === 0
}

/**
 * The task's value, or a throw with the error of its result. A crash does not return: the process exits with code 1,
 * and the hub decides whether to start the task again. What it left so far is kept first, by `fallen`.
 */
export async function runProgram(
  hub: HubAgent,
  { inputs }: TaskFacts,
  { workspace, home, told, classes, repository, transcripts, fallen, silence }: ProgramPlace,
): Promise<unknown> {
  const { driver, run, mode } = hub.joined.program
  const log = createLogLines({
    post(text, level) {
      process.stderr.write(`${text}\n`)
      return hub.log(text, level)
    },
  })

  async function drive(): Promise<Ending> {
    const folder = join(workspace, 'in')
    await mkdir(folder, { recursive: true })
    const isFolder = inputs !== null && repository === undefined
    const input = isFolder ? await unpackInputs(hub.folder(inputs), folder) : undefined
    if (driver === 'sdk') throw new Error('a program of the driver sdk runs in the shim')
    const drive = await driveOf(driver)
    const env = { ...environmentOf(hub, home), ...told }
    const cwd = repository?.folder ?? workspace
    const prompts = { turns: hub.turns, chat: mode === 'chat', silence }
    const options = { hub, argv: run, env, workspace, cwd, log, classes, input, inputFolder: folder, ...prompts }
    if (transcripts === undefined) return await drive(options)
    const talk = () => drive({ ...options, ...transcripts.begin(), said: transcripts.said })
    const { goesOn } = transcripts.begin()
    const ending = await talk()
    if (!goesOn || hub.signal.aborted || !isIdle(ending)) return ending
    // What it was given back is of no use to it, such as after its version has changed.
    await transcripts.giveUp()
    return await talk()
  }
  // What prevents the program from starting would prevent it again: a failed task, not a crash.
  const ending = await drive().catch((thrown: unknown) => failed((thrown as Error).message))
  const stopped = hub.signal.aborted
  if (ending.kind === 'crash') log.add(ending.why, stopped ? 'info' : 'error')
  const cutShort = new Promise<void>((done) => onStop(hub, () => done(log.flush(STOPPED_WORDS_MS))))
  await Promise.race([log.flush(LAST_WORDS_MS), cutShort])
  if (ending.kind === 'crash') {
    if (!stopped) {
      await Promise.race([fallen(), new Promise((done) => setTimeout(done, KEEP_MS))])
      process.exit(1)
    }
    // Stopped from outside: the SDK says so in the result.
    throw new Error(ending.why)
  }
  const { outcome, value, error, code } = ending.result
  if (outcome === 'succeeded') return value
  hub.partial(value)
  if (code !== undefined) throw new ProgramFault(code, error ?? code)
  throw new Error(error ?? 'the program reported failure without a reason')
}
