/** Who gets which secret, what is written down of it, and what the operator is told of one that is missing. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'
import type { Answer } from '../support/signing-client.ts'

const CANARY = 'canary-6f1d0a'
const code = ({ status, body }: Answer) => (status < 300 ? 'ok' : `${status} ${String(body.code)}`)
const agents = {
  holder: { script: puppet, card: { may: { secrets: ['api-key', 'absent'], delegate: ['kid'] } } },
  narrowed: { script: puppet, card: { may: { secrets: ['api-key'] } }, policy: { secrets: [] } },
  kid: { script: puppet, card: { may: { secrets: ['api-key', 'kids-own'] } } },
  other: { script: puppet },
}
function give(h: Harness, name: string, value = CANARY, mode = 0o600): string {
  const folder = join(h.home, 'secrets')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileSync(join(folder, name), value)
  chmodSync(join(folder, name), mode)
  return join(folder, name)
}
const get = (h: Harness, agent: TestAgent, name: string, more: object = {}) =>
  h.pumped(agent.ask({ method: 'GET', path: `/v1/secrets/${name}`, ...more }))
const fetches = (h: Harness) =>
  h
    .audit()
    .filter(({ action }) => action === 'secret.fetched')
    .map(({ principal, resource, outcome, reason }) => ({ agent: principal.split(' ')[0], resource, outcome, reason }))

/** Every file of the home outside secrets/ that holds the text. */
const filesWith = (h: Harness, text: string) =>
  readdirSync(h.home, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.endsWith('/secrets'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(text))

describe('secret.get', () => {
  test('S1-53: a listed secret comes whole and uncacheable, is named at the join, and leaves a record of its name alone', async () => {
    await using h = await createHarness({ agents })
    const file = give(h, 'api-key', `${CANARY}\n`)
    const [holder] = await h.bring('holder')
    expect(holder.joined?.secrets).toEqual(['api-key', 'absent'])
    const answer = await get(h, holder, 'api-key')
    expect([answer.status, answer.bytes.toString()]).toEqual([200, `${CANARY}\n`])
    expect(answer.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': '14',
      'cache-control': 'no-store',
    })
    // Read again: a change counts at once, and what was sent was a copy.
    writeFileSync(file, 'second')
    expect((await get(h, holder, 'api-key')).bytes.toString()).toBe('second')
    const rows = h.audit().filter(({ action }) => action === 'secret.fetched')
    expect(rows).toMatchObject([
      { resource: 'secret:api-key', outcome: 'ok', effect: '', payload_hash: null },
      { resource: 'secret:api-key', outcome: 'ok' },
    ])
    expect(rows[0]?.principal).toContain(holder.session)
    expect(rows[0]?.decision_id).not.toBeNull()
    h.hub.guard.store.prepare('select 1').get()
    expect(filesWith(h, CANARY)).toEqual([])
    expect(JSON.stringify([h.events(), h.complaints, h.audit()])).not.toContain(CANARY)
  })

  test('T64: who is not named in the card, not in the rules, or not above in the chain is refused, and each refusal is recorded by name', async () => {
    await using h = await createHarness({ agents })
    for (const name of ['api-key', 'kids-own']) give(h, name)
    const [holder, narrowed, other] = await h.bring('holder', 'narrowed', 'other')
    expect(other.joined?.secrets).toEqual([])
    expect(code(await get(h, other, 'api-key'))).toBe('403 policy_denied')
    const refused = await get(h, narrowed, 'api-key')
    expect(code(refused)).toBe('403 policy_denied')
    expect(refused.body.detail).toContain('add "api-key" to agents.narrowed.secrets in policy/data.json')
    expect(code(await get(h, holder, 'kids-own'))).toBe('403 policy_denied')
    expect(JSON.stringify(refused.body)).not.toContain(CANARY)

    await h.pumped(holder.delegate({ agent: 'kid' }))
    await h.until(() => h.started.some(({ agent, token }) => agent === 'kid' && token !== ''))
    const kid = h.started.find(({ agent }) => agent === 'kid') as TestAgent
    expect(kid.joined?.secrets).toEqual(['api-key'])
    expect(code(await get(h, kid, 'kids-own'))).toBe('403 policy_denied')
    expect(code(await get(h, kid, 'api-key'))).toBe('ok')
    expect(fetches(h).map(({ resource, outcome }) => `${resource} ${outcome}`)).toEqual([
      'secret:api-key refused',
      'secret:api-key refused',
      'secret:kids-own refused',
      'secret:kids-own refused',
      'secret:api-key ok',
    ])
  })

  test('T35, T39: a missing one and one of too wide a mode are refused by name, without a path of this machine', async () => {
    await using h = await createHarness({ agents })
    give(h, 'api-key', CANARY, 0o640)
    const [holder] = await h.bring('holder')
    for (const [name, why] of [
      ['api-key', 'its file has mode 640'],
      ['absent', 'is missing'],
    ] as const) {
      const answer = await get(h, holder, name)
      expect(code(answer)).toBe('400 config_invalid')
      expect(answer.body.detail).toContain(`the secret ${name} `)
      expect(answer.body.detail).toContain(why)
      expect(JSON.stringify(answer.body)).not.toMatch(new RegExp(`${CANARY}|${h.home}`))
    }
    expect(fetches(h)).toMatchObject([
      { resource: 'secret:api-key', outcome: 'refused' },
      { resource: 'secret:absent', outcome: 'refused' },
    ])
  })

  test('T8, T12: neither a used nonce, nor the token of another session, nor a path out of the folder gets one', async () => {
    await using h = await createHarness({ agents })
    give(h, 'api-key')
    const [holder, other] = await h.bring('holder', 'other')
    const nonce = 'AAAAAAAAAAAAAAAAAAAAAA'
    expect(code(await get(h, holder, 'api-key', { nonce }))).toBe('ok')
    expect(code(await get(h, holder, 'api-key', { nonce }))).toBe('409 nonce_used')
    expect(code(await get(h, holder, 'api-key', { token: null }))).toBe('401 unauthenticated')
    for (const path of ['..%2Fkeys%2Fwatchdog', '../../keys/watchdog', 'Api-key', 'api_key', `${'a'.repeat(64)}`, ''])
      expect(code(await get(h, holder, path)), path).toBe('404 unknown_operation')
    // It is stopped for it, and may not hear the answer any more (fault F16).
    const stolen = get(h, other, 'api-key', { token: holder.token }).then(code, () => 'ended')
    expect(await stolen).toMatch(/^401 unauthenticated$|^ended$/)
    expect(fetches(h).filter(({ outcome }) => outcome === 'ok')).toHaveLength(1)
    await h.until(() => h.sessionsOf(other.joined?.task.task ?? '')[0]?.state === 'recycled', 'it is stopped')
  })

  test('it is of agents alone: the operator’s entrance has no such path', async () => {
    await using h = await createHarness({ agents })
    give(h, 'api-key')
    const { status, body } = await h.operator('GET', '/v1/secrets/api-key')
    expect([status, JSON.stringify(body).includes(CANARY)]).toEqual([404, false])
  })
})

test('hub doctor shows the secret that a card asks for and nobody has given, with the line that fixes it', async () => {
  await using h = await createHarness({ agents })
  const checks = async () => {
    const { body } = await h.operator('GET', '/v1/doctor')
    return (body.checks as { name: string; ok: boolean; detail: string; mend: string }[]).filter(({ name }) =>
      name.startsWith('secret '),
    )
  }
  const file = give(h, 'absent')
  give(h, 'kids-own', CANARY, 0o644)
  expect(await checks()).toEqual([
    {
      name: 'secret api-key',
      ok: false,
      detail: expect.stringMatching(/^is missing: .*HUB_SECRET_API_KEY; wanted by holder, kid, narrowed$/),
      mend: expect.stringContaining(`cat > ${join(h.home, 'secrets', 'api-key')}`),
    },
    {
      name: 'secret kids-own',
      ok: false,
      detail: 'is refused: its file has mode 644 and is open to others; wanted by kid',
      mend: `chmod 600 ${join(h.home, 'secrets', 'kids-own')}`,
    },
  ])
  give(h, 'api-key')
  give(h, 'kids-own')
  expect(await checks()).toEqual([])
  chmodSync(join(file, '..'), 0o755)
  expect((await checks()).map(({ mend }) => mend)).toEqual(Array(3).fill(`chmod 700 ${join(h.home, 'secrets')}`))
})
