/** What a person says of a new upstream, by options or by answers, and its key. @throws Problem usage for what is missing or wrong */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { nameShape } from '../../../protocol/ids.ts'
import { usage } from '../../problem.ts'
import type { Options } from '../context.ts'
import { type Ask, localOf, textOf } from '../setup/setup-answers.ts'

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
export interface Entry {
  name: string
  entry: Readonly<Record<string, unknown>>
  secret: string | undefined
}

export const NO_WISH: Wish = { local: false, allow: [], repositories: [] }

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
export async function completedUpstream(wish: Wish, ask: Ask | undefined): Promise<Entry> {
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

/** @throws Problem usage for a key that could not stand in a header */
function checkKey(key: string): string {
  if (/^[\x21-\x7e]{8,8192}$/.test(key)) return key
  throw usage('the key must be one word of at least 8 plain letters, digits and signs; nothing was written')
}

/** The key of an upstream; undefined if it has none, or if the one that is there stays. @throws Problem usage */
export async function keyOfUpstream(
  home: string,
  { name, secret }: Pick<Entry, 'name' | 'secret'>,
  ask: Ask | undefined,
  piped?: string,
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
