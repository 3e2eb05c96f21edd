/** A session goes by the card that it was started with until it has ended, whatever becomes of that card meanwhile. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type AgentSpec, createHarness, type Harness, puppet } from '../support/hub-harness.ts'
import type { Answer } from '../support/signing-client.ts'

const text = { type: 'object', required: ['text'], properties: { text: { type: 'string' } } }
const schemas = { 'text.json': text }
const types = { sends: { say: 'text.json' }, receives: { say: 'text.json' } }
const agents = (): Record<string, AgentSpec> => ({
  big: {
    script: puppet,
    card: { messages: types, may: { message: ['one'] }, limits: { memory: '64MiB', messagesPerSecond: 3 } },
  },
  one: { script: puppet, card: { messages: types, may: { message: ['big'] } } },
})
const code = ({ status, body }: Answer) => (status < 300 ? 'ok' : String(body.code))
const found = (h: Harness) => h.hub.work.catalogue.registry.find('big')
const kept = (h: Harness) => h.hub.guard.store.prepare('select session from session_card').pluck().all()

describe('a card that is not loaded any more', () => {
  const config = { http: { port: 0 }, metrics: { port: 0 } }
  const ways: [string, (h: Harness) => Promise<unknown>, RegExp][] = [
    [
      'a limit that is lowered below it',
      async (h) => writeFileSync(join(h.home, 'hub.yaml'), JSON.stringify({ ...config, limits: { memory: '32MiB' } })),
      /^limit_exceeded: agent big starts nothing: its card is not loaded: big\.yaml line 1: limits\.memory is 64MiB; hub\.yaml allows 32MiB/,
    ],
    [
      'a fault in it',
      async (h) => {
        writeFileSync(join(h.home, 'agents', 'big.yaml'), 'name: big\nimage: 7\n')
        await h.operator('POST', '/v1/agents/reload')
      },
      /^unknown_agent: agent big starts nothing: its card is not loaded: big\.yaml line \d+: /,
    ],
    [
      'its end',
      async (h) => {
        rmSync(join(h.home, 'agents', 'big.yaml'))
        await h.operator('POST', '/v1/agents/reload')
      },
      /^unknown_agent: no agent is named big/,
    ],
  ]
  test.each(ways)(
    'by %s: what runs of it is heard, watched and stopped as before; nothing new starts',
    async (_, lose, refusal) => {
      await using h = await createHarness({ agents: agents(), schemas, config })
      const [big, one] = await h.bring('big', 'one')
      const task = big.joined?.task.task ?? ''
      const waiting = await h.submit('big', {}, { hold: true })
      await lose(h)
      await h.until(() => found(h) === undefined, 'its card is not loaded')
      const refused = await h.operator('POST', '/v1/tasks', { agent: 'big' })
      expect(`${refused.body.code}: ${refused.body.detail}`).toMatch(refusal)
      await h.operator('POST', `/v1/tasks/${waiting}/release`)
      const shown = await h.operator('GET', `/v1/tasks/${waiting}`)
      expect(shown.body.task).toMatchObject({
        waitsFor: expect.stringMatching(/agent (?:is named )?big .*`hub agent reload`/),
      })

      const walk = async (from = big, to = one) => {
        const said = { kind: 'request', type: 'say' } as const
        expect(code(await h.pumped(from.send({ ...said, to: `agent:${to.agent}`, body: { text: 'well' } })))).toBe('ok')
        expect(await h.pumped(to.next())).toMatchObject({ from: { agent: from.agent }, body: { text: 'well' } })
        const wrong = await h.pumped(from.send({ ...said, to: `agent:${to.agent}`, body: { text: 7 } }))
        expect(code(wrong)).toBe('schema_invalid')
      }
      await walk()
      await walk(one, big)
      // Also by a hub that finds the session there when it starts.
      await h.stop()
      await h.start()
      expect(found(h)).toBeUndefined()
      await h.pumped(big.renew())
      await h.pumped(one.renew())
      await walk()
      await walk(one, big)
      expect(kept(h).sort()).toEqual([big.session, one.session].sort())

      // Its quota is that of its card, and not the larger one of hub.yaml.
      const burst = await Promise.all(
        Array.from({ length: 9 }, () => h.pumped(big.send({ kind: 'log', body: { level: 'info', text: 'x' } }), 0)),
      )
      expect(burst.map(code)).toContain('rate_limited')

      // It has asked for mail and says nothing more: it counts as hung, after 95 s and not at its time to live.
      await h.until(() => h.task(task).state === 'failed', 'it is found', 1000)
      expect(h.sessionsOf(task).map(({ exitReason }) => exitReason)).toEqual(['unhealthy'])
      expect(h.task(task).error).toMatchObject({ code: 'not_repeatable' })
      await h.until(() => kept(h).length < 2, 'what it was started with goes with it')
    },
  )

  test('of a session of which nothing is known: it is ended at once, with the reason', async () => {
    await using h = await createHarness({ agents: agents(), schemas })
    const [big] = await h.bring('big')
    const task = big.joined?.task.task ?? ''
    await h.stop()
    rmSync(join(h.home, 'agents', 'big.yaml'))
    await h.start()
    await h.clock.advance(10_000)
    expect(h.task(task).state).toBe('running')
    h.hub.guard.store.prepare('update session_card set started_with = ?').run('{"text": 1}')
    await h.stop()
    await h.start()
    await h.until(() => h.sessionsOf(task)[0]?.state === 'recycled')
    expect(h.sessionsOf(task)[0]).toMatchObject({
      exitReason: 'orphan',
      detail: expect.stringMatching(/^nobody knows what it owes: the card that it was started with is not kept/),
    })
    expect(h.audit().some(({ effect }) => effect.startsWith('orphan: nobody knows what it owes'))).toBe(true)
    expect(h.task(task)).toMatchObject({ state: 'queued', held: true })
  })
})

test('a card that changes counts for later sessions: what runs keeps its types and its program', async () => {
  await using h = await createHarness({ agents: agents(), schemas })
  const [before, one] = await h.bring('big', 'one')
  const card = JSON.parse(JSON.stringify({ ...agents().big?.card, messages: {} }))
  writeFileSync(
    join(h.home, 'agents', 'big.yaml'),
    JSON.stringify({ name: 'big', description: 'big', image: 'hub/agent', run: ['node', '/app/y.js'], ...card }),
  )
  await h.operator('POST', '/v1/agents/reload')
  const [after] = await h.bring('big')
  const said = { kind: 'request', to: `session:${one.session}`, type: 'say', body: { text: 'well' } } as const
  expect(code(await h.pumped(before.send(said)))).toBe('ok')
  expect(code(await h.pumped(after.send(said)))).toBe('schema_invalid')
})
