import { describe, expect, it } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { silentLog } from '../../../../hub/base/telemetry.ts'
import {
  createHooks,
  DELAY_MS_MAX,
  HOOK_MS_MAX,
  type Hook,
  type Hooks,
  sendFacts,
} from '../../../../hub/work/messages/hooks.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

const FACTS = sendFacts(
  { agent: 'reader', id: 'saaaaaaaaaaaaaaa' },
  { id: '1', kind: 'request', type: 'a.b', to: 'agent:echo', body: { secret: 1 } } as never,
  42,
)

function started(...hooks: Hook[]) {
  const clock = createFakeClock()
  const made = createHooks(hooks, { clock, log: silentLog() }) as Hooks
  /** What came of asking, and after how many milliseconds of the fake clock. */
  async function ask() {
    const startMs = clock.monotonicMs()
    let open = true
    const asked = made.before(FACTS).finally(() => {
      open = false
    })
    while (open) await clock.advance(1)
    const refusal = await asked
    return { code: refusal?.code, detail: refusal?.message, tookMs: clock.monotonicMs() - startMs }
  }
  return { clock, made, ask }
}

describe('hooks around a message (S0-21)', () => {
  it('do not exist where none are given', () => {
    expect(createHooks([], { clock: createFakeClock(), log: silentLog() })).toBeUndefined()
  })

  it('see who sends what to whom and how large, frozen, and never the body', async () => {
    expect(FACTS).toEqual({
      id: '1',
      sender: { agent: 'reader', session: 'saaaaaaaaaaaaaaa' },
      kind: 'request',
      type: 'a.b',
      to: 'agent:echo',
      bytes: 42,
      traceparent: undefined,
    })
    expect([Object.isFrozen(FACTS), Object.isFrozen(FACTS.sender)]).toEqual([true, true])
  })

  it('are asked in their order, each waiting for the one before; the first refusal ends it', async () => {
    const asked: string[] = []
    const named = (name: string, verdict?: { delayMs: number } | { refuse: string }): Hook => ({
      name,
      beforeSend: () => {
        asked.push(name)
        return verdict
      },
    })
    const { ask } = started(named('a', { delayMs: 40 }), named('b', { refuse: 'not now' }), named('c'))
    const { code, detail, tookMs } = await ask()
    expect([code, detail, asked]).toEqual(['forbidden', 'b: not now', ['a', 'b']])
    expect(tookMs).toBeGreaterThanOrEqual(40)
    expect(tookMs).toBeLessThan(60)
  })

  it('refuse as rate_limited where they say when to come back', async () => {
    const { made } = started({ name: 'slow', beforeSend: async () => ({ refuse: 'too fast', retryAfterMs: 12.5 }) })
    expect(await made.before(FACTS)).toMatchObject({ code: 'rate_limited', facts: { retryAfterMs: 13 } })
  })

  it('that throw, reject, answer nonsense or never answer are counted and passed over', async () => {
    const nonsense: unknown[] = ['no', { delayMs: -1 }, { delayMs: Number.NaN }, { delayMs: '5' }, null, {}]
    const bad: Hook[] = [
      {
        name: 'throws',
        beforeSend: () => {
          throw new Error('x')
        },
      },
      { name: 'rejects', beforeSend: async () => Promise.reject(new HubError('policy_denied')) },
      ...nonsense.map((answer): Hook => ({ name: 'nonsense', beforeSend: () => answer as undefined })),
      { name: 'hangs', beforeSend: () => new Promise(() => undefined) },
    ]
    const { made, ask } = started(...bad)
    const { code, tookMs } = await ask()
    expect(code).toBeUndefined()
    expect(tookMs).toBeGreaterThanOrEqual(HOOK_MS_MAX)
    expect(tookMs).toBeLessThan(HOOK_MS_MAX + 50)
    expect(made.faults()).toEqual({ throws: 1, rejects: 1, nonsense: nonsense.length, hangs: 1 })
  })

  it('delay no longer than ten seconds each', async () => {
    const { ask } = started({ name: 'long', beforeSend: () => ({ delayMs: 1e9 }) })
    const { tookMs } = await ask()
    expect(tookMs).toBeGreaterThanOrEqual(DELAY_MS_MAX)
    expect(tookMs).toBeLessThan(DELAY_MS_MAX + 50)
  })

  it('are told what became of it, with the same object; one that fails there changes nothing', async () => {
    const told: unknown[] = []
    const { made } = started(
      {
        name: 'throws',
        afterSend: () => {
          throw new Error('x')
        },
      },
      { name: 'trace', afterSend: (facts, outcome) => void told.push([facts === FACTS, outcome]) },
    )
    expect(await made.around(FACTS, () => 'sent')).toBe('sent')
    const denied = new HubError('policy_denied')
    const refuse = () => {
      throw denied
    }
    await expect(made.around(FACTS, refuse)).rejects.toBe(denied)
    expect(told).toEqual([
      [true, { ok: true }],
      [true, { ok: false, code: 'policy_denied' }],
    ])
    await Promise.resolve()
    expect(made.faults()).toEqual({ throws: 2 })
  })
})
