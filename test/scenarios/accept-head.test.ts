/** Going on after a witness mismatch, agents at work meanwhile: the real watch over a hub's real answers (T82, X14). */
import { expect, test } from 'vitest'
import { createHarness, worker } from '../support/hub-harness.ts'

test('the head that was shown is accepted although the log went on, any other hash is not', async () => {
  await using h = await createHarness({ agents: { echo: { script: worker(() => 'done') } } })
  const { audit, modes } = h.hub.guard
  const { head } = audit.head()
  modes.raise('witness_mismatch', 'demanded by the watchdog')
  const resume = (acceptHead: string) => h.operator('POST', '/v1/mode/resume', { acceptHead })
  // Every refusal is a record of its own: what was the head is one no longer.
  for (let n = 0; n < 5; n += 1) expect((await resume('f'.repeat(64))).body.code).toBe('conflict')
  expect(audit.head().head).not.toBe(head)
  await resume(head)
  expect(modes.has('witness_mismatch')).toBe(false)
})

test('a witness that begins anew is shown the newest checkpoint, and is up to date within one round', async () => {
  await using h = await createHarness({ agents: { echo: { script: worker(() => 'done') } } })
  const { audit, checkpoints } = h.hub.guard
  for (let n = 0; n < 70; n += 1) {
    await h.operator('POST', '/v1/policy/reload', {})
    checkpoints.take()
  }
  expect(checkpoints.since(0)).toHaveLength(64)
  expect(checkpoints.forWitness(0).map(({ size }) => size)).toEqual([audit.head().size])
})
