/** The flag `drafts`: an agent that speaks a draft of a protocol begins only while it is on (docs/safety.md 10). */
import { expect, test } from 'vitest'
import { createHarness, puppet } from '../support/hub-harness.ts'

test('[flag-9] the flag drafts, off as shipped, refuses by name whose card says driver: acp-v2; version 1 begins', async () => {
  const agents = {
    drafted: { script: puppet, card: { driver: 'acp-v2', mode: 'chat' } },
    plain: { script: puppet, card: { driver: 'acp', mode: 'chat' } },
  }
  await using h = await createHarness({ agents })
  const { status, body } = await h.operator('POST', '/v1/tasks', { agent: 'drafted' })
  expect([status, body.code, body.detail]).toEqual([
    409,
    'flag_off',
    'agent drafted does not start: its card says driver: acp-v2, and the flag drafts is off (`hub flag set drafts on`)',
  ])
  await h.bring('plain')
  expect((await h.operator('POST', '/v1/flags/drafts', { value: true })).status).toBe(200)
  await h.bring('drafted')
})
