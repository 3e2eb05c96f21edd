/** `session.show` with `hardening`: what the engine shows now is graded, at the operator's entrance (S1-51). */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createHarness, puppet } from '../support/hub-harness.ts'

interface Graded {
  pass: boolean
  checks: { name: string; pass: boolean; found: string }[]
}

test('S1-51: a session is graded by what the engine shows of it now; one altered field fails its check', async () => {
  await using h = await createHarness({ agents: { quiet: { script: puppet } } })
  const [agent] = await h.bring('quiet')
  const show = async (query = '') => (await h.operator('GET', `/v1/sessions/${agent.session}${query}`)).body
  const grade = async () => (await show('?hardening=true')).hardening as Graded

  expect(await show()).not.toHaveProperty('hardening')
  expect(await show('?hardening=false')).not.toHaveProperty('hardening')
  expect(await grade()).toMatchObject({ pass: true })

  h.engine.alterInspect = ({ HostConfig }) => void Object.assign(HostConfig ?? {}, { ReadonlyRootfs: false })
  const { pass, checks } = await grade()
  expect(pass).toBe(false)
  expect(checks.filter((check) => !check.pass)).toEqual([
    { name: 'read-only root', pass: false, found: 'HostConfig.ReadonlyRootfs is false, the profile says true' },
  ])
  expect((await show('?hardening=true')).session).toMatchObject({ id: agent.session })
})

test('S1-51: limits that were changed since are no fault of a session: it is graded by what it was made from', async () => {
  const config = { http: { port: 0 }, metrics: { port: 0 } }
  await using h = await createHarness({ agents: { quiet: { script: puppet } }, config })
  const [agent] = await h.bring('quiet')
  const { registry } = h.hub.work.catalogue
  const before = registry.find('quiet')?.limits.memoryBytes
  writeFileSync(join(h.home, 'hub.yaml'), JSON.stringify({ ...config, limits: { memory: '64MiB', pids: 20 } }))
  await h.until(() => registry.find('quiet')?.limits.memoryBytes !== before)
  // As for a session of an earlier hub, of which only that is kept.
  h.hub.guard.store.prepare('delete from session_card').run()
  await h.stop()
  await h.start()
  const { body } = await h.operator('GET', `/v1/sessions/${agent.session}?hardening=true`)
  expect((body.hardening as Graded).checks.filter(({ pass }) => !pass)).toEqual([])
})

test('one that has ended, and one that nobody knows, are refused by name', async () => {
  await using h = await createHarness({ agents: { quiet: { script: puppet } } })
  const [agent] = await h.bring('quiet')
  await h.operator('POST', `/v1/sessions/${agent.session}/stop`)
  await h.quiet()
  expect(await h.operator('GET', `/v1/sessions/${agent.session}?hardening=true`)).toMatchObject({
    status: 409,
    body: { code: 'conflict', detail: expect.stringContaining('it has no container to grade') },
  })
  const unknown = await h.operator('GET', '/v1/sessions/saaaaaaaaaaaaaaa?hardening=true')
  expect(unknown.body).toMatchObject({ code: 'unknown_session' })
  expect((await h.operator('GET', `/v1/sessions/${agent.session}?hardening=maybe`)).status).toBe(400)
})
