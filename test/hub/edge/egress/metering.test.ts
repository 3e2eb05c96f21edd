/** Between the gateway and the account of money: what a request is asked for by its host, and what the operator hears of an answer (E10). */
import { expect, test } from 'vitest'
import { createMetering } from '../../../../hub/edge/egress/metering.ts'
import { upstreamsShape } from '../../../../hub/protocol/egress/upstreams.ts'
import type { MeteredCall } from '../../../../hub/work/egress/money/budget.ts'

function meterWith(settled: object = {}) {
  const calls: MeteredCall[] = []
  const alerts: [string, string][] = []
  const meter = createMetering({
    money: {
      payerOf: () => ({ session: 's1' }),
      judge(call: MeteredCall) {
        calls.push(call)
        return { kind: 'fits' }
      },
      settle: () => ({
        id: 'id',
        model: 'm',
        usd: 1_250_000,
        text: 'the text',
        odd: undefined,
        isAbove: false,
        ...settled,
      }),
    } as never,
    alerts: { raise: (cause: string, _level: string, text: string) => alerts.push([cause, text]) } as never,
  })
  return { meter, calls, alerts }
}
const upstreamAt = (kind: string, url: string) => {
  const [upstream] = upstreamsShape.parse({ u: { kind, url, secret: 'k' } })
  if (upstream === undefined) throw new Error('it is declared')
  return upstream
}
const asked = { head: { shape: 'chat' }, body: { surcharges: ['tier:default'] } }

test('a host that keeps requests in one region makes each call dearer, and no other host does', () => {
  for (const [kind, url, isRegional] of [
    ['openai', 'https://eu.api.openai.com', true],
    ['openai', 'https://us.api.openai.com/v1', true],
    ['google', 'https://europe-west4-aiplatform.googleapis.com', true],
    ['google', 'https://aiplatform.eu.rep.googleapis.com', true],
    ['openai', 'https://api.openai.com', false],
    ['google', 'https://aiplatform.googleapis.com', false],
    ['openai', 'https://eu.api.openai.com.example.org', false],
    ['openai', 'https://openrouter.ai/api', false],
  ] as const) {
    const { meter, calls } = meterWith()
    meter.needsCount({} as never, upstreamAt(kind, url), asked as never)
    expect(calls[0]?.surcharges, url).toEqual(isRegional ? ['tier:default', 'regional'] : ['tier:default'])
  }
})

test('the operator hears of usage that is not believed, and of usage above the reserve, each with what it counts with [E10]', () => {
  const upstream = upstreamAt('openai', 'https://api.openai.com')
  const heard = (settled: object) => {
    const { meter, alerts } = meterWith(settled)
    expect(meter.settle({} as never, upstream, 'id', { kind: 'lost' })).toBe('the text')
    return alerts
  }
  expect(heard({})).toEqual([])
  expect(heard({ odd: 'it says more' })).toEqual([
    ['usage_odd:u', expect.stringMatching(/it says more\. The call counts with 1\.25 USD.*budget settle id AMOUNT/)],
  ])
  expect(heard({ isAbove: true })).toEqual([
    ['usage_above:u', expect.stringMatching(/took more than it could take .*: the text\. It counts in full/)],
  ])
})
