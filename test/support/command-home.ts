/** What a test of the `hub` command stands on: a home, a hub (and a watchdog) that answer from a table, and the command, run on it in this process. */
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach } from 'vitest'
import { runLine } from '../../hub/client/cli/line.ts'
import { createTerminal } from '../../hub/client/cli/terminal.ts'
import {
  type FakeDoor,
  hubSocketOf,
  makeHome,
  type Outcome,
  openFakeDoor,
  runHub,
  SESSION_ID,
  TASK_ID,
  watchdogSocketOf,
} from './fake-hub.ts'

export interface CommandHome {
  readonly home: string
  readonly hub: FakeDoor
  readonly watchdog: FakeDoor
  /** The command in this process, its ends being pipes; its working folder is the home. It takes no input and no signal. */
  run(args: readonly string[], options?: { home?: string; tz?: string }): Promise<Outcome>
  /** As `run`, but a process of its own, which takes 20 times as long: for what reads stdin or an environment, starts processes, or must know no engine yet. */
  runAsProcess(args: readonly string[], options?: Parameters<typeof runHub>[2]): Promise<Outcome>
  /** Ends the hub, or has it back with an empty table. */
  closeHub(): Promise<void>
  openHub(): Promise<void>
  /** The paths that the command posted to, in order. */
  posted(): string[]
}

/** Where tests stand, but while they run a command. */
const START = process.cwd()

/** Runs the command here. Several at once are on one home and in one zone: a process has one working folder and one zone. */
async function runHere(home: string, args: readonly string[], folder: string, tz: string): Promise<Outcome> {
  const [stdin, stdout, stderr] = [new PassThrough().end(), new PassThrough(), new PassThrough()]
  const said = Promise.all([text(stdout), text(stderr)])
  process.env.TZ = tz
  // Vitest sets it for its own output.
  delete process.env.FORCE_COLOR
  process.chdir(folder)
  const code = await runLine(args, { HOME: home, HUB_HOME: home }, createTerminal(stdin, stdout, stderr))
  stdout.end()
  stderr.end()
  const [out, err] = await said
  return { code, stdout: out, stderr: err }
}

/** New for every test of the file, or of the `describe` it stands in. `watchdog`: one answers too; else asking for it is a mistake of the test. */
export function commandHome(prepare: (at: CommandHome) => unknown = () => undefined, watchdog = false): CommandHome {
  let here: { home: string; remove: () => void }
  let hub: FakeDoor | undefined
  let dog: FakeDoor | undefined
  const open = <T>(door: T | undefined): T => {
    if (door === undefined) throw new Error('this test opened no such door')
    return door
  }
  const at: CommandHome = {
    get home() {
      return here.home
    },
    get hub() {
      return open(hub)
    },
    get watchdog() {
      return open(dog)
    },
    run: (args, options = {}) => runHere(options.home ?? here.home, args, here.home, options.tz ?? 'Europe/Berlin'),
    runAsProcess: (args, options) => runHub(here.home, args, options),
    closeHub: () => open(hub).close(),
    async openHub() {
      hub = await openFakeDoor(hubSocketOf(here.home))
    },
    posted: () => open(hub).asked.flatMap(({ method, path }) => (method === 'POST' ? [path] : [])),
  }
  beforeEach(async () => {
    here = makeHome()
    await at.openHub()
    dog = watchdog ? await openFakeDoor(watchdogSocketOf(here.home)) : undefined
    await prepare(at)
  })
  afterEach(async () => {
    process.chdir(START)
    await Promise.all([hub?.close(), dog?.close()])
    here.remove()
  })
  return at
}

/** One session and one agent, as lists show them. */
export const sessionRow = {
  id: SESSION_ID,
  agent: 'echo',
  task: TASK_ID,
  attempt: 1,
  state: 'working',
  generation: 1,
  containerId: 'c'.repeat(64),
  exit: null,
  createdAtMs: 1,
  expiresAtMs: 2,
  mailbox: 0,
}
export const agentRow = {
  name: 'echo',
  description: 'says it again',
  image: 'hub/echo',
  imageId: `sha256:${'a'.repeat(64)}`,
  provenance: 'built',
  state: 'registered',
  reason: null,
  capabilities: ['echo'],
  driver: 'sdk',
  mode: 'task',
  sessions: 0,
  restarts: 0,
}
