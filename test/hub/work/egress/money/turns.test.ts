/** Many calls at once on money for one: who is made, who waits, and in which order. Over a real database, with a fake clock. */
import { describe, expect, test } from 'vitest'
import { toHubError } from '../../../../../hub/base/errors.ts'
import type { MeteredCall } from '../../../../../hub/work/egress/money/budget.ts'
import { call, code, costs, createMoneyScene, OTHER, wide } from '../../../../support/money-scene.ts'
import { createSeededRandom } from '../../../../support/seeded-random.ts'

const scene = createMoneyScene()
const { reserve, settle, open, scopeOf } = scene

describe('E8: calls at once', () => {
  test('twenty on money for one: one is made, nineteen are refused, nothing is overspent', async () => {
    open(wide({ tree: { usd: '0.008 USD' } }))
    const made: string[] = []
    const refused: string[] = []
    const tries = Array.from({ length: 20 }, (_, at) =>
      scene
        .atTurn({ session: `s${at}` })
        .then(({ id }) => made.push(id))
        .catch((thrown) => refused.push(toHubError(thrown).code)),
    )
    await scene.home.clock.advance(1)
    expect([made.length, refused.length]).toEqual([1, 0])
    expect(scene.money.show({}).waiting).toBe(19)
    settle(made[0] ?? '', costs(7500))
    await Promise.all(tries)
    expect(made).toHaveLength(1)
    expect(refused).toEqual(Array(19).fill('budget_exceeded'))
    expect(scopeOf('tree')).toMatchObject({ spentUsd: 7500, heldUsd: 0 })
  })

  test('twenty at a time use at least 95 % of a budget and never more than all of it', async () => {
    const limit = 1_000_000
    open(wide({ tree: { usd: '1 USD' } }))
    const random = createSeededRandom('twenty at a time')
    const running: string[] = []
    let most = 0
    let refused = 0
    const client = async (at: number) => {
      for (;;) {
        const own = { session: `s${at}` }
        try {
          const { id } = await scene.atTurn(own)
          running.push(id)
        } catch (thrown) {
          expect(toHubError(thrown).code).toBe('budget_exceeded')
          refused += 1
          return
        }
        await new Promise<void>((resolve) => ended.set(running.at(-1) ?? '', resolve))
      }
    }
    const ended = new Map<string, () => void>()
    const clients = Array.from({ length: 20 }, (_, at) => client(at))
    while (refused < 20) {
      await scene.home.clock.advance(1)
      const { spentUsd = 0, heldUsd = 0 } = scopeOf('tree') ?? {}
      most = Math.max(most, spentUsd + heldUsd)
      const [pick = 0] = random.bytes(1)
      const [id] = running.splice(pick % Math.max(1, running.length), 1)
      if (id === undefined) continue
      settle(id, costs(3000 + (random.bytes(2).readUInt16BE() % 4500)))
      ended.get(id)?.()
    }
    await Promise.all(clients)
    expect(most).toBeLessThanOrEqual(limit)
    const { spentUsd = 0, heldUsd } = scopeOf('tree') ?? {}
    expect(heldUsd).toBe(0)
    expect(spentUsd / limit).toBeGreaterThanOrEqual(0.95)
  })

  test('wait in the order in which they came, two minutes at most, and only behind those that need the same', async () => {
    open(wide({ tree: { usd: '0.016 USD' } }))
    const [first, second] = [reserve(), reserve()]
    const order: string[] = []
    const wait = (name: string, given: Partial<MeteredCall>) =>
      scene.atTurn(given).then(
        () => order.push(name),
        (thrown) => order.push(`${name} ${toHubError(thrown).code}`),
      )
    void wait('large', { askedOutput: 2000 })
    void wait('small', { askedOutput: 10 })
    // Another tree needs nothing of what these wait for.
    void wait('other', { task: OTHER, root: OTHER })
    await scene.home.clock.advance(1)
    expect(order).toEqual(['other'])
    // Enough for the small one is free, and it came second.
    settle(first.id, costs(3000))
    await scene.home.clock.advance(1)
    expect(order).toEqual(['other'])
    settle(second.id, costs(100))
    await scene.home.clock.advance(1)
    expect(order).toEqual(['other', 'large'])
    await scene.home.clock.advance(119_000)
    expect(order).toHaveLength(2)
    await scene.home.clock.advance(1000)
    expect(order).toEqual(['other', 'large', 'small budget_busy'])
    // Who leaves while it waits takes nothing, and holds up nobody.
    const leaving = new AbortController()
    const left = scene.atTurn({ askedOutput: 10 }, leaving.signal)
    leaving.abort()
    await expect(left).rejects.toMatchObject({ code: 'cancelled' })
    expect(scene.money.show({}).waiting).toBe(0)
  })

  test('what was judged counts for its own call alone, and until an account moves', () => {
    open(wide({ tree: { usd: '0.008 USD' } }))
    const [small, large] = [call({ askedOutput: 10 }), call({ askedOutput: 2000 })]
    const verdict = scene.money.judge(small)
    const take = (which: MeteredCall) =>
      code(() => scene.by('egress.settle', (grant) => scene.money.reserve(grant, which, verdict)))
    expect(take(large)).toBe('budget_exceeded')
    const { id } = reserve()
    // It would be 2580 beside the 7530 that another call holds by now.
    expect(take(small)).toBe('budget_busy')
    settle(id, costs(7000))
    expect(take(small)).toBe('budget_exceeded')
    expect(scopeOf('tree')).toMatchObject({ spentUsd: 7000, heldUsd: 0 })
  })

  test('a large call that waits for money of the day holds up nobody who fits, and those alone who wait for it too', async () => {
    open(wide({ day: { usd: '0.016 USD' } }))
    const [first, second] = [reserve(), reserve()]
    const order: string[] = []
    const wait = (name: string, given: Partial<MeteredCall>) => scene.atTurn(given).then(() => order.push(name))
    const other = { task: OTHER, root: OTHER, agent: 'other', session: 's2', attempt: 'a2' }
    void wait('large', { askedOutput: 2000 })
    void wait('waits too', { ...other, askedOutput: 1000 })
    await scene.home.clock.advance(1)
    settle(first.id, costs(100))
    await scene.home.clock.advance(1)
    // 8370 are left: too little for the large one, enough for each of the others.
    expect(order).toEqual([])
    void wait('fits', { ...other, askedOutput: 10 })
    await scene.home.clock.advance(1)
    expect(order).toEqual(['fits'])
    settle(second.id, costs(0))
    await scene.home.clock.advance(1)
    expect(order).toEqual(['fits', 'large'])
  })
})
