/** Fault B2: what a start finds at once and what right after it; either makes the hub safe, with an alert, and it starts all the same (T83, X14). */
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
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
