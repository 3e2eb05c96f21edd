/** The closed list of one kind of upstream, as a table, and how a request is looked up in it. */
import type { EgressClass, Upstream } from '../../../../protocol/egress/upstreams.ts'
import { type BodyShape, type Refused, refused } from '../judged.ts'
import type { Target } from '../target.ts'

/** One line of a list: a method, a path whose group `model` is the model, and the keys that its query may have. */
export interface Endpoint {
  method: string
  path: RegExp
  class: EgressClass
  shape?: BodyShape
  /** Each key with the form of its value. */
  query?: Readonly<Record<string, RegExp>>
  /** Keys of which one must be there. */
  needs?: readonly string[]
}
/** What a request turned out to be. The path is the client's own, without the base of the upstream. */
export interface Asked {
  class: EgressClass
  shape: BodyShape | undefined
  model: string | undefined
  path: string
  query: Target['query']
  host: 'url' | 'files'
  /** Its body may be in gzip: nobody reads it here. */
  mayZip: boolean
}
/** Judges method and target of one kind. */
export type KindRule = (upstream: Upstream, method: string, target: Target) => Asked | Refused
/** Paths that people know and that never pass, each with its reason. */
export type Known = readonly (readonly [path: RegExp, why: string])[]

export const asked = (target: Target, found: Partial<Asked> & Pick<Asked, 'class'>): Asked => ({
  ...{ shape: undefined, model: undefined, path: target.path, query: target.query, host: 'url', mayZip: false },
  ...found,
})

/** The rule of a kind that is a table and nothing else. `credentials`: keys of a query that carry a credential, and never pass. */
export const byTable =
  (endpoints: readonly Endpoint[], known: Known, credentials: readonly string[] = []): KindRule =>
  (upstream, method, target) => {
    const found = endpoints.find((each) => each.method === method && each.path.test(target.path))
    if (found === undefined) return notListed(upstream, method, target, known)
    const { query, needs = [] } = found
    const kept = target.query.filter(([key]) => !credentials.includes(key))
    for (const [key, value] of kept) {
      const form = query !== undefined && Object.hasOwn(query, key) ? query[key] : undefined
      if (form === undefined || !form.test(value ?? ''))
        return refused(
          'egress_denied',
          `${method} ${target.path}: the key ${key} of its query is not on the list of what passes`,
        )
    }
    const missing = needs.find((key) => !kept.some(([each]) => each === key))
    if (missing !== undefined) return refused('egress_denied', `${method} ${target.path} needs ${missing} in its query`)
    const model = found.path.exec(target.path)?.groups?.model
    return asked(target, { class: found.class, shape: found.shape, model, query: kept })
  }

export function notListed(upstream: Upstream, method: string, target: Target, known: Known = []): Refused {
  const why = known.find(([path]) => path.test(target.path))?.[1]
  const what = `${method} ${target.path}`.slice(0, 200)
  return refused(
    'egress_denied',
    why === undefined
      ? `${what} is not on the list of what passes to upstream ${upstream.name} (kind ${upstream.kind})`
      : `${what}: ${why}`,
  )
}
