/**
 * How a card (`may.egress`) and a row of policy/data.json (`egress`) name what an agent may reach outside. A grant is a text:
 *
 * - `forge`: every class of the upstream `forge` but `write`
 * - `forge:write`: that class of it
 * - `api.example.org:443`: a line (CONNECT) to that host and port
 *
 * policies/egress.rego decides by the same meaning. Pure.
 */
import { z } from 'zod'
import { didYouMean } from '../../base/nearest.ts'
import { nameShape } from '../ids.ts'
import { CLASSES_OF, type EgressClass, type Upstream } from './upstreams.ts'

const GRANTABLE = ['metered', 'free', 'read', 'write'] as const satisfies readonly EgressClass[]
const GRANT_LENGTH_MAX = 260
const GRANTS_MAX = 64
/** A name with a dot whose last part begins with a letter: no address in any spelling, since the name must stand in the hello of TLS. */
const HOST = /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const PORT = /^[1-9]\d{0,4}$/
const PORT_MAX = 65_535

/** What one request asks for: an upstream by its name, or a line to `host:port`. */
export interface EgressAsk {
  upstream: string
  class: EgressClass
}

interface Parts {
  upstream: string
  /** Undefined for a grant of a whole upstream. */
  class: EgressClass | undefined
}

function partsOf(grant: string): Parts | undefined {
  const [name = '', word, ...more] = grant.split(':')
  if (more.length > 0) return undefined
  if (word === undefined) return nameShape.safeParse(name).success ? { upstream: name, class: undefined } : undefined
  if (PORT.test(word)) {
    const isLine = HOST.test(name) && Number(word) <= PORT_MAX
    return isLine ? { upstream: grant, class: 'connect' } : undefined
  }
  const found = GRANTABLE.find((each) => each === word)
  return found !== undefined && nameShape.safeParse(name).success ? { upstream: name, class: found } : undefined
}

const FORMS =
  'must be the name of an upstream, NAME:metered, NAME:free, NAME:read, NAME:write, or host:port with the full name of the host, such as api.example.org:443'

/** One grant as a person writes it. */
const grantShape = z
  .string()
  .max(GRANT_LENGTH_MAX)
  .refine((grant) => partsOf(grant) !== undefined, FORMS)

/** All grants of a card or a row. */
export const grantsShape = z
  .array(grantShape)
  .max(GRANTS_MAX)
  .refine((grants) => new Set(grants).size === grants.length, 'a grant is there twice')

/** Whether the grant permits what is asked. */
export function covers(grant: string, ask: EgressAsk): boolean {
  const parts = partsOf(grant)
  if (parts === undefined || parts.upstream !== ask.upstream) return false
  return parts.class === undefined ? ask.class !== 'write' && ask.class !== 'connect' : parts.class === ask.class
}

/** Those that are lines, as `host:port`. */
export const linesOf = (grants: readonly string[]): string[] =>
  grants.filter((grant) => partsOf(grant)?.class === 'connect')

/** What both grants permit; undefined if that is nothing. */
function common(one: string, other: string): string | undefined {
  if (one === other) return one
  const narrower = partsOf(other)
  if (narrower?.class !== undefined && covers(one, { upstream: narrower.upstream, class: narrower.class })) return other
  const asked = partsOf(one)
  if (asked?.class !== undefined && covers(other, { upstream: asked.upstream, class: asked.class })) return one
  return undefined
}

/** Whether one of the list permits all that this grant does. */
export const isHeld = (grant: string, list: readonly string[]): boolean =>
  list.some((each) => common(grant, each) === grant)

/** What both lists permit, as a list of grants: never more than either. `forge` and `forge:read` leave `forge:read`. */
export function narrow(wish: readonly string[], ceiling: readonly string[]): string[] {
  const shared = new Set(wish.flatMap((one) => ceiling.flatMap((other) => common(one, other) ?? [])))
  return [...new Set([...wish, ...ceiling])].filter((grant) => shared.has(grant))
}

/** Why this grant can lead nowhere with these upstreams, in words that say what to change; undefined if it can. */
export function grantProblem(grant: string, upstreams: readonly Upstream[]): string | undefined {
  const parts = partsOf(grant)
  if (parts === undefined) return FORMS
  if (parts.class === 'connect') {
    const [host = ''] = grant.split(':')
    const own = upstreams.find(({ url, files }) => [url, files].some((each) => each && new URL(each).hostname === host))
    return own && `is the host of the upstream ${own.name}: ask for ${own.name}, so that its list and its limits hold`
  }
  const found = upstreams.find(({ name }) => name === parts.upstream)
  const names = upstreams.map(({ name }) => name)
  if (found === undefined)
    return `no upstream is named ${parts.upstream}: declare it under upstreams in hub.yaml${didYouMean(parts.upstream, names)}`
  const classes = CLASSES_OF[found.kind]
  if (parts.class === undefined || classes.includes(parts.class)) return undefined
  return `the upstream ${found.name} is of kind ${found.kind} and has no class ${parts.class}; it has ${classes.join(' and ')}`
}
