/** Declared upstreams in a whole hub: what the operator is told of them, and what a try leaves. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { hubPrincipal } from '../../hub/guard/principal.ts'
import type { UpstreamView } from '../../hub/protocol/egress/upstream-views.ts'
import type { MeteredCall } from '../../hub/work/egress/money/budget.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

const KEY = 'canary-Hq2wN8vTy5LmKc1RbXe77HdUa3'

test('the list says key, grants, prices and cost of today and never the key; a try is made with it and recorded', async () => {
  const asked: (string | undefined)[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization}`)
    response.writeHead(request.headers.authorization === `Bearer ${KEY}` ? 200 : 401).end(KEY)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await using h = await createHarness({
    agents: {
      lead: {
        script: puppet,
        card: { may: { egress: ['model'] }, env: { LEAD_MODEL: 'gpt-5.5' } },
        policy: { egress: ['model:metered'] },
      },
      wisher: {
        script: puppet,
        card: { may: { egress: ['model'] }, env: { OPENAI_MODEL: 'gpt-99' } },
        policy: { egress: [] },
      },
    },
    config: {
      upstreams: {
        model: { kind: 'openai', url, local: true, secret: 'model-key' },
        other: { kind: 'http', url, local: true, allow: ['GET /*'] },
      },
    },
  })
  const list = async () => (await h.operator('GET', '/v1/upstreams')).body as { upstreams: UpstreamView[] }
  expect((await list()).upstreams[0]?.key).toMatchObject({
    from: 'file',
    problem: expect.stringContaining('is missing'),
  })
  const doctor = async () => {
    const { checks } = (await h.operator('GET', '/v1/doctor')).body as {
      checks: { name: string; ok: boolean | null; detail: string }[]
    }
    return checks.flatMap(({ name, ok, detail }) =>
      /^(?:upstream|egress)/.test(name) ? [`${name} ${ok}: ${detail}`] : [],
    )
  }
  const unpriced = expect.stringMatching(/^upstream model null: no price is known of the model "gpt-99"/)
  const unreached = 'upstream other null: no agent may reach it'
  const busy = expect.stringMatching(
    /^egress true: 0 requests and lines under way, at most 32 of a session; 0 connections/,
  )
  expect(await doctor()).toEqual([
    expect.stringMatching(/^upstream model false: the secret model-key is missing/),
    ...[unpriced, unreached, busy],
  ])
  mkdirSync(join(h.home, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(h.home, 'secrets', 'model-key'), KEY, { mode: 0o600 })

  const [agent] = await h.bring('lead')
  const row = h.hub.work.tasks.session(agent.session)
  if (row === undefined) throw new Error('no session')
  const settling = { principal: hubPrincipal('egress'), operation: 'egress.settle', resource: 'test' } as const
  const call: MeteredCall = {
    ...{ ...h.hub.work.money.payerOf(row), upstream: 'model', model: 'gpt-5.5', inputBytes: 1000 },
    shape: 'chat',
    ...{ prefixes: [], choices: 1, askedOutput: 1000, maxOutput: 32_000, surcharges: [], free: false },
    media: { images: 0, documents: 0, audios: 0, videos: 0 },
  }
  const { id } = h.hub.guard.gate.admit(settling, (grant) => h.hub.work.money.reserve(grant, call))
  h.hub.guard.gate.admit(settling, (grant) => h.hub.work.money.settle(grant, id, { kind: 'lost' }))

  expect(await doctor()).toEqual([unpriced, unreached, busy])

  const { upstreams } = await list()
  const [model, other] = upstreams
  expect(model).toMatchObject({
    ...{ name: 'model', kind: 'openai', url, local: true, free: false },
    key: { from: 'file', name: 'model-key', problem: null },
    reachedBy: [
      { agent: 'lead', card: ['model'], row: ['model:metered'], has: ['model:metered'] },
      { agent: 'wisher', card: ['model'], row: [], has: [] },
    ],
    models: [
      { model: 'gpt-5.5', problem: null },
      { model: 'gpt-99', problem: expect.stringContaining('no price is known') },
    ],
    ...{ quota: null, restsUntilMs: null },
  })
  const { spentUsd, estimatedUsd, calls } = model?.today ?? { spentUsd: 0, estimatedUsd: 1, calls: 0 }
  expect([calls, spentUsd > 0, estimatedUsd]).toEqual([1, true, spentUsd])
  expect(other).toMatchObject({ key: { from: 'none' }, reachedBy: [], models: [], today: { calls: 0 } })

  const tried = await h.operator('POST', '/v1/upstreams/model/test', {})
  expect(tried.body.tried).toMatchObject({ ok: true, key: 'taken', status: 200 })
  expect(asked).toEqual([`GET /v1/models Bearer ${KEY}`])
  expect((await h.operator('POST', '/v1/upstreams/mode/test', {})).body).toMatchObject({
    code: 'unknown_upstream',
    detail: 'no upstream is named mode; declared are model, other',
  })
  const records = h.audit().filter(({ action }) => action === 'upstream.tested')
  expect(records.map(({ resource, outcome }) => [resource, outcome])).toEqual([
    ['upstream:model', 'ok'],
    ['upstream:mode', 'refused'],
  ])
  expect(JSON.stringify([tried.body, upstreams, h.audit()])).not.toContain(KEY)
  server.close()
  server.closeAllConnections()
})
