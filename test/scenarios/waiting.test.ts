/** What the hub tells the watchdog of its queue: only what could run counts, or every held task would be an alarm in six hours. */
import { expect, test } from 'vitest'
import { createHarness, puppet } from '../support/hub-harness.ts'

test('S1-23: what waits for a word, or for an agent that is halted, is not told to the watchdog as waiting', async () => {
  const single = { script: puppet, card: { limits: { sessions: 1 } } }
  await using h = await createHarness({ agents: { one: single, halted: single } })
  const waiting = () => h.hub.work.dispatcher.waiting()
  await h.bring('one', 'halted')
  expect(waiting()).toBe(0)
  await h.submit('one', {}, { hold: true })
  expect(waiting(), 'held').toBe(0)
  await h.submit('halted')
  expect(waiting(), 'behind another of its agent').toBe(1)
  await h.operator('POST', '/v1/agents/halted/suspend', {})
  expect(waiting(), 'of a halted agent').toBe(0)
  const next = await h.submit('one')
  expect(waiting(), 'this one could run').toBe(1)
  await h.operator('POST', `/v1/tasks/${next}/cancel`, {})
  expect(waiting()).toBe(0)
})
