/** The one door, with real store, policy, nonces, modes and audit: the order of its checks, and that no effect is without its record. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HubError } from '../../../hub/base/errors.ts'
import type { Call, Gate } from '../../../hub/guard/gate.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../../../hub/guard/grant.ts'
import type { ConditionName } from '../../../hub/guard/modes.ts'
import { createDecisions } from '../../../hub/guard/policy/decisions.ts'
import { createEngine } from '../../../hub/guard/policy/engine.ts'
import { OPERATOR, WATCHDOG } from '../../../hub/guard/principal.ts'
import { OPERATIONS, type OperationName } from '../../../hub/protocol/operations.ts'
import { fillDisk, type GuardHome, openGuardHome, recordEach } from '../../support/guard-home.ts'
import { agentPrincipal, askedFor } from '../../support/policy-fixture.ts'
import { createSeededRandom } from '../../support/seeded-random.ts'

let home: GuardHome
let gate: Gate
beforeEach(() => {
  home = openGuardHome()
  gate = home.guard.gate
  home.guard.modes.clear('lease_pending')
  home.guard.store.prepare('create table effect (n integer) strict').run()
})
afterEach(() => home[Symbol.dispose]())

const agent = agentPrincipal('echo')
const submit = (change: Partial<Call> = {}): Call => ({
  principal: OPERATOR,
  operation: 'task.submit',
  resource: 'task',
  facts: askedFor('echo'),
  ...change,
})
const own = (change: Partial<Call> = {}): Call => ({
  principal: agent,
  operation: 'session.renew',
  resource: 'session:s1',
  ...change,
})
const stop = (change: Partial<Call> = {}): Call => ({
  principal: OPERATOR,
  operation: 'mode.safe',
  resource: 'hub',
  ...change,
})
const nonce = (value: string) => ({ scope: 's1', value, expiresAtMs: home.clock.wallMs() + 90_000 })
const effect = () => void home.guard.store.prepare('insert into effect values (1)').run()
const count = (table: string) => home.guard.store.prepare(`select count(*) from ${table}`).pluck().get() as number
const records = () => home.records()
const lastRecord = () => records().at(-1)

function refusalOf(run: () => unknown): HubError {
  try {
    run()
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(HubError)
    return thrown as HubError
  }
  throw new Error('it was admitted')
}
const ended = () => new HubError('unauthenticated', '', { reason: 'the session has ended meanwhile' })

describe('the order of checks', () => {
  it('asks reach first: a wrong kind of principal burns no nonce and is not looked at further [cond-26]', () => {
    home.guard.modes.raise('operator_request', '')
    const call = submit({ principal: agent, burn: nonce('a'), recheck: ended })
    expect(refusalOf(() => gate.admit(call, effect)).code).toBe('forbidden')
    expect([count('nonce'), count('decision'), count('effect')]).toEqual([0, 0, 0])
  })

  it('burns the nonce before it asks about session, mode and policy', () => {
    gate.admit(own({ burn: nonce('a') }), () => undefined)
    home.guard.modes.raise('operator_request', '')
    let asked = 0
    const recheck = () => {
      asked += 1
      return ended()
    }
    expect(refusalOf(() => gate.admit(own({ burn: nonce('a'), recheck }), effect)).code).toBe('nonce_used')
    expect(asked).toBe(0)
  })

  it('asks again about the session before the mode', () => {
    home.guard.modes.raise('operator_request', '')
    const call = { ...own({ recheck: ended }), operation: 'task.delegate' } as const
    expect(refusalOf(() => gate.admit(call, effect))).toMatchObject({ code: 'unauthenticated' })
  })

  it('asks the mode before the policy', () => {
    home.guard.modes.raise('operator_request', '')
    const call = submit({ facts: { agent: 'nobody' } })
    expect(refusalOf(() => gate.admit(call, effect))).toMatchObject({
      code: 'mode_safe',
      facts: { conditions: ['operator_request'] },
    })
    expect(count('decision')).toBe(0)
  })

  it('asks the policy before the effect, and names its decision', () => {
    const refusal = refusalOf(() => gate.admit(submit({ facts: { agent: 'nobody' } }), effect))
    expect(refusal.code).toBe('policy_denied')
    expect(count('effect')).toBe(0)
    expect(lastRecord()?.decision_id).toBe(refusal.facts.decisionId)
    expect(count('decision')).toBe(1)
  })

  const answers: [what: string, change: object, code: string][] = [
    ['the code that the rules give', { code: 'delegation_depth' }, 'delegation_depth'],
    ['policy_denied where they give none', {}, 'policy_denied'],
    ['no code that the sentence begins with', { reason: 'delegation_depth: too deep' }, 'policy_denied'],
    ['policy_denied for a code that nobody knows', { code: 'not_allowed' }, 'policy_denied'],
    ['policy_denied for a code of the hub that is none of the rules', { code: 'internal' }, 'policy_denied'],
  ]
  it.each(answers)('T20: a no of the rules carries %s, and is a record', (_, change, code) => {
    const result = { version: 1, allow: false, ask: false, reason: 'no', rule: 'r', ...change }
    const engine = createEngine(
      () => ({ evaluate: () => [{ result }] }),
      () => undefined,
    )
    const { policy } = home.guard
    const answering = { ...policy, active: () => ({ ...policy.active(), engine }) }
    const decisions = createDecisions(
      { labels: {} },
      { policy: answering, database: home.guard.store, clock: home.clock, random: createSeededRandom('codes') },
    )
    expect(refusalOf(() => home.gateWith({ decisions }).admit(submit(), effect)).code).toBe(code)
    expect(count('effect')).toBe(0)
    expect(lastRecord()).toMatchObject({ outcome: 'refused', action: 'task.submitted' })
    expect(lastRecord()?.reason).toMatch(new RegExp(`^${code}: `))
  })

  it('fault F16: a recipient that is denied is an agent, in however many sessions, and 32 of them end who tries', () => {
    const tries = (from: string, to: object, nth: number) =>
      refusalOf(() =>
        gate.admit(
          {
            principal: agentPrincipal(from),
            operation: 'message.send',
            resource: `session:s${nth}`,
            facts: { kind: 'request', type: 'x', to, relation: 'none' },
          },
          effect,
        ),
      ).code
    for (let nth = 0; nth < 40; nth += 1) {
      expect(tries('echo', { agent: 'other', session: `s${nth}` }, nth)).toBe('policy_denied')
      expect(tries('worm', { agent: `a${nth}`, session: `s${nth}` }, nth)).toBe('policy_denied')
    }
    expect(home.guard.refusals.excessive()).toMatchObject([{ session: 's-worm' }])
  })

  it('has the effect before the record, and both in one transaction [audit-1]', () => {
    const seen = gate.admit(submit(), (grant) => {
      effect()
      expect(home.guard.store.inTransaction).toBe(true)
      return { auditSeq: grant.auditSeq, records: count('audit_record'), auditEffect: 'task:new' }
    })
    expect(seen).toMatchObject({ auditSeq: 1, records: 0 })
    expect(lastRecord()).toMatchObject({ seq: 1, outcome: 'ok', action: 'task.submitted', effect: 'task:new' })
    expect(count('effect')).toBe(1)
  })
})

describe('what was refused', () => {
  const refusals: [string, string, () => Call, ConditionName?][] = [
    ['forbidden', 'agent may not use task.submit', () => submit({ principal: agent, burn: nonce('a') })],
    ['unauthenticated', 'the session has ended meanwhile', () => own({ burn: nonce('a'), recheck: ended })],
    ['mode_degraded', 'the hub is degraded: disk_low', () => submit({ burn: nonce('a') }), 'disk_low'],
    ['mode_draining', 'the hub is draining: draining', () => submit({ burn: nonce('a') }), 'draining'],
    [
      'policy_denied',
      'agent nobody is not in the policy',
      () => submit({ burn: nonce('a'), facts: { agent: 'nobody' } }),
    ],
  ]
  it.each(refusals)(
    'as %s leaves exactly one record with the true reason, and no effect [audit-1]',
    (code, reason, call, condition) => {
      if (condition) home.guard.modes.raise(condition, '')
      const heard: string[] = []
      const told = home.gateWith({ onRefused: (_call, error) => heard.push(error.code) })
      expect(refusalOf(() => told.admit(call(), effect)).code).toBe(code)
      expect(records()).toHaveLength(1)
      expect(lastRecord()).toMatchObject({ outcome: 'refused', reason: expect.stringContaining(`${code}: ${reason}`) })
      expect(count('effect')).toBe(0)
      expect(heard).toEqual([code])
      // Reach comes before the nonce; every later refusal keeps it burned.
      expect(count('nonce')).toBe(code === 'forbidden' ? 0 : 1)
    },
  )

  it('by its own effect is undone alone: nonce, decision and record stay', () => {
    const heard: string[] = []
    const refusal = refusalOf(() =>
      gate.admit(submit({ burn: nonce('a') }), () => {
        effect()
        home.guard.store.afterCommit(() => heard.push('delivered'))
        throw new HubError('unknown_agent', 'no such agent')
      }),
    )
    expect(refusal.code).toBe('unknown_agent')
    expect([count('effect'), count('nonce'), count('decision')]).toEqual([0, 1, 1])
    expect(records()).toMatchObject([{ outcome: 'refused', reason: 'unknown_agent: no such agent' }])
    expect(heard).toEqual([])
    expect(refusalOf(() => gate.admit(submit({ burn: nonce('a') }), effect)).code).toBe('nonce_used')
  })

  it('by a bug in the effect is recorded as failed, and its text is not shown', () => {
    const refusal = refusalOf(() =>
      gate.admit(submit(), () => {
        throw new TypeError('x is not a function')
      }),
    )
    expect(refusal.code).toBe('internal')
    expect(refusal.message).not.toContain('x is not')
    expect(lastRecord()).toMatchObject({ outcome: 'failed', reason: 'internal: x is not a function' })
  })

  it('before it was a call is recorded once and burns the nonce of who was proven', () => {
    gate.refuse(own({ burn: nonce('a') }), new HubError('schema_invalid', 'to: does not fit'))
    expect(records()).toMatchObject([
      { outcome: 'refused', reason: 'schema_invalid: to: does not fit', decision_id: null },
    ])
    expect(refusalOf(() => gate.admit(own({ burn: nonce('a') }), effect)).code).toBe('nonce_used')
  })

  it('before it was a call, by a replay, is recorded as the replay it is', () => {
    gate.admit(own({ burn: nonce('a') }), () => undefined)
    gate.refuse(own({ burn: nonce('a') }), new HubError('schema_invalid', 'to: does not fit'))
    expect(lastRecord()?.reason).toContain('nonce_used')
    expect(count('nonce')).toBe(1)
  })
})

describe('reading', () => {
  it('leaves no record, unless it discloses the content of work [audit-4]', () => {
    for (const operation of ['task.list', 'audit.list', 'health.show'] as const)
      gate.admit({ principal: OPERATOR, operation, resource: '' }, () => undefined)
    expect(records()).toEqual([])
    for (const operation of ['task.logs', 'session.logs', 'artifact.get'] as const)
      gate.admit({ principal: OPERATOR, operation, resource: '' }, () => undefined)
    expect(records().map(({ action }) => action)).toEqual(['task.logs_read', 'session.logs_read', 'artifact.fetched'])
  })

  it('that is refused does [audit-4]', () => {
    expect(refusalOf(() => gate.admit({ principal: agent, operation: 'audit.list', resource: '' }, effect)).code).toBe(
      'forbidden',
    )
    expect(records()).toHaveLength(1)
  })
})

describe('a grant (grant.ts G2)', () => {
  const look = (): { grant: Grant; stopGrant: StopGrant } => ({
    grant: gate.admit(submit(), (given) => given),
    stopGrant: gate.admitStop(stop(), (given) => given),
  })
  const bug = expect.objectContaining({ code: 'internal' })

  it('that the gate minted passes for its operation and no other', () => {
    const { grant, stopGrant } = look()
    assertGrant(grant)
    assertGrant(grant, 'task.retry', 'task.submit')
    expect(() => assertGrant(grant, 'task.retry')).toThrow(bug)
    assertStopGrant(stopGrant, 'mode.safe')
    expect(() => assertStopGrant(stopGrant, 'hub.shutdown')).toThrow(bug)
  })

  it('that only looks like one is refused', () => {
    const { grant, stopGrant } = look()
    const fakes: unknown[] = [
      { ...grant },
      Object.create(grant),
      JSON.parse(JSON.stringify(grant)),
      structuredClone(grant),
      new Proxy(grant, {}),
      Object.freeze(Object.assign(Object.create(Object.getPrototypeOf(grant)), grant)),
      null,
      undefined,
      'grant',
      {},
    ]
    for (const fake of fakes) {
      expect(() => assertGrant(fake as Grant)).toThrow(bug)
      expect(() => assertStopGrant(fake as StopGrant)).toThrow(bug)
    }
    expect(() => assertStopGrant({ ...stopGrant })).toThrow(bug)
    expect(() => Object.assign(grant, { operation: 'hub.shutdown' })).toThrow(TypeError)
  })

  it('is no stop grant, and a stop grant is no grant (grant.ts G3)', () => {
    const { grant, stopGrant } = look()
    expect(() => assertStopGrant(grant as unknown as StopGrant)).toThrow(bug)
    expect(() => assertGrant(stopGrant as unknown as Grant)).toThrow(bug)
  })

  it('of either kind comes only through its own door', () => {
    expect(refusalOf(() => gate.admit(stop(), effect)).code).toBe('internal')
    expect(refusalOf(() => gate.admitStop(submit(), effect)).code).toBe('internal')
    expect(count('effect')).toBe(0)
  })
})

describe('stopping (I6)', () => {
  it('is permitted in every mode and asks no policy [mode-11, mode-16]', () => {
    for (const condition of ['disk_low', 'operator_request', 'draining'] as const) {
      home.guard.modes.raise(condition, '')
      gate.admitStop(stop(), effect)
    }
    expect(count('effect')).toBe(3)
    expect(count('decision')).toBe(0)
    expect(records().map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok'])
  })

  it('goes on while the disk is full; its records wait and are written first and in order afterwards, the chain intact [mode-16, audit-13]', () => {
    gate.admit(submit(), effect)
    const before = records().length
    const makeRoom = fillDisk(home.guard)
    let stopped = 0
    // Until the last free place of the last page is used up, records still fit.
    for (; home.guard.audit.bufferState().size < 3; stopped += 1) {
      expect(gate.admitStop(stop({ resource: `hub:${stopped}` }), () => 'stopped')).toBe('stopped')
      if (stopped > 500) throw new Error('the disk does not become full')
    }
    expect(refusalOf(() => gate.admit(own({ burn: nonce('a') }), () => undefined)).code).toBe('store_unavailable')
    expect(home.guard.store.failure()?.latched).toBe(false)
    makeRoom()
    gate.admit(own(), () => undefined)
    const after = home.guard.store
      .prepare('select resource from audit_record where seq > ? order by seq')
      .pluck()
      .all(before)
    // The refusal of the signed request was kept too.
    const stops = Array.from({ length: stopped }, (_, index) => `hub:${index}`)
    expect(after).toEqual([...stops, 'session:s1', 'session:s1'])
    expect(home.guard.audit.verify().fault).toBeUndefined()
    expect(home.guard.audit.bufferState().size).toBe(0)
  })

  it('makes safe mode sticky on a full disk, and keeps it once there is room', () => {
    const makeRoom = fillDisk(home.guard)
    const { modes, store } = home.guard
    store.prepare('pragma query_only = 1').run()
    gate.admitStop(stop(), () => modes.raise('operator_request', 'now'))
    expect(modes.current()).toBe('safe')
    store.prepare('pragma query_only = 0').run()
    makeRoom()
    home.guard.recoverStore()
    home.guard.recoverStore()
    expect(home.reopen().modes.has('operator_request')).toBe(true)
  })

  it('goes on when the buffer is full too [mode-16, audit-13]', () => {
    home.guard.store.prepare('pragma query_only = 1').run()
    let stopped = 0
    for (let times = 0; times < 10_300; times += 1) {
      gate.admitStop(stop(), () => {
        stopped += 1
      })
    }
    expect(stopped).toBe(10_300)
    expect(home.guard.audit.bufferState().size).toBe(10_256)
    home.guard.store.prepare('pragma query_only = 0').run()
  })

  it('is refused to whom it is not given, though the store fails, and that too is recorded', () => {
    home.guard.store.prepare('pragma query_only = 1').run()
    let stopped = 0
    const count = () => {
      stopped += 1
    }
    for (const principal of [
      agent,
      { kind: 'contact', id: 'c' } as const,
      { kind: 'automation', id: 't' } as const,
      WATCHDOG,
    ])
      expect(refusalOf(() => gate.admitStop(stop({ principal }), count)).code).toBe('forbidden')
    expect(stopped).toBe(0)
    home.guard.store.prepare('pragma query_only = 0').run()
    home.guard.audit.flush()
    expect(records()).toHaveLength(4)
    expect(records().every(({ outcome }) => outcome === 'refused')).toBe(true)
  })

  it('that fails by itself while the store fails is recorded as failed', () => {
    home.guard.store.prepare('pragma query_only = 1').run()
    const refusal = refusalOf(() =>
      gate.admitStop(stop(), () => {
        throw new HubError('unknown_session', 'gone')
      }),
    )
    expect(refusal.code).toBe('unknown_session')
    home.guard.store.prepare('pragma query_only = 0').run()
    home.guard.audit.flush()
    expect(records()).toMatchObject([{ outcome: 'failed', reason: 'unknown_session: gone' }])
  })
})

describe('a store that fails in the middle', () => {
  it('is never recorded as a refusal: nothing is committed, head and memo are read again [audit-7]', () => {
    gate.admit(submit(), effect)
    const makeRoom = fillDisk(home.guard)
    const rows = [count('audit_record'), count('decision')]
    const big = () => home.guard.store.prepare('insert into ballast values (zeroblob(100000))').run()
    const call = submit({ facts: askedFor('echo') })
    expect(refusalOf(() => gate.admit(call, big)).code).toBe('mode_degraded')
    expect(home.guard.modes.active().map(({ name }) => name)).toEqual(['store_failing'])
    expect(home.guard.store.failure()?.reason).toContain('SQLITE_FULL')
    expect([count('audit_record'), count('decision')]).toEqual(rows)
    expect(home.guard.audit.head().size).toBe(rows[0])
    makeRoom()
    home.guard.recoverStore()
    expect(lastRecord()).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('mode_degraded') })
    gate.admit(call, effect)
    expect(home.guard.audit.verify().fault).toBeUndefined()
    const { decision_id: id } = lastRecord() ?? {}
    expect(home.guard.store.prepare('select 1 from decision where decision_id = ?').get(id)).toBeDefined()
  })

  it('does not blind the operator, and tells an agent and a disclosing read nothing', () => {
    fillDisk(home.guard)
    home.guard.store.prepare('pragma query_only = 1').run()
    const read = (operation: 'task.list' | 'task.logs') =>
      gate.admit({ principal: OPERATOR, operation, resource: 'task' }, () => 'seen')
    expect(read('task.list')).toBe('seen')
    expect(refusalOf(() => read('task.logs')).code).toBe('store_unavailable')
    const contact = { kind: 'contact', id: 'contact' } as const
    expect(
      refusalOf(() => gate.admit({ principal: contact, operation: 'task.list', resource: '' }, () => 'seen')).code,
    ).not.toBe('internal')
    home.guard.store.prepare('pragma query_only = 0').run()
  })

  it('by an I/O error in an effect latches, though the effect wraps it', () => {
    const broken = Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' })
    expect(
      refusalOf(() =>
        gate.admit(submit(), () => {
          throw new HubError('internal', '', { cause: broken })
        }),
      ).code,
    ).toBe('mode_degraded')
    expect(home.guard.store.failure()?.latched).toBe(true)
    expect(home.guard.modes.has('store_failing')).toBe(true)
    expect(refusalOf(() => gate.admit(submit(), effect)).code).toBe('mode_degraded')
    expect(refusalOf(() => gate.admit(own({ burn: nonce('a') }), effect)).code).toBe('store_unavailable')
    expect(() => home.guard.store.prepare('insert into effect values (1)').run()).toThrow('readonly')
    expect(gate.admitStop(stop(), () => 'stopped')).toBe('stopped')
  })
})

describe('a group', () => {
  it('commits once; a refused call undoes its own effect and never its neighbours', () => {
    const outcomes: string[] = []
    gate.group(() => {
      for (let place = 0; place < 5; place += 1) {
        try {
          gate.admit(own({ burn: nonce(`n${place}`) }), () => {
            effect()
            if (place === 2) throw new HubError('schema_invalid', 'bad')
          })
          outcomes.push('ok')
        } catch (thrown) {
          outcomes.push((thrown as HubError).code)
        }
      }
      expect(home.guard.store.inTransaction).toBe(true)
    })
    expect(outcomes).toEqual(['ok', 'ok', 'schema_invalid', 'ok', 'ok'])
    expect([count('effect'), count('nonce'), count('audit_record')]).toEqual([4, 5, 5])
    expect(home.guard.audit.verify().fault).toBeUndefined()
  })

  it('is nothing at all after a store error, and the chain goes on [audit-7]', () => {
    const makeRoom = fillDisk(home.guard)
    const rows = count('audit_record')
    const big = () => void home.guard.store.prepare('insert into ballast values (zeroblob(100000))').run()
    expect(
      refusalOf(() =>
        gate.group(() => {
          gate.admit(own(), () => undefined)
          gate.admit(own(), big)
        }),
      ).code,
    ).toBe('store_unavailable')
    expect(count('audit_record')).toBe(rows)
    makeRoom()
    gate.admit(own(), () => undefined)
    expect(home.guard.audit.verify().fault).toBeUndefined()
  })
})

describe('over a long run of random calls (I1, T22)', () => {
  it('every effect has exactly one record, and its decision stands [audit-1]', () => {
    const seed = 'gate-fuzz-1'
    const random = createSeededRandom(seed)
    const operations = Object.keys(OPERATIONS) as OperationName[]
    const automation = { kind: 'automation', id: 't', actions: ['task.submit', 'task.list'] } as const
    const device = { kind: 'device', id: 'd', rights: ['view', 'stop'] } as const
    const hub = { kind: 'hub', id: 'dispatcher' } as const
    const principals = [
      OPERATOR,
      OPERATOR,
      agent,
      agent,
      agentPrincipal('survey-lead'),
      hub,
      WATCHDOG,
      automation,
      device,
    ]
    const conditions = ['disk_low', 'operator_request', 'lease_lapsed'] as const
    const bag = [askedFor('echo'), { agent: 'nobody' }, {}, { agent: '__proto__' }]
    const effects = new Map<number, { operation: OperationName; auditSeq: number }>()
    // Each refusal by itself: that those beyond the first of a minute are summed is shown in refusals.test.ts.
    recordEach(home.guard)
    const { store, modes } = home.guard
    store.prepare('create table done (n integer primary key, operation text) strict').run()
    let admitted = 0
    let refused = 0
    for (let step = 1; step <= 3000; step += 1) {
      // Normal at times, and then one submission, so that what only normal permits is admitted, however many operations there are to pick from.
      const isPlain = step % 300 === 0
      if (isPlain) for (const name of conditions) modes.clear(name)
      else if (random.below(40) === 0) {
        const name = random.pick(conditions)
        if (modes.has(name)) modes.clear(name)
        else modes.raise(name, 'fuzz')
      }
      const operation = isPlain ? 'task.submit' : random.pick(operations)
      const call: Call = {
        principal: isPlain ? OPERATOR : random.pick(principals),
        operation,
        resource: `step:${step}`,
        facts: isPlain ? askedFor('echo') : random.pick(bag),
        ...(random.below(2) === 0 ? { burn: nonce(`n${random.below(1500)}`) } : {}),
        ...(random.below(10) === 0 ? { recheck: ended } : {}),
      }
      const run = (grant: Grant | StopGrant) => {
        store.prepare('insert into done values (?, ?)').run(step, operation)
        if (random.below(8) === 0) throw random.below(2) === 0 ? new HubError('conflict') : new TypeError('bug')
        effects.set(step, { operation, auditSeq: grant.kind === 'grant' ? grant.auditSeq : 0 })
      }
      const records = home.guard.audit.head().size
      try {
        if (OPERATIONS[operation].standing === 'stop') gate.admitStop(call, run)
        else gate.admit(call, run)
        admitted += 1
      } catch (thrown) {
        expect(thrown, `seed ${seed}, step ${step}`).toBeInstanceOf(HubError)
        expect(home.guard.audit.head().size - records, `seed ${seed}, step ${step}`).toBe(1)
        refused += 1
      }
    }
    expect(admitted).toBeGreaterThan(150)
    expect(refused).toBeGreaterThan(150)
    const done = store.prepare('select n, operation from done order by n').all() as {
      n: number
      operation: OperationName
    }[]
    expect(done.map(({ n }) => n)).toEqual([...effects.keys()])
    const disclosing = new Set<OperationName>(['artifact.get', 'task.logs', 'session.logs', 'session.turns'])
    const recordsOf = store.prepare(
      `select seq, action, outcome, decision_id as id, (select count(*) from decision where decision_id = audit_record.decision_id) as decisions
       from audit_record where resource = ?`,
    )
    const standings = new Set<string>()
    for (const { n, operation } of done) {
      const { standing, audit } = OPERATIONS[operation]
      const found = recordsOf.all(`step:${n}`) as {
        seq: number
        action: string
        outcome: string
        id: string | null
        decisions: number
      }[]
      if (standing === 'read' && !disclosing.has(operation)) {
        expect(found).toEqual([])
        continue
      }
      standings.add(standing)
      expect(found, `seed ${seed}, step ${n}`).toHaveLength(1)
      expect(found[0]).toMatchObject({ action: audit, outcome: 'ok' })
      // Stopping asks no policy; what the hub writes down after the fact is decided by the built-in rule.
      if (standing === 'stop') expect(found[0]?.id).toBeNull()
      else if (standing === 'record') expect(found[0]?.id).toBe('built-in')
      else expect(found[0]?.decisions, `seed ${seed}, step ${n}`).toBe(1)
      if (standing !== 'stop') expect(found[0]?.seq).toBe(effects.get(n)?.auditSeq)
    }
    expect([...standings].sort()).toEqual([
      'approve',
      'mending',
      'new_work',
      'own',
      'presence',
      'read',
      'record',
      'stop',
    ])
    expect(home.guard.audit.verify().fault).toBeUndefined()
    // Three thousand commits: seconds, but on a disk that others use too.
  })
})

it('T21, I1: rules that were read again do not rule if the record of that is not written', () => {
  const { rules, policy } = home.guard
  const file = join(home.folder, 'policy', 'data.json')
  const before = policy.active()
  const data = JSON.parse(readFileSync(file, 'utf8')) as { agents: Record<string, { submit?: boolean }> }
  data.agents.echo = { ...data.agents.echo, submit: false }
  writeFileSync(file, JSON.stringify(data))
  const reload = (then: () => void) =>
    gate.admit({ principal: OPERATOR, operation: 'policy.reload', resource: 'policy' }, () => {
      rules.reload()
      then()
    })
  expect(() =>
    reload(() => {
      throw new HubError('conflict', 'it is undone')
    }),
  ).toThrow('it is undone')
  expect(policy.active()).toBe(before)
  reload(() => undefined)
  expect(policy.active().dataDigest).not.toBe(before.dataDigest)
})
