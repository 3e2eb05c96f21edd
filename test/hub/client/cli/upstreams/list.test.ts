/** `hub upstream list` and `hub upstream test`: what a person reads of the hub's answer. */
import { expect, it } from 'vitest'
import type { UpstreamTried, UpstreamView } from '../../../../../hub/protocol/egress/upstream-views.ts'
import { commandHome } from '../../../../support/command-home.ts'

const at = commandHome()
const ready: UpstreamView = {
  ...{ name: 'anthropic', kind: 'anthropic', url: 'https://api.anthropic.com', local: false, free: false },
  key: { from: 'file', name: 'anthropic-key', problem: null, mend: null },
  reachedBy: [{ agent: 'assistant', card: ['anthropic'], row: ['anthropic'], has: ['anthropic'] }],
  models: [{ model: 'claude-haiku-4-5', problem: null }],
  ...{ quota: null, restsUntilMs: null },
  today: { spentUsd: 1_234_500, estimatedUsd: 0, input: 12_000, output: 800, calls: 3 },
}
const broken: UpstreamView = {
  ...ready,
  ...{ name: 'llama', kind: 'openai', url: 'http://127.0.0.1:11434', local: true },
  key: { from: 'file', name: 'llama-key', problem: 'is missing', mend: 'put it there' },
  reachedBy: [
    { agent: 'asks', card: ['llama'], row: [], has: [] },
    { agent: 'has', card: [], row: ['llama'], has: [] },
  ],
  models: [{ model: 'odd\u001b[2J', problem: 'no price is known of the model "odd"' }],
  quota: { untilMs: Date.now() + 3_600_000, why: 'insufficient_quota' },
  restsUntilMs: Date.now() + 20_000,
  today: { spentUsd: 0, estimatedUsd: 0, input: 0, output: 0, calls: 0 },
}

it('list shows key, grants, models and cost of today of each, and below what keeps one from being used', async () => {
  at.hub.on('GET /v1/upstreams', () => ({ body: { day: '2026-12-01', upstreams: [ready, broken] } }))
  const { code, stdout } = await at.run(['upstream', 'list'])
  expect(code).toBe(0)
  const [, first, second, ...rest] = stdout.split('\n').map((line) => line.trim().split(/ {2,}/))
  expect(first).toEqual([
    ...['anthropic', 'anthropic', 'https://api.anthropic.com', 'anthropic-key: there', 'assistant (anthropic)'],
    ...['claude-haiku-4-5', '1.2345 USD (12000 in, 800 out, 3 calls)'],
  ])
  expect(second?.slice(2, 5)).toEqual([
    'http://127.0.0.1:11434 (local)',
    'llama-key: not usable',
    'asks (asks, not granted), has (granted, does not ask)',
  ])
  const said = rest.map(([line]) => line)
  for (const part of [
    /^llama: the secret llama-key is missing; put it there$/,
    /^llama: its quota is used up \(insufficient_quota\) until /,
    /^llama: it broke off two answers and rests until /,
    /^llama: nobody may reach it: add llama to may\.egress/,
    /^llama: no price is known/,
  ])
    expect(said).toContainEqual(expect.stringMatching(part))
  expect(said.filter((line) => line?.startsWith('anthropic'))).toEqual([])
  expect(stdout).not.toContain('\u001b')
  expect(JSON.parse((await at.run(['upstream', 'list', '--json'])).stdout).upstreams).toEqual([ready, broken])
})

it('list says how to declare the first one', async () => {
  at.hub.on('GET /v1/upstreams', () => ({ body: { day: '2026-12-01', upstreams: [] } }))
  expect((await at.run(['upstream', 'list'])).stdout).toContain('`hub upstream add` declares one')
})

it('test says what happened and what to do; its exit code says whether the upstream can be used', async () => {
  const tried: UpstreamTried = {
    ...{
      name: 'anthropic',
      ok: false,
      asked: 'GET /v1/models',
      address: '192.0.2.1:443',
      tls: 'TLSv1.3',
      connectMs: 12,
    },
    ...{ status: 401, answerMs: 80, key: 'refused', detail: 'it refused the key (401)', mend: 'put a valid key there' },
  }
  at.hub.on('POST /v1/upstreams/:name/test', () => ({ body: { tried } }))
  const { code, stdout } = await at.run(['upstream', 'test', 'anthropic'])
  expect(code).toBe(3)
  expect(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/:? {2,}/)),
  ).toEqual([
    ['upstream', 'anthropic'],
    ['address', '192.0.2.1:443 (12 ms)'],
    ['TLS', 'TLSv1.3'],
    ['asked', 'GET /v1/models'],
    ['answered', '401 (80 ms)'],
    ['key', 'refused'],
    ['so', 'it refused the key (401)'],
    ['to do', 'put a valid key there'],
  ])
  expect(at.posted()).toEqual(['/v1/upstreams/anthropic/test'])
  at.hub.on('POST /v1/upstreams/:name/test', () => ({
    body: { tried: { ...tried, ok: true, status: 200, key: 'taken', detail: 'it took the key', mend: '' } },
  }))
  expect(await at.run(['upstream', 'test', 'anthropic'])).toMatchObject({
    code: 0,
    stdout: expect.not.stringContaining('to do'),
  })
})
