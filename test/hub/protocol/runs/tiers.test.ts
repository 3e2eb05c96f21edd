/** What a step can do at least and a run can cost at most, and the order of a graph. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { orderOf, upstreamOf } from '../../../../hub/protocol/runs/graph.ts'
import { costBound, impliedTier, type StepCard, triesOf } from '../../../../hub/protocol/runs/tiers.ts'

const card = (egress: string[], shell = false): StepCard => ({
  ...{ name: 'x', shell, repeatable: false, capabilities: [] },
  may: { egress },
})

describe('the tier of a step (S2-26)', () => {
  it.each([
    ['agent', [], 'read'],
    ['implement', [], 'write'],
    ['test', [], 'execute'],
    ['execute', [], 'execute'],
    ['agent', [card(['forge', 'forge:read', 'model:metered', 'npm:free'])], 'read'],
    ['agent', [card([], true)], 'execute'],
    ['agent', [card(['forge:write'])], 'external'],
    ['agent', [card(['api.example.org:443'])], 'external'],
    ['test', [card(['forge:write'], true)], 'external'],
    ['agent', [card([]), card(['forge:write'])], 'external'],
  ] as const)('%s with %j is at least %s', (kind, cards, tier) => expect(impliedTier(kind, cards).tier).toBe(tier))
})

const step = (more: object = {}) => ({
  retry: { max: 0, delayMs: 0 },
  fallback: [],
  onUnknown: 'ask' as const,
  ...more,
})

describe('the most that a run can cost', () => {
  it('counts every try of every rung', () => {
    expect(triesOf(step())).toBe(1)
    expect(triesOf(step({ retry: { max: 2, delayMs: 0 }, fallback: ['a', 'b'] }))).toBe(5)
    expect(triesOf(step({ retry: { max: 2, delayMs: 0, repair: { agent: 'a', params: {} } } }))).toBe(5)
    expect(triesOf(step({ onUnknown: 'rerun' }))).toBe(2)
  })

  it.each([
    ['by its own limit', 3_000_000, 1_000_000, 9_000_000, 3_000_000, /limits\.usd/],
    ['by the hub', undefined, 1_000_000, 2_000_000, 2_000_000, /budget\.tree\.usd/],
    ['by its tries', undefined, 100_000, 2_000_000, 300_000, /3 tries/],
    ['by nothing', undefined, undefined, undefined, undefined, /nothing limits it/],
    ['by the hub where the money of an agent is open', undefined, undefined, 2_000_000, 2_000_000, /budget\.tree\.usd/],
  ])('is bounded %s', (_, own, ofTry, ofTree, usdMicro, because) => {
    const steps = [step({ agent: 'a', fallback: ['b'] }), step({ agent: 'a' })]
    const plan = { steps, limits: { timeMs: 1, tasks: 6, usdMicro: own } } as unknown as Parameters<typeof costBound>[0]
    const bound = costBound(plan, () => ofTry, ofTree)
    expect(bound).toMatchObject({ tasks: 3, usdMicro })
    expect(bound.because).toMatch(because)
  })
})

describe('the order of a graph (S2-3, S2-35)', () => {
  /** Edges from lower numbers to higher ones: no circle. */
  const graph = fc
    .integer({ min: 1, max: 30 })
    .chain((size) =>
      fc
        .array(fc.tuple(fc.nat(size - 1), fc.nat(size - 1)), { maxLength: 90 })
        .map((pairs) => ({ size, edges: pairs.filter(([from, to]) => from < to) })),
    )
  const nodesOf = (size: number, edges: readonly (readonly number[])[]) =>
    Array.from({ length: size }, (_, to) => ({
      id: `s${to}`,
      before: [...new Set(edges.filter(([, each]) => each === to).map(([from]) => `s${from}`))],
    }))

  it('has each step after all that it needs, and upstream holds exactly what leads to it', () => {
    fc.assert(
      fc.property(graph, ({ size, edges }) => {
        const nodes = nodesOf(size, edges)
        const ordered = orderOf(nodes)
        if (!('order' in ordered)) throw new Error('a circle where there is none')
        const place = new Map(ordered.order.map((id, at) => [id, at]))
        expect(place.size).toBe(size)
        const upstream = upstreamOf(nodes, ordered.order)
        const leads = (from: string, to: string): boolean =>
          nodes.find(({ id }) => id === to)?.before.some((each) => each === from || leads(from, each)) ?? false
        for (const { id, before } of nodes) {
          for (const each of before) expect(place.get(each)).toBeLessThan(place.get(id) ?? 0)
          if (size <= 8) for (const each of nodes) expect(upstream.get(id)?.has(each.id)).toBe(leads(each.id, id))
        }
      }),
      { numRuns: 50 },
    )
  })

  it('names a circle in order, and every pair of it is an edge', () => {
    fc.assert(
      fc.property(graph, fc.nat(29), fc.nat(29), ({ size, edges }, one, other) => {
        const [low, high] = [Math.min(one, other) % size, Math.max(one, other) % size]
        const closed = [...edges, [low, high], [high, low]].filter(([from, to]) => from !== to)
        const nodes = nodesOf(size, closed)
        const ordered = orderOf(nodes)
        expect('cycle' in ordered).toBe(low !== high)
        if ('order' in ordered) return
        const { cycle } = ordered
        for (const [at, id] of cycle.entries())
          expect(nodes.find((each) => each.id === id)?.before).toContain(cycle[(at + 1) % cycle.length])
      }),
      { numRuns: 50 },
    )
  })
})
