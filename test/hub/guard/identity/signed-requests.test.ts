import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { sha256Hex } from '../../../../hub/base/canonical.ts'
import { ERRORS, HubError } from '../../../../hub/base/errors.ts'
import { publicKeyOf, type SignedRequest, verifySignedRequest } from '../../../../hub/guard/identity/signed-requests.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

const clock = createFakeClock()
const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const NONCE = Buffer.alloc(16, 7).toString('base64url')

interface Said {
  method: string
  path: string
  timestampMs: string
  nonce: string
  body: string
}
const SAID: Said = {
  method: 'POST',
  path: '/v1/send?x=1',
  timestampMs: String(clock.wallMs()),
  nonce: NONCE,
  body: '{"a":1}',
}

/** Signs by the written protocol, not by the hub's own function. */
const signatureOf = (said: Said) =>
  sign(
    null,
    Buffer.from(
      `hub-request-v1\n${said.method}\n${said.path}\n${said.timestampMs}\n${said.nonce}\n${sha256Hex(said.body)}`,
    ),
    privateKey,
  )
function request(
  change: Partial<Said> = {},
  headers: Record<string, string | string[] | undefined> = {},
): SignedRequest {
  const sent = { ...SAID, ...change }
  return {
    method: sent.method,
    path: sent.path,
    bodySha256: sha256Hex(sent.body),
    headers: {
      'hub-timestamp': sent.timestampMs,
      'hub-nonce': sent.nonce,
      'hub-signature': signatureOf(SAID).toString('base64url'),
      ...headers,
    },
  }
}
function reasonOf(made: SignedRequest, key = publicKey): string {
  try {
    verifySignedRequest(made, key, clock)
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(HubError)
    expect((thrown as HubError).code).toBe('unauthenticated')
    expect((thrown as HubError).message).toBe(ERRORS.unauthenticated.next)
    return (thrown as HubError).reason
  }
  throw new Error('it was taken')
}
const good = signatureOf(SAID).toString('base64url')

describe('a signed request', () => {
  it('is taken as it was signed, and says until when its nonce has to be kept', () => {
    expect(verifySignedRequest(request(), publicKey, clock)).toEqual({
      nonce: NONCE,
      nonceExpiresAtMs: clock.wallMs() + 90_000,
    })
  })

  it.each([
    ['method', { method: 'GET' }],
    ['method in another case', { method: 'post' }],
    ['path', { path: '/v1/send?x=2' }],
    ['query left out', { path: '/v1/send' }],
    ['body', { body: '{"a":2}' }],
    ['body left out', { body: '' }],
    ['timestamp', { timestampMs: String(clock.wallMs() + 1) }],
    ['nonce', { nonce: Buffer.alloc(16, 8).toString('base64url') }],
  ] as const)('with another %s is refused', (_what, change) => {
    expect(reasonOf(request(change))).toBe('the request signature is wrong')
  })

  it('with any bit of its signature flipped, or by another key, is refused', () => {
    const bytes = signatureOf(SAID)
    for (let bit = 0; bit < 512; bit += 1) {
      const bent = Buffer.from(bytes)
      bent[bit >> 3] = (bent[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(reasonOf(request({}, { 'hub-signature': bent.toString('base64url') }))).toBe(
        'the request signature is wrong',
      )
    }
    expect(reasonOf(request(), generateKeyPairSync('ed25519').publicKey)).toBe('the request signature is wrong')
  })

  it.each<[string | string[] | undefined]>([
    [''],
    [undefined],
    [[good, good]],
    [`${good}, ${good}`],
    [`${good}==`],
    [good.slice(0, -1)],
    [`${good}A`],
    [`${good.slice(0, -1)}${String.fromCharCode(good.charCodeAt(good.length - 1) + 1)}`],
    [signatureOf(SAID).toString('hex')],
    [` ${good}`],
  ])('with the signature spelled %j is refused', (signature) => {
    expect(reasonOf(request({}, { 'hub-signature': signature }))).toMatch(/signature/)
  })

  it.each([
    '',
    '0',
    String(clock.wallMs()).slice(0, 12),
    `${clock.wallMs()}0`,
    `+${clock.wallMs()}`.slice(0, 13),
    '1767603600.00',
    '0x1767603600',
    '٠'.repeat(13),
    [SAID.timestampMs],
  ])('with the timestamp %j is refused for its shape', (timestamp) =>
    expect(reasonOf(request({}, { 'hub-timestamp': timestamp }))).toContain('epoch milliseconds'),
  )

  it.each([
    '',
    'short',
    Buffer.alloc(15).toString('base64url'),
    Buffer.alloc(17).toString('base64url'),
    `${NONCE}==`,
    NONCE.replace(/.$/, 'x'),
    'a\nb',
    '__proto__',
  ])('with the nonce %j is refused for its shape (T4)', (nonce) =>
    expect(reasonOf(request({ nonce }))).toContain('128 bits'),
  )

  it.each([
    [-30_001, false],
    [-30_000, true],
    [30_000, true],
    [30_001, false],
    [-31_000, false],
    [31_000, false],
  ])('signed %d ms away from the hub is taken: %s (X3)', (awayMs, taken) => {
    const said = { ...SAID, timestampMs: String(clock.wallMs() + awayMs) }
    const made = request(said, { 'hub-signature': signatureOf(said).toString('base64url') })
    if (taken)
      expect(verifySignedRequest(made, publicKey, clock).nonceExpiresAtMs).toBe(clock.wallMs() + awayMs + 90_000)
    else expect(reasonOf(made)).toContain('outside its window')
  })
})

describe('after a stall of the hub', () => {
  it.each([
    [-60_000, true],
    [-60_001, false],
    [30_001, false],
  ])('of thirty seconds, signed %d ms away is taken: %s; the future gets no more of it (T75)', (awayMs, taken) => {
    const said = { ...SAID, timestampMs: String(clock.wallMs() + awayMs) }
    const made = request(said, { 'hub-signature': signatureOf(said).toString('base64url') })
    const verify = () => verifySignedRequest(made, publicKey, clock, 30_000)
    // Its nonce is remembered for longer than it can still be taken.
    if (taken) expect(verify().nonceExpiresAtMs).toBeGreaterThan(clock.wallMs())
    else expect(verify).toThrow()
  })
})

describe('a presented key', () => {
  const raw = (publicKey.export({ format: 'jwk' }) as { x: string }).x
  it('is 32 bytes in canonical base64url', () => {
    expect(publicKeyOf(raw)?.equals(publicKey)).toBe(true)
  })
  it.each([
    '',
    'A',
    `${raw}=`,
    `${raw}A`,
    raw.slice(1),
    `${raw.slice(0, -1)}+`,
    Buffer.alloc(33).toString('base64url'),
  ])('of any other spelling is none: %j', (text) => expect(publicKeyOf(text)).toBeUndefined())
})
