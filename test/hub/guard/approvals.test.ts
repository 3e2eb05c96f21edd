/** What waits for a person, at the door itself: used once, given back by an effect that throws, never while the store fails; its clock and its limits (D-R9, S2-26..S2-28). */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest'
import { HubError } from '../../../hub/base/errors.ts'
import { actOf, changedParts, mayBeAsked, tierOf } from '../../../hub/guard/acts.ts'
import { createWorkClock } from '../../../hub/guard/conditions/work-clock.ts'
import type { Call } from '../../../hub/guard/gate.ts'
import { type AskGrant, assertAskGrant, assertGrant, type Grant, mintAskGrant } from '../../../hub/guard/grant.ts'
import { hubPrincipal, OPERATOR } from '../../../hub/guard/principal.ts'
import { APPROVAL_KINDS, limitOf, ON_TIMEOUT, TIER_LIMITS, TIERS } from '../../../hub/protocol/approval.ts'
import { OPERATIONS, type OperationName } from '../../../hub/protocol/operations.ts'
import { openStore } from '../../../hub/store/database.ts'
import { createMeta } from '../../../hub/store/meta.ts'
import { migrate, shippedMigrations } from '../../../hub/store/migrations.ts'
import { askWhere } from '../../support/asking-rules.ts'
import { createFakeClock } from '../../support/fake-clock.ts'
import { type GuardHome, openGuardHome } from '../../support/guard-home.ts'
import { agentPrincipal, askedFor } from '../../support/policy-fixture.ts'

let home: GuardHome
beforeEach(() => {
  home = openGuardHome()
  home.guard.modes.clear('lease_pending')
})
afterEach(() => home[Symbol.dispose]())

const submit = (change: Partial<Call> = {}): Call => ({
  principal: OPERATOR,
  operation: 'task.submit',
  resource: 'task',
  facts: askedFor('echo'),
  payloadHash: 'a'.repeat(64),
  ...change,
})
const asksAll = () => askWhere(home.guard, ({ operation }) => (operation === 'task.submit' ? 'sure?' : undefined))
function refusalOf(run: () => unknown): HubError {
  try {
    run()
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(HubError)
    return thrown as HubError
  }
  throw new Error('it was admitted')
}
const approve = (id: unknown, yes = true) =>
  home.guard.gate.admit(
    { principal: OPERATOR, operation: 'approval.answer', resource: `approval:${id}`, restricts: !yes },
    (grant) => home.guard.approvals.answer(grant, String(id), yes, ''),
  )
const stateOf = (id: unknown) => home.guard.approvals.find(String(id))?.state

describe('an act that a rule asks about', () => {
  it('is admitted once; an effect that throws gives the approval back; a decision is written when it counts [ask-4]', () => {
    asksAll()
    const { gate, store } = home.guard
    const { approval } = refusalOf(() => gate.admit(submit(), () => 'done')).facts
    expect(stateOf(approval)).toBe('asked')
    approve(approval)
    const fails = () => {
      throw new HubError('conflict', 'no room')
    }
    expect(refusalOf(() => gate.admit(submit(), fails)).code).toBe('conflict')
    expect(stateOf(approval)).toBe('approved')
    // Undone as a whole, and given back too.
    expect(() =>
      store.transaction(() => {
        store.savepoint(() => {
          store.prepare(`update approval set state = 'used'`).run()
          throw new Error('undone')
        })
      }),
    ).toThrow('undone')
    expect(gate.admit(submit(), () => 'done')).toBe('done')
    expect(stateOf(approval)).toBe('used')
    const record = home.records().at(-1)
    expect(record).toMatchObject({ outcome: 'ok', reason: `sure?; approval ${approval} by operator` })
    expect(
      store.prepare('select result from decision where decision_id = ?').pluck().get(record?.decision_id),
    ).toContain('"effect":"ask"')
    expect(refusalOf(() => gate.admit(submit(), () => 'again')).facts.approval).not.toBe(approval)
  })

  it('is that act and no other: not of another principal, operation, thing, payload, facts, rules or what it stands on [ask-2]', () => {
    const parts = fc.record({
      principal: fc.constantFrom(OPERATOR, agentPrincipal('echo'), hubPrincipal('dispatcher')),
      operation: fc.constantFrom<OperationName>('task.submit', 'task.delegate', 'message.send'),
      resource: fc.constantFrom('task:1', 'task:2'),
      payloadHash: fc.constantFrom('p', 'q'),
      facts: fc.constantFrom({ a: 1 }, { a: 2 }, {}),
      revision: fc.constantFrom('r1', 'r2'),
      bound: fc.constantFrom({}, { image: 'x' }, { image: 'y' }, { card: 'x' }),
    })
    fc.assert(
      fc.property(parts, parts, (one, two) => {
        const of = ({ revision, bound, ...call }: typeof one) => actOf({ ...call, act: () => ({ bound }) }, revision)
        const [a, b] = [of(one), of(two)]
        expect(a.act === b.act).toBe(JSON.stringify(one) === JSON.stringify(two))
        if (a.slot === b.slot) expect(changedParts(a.parts, b.parts) === '').toBe(a.act === b.act)
      }),
    )
  })

  it('is not opened while the store fails, nor for what is only foreseen: that is a plain refusal [ask-10]', () => {
    askWhere(home.guard, ({ operation }) => (operation === 'task.log' ? 'sure?' : undefined))
    const { gate, store } = home.guard
    const log: Call = { principal: agentPrincipal('echo'), operation: 'task.log', resource: 'task:x', facts: {} }
    let refused: HubError | undefined
    gate.unstored(() => {
      refused = refusalOf(() => gate.admit(log, () => undefined))
    })
    expect(refused).toMatchObject({ code: 'needs_approval', facts: { decisionId: expect.any(String) } })
    expect(refused?.facts.approval).toBeUndefined()
    expect(refusalOf(() => gate.foresee(log)).code).toBe('needs_approval')
    expect(gate.foresee(log, true)).toEqual({ asks: { reason: 'sure?', rule: 'hub.home.asks' } })
    expect(store.prepare('select count(*) from approval').pluck().get()).toBe(0)
    expect(refusalOf(() => home.gateWith({}).admit(log, () => undefined)).facts.approval).toBeUndefined()
  })

  it('waits sixteen times at most for a device: who took it must not fill the disk with what it asks [ask-8]', () => {
    askWhere(home.guard, ({ operation }) => (operation === 'task.show' ? 'sure?' : undefined))
    const principal = { kind: 'device', id: 'phone', rights: ['view'] } as const
    const codes = Array.from({ length: 18 }, (_, nth) => {
      const look: Call = { principal, operation: 'task.show', resource: `task:${nth}`, facts: {} }
      return refusalOf(() => home.guard.gate.admit(look, () => undefined)).code
    })
    expect(codes).toEqual([...Array(16).fill('needs_approval'), 'rate_limited', 'rate_limited'])
  })

  it('is kept for ninety days after its end, whatever the wall clock jumps to', () => {
    asksAll()
    const { gate, approvals } = home.guard
    const { approval } = refusalOf(() => gate.admit(submit(), () => 'done')).facts
    approve(approval, false)
    const expire = () =>
      gate.admit(
        { principal: hubPrincipal('approvals'), operation: 'approval.expire', resource: `approval:${approval}` },
        (grant) => approvals.expire(grant, String(approval)),
      )
    home.clock.stepWall(100 * 86_400_000)
    expire()
    expect(stateOf(approval)).toBe('refused')
    home.clock.stepWall(-100 * 86_400_000)
    home.clock.jump(91 * 86_400_000)
    expire()
    expect(stateOf(approval)).toBeUndefined()
  })

  it('gives a grant that opens an approval and nothing else', () => {
    const asks = mintAskGrant({ principal: OPERATOR, operation: 'task.submit', resource: 'task' })
    expect(() => assertAskGrant(asks)).not.toThrow()
    expect(() => assertGrant(asks as unknown as Grant, 'task.submit')).toThrow()
    expect(() => assertAskGrant({ ...asks } as AskGrant)).toThrow()
    let grant: Grant | undefined
    home.guard.gate.admit(submit(), (given) => {
      grant = given
    })
    expect(() => assertAskGrant(grant as unknown as AskGrant)).toThrow()
  })

  it('cannot be what answers, what cannot wait, or what is never refused [ask-10]', () => {
    const never = Object.keys(OPERATIONS).filter((name) => !mayBeAsked(name as OperationName))
    expect(never).toEqual(
      expect.arrayContaining(['approval.answer', 'approval.list', 'operator.heartbeat', 'lease.renew']),
    )
    for (const [name, { standing }] of Object.entries(OPERATIONS))
      if (standing === 'stop' || standing === 'presence' || standing === 'record') expect(never).toContain(name)
    expect(never).not.toContain('task.dispatch')
    expect(
      ['task.show', 'message.send', 'task.dispatch', 'device.add', 'retention.prune'].map((name) =>
        tierOf(name as OperationName),
      ),
    ).toEqual(['read', 'write', 'execute', 'destructive', 'destructive'])
  })

  it('that was approved and not used by a person ends after as long again; a question answered yes does not', async () => {
    asksAll()
    const { gate, approvals } = home.guard
    const { approval } = refusalOf(() => gate.admit(submit(), () => 'done')).facts
    approve(approval)
    const expire = () =>
      gate.admit(
        { principal: hubPrincipal('approvals'), operation: 'approval.expire', resource: `approval:${approval}` },
        (grant) => approvals.expire(grant, String(approval)),
      )
    await home.clock.advance(86_399_000)
    expect(approvals.due()).toEqual([])
    await home.clock.advance(2_000)
    expect(approvals.due()).toHaveLength(1)
    expect(refusalOf(() => gate.admit(submit(), () => 'done')).code).toBe('needs_approval')
    expire()
    expect(home.guard.approvals.find(String(approval))).toMatchObject({ state: 'expired' })
  })
})

describe('limits of what waits (S2-27, S2-28)', () => {
  test.each(APPROVAL_KINDS)(
    '%s: silence is never a yes, and how long it waits is said for every tier [ask-1]',
    (kind) => {
      for (const tier of TIERS)
        for (const running of [true, false]) {
          const { firstMs, waitMs, onTimeout } = limitOf(TIER_LIMITS, { kind, tier, running })
          expect(ON_TIMEOUT).toContain(onTimeout)
          const patient = kind === 'checkpoint' || kind === 'budget'
          const usualMs = running ? 1_800_000 : 86_400_000
          expect([firstMs, waitMs]).toEqual(patient ? [3_600_000, 86_400_000] : [usualMs, usualMs])
          if (patient) expect(onTimeout).toBe('defer')
        }
    },
  )

  test('D-R16, S2-30: a question about money is told after an hour and then daily, for thirty days; then it is a no, and an alert says so', async () => {
    const { gate, approvals, alerts, store, alertRows } = home.guard
    home.guard.modes.clear('lease_pending')
    // The guard alone has no tasks.
    store.prepare('pragma foreign_keys = off').run()
    const task = '00000000-0000-4000-8000-0000b0d9e7a5'
    const asked = { task, agent: 'lead', question: 'Task b0d9e7a5 has spent 1.60 of 2.00 USD. May it spend 2.00 more?' }
    const egress = { principal: hubPrincipal('egress'), operation: 'egress.settle', resource: `task:${task}` } as const
    const ask = () =>
      gate.admit(egress, (grant) => ({ id: approvals.askMoney(grant, { ...asked, facts: { moreUsd: 1 } }) }))
    const id = ask().id ?? ''
    expect(ask().id).toBeUndefined()
    const expire = () =>
      gate.admit(
        { principal: hubPrincipal('approvals'), operation: 'approval.expire', resource: `approval:${id}` },
        (grant) => approvals.expire(grant, id),
      )
    const reminders: number[] = []
    for (let hour = 1; hour <= 24 * 31 && approvals.find(id)?.state === 'asked'; hour += 1) {
      store.prepare('update approval set due_ms = due_ms - 3600000').run()
      for (const _ of approvals.due()) {
        reminders.push(hour)
        expire()
      }
    }
    expect(reminders.slice(0, 3)).toEqual([1, 25, 49])
    expect(reminders).toHaveLength(31)
    expect(approvals.find(id)).toMatchObject({ state: 'expired', ending: 'timed_out', answeredBy: null })
    expect(alertRows.open().map(({ cause }) => cause)).toContain(`unanswered:${id}`)
    expect(alerts.isOpen(`approval:${id}`)).toBe(false)
    // The no holds for this tree.
    expect(ask().id).toBeUndefined()
  })

  test('deferred, it is asked again with the same time, and told again; at the end it is a no; X10 [ask-1]', async () => {
    const limits = { ...TIER_LIMITS, execute: { waitMs: 60_000, waitRunningMs: 60_000, onTimeout: 'defer' as const } }
    home.guard.store.close()
    home[Symbol.dispose]()
    home = openGuardHome({ waits: limits })
    home.guard.modes.clear('lease_pending')
    asksAll()
    const { gate, approvals, alerts } = home.guard
    const { approval } = refusalOf(() => gate.admit(submit(), () => 'done')).facts
    const expire = () =>
      gate.admit(
        { principal: hubPrincipal('approvals'), operation: 'approval.expire', resource: `approval:${approval}` },
        (grant) => approvals.expire(grant, String(approval)),
      )
    expect(alerts.list()[0]?.text).toContain('then it is asked again, 30 times at most')
    for (let nth = 0; nth < 30; nth += 1) {
      await home.clock.advance(60_001)
      expect(expire()).toBeUndefined()
      expect(stateOf(approval)).toBe('asked')
    }
    expect(alerts.list()[0]?.text).toMatch(/^Nobody has answered yet\. A rule asks you/)
    await home.clock.advance(60_001)
    expect(expire()).toMatchObject({ id: approval, state: 'expired', ending: 'timed_out' })
    expect(alerts.list()).toEqual([])
  })
})

describe('the work clock', () => {
  test('counts only while new work is permitted, is written once a minute and at the end, and a crash only shortens it [ask-7]', async () => {
    const { modes, store } = home.guard
    const meta = createMeta(store)
    let writes = 0
    const counted = {
      ...meta,
      set(...given: Parameters<typeof meta.set>) {
        writes += 1
        meta.set(...given)
      },
    }
    const workClock = createWorkClock({ meta: counted, modes, clock: home.clock })
    const step = async (ms: number, condition?: 'disk_low') => {
      if (condition !== undefined) modes.raise(condition, '')
      workClock.look()
      await home.clock.advance(ms)
      if (condition !== undefined) modes.clear(condition)
      workClock.look()
    }
    await step(10_000)
    await step(500_000, 'disk_low')
    await step(20_000)
    expect(workClock.now()).toBe(30_000)
    for (let nth = 0; nth < 100; nth += 1) {
      await step(1000)
      workClock.save()
    }
    expect(writes).toBe(2)
    // As a crash leaves it: less, never more.
    const after = createWorkClock({ meta, modes, clock: home.clock }).now()
    expect(after).toBeLessThanOrEqual(workClock.now())
    expect(workClock.now() - after).toBeLessThanOrEqual(60_000)
    workClock.save(true)
    expect(createWorkClock({ meta, modes, clock: home.clock }).now()).toBe(130_000)
  })
})

test('a question of an earlier hub is still one after the update, and a kind or state that is none is refused by the table', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hub-approval-'))
  const store = openStore(join(folder, 'hub.db'))
  try {
    const clock = createFakeClock()
    const all = shippedMigrations()
    const before = all.filter(({ name }) => !/approval-acts/.test(name))
    migrate(store, before, clock.wallMs(), () => undefined)
    store.prepare('pragma foreign_keys = off').run()
    store.prepare(`insert into approval values ('q', 'ask_user', 'asked', 't', 's', 'm', 'well?', '', 5, null)`).run()
    migrate(store, all, clock.wallMs(), () => undefined)
    expect(store.prepare('select * from approval').get()).toMatchObject({
      ...{ id: 'q', kind: 'ask_user', state: 'asked', session: 's', ask_id: 'm', question: 'well?', tier: 'execute' },
      ...{ due_ms: 1_800_000, on_timeout: 'abort', act: null },
    })
    const insert = (kind: string, state: string, act: string | null) =>
      store
        .prepare(
          `insert into approval (id, kind, state, question, principal, tier, due_ms, wait_ms, on_timeout, asked_at_ms, act, slot)
           values (?, ?, ?, '', 'operator', 'read', 0, 0, 'abort', 0, ?, ?)`,
        )
        .run(`${kind}-${state}-${act}`, kind, state, act, act)
    for (const kind of APPROVAL_KINDS) if (kind !== 'act') insert(kind, 'asked', null)
    insert('act', 'asked', 'one')
    expect(() => insert('act', 'asked', null)).toThrow(/CHECK/)
    expect(() => insert('wish', 'asked', null)).toThrow(/CHECK/)
    expect(() => insert('plan', 'maybe', null)).toThrow(/CHECK/)
    // One open approval of one place.
    expect(() =>
      store
        .prepare(`insert into approval (id, kind, state, question, principal, tier, due_ms, wait_ms, on_timeout, asked_at_ms, act, slot)
      values ('two', 'act', 'asked', '', 'operator', 'read', 0, 0, 'abort', 0, 'other', 'one')`)
        .run(),
    ).toThrow(/UNIQUE/)
  } finally {
    store.close()
    rmSync(folder, { recursive: true })
  }
})
