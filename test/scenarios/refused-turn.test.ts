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
