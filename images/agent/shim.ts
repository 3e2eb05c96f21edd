/**
 * What runs first in every session's container: joins the hub, prepares the program's surroundings, runs it by its driver, and leaves.
 *
 * 1. Exit code 0 means that a result was posted (even one that says "failed"); anything else is a crash, which the hub may restart.
 * 2. The deadline is kept here too, from the join's answer: abort, partial result, exit. A courtesy; the hub and the watchdog are the boundary.
 * 3. Only `/workspace/out` is exported, as artifacts named by their path, just before the result.
 */
import type { Dirent } from 'node:fs'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { keepMemoryIn } from '../../hub/base/core-dumps.ts'
import { HubError } from '../../hub/base/errors.ts'
import { connect, type HubAgent } from '../../hub/client/agent.ts'
import { judgeArtifactName } from '../../hub/protocol/paths.ts'
import type { Classes } from './classes.ts'
import { withEgress } from './egress-environment.ts'
import { imageEnvironment } from './image-environment.ts'

const workspace = process.env.HUB_WORKSPACE ?? '/workspace'
const home = process.env.HUB_AGENT_HOME ?? '/tmp/home'
const secrets = process.env.HUB_AGENT_SECRETS ?? '/tmp/secrets'

async function prepare({ joined }: HubAgent): Promise<void> {
  const own = withEgress(joined.program.env, joined.egress)
  const given = { HOME: home, TMPDIR: process.env.TMPDIR ?? '/tmp' }
  Object.assign(process.env, { LANG: 'C.UTF-8' }, imageEnvironment(), given, own)
  const facts = { ...joined.task, agent: joined.agent, session: joined.session, deadlineMs: joined.deadlineMs }
  await Promise.all([
    mkdir(home, { recursive: true, mode: 0o700 }),
    mkdir(join(workspace, 'in'), { recursive: true }),
    mkdir(join(workspace, 'out'), { recursive: true }),
    writeFile(join(workspace, 'task.json'), `${JSON.stringify(facts, null, 2)}\n`),
  ])
}

/** How many at once: a session has four connections, and its mail uses one. */
const AT_ONCE = 2
const NAMED_MAX = 20

/** What a directory entry is, in words; undefined for files and directories. */
const oddKind = (entry: Dirent): string | undefined => {
  if (entry.isFile() || entry.isDirectory()) return undefined
  return entry.isSymbolicLink() ? 'is a link' : entry.isSocket() ? 'is a socket' : 'is not a regular file'
}

/** These codes refuse one output only: the next may be stored. */
const ITS_OWN = new Set(['schema_invalid', 'too_large', 'limit_exceeded'])

/**
 * Stores every regular file below `out`. Returns a text that names each file that cannot be an artifact (fault C29): an odd name, a link, a
 * socket, a file that cannot be read. Throws if nothing more can be stored.
 */
async function storeOutputs(hub: HubAgent, classes: Classes | undefined): Promise<string | undefined> {
  const out = join(workspace, 'out')
  const left: string[] = []
  const files: { file: string; name: string }[] = []
  for (const entry of await readdir(out, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    const name = file.slice(out.length + 1)
    const fault = oddKind(entry) ?? (entry.isFile() ? judgeArtifactName(name) : undefined)
    if (fault !== undefined) left.push(`${JSON.stringify(name.slice(0, 200))} ${fault}`)
    else if (entry.isFile()) files.push({ file, name })
  }
  async function store(): Promise<void> {
    for (let next = files.shift(); next !== undefined; next = files.shift()) {
      const { file, name } = next
      try {
        await hub.artifact.put(name, { file }, { dataClass: classes?.of(name) })
      } catch (thrown) {
        const { code, message } = thrown as NodeJS.ErrnoException
        const isOwn = thrown instanceof HubError ? ITS_OWN.has(thrown.code) : /^E[A-Z]+$/.test(code ?? '')
        if (!isOwn) throw thrown
        left.push(`${JSON.stringify(name.slice(0, 200))}: ${thrown instanceof HubError ? message : code}`)
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, store))
  if (left.length === 0) return undefined
  const more = left.length > NAMED_MAX ? ` and ${left.length - NAMED_MAX} more` : ''
  return `not stored as outputs: ${left.slice(0, NAMED_MAX).join(', ')}${more}`
}

/** Opens the way out of a session that has one, before its program runs; returns why it could not. */
async function openWayOut({ egress }: HubAgent['joined']): Promise<string | undefined> {
  if (egress === undefined) return undefined
  const { openEgressProxy } = await import('./egress-proxy.ts')
  try {
    await openEgressProxy(join(dirname(process.env.HUB_SOCKET ?? ''), 'egress.sock'))
    return undefined
  } catch (thrown) {
    return `the way out could not be opened: ${(thrown as Error).message}`
  }
}

/** Driver `sdk`: loads the program into this process, where it registers its handlers; returns why it could not. */
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

// Before there is a key. The limit of the profile prevents core files, but not core dumps that the host pipes to a program.
keepMemoryIn()
const hub = await connect()
await prepare(hub)
let classes: Classes | undefined
// Loaded only where it is needed: loading is part of every task's start.
let failure = await openWayOut(hub.joined)
if (failure === undefined && hub.joined.secrets.length > 0)
  failure = await (await import('./secrets.ts')).writeSecrets(hub, secrets)
if (failure !== undefined) console.error(failure)
else if (hub.joined.program.driver === 'sdk') failure = await load(hub.joined.program)
else {
  const [{ runProgram }, { createClasses }] = await Promise.all([import('./program.ts'), import('./classes.ts')])
  const own = createClasses()
  classes = own
  hub.onTask((task) => runProgram(hub, task, { workspace, home, classes: own }))
}
await hub.run({ failure, beforeResult: () => storeOutputs(hub, classes) })
process.exit(0)
