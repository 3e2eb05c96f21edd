/** What comes after the end of a task (S4-41): kept beside it, and accepted as a task of its own. */

import { expect, test } from 'vitest'
import { EXIT_REASONS } from '../../hub/protocol/task.ts'
import { stopForSecurity } from '../../hub/work/dispatch/security-stop.ts'
import { createHarness, forever, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

const agents = { slow: { script: puppet, stubborn: true } }
const show = async (h: Harness, id: string) =>
  (await h.operator('GET', `/v1/tasks/${id}`)).body as {
    task: { state: string; acceptedFrom?: string; artifacts: object[]; outcome: object | null }
    late?: { session: string; accepted: string | null; outcome: object; artifacts: object[] }[]
  }
/** One task that works, and how it was ended. */
async function ended(h: Harness, way: 'cancel' | 'stop' | 'ttl'): Promise<{ id: string; agent: TestAgent }> {
  const id = await h.submit('slow', {}, way === 'ttl' ? { ttlMs: 30_000 } : {})
  await h.working(1)
  const agent = h.started.at(-1) as TestAgent
  if (way === 'cancel') await h.operator('POST', `/v1/tasks/${id}/cancel`)
  if (way === 'stop') await h.operator('POST', `/v1/sessions/${agent.session}/stop`)
  await h.until(() => h.task(id).state !== 'running', 'its end', 100)
  return { id, agent }
}
const LATE = { outcome: 'succeeded', value: { n: 7 }, stopReason: 'end_turn' }

test.each(['cancel', 'stop', 'ttl'] as const)(
  'S4-41: after %s the end stays, what comes is kept as late, and the operator accepts it as a task of its own',
  async (way) => {
    await using h = await createHarness({ agents })
    const { id, agent } = await ended(h, way)
    const state = h.task(id).state
    expect(state).toBe(way === 'ttl' ? 'timed_out' : 'cancelled')
    await h.pumped(agent.put('report.md', 'whole'), 10)
    await h.pumped(agent.resultBody(LATE), 10)
    await h.quiet()

    const shown = await show(h, id)
    expect(shown.task).toMatchObject({ state, outcome: null, artifacts: [] })
    expect(shown.late).toMatchObject([
      { session: agent.session, accepted: null, outcome: LATE, artifacts: [{ name: 'report.md', size: 5 }] },
    ])
    const accepted = (await h.operator('POST', `/v1/tasks/${id}/accept`)).body.task as { id: string }
    expect(await show(h, accepted.id)).toMatchObject({
      task: { state: 'succeeded', acceptedFrom: id, outcome: LATE, artifacts: [{ name: 'report.md' }] },
    })
    expect((await show(h, id)).late).toMatchObject([{ accepted: accepted.id, artifacts: [] }])
    expect(h.task(id).state).toBe(state)
    expect((await h.operator('POST', `/v1/tasks/${id}/accept`)).body).toMatchObject({ code: 'already_resolved' })
    const records = h.audit().filter(({ action }) => ['task.accepted', 'task.finished'].includes(action))
    expect(records.at(-1)).toMatchObject({ action: 'task.accepted' })
  },
)

test('S4-41: after the end nothing but artifacts and one result is taken, and nothing from a session that is not trusted', async () => {
  await using h = await createHarness({ agents: { ...agents, quick: { script: puppet } } })
  const { id, agent } = await ended(h, 'cancel')
  const refused = async (envelope: object) => (await h.pumped(agent.send(envelope), 10)).status
  expect(await refused({ kind: 'log', body: { text: 'more' } })).toBe(401)
  expect(await refused({ kind: 'request', to: 'agent:quick', type: 'x.y', body: {} })).toBe(401)
  expect(await refused({ kind: 'result', body: LATE })).toBe(200)
  expect(await refused({ kind: 'result', body: { ...LATE, value: 'other' } })).toBe(401)
  expect((await show(h, id)).late).toMatchObject([{ outcome: LATE }])
  // Distrusted while it ends: shut out, and what it gave is withheld.
  await h.operator('POST', `/v1/sessions/${agent.session}/revoke`)
  expect((await show(h, id)).late).toBeUndefined()
  expect((await h.operator('POST', `/v1/tasks/${id}/accept`)).body).toMatchObject({ code: 'conflict' })
  await h.quiet()
})

test('S4-41: a session that was revoked or quarantined gives nothing any more; a task without a late result has nothing to accept', async () => {
  await using h = await createHarness({ agents })
  const id = await h.submit('slow')
  await h.working(1)
  const agent = h.started[0] as TestAgent
  await h.operator('POST', `/v1/sessions/${agent.session}/revoke`)
  await expect(h.pumped(agent.put('report.md', 'x'), 10)).rejects.toThrow()
  expect((await h.operator('POST', `/v1/tasks/${id}/accept`)).body).toMatchObject({
    ...{ code: 'conflict', detail: 'nothing came after the end of this task; `hub task retry` runs it again' },
  })
  expect((await h.operator('POST', '/v1/tasks/019b8d62-7a8a-75b9-be7c-0a4d4fa901c8/accept')).body).toMatchObject({
    code: 'unknown_task',
  })
})

test('S4-41: only a person or the clock leaves a session open for what comes late: one that was stopped for security never is, though nobody shut it out', async () => {
  await using h = await createHarness({ agents })
  const { agent } = await ended(h, 'cancel')
  const row = h.hub.work.tasks.session(agent.session)
  if (row === undefined) throw new Error('there is no session')
  const isOpen = EXIT_REASONS.filter((exitReason) => h.hub.work.catalogue.late.isOpen({ ...row, exitReason }))
  expect([...isOpen].sort()).toEqual(['cancelled', 'operator', 'ttl', 'unhealthy'])
})

/** It joins, asks for its mail once and then stands still; the test lets it go on. */
const held = async (agent: TestAgent) => {
  await agent.join()
  void agent.receive().catch(() => undefined)
  return forever(agent)
}
/** One that was ended because it showed no life, in its first second after that. */
async function hung(h: Harness): Promise<{ id: string; agent: TestAgent; endedAtMs: number }> {
  const id = await h.submit('held')
  await h.working(1)
  await h.until(() => h.task(id).state === 'failed', 'its end', 500)
  return { id, agent: h.started.at(-1) as TestAgent, endedAtMs: h.clock.wallMs() }
}
const heldAgents = { held: { script: held, stubborn: true } }

test('S4-41: one that hung is told so when it comes back, has ten seconds to hand in, and what it gives is kept beside the end of its task', async () => {
  await using h = await createHarness({ agents: heldAgents })
  const { id, agent, endedAtMs } = await hung(h)
  expect(h.task(id).error?.detail).toContain('no sign of life')
  expect(await h.pumped(agent.ask({ method: 'POST', path: '/v1/renew', body: {}, token: null }), 10)).toMatchObject({
    status: 401,
    body: { code: 'unauthenticated', handInMs: 10_000 },
  })
  await h.until(() => h.clock.wallMs() - endedAtMs > 8000, 'eight seconds', 100)
  await h.pumped(agent.put('half.txt', 'half'), 10)
  await h.pumped(agent.resultBody(LATE), 10)
  expect((await show(h, id)).task).toMatchObject({ state: 'failed', outcome: null, artifacts: [] })
  expect((await show(h, id)).late).toMatchObject([{ session: agent.session, outcome: LATE, artifacts: [{ size: 4 }] }])
  const accepted = (await h.operator('POST', `/v1/tasks/${id}/accept`)).body.task as { id: string }
  expect(await show(h, accepted.id)).toMatchObject({
    task: { state: 'succeeded', acceptedFrom: id, artifacts: [{ name: 'half.txt' }] },
  })
  expect(h.task(id).state).toBe('failed')
  await h.quiet()
})

test('S4-41: one that never comes back is gone after those ten seconds and the five of its stop; a stop of everything gives it neither', async () => {
  await using h = await createHarness({ agents: heldAgents })
  const first = await hung(h)
  await h.quiet()
  const tookMs = h.clock.wallMs() - first.endedAtMs
  expect(tookMs).toBeGreaterThanOrEqual(14_000)
  expect(tookMs).toBeLessThan(17_000)

  const second = await hung(h)
  const stopping = h.operator('POST', '/v1/shutdown', { reason: 'test', emergency: true })
  await h.until(() => h.engine.containers.size === 0, 'its container is gone')
  expect(h.clock.wallMs() - second.endedAtMs).toBeLessThan(7000)
  await stopping
})

test.each(['stop', 'revoke', 'misbehaves'] as const)(
  'S4-41: the ten seconds of one that hung end at once when it is stopped or shut out meanwhile (%s)',
  async (way) => {
    await using h = await createHarness({ agents: heldAgents })
    const { agent } = await hung(h)
    const { guard, work } = h.hub
    const atMs = h.clock.wallMs()
    if (way === 'misbehaves')
      stopForSecurity(
        { guard, tasks: work.tasks, late: work.catalogue.late },
        agent.session,
        'a token of another session',
      )
    else expect((await h.operator('POST', `/v1/sessions/${agent.session}/${way}`)).status).toBe(200)
    await h.until(() => h.engine.containers.size === 0, 'its container is gone', 500)
    expect(h.clock.wallMs() - atMs).toBeLessThan(7000)
    await h.quiet()
  },
)

test('S4-41: one that a monitor reported has no time to hand in, and nothing is taken from it', async () => {
  await using h = await createHarness({ agents: { slow: { script: puppet, stubborn: true, card: { restarts: 0 } } } })
  const [agent] = await h.bring('slow')
  const { losses, distrust, tasks, catalogue } = h.hub.work
  losses.reported(agent.session, 'a runtime monitor reported it: shell')
  distrust.quarantine.examine(agent.session)
  const row = tasks.session(agent.session)
  expect(row).toMatchObject({ state: 'recycling', exitReason: 'unhealthy' })
  if (row !== undefined) expect([catalogue.late.isOpen(row), catalogue.late.handInMs(row)]).toEqual([false, undefined])
  await h.quiet()
})

test('S4-41: a session that misbehaves while it ends is shut out, and what it had handed in is shown to nobody', async () => {
  await using h = await createHarness({ agents })
  const { id, agent } = await ended(h, 'cancel')
  await h.pumped(agent.resultBody(LATE), 10)
  expect((await show(h, id)).late).toMatchObject([{ outcome: LATE }])
  const { guard, work } = h.hub
  stopForSecurity({ guard, tasks: work.tasks, late: work.catalogue.late }, agent.session, 'a token of another session')
  expect((await show(h, id)).late).toBeUndefined()
  expect(h.task(id).state).toBe('cancelled')
  await h.quiet()
})
