import { afterEach, beforeEach, expect, it } from 'vitest'
import { type FakeDoor, hubSocketOf, makeHome, openFakeDoor, runHub, SESSION_ID } from '../../../support/fake-hub.ts'

let home: string
let remove: () => void
let hub: FakeDoor

beforeEach(async () => {
  ;({ home, remove } = makeHome())
  hub = await openFakeDoor(hubSocketOf(home))
})
afterEach(async () => {
  await hub.close()
  remove()
})

const keys = [
  { kid: 'a'.repeat(16), state: 'active', untilMs: null },
  { kid: 'b'.repeat(16), state: 'previous', untilMs: Date.now() + 300_000 },
]

it('keys list and keys rotate show each key, its state and until when it verifies', async () => {
  hub.on('GET /v1/keys', () => ({ body: { keys } }))
  hub.on('POST /v1/keys/rotate', () => ({ body: { keys } }))
  const listed = await runHub(home, ['keys', 'list'])
  expect([listed.code, listed.stdout.split('\n').length]).toEqual([0, 4])
  expect(listed.stdout).toMatch(/a{16} +active/)
  expect(listed.stdout).toMatch(/b{16} +previous +\S/)
  const rotated = await runHub(home, ['keys', 'rotate', '--json'])
  expect(JSON.parse(rotated.stdout)).toEqual(keys)
  expect(hub.asked.map(({ method, path }) => `${method} ${path}`)).toEqual(['GET /v1/keys', 'POST /v1/keys/rotate'])
})

it('session revoke ends a session; with --token only that token, whole or by its id', async () => {
  hub.on('POST /v1/sessions/:id/revoke', () => ({ body: {} }))
  const jti = 'J'.repeat(22)
  const token = `e30.${Buffer.from(JSON.stringify({ jti })).toString('base64url')}.x`
  expect((await runHub(home, ['session', 'revoke', SESSION_ID])).stdout).toBe(`${SESSION_ID} revoked\n`)
  for (const given of [token, jti])
    expect((await runHub(home, ['session', 'revoke', SESSION_ID, '--token', given])).stdout).toContain(jti)
  expect(hub.asked.map(({ path, body }) => [path, body])).toEqual([
    [`/v1/sessions/${SESSION_ID}/revoke`, {}],
    [`/v1/sessions/${SESSION_ID}/revoke`, { jti }],
    [`/v1/sessions/${SESSION_ID}/revoke`, { jti }],
  ])
  expect((await runHub(home, ['session', 'revoke', SESSION_ID, '--token', 'a.%%.b'])).code).toBe(2)
})
