/** Doctor's rows of prices and of upstreams without one. */
import { expect, it } from 'vitest'
import { priceChecks, upstreamChecks } from '../../../../hub/edge/doctor/upstreams.ts'
import type { UpstreamView } from '../../../../hub/protocol/egress/upstream-views.ts'

const NOW = Date.parse('2027-03-01T12:00:00Z')
const view = (given: Partial<UpstreamView> = {}): UpstreamView => ({
  ...{ name: 'router', kind: 'openai', url: 'https://router.example.org', local: false, free: false },
  key: { from: 'none', name: null, problem: null, mend: null },
  reachedBy: [{ agent: 'lead', card: ['router'], row: ['router'], has: ['router'] }],
  ...{ models: [], quota: null, restsUntilMs: null },
  today: { spentUsd: 0, estimatedUsd: 0, input: 0, output: 0, calls: 0 },
  ...given,
})
const NO_ARCHIVES = { archives: 0, bytes: 0, bytesMax: 0, found: 0, kept: 0 }
const fine = { fault: null, dated: '2026-12-01' }
const rows = (upstreams: UpstreamView[], hasPrices = true) =>
  upstreamChecks(upstreams, { open: 0, turnedAway: 0 }, 32, NO_ARCHIVES, hasPrices).filter(
    ({ name }) => name !== 'egress',
  )
const without = (model: string) => ({ model, problem: `no price is known of the model "${model}"` })

it('a fault of prices.yaml is one row, with its line, where something costs money', () => {
  const fault =
    '/home/prices.yaml line 3, column 5: models.x.input is missing; until it is corrected no model has a price'
  expect(priceChecks([view()], { fault, dated: null }, NOW)).toMatchObject([
    { name: 'prices', ok: false, detail: fault },
  ])
  for (const none of [[], [view({ free: true })], [view({ kind: 'git' })]])
    expect(priceChecks(none, { fault, dated: null }, NOW)).toEqual([])
  // Not once more for each model.
  expect(rows([view({ models: [without('x')] })], false)).toMatchObject([{ name: 'upstreams', ok: true }])
})

it('shipped prices of more than 90 days ago are a note, and no fault', () => {
  expect(priceChecks([view()], fine, NOW)).toMatchObject([{ ok: true, detail: 'the shipped ones are of 2026-12-01' }])
  const [old] = priceChecks([view()], { fault: null, dated: '2026-11-30' }, NOW)
  expect(old).toMatchObject({ ok: null, detail: expect.stringContaining('of 2026-11-30, 91 days ago') })
})

it('an upstream of whose models none has a price is a fault; one of them without is a note', () => {
  const both = [without('x'), { model: 'y', problem: null }]
  expect(rows([view({ models: both })])).toMatchObject([
    { name: 'upstream router', ok: null, mend: 'hub upstream price router x --input DOLLARS --output DOLLARS' },
  ])
  expect(rows([view({ models: [without('x'), without('z')] })])).toMatchObject([
    { ok: false, detail: 'none of its models has a price, so each call of x, z is refused' },
  ])
  expect(rows([view({ models: [{ model: 'y', problem: null }] })])).toMatchObject([{ name: 'upstreams', ok: true }])
})
