/** `hub budget` and `hub upstream price`: what is sent, what a person reads of the answer, and what is written into prices.yaml. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { refusal, TASK_ID } from '../../../../support/fake-hub.ts'

const at = commandHome()
const account = {
  scope: 'day',
  key: '2026-12-01',
  spentUsd: 1_234_500,
  estimatedUsd: 7530,
  heldUsd: 0,
  limitUsd: 10_000_000,
}
const view = {
  day: '2026-12-01',
  accounts: [
    { ...account, input: 12_000, output: 800, calls: 3 },
    {
      ...account,
      scope: 'agentDay',
      key: '2026-12-01 lead',
      limitUsd: null,
      estimatedUsd: 0,
      heldUsd: 90,
      input: 1,
      output: 2,
      calls: 1,
    },
  ],
  calls: [
    {
      ...{
        id: TASK_ID,
        state: 'estimated',
        agent: 'lead',
        upstream: 'anthropic',
        model: 'claude-haiku-4-5',
        usd: 7530,
      },
      ...{ reservedUsd: 7530, input: 2024, output: 1000, why: 'the answer was lost\u001b[2J', atMs: 1 },
    },
  ],
  pauses: [{ upstream: 'openai', untilMs: Date.UTC(2026, 11, 1, 3), sinceMs: 1, why: 'insufficient_quota' }],
  waiting: 2,
  declared: ['anthropic', 'openai'],
  hours: [],
  nearest: { scope: 'tree', key: TASK_ID, measure: 'usd', used: 1_600_000, limit: 2_000_000 },
}

describe('hub budget', () => {
  it('show prints amounts in dollars, what is estimated apart, and quotas that are used up; --json is the answer as it is', async () => {
    at.hub.on('GET /v1/budget', () => ({ body: view }))
    const { code, stdout } = await at.run(['budget', 'show', '--task', TASK_ID])
    expect(code).toBe(0)
    const lines = stdout.split('\n').map((line) => line.trim().split(/ {2,}/))
    expect(lines[1]).toEqual([
      'this hub, in the day',
      '2026-12-01',
      '1.2345 USD',
      '10.00 USD',
      '-',
      '0.00753 USD',
      '12000',
      '800',
      '3',
    ])
    expect(lines[2]).toEqual(['agent, in the day', 'lead', '1.2345 USD', '-', '0.00009 USD', '-', '1', '2', '1'])
    expect(stdout).toMatch(/claude-haiku-4-5 +estimated +0\.00753 USD/)
    expect(stdout).toContain('the quota of openai is used up (insufficient_quota); it is looked at again ')
    expect(stdout).toContain(`\nnearest: tree of ${TASK_ID.slice(-8)}, 1.60 of 2.00 USD\n`)
    expect(stdout).toContain('2 calls wait for money that others have reserved')
    expect(stdout).not.toContain('\u001b')
    expect(JSON.parse((await at.run(['budget', 'show', '--json'])).stdout)).toEqual(view)
  })

  it('raise and settle send whole millionths', async () => {
    at.hub.on('POST /v1/budget/tasks/:id/raise', () => ({
      body: { root: TASK_ID, raisedUsd: 2_500_000, limitUsd: 4_500_000 },
    }))
    at.hub.on('POST /v1/budget/calls/:id/settle', () => ({ body: { call: { ...view.calls[0], usd: 30_000 } } }))
    expect((await at.run(['budget', 'raise', TASK_ID, '2.5'])).stdout).toMatch(/may spend 4\.50 USD in all/)
    expect((await at.run(['budget', 'settle', TASK_ID, '0.03'])).stdout).toBe(`the call ${TASK_ID} cost 0.03 USD\n`)
    expect(at.hub.asked.map((each) => each.body)).toEqual([{ usd: 2_500_000 }, { usd: 30_000 }])
    for (const amount of ['-1', '1e3', 'two', '0.0000001', '1,5']) {
      const { code, stderr } = await at.run(['budget', 'raise', '--', TASK_ID, amount])
      expect([code, stderr], amount).toEqual([2, expect.stringMatching(/no amount of US dollars/)])
    }
    expect(at.hub.asked).toHaveLength(2)
  })
})

describe('hub upstream price', () => {
  const file = () => join(at.home, 'prices.yaml')
  const price = {
    model: 'llm',
    input: 250_000,
    output: 1_000_000,
    uses: {},
    percent: {},
    version: 'x',
    source: 'prices.yaml',
  }

  const declare = () =>
    writeFileSync(
      join(at.home, 'hub.yaml'),
      'upstreams: { router: { kind: openai, url: "https://r.example.org", secret: key } }\n',
    )

  it('an upstream that nobody declared is refused by name, with the one that was probably meant', async () => {
    declare()
    const { code, stderr } = await at.run(['upstream', 'price', 'ruoter', 'llm', '--input', '1', '--output', '2'])
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(
        /^hub: no upstream "ruoter" is declared in hub\.yaml; did you mean router\?; nothing was written$/m,
      ),
    ])
    expect(existsSync(file())).toBe(false)
  })

  it('writes prices into the home, beside what is there, and shows what is in force then', async () => {
    declare()
    writeFileSync(file(), '# mine\nmodels: { other: { input: 1, output: 2 } }\n')
    at.hub.on('GET /v1/upstreams/:name/price', () => ({ body: { price } }))
    const { code, stdout } = await at.run([
      'upstream',
      'price',
      'router',
      'vendor/llm',
      '--input',
      '0.25',
      '--output',
      '1',
      '--max-output',
      '4096',
    ])
    expect([code, stdout]).toEqual([
      0,
      'llm (prices.yaml)\ninput: 0.25 USD for a million tokens\noutput: 1.00 USD for a million tokens\n',
    ])
    const text = readFileSync(file(), 'utf8')
    expect(text).toMatch(/^# mine\nmodels: \{ other: \{ input: 1, output: 2 \} \}\n/)
    expect(text).toMatch(
      /upstreams:\n {2}router:\n {4}models:\n {6}vendor\/llm:\n {8}input: 250000\n {8}output: 1000000\n {8}maxOutput: 4096/,
    )
  })

  it('changes nothing if the file would have a fault, and says which', async () => {
    declare()
    const half = await at.run(['upstream', 'price', 'router', 'llm', '--input', '0.25'])
    expect([half.code, half.stderr]).toEqual([
      3,
      expect.stringMatching(/would have a fault: .*upstreams\.router\.models\.llm\.output: is missing/),
    ])
    expect(existsSync(file())).toBe(false)
  })

  it('shows a price, and the refusal of a model that has none', async () => {
    at.hub.on('GET /v1/upstreams/:name/price', () => refusal('model_unknown', 'no price'))
    expect((await at.run(['upstream', 'price', 'router', 'llm'])).code).toBe(3)
    at.hub.on('GET /v1/upstreams/:name/price', () => ({ body: { price } }))
    expect(JSON.parse((await at.run(['upstream', 'price', 'router', 'llm', '--json'])).stdout)).toEqual(price)
  })

  it('one that misses a price is refused by `hub config check` with its line, in the home and as a copy', async () => {
    declare()
    writeFileSync(file(), 'models:\n  llm: { input: 1 }\n  other: { output: 2 }\n')
    const inside = await at.run(['config', 'check'])
    const faults = [
      'line 2, column 8: models.llm.output: is missing',
      'line 3, column 10: models.other.input: is missing',
    ]
    expect([inside.code, inside.stdout]).toEqual([
      3,
      expect.stringContaining(faults.map((each) => `${file()} ${each}\n`).join('')),
    ])
    const copy = await at.run(['config', 'check', file(), '--json'])
    expect([copy.code, JSON.parse(copy.stdout)]).toMatchObject([
      3,
      { prices: { ok: false, faults: [{ line: 2 }, { line: 3 }] } },
    ])
    writeFileSync(file(), 'models:\n  llm: { input: 1, output: 2 }\n')
    expect(await at.run(['config', 'check', file()])).toMatchObject({
      code: 0,
      stdout: `${file()} is valid; a running hub takes it over by itself\n`,
    })
  })
})
