/** Whether a tool is used at once, not at all, or after a yes: the whole table, and the laws that it keeps (docs/permissions.md). */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { agentCardShape } from '../../../hub/protocol/agent.ts'
import { TIERS, type Tier } from '../../../hub/protocol/approval.ts'
import { DRIVER_NAMES } from '../../../hub/protocol/drivers.ts'
import { PERMISSIONS, type Permissions, TOOL_KINDS, tierOfTool, toolKindOf } from '../../../hub/protocol/tools.ts'
import { decidePermission, type Verdict } from '../../../hub/work/permissions.ts'

const RULES: readonly Verdict[] = ['allow', 'ask', 'deny']
const say = (mode: Permissions, tier: Tier, rules: Verdict) => decidePermission(mode, tier, rules).verdict

describe('what card, tier and rules make of a question (S4-7)', () => {
  // For each card: what the rules allow, ask about, refuse.
  it.each([
    ['ask', 'read', 'ask ask deny'],
    ['ask', 'write', 'ask ask deny'],
    ['ask', 'execute', 'ask ask deny'],
    ['ask', 'destructive', 'ask ask deny'],
    ['ask', 'external', 'ask ask deny'],
    ['allow', 'read', 'allow ask deny'],
    ['allow', 'write', 'allow ask deny'],
    ['allow', 'execute', 'allow ask deny'],
    ['allow', 'destructive', 'ask ask deny'],
    ['allow', 'external', 'ask ask deny'],
    ['deny', 'read', 'deny deny deny'],
    ['deny', 'write', 'deny deny deny'],
    ['deny', 'execute', 'deny deny deny'],
    ['deny', 'destructive', 'deny deny deny'],
    ['deny', 'external', 'deny deny deny'],
    ['bypass', 'read', 'allow allow deny'],
    ['bypass', 'write', 'allow allow deny'],
    ['bypass', 'execute', 'allow allow deny'],
    ['bypass', 'destructive', 'ask ask deny'],
    ['bypass', 'external', 'ask ask deny'],
  ] as const)('%s, %s: %s', (mode, tier, expected) => {
    expect(RULES.map((rules) => say(mode, tier, rules)).join(' ')).toBe(expected)
  })

  const anything = [fc.constantFrom(...PERMISSIONS), fc.constantFrom(...TIERS), fc.constantFrom(...RULES)] as const

  it('nothing destructive and nothing that reaches outside is ever allowed without a person (S4-28)', () => {
    fc.assert(
      fc.property(...anything, (mode, tier, rules) => {
        if (tier === 'destructive' || tier === 'external') expect(say(mode, tier, rules)).not.toBe('allow')
      }),
    )
  })

  it('stricter rules, a higher tier or a stricter card never make it looser, and a no of the rules is a no', () => {
    const strictness = (verdict: Verdict) => RULES.indexOf(verdict)
    const cards: readonly Permissions[] = ['bypass', 'allow', 'ask', 'deny']
    const nth = fc.nat({ max: 4 })
    fc.assert(
      fc.property(nth, nth, nth, nth, nth, nth, (card, tier, rules, cardUp, tierUp, rulesUp) => {
        const at = (c: number, t: number, r: number) =>
          strictness(
            say(cards[Math.min(3, c)] as Permissions, TIERS[Math.min(4, t)] as Tier, RULES[Math.min(2, r)] as Verdict),
          )
        expect(at(card + cardUp, tier + tierUp, rules + rulesUp)).toBeGreaterThanOrEqual(at(card, tier, rules))
        expect(at(card, tier, 2)).toBe(strictness('deny'))
      }),
    )
  })
})

describe('how much a tool can do', () => {
  it('by its kind', () => {
    expect(Object.fromEntries(TOOL_KINDS.map((kind) => [kind, tierOfTool(kind)]))).toEqual({
      ...{ read: 'read', search: 'read', think: 'read', edit: 'write', move: 'write', execute: 'execute' },
      ...{ delete: 'destructive', switch_mode: 'destructive', fetch: 'external', other: 'external' },
    })
  })

  it('a kind that nobody knows counts as the highest, also a word of the language', () => {
    for (const said of ['shell', 'READ', 'read ', '', 'constructor', '__proto__', 'toString'])
      expect(tierOfTool(toolKindOf(said))).toBe('external')
  })

  it('what a program claims raises it and never lowers it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...TOOL_KINDS), fc.constantFrom(...TIERS), (kind, claimed) => {
        const [implied, found] = [tierOfTool(kind), tierOfTool(kind, claimed)].map((tier) => TIERS.indexOf(tier))
        expect(found).toBe(Math.max(implied ?? 0, TIERS.indexOf(claimed)))
      }),
    )
  })
})

describe('the card', () => {
  const card = (more: Record<string, unknown>) =>
    agentCardShape.safeParse({ name: 'one', description: 'x', image: 'hub/x', run: ['x'], ...more })
  const said = (more: Record<string, unknown>) =>
    card(more)
      .error?.issues.map(({ message }) => message)
      .join()

  it('has the key only with a driver that asks, and a card without it is as it always was', () => {
    const taken = DRIVER_NAMES.filter((driver) => card({ driver, permissions: 'allow' }).success)
    expect(taken).toEqual(expect.arrayContaining(['sdk', 'json-lines', 'stub']))
    for (const driver of ['command', 'stream-json'])
      expect(said({ driver, permissions: 'ask' })).toMatch(
        new RegExp(`^the driver ${driver} asks nothing before it uses a tool.* use one of sdk, json-lines, `),
      )
    expect(Object.keys(card({ driver: 'command' }).data ?? {})).not.toContain('permissions')
  })

  it('says bypass by permissions and nowhere else', () => {
    expect(said({ relax: ['bypass'] })).toBe('bypass is no wall of the container: write `permissions: bypass` instead')
    expect(said({ permissions: 'yes' })).toContain('"ask"|"allow"|"deny"|"bypass"')
  })
})
