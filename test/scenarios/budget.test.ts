/** Budgets in a whole hub: what the operator may ask for, what agents and tokens may not, and that reserves outlive a kill. */
import { expect, test } from 'vitest'
import { hubPrincipal } from '../../hub/guard/principal.ts'
import type { MeteredCall } from '../../hub/work/egress/money/budget.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

test('a call under way when the hub is killed is settled at its reserve by the next one; the operator raises and corrects [E9]', async () => {
  await using h = await createHarness({ agents: { lead: { script: puppet } } })
  const [agent] = await h.bring('lead')
  const payer = () => {
    const row = h.hub.work.tasks.session(agent.session)
    if (row === undefined) throw new Error('no session')
    return h.hub.work.money.payerOf(row)
  }
  const { task } = payer()
  const call: Omit<MeteredCall, keyof ReturnType<typeof payer>> = {
    ...{
      upstream: 'anthropic',
      shape: 'messages',
      model: 'claude-haiku-4-5',
      inputBytes: 1000,
      prefixes: [],
      choices: 1,
    },
    ...{
      askedOutput: 1000,
      maxOutput: 32_000,
      media: { images: 0, documents: 0, audios: 0, videos: 0 },
      surcharges: [],
      free: false,
    },
  }
  const settling = { principal: hubPrincipal('egress'), operation: 'egress.settle', resource: 'test' } as const
  const { id } = h.hub.guard.gate.admit(settling, (grant) => h.hub.work.money.reserve(grant, { ...payer(), ...call }))
  await h.kill()
  await h.start()

  const show = async (query: string) => (await h.operator('GET', `/v1/budget${query}`)).body
  const { accounts, calls } = await show(`?task=${task}`)
  const spent = { spentUsd: 7530, estimatedUsd: 7530, heldUsd: 0, calls: 1 }
  expect(accounts).toMatchObject([
    { scope: 'day', limitUsd: 10_000_000, ...spent },
    { scope: 'agentDay', limitUsd: null, ...spent },
    { scope: 'tree', key: task, limitUsd: 2_000_000, ...spent },
    { scope: 'task', ...spent },
  ])
  expect(calls).toMatchObject([{ id, state: 'estimated', why: 'the hub ended while it was under way' }])

  expect((await h.operator('POST', `/v1/budget/calls/${id}/settle`, { usd: 30 })).body).toMatchObject({
    call: { state: 'corrected', usd: 30 },
  })
  const raised = await h.operator('POST', `/v1/budget/tasks/${task}/raise`, { usd: 1_000_000 })
  expect(raised.body).toEqual({ root: task, raisedUsd: 1_000_000, limitUsd: 3_000_000 })
  expect((await h.operator('POST', `/v1/budget/tasks/${task}/raise`, { usd: 48_000_000 })).body.code).toBe(
    'limit_exceeded',
  )
  expect((await show(`?task=${task}`)).accounts).toMatchObject([{ spentUsd: 30 }, {}, { limitUsd: 3_000_000 }, {}])
  expect(
    h
      .audit()
      .filter(({ action, outcome }) => /^budget\./.test(action) && outcome === 'ok')
      .map(({ effect }) => effect),
  ).toEqual([
    `the call ${id} cost 0.00003 USD: corrected by the operator from 0.00753 USD`,
    `the tree of task ${task} has 1.00 USD more: 3.00 USD in all`,
  ])

  expect((await h.operator('GET', '/v1/upstreams/any/price?model=gpt-5.5-2026-04-23')).body).toMatchObject({
    price: { model: 'gpt-5.5', input: 5_000_000 },
  })
  expect((await h.operator('GET', '/v1/upstreams/any/price?model=gpt-99')).body.code).toBe('model_unknown')
})
