import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { newUuid, systemRandom } from '../../hub/base/random.ts'
import { join as joinHub, type Transport } from '../../hub/client/agent/transport.ts'
import { createWire, LinkLost } from '../../hub/client/agent/wire.ts'
import { createHarness, forever, worker } from '../support/hub-harness.ts'

test('one task walks from submit to recycled, and leaves records but no container, no socket folder and no ledger entry', async () => {
  await using h = await createHarness({
    agents: { echo: { script: worker((agent) => agent.joined?.task.params), card: { capabilities: ['echo'] } } },
  })
  const id = await h.submit('echo', { word: 'hello' })
  await h.ended(id)
  expect(h.task(id)).toMatchObject({ state: 'succeeded', outcome: { outcome: 'succeeded', value: { word: 'hello' } } })
  await h.quiet()

  const [session, ...others] = h.sessionsOf(id)
  expect(others).toEqual([])
  expect(session).toMatchObject({ state: 'recycled', exitReason: 'done', generation: 2 })
  expect(existsSync(join(h.home, 'run', 's', session?.id ?? ''))).toBe(false)
  expect(h.hub.work.containment.ledger.list()).toEqual([])
  expect(h.hub.work.messaging.mailboxes.isOpen(session?.id ?? '')).toBe(false)

  const mine = h.audit().filter(({ action }) => !action.startsWith('lease'))
  const steps = mine.map(({ action, outcome }) => `${action} ${outcome}`)
  expect(steps).toEqual([
    'task.submitted ok',
    'task.dispatched ok',
    'session.provisioned ok',
    'session.observed ok',
    'session.joined ok',
    'task.result_given ok',
    'session.reaped ok',
    'session.reaped ok',
  ])
  const known = new Set(h.hub.guard.store.prepare('select decision_id from decision').pluck().all())
  for (const { action, decision_id } of mine) {
    if (action === 'session.reaped') expect(decision_id).toBeNull()
    else if (action === 'session.observed') expect(decision_id).toBe('built-in')
    else expect(known, action).toContain(decision_id)
  }
  expect(h.hub.guard.audit.verify().fault).toBeUndefined()
  const expected = /^the mode changed$|^no alert channel is configured/
  expect(h.complaints.filter(({ msg }) => !expected.test(msg))).toEqual([])
})

test('submitting twice with one idempotency key makes one task', async () => {
  await using h = await createHarness({ agents: { echo: { script: worker(() => 1) } } })
  const headers = { 'idempotency-key': 'k1' }
  const first = await h.operator('POST', '/v1/tasks', { agent: 'echo' }, headers)
  const second = await h.operator('POST', '/v1/tasks', { agent: 'echo' }, headers)
  expect((second.body.task as { id: string }).id).toBe((first.body.task as { id: string }).id)
  await h.quiet()
  expect(h.started.length).toBe(1)
})

test('what a task asks for beyond policy is cut away, and the session holds the rest', async () => {
  await using h = await createHarness({
    agents: {
      echo: {
        script: worker((agent) => agent.joined?.task.capabilities),
        card: { capabilities: ['read', 'write'], limits: { ttl: '2m' } },
        policy: { capabilities: ['read'], ttlMs: 60_000 },
      },
    },
  })
  const id = await h.submit('echo')
  await h.ended(id)
  expect(h.task(id).outcome?.value).toEqual(['read'])
  expect(h.sessionsOf(id)[0]?.authority).toMatchObject({ capabilities: ['read'], ttlMs: 60_000 })
})

test('an agent without a row in the policy takes no task, and the refusal is in the audit with its decision', async () => {
  await using h = await createHarness({
    agents: { echo: { script: worker(() => 1), policy: { submit: false } } },
  })
  await expect(h.submit('echo')).rejects.toThrow('403 policy_denied')
  await expect(h.submit('nobody')).rejects.toThrow('nobody')
  const refused = h.audit().filter(({ action, outcome }) => action === 'task.submitted' && outcome === 'refused')
  expect(refused).toHaveLength(2)
  expect(refused[0]?.decision_id).toMatch(/^[0-9a-f-]{36}$/)
  expect(h.hub.work.tasks.tasks({ limit: 10 })).toEqual([])
})

test('the line of the SDK joins, talks, lives through a killed hub, renews and hands in its result', async () => {
  let line: Transport | undefined
  let losses = 0
  await using h = await createHarness({
    startWallMs: Date.now(),
    agents: {
      sdk: {
        script: async (agent) => {
          const wire = createWire(agent.container.socketPath)
          const exchange: typeof wire.exchange = (asked) =>
            wire.exchange(asked).catch((thrown) => {
              if (thrown instanceof LinkLost) losses += 1
              throw thrown
            })
          const { transport } = await joinHub({ ...wire, exchange }, performance.now() + 120_000)
          line = transport
          await forever(agent).catch(() => transport.close())
        },
      },
    },
  })
  const id = await h.submit('sdk')
  await h.until(() => line !== undefined, 'the SDK has joined', 1)
  const send = (kind: string, body: unknown) => {
    const envelope = Buffer.from(JSON.stringify({ id: newUuid(systemRandom, Date.now()), kind, body }))
    return (
      line?.call({ method: 'POST', path: '/v1/send', body: envelope, patient: true }) ?? Promise.reject(new Error())
    )
  }
  await h.pumped(send('progress', { text: 'begun' }), 1)
  expect(h.hub.work.catalogue.journal.progressOf(id)).toMatchObject({ text: 'begun' })
  let restored = 0
  line?.onRestored(() => {
    restored += 1
  })
  await h.kill()
  const result = send('result', { outcome: 'succeeded', value: 'over the restart' })
  // It has met the dead hub before there is another.
  while (losses === 0) await new Promise((resolve) => setImmediate(resolve))
  await h.start()
  await h.pumped(result, 1)
  expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 1, outcome: { value: 'over the restart' } })
  expect(restored).toBe(1)
  await h.quiet()
})
