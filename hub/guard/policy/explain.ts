/**
 * Why a question gets its answer: which rule, which rows of the data, and what would change it. Nothing here decides, writes or is remembered.
 * What would change it is found by trying: one change of a row or of the card that the question names, then both together.
 */
import type { ActivePolicy } from './bundle.ts'
import { type PolicyData, policyDataShape } from './data.ts'
import type { DelegationPath, Engine, Narrowing, Verdict } from './engine.ts'

type Row = PolicyData['agents'][string]
type Input = Record<string, unknown>

interface Answer {
  effect: Verdict['effect']
  reason: string
  rule: string
  code?: string
  narrow?: Narrowing
  path?: DelegationPath
}

export interface Explanation extends Answer {
  revision: string
  /** What the shipped rules alone say. */
  shipped: Answer
  /** What the operator's rules say; null if there are none, or they were not asked. */
  home: { deny: readonly string[]; ask: readonly string[]; narrow: readonly Narrowing[] } | { fault: string } | null
  /** The rows of data.json that the question names; null for one that is not there. */
  rows: Record<string, Row | null>
  /** Each alone would give another answer; if none would, some two of them together. */
  changes: { change: string; effect: Verdict['effect'] }[]
}

const LISTS = ['message', 'delegate', 'topics', 'secrets'] as const
const FLAGS = ['submit', 'service', 'suspended', 'broadcast'] as const
const CHANGES_MAX = 20

const answerOf = ({ effect, reason, rule, code, narrow, path }: Verdict): Answer => ({
  ...{ effect, reason, rule },
  ...(code === undefined ? {} : { code }),
  ...(narrow === undefined ? {} : { narrow }),
  ...(path === undefined ? {} : { path }),
})

const textIn = (value: unknown, ...path: readonly string[]): string | undefined => {
  let at = value
  for (const key of path) at = (at as Record<string, unknown> | null | undefined)?.[key]
  return typeof at === 'string' ? at : undefined
}

/** What a question is about, by the lists of rows and cards in which it could stand. */
function namedIn(input: Input) {
  const { principal, resource } = input
  const subject = textIn(principal, 'agent') ?? textIn(resource, 'origin', 'parent')
  const object = textIn(resource, 'agent') ?? textIn(resource, 'to', 'agent')
  const needs = (resource as { needs?: unknown } | undefined)?.needs
  return {
    subject,
    object,
    topic: textIn(resource, 'topic') ?? textIn(resource, 'to', 'topic'),
    secret: textIn(resource, 'name'),
    needs: Array.isArray(needs) ? needs.filter((need): need is string => typeof need === 'string') : [],
  }
}

interface Change {
  what: string
  data?: PolicyData
  input?: Input
}

/** Every row with one flag switched, or one name more, that has to do with the question. Pure. */
function changesOf(input: Input, data: PolicyData): { ofData: Change[]; ofCard: Change[] } {
  const { subject, object, topic, secret, needs } = namedIn(input)
  const ofData: Change[] = []
  const put = (name: string, row: Row, what: string) =>
    ofData.push({ what: `${what} in policy/data.json`, data: { agents: { ...data.agents, [name]: row } } })
  const adds = { message: object, delegate: object, topics: topic, secrets: secret }
  for (const name of new Set([subject, object])) {
    if (name === undefined) continue
    const row = Object.hasOwn(data.agents, name) ? data.agents[name] : undefined
    if (row === undefined) {
      const fresh = policyDataShape.safeParse({ agents: { [name]: { submit: true, ttlMs: 600_000 } } }).data
      if (fresh?.agents[name] !== undefined) put(name, fresh.agents[name], `add agents.${name} with submit`)
      continue
    }
    for (const key of FLAGS) put(name, { ...row, [key]: !row[key] }, `set agents.${name}.${key} to ${!row[key]}`)
    for (const key of LISTS) {
      const item = adds[key]
      if (item === undefined) continue
      const isThere = row[key].includes(item)
      const list = isThere ? row[key].filter((each) => each !== item) : [...row[key], item]
      const what = isThere ? `take "${item}" out of agents.${name}.${key}` : `add "${item}" to agents.${name}.${key}`
      put(name, { ...row, [key]: list }, what)
    }
  }
  for (const [name, row] of Object.entries(data.agents)) {
    const lacks = needs.filter((need) => !row.capabilities.includes(need))
    if (lacks.length > 0)
      put(
        name,
        { ...row, capabilities: [...row.capabilities, ...lacks] },
        `add ${lacks.join(', ')} to agents.${name}.capabilities`,
      )
  }
  const principal = input.principal as { authority?: Record<string, unknown> } | undefined
  const ofCard = LISTS.flatMap((key): Change[] => {
    const [item, held] = [adds[key], principal?.authority?.[key]]
    if (item === undefined || !Array.isArray(held) || held.includes(item)) return []
    const authority = { ...principal?.authority, [key]: [...held, item] }
    const what = `add "${item}" to may.${key} of the card of agent ${subject ?? '(the sender)'}, and of those above it`
    return [{ what, input: { ...input, principal: { ...principal, authority } } }]
  })
  return { ofData, ofCard }
}

/**
 * `input`: a question as the gate asks it. Rejects with nothing of its own; without rules in force nothing can be tried. Each try makes rules of
 * its own, so others have their turn (`turn`) after each: a hub of hundreds of agents has as many.
 */
export async function explain(active: ActivePolicy, input: Input, turn: () => Promise<void>): Promise<Explanation> {
  const text = JSON.stringify(input)
  const verdict = active.engine.evaluate(text)
  const shipped = (active.shipped ?? active.engine).evaluate(text)
  const said = shipped.effect === 'deny' ? undefined : active.home?.engine.ask(text)
  const { subject, object } = namedIn(input)
  const agents: Record<string, Row> = active.data?.agents ?? {}
  const names = [subject, object].filter((name): name is string => name !== undefined)
  return {
    ...answerOf(verdict),
    revision: active.revision,
    shipped: answerOf(shipped),
    home: said === undefined ? null : typeof said === 'string' ? { fault: said } : said,
    rows: Object.fromEntries(names.map((name) => [name, (Object.hasOwn(agents, name) && agents[name]) || null])),
    changes: await changesThatCount(active, input, verdict, shipped, turn),
  }
}

async function changesThatCount(
  { data, tryWith, home }: ActivePolicy,
  input: Input,
  verdict: Verdict,
  shipped: Verdict,
  turn: () => Promise<void>,
): Promise<Explanation['changes']> {
  const changes: Explanation['changes'] = []
  if (home !== undefined && shipped.effect !== verdict.effect)
    changes.push({ change: `take the rule out of ${[...home.sources.keys()].join(', ')}`, effect: shipped.effect })
  if (data === undefined || tryWith === undefined) return changes
  const { ofData, ofCard } = changesOf(input, data)
  const engines = new Map<PolicyData, Engine>()
  const engineOn = (on: PolicyData): Engine => {
    const engine = engines.get(on) ?? tryWith(on)
    engines.set(on, engine)
    return engine
  }
  const attempt = async (tried: readonly Change[]): Promise<void> => {
    if (changes.length >= CHANGES_MAX) return
    await turn()
    const on = tried.find((each) => each.data !== undefined)?.data ?? data
    const asked = tried.find((each) => each.input !== undefined)?.input ?? input
    const { effect } = engineOn(on).evaluate(JSON.stringify(asked))
    if (effect !== verdict.effect) changes.push({ change: tried.map(({ what }) => what).join(' and '), effect })
  }
  for (const each of [...ofData, ...ofCard]) await attempt([each])
  if (changes.length === 0) for (const one of ofData) for (const other of ofCard) await attempt([one, other])
  return changes
}
