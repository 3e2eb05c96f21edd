/** The `hub` command on a whole hub of this process, while its time moves. */
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { runLine } from '../../hub/client/cli/line.ts'
import { createTerminal } from '../../hub/client/cli/terminal.ts'
import type { Harness } from './hub-harness.ts'

export async function hub(h: Harness, ...args: string[]) {
  const [stdin, stdout, stderr] = [new PassThrough().end(), new PassThrough(), new PassThrough()]
  const said = Promise.all([text(stdout), text(stderr)])
  const env = { HOME: h.home, HUB_HOME: h.home }
  const code = await h.pumped(runLine(args, env, createTerminal(stdin, stdout, stderr)))
  stdout.end()
  stderr.end()
  const [out, err] = await said
  return { code, out, err, json: () => JSON.parse(out) }
}
