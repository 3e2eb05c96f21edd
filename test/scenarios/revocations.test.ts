/** Repairs while the store cannot be written: a revocation counts at once, in memory, and is recorded once the store can be written. */
import { expect, test } from 'vitest'
import { openFrameLine } from '../support/frame-line.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

test('I6, S1-45: a session is revoked while the store cannot be written: its line is cut, its token refused, its container goes [mode-8]', async () => {
  await using h = await createHarness({ agents: { one: { script: puppet } } })
  const [one] = await h.bring('one')
  const line = await h.pumped(openFrameLine(one))
  h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' }))
  const { status } = await h.operator('POST', `/v1/sessions/${one.session}/revoke`, {})
  expect(status).toBe(200)
  await h.until(() => line.closed !== undefined, 'its line is cut')
  await h.until(() => one.ended.aborted, 'its container is stopped')
  await h.kill()
  await h.start()
  const task = () => h.task(one.joined?.task.task ?? '')
  await h.until(() => h.sessionsOf(task().id)[0]?.state === 'recycled', 'it is written down', 2000)
  const { status: refused } = await h
    .pumped(one.send({ kind: 'log', to: 'hub', body: { level: 'info', text: 'x' } }))
    .catch(() => ({ status: 401 }))
  expect(refused).toBe(401)
})
