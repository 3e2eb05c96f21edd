/** What the hub tells the watchdog of its queue: only what could run counts, or every held task would be an alarm in six hours. */
import { expect, test } from 'vitest'
import { createHarness, puppet } from '../support/hub-harness.ts'

test('S1-23: what waits for a word, or for an agent that is halted, is not told to the watchdog as waiting', async () => {
  await using h = await createHarness({
    agents: { one: { script: puppet, card: { limits: { sessions: 1 } } }, halted: { script: puppet } },
  })
  const waiting = () => h.hub.work.dispatcher.waiting()
  await h.submit('one')
  await h.working(1)
  expect(waiting()).toBe(0)
  await h.submit('one', {}, { hold: true })
  expect(waiting(), 'held').toBe(0)
  await h.operator('POST', '/v1/agents/halted/suspend', {})
  await h.submit('halted').catch(() => undefined)
  expect(waiting(), 'of a halted agent').toBe(0)
  const next = await h.submit('one')
  expect(waiting(), 'this one could run').toBe(1)
  await h.operator('POST', `/v1/tasks/${next}/cancel`, {})
  expect(waiting()).toBe(0)
})
