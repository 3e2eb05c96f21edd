/**
 * What runs first in every session's container: joins the hub, prepares the program's surroundings, runs it by its driver, and leaves.
 *
 * 1. Exit code 0 means that a result was posted (even one that says "failed"); anything else is a crash, which the hub may restart.
 * 2. The deadline is kept here too, from the join's answer: abort, partial result, exit. A courtesy; the hub and the watchdog are the boundary.
 * 3. Only `/workspace/out` is exported, as artifacts named by their path (outputs.ts).
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { keepMemoryIn } from '../../hub/base/core-dumps.ts'
import { type Afterthought, connect, type HubAgent } from '../../hub/client/agent.ts'
import { loadAddition } from './additions.ts'
import type { Classes } from './classes.ts'
import { withEgress } from './egress-environment.ts'
import { imageEnvironment } from './image-environment.ts'
import { createOutputs, KEEP_BEFORE_END_MS, KEEP_EVERY_MS, type Outputs } from './outputs.ts'
import type { RepositoryWork } from './repository.ts'
import { createSilence } from './silence.ts'
import type { Transcripts } from './transcripts.ts'

const workspace = process.env.HUB_WORKSPACE ?? '/workspace'
const home = process.env.HUB_AGENT_HOME ?? '/tmp/home'
/** For keeping what a program that fell has left. */
const KEEP_MS = 20_000
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

/** Opens the hub's tools for a CLI where the card asks for them; returns what the program is told, or why it could not. */
async function openTools(hub: HubAgent): Promise<{ told: Record<string, string>; failure?: string }> {
  const { mcp } = hub.joined.program
  if (mcp === undefined) return { told: {} }
  try {
    const { openMcp } = await loadAddition('mcp', () => import('./mcp/open.ts'))
    return { told: await openMcp(hub, mcp) }
  } catch (thrown) {
    return { told: {}, failure: (thrown as Error).message }
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

/** Clones the repository of the task, if it has one, and makes it the program's place. Answers why it could not. */
async function openWork(hub: HubAgent): Promise<{ repository?: RepositoryWork; failure?: string }> {
  const { inputs, spec } = hub.joined.task
  if (spec?.repository === undefined || inputs === null) return {}
  const [{ openRepository }, { unpackInputs }] = await Promise.all([import('./repository.ts'), import('./inputs.ts')])
  try {
    const bundle = await unpackInputs(hub.folder(inputs), join(workspace, 'in'))
    const repository = await openRepository(hub, spec.repository, { bundle, workspace, home })
    process.chdir(repository.folder)
    return { repository }
  } catch (thrown) {
    return { failure: `the repository could not be opened: ${(thrown as Error).message}` }
  }
}

/** Puts back the conversation of an earlier start, if the card has it kept, where its program will look for it. */
async function openConversation(hub: HubAgent): Promise<Transcripts | undefined> {
  if (hub.joined.transcript === undefined) return undefined
  const [{ openTranscripts }, { environmentOf }] = await Promise.all([import('./transcripts.ts'), import('./child.ts')])
  return await openTranscripts(hub, environmentOf(hub, home).HOME ?? home)
}

/** Stores what the program leaves, and judges whether it did anything. */
async function storeWork(
  hub: HubAgent,
  parts: { repository: RepositoryWork | undefined; outputs: Outputs; transcripts: Transcripts | undefined },
): Promise<Afterthought> {
  const { repository, outputs, transcripts } = parts
  // Stopped from outside, so the task may begin again. Any other result is its end.
  if (hub.signal.aborted) await transcripts?.save()
  const saved = await repository?.save()
  const stored = await outputs.store()
  const lost = [saved?.lost, stored].filter(Boolean).join('; ') || undefined
  if (saved === undefined || repository === undefined || hub.joined.task.spec?.repository?.change !== true)
    return { lost }
  if (saved.commits === 0)
    return { lost, fault: { code: 'nothing_done', why: 'the agent said that it succeeded, and changed nothing' } }
  if (saved.commits !== undefined && outputs.isStored(repository.bundle)) return { lost }
  return { lost, fault: { code: 'branch_lost', why: 'the agent said that it succeeded, and its branch is not kept' } }
}

// Before there is a key. The limit of the profile prevents core files, but not core dumps that the host pipes to a program.
keepMemoryIn()
const hub = await connect()
await prepare(hub)
let classes: Classes | undefined
const outputs = createOutputs(join(workspace, 'out'), { put: hub.artifact.put, classOf: (name) => classes?.of(name) })
// Loaded only where it is needed: loading is part of every task's start.
let failure = await openWayOut(hub.joined)
if (failure === undefined && hub.joined.secrets.length > 0)
  failure = await (await import('./secrets.ts')).writeSecrets(hub, secrets)
const tools = failure === undefined ? await openTools(hub) : { told: {} }
failure ??= tools.failure
const work: Awaited<ReturnType<typeof openWork>> = failure === undefined ? await openWork(hub) : {}
failure ??= work.failure
const { repository } = work
const transcripts = failure === undefined ? await openConversation(hub) : undefined
const keep = async () => {
  await transcripts?.save()
  await repository?.save()
  await outputs.keep()
}
setInterval(keep, KEEP_EVERY_MS).unref()
const keepInMs = hub.joined.deadlineMs - hub.joined.nowMs - KEEP_BEFORE_END_MS
if (keepInMs > 0) setTimeout(keep, keepInMs).unref()
/** What there is is kept before the shim ends as a crash: the hub decides whether its task begins again. */
function leave(why: string): void {
  console.error(why)
  void Promise.race([keep(), new Promise((done) => setTimeout(done, KEEP_MS))]).then(() => process.exit(1))
}
const silence = createSilence(hub, { leave })
if (failure !== undefined) console.error(failure)
else if (hub.joined.program.driver === 'sdk') {
  Object.assign(process.env, tools.told)
  // It falls as any program does, and what it left so far is kept.
  process.once('uncaughtException', (thrown) => {
    console.error(thrown)
    leave(`the program fell: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
  })
  failure = await load(hub.joined.program)
} else {
  const [{ runProgram }, { createClasses }] = await Promise.all([import('./program.ts'), import('./classes.ts')])
  const own = createClasses()
  classes = own
  hub.onTask((task) =>
    runProgram(hub, task, {
      workspace,
      home,
      told: tools.told,
      classes: own,
      repository,
      transcripts,
      fallen: keep,
      silence,
    }),
  )
}
await hub.run({ failure, beforeResult: () => storeWork(hub, { repository, outputs, transcripts }) })
process.exit(0)
