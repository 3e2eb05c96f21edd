/** Fault B2: what a start finds at once and what right after it; either makes the hub safe, with an alert, and it still starts (T83, X14). */
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

test('a tail that was cut below the newest signed head is found before anything begins [audit-18]', async () => {
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

test('fault F5: so is a record that was changed long ago, in a small log always, in a long one where the sample falls on it', () => {
  using home = openGuardHome()
  for (let n = 0; n < 6; n += 1) home.guard.gate.refuse(CALL, new HubError('schema_invalid', 'made up'))
  home.guard.checkpoints.take()
  home.guard.store.prepare('drop trigger audit_record_is_append_only_update').run()
  home.guard.store.prepare("update audit_record set reason = 'other' where seq = 2").run()
  const guard = home.reopen()
  guard.checkStart()
  expect([guard.alerts.isOpen('audit_chain_broken'), guard.modes.has('critical_alert')]).toEqual([true, true])
})

test('fault C28: a machine that sleeps through each night looks through the whole log when it wakes, once the last look is 36 hours old [audit-12]', async () => {
  await using h = await createHarness({ agents: {} })
  await h.pumped(h.hub.looked())
  const { store, alerts, lookedAtMs } = h.hub.guard
  const first = lookedAtMs()
  expect(first).toBeGreaterThan(0)
  store.prepare('drop trigger audit_record_is_append_only_update').run()
  store.prepare("update audit_record set reason = 'other' where seq = 1").run()
  h.clock.suspend(35 * 3_600_000)
  await h.clock.advance(65_000)
  expect([lookedAtMs(), alerts.isOpen('audit_chain_broken')]).toEqual([first, false])
  h.clock.suspend(2 * 3_600_000)
  await h.until(() => alerts.isOpen('audit_chain_broken'), 'the look after waking', 5000)
  const second = Number(lookedAtMs())
  expect(second).toBeGreaterThan(Number(first) + 36 * 3_600_000)
  await h.clock.advance(125_000)
  expect(lookedAtMs(), 'and not again a minute later').toBe(second)
})

test('a record changed long ago is found right after the start, without anybody asking [audit-18]', async () => {
  await using h = await tampered("update audit_record set reason = 'other' where seq = 2")
  await h.pumped(h.hub.looked())
  expect(isSafe(h)).toEqual([true, true, false])
})

test('a home that is whole is looked through and stays normal', async () => {
  await using h = await tampered("update meta set value = value where key = 'epoch'")
  await h.pumped(h.hub.looked())
  expect(isSafe(h)).toEqual([false, false, false])
  expect((await h.operator('GET', '/v1/audit/verify')).body).toMatchObject({
    ...{ ok: true, firstBad: null, witness: { asked: false } },
  })
  const page = (await h.operator('GET', '/v1/audit?action=hub.unheard&limit=5')).body
  expect(page).toMatchObject({ records: [], next: null, searchedTo: 1 })
})
