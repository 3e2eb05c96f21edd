/**
 * What runs first in every session's container: joins the hub, prepares the program's surroundings, runs it by its driver, and leaves.
 *
 * 1. Exit code 0 means that a result was posted (even one that says "failed"); anything else is a crash, which the hub may restart.
 * 2. The deadline is kept here too, from the join's answer: abort, partial result, exit. A courtesy; the hub and the watchdog are the boundary.
 * 3. Only `/workspace/out` is exported, as artifacts named by their path, just before the result.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { connect, type HubAgent } from '../../hub/client/agent.ts'
import { judgePath } from '../../hub/protocol/folder.ts'

const workspace = process.env.HUB_WORKSPACE ?? '/workspace'
const home = process.env.HUB_AGENT_HOME ?? '/tmp/home'
const secrets = process.env.HUB_AGENT_SECRETS ?? '/tmp/secrets'

async function prepare({ joined }: HubAgent): Promise<void> {
  Object.assign(process.env, { HOME: home, LANG: 'C.UTF-8', TMPDIR: process.env.TMPDIR ?? '/tmp' }, joined.program.env)
  const facts = { ...joined.task, agent: joined.agent, session: joined.session, deadlineMs: joined.deadlineMs }
  await Promise.all([
    mkdir(home, { recursive: true, mode: 0o700 }),
    mkdir(join(workspace, 'in'), { recursive: true }),
    mkdir(join(workspace, 'out'), { recursive: true }),
    writeFile(join(workspace, 'task.json'), `${JSON.stringify(facts, null, 2)}\n`),
  ])
}

/** Stores every regular file below `out`. A name that no artifact may have fails the task rather than vanish. */
async function storeOutputs(hub: HubAgent): Promise<void> {
  const out = join(workspace, 'out')
  const found = await readdir(out, { recursive: true, withFileTypes: true })
  for (const entry of found.filter((each) => each.isFile())) {
    const file = join(entry.parentPath, entry.name)
    const name = file.slice(out.length + 1)
    const fault = judgePath(name)
    if (fault !== undefined) throw new Error(`${JSON.stringify(name)} ${fault}`)
    await hub.artifact.put(name, { file })
  }
}

/** Driver `sdk`: loads the program into this process, where it registers its handlers; answers why it could not. */
async function load({ run }: HubAgent['joined']['program']): Promise<string | undefined> {
  const [command, file, ...rest] = run
  if (command !== 'node' || file === undefined) return 'run must be [node, FILE, ...] for the driver sdk'
  process.argv = [process.execPath, file, ...rest]
  try {
    await import(pathToFileURL(file).href)
    return undefined
  } catch (thrown) {
    console.error(thrown)
    return `the program ${file} could not be loaded: ${thrown instanceof Error ? thrown.message : String(thrown)}`
  }
}

const hub = await connect()
await prepare(hub)
// Loaded only where it is needed: loading is part of every task's start.
let failure =
  hub.joined.secrets.length === 0 ? undefined : await (await import('./secrets.ts')).writeSecrets(hub, secrets)
if (failure !== undefined) console.error(failure)
else if (hub.joined.program.driver === 'sdk') failure = await load(hub.joined.program)
else {
  const { runProgram } = await import('./program.ts')
  hub.onTask((task) => runProgram(hub, task, { workspace, home }))
}
await hub.run({ failure, beforeResult: () => storeOutputs(hub) })
process.exit(0)
