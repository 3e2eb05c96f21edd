/** How many refusals are records of their own, and that none is lost from the counts (fault F2). */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HubError } from '../../../hub/base/errors.ts'
import { OPERATOR } from '../../../hub/guard/principal.ts'
import {
  createRefusals,
  DENIALS_PER_WINDOW,
  EXCESS_PER_WINDOW,
  EXCESS_WINDOWS,
  KINDS_OWN_MAX,
  OWN_MAX,
  OWN_PER_KIND_MAX,
  RECIPIENTS_DENIED_MAX,
  RECIPIENTS_FOR_MS,
  sumText,
  WINDOW_MS,
} from '../../../hub/guard/refusals.ts'
import { fillDisk, type GuardHome, openGuardHome } from '../../support/guard-home.ts'
import { agentPrincipal } from '../../support/policy-fixture.ts'

const agent = agentPrincipal('echo')
const denied = new HubError('policy_denied', 'no')
const flooded = new HubError('rate_limited', 'too much')

describe('the accounts', () => {
  let now: number
  let refusals: ReturnType<typeof createRefusals>
  beforeEach(() => {
    now = 0
    refusals = createRefusals(() => now)
  })
  const take = (count: number, error = denied, operation: 'message.send' | 'task.log' = 'message.send') =>
    Array.from({ length: count }, () => refusals.take(agent, operation, error)).filter(({ isOwn }) => isOwn).length

  it('fault F2: the first ten of a kind are records of their own, the rest one sum a minute, and no count is lost', () => {
    expect(take(1000)).toBe(OWN_PER_KIND_MAX)
    expect(take(100, flooded)).toBe(OWN_PER_KIND_MAX)
    refusals.count(agent, 'session.open', flooded)
    expect(refusals.due(), 'not before the minute has ended').toEqual([])
    now = WINDOW_MS
    expect(take(12), 'the next minute has a budget of its own').toBe(OWN_PER_KIND_MAX)
    const [sum, ...others] = refusals.due()
    expect(others).toEqual([])
    const text =
      'summed: 1081 more refusals: 1 session.open rate_limited, 990 message.send policy_denied, 90 message.send rate_limited'
    expect(sum).toMatchObject({ count: 1081, entry: { outcome: 'refused', resource: 'session:s-echo', reason: text } })
    expect(refusals.due(), 'what could not be written is told again').toHaveLength(1)
    if (sum !== undefined) refusals.written(sum)
    expect(refusals.due()).toEqual([])
    expect(refusals.due(true), 'at the end the present minute too').toMatchObject([{ count: 2 }])
  })

  it('of all kinds together thirty a minute, and the first of each further kind, whatever kinds there are', () => {
    const codes = [
      'policy_denied',
      'rate_limited',
      'schema_invalid',
      'inbox_closed',
      'forbidden',
      'conflict',
      'too_large',
      'nonce_used',
    ] as const
    const own = codes.map((code) => take(100, new HubError(code, 'no')))
    expect(own).toEqual([10, 10, 10, 1, 1, 1, 1, 1])
    expect(refusals.due(true)[0]?.count).toBe(800 - OWN_MAX - 5)
  })

  it('T65: the first of a kind is a record of its own behind any flood of others, and once in a minute of so many kinds [audit-2]', () => {
    for (let nth = 0; nth < 5000; nth += 1)
      for (const code of ['policy_denied', 'rate_limited', 'conflict', 'forbidden'] as const)
        refusals.take(agent, 'message.send', new HubError(code, 'no'))
    const steal = () => refusals.take(agent, 'secret.get', denied)
    const first = steal()
    expect([first.isOwn, steal().isOwn]).toEqual([true, false])
    first.undo()
    expect(steal().isOwn, 'one that did not commit was none').toBe(true)
    now = WINDOW_MS
    expect(steal().isOwn, 'in the next minute again').toBe(true)
    const kinds = Array.from({ length: 500 }, (_, at) => refusals.take(agent, `x.${at}` as never, denied))
    expect(kinds.filter(({ isOwn }) => isOwn)).toHaveLength(KINDS_OWN_MAX - 1)
  })

  it('takes back what did not commit', () => {
    const taken = Array.from({ length: 19 }, () => refusals.take(agent, 'message.send', denied))
    for (const { undo } of taken) undo()
    expect(refusals.due(true)).toEqual([])
    expect(take(11)).toBe(OWN_PER_KIND_MAX)
  })

  it('what the operator is refused is a record each time [audit-2]', () => {
    const own = Array.from({ length: 100 }, () => refusals.take(OPERATOR, 'task.submit', denied).isOwn)
    expect(own.every(Boolean)).toBe(true)
  })

  it('fault F2, T47: who goes on and on is told of once; a pause begins anew', () => {
    const minute = (count: number) => {
      take(count)
      now += WINDOW_MS
      refusals.due()
    }
    for (let turn = 1; turn < EXCESS_WINDOWS; turn += 1) minute(EXCESS_PER_WINDOW)
    minute(EXCESS_PER_WINDOW - 1)
    for (let turn = 1; turn < EXCESS_WINDOWS; turn += 1) minute(EXCESS_PER_WINDOW)
    now += 2 * WINDOW_MS
    take(1)
    expect(refusals.excessive()).toEqual([])
    now += WINDOW_MS
    for (let turn = 1; turn <= EXCESS_WINDOWS; turn += 1) {
      expect(refusals.excessive()).toEqual([])
      take(EXCESS_PER_WINDOW)
      now += WINDOW_MS
      refusals.due()
    }
    expect(refusals.excessive()).toMatchObject([
      { session: 's-echo', why: expect.stringContaining('minutes in a row') },
    ])
    expect(refusals.excessive()).toEqual([])
  })

  it('fault F16, T47: a flood of denials, or denials at many recipients, ends a session within its minute; what is only too much does not', () => {
    take(DENIALS_PER_WINDOW - 1)
    take(5000, flooded)
    expect(refusals.excessive()).toEqual([])
    take(1)
    // Also where the minute has ended before anybody asked.
    now += WINDOW_MS
    take(1)
    expect(refusals.excessive()).toMatchObject([
      { session: 's-echo', why: expect.stringMatching(/denied 100\d times/) },
    ])
    expect(refusals.excessive()).toEqual([])
    const worm = agentPrincipal('worm')
    const tries = (count: number) => {
      for (let nth = 0; nth < count; nth += 1) refusals.take(worm, 'message.send', denied, `agent:a${nth}`)
    }
    tries(RECIPIENTS_DENIED_MAX - 1)
    tries(RECIPIENTS_DENIED_MAX - 1)
    // A broadcast names no recipient.
    for (let nth = 0; nth < 200; nth += 1) refusals.take(worm, 'message.send', denied)
    expect(refusals.excessive()).toEqual([])
    tries(RECIPIENTS_DENIED_MAX)
    expect(refusals.excessive()).toMatchObject([{ session: 's-worm', why: expect.stringContaining('32 recipients') }])
  })

  it('fault F16, T47: who tries one recipient after the other, slowly and with rests, is ended all the same; an hour later it is forgotten', () => {
    const worm = agentPrincipal('worm')
    let nth = 0
    const tries = () => {
      nth += 1
      refusals.take(worm, 'message.send', denied, `agent:a${nth}`)
    }
    const rests = (ms: number) => {
      for (let passed = 0; passed < ms; passed += WINDOW_MS / 2) {
        now += WINDOW_MS / 2
        for (const sum of refusals.due()) refusals.written(sum)
      }
    }
    while (nth < RECIPIENTS_DENIED_MAX - 1) tries()
    rests(RECIPIENTS_FOR_MS)
    while (nth < 2 * (RECIPIENTS_DENIED_MAX - 1)) {
      tries()
      if (nth % 10 === 0) rests(5 * WINDOW_MS)
    }
    expect(refusals.excessive()).toEqual([])
    rests(20 * WINDOW_MS)
    tries()
    expect(refusals.excessive()).toMatchObject([{ session: 's-worm', why: expect.stringContaining('32 recipients') }])
  })

  it('fault F16: who was refused very often in a minute is named, once, while it goes on', () => {
    take(EXCESS_PER_WINDOW)
    expect(refusals.noisy()).toEqual([])
    now += WINDOW_MS
    refusals.due()
    expect(refusals.noisy()).toEqual([{ session: 's-echo', agent: 'echo', refused: EXCESS_PER_WINDOW }])
    take(EXCESS_PER_WINDOW)
    now += WINDOW_MS
    refusals.due()
    expect(refusals.noisy()).toEqual([])
  })

  it('T65: a sum names what reaches for secrets, artifacts and sessions first, the rarest before all [audit-2]', () => {
    const many = new Map<string, number>(
      Array.from({ length: 500 }, (_, at) => [`operation.${at} code`, at + 1000] as const),
    )
    for (const [kind, count] of Object.entries({
      'session.open rate_limited': 700,
      'artifact.get forbidden': 2,
      'secret.get policy_denied': 1,
    }))
      many.set(kind, count)
    expect(sumText(many)).toMatch(
      /refusals: 1 secret\.get policy_denied, 2 artifact\.get forbidden, 700 session\.open rate_limited, 1499 operation\.499 code, /,
    )
  })

  it('a sum stays short whatever there is to sum', () => {
    const many = new Map(Array.from({ length: 500 }, (_, at) => [`operation.${at} code`, at + 1] as const))
    expect(sumText(many).length).toBeLessThan(600)
    expect(sumText(many)).toMatch(/^summed: 125250 more refusals: 500 operation\.499 code, .* of other kinds$/)
  })
})

describe('at the gate', () => {
  let home: GuardHome
  beforeEach(() => {
    home = openGuardHome()
    home.guard.modes.clear('lease_pending')
  })
  afterEach(() => home[Symbol.dispose]())
  /** Denied by the rules, each with an input of its own, so that none is remembered from the one before. */
  const ask = (nth: number) => {
    const call = {
      principal: agent,
      operation: 'message.send',
      resource: `agent:nobody-${nth}`,
      facts: { kind: 'request', to: `nobody-${nth}`, type: 'x' },
      payloadHash: 'a'.repeat(64),
    } as const
    try {
      home.guard.gate.admit(call, () => undefined)
    } catch (thrown) {
      return thrown as HubError
    }
    throw new Error('it was admitted')
  }
  const rows = (table: string) => home.guard.store.prepare(`select count(*) from ${table}`).pluck().get() as number
  const refused = () => home.records().filter(({ outcome }) => outcome === 'refused')

  it('fault F2: denials beyond the first of a minute write neither record nor decision, and one record sums them [audit-2]', async () => {
    for (let nth = 0; nth < 500; nth += 1) expect(ask(nth).code).toBe('policy_denied')
    expect([refused().length, rows('decision')]).toEqual([OWN_PER_KIND_MAX, OWN_PER_KIND_MAX])
    for (const { decision_id } of refused())
      expect(home.guard.store.prepare('select 1 from decision where decision_id = ?').get(decision_id)).toBeDefined()
    await home.clock.advance(WINDOW_MS)
    home.guard.gate.sumRefusals()
    expect(refused().at(-1)).toMatchObject({
      action: 'gate.refused',
      reason: 'summed: 490 more refusals: 490 message.send policy_denied',
    })
    expect(home.guard.audit.verify().fault).toBeUndefined()
    // A denial that was only counted is written when it is a record again.
    ask(400)
    const last = refused().at(-1)?.decision_id
    expect(home.guard.store.prepare('select 1 from decision where decision_id = ?').get(last)).toBeDefined()
  })

  it('fault F2, S1-18: while the store fails they are counted too, and the buffer stays for the others', () => {
    const room = fillDisk(home.guard)
    for (let nth = 0; nth < 500; nth += 1) ask(nth)
    expect(home.guard.audit.bufferState().size).toBeLessThanOrEqual(OWN_MAX)
    room()
    home.guard.gate.flush()
    home.guard.gate.sumRefusals(true)
    const summed = refused().flatMap(({ reason }) => /^summed: (\d+)/.exec(reason)?.[1] ?? [])
    expect(refused().length - summed.length + summed.reduce((sum, one) => sum + Number(one), 0)).toBeGreaterThanOrEqual(
      500,
    )
  })

  it('fault F2: an hour of refusals as fast as they come stays below 20 MiB, counted all [audit-2]', async () => {
    const path = join(home.folder, 'hub.db')
    home.guard.store.checkpoint()
    const before = statSync(path).size
    let asked = 0
    for (let minute = 0; minute < 60; minute += 1) {
      for (let nth = 0; nth < 100; nth += 1) ask(asked++)
      for (let nth = 0; nth < 10_000; nth += 1)
        home.guard.gate.countRefused({ principal: agent, operation: 'message.send', resource: '' }, flooded)
      await home.clock.advance(WINDOW_MS)
      home.guard.gate.sumRefusals()
    }
    home.guard.store.checkpoint()
    expect(statSync(path).size - before).toBeLessThan(20 * 1024 ** 2)
    const summed = refused().flatMap(({ reason }) => /^summed: (\d+)/.exec(reason)?.[1] ?? [])
    const own = refused().length - summed.length
    expect(own + summed.reduce((sum, one) => sum + Number(one), 0)).toBe(asked + 600_000)
  })

  it('counts that cannot be written keep nothing open at the end', () => {
    home.guard.gate.sumRefusals = () => {
      throw new Error('a fault nobody foresaw')
    }
    const { store } = home.guard
    home.guard.close()
    expect(() => store.prepare('select 1').get()).toThrow(/not open/)
  })

  it('what is admitted is a record each time, however much was refused before [audit-2]', () => {
    for (let nth = 0; nth < 100; nth += 1) ask(nth)
    const before = home.records().length
    for (let nth = 0; nth < 50; nth += 1)
      home.guard.gate.admit(
        { principal: agent, operation: 'session.renew', resource: 'session:s-echo' },
        () => undefined,
      )
    expect(home.records().length - before).toBe(50)
  })
})
