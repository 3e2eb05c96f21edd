/** Fault B3: the hub seals a month that has ended and drops its table when retention says so, each drop a record; what reads the log sees all of it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import { createHarness } from '../support/hub-harness.ts'

test('a month that ended longer ago than retention.audit leaves the database with a record, and never while an export is under way [audit-16]', async () => {
  await using h = await createHarness({ agents: {} })
  for (let n = 0; n < 5; n += 1) await h.operator('POST', '/v1/policy/reload', {})
  const size = h.hub.guard.audit.head().size
  const beside = async (sql: string) => {
    await h.stop()
    const file = new Database(join(h.home, 'hub.db'))
    file.exec(sql)
    file.close()
    await h.start()
  }
  // As if all of it had been in another month, long ago: the first record of now ends it.
  await beside("update audit_month set name = '2001-01'")
  await h.operator('POST', '/v1/policy/reload', {})
  await beside("update audit_month set ended_at_ms = 1 where state = 'ended'")
  const { guard, work } = h.hub
  const { upkeep } = work
  await guard.sealing.round()
  expect(existsSync(join(h.home, 'audit', '2001-01.jsonl.gz'))).toBe(true)
  upkeep.pauses.piece('an audit export', false)
  await upkeep.dropMonths()
  expect(guard.sealing.months()[0]?.state).toBe('sealed')
  upkeep.pauses.piece('an audit export', true)
  // One that begins while the file is read back is asked for too.
  const dropping = upkeep.dropMonths()
  upkeep.pauses.piece('an audit export', false)
  await dropping
  expect(guard.sealing.months()[0]?.state).toBe('sealed')
  upkeep.pauses.piece('an audit export', true)
  await upkeep.dropMonths()
  expect(guard.sealing.months()[0]?.state).toBe('dropped')
  const { records } = (await h.operator('GET', '/v1/audit?limit=100')).body as {
    records: { seq: number; effect: string }[]
  }
  expect(records.map(({ effect }) => effect)).toContain('audit month 2001-01')
  expect(records.at(-1)?.seq).toBe(1)
  expect(records.length).toBeGreaterThan(size)
  expect((await h.operator('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true })
})

test('a hub that stops does not wait for a month to be sealed or dropped', async () => {
  await using h = await createHarness({ agents: {} })
  const { sealing } = h.hub.guard
  const begun: string[] = []
  sealing.round = (signal) => {
    begun.push('round')
    return new Promise((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }))
  }
  await h.clock.advance(61_000)
  await h.stop()
  expect(begun).toEqual(['round'])
})
