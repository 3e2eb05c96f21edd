import { generateKeyPairSync, sign } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { sha256Hex } from '../../../../hub/base/canonical.ts'
import { createAgentAuth, reserveNonce, sessionFacts } from '../../../../hub/edge/agents/requests.ts'
import type { SessionRow } from '../../../../hub/work/dispatch/rows.ts'
import type { Tasks } from '../../../../hub/work/dispatch/tasks.ts'
import { type GuardHome, openGuardHome } from '../../../support/guard-home.ts'
import { authority } from '../../../support/policy-fixture.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
let home: GuardHome
beforeEach(() => {
  home = openGuardHome()
  home.guard.modes.clear('lease_pending')
})
afterEach(() => home[Symbol.dispose]())

const row = (change: Partial<SessionRow> = {}) =>
  ({
    id: 'saaaaaaaaaaaaaaa',
    agent: 'echo',
    task: '018f0000-0000-7000-8000-000000000001',
    state: 'ready',
    generation: 1,
    containerId: 'c0ffee',
    publicKey: publicKey.export({ format: 'jwk' }).x,
    authority: authority(),
    expiresAtMs: home.clock.wallMs() + 3_600_000,
    expiresBoot: 'boot:1000',
    ...change,
  }) as SessionRow

/** Session rows as they are at each look; the last stays. */
function authOver(...looks: SessionRow[]) {
  const rows = [...looks]
  const look = () => (rows.length > 1 ? rows.shift() : rows[0])
  const tasks = { session: look, standing: look } as unknown as Tasks
  const { gate, tokens } = home.guard
  return createAgentAuth({
    tasks,
    tokens,
    gate,
    clock: home.clock,
    heard: () => undefined,
    isLate: () => false,
    handInMs: () => undefined,
    onForeignToken: () => undefined,
    heldBackMs: () => 0,
  })
}
async function request(path: string): Promise<IncomingMessage> {
  const { token } = await home.guard.tokens.mint(sessionFacts(row()), 3_600_000)
  const [timestamp, nonce] = [String(home.clock.wallMs()), Buffer.alloc(16, 5).toString('base64url')]
  const text = `hub-request-v1\nGET\n${path}\n${timestamp}\n${nonce}\n${sha256Hex('')}`
  const signature = sign(null, Buffer.from(text), privateKey).toString('base64url')
  const headers = { 'hub-token': token, 'hub-timestamp': timestamp, 'hub-nonce': nonce, 'hub-signature': signature }
  return { method: 'GET', url: path, headers } as unknown as IncomingMessage
}
const refused = (reason: string) =>
  expect.objectContaining({ code: 'unauthenticated', reason: expect.stringContaining(reason) })

it('T8: a session revoked while its token was being checked is not proven by that token', async () => {
  const asked = await request('/v1/receive')
  const { id } = row()
  await authOver(row()).byToken(id, asked, sha256Hex(''))
  await expect(authOver(row(), row({ generation: 2 })).byToken(id, asked, sha256Hex(''))).rejects.toEqual(
    refused('earlier generation'),
  )
  await expect(authOver(row(), row({ state: 'recycling' })).byToken(id, asked, sha256Hex(''))).rejects.toEqual(
    refused('ended'),
  )
})

it('a session revoked between proof and transaction is refused there, and the nonce stays burned', async () => {
  const asked = await request('/v1/receive')
  const caller = await authOver(row(), row(), row({ generation: 2 })).byToken(row().id, asked, sha256Hex(''))
  const call = {
    principal: caller.principal,
    operation: 'message.receive',
    resource: 'session',
    ...caller.proof,
  } as const
  expect(() => home.guard.gate.admit(call, () => undefined)).toThrow(refused('on its way'))
  expect(home.guard.nonces.size()).toBe(1)
})

it('a reserved nonce is burned by its own request only, and a replay of it is refused', async () => {
  const asked = await request('/v1/receive')
  const auth = authOver(row())
  const first = await auth.byToken(row().id, asked, sha256Hex(''))
  const replay = await auth.byToken(row().id, asked, sha256Hex(''))
  const used = expect.objectContaining({ code: 'nonce_used' })
  reserveNonce(home.guard.nonces, first)
  expect(() => reserveNonce(home.guard.nonces, replay)).toThrow(used)
  const call = (caller: typeof first) =>
    ({ principal: caller.principal, operation: 'message.receive', resource: 'session', ...caller.proof }) as const
  expect(() => home.guard.gate.admit(call(replay), () => undefined)).toThrow(used)
  home.guard.gate.admit(call(first), () => undefined)
  expect(home.guard.nonces.size()).toBe(1)
})
