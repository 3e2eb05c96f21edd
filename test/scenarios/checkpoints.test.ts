/** When the log is signed, and by which key (S1-64, X14). */
import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SIGNED_RECORDS } from '../../hub/guard/audit/log.ts'
import { createAuditHome, entry } from '../support/audit-home.ts'
import { createHarness, type Harness } from '../support/hub-harness.ts'

const signed = (h: Harness) => h.hub.guard.checkpoints.newest()?.size ?? 0

test('two seconds of activity are signed, two of rest are not [audit-20]', async () => {
  await using h = await createHarness({ agents: {} })
  const { audit, checkpoints } = h.hub.guard
  await h.clock.advance(5000)
  const before = checkpoints.count()
  await h.clock.advance(60_000)
  expect([checkpoints.count() - before, signed(h)], 'at rest').toEqual([0, audit.head().size])
  for (let burst = 1; burst <= 3; burst += 1) {
    await h.operator('POST', '/v1/policy/reload', {})
    expect(signed(h)).toBeLessThan(audit.head().size)
    await h.clock.advance(2000)
    expect(signed(h)).toBe(audit.head().size)
    expect(checkpoints.count()).toBe(before + burst)
  }
})

test('each 65 536th record is signed in its own transaction, whoever writes it and however long the loop stands still, and one that is undone leaves no signature [audit-20]', async () => {
  using log = createAuditHome()
  expect(SIGNED_RECORDS).toBe(65_536)
  log.audit.onEvery(100, log.checkpoints.take)
  const append = (count: number) => {
    for (let n = 0; n < count; n += 1) log.audit.append(entry(`task:${n}`))
  }
  log.store.transaction(() => append(99))
  expect(log.checkpoints.count()).toBe(0)
  const undone = () =>
    log.store.transaction(() => {
      append(1)
      throw new Error('undone')
    })
  expect(undone).toThrow('undone')
  log.audit.reload()
  expect([log.checkpoints.count(), log.audit.head().size]).toEqual([0, 99])
  // One commit of many messages, and the records that waited for the store.
  log.store.transaction(() => append(151))
  for (let n = 0; n < 60; n += 1) log.audit.buffer(entry('task:waited'), 'stop')
  log.audit.flush()
  const sizes = log.checkpoints.since(0).map(({ size }) => size)
  expect([sizes, log.audit.head().size]).toEqual([[100, 200, 300], 310])
  expect((await log.walk()).firstBad).toBeNull()
})

test('the hub itself signs so: its own log is bound to its own heads', async () => {
  await using h = await createHarness({ agents: {} })
  const { audit, checkpoints, store } = h.hub.guard
  const before = checkpoints.count()
  store.transaction(() => {
    while (audit.head().size < SIGNED_RECORDS) audit.append(entry('task:many'))
  })
  expect([checkpoints.newest()?.size, checkpoints.count() - before]).toEqual([SIGNED_RECORDS, 1])
})

test('the key of the signed heads signs no token, and is not rotated with theirs [audit-22]', async () => {
  await using h = await createHarness({ agents: {} })
  const file = (name: string) => readFileSync(join(h.home, 'keys', name), 'utf8')
  expect(file('checkpoint.pub')).not.toBe(file('token.pub'))
  const { publicKey } = h.hub.guard.checkpoints.signer
  expect(createPublicKey(publicKey).export({ type: 'spki', format: 'pem' })).toBe(file('checkpoint.pub'))
  const before = file('checkpoint.pub')
  expect((await h.operator('POST', '/v1/keys/rotate', {})).status).toBe(200)
  expect(file('checkpoint.pub')).toBe(before)
  await h.clock.advance(3000)
  expect((await h.operator('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true })
})
