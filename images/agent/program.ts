/** Runs a program that knows nothing of the SDK, by the driver its card names, as the handler of the session's task. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { HubAgent, TaskFacts } from '../../hub/client/agent.ts'
import { expandArgv } from './argv.ts'
import { environmentOf } from './child.ts'
import type { Classes } from './classes.ts'
import { driveCommand } from './driver-command.ts'
import { driveJsonLines } from './driver-json-lines.ts'
import { type Ending, failed } from './ending.ts'
import { unpackInputs } from './inputs.ts'
import { createLogLines } from './log-lines.ts'

const LAST_WORDS_MS = 1_000

/**
 * The task's value, or a throw with the error of its result. A crash does not return: the process exits with code 1,
 * and the hub decides whether to start the task again.
 */
export async function runProgram(
  hub: HubAgent,
  { inputs }: TaskFacts,
  { workspace, home, classes }: { workspace: string; home: string; classes: Classes },
): Promise<unknown> {
  const { driver, run } = hub.joined.program
  const log = createLogLines({
    post(text, level) {
      process.stderr.write(`${text}\n`)
      return hub.log(text, level)
    },
  })

  async function drive(): Promise<Ending> {
    const folder = join(workspace, 'in')
    await mkdir(folder, { recursive: true })
    const input = inputs === null ? undefined : await unpackInputs(hub.folder(inputs), folder)
    const options = { hub, env: environmentOf(hub, home), workspace, log, classes }
    if (driver === 'json-lines') return await driveJsonLines({ ...options, argv: run })
    const { argv, namesInput } = expandArgv(run, { input, params: hub.joined.task.params })
    const isFile = input !== undefined && input !== folder
    return await driveCommand({ ...options, argv, inputFile: isFile && !namesInput ? input : undefined })
  }
  // What prevents the program from starting would prevent it again: a failed task, not a crash.
  const ending = await drive().catch((thrown: unknown) => failed((thrown as Error).message))
  const stopped = hub.signal.aborted
  if (ending.kind === 'crash') log.add(ending.why, stopped ? 'info' : 'error')
  await log.flush(LAST_WORDS_MS)
  if (ending.kind === 'crash') {
    if (!stopped) process.exit(1)
    // Stopped from outside: the SDK says so in the result.
    throw new Error(ending.why)
  }
  const { outcome, value, error } = ending.result
  if (outcome === 'succeeded') return value
  hub.partial(value)
  throw new Error(error ?? 'the program reported failure without a reason')
}
