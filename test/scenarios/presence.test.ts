/** A heartbeat at the hub: recorded with who gave it, passed on with its source, answered with what comes next and what waits. */
import { expect, test } from 'vitest'
import { openFakeWatchdog } from '../support/fake-watchdog.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

test('S1-25: a heartbeat on the operator’s socket is recorded, passed on as strong, and answered with the deadlines and how many tasks are held [presence-8, presence-17, away-16]', async () => {
  await using h = await createHarness({ agents: { one: { script: puppet } } })
  const watchdog = await openFakeWatchdog(h.home)
  try {
    watchdog.answers['/v1/heartbeat'] = { dueAtMs: 5, safeAtMs: 6, stopAtMs: 7, zone: 'Europe/Berlin' }
    await h.submit('one', {}, { hold: true })
    await h.submit('one', {}, { hold: true })
    const said = await h.operator('POST', '/v1/heartbeat', { note: 'here' })
    expect(said).toMatchObject({
      status: 200,
      body: { dueAtMs: 5, safeAtMs: 6, stopAtMs: 7, zone: 'Europe/Berlin', held: 2 },
    })
    expect(watchdog.heard.filter(({ path }) => path === '/v1/heartbeat').map(({ body }) => body)).toEqual([
      { note: 'here', source: 'cli' },
    ])
    expect(h.audit().filter(({ action }) => action === 'operator.heartbeat_given')).toMatchObject([
      { outcome: 'ok', principal: 'operator' },
    ])
  } finally {
    await watchdog.close()
  }
})
