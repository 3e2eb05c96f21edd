import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isHeld } from '../../../../hub/protocol/egress/grants.ts'
import { lackingIn, RELAXATIONS, relaxFact } from '../../../../hub/protocol/relax.ts'
import type { Authority } from '../../../../hub/protocol/task.ts'
import { applyNarrowing, narrowAuthority } from '../../../../hub/work/dispatch/authority.ts'

const LISTS = ['capabilities', 'message', 'delegate', 'topics', 'secrets'] as const
const SPANS = ['ttlMs', 'depthLeft', 'tasksLeft'] as const
const runs = process.env.HUB_TEST_LONG === '1' ? 100_000 : 2000

const list = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'))
const EGRESS = ['forge', 'forge:read', 'forge:write', 'npm', 'npm:read', 'a.example:443']
const grants = fc.uniqueArray(fc.constantFrom(...EGRESS))
const relaxations = fc.uniqueArray(fc.constantFrom(...RELAXATIONS))
const authority: fc.Arbitrary<Authority> = fc
  .record({
    capabilities: list,
    message: list,
    delegate: list,
    topics: list,
    secrets: list,
    egress: grants,
    ttlMs: fc.nat(1_000_000),
    depthLeft: fc.nat(8),
    tasksLeft: fc.nat(64),
  })
  .chain((held) => relaxations.map((relax) => ({ ...held, ...relaxFact(relax) })))
const narrowing = fc.record(
  { capabilities: list, ttlMs: fc.nat(1_000_000), egress: grants, relax: relaxations },
  { requiredKeys: [] },
)

const isWithin = (child: Authority, parent: Authority) =>
  LISTS.every((name) => child[name].every((item) => parent[name].includes(item))) &&
  child.egress.every((grant) => isHeld(grant, parent.egress)) &&
  lackingIn(child.relax, parent.relax).length === 0 &&
  SPANS.every((name) => child[name] <= parent[name])

test('along any chain a child is a subset of its parent and of its own wish, renewals and policy included (T42, T45)', () => {
  fc.assert(
    fc.property(authority, fc.array(fc.tuple(authority, narrowing), { minLength: 1, maxLength: 6 }), (root, chain) => {
      let above = root
      for (const [wish, narrow] of chain) {
        const held = applyNarrowing(narrowAuthority(wish, above), narrow)
        expect(isWithin(held, above) && isWithin(held, wish) && isWithin(held, root)).toBe(true)
        // Narrowed once more by the same, as a renewal would, nothing comes back and nothing is lost.
        expect(applyNarrowing(narrowAuthority(held, above), narrow)).toEqual(held)
        above = held
      }
    }),
    { numRuns: runs },
  )
})

test('what both sides hold is kept: narrowing takes away no more than it must', () => {
  fc.assert(
    fc.property(authority, (same) => {
      expect(narrowAuthority(same, same)).toEqual(same)
      expect(applyNarrowing(same, { egress: same.egress, ...relaxFact(same.relax) })).toEqual(same)
      // What the rules say nothing of is not granted.
      expect(applyNarrowing(same, {})).toMatchObject({ egress: [] })
      expect(applyNarrowing(same, {})).not.toHaveProperty('relax')
    }),
    { numRuns: 200 },
  )
})
