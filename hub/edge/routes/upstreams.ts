/** What is declared outside, who may reach it, what it cost today, and trying one (docs/egress.md 2). */
import { HubError } from '../../base/errors.ts'
import { narrow } from '../../protocol/egress/grants.ts'
import type { UpstreamView } from '../../protocol/egress/upstream-views.ts'
import type { Upstream, UpstreamKind } from '../../protocol/egress/upstreams.ts'
import type { Money } from '../../work/egress/money.ts'
import type { Registry } from '../../work/registry.ts'
import type { Secrets } from '../../work/sandbox/secrets.ts'
import { createUpstreamTest, type UpstreamTestParts } from '../egress/upstream-test.ts'
import { type Handlers, handler } from '../serve.ts'

export interface UpstreamParts {
  upstreams: () => readonly Upstream[]
  registry: Pick<Registry, 'list'>
  /** What policy/data.json grants, by agent. */
  granted: () => Readonly<Record<string, readonly string[]>>
  secrets: Pick<Secrets, 'faultOf'>
  money: Pick<Money, 'quota' | 'price' | 'prices' | 'spentToday'>
  restsUntilMs: (upstream: string) => number | undefined
  trying: UpstreamTestParts
}

/** A variable of a card that names a model: of one kind, or of whatever the agent reaches. */
const MODEL_VARIABLE = /^(?:([A-Z]+)_)?(?:.*_)?MODEL(?:_.*)?$/
const KIND_OF_PREFIX: Readonly<Record<string, UpstreamKind>> = {
  ...{ ANTHROPIC: 'anthropic', CLAUDE: 'anthropic', OPENAI: 'openai', CODEX: 'openai' },
  ...{ GOOGLE: 'google', GEMINI: 'google' },
}
const isModel = ({ kind }: Pick<Upstream, 'kind'>) => kind === 'anthropic' || kind === 'openai' || kind === 'google'
const about = (name: string, grants: readonly string[]) =>
  grants.filter((grant) => grant === name || (grant.startsWith(`${name}:`) && !/:\d+$/.test(grant)))

/** Every upstream with what the operator has to know of it. */
export function viewUpstreams(parts: Omit<UpstreamParts, 'trying'>): { day: string; upstreams: UpstreamView[] } {
  const { registry, secrets, money } = parts
  const upstreams = parts.upstreams()
  const cards = registry.list().map(({ card }) => card)
  const granted = parts.granted()
  const { day, rows } = money.spentToday()

  function keyOf({ secret }: Upstream): UpstreamView['key'] {
    if (secret === undefined) return { from: 'none', name: null, problem: null, mend: null }
    if (typeof secret !== 'string') return { from: 'program', name: null, problem: null, mend: null }
    const fault = secrets.faultOf(secret)
    return { from: 'file', name: secret, problem: fault?.why ?? null, mend: fault?.mend ?? null }
  }

  function reachedBy(name: string): UpstreamView['reachedBy'] {
    const names = new Set([...cards.map((card) => card.name), ...Object.keys(granted)])
    return [...names].sort().flatMap((agent) => {
      const card = about(name, cards.find((each) => each.name === agent)?.may.egress ?? [])
      const row = about(name, Object.hasOwn(granted, agent) ? (granted[agent] ?? []) : [])
      return card.length + row.length === 0 ? [] : [{ agent, card, row, has: narrow(card, row) }]
    })
  }

  /** A variable that says no kind belongs to the one model server that its card asks for. */
  function modelsOf(upstream: Upstream): Set<string> {
    const used = new Set(rows.filter((each) => each.upstream === upstream.name).map(({ model }) => model))
    if (!isModel(upstream)) return used
    for (const card of cards) {
      if (about(upstream.name, card.may.egress).length === 0) continue
      const others = upstreams.filter((each) => isModel(each) && about(each.name, card.may.egress).length > 0)
      for (const [variable, value] of Object.entries(card.env)) {
        const match = MODEL_VARIABLE.exec(variable)
        if (match === null || value === '') continue
        const kind = Object.hasOwn(KIND_OF_PREFIX, match[1] ?? '') ? KIND_OF_PREFIX[match[1] ?? ''] : undefined
        if (kind === undefined ? others.length === 1 : kind === upstream.kind) used.add(value)
      }
    }
    return used
  }

  function priceProblem(upstream: Upstream, model: string): string | null {
    if (upstream.free) return null
    try {
      money.price(upstream.name, model)
      return null
    } catch (thrown) {
      if (thrown instanceof HubError) return thrown.message
      throw thrown
    }
  }

  const pauses = money.quota.list()
  const sum = (of: typeof rows, key: 'spentUsd' | 'estimatedUsd' | 'input' | 'output' | 'calls') =>
    of.reduce((total, row) => total + row[key], 0)
  const views = upstreams.map((upstream): UpstreamView => {
    const { name, kind, url, local, free } = upstream
    const pause = pauses.find((each) => each.upstream === name)
    const own = rows.filter((each) => each.upstream === name)
    return {
      ...{ name, kind, url, local, free },
      key: keyOf(upstream),
      reachedBy: reachedBy(name),
      models: [...modelsOf(upstream)].sort().map((model) => ({ model, problem: priceProblem(upstream, model) })),
      quota: pause === undefined ? null : { untilMs: pause.untilMs, why: pause.why },
      restsUntilMs: parts.restsUntilMs(name) ?? null,
      today: {
        ...{ spentUsd: sum(own, 'spentUsd'), estimatedUsd: sum(own, 'estimatedUsd') },
        ...{ input: sum(own, 'input'), output: sum(own, 'output'), calls: sum(own, 'calls') },
      },
    }
  })
  return { day, upstreams: views }
}

export function upstreamHandlers(parts: UpstreamParts): Handlers {
  const test = createUpstreamTest(parts.trying)
  const declared = (name: string): Upstream => {
    const upstreams = parts.upstreams()
    const found = upstreams.find((each) => each.name === name)
    if (found !== undefined) return found
    const names = upstreams.map((each) => each.name).join(', ')
    throw new HubError(
      'unknown_upstream',
      `no upstream is named ${name}${names === '' ? '' : `; declared are ${names}`}`,
    )
  }
  return {
    'upstream.list': handler({
      resource: () => 'upstreams',
      effect: () => undefined,
      after: () => viewUpstreams(parts),
    }),
    'upstream.test': handler({
      resource: ({ name }: { name: string }) => `upstream:${name}`,
      effect: (_, { name }: { name: string }) => declared(name),
      after: async (upstream) => ({ tried: await test(upstream) }),
    }),
  }
}
