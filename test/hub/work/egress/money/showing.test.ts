/** What people see of money: the nearest limit, tokens of the hour, the cost of a task, and what is counted. Over a real database, with a fake clock. */
import { describe, expect, test } from 'vitest'
import type { MeteredCall } from '../../../../../hub/work/egress/money/budget.ts'
import { createMoneyMeters } from '../../../../../hub/work/egress/money/meters.ts'
import type { ReservationRow } from '../../../../../hub/work/egress/money/reservations.ts'
import {
  CHILD,
  costs,
  createMoneyScene,
  HOUR,
  measured,
  OTHER,
  ROOT,
  WORST,
  wide,
} from '../../../../support/money-scene.ts'

const scene = createMoneyScene()
const { reserve, settle, open } = scene

describe('what people see', () => {
  const spend = (usd: number, given?: Partial<MeteredCall>) => settle(reserve(given).id, costs(usd))

  test('the nearest limit is the one of which the largest part is spent, of days, hours, and the trees and attempts that run', () => {
    open(wide({ tree: { usd: '2 USD' }, day: { usd: '10 USD', soft: '10 USD' }, attempt: { calls: 4 } }))
    expect(scene.money.show({}).nearest).toBeNull()
    spend(5000)
    const ofDay = { scope: 'day', key: scene.money.show({}).day, measure: 'usd', used: 5000, limit: 10_000_000 }
    // Nothing runs: what is over stands in nobody's way.
    expect(scene.money.show({}).nearest).toEqual(ofDay)
    const sessions = [{ agent: 'lead', task: CHILD, attempt: 'a2' }]
    scene.sessions = sessions
    expect(scene.money.show({}).nearest).toEqual({
      scope: 'tree',
      key: ROOT,
      measure: 'usd',
      used: 5000,
      limit: 2_000_000,
    })
    sessions.push({ agent: 'lead', task: ROOT, attempt: 'a1' })
    expect(scene.money.show({}).nearest).toEqual({ scope: 'attempt', key: ROOT, measure: 'calls', used: 1, limit: 4 })
    // Of one task, agent or day alone.
    expect(scene.money.show({ task: OTHER }).nearest).toEqual(ofDay)
    expect(scene.money.show({ agent: 'nobody' }).nearest).toEqual(ofDay)
    expect(scene.money.show({ day: '2020-01-01' }).nearest).toBeNull()
    open(wide({ hour: { input: 20_000_000, output: 2000 }, attempt: { calls: 4 } }))
    expect(scene.money.show({}).nearest).toEqual({
      scope: 'hour',
      key: 'lead',
      measure: 'output',
      used: 1000,
      limit: 2000,
    })
  })

  test('a limit of nothing is none to come near, and what is reserved is not spent', () => {
    open(wide())
    reserve()
    expect(scene.money.show({}).nearest).toBeNull()
    scene.sessions = [{ agent: 'lead', task: ROOT, attempt: 'a1' }]
    expect(scene.money.show({}).nearest).toMatchObject({ measure: 'calls', used: 1 })
    scene.sessions = []
    spend(1000)
    open(wide({ agentDay: { usd: '0 USD' } }))
    expect(scene.money.show({}).nearest).toMatchObject({ scope: 'day', used: 1000 })
  })

  test('tokens of the hour are those of each agent with its own limits, the most used first; older ones fall out', async () => {
    open(wide({ hour: { input: 100_000, output: 10_000 } }))
    scene.rows = { second: { budget: { hour: { output: 2000 } } } }
    open()
    spend(1000)
    settle(reserve({ agent: 'second', session: 's2' }).id, measured(10, 500))
    expect(scene.money.show({}).hours).toEqual([
      { agent: 'second', input: 10, inputLimit: 100_000, output: 500, outputLimit: 2000 },
      { agent: 'lead', input: 0, inputLimit: 100_000, output: 200, outputLimit: 10_000 },
    ])
    expect(scene.money.show({ agent: 'lead' }).hours.map(({ agent }) => agent)).toEqual(['lead'])
    expect(scene.money.show({ day: '2020-01-01' }).hours).toEqual([])
    await scene.home.clock.advance(2 * HOUR)
    expect(scene.money.show({}).hours).toEqual([])
  })

  test('a task says what it cost alone and what its tree did, measured and estimated apart', () => {
    spend(1234)
    settle(reserve({ task: CHILD, session: 's2', attempt: 'a2' }).id, { kind: 'lost' })
    reserve({ task: CHILD, session: 's2', attempt: 'a2' })
    expect(scene.money.costOf(CHILD)).toMatchObject({
      task: {
        scope: 'task',
        key: CHILD,
        spentUsd: WORST,
        estimatedUsd: WORST,
        heldUsd: WORST,
        limitUsd: null,
        calls: 2,
      },
      tree: { scope: 'tree', key: ROOT, spentUsd: WORST + 1234, estimatedUsd: WORST, limitUsd: 2_000_000, calls: 3 },
    })
    expect(scene.money.costOf(OTHER)).toMatchObject({ task: { spentUsd: 0, calls: 0 }, tree: { limitUsd: 2_000_000 } })
  })

  test('what was settled is counted by upstream and model, once, and a model without a price has no name of its own', () => {
    open(wide({ day: { usd: '50 USD', soft: '50 USD' } }))
    const { id } = reserve()
    settle(id, costs(1234))
    settle(id, costs(9))
    settle(reserve().id, { kind: 'lost' })
    settle(reserve({ upstream: 'llama', model: 'x"y{}', free: true }).id, measured(3, 4, 'x"y{}'))
    settle(reserve().id, { kind: 'failed_before', status: 500 })
    expect(scene.money.meters.all()).toEqual([
      {
        ...{ upstream: 'anthropic', model: 'claude-haiku-4-5', calls: { measured: 1, estimated: 1, released: 1 } },
        ...{ usd: { measured: 1234, estimated: WORST }, input: 234 - 230 + 2024, output: 246 + 1000 },
      },
      {
        ...{ upstream: 'llama', model: 'other', calls: { measured: 1, estimated: 0, released: 0 } },
        ...{ usd: { measured: 0, estimated: 0 }, input: 3, output: 4 },
      },
    ])
    // What an agent may name is told apart up to a limit.
    const meters = createMoneyMeters()
    const row = {
      upstream: 'router',
      state: 'measured',
      usd: 1,
      input: 1,
      output: 1,
      price: {},
    } as never as ReservationRow
    for (let n = 0; n < 200; n += 1) meters.add({ ...row, model: `model-${n}` })
    expect(meters.all()).toHaveLength(65)
    expect(meters.all().at(-1)).toMatchObject({ model: 'other', calls: { measured: 200 - 64 } })
  })
})
