/** Fault B2: what a start finds at once and what right after it; either makes the hub safe, with an alert, and it starts all the same (T83, X14). */
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
import { openGuardHome } from '../support/guard-home.ts'
import { createHarness, type Harness } from '../support/hub-harness.ts'

async function tampered(sql: string): Promise<Harness> {
  const h = await createHarness({ agents: {} })
  for (let n = 0; n < 6; n += 1) await h.operator('POST', '/v1/policy/reload', {})
  h.hub.guard.checkpoints.take()
  await h.stop()
  const file = new Database(join(h.home, 'hub.db'))
  for (const verb of ['update', 'delete']) file.exec(`drop trigger audit_record_is_append_only_${verb}`)
  file.exec(sql)
  file.close()
  await h.start()
  return h
}
const CALL = { principal: { kind: 'operator', id: 'operator' }, operation: 'health.show', resource: 'hub' } as const
const isSafe = (h: Harness) => [
  h.hub.guard.alerts.isOpen('audit_chain_broken'),
  h.hub.guard.modes.has('critical_alert'),
  h.hub.guard.alerts.isOpen('database_damaged'),
]

test('a tail that was cut below the newest signed head is found before anything begins', async () => {
  await using h = await tampered('delete from audit_record where seq > 3')
  expect(isSafe(h)).toEqual([true, true, false])
  expect((await h.operator('GET', '/v1/health')).status).toBe(200)
})

test('what a start checks makes the hub safe by itself, before the look behind it', () => {
  using home = openGuardHome()
  for (let n = 0; n < 6; n += 1) home.guard.gate.refuse(CALL, new HubError('schema_invalid', 'made up'))
  home.guard.checkpoints.take()
  home.guard.checkStart()
  expect(home.guard.modes.has('critical_alert')).toBe(false)
  home.guard.store.prepare('drop trigger audit_record_is_append_only_delete').run()
  home.guard.store.prepare('delete from audit_record where seq > 3').run()
  const guard = home.reopen()
  expect(guard.modes.has('critical_alert')).toBe(false)
  guard.checkStart()
  expect([guard.alerts.isOpen('audit_chain_broken'), guard.modes.has('critical_alert')]).toEqual([true, true])
})

test('a record changed long ago is found right after the start, without anybody asking', async () => {
  await using h = await tampered("update audit_record set reason = 'other' where seq = 2")
  await h.pumped(h.hub.looked())
  expect(isSafe(h)).toEqual([true, true, false])
})

test('a home that is whole is looked through and stays normal', async () => {
  await using h = await tampered("update meta set value = value where key = 'epoch'")
  await h.pumped(h.hub.looked())
  expect(isSafe(h)).toEqual([false, false, false])
  expect((await h.operator('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true, firstBad: null, witness: null })
  const page = (await h.operator('GET', '/v1/audit?action=hub.unheard&limit=5')).body
  expect(page).toMatchObject({ records: [], next: null, searchedTo: 1 })
})
