/**
 * `hub setup`: who is told and how, when a heartbeat is due, who else may stop, who watches from outside. By questions or by flags, as often as
 * you like: present answers are the defaults. An answer is written only after both files were checked with it and the code of both processes
 * has tried its channel, so an interruption leaves nothing half written. `hub doctor` shows what was skipped.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import path from 'node:path'
import { watchdogFileOf } from '../../../base/watchdog-words.ts'
import { EXIT, toProblem, usage } from '../../problem.ts'
import type { Context, Options, Run } from '../context.ts'
import { pathsOf } from '../home.ts'
import { watchdogTests } from '../looking/alerts.ts'
import { clean } from '../text.ts'
import { restartHub, restartWatchdog } from './down.ts'
import { configFileOf, program } from './judge.ts'
import type { Ask } from './setup-answers.ts'
import { flagsOf, merged, readPipe, SECRET_OPTIONS, textOf } from './setup-answers.ts'
import { createDesk, type Desk, PROBES, type Probes, type View } from './setup-desk.ts'
import { createDraft } from './setup-draft.ts'
import { createPerson } from './setup-person.ts'
import { askAll } from './setup-questions.ts'
import { byFlag } from './setup-refusals.ts'
import { bringUp, hubAnswers, programsOf, watchdogAnswers } from './start.ts'

const changedAtMs = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** Restarts each process whose file is newer than the process, also if an earlier setup wrote it. */
async function takeOver(context: Context, view: View): Promise<void> {
  const paths = pathsOf(context.home)
  const programs = programsOf(paths)
  if ((await watchdogAnswers(context)) && changedAtMs(paths.watchdogConfig) > changedAtMs(paths.watchdogPid)) {
    await restartWatchdog(context, programs)
    view.restarted.push('watchdog')
  }
  if ((await hubAnswers(context)) && changedAtMs(configFileOf(context.home)) > changedAtMs(paths.hubPid)) {
    await restartHub(context, programs)
    view.restarted.push('hub')
  }
  await bringUp(context, programs)
}

/** What setup needs beside the home. A test passes its own. */
export interface Machine {
  probes: Probes
  takeOver(context: Context, view: View): Promise<void>
  /** The root of systemd's folders. */
  root: string
  isRoot: boolean
}
const MACHINE: Machine = { probes: PROBES, takeOver, root: '/', isRoot: process.getuid?.() === 0 }

/** Has both running processes send tests: only they have the rights of their units. */
async function testAll({ hub }: Context, view: View): Promise<void> {
  const said = await hub.call('alert.test', {}, { deadlineMs: 60_000 })
  const rows = [
    ...said.hub.map((row) => ({ whose: 'hub' as const, ...row })),
    ...watchdogTests(said.watchdog).map((row) => ({ whose: 'watchdog' as const, ...row })),
  ]
  view.tried.push(
    ...rows.map(({ whose, channel, kind, ok, answer }) => ({
      whose,
      channel: channel ?? kind ?? '',
      ok: ok === true,
      answer: answer ?? '',
    })),
  )
}

/** The context of a command that runs inside this one: its results are not printed, and its questions go to `ask`. */
const within = (context: Context, ask: Ask | undefined): Context => ({
  ...context,
  json: false,
  terminal: {
    ...context.terminal,
    out: () => undefined,
    json: () => undefined,
    confirm: async (question) => ask === undefined || /^y(es)?$/i.test(await ask(`${question} (y/n)`, undefined)),
  },
})

/** Keeps the file of an earlier run: its card is in force, and a new card would end it. */
async function makeCard(context: Context, out: string, ask: Ask | undefined): Promise<string | null> {
  const file = path.resolve(out)
  if (existsSync(file)) return file
  const { card } = await import('../stopping/contact.ts')
  await card(within(context, ask), [], { out: file })
  return existsSync(file) ? file : null
}

function installUnits(home: string, { root, isRoot }: Machine): { installed: boolean; text: string } {
  const words = [program('scripts/systemd/install'), '--home', home, ...(root === '/' ? [] : ['--root', root])]
  if (!isRoot) return { installed: false, text: `not installed; as root: ${words.join(' ')}` }
  const done = spawnSync(words[0] ?? '', words.slice(1), { encoding: 'utf8' })
  const said = clean(done.error?.message ?? (done.stdout + done.stderr).trim().split('\n').at(-1) ?? '')
  const installed = done.status === 0
  return { installed, text: installed ? said : `not installed: ${said}` }
}

/** What is done once the answers are written. */
async function finish(context: Context, desk: Desk, o: Options, ask: Ask | undefined, machine: Machine): Promise<void> {
  const { view } = desk
  await machine.takeOver(context, view)
  const open = Object.entries(view.arrived)
    .filter(([, isThere]) => !isThere)
    .map(([channel]) => channel)
  if (open.length > 0 && o.arrived !== true) await testAll(context, view)
  for (const channel of open) {
    const isThere =
      o.arrived === true ||
      (ask !== undefined && /^y(es)?$/i.test(await ask(`Did the tests by ${channel} arrive? (y/n)`, undefined)))
    if (isThere) desk.arrive(channel, true)
  }
  const now = desk.standing()
  const out =
    textOf(o.card) ??
    (ask !== undefined &&
    now.contact !== undefined &&
    now.operator !== undefined &&
    !existsSync(path.join(context.home, 'card.html'))
      ? await ask('Make the card of your contact, a page to print: into which file (empty: not now)', undefined)
      : '')
  if (out !== '') view.card = await makeCard(context, out, ask)
  const wantsUnits =
    o.systemd === true ||
    (ask !== undefined &&
      existsSync(path.join(machine.root, 'run/systemd/system')) &&
      /^y/i.test(await ask('Let systemd start hub and watchdog at boot? (y/n)', undefined)))
  if (wantsUnits) {
    const { installed, text } = installUnits(context.home, machine)
    view.installed = installed
    view.systemd = text
  }
  const wantsDrill =
    o.rehearse === true ||
    (ask !== undefined && /^y/i.test(await ask('Rehearse the stop now, with a test agent? (y/n)', undefined)))
  if (wantsDrill) {
    const { drill } = await import('../stopping/drill.ts')
    const code = await drill(within(context, ask), [], {}).catch((error: unknown) => toProblem(error).message)
    view.rehearsed = code === EXIT.done
    view.rehearsal = code === EXIT.done ? 'good' : typeof code === 'string' ? clean(code) : 'failed; run hub drill'
  }
  const lacks: [boolean, string][] = [
    [
      ['email', 'push', 'webhook'].every((kind) => now.channel(kind) === undefined),
      'nobody is told of anything: hub setup --mail, --push or --webhook',
    ],
    ...Object.entries(view.arrived).map(([channel, isThere]): [boolean, string] => [
      !isThere,
      `nobody has said that ${channel} arrives: hub setup --arrived`,
    ]),
    [now.contact === undefined, 'no backup contact: hub setup --contact NAME --contact-mail ADDRESS'],
    [
      now.contact !== undefined && view.card === null,
      "the contact's card, if they have none: hub contact card; then hub contact test",
    ],
    [now.ping === undefined, 'nobody outside would notice that this machine is gone: hub setup --ping URL'],
  ]
  view.left = lacks.filter(([isLeft]) => isLeft).map(([, text]) => text)
}

/** How to run the model agent that ships, after its upstream was declared. */
function modelLines(upstream: View['upstream']): string[] {
  if (upstream === null) return []
  const card =
    upstream.kind === 'anthropic' && upstream.name === 'anthropic'
      ? []
      : [
          `  in agents/assistant.yaml of the home: ASSISTANT_UPSTREAM, ASSISTANT_SHAPE, ASSISTANT_MODEL and may.egress for ${upstream.name}; then hub agent reload`,
        ]
  return [
    `a model agent to begin with (\`hub upstream test ${upstream.name}\` tries the key):`,
    '  hub agent build assistant',
    ...card,
    '  hub agent allow assistant',
    '  hub submit assistant --param task="..."',
  ]
}

function say({ terminal, json }: Context, view: View): void {
  if (json) {
    terminal.json(view)
    return
  }
  // Each channel is tried before it is written and again by the running processes; equal lines are printed once.
  const tried = view.tried.map(
    ({ whose, channel, ok, answer }) => `${whose}, ${channel}: ${ok ? 'accepted' : `FAILED: ${answer}`}`,
  )
  for (const line of new Set(tried)) terminal.out(clean(line))
  const written = [...new Set(view.written)]
  terminal.out(written.length === 0 ? 'nothing was changed' : `written: ${written.join(', ')}`)
  if (view.card !== null) terminal.out(`the card: ${clean(view.card)} (print it, then delete it)`)
  for (const [what, said] of [
    ['systemd', view.systemd],
    ['rehearsal', view.rehearsal],
  ] as const)
    if (said !== null) terminal.out(`${what}: ${said}`)
  for (const line of modelLines(view.upstream)) terminal.out(clean(line))
  for (const line of view.left) terminal.out(`left to do: ${clean(line)}`)
  terminal.out('Run hub setup again at any time. hub doctor shows what is left to do.')
}

/** @throws Problem if an answer is refused; what was written before stays, and the next run continues from there */
export async function runSetup(
  context: Context,
  options: Options,
  ask: Ask | undefined,
  piped = '',
  machine: Machine = MACHINE,
): Promise<number> {
  const desk = createDesk(context, machine.probes)
  const secrets = await desk.convert()
  if (ask === undefined) {
    const all = merged([...flagsOf(options, desk.standing(), piped), { answers: {}, secrets }])
    if (
      Object.keys(all.answers).length > 1 ||
      (all.answers.channels ?? []).length > 0 ||
      watchdogFileOf(context.home)?.form === 'config.json'
    )
      await desk.commit(all).catch((error: unknown) => {
        throw byFlag(toProblem(error), options)
      })
  } else {
    if (watchdogFileOf(context.home)?.form === 'config.json') await desk.commit({ answers: {}, secrets })
    await askAll({ desk, draft: createDraft(context.home), ask, note: (text) => context.terminal.note(text) })
  }
  await finish(context, desk, options, ask, machine)
  say(context, desk.view)
  const { tried, rehearsed, installed } = desk.view
  const failed = tried.some(({ ok }) => !ok) || rehearsed === false || installed === false
  return failed ? EXIT.fault : EXIT.done
}

const OWN = ['home', 'json']

/** The secret that one of the options takes from stdin. @throws Problem usage */
async function readPiped(options: Options): Promise<string> {
  const takers = SECRET_OPTIONS.filter((each) => options[each] === '-')
  if (takers.length === 0) return ''
  if (takers.length > 1) throw usage('stdin can hold only one secret: give - to one flag, and files to the others')
  return readPipe('hub setup')
}

/**
 * If any answer is a flag, nothing is asked. Else the answers come from a person at a terminal, or line by line from a pipe.
 * @throws Problem usage
 */
export const setup: Run = async (context, _, options) => {
  if (Object.keys(options).some((name) => !OWN.includes(name)))
    return runSetup(context, options, undefined, await readPiped(options))
  const nobody = usage(
    'hub setup asks questions, but this is not a terminal',
    'give answers as flags: hub setup --help',
  )
  const { interactive } = context.terminal
  // If only the input is a terminal, it would show a secret while it is typed.
  if (process.stdin.isTTY && !interactive) throw nobody
  const person = createPerson(process.stdin, process.stderr, interactive)
  context.terminal.note(
    'Each answer is tried before it is kept. Enter keeps the answer in [ ], - clears it, skip leaves a part out. Ctrl-C ends; hub setup continues.',
  )
  try {
    return await runSetup(context, options, person.ask)
  } catch (error) {
    throw !interactive && !person.hasAnswered && toProblem(error).code === 'interrupted' ? nobody : error
  } finally {
    person.close()
  }
}
