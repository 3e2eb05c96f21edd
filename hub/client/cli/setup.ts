/**
 * `hub setup`: who is told and how, when a heartbeat is due, who else may stop, who watches from outside. By questions or by flags, again and
 * again: what stands is the default. An answer is written only once both files were judged with it and its channel was tried by the code of
 * both processes; so an interruption leaves nothing half written. What is skipped stays worth a look in `hub doctor`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline/promises'
import { watchdogFileOf } from '../../base/watchdog-words.ts'
import type { AlertTestView } from '../answers.ts'
import { EXIT, Problem, toProblem, usage } from '../problem.ts'
import { watchdogTests } from './alerts.ts'
import type { Context, Options, Run } from './context.ts'
import { restartHub, restartWatchdog } from './down.ts'
import { pathsOf } from './home.ts'
import { configFileOf, program } from './judge.ts'
import { contactOf, flagsOf, type Given, localOf, mailOf, merged, postOf, readSecret, textOf } from './setup-answers.ts'
import { createDesk, type Desk, type View } from './setup-desk.ts'
import { bringUp, hubAnswers, programsOf, watchdogAnswers } from './start.ts'
import { clean } from './text.ts'

/** Asks a person; an empty answer is the default. Rejects where they leave. */
export type Ask = (question: string, standing: string | undefined) => Promise<string>

/**
 * The questions, one step after the other. What is refused is said, and one that takes a single answer is asked again, until one is taken
 * or Enter keeps what stands; after the others the next step follows.
 */
async function askAll(desk: Desk, ask: Ask, note: (text: string) => void): Promise<void> {
  const commit = async (given: () => Given): Promise<boolean> => {
    try {
      await desk.commit(given())
      return true
    } catch (error) {
      note(toProblem(error).message)
      return false
    }
  }
  const one = async (question: string, standing: string | undefined, given: (answer: string) => Given['answers']) => {
    for (;;) {
      const answer = await ask(question, standing)
      if (answer === '' || (await commit(() => ({ answers: given(answer), secrets: {} }))) || answer === standing)
        return
    }
  }
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone
  await one('Your time zone', desk.standing().zone ?? own, (zone) => ({ zone }))

  const before = desk.standing().channel('email')
  const to = await ask('Tell you by mail: your address', textOf(Array.isArray(before?.to) ? before.to[0] : before?.to))
  if (to !== '') {
    const server = await ask(
      '  through which server (host:port)',
      before === undefined ? undefined : `${before.host}:${before.port ?? 587}`,
    )
    const user = await ask('  with which account there', textOf(before?.user))
    const secretFile = user === '' ? '' : await ask('  a file that holds its password', undefined)
    const mail = { to, server, from: undefined, user: user === '' ? undefined : user }
    await commit(() =>
      mailOf({ ...mail, password: secretFile === '' ? undefined : readSecret('password', secretFile) }, before),
    )
  }
  for (const kind of ['push', 'webhook'] as const) {
    const was = desk.standing().channel(kind)
    const question =
      kind === 'push' ? 'Tell you by push: the address of your topic' : 'Tell a program of yours: its address'
    const url = await ask(question, textOf(was?.url))
    if (url === '') continue
    const secretFile = await ask(
      `  a file that holds ${kind === 'push' ? 'its token' : 'the secret that signs'}`,
      undefined,
    )
    await commit(() => postOf(kind, url, secretFile === '' ? undefined : readSecret(kind, secretFile), was))
  }
  const due = 'When a heartbeat is due: rolling, or daily at HH:MM'
  await one(due, desk.standing().heartbeat ?? 'rolling', (heartbeat) => ({ heartbeat }))
  await one('Your name, as your backup contact knows you', desk.standing().operator, (operator) => ({ operator }))
  const contact = await ask('Your backup contact, who may stop everything: their name', desk.standing().contact)
  if (contact !== '') {
    const address = await ask('  their mail address', undefined)
    const through = desk.standing().channel('email')
    if (address !== '' && through !== undefined)
      await commit(() => ({ answers: contactOf(contact, address, through), secrets: {} }))
    else if (address !== '') note('the contact is told through your mail server, and there is none yet')
  }
  const watch = 'A watch outside that expects a ping: its address'
  await one(watch, desk.standing().ping, (url) => ({ ping: { url, ...localOf(url) } }))
}

const changedAtMs = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** Both processes go by what is written, also by what an interrupted setup has left. */
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

/** By both processes as they run now: only they have their units' rights. */
async function testAll({ hub }: Context, view: View): Promise<void> {
  const said = (await hub.call('alert.test', {}, { deadlineMs: 60_000 })) as AlertTestView
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

/** For a command within this one: its results are told here, and what it asks is asked here. */
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

/** One that lies there from an earlier run is in force: a new one would end it. */
async function makeCard(context: Context, out: string, ask: Ask | undefined): Promise<string | null> {
  const file = path.resolve(out)
  if (existsSync(file)) return file
  const { card } = await import('./contact.ts')
  await card(within(context, ask), [], { out: file })
  return existsSync(file) ? file : null
}

function installUnits(home: string): string {
  const words = [program('scripts/systemd/install'), '--home', home]
  if (process.getuid?.() !== 0) return `not installed; as root: ${words.join(' ')}`
  const done = spawnSync(words[0] ?? '', words.slice(1), { encoding: 'utf8' })
  const said = clean((done.stdout + done.stderr).trim().split('\n').at(-1) ?? '')
  return done.status === 0 ? said : `not installed: ${said}`
}

/** What is done after the answers stand. */
async function finish(context: Context, desk: Desk, o: Options, ask: Ask | undefined): Promise<void> {
  const { view } = desk
  await takeOver(context, view)
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
      ? await ask('Make the card of your contact, a page to print: which file (empty: not now)', undefined)
      : '')
  if (out !== '') view.card = await makeCard(context, out, ask)
  const wantsUnits =
    o.systemd === true ||
    (ask !== undefined &&
      existsSync('/run/systemd/system') &&
      /^y/i.test(await ask('Start both at boot, by systemd? (y/n)', undefined)))
  if (wantsUnits) view.systemd = installUnits(context.home)
  const wantsDrill =
    o.rehearse === true ||
    (ask !== undefined && /^y/i.test(await ask('Rehearse the stop now, on a canary? (y/n)', undefined)))
  if (wantsDrill) {
    const { drill } = await import('./drill.ts')
    const code = await drill(within(context, ask), [], {}).catch((error: unknown) => toProblem(error).message)
    view.rehearsal = code === EXIT.done ? 'good' : typeof code === 'string' ? clean(code) : 'not good: hub drill'
  }
  const lacks: [boolean, string][] = [
    [
      ['email', 'push', 'webhook'].every((kind) => now.channel(kind) === undefined),
      'nobody is told: hub setup --mail, --push or --webhook',
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

function say({ terminal, json }: Context, view: View): void {
  if (json) {
    terminal.json(view)
    return
  }
  // Tried before it was written, and once more by the processes that run: what both say is said once.
  const tried = view.tried.map(
    ({ whose, channel, ok, answer }) => `${whose}, ${channel}: ${ok ? 'taken' : `FAILED: ${answer}`}`,
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
  for (const line of view.left) terminal.out(`left: ${clean(line)}`)
  terminal.out('Again at any time: hub setup. What is left shows in hub doctor.')
}

/** @throws Problem where an answer is refused; what was written before it stays, and the next run goes on from there */
export async function runSetup(context: Context, options: Options, ask: Ask | undefined): Promise<number> {
  const desk = createDesk(context)
  const secrets = await desk.convert()
  if (ask === undefined) {
    const all = merged([...flagsOf(options, desk.standing()), { answers: {}, secrets }])
    if (
      Object.keys(all.answers).length > 1 ||
      (all.answers.channels ?? []).length > 0 ||
      watchdogFileOf(context.home)?.form === 'config.json'
    )
      await desk.commit(all)
  } else {
    if (watchdogFileOf(context.home)?.form === 'config.json') await desk.commit({ answers: {}, secrets })
    await askAll(desk, ask, (text) => context.terminal.note(text))
  }
  await finish(context, desk, options, ask)
  say(context, desk.view)
  const failed = desk.view.tried.some(({ ok }) => !ok) || desk.view.rehearsal?.startsWith('not') === true
  return failed ? EXIT.fault : EXIT.done
}

const OWN = ['home', 'json']

/** With any answer as a flag nothing is asked; without one a person is, at a terminal. @throws Problem usage */
export const setup: Run = async (context, _, options) => {
  if (Object.keys(options).some((name) => !OWN.includes(name))) return runSetup(context, options, undefined)
  if (!context.terminal.interactive)
    throw usage('hub setup asks, and nobody can be asked here', 'give answers as flags: hub setup --help')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  const left = new AbortController()
  lines.on('close', () => left.abort())
  context.terminal.note(
    `Each answer is tried before it is kept. Enter keeps what stands in [ ] or skips; - skips. Ctrl-C ends; hub setup goes on.`,
  )
  const ask: Ask = async (question, standing) => {
    const said = await lines
      .question(`${question}${standing === undefined ? '' : ` [${standing}]`}: `, { signal: left.signal })
      .catch(() => {
        throw new Problem(
          'interrupted',
          'fault',
          'setup was ended; what was answered and kept stays',
          '`hub setup` goes on',
        )
      })
    const answer = said.trim()
    return answer === '-' ? '' : answer === '' ? (standing ?? '') : answer
  }
  try {
    return await runSetup(context, options, ask)
  } finally {
    lines.close()
  }
}
