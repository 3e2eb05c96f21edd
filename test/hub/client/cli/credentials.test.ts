import { expect, it } from 'vitest'
import { commandHome } from '../../../support/command-home.ts'
import { SESSION_ID } from '../../../support/fake-hub.ts'

const at = commandHome()

const keys = [
  { kid: 'a'.repeat(16), state: 'active', untilMs: null },
  { kid: 'b'.repeat(16), state: 'previous', untilMs: Date.now() + 300_000 },
]

it('keys list and keys rotate show each key, its state and until when it verifies', async () => {
  at.hub.on('GET /v1/keys', () => ({ body: { keys } }))
  at.hub.on('POST /v1/keys/rotate', () => ({ body: { keys } }))
  const listed = await at.run(['keys', 'list'])
  expect([listed.code, listed.stdout.split('\n').length]).toEqual([0, 4])
  expect(listed.stdout).toMatch(/a{16} +active/)
  expect(listed.stdout).toMatch(/b{16} +previous +\S/)
  const rotated = await at.run(['keys', 'rotate', '--json'])
  expect(JSON.parse(rotated.stdout)).toEqual(keys)
  expect(at.hub.asked.map(({ method, path }) => `${method} ${path}`)).toEqual(['GET /v1/keys', 'POST /v1/keys/rotate'])
})

it('session revoke ends a session; with --token only that token, whole or by its id', async () => {
  at.hub.on('POST /v1/sessions/:id/revoke', () => ({ body: {} }))
  const jti = 'J'.repeat(22)
  const token = `e30.${Buffer.from(JSON.stringify({ jti })).toString('base64url')}.x`
  expect((await at.run(['session', 'revoke', SESSION_ID])).stdout).toBe(`${SESSION_ID} revoked\n`)
  for (const given of [token, jti])
    expect((await at.run(['session', 'revoke', SESSION_ID, '--token', given])).stdout).toContain(jti)
  expect(at.hub.asked.map(({ path, body }) => [path, body])).toEqual([
    [`/v1/sessions/${SESSION_ID}/revoke`, {}],
    [`/v1/sessions/${SESSION_ID}/revoke`, { jti }],
    [`/v1/sessions/${SESSION_ID}/revoke`, { jti }],
  ])
  expect((await at.run(['session', 'revoke', SESSION_ID, '--token', 'a.%%.b'])).code).toBe(2)
})

it('session evidence shows where it is; of one session also its digests, and it fails if they differ', async () => {
  const bundle = {
    folder: `/h/evidence/${SESSION_ID}-2026-11-30T210000123Z`,
    session: SESSION_ID,
    capturedAtMs: Date.now(),
    agent: 'reader',
    task: null,
    why: 'a second key',
    sha256: 'a'.repeat(64),
    recorded: null as string | null,
    files: 6,
    bytes: 2048,
    state: 'whole',
  }
  at.hub.on('GET /v1/evidence', () => ({ body: { evidence: [bundle] } }))
  const listed = await at.run(['session', 'evidence'])
  expect(listed.code).toBe(0)
  expect(listed.stdout).toMatch(/whole +a second key +\/h\/evidence\/s/)
  Object.assign(bundle, { recorded: 'b'.repeat(64), state: 'changed' })
  const one = await at.run(['session', 'evidence', SESSION_ID])
  expect(one.code).toBe(1)
  expect(one.stdout).toContain(`manifest ${'a'.repeat(64)}, in the audit log ${'b'.repeat(64)}`)
  expect(at.hub.asked.at(-1)?.query.get('session')).toBe(SESSION_ID)
})
