/** Going on after a witness mismatch, while agents work: the real watch over a hub's real answers (T82, X14). */
import { expect, test } from 'vitest'
import { createHarness, worker } from '../support/hub-harness.ts'
import { openRealWatch } from '../support/real-watch.ts'

test('the head that was shown is accepted although the log went on; the hash of another record is not, and the watch starts again from there [cond-22]', async () => {
  await using h = await createHarness({ agents: { echo: { script: worker(() => 'done') } } })
  const w = await openRealWatch(h)
  try {
    h.hub.guard.checkpoints.take()
    expect(await w.round()).toEqual([])
    // What the watchdog is shown next does not follow, as after a restored database.
    const { audit, modes } = h.hub.guard
    w.watch.witness({ auditSize: 0, auditHead: '', checkpoints: [] })
    expect(await w.round()).toContain('witness_mismatch')
    expect(modes.has('witness_mismatch')).toBe(true)
    const resume = (acceptHead: string) => h.operator('POST', '/v1/mode/resume', { acceptHead })
    const { body } = await h.operator('GET', '/v1/audit/verify')
    expect(body).toMatchObject({ ok: false, witness: { asked: true } })
    const shown = String(body.head)
    // Every refusal is a record of its own, so the earlier head is no longer the head.
    for (const hash of ['f'.repeat(64), String(audit.hashAt(1)), String(audit.hashAt(audit.head().size - 1))])
      if (hash !== shown) expect((await resume(hash)).body.code, hash).toBe('conflict')
    const latest = audit.head().head
    expect(latest).not.toBe(shown)
    expect((await resume(latest)).body.code, 'nobody was shown it').toBe('conflict')
    expect([modes.has('witness_mismatch'), await w.round()]).toEqual([
      true,
      expect.arrayContaining(['witness_mismatch']),
    ])
    expect((await resume(shown)).status).toBe(200)
    expect(modes.has('witness_mismatch')).toBe(false)
    expect(await w.round()).not.toContain('witness_mismatch')
    expect(w.watch.status()).toMatchObject({ conditions: [], witness: { size: expect.any(Number) } })
    expect(modes.has('witness_mismatch')).toBe(false)
    expect((await h.operator('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true, witness: { asked: true } })
  } finally {
    w.close()
  }
})

test('a witness that starts again is shown the newest checkpoint, and is up to date within one round [watch-49]', async () => {
  await using h = await createHarness({ agents: { echo: { script: worker(() => 'done') } } })
  const { audit, checkpoints } = h.hub.guard
  for (let n = 0; n < 70; n += 1) {
    await h.operator('POST', '/v1/policy/reload', {})
    checkpoints.take()
  }
  expect(checkpoints.since(0)).toHaveLength(64)
  expect(checkpoints.forWitness(0).map(({ size }) => size)).toEqual([audit.head().size])
  const w = await openRealWatch(h)
  try {
    const { size, head } = audit.head()
    await w.round()
    expect(w.watch.status().witness).toEqual({ size, head })
  } finally {
    w.close()
  }
})
