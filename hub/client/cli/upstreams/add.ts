/**
 * `hub upstream add`: declares an upstream in hub.yaml and puts its key into the home. What is missing is asked for; the key is typed unseen or
 * comes on standard input, never as an argument. The whole file is judged with it first, so a refusal has changed nothing.
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { type Document, isMap, parseDocument, stringify } from 'yaml'
import { EXIT, Problem } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { writeWhole } from '../home-files.ts'
import { configFileOf, configText, faultsText, judge } from '../setup/judge.ts'
import type { Ask } from '../setup/setup-answers.ts'
import { readPipe } from '../setup/setup-answers.ts'
import { createPerson } from '../setup/setup-person.ts'
import { completedUpstream, type Entry, keyOfUpstream, type Wish, wishOf } from './wish.ts'

/** hub.yaml with one more upstream; everything else in it stays, comments too. @throws Problem if it has one of this name */
function withUpstream(text: string, name: string, entry: Entry['entry']): string {
  const document: Document = parseDocument(text)
  if (document.hasIn(['upstreams', name]))
    throw new Problem(
      'conflict',
      'refused',
      `an upstream ${name} is declared already`,
      'change it in hub.yaml, or choose another name',
    )
  if (!isMap(document.get('upstreams'))) document.set('upstreams', document.createNode({}))
  document.setIn(['upstreams', name], document.createNode(entry, { flow: true }))
  return document.toString({ lineWidth: 0 })
}

interface Plan extends Entry {
  key: string | undefined
  before: string
  after: string
  /** What a person is shown before the yes. */
  shown: string[]
}

/** Everything that will be written, judged as a whole. @throws Problem; nothing was written */
async function planned(
  context: Pick<Context, 'home'>,
  wish: Wish,
  ask: Ask | undefined,
  piped: string | undefined,
): Promise<Plan> {
  const { home } = context
  const file = configFileOf(home)
  const whole = await completedUpstream(wish, ask)
  const before = configText(home).toString('utf8')
  const after = withUpstream(before, whole.name, whole.entry)
  const { faults } = await judge('config', home, after)
  if (faults.length > 0)
    throw new Problem('config_invalid', 'refused', `${faultsText(file, faults)}; nothing was written`, 'correct it', {
      faults,
    })
  const key = await keyOfUpstream(home, whole, ask, piped)
  const line = `  ${whole.name}: ${stringify(whole.entry, { collectionStyle: 'flow', lineWidth: 0 }).trim()}`
  const put = existsSync(path.join(home, 'secrets', whole.secret ?? '')) ? 'is replaced by' : 'gets'
  const shown = [
    `${file}:`,
    'upstreams:',
    line,
    ...(key === undefined ? [] : [`${path.join(home, 'secrets', whole.secret ?? '')} ${put} the key (not shown)`]),
  ]
  return { ...whole, key, before, after, shown }
}

/** The key first: the hub reads hub.yaml as soon as it changes. @throws Problem if hub.yaml has changed since it was judged */
function write({ home }: Pick<Context, 'home'>, { key, secret, before, after }: Plan): void {
  if (configText(home).toString('utf8') !== before)
    throw new Problem(
      'conflict',
      'refused',
      'hub.yaml was changed in the meantime; nothing was written',
      'run it again',
    )
  if (key !== undefined && secret !== undefined) writeWhole(path.join(home, 'secrets', secret), key)
  writeWhole(configFileOf(home), after)
}

/** Asks for a whole upstream and writes it after a yes; undefined after a no. @throws Problem; nothing was written */
export async function declareUpstream(
  context: Pick<Context, 'home' | 'terminal'>,
  wish: Wish,
  ask: Ask | undefined,
  options: { piped?: string | undefined; yes?: boolean } = {},
): Promise<Entry | undefined> {
  const { terminal } = context
  const plan = await planned(context, wish, ask, options.piped)
  for (const line of plan.shown) terminal.note(line)
  const isYes =
    options.yes === true ||
    (ask === undefined
      ? await terminal.confirm('write this?', false)
      : /^y(es)?$/i.test(await ask('Write this? (y/n)', undefined)))
  if (!isYes) return undefined
  write(context, plan)
  return { name: plan.name, entry: plan.entry, secret: plan.secret }
}

export const add: Run = async (context, [name], options) => {
  const { terminal, json } = context
  const piped = options.secretStdin === true ? await readPipe('hub upstream add') : undefined
  const isAsking = piped === undefined && options.yes !== true && terminal.interactive
  const person = isAsking ? createPerson(process.stdin, process.stderr, true) : undefined
  try {
    const yes = options.yes === true
    const written = await declareUpstream(context, wishOf(name, options), person?.ask, { piped, yes })
    if (json) terminal.json({ ...(written ?? {}), written: written !== undefined })
    else if (written === undefined) terminal.note('nothing was written')
    else
      terminal.out(
        `written; a running hub takes it over by itself\nnext: \`hub upstream test ${written.name}\`; then name it in may.egress of a card, and \`hub agent allow AGENT\``,
      )
    return written === undefined ? EXIT.refused : EXIT.done
  } finally {
    person?.close()
  }
}
