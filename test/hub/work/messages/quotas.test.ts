import { describe, expect, it } from 'vitest'
import type { HubError } from '../../../../hub/base/errors.ts'
import { createQuotas } from '../../../../hub/work/messages/quotas.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

function started(perSecond: number, cards: Record<string, number> = {}) {
  const clock = createFakeClock()
  const quotas = createQuotas({ perSecond, perSecondOf: (_session, agent) => cards[agent] }, clock)
  /** How many of these pass, and what the first refusal says. */
  const burst = (count: number, session = 's1', agent = 'a') => {
    let passed = 0
    for (let nth = 0; nth < count; nth += 1) {
      try {
        quotas.take(session, agent)
        passed += 1
      } catch (thrown) {
        const { code, facts } = thrown as HubError
        return { passed, code, retryAfterMs: Number(facts.retryAfterMs) }
      }
    }
    return { passed, code: '', retryAfterMs: 0 }
  }
  return { clock, quotas, burst, cards }
}

describe('quotas of messages (S1-41, T65)', () => {
  it('let a burst of two seconds pass, then so many a second, and say exactly when the next one will', async () => {
    const { clock, burst } = started(100)
    expect(burst(1000)).toEqual({ passed: 200, code: 'rate_limited', retryAfterMs: 10 })
    await clock.advance(9)
    expect(burst(1)).toEqual({ passed: 0, code: 'rate_limited', retryAfterMs: 1 })
    await clock.advance(1)
    expect(burst(5)).toMatchObject({ passed: 1 })
    await clock.advance(1000)
    expect(burst(1000).passed).toBe(100)
    await clock.advance(3_600_000)
    expect(burst(1000).passed).toBe(200)
  })

  it('are shared by the sessions of one agent and by no other agent', () => {
    const { burst } = started(10)
    expect(burst(15, 's1', 'a').passed).toBe(15)
    expect(burst(15, 's2', 'a').passed).toBe(5)
    expect(burst(15, 's3', 'b').passed).toBe(15)
  })

  it('are lowered by a card and never raised by it', () => {
    const { burst } = started(50, { modest: 5, greedy: 5000 })
    expect(burst(1000, 's1', 'modest')).toEqual({ passed: 10, code: 'rate_limited', retryAfterMs: 200 })
    expect(burst(1000, 's2', 'greedy').passed).toBe(100)
    expect(burst(1000, 's3', 'silent').passed).toBe(100)
  })

  it('follow a changed card from the next session of the agent on', async () => {
    const { clock, quotas, burst, cards } = started(50, { a: 5 })
    expect(burst(100, 's1').passed).toBe(10)
    cards.a = 20
    await clock.advance(60_000)
    expect(burst(100, 's1').passed).toBe(10)
    quotas.forget('s1')
    await clock.advance(60_000)
    expect(burst(100, 's2').passed).toBe(40)
  })

  it('leave a session that says all it may its renewals, which have a small measure of their own', async () => {
    const { clock, quotas, burst } = started(5)
    expect(burst(1000).passed).toBe(10)
    for (let nth = 0; nth < 20; nth += 1) quotas.takeUpkeep('s1')
    expect(() => quotas.takeUpkeep('s1')).toThrow(/rate_limited|renewals/)
    quotas.takeUpkeep('s2')
    await clock.advance(500)
    quotas.takeUpkeep('s1')
    expect(() => quotas.takeUpkeep('s1')).toThrow(/rate_limited|renewals/)
    expect(burst(1000).passed).toBe(2)
  })
})
