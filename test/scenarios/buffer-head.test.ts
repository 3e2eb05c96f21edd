/** While the store fails the witness still hears of what happens: how much waits, and its head (D3). */
import { expect, test } from 'vitest'
import { fillDisk } from '../support/guard-home.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

test('D3: while the store fails the head of what waits goes to the watchdog with each answer to a lease, and none once it is written', async () => {
  await using h = await createHarness({ agents: { one: { script: puppet } } })
  await h.bring('one')
  const asked = async () => {
    await h.lease()
    return h.leaseAnswer() as { bufferSize: number; bufferHead: string | null; auditSize: number; auditHead: string }
  }
  expect(await asked()).toMatchObject({ bufferSize: 0, bufferHead: null })
  const mend = fillDisk(h.hub.guard)
  // The first few may still find room in the page that is open.
  const stop = async (before: number) => {
    for (let nth = 0; nth < 200 && h.hub.guard.audit.bufferState().size <= before; nth += 1)
      await h.operator('POST', '/v1/mode/safe', {})
  }
  await stop(0)
  const one = await asked()
  expect(one.bufferSize).toBeGreaterThan(0)
  expect(one.bufferHead).toMatch(/^[0-9a-f]{64}$/)
  await stop(one.bufferSize)
  const two = await asked()
  expect(two.bufferSize).toBeGreaterThan(one.bufferSize)
  expect(two.bufferHead).not.toBe(one.bufferHead)
  mend()
  await h.until(() => h.hub.guard.audit.bufferState().size === 0, 'what waited is written', 1000)
  const after = await asked()
  expect(after).toMatchObject({ bufferHead: null })
  expect(
    h.audit().map(({ hash }) => hash),
    'the very head that was shown stands in the log',
  ).toContain(two.bufferHead)
})
