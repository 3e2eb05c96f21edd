import { expect, test } from 'vitest'
import { newestBundleVersion } from '../../../../hub/guard/policy/decisions.ts'
import type { PolicyInput } from '../../../../hub/guard/policy/engine.ts'
import {
  agentPrincipal,
  ask,
  askedFor,
  decisionTable,
  openDecisions,
  openPolicy,
  policyFolder,
} from '../../../support/policy-fixture.ts'

const operator = { kind: 'operator', id: 'operator' } as const
const submit = (agent: string | null): PolicyInput => ask('task.submit', operator, askedFor(agent))

function opened() {
  const folder = policyFolder()
  const policy = openPolicy(folder)
  const { database, rows } = decisionTable()
  return {
    folder,
    policy,
    rows,
    database,
    decisions: openDecisions(policy, database),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  }
}

test('S1-4: a decision is written once, under OPA decision log names, and remembered', () => {
  using it = opened()
  const first = it.decisions.decide(submit('echo'))
  expect(first).toMatchObject({
    effect: 'allow',
    rule: 'hub.tasks.submit',
    memoised: false,
    revision: it.policy.active().revision,
  })
  expect(first.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  expect(it.decisions.decide(submit('echo'))).toEqual({ ...first, memoised: true })
  expect(it.policy.status().memoSize).toBe(1)
  const [row, ...rest] = it.rows()
  expect(rest).toEqual([])
  expect(row).toMatchObject({
    decision_id: first.id,
    path: 'hub/admit/decision',
    erased: '[]',
    bundle_version: it.policy.status().version,
  })
  expect(JSON.parse(String(row?.input))).toEqual(submit('echo'))
  expect(JSON.parse(String(row?.result))).toEqual({ effect: 'allow', reason: 'allowed', rule: 'hub.tasks.submit' })
  expect(JSON.parse(String(row?.labels))).toEqual({ instance: 'test' })
  expect(JSON.parse(String(row?.bundles)).hub.revision).toBe(it.policy.status().revision)
})

test('a denial is written and remembered like any decision', () => {
  using it = opened()
  const denied = it.decisions.decide(submit('nobody'))
  expect(denied).toMatchObject({ effect: 'deny', reason: expect.stringContaining('add agents.nobody') })
  expect(it.decisions.decide(submit('nobody'))).toEqual({ ...denied, memoised: true })
  expect(it.rows()).toHaveLength(1)
})

const sender = agentPrincipal('survey-lead', { message: ['survey-reader'] })
const message = ask('message.send', sender, {
  kind: 'request',
  type: 'x',
  to: { agent: 'survey-reader' },
  relation: 'none',
})

test.for<[string, PolicyInput]>([
  ['generation', { ...message, principal: { ...sender, generation: 2 } }],
  ['session', { ...message, principal: { ...sender, session: 's-other' } }],
  ['authority', { ...message, principal: agentPrincipal('survey-lead') }],
  ['mode', { ...message, mode: 'degraded' }],
  ['operation', { ...message, operation: 'message.reply' }],
  ['target', { ...message, resource: { ...message.resource, to: { agent: 'echo' } } }],
  ['type', { ...message, resource: { ...message.resource, type: 'y' } }],
])('T23: another %s is another question', ([, other]) => {
  using it = opened()
  it.decisions.decide(message)
  expect(it.decisions.decide(other).memoised).toBe(false)
  expect(it.decisions.decide(message).memoised).toBe(true)
  expect(it.rows()).toHaveLength(2)
})

test('the code of a no is part of the decision, of its memo and of its row', () => {
  using it = opened()
  const unserved = ask('task.submit', { kind: 'operator', id: 'operator' }, askedFor(null, ['fly']))
  const denied = it.decisions.decide(unserved)
  expect(denied).toMatchObject({ effect: 'deny', code: 'no_capable_agent' })
  expect(denied.reason).toMatch(/^no agent that may take this task has fly/)
  expect(it.decisions.decide(unserved)).toEqual({ ...denied, memoised: true })
  expect(it.rows().map(({ result }) => JSON.parse(String(result)).code)).toEqual(['no_capable_agent'])
})

test('T23: a reload drops what is remembered, and the new data decides', () => {
  using it = opened()
  const before = it.decisions.decide(submit('echo'))
  const data = it.folder.readData()
  it.folder.writeData({ agents: { ...data.agents, echo: { ...data.agents.echo, submit: false } } })
  it.policy.reload()
  expect(it.policy.status().memoSize).toBe(0)
  const after = it.decisions.decide(submit('echo'))
  expect(after).toMatchObject({
    effect: 'deny',
    memoised: false,
    reason: 'agent echo takes no submitted tasks: set agents.echo.submit to true in policy/data.json',
  })
  expect(after.revision).not.toBe(before.revision)
})

test('T23: a reload that fails changes nothing, also not what is remembered', () => {
  using it = opened()
  const before = it.decisions.decide(submit('echo'))
  it.folder.writeData({})
  expect(() => it.policy.reload()).toThrow(expect.objectContaining({ code: 'policy_unavailable' }))
  expect(it.decisions.decide(submit('echo'))).toEqual({ ...before, memoised: true })
})

test('after a transaction that did not commit, a decision is written again', () => {
  using it = opened()
  const lost = it.database.transaction(() => {
    it.decisions.decide(submit('echo'))
    throw new Error('the disk is full')
  })
  expect(lost).toThrow('the disk is full')
  it.decisions.forget()
  const again = it.decisions.decide(submit('echo'))
  expect(it.rows().map((row) => row.decision_id)).toEqual([again.id])
})

test('a long input is stored as its digest, and not remembered', () => {
  using it = opened()
  const long = ask('session.provision', { kind: 'hub', id: 'containers' }, { body: { pad: 'x'.repeat(10_000) } })
  expect(it.decisions.decide(long)).toMatchObject({ effect: 'deny', memoised: false })
  expect(it.decisions.decide(long).memoised).toBe(false)
  const row = it.rows()[0]
  expect(String(row?.input).length).toBeLessThan(4097)
  expect(row).toMatchObject({
    erased: '["/principal","/resource"]',
    input_digest: expect.stringMatching(/^[0-9a-f]{64}$/),
  })
})

test('T20: a fault of the policy is a deny that is written but never remembered', () => {
  using folder = policyFolder()
  let failing = false
  const policy = openPolicy(folder)
  const active = policy.active()
  const faulty = {
    ...policy,
    active: () => ({
      ...active,
      engine: {
        evaluate: (text: string) =>
          failing
            ? { effect: 'deny' as const, reason: 'trap', rule: 'hub.guard.fault', fault: true }
            : active.engine.evaluate(text),
      },
    }),
  }
  const { database, rows } = decisionTable()
  const decisions = openDecisions(faulty, database)
  failing = true
  expect(decisions.decide(submit('echo'))).toMatchObject({ effect: 'deny', memoised: false })
  failing = false
  expect(decisions.decide(submit('echo'))).toMatchObject({ effect: 'allow', memoised: false })
  expect(rows()).toHaveLength(2)
})

test('T66: the memo is bounded, and what is in use stays in it', () => {
  using it = opened()
  const kept = it.decisions.decide(submit('echo'))
  for (let turn = 0; turn < 10_000; turn += 1) {
    it.decisions.decide(submit(`agent-${turn}`))
    if (turn % 500 === 0) expect(it.decisions.decide(submit('echo')).id).toBe(kept.id)
  }
  expect(it.policy.status().memoSize).toBeLessThanOrEqual(4096)
})

test('T21: the newest version decided by is known, and rows are never changed', () => {
  using it = opened()
  expect(newestBundleVersion(it.database)).toBe(0)
  it.decisions.decide(submit('echo'))
  expect(newestBundleVersion(it.database)).toBe(it.policy.status().version)
  expect(() => it.database.prepare("update decision set result = ''").run()).toThrow('append-only')
})
