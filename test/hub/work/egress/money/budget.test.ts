/** The accounts over many calls: they are the sums of their rows, whatever happens, and go with their tasks. Over a real database, with a fake clock. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { toHubError } from '../../../../../hub/base/errors.ts'
import { hubPrincipal, OPERATOR } from '../../../../../hub/guard/principal.ts'
import type { Ending } from '../../../../../hub/work/egress/money/settlement.ts'
import { createOldTasks } from '../../../../../hub/work/retention/old-tasks.ts'
import { costs, createMoneyScene, HOUR, measured, OTHER, ROOT, uuid, wide } from '../../../../support/money-scene.ts'

const scene = createMoneyScene()
const { reserve, settle, open, by, scopeOf, day } = scene

test('calls and accounts go with their task, those of minutes by themselves; the day keeps its sum', () => {
  settle(reserve().id, costs(100))
  settle(reserve({ task: OTHER, root: OTHER }).id, costs(10))
  const prune = createOldTasks(scene.home.guard.store)
  by('retention.turn', (grant) => prune.remove(grant, [ROOT]), hubPrincipal('retention'))
  const rows = (sql: string) => scene.home.guard.store.prepare(sql).pluck().all()
  expect(rows('select distinct task from egress_reservation')).toEqual([OTHER])
  expect(rows('select distinct task from egress_account where task is not null')).toEqual([OTHER])
  expect(day()).toMatchObject({ spentUsd: 110, calls: 2 })
  scene.home.clock.jump(5 * HOUR)
  reserve({ agent: 'other' })
  expect(rows(`select count(*) from egress_account where scope = 'slot'`)).toEqual([1])
})

test('whatever comes in whatever order, accounts are the sums that a model of them tells, and no limit is passed', () => {
  const LIMIT = 60_000
  let run = 0
  const step = fc.oneof(
    fc.record({ do: fc.constant('reserve' as const), tree: fc.nat(1), output: fc.integer({ min: 1, max: 3000 }) }),
    fc.record({
      do: fc.constant('settle' as const),
      at: fc.nat(20),
      kind: fc.nat(4),
      part: fc.integer({ min: 0, max: 100 }),
    }),
    fc.record({ do: fc.constant('crash' as const) }),
    fc.record({ do: fc.constant('correct' as const), at: fc.nat(20), usd: fc.nat(3000) }),
  )
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
      run += 1
      const trees = [uuid(`a${run}`), uuid(`b${run}`)]
      open(wide({ tree: { usd: '0.06 USD' } }))
      /** What each call holds or has cost, by its id. */
      const known = new Map<string, { tree: string; held: number; spent: number; estimated: number }>()
      const ids: string[] = []
      let corrected = false
      for (const each of steps) {
        const id = 'at' in each ? ids[each.at % Math.max(1, ids.length)] : undefined
        const entry = known.get(id ?? '')
        if (each.do === 'reserve') {
          const tree = trees[each.tree] ?? ROOT
          try {
            const made = reserve({ task: tree, root: tree, askedOutput: each.output, session: tree, attempt: tree })
            ids.push(made.id)
            known.set(made.id, { tree, held: made.reservedUsd, spent: 0, estimated: 0 })
          } catch (thrown) {
            expect(['budget_exceeded', 'budget_busy']).toContain(toHubError(thrown).code)
          }
        } else if (each.do === 'settle' && id !== undefined && entry !== undefined) {
          const output = Math.floor(((entry.held - 2530) / 5) * (each.part / 100))
          const endings: Ending[] = [
            measured(1000, Math.max(0, output)),
            { kind: 'lost' },
            { kind: 'none' },
            { kind: 'failed_before' },
            { kind: 'odd', why: 'x' },
          ]
          const settled = settle(id, endings[each.kind] ?? { kind: 'lost' })
          if (entry.held > 0) {
            entry.spent = each.kind === 0 ? 1000 + 5 * Math.max(0, output) : each.kind === 3 ? 0 : entry.held
            entry.estimated = each.kind === 0 || each.kind === 3 ? 0 : entry.held
            entry.held = 0
          }
          expect(settled.usd).toBe(entry.spent)
        } else if (each.do === 'crash') {
          open()
          scene.money.recover()
          for (const one of known.values()) {
            if (one.held === 0) continue
            Object.assign(one, { spent: one.held, estimated: one.held, held: 0 })
          }
        } else if (each.do === 'correct' && id !== undefined && entry !== undefined && entry.held === 0) {
          by('budget.settle', (grant) => scene.money.correct(grant, { id, usd: each.usd }), OPERATOR)
          corrected ||= each.usd > entry.spent
          Object.assign(entry, { spent: each.usd, estimated: 0 })
        }
        for (const tree of trees) {
          const all = [...known.values()].filter((one) => one.tree === tree)
          const sum = (of: (one: (typeof all)[number]) => number) => all.reduce((total, one) => total + of(one), 0)
          const expected = {
            heldUsd: sum(({ held }) => held),
            spentUsd: sum(({ spent }) => spent),
            estimatedUsd: sum(({ estimated }) => estimated),
            calls: all.length,
          }
          expect(scopeOf('tree', tree)).toMatchObject(expected)
          if (!corrected) expect(expected.heldUsd + expected.spentUsd).toBeLessThanOrEqual(LIMIT)
        }
      }
    }),
    { numRuns: 40 },
  )
})
