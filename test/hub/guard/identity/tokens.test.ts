/** Every form of T1 to T7, made by a generator of its own from a valid token and signed with test keys, and the cross of T8. */
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { ERRORS, HubError } from '../../../../hub/base/errors.ts'
import { createTokens, type SessionFacts, TOKEN_BYTES_MAX, thumbprint } from '../../../../hub/guard/identity/tokens.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'
import { growthFault } from '../../../support/fastest.ts'
import { createSeededRandom } from '../../../support/seeded-random.ts'

const clock = createFakeClock()
const keyPair = (kid: string) => ({ kid, ...generateKeyPairSync('ed25519') })
const active = keyPair('active-key')
const previous = keyPair('previous-key')
const stranger = keyPair('stranger')
const INSTANCE = 'test-hub'
const JOINED = Buffer.alloc(32, 3).toString('base64url')
const denied = new Set<string>()

const tokens = createTokens({
  instance: INSTANCE,
  keys: {
    active: () => active,
    find: (kid) => [active, previous].find((key) => key.kid === kid)?.publicKey,
  },
  clock,
  random: createSeededRandom('tokens'),
  denied: (jti) => denied.has(jti),
})
const facts = (change: Partial<SessionFacts> = {}): SessionFacts => ({
  session: 'saaaaaaaaaaaaaaa',
  agent: 'reader',
  task: '018f0000-0000-7000-8000-000000000001',
  generation: 1,
  containerId: 'c0ffee',
  publicKey: JOINED,
  capabilities: ['read-source'],
  depthLeft: 2,
  live: true,
  ...change,
})
const FACTS = facts()
const { token: GOOD } = await tokens.mint(FACTS, 3_600_000)
const [HEAD = '', BODY = '', SIGNATURE = ''] = GOOD.split('.')
const read = (segment: string) => JSON.parse(Buffer.from(segment, 'base64url').toString()) as Record<string, unknown>
const HEADER = read(HEAD)
const CLAIMS = read(BODY)
const NOW = Number(CLAIMS.iat)

const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
/** A token really signed by the active key over whatever header and payload text. */
function forge(header: unknown, payload: unknown, key: KeyObject = active.privateKey): string {
  const signed = `${encode(header)}.${encode(payload)}`
  return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`
}
const withClaims = (change: Record<string, unknown>) => forge(HEADER, { ...CLAIMS, ...change })
const without = (claim: string) =>
  forge(HEADER, Object.fromEntries(Object.entries(CLAIMS).filter(([name]) => name !== claim)))

const verify = (token: string, socket = FACTS.session, known: (id: string) => SessionFacts | undefined = () => FACTS) =>
  tokens.verify(token, socket, known)

/** The reason for the audit log; what the caller sees is one constant. */
async function reasonOf(
  token: string,
  ...rest: [] | [string, (id: string) => SessionFacts | undefined]
): Promise<string> {
  const error = await verify(token, rest[0], rest[1]).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error === undefined) throw new Error('it was taken')
  expect(error).toBeInstanceOf(HubError)
  const { code, message, facts: shown, reason } = error as HubError
  expect({ code, message, shown }).toEqual({ code: 'unauthenticated', message: ERRORS.unauthenticated.next, shown: {} })
  expect(reason).not.toBe('')
  return reason
}

describe('a valid token', () => {
  it('has exactly the header and claims of the protocol, and is taken', async () => {
    expect(HEADER).toEqual({ alg: 'EdDSA', typ: 'agent+jwt', kid: 'active-key' })
    expect(CLAIMS).toEqual({
      iss: 'test-hub',
      aud: 'hub',
      sub: 'spiffe://test-hub/agent/reader/saaaaaaaaaaaaaaa',
      jti: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
      iat: Math.floor(clock.wallMs() / 1000),
      nbf: NOW,
      exp: NOW + 300,
      sid: FACTS.session,
      cid: 'c0ffee',
      gen: 1,
      task: FACTS.task,
      cap: ['read-source'],
      dlg: 2,
      cnf: { jkt: thumbprint(JOINED) },
    })
    expect(await verify(GOOD)).toEqual(CLAIMS)
    expect(await verify(forge(HEADER, CLAIMS))).toEqual(CLAIMS)
  })

  it('never lives past its session, and has an id of its own each time', async () => {
    const short = await tokens.mint(FACTS, 10_500)
    expect(read(short.token.split('.')[1] ?? '').exp).toBe(NOW + 10)
    expect(short.expiresAtMs).toBe((NOW + 10) * 1000)
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () => read((await tokens.mint(FACTS, 3_600_000)).token.split('.')[1] ?? '').jti),
    )
    expect(new Set(ids).size).toBe(20)
  })

  it('of the key before is taken too, of a stranger under either name not (T14)', async () => {
    const old = { ...HEADER, kid: 'previous-key' }
    expect(await verify(forge(old, CLAIMS, previous.privateKey))).toEqual(CLAIMS)
    expect(await reasonOf(forge(old, CLAIMS))).toContain('wrong signature')
    expect(await reasonOf(forge(HEADER, CLAIMS, stranger.privateKey))).toContain('wrong signature')
    expect(await reasonOf(forge({ ...HEADER, kid: 'stranger' }, CLAIMS, stranger.privateKey))).toContain('unknown key')
  })
})

describe('a token of another form (T1)', () => {
  const raw = Buffer.from((active.publicKey.export({ format: 'jwk' }) as { x: string }).x, 'base64url')
  const spki = active.publicKey.export({ format: 'der', type: 'spki' })
  const pem = active.publicKey.export({ format: 'pem', type: 'spki' })
  const hmac = (key: Buffer | string, header: unknown) => {
    const signed = `${encode(header)}.${BODY}`
    return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`
  }

  it.each(['none', 'None', 'NONE', 'nOnE', 'n\u043ene', 'none ', '', null, undefined, 0, false, [], ['EdDSA'], {}])(
    'with the algorithm %j is refused, whatever its signature',
    async (alg) => {
      const header = { ...HEADER, alg }
      expect(await reasonOf(forge(header, CLAIMS))).toContain('exactly alg, typ and kid')
      expect(await reasonOf(`${encode(header)}.${BODY}.`)).not.toBe('')
      expect(await reasonOf(`${encode(header)}.${BODY}.${SIGNATURE}`)).not.toBe('')
      expect(await reasonOf(`${encode(header)}.${BODY}.${Buffer.alloc(64).toString('base64url')}`)).not.toBe('')
    },
  )

  it.each(['HS256', 'HS512', 'RS256', 'ES256', 'PS256', 'Ed25519', 'Ed448', 'eddsa', 'EDDSA', 'EdDSA ', 'dir'])(
    'with the algorithm %s is refused before any key is tried',
    async (alg) => {
      expect(await reasonOf(forge({ ...HEADER, alg }, CLAIMS))).toContain('exactly alg, typ and kid')
    },
  )

  it.each([
    ['raw', raw],
    ['DER', spki],
    ['PEM', pem],
    ['kid', 'active-key'],
  ])('whose HMAC is keyed with our public key (%s) is refused', async (_form, key) => {
    expect(await reasonOf(hmac(key, { ...HEADER, alg: 'HS256' }))).not.toBe('')
    expect(await reasonOf(hmac(key, HEADER))).toBe('the signature is not of 64 bytes')
  })

  it('with an empty, all-zero, short, long, doubled or foreign signature is refused', async () => {
    const bytes = Buffer.from(SIGNATURE, 'base64url')
    const bad = [
      Buffer.alloc(64),
      Buffer.alloc(64, 255),
      bytes.subarray(1),
      Buffer.concat([bytes, bytes]),
      bytes.toReversed(),
    ]
    for (const signature of bad)
      expect(await reasonOf(`${HEAD}.${BODY}.${Buffer.from(signature).toString('base64url')}`)).toContain('signature')
    expect(await reasonOf(`${HEAD}.${BODY}.`)).toContain('canonical')
  })

  it('with any byte of header, payload or signature changed is refused', async () => {
    for (let at = 0; at < GOOD.length; at += 1) {
      if (GOOD[at] === '.') continue
      const bent = `${GOOD.slice(0, at)}${GOOD[at] === 'A' ? 'B' : 'A'}${GOOD.slice(at + 1)}`
      await reasonOf(bent)
    }
  })

  it.each([
    ['no segment', ''],
    ['one segment', HEAD],
    ['two segments', `${HEAD}.${BODY}`],
    ['four segments', `${GOOD}.`],
    ['a leading dot', `.${GOOD}`],
    ['five segments, as a JWE', `${HEAD}.${BODY}.${SIGNATURE}.${BODY}.${SIGNATURE}`],
    ['no payload', `${HEAD}..${SIGNATURE}`],
    ['no header', `.${BODY}.${SIGNATURE}`],
    ['the flattened JSON form', JSON.stringify({ protected: HEAD, payload: BODY, signature: SIGNATURE })],
    [
      'the general JSON form',
      JSON.stringify({ payload: BODY, signatures: [{ protected: HEAD, signature: SIGNATURE }] }),
    ],
  ])('with %s is refused', async (_what, token) => {
    expect(await reasonOf(token)).toMatch(/segment/)
  })

  it('with two distinct refusals still shows one face, and both reasons differ', async () => {
    const reasons = await Promise.all([
      reasonOf(''),
      reasonOf('x'.repeat(5000)),
      reasonOf(`${GOOD}=`),
      reasonOf(forge({ ...HEADER, kid: 'other' }, CLAIMS)),
      reasonOf(forge(HEADER, CLAIMS, stranger.privateKey)),
      reasonOf(withClaims({ iss: 'other' })),
      reasonOf(without('cap')),
      reasonOf(withClaims({ gen: 2 })),
      reasonOf(withClaims({ cid: 'other' })),
      reasonOf(withClaims({ exp: NOW + 301 })),
      reasonOf(withClaims({ iat: NOW - 300, nbf: NOW - 300, exp: NOW - 31 })),
    ])
    expect(new Set(reasons).size).toBe(reasons.length)
  })
})

describe('a header that says more or less than it may (T2, T3)', () => {
  const jwk = stranger.publicKey.export({ format: 'jwk' })
  it.each<[string, Record<string, unknown>]>([
    ['jwk', { jwk }],
    ['jku', { jku: 'https://example.org/keys' }],
    ['x5u', { x5u: 'file:///etc/passwd' }],
    ['x5c', { x5c: ['MIIB'] }],
    ['x5t', { x5t: 'a' }],
    ['crit', { crit: ['exp'] }],
    ['crit, empty', { crit: [] }],
    ['b64', { b64: false, crit: ['b64'] }],
    ['cty', { cty: 'JWT' }],
    ['zip', { zip: 'DEF' }],
    ['enc', { enc: 'A256GCM' }],
    ['anything', { x: 1 }],
  ])('(%s) is refused before any key is chosen, by our own key or the one it brings', async (_name, extra) => {
    const header = { ...HEADER, ...extra }
    expect(await reasonOf(forge(header, CLAIMS))).toContain('exactly alg, typ and kid')
    expect(await reasonOf(forge(header, CLAIMS, stranger.privateKey))).toContain('exactly alg, typ and kid')
  })

  it.each([undefined, null, '', 'JWT', 'at+jwt', 'Agent+JWT', 'agent+jwt ', 'application/agent+jwt', 1, ['agent+jwt']])(
    'of type %j is refused',
    async (typ) => expect(await reasonOf(forge({ ...HEADER, typ }, CLAIMS))).toContain('exactly alg, typ and kid'),
  )

  it.each([
    '',
    '../keys/token.pub',
    '/dev/null',
    'active-key\0',
    "' or 1=1 --",
    '__proto__',
    'constructor',
    'toString',
    'Active-Key',
    ' active-key',
    'k'.repeat(2000),
  ])('with the key id %j misses the map', async (kid) =>
    expect(await reasonOf(forge({ ...HEADER, kid }, CLAIMS))).toContain('unknown key'),
  )

  it.each([undefined, null, 1, ['active-key'], { a: 1 }, true])(
    'with the key id %j is refused for its type',
    async (kid) => {
      expect(await reasonOf(forge({ ...HEADER, kid }, CLAIMS))).toContain('exactly alg, typ and kid')
    },
  )

  it.each(['null', '[]', '"EdDSA"', '1', 'x', '{"alg":"EdDSA"', '\ufeff{}', '{"a":{"b":{"c":{"d":{}}}}}'])(
    'that is %s is refused',
    async (text) => expect(await reasonOf(forge(text, CLAIMS))).toContain('header'),
  )

  it.each([
    '{"alg":"EdDSA","typ":"agent+jwt","kid":"active-key","kid":"active-key"}',
    '{"alg":"none","alg":"EdDSA","typ":"agent+jwt","kid":"active-key"}',
    '{"alg":"EdDSA","typ":"agent+jwt","kid":"active-key","\\u0061lg":"none"}',
    '{"alg":"EdDSA","typ":"agent+jwt","kid":"active-key","__proto__":{}}',
  ])('with a key twice or a prototype key is refused (T6): %s', async (text) => {
    expect(await reasonOf(forge(text, CLAIMS))).toContain('header')
  })
})

describe('another spelling of a valid token (T4)', () => {
  const last = (segment: string) => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    return segment.slice(0, -1) + alphabet[alphabet.indexOf(segment.at(-1) ?? '') + 1]
  }
  it.each([
    ['unused bits in the signature', `${HEAD}.${BODY}.${last(SIGNATURE)}`],
    ['padding after the signature', `${GOOD}==`],
    ['padding after the header', `${HEAD}=.${BODY}.${SIGNATURE}`],
    ['the other alphabet', `${HEAD}.${BODY}.${SIGNATURE.replace(/[-_]/g, '+')}+`],
    ['a space before', ` ${GOOD}`],
    ['a space after', `${GOOD} `],
    ['a line break', `${GOOD}\n`],
    ['a space inside', `${HEAD}. ${BODY}.${SIGNATURE}`],
    ['a NUL', `${GOOD}\0`],
    ['a byte order mark', `\ufeff${GOOD}`],
    ['a full-width dot', GOOD.replace('.', '\uff0e')],
    ['a prefix', `Bearer ${GOOD}`],
  ])('with %s is refused', async (_what, token) => {
    expect(await reasonOf(token)).toMatch(/segment|signature/)
  })
})

describe('a claim (T5, T6)', () => {
  it.each(Object.keys(CLAIMS))('%s that is missing is refused', async (name) => {
    expect(await reasonOf(without(name))).toContain(name)
  })

  const WRONG: Record<string, unknown[]> = {
    iss: [null, 1, [], {}, true],
    aud: [null, 'Hub', ['hub'], '', 'hub ', 1],
    sub: [null, 1, {}, ['x']],
    jti: [null, 1, '', 'short', `${'a'.repeat(21)}=`, 'a'.repeat(23), ['a'.repeat(22)]],
    iat: [null, '1', 1.5, -1, 1e308, true, [NOW], {}, ''],
    nbf: [null, '1', 1.5, -1, 1e308, true, [NOW], {}],
    exp: [null, '1', NOW + 0.5, -1, 1e308, true, [NOW], {}, 'never'],
    sid: [null, 1, '', 'Saaaaaaaaaaaaaaa', 'saaaaaaaaaaaaaa1', '../etc', 'saaaaaaaaaaaaaaa\n'],
    cid: [null, 1, {}, 'c'.repeat(65)],
    gen: [null, '1', 0, -1, 1.5, true, 1e300],
    task: [null, 1, '', 'x', '018F0000-0000-7000-8000-000000000001'],
    cap: [null, 'read-source', {}, [1], ['Read'], [['a']], [null]],
    dlg: [null, '1', -1, 0.5, true],
    cnf: [null, {}, 'x', { jkt: 1 }, { jkt: '' }, { jkt: thumbprint(JOINED), extra: 1 }, [thumbprint(JOINED)]],
  }
  const table = Object.entries(WRONG).flatMap(([name, values]) => values.map((value) => [name, value] as const))
  it('has a wrong form in the table for each of its kind', () => {
    expect(Object.keys(WRONG).sort()).toEqual(Object.keys(CLAIMS).sort())
  })
  it.each(table)('%s of the wrong type or range %j is refused', async (name, value) => {
    await reasonOf(withClaims({ [name]: value }))
  })

  it('that nobody knows is refused', async () => {
    expect(await reasonOf(withClaims({ admin: true }))).toContain('claim')
    expect(await reasonOf(withClaims({ constructor: 1 }))).toContain('payload')
  })

  it.each([
    ['exp more than five minutes after iat', { exp: NOW + 301 }],
    ['exp in the far future', { exp: 9_007_199_254_740_991 }],
    ['exp at iat', { exp: NOW }],
    ['exp before iat', { exp: NOW - 1 }],
    ['iat and nbf in the future beyond the skew', { iat: NOW + 31, nbf: NOW + 31, exp: NOW + 331 }],
    ['nbf alone in the future', { nbf: NOW + 31 }],
    ['an exp passed by more than the skew', { iat: NOW - 330, nbf: NOW - 330, exp: NOW - 30 }],
    ['everything at zero', { iat: 0, nbf: 0, exp: 0 }],
    ['an iat of the epoch', { iat: 0, nbf: 0, exp: 300 }],
    ['another issuer', { iss: 'other-hub' }],
    ['an issuer in another case', { iss: 'Test-Hub' }],
  ])('set is refused with %s', async (_what, change) => {
    await reasonOf(withClaims(change))
  })

  it('set is taken at the very ends of its window', async () => {
    for (const claims of [
      { iat: NOW + 30, nbf: NOW + 30, exp: NOW + 330 },
      { iat: NOW - 329, nbf: NOW - 329, exp: NOW - 29 },
      { exp: NOW + 1 },
    ])
      await expect(verify(withClaims(claims))).resolves.toBeDefined()
  })

  it.each([
    ['sub twice, ours last', `{"sub":"x",${JSON.stringify(CLAIMS).slice(1)}`],
    ['sub twice, ours first', `${JSON.stringify(CLAIMS).slice(0, -1)},"sub":"x"}`],
    ['sub twice by an escape', `${JSON.stringify(CLAIMS).slice(0, -1)},"s\\u0075b":"x"}`],
    ['jkt twice, one level down', JSON.stringify(CLAIMS).replace('"cnf":{', '"cnf":{"jkt":"x",')],
    ['a prototype key', `${JSON.stringify(CLAIMS).slice(0, -1)},"__proto__":{"live":true}}`],
  ])('set with %s is refused (T6, T25)', async (_what, text) => {
    expect(await reasonOf(forge(HEADER, text))).toContain('payload')
  })

  it.each(['null', '[]', '"x"', '1', '', 'x', '{'])('set that is %j is refused', async (text) => {
    await reasonOf(forge(HEADER, text))
  })
})

describe('a token that is much too long (T7)', () => {
  it('is refused by its length, 1 MiB of it at once', async () => {
    for (const [head, sign] of [
      ['', 'a'],
      ['', '.'],
      [GOOD, 'A'],
    ] as const) {
      const fault = await growthFault(5, (times) => {
        const token = head + sign.repeat(times * 1024 ** 2)
        return async () => expect(await reasonOf(token)).toBe('the token is too long')
      })
      expect(fault).toBeUndefined()
    }
  })

  it('is too long from 4 097 characters on', async () => {
    const padded = forge({ ...HEADER }, { ...CLAIMS, cap: Array.from({ length: 60 }, () => 'c'.repeat(60)) })
    expect(padded.length).toBeGreaterThan(TOKEN_BYTES_MAX)
    expect(await reasonOf(padded)).toBe('the token is too long')
    expect(await reasonOf('a'.repeat(4096))).not.toBe('the token is too long')
    expect(await reasonOf('a'.repeat(4097))).toBe('the token is too long')
  })

  it('with a header of a hundred thousand brackets costs nothing', async () => {
    const fault = await growthFault(20, (times) => async () => {
      expect(await reasonOf(`${encode('['.repeat(100_000 * times))}.${BODY}.${SIGNATURE}`)).toBe(
        'the token is too long',
      )
      expect(await reasonOf(`${encode('['.repeat(2000))}.${BODY}.${SIGNATURE}`)).toContain('nested')
    })
    expect(fault).toBeUndefined()
  })
})

describe('sockets and tokens (T8)', () => {
  const sessions = ['saaaaaaaaaaaaaaa', 'sbbbbbbbbbbbbbbb', 'sccccccccccccccc', 'sddddddddddddddd']
  // The same agent twice: the socket decides between them too.
  const all = sessions.map((session, index) =>
    facts({
      session,
      agent: index < 2 ? 'reader' : `agent-${index}`,
      containerId: `container-${index}`,
      publicKey: Buffer.alloc(32, index).toString('base64url'),
    }),
  )
  const known = (id: string) => all.find(({ session }) => session === id)

  it('agree on the diagonal only', async () => {
    for (const owner of all) {
      const { token } = await tokens.mint(owner, 3_600_000)
      for (const { session } of all) {
        if (session === owner.session) await tokens.verify(token, session, known)
        else expect(await reasonOf(token, session, known)).toBe('the token of another session came in on this socket')
      }
      expect(await reasonOf(token, '', known)).toContain('another session')
    }
  })

  it.each<[string, Partial<SessionFacts> | undefined, string]>([
    ['is gone', undefined, 'ended'],
    ['has ended', { live: false }, 'ended'],
    ['was revoked', { generation: 2 }, 'earlier generation'],
    ['runs in another container now', { containerId: 'swapped' }, 'another container'],
    ['has no container', { containerId: '' }, 'another container'],
    ['was joined by another key', { publicKey: Buffer.alloc(32, 9).toString('base64url') }, 'another key'],
    ['was joined by no key', { publicKey: '' }, 'another key'],
    ['is of another agent', { agent: 'other' }, 'another session'],
  ])('do not agree when the session %s', async (_what, change, reason) => {
    expect(await reasonOf(GOOD, FACTS.session, () => (change === undefined ? undefined : facts(change)))).toContain(
      reason,
    )
  })

  it('do not agree by a subject that only looks right', async () => {
    for (const sub of [
      '',
      `spiffe://test-hub/agent/reader/${sessions[1]}`,
      `${CLAIMS.sub} `,
      `SPIFFE${String(CLAIMS.sub).slice(6)}`,
    ])
      expect(await reasonOf(withClaims({ sub }))).toContain('another session')
  })

  it('do not agree by a subject of this socket over another session of the same agent', async () => {
    const [mine = '', other = ''] = sessions
    const owner = read((await tokens.mint(all[0] ?? FACTS, 3_600_000)).token.split('.')[1] ?? '')
    const bent = forge(HEADER, { ...owner, sub: `spiffe://test-hub/agent/reader/${other}` })
    expect(await reasonOf(bent, other, known)).toContain('another session')
    expect(await reasonOf(bent, mine, known)).toContain('another session')
  })

  it('do not agree on a token that is on the deny list', async () => {
    denied.add(String(CLAIMS.jti))
    expect(await reasonOf(GOOD)).toContain('deny list')
    denied.clear()
    await verify(GOOD)
  })

  it('cannot be made to: no claim of a wrongly signed token reaches the session table', async () => {
    let asked = 0
    const spy = (id: string) => {
      asked += 1
      return known(id)
    }
    await reasonOf(forge(HEADER, CLAIMS, stranger.privateKey), FACTS.session, spy)
    await reasonOf(withClaims({ iss: 'x' }), FACTS.session, spy)
    expect(asked).toBe(0)
  })
})
