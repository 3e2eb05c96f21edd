/** A turn whose begin the rules refuse: it fails by that name, and its chat goes on (S4-5). */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { hub } from '../support/command-here.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'
import { hasOpa } from '../support/policy-fixture.ts'

const RULES = `package hub.home

deny contains "nobody chats with solo" if {
	input.operation == "session.turn"
	input.principal.agent == "solo"
}
`

test.skipIf(!hasOpa)(
  'S4-5: a turn that the rules do not let begin fails with their code and words; the next one is handed over',
  async () => {
    await using h = await createHarness({ agents: { solo: { script: puppet, card: { mode: 'chat' } } } })
    const [solo] = await h.bring('solo')
    writeFileSync(join(h.home, 'policy', 'own.rego'), RULES)
    expect(await hub(h, 'policy', 'reload')).toMatchObject({ code: 0 })
    const prompts: string[] = []
    for (const prompt of ['one', 'two']) await h.operator('POST', `/v1/sessions/${solo.session}/say`, { prompt })
    for (let n = 0; n < 2; n += 1) {
      const { body } = await h.pumped(solo.next(({ type }) => type === 'turn.prompt'))
      prompts.push(String(body.prompt))
      const refused = await h.pumped(solo.send({ kind: 'turn', body: { turn: body.turn, state: 'running' } }))
      expect(refused.body).toMatchObject({ code: 'policy_denied' })
    }
    expect(prompts).toEqual(['one', 'two'])
    const { turns } = (await h.operator('GET', `/v1/sessions/${solo.session}/turns`)).body
    const error = expect.stringMatching(/^policy_denied: .*nobody chats with solo.* \(`hub policy explain [\w-]+`\)$/)
    expect(turns).toMatchObject([
      { state: 'failed', stopReason: 'error', error },
      { state: 'failed', stopReason: 'error', error },
    ])
    expect((await hub(h, 'session', 'turns', solo.session)).out).toContain('policy_denied')
    expect(h.hub.work.tasks.session(solo.session)?.state).toBe('ready')
    expect(h.audit().findLast(({ action }) => action === 'session.interrupted')).toMatchObject({
      principal: 'hub:turns',
      effect: expect.stringContaining('failed: policy_denied'),
    })
  },
)

test('S1-62: a secret that comes in pieces is in no text of a turn, at no moment; a prompt is kept and shown masked, and its program gets it as it was written', async () => {
  await using h = await createHarness({ agents: { solo: { script: puppet, card: { mode: 'chat' } } } })
  const SECRET = 'k3y-of-the-agent-7f'
  const KEY = `ghp_${'Ab3'.repeat(12)}`
  h.hub.guard.redaction.know('agent-key', Buffer.from(SECRET))
  const [solo] = await h.bring('solo')
  // A value that the hub knows is refused at the door, wherever a request holds it.
  const secret = await h.operator('POST', `/v1/sessions/${solo.session}/say`, { prompt: `use ${SECRET}` })
  expect(secret.status).toBeGreaterThanOrEqual(400)
  const say = `use ${KEY}`
  const said = await h.operator('POST', `/v1/sessions/${solo.session}/say`, { prompt: say })
  const { id } = said.body.turn as { id: string }
  const again = await h.operator('POST', `/v1/sessions/${solo.session}/say`, { prompt: say, turn: id })
  expect([again.status, (again.body.turn as { number: number }).number]).toEqual([200, 1])
  const { body } = await h.pumped(solo.next(({ type }) => type === 'turn.prompt'))
  expect(body.prompt).toBe(say)
  const tell = (more: object) => h.pumped(solo.say({ kind: 'turn', body: { turn: id, ...more } }))
  await tell({ state: 'running' })
  const seen: string[] = []
  const look = () =>
    h.hub.guard.store.prepare('select prompt, text from turn where id = ?').get(id) as { prompt: string; text: string }
  for (const text of [...`I have ${SECRET}, and the token is ${KEY} now. Bearer ${'x1'.repeat(20)} end`].map(String)) {
    await h.pumped(solo.say({ kind: 'frame', body: { turn: id, text } }), 1)
    seen.push(look().text)
  }
  await tell({ state: 'ended', stopReason: 'end_turn' })
  const whole = 'I have [redacted], and the token is [redacted] now. Bearer [redacted] end'
  expect(look()).toEqual({ prompt: 'use [redacted]', text: whole })
  for (const each of seen)
    expect([SECRET, KEY, 'x1'.repeat(20)].map((one) => each.includes(one.slice(0, 4)))).toEqual([false, false, false])
  // It is no later than it has to be.
  expect(seen[5]).toBe('I have')
})
