/** When the log is signed, and by which key (S1-64, X14). */
import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
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
