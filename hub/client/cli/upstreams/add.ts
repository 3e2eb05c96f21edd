/**
 * `hub upstream add`: declares an upstream in hub.yaml and puts its key into the home. What is missing is asked for; the key is typed unseen or
 * comes on standard input, never as an argument. The whole file is judged with it first, so a refusal has changed nothing.
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { type Document, isMap, parseDocument, stringify } from 'yaml'
import { nameShape } from '../../../protocol/ids.ts'
import { EXIT, Problem, usage } from '../../problem.ts'
import type { Context, Options, Run } from '../context.ts'
import { writeWhole } from '../home-files.ts'
import { configFileOf, configText, faultsText, judge } from '../setup/judge.ts'
import { localOf, readPipe, textOf } from '../setup/setup-answers.ts'
import { createPerson } from '../setup/setup-person.ts'
import type { Ask } from '../setup/setup-questions.ts'
import { clean } from '../text.ts'

const KINDS = ['anthropic', 'openai', 'google', 'git', 'npm', 'pypi', 'http'] as const
const MODELS: Readonly<Record<string, string>> = {
  anthropic: 'https://api.anthropic.com',
  openai: 'https://api.openai.com',
  google: 'https://generativelanguage.googleapis.com',
}

/** What was said of an upstream so far; what is undefined was not. */
export interface Wish {
  name?: string | undefined
  kind?: string | undefined
  url?: string | undefined
  secret?: string | undefined
  local: boolean
  price?: string | undefined
  allow: readonly string[]
  repositories: readonly string[]
}
/** One that is whole: its lines of hub.yaml, and the name of the secret that holds its key. */
interface Entry {
  name: string
  entry: Readonly<Record<string, unknown>>
  secret: string | undefined
}

const listOf = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [])
export const wishOf = (name: string | undefined, o: Options): Wish => ({
  ...{ name, kind: textOf(o.kind), url: textOf(o.url), secret: textOf(o.secret), price: textOf(o.price) },
  ...{ local: o.local === true, allow: listOf(o.allow), repositories: listOf(o.repository) },
})

/** The answer to a question; without a person to ask, the option is missing. @throws Problem usage */
async function wanted(ask: Ask | undefined, question: string, option: string, standing?: string): Promise<string> {
  const answer = ask === undefined ? (standing ?? '') : await ask(question, standing)
  if (answer === '') throw usage(`${option} is missing`, `give ${option}, or run \`hub upstream add\` at a terminal`)
  return answer
}
const parts = (text: string): string[] =>
  text
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')

/** Asks for what is missing. @throws Problem usage for what nobody can be asked for */
async function completed(wish: Wish, ask: Ask | undefined): Promise<Entry> {
  const kind = wish.kind ?? (await wanted(ask, `What kind: ${KINDS.join(', ')}`, '--kind'))
  const own = Object.hasOwn(MODELS, kind) ? MODELS[kind] : undefined
  const name = wish.name ?? (await wanted(ask, 'Its name here', 'NAME', kind))
  if (!nameShape.safeParse(name).success)
    throw usage(`${JSON.stringify(clean(name))} is no name of an upstream: small letters, digits and -`)
  const url = wish.url ?? (await wanted(ask, 'Its address', '--url', own))
  const local = wish.local || localOf(url).local !== undefined
  const repositories =
    kind !== 'git' || wish.repositories.length > 0
      ? wish.repositories
      : parts(await wanted(ask, 'Which repositories, as me/tool, me/*', '--repository'))
  const allow =
    kind !== 'http' || wish.allow.length > 0
      ? wish.allow
      : parts(await wanted(ask, 'Which requests, as GET /v1/forecast*', '--allow'))
  let { price } = wish
  if (price === undefined && own !== undefined && local && ask !== undefined)
    price = /^y/i.test(await ask('Do its models cost nothing? (y/n)', 'y')) ? 'free' : undefined
  const needsKey = own !== undefined && !local
  const secret = wish.secret ?? (needsKey ? `${name}-key` : undefined)
  const entry = {
    kind,
    ...(url === own ? {} : { url }),
    ...(secret === undefined ? {} : { secret }),
    ...(local ? { local: true } : {}),
    ...(price === undefined ? {} : { price }),
    ...(repositories.length === 0 ? {} : { repositories }),
    ...(allow.length === 0 ? {} : { allow }),
  }
  return { name, entry, secret }
}

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

/** @throws Problem usage for a key that could not stand in a header */
function checkKey(key: string): string {
  if (/^[\x21-\x7e]{8,8192}$/.test(key)) return key
  throw usage('the key must be one word of at least 8 plain letters, digits and signs; nothing was written')
}

async function keyFor(
  { home }: Pick<Context, 'home'>,
  { name, secret }: Entry,
  ask: Ask | undefined,
  piped: string | undefined,
): Promise<string | undefined> {
  if (secret === undefined) {
    if (piped === undefined) return undefined
    throw usage('--secret-stdin gives a key, and nothing says its name', 'add --secret NAME')
  }
  if (!nameShape.safeParse(secret).success)
    throw usage('--secret takes the name of a file in HOME/secrets, and never the key itself', 'give --secret NAME')
  if (piped !== undefined) return checkKey(piped.trim())
  const stands = existsSync(path.join(home, 'secrets', secret))
  if (ask !== undefined) {
    const typed = await ask(
      `The key of ${name}, not shown while you type${stands ? ` (Enter keeps the one in secrets/${secret})` : ''}`,
      undefined,
      true,
    )
    if (typed !== '') return checkKey(typed)
  }
  if (stands) return undefined
  throw usage(`the key of ${name} is missing`, 'give it on standard input with --secret-stdin')
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
  const whole = await completed(wish, ask)
  const before = configText(home).toString('utf8')
  const after = withUpstream(before, whole.name, whole.entry)
  const { faults } = await judge('config', home, after)
  if (faults.length > 0)
    throw new Problem('config_invalid', 'refused', `${faultsText(file, faults)}; nothing was written`, 'correct it', {
      faults,
    })
  const key = await keyFor(context, whole, ask, piped)
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
  terminal.note(plan.shown.map(clean).join('\n'))
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
