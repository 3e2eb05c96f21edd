/** S1-62: what the choke point masks, and what it leaves alone. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createRedaction, type Redaction } from '../../../hub/base/redaction.ts'

const knowing = (...values: (string | Buffer)[]) => {
  const redaction = createRedaction()
  const known = values.map((value, at) => redaction.know(`s${at}`, Buffer.from(value)))
  return { ...redaction, known }
}
const MASK = '[redacted]'

describe('the value of a known secret', () => {
  const value = 'top "secret" väl\\ue/9'
  const spellings: [string, string][] = [
    ['as it is', value],
    ['in JSON', JSON.stringify(value)],
    ['in JSON within JSON', JSON.stringify(JSON.stringify(value))],
    ['in an address', encodeURIComponent(value)],
    ['in an address, lower case', encodeURIComponent(value).replaceAll(/%[\dA-F]{2}/g, (each) => each.toLowerCase())],
    ['in a form', encodeURIComponent(value).replaceAll('%20', '+')],
    ['in hex', Buffer.from(value).toString('hex')],
    ['in HEX', Buffer.from(value).toString('hex').toUpperCase()],
    ['in base64', Buffer.from(value).toString('base64')],
    ['in base64url', Buffer.from(value).toString('base64url')],
    ['in base64 with its line break', Buffer.from(`${value}\n`).toString('base64')],
    ['in base64 after one byte', Buffer.from(`:${value}:`).toString('base64')],
    ['in base64 after two bytes', Buffer.from(`a:${value}`).toString('base64url')],
  ]
  test.each(spellings)('is masked %s', (_how, written) => {
    const { text } = knowing(`${value}\n`)
    const masked = text(`before ${written} after`)
    expect(masked).toContain(MASK)
    expect(masked.startsWith('before ')).toBe(true)
    expect(masked.endsWith(' after')).toBe(true)
    // At most what the neighbours share with it stays.
    expect(masked.length - 'before  after'.length - MASK.length).toBeLessThan(9)
  })

  test('is masked too if it holds the sign that stands for bytes which are no text', () => {
    const { text, known } = knowing('pass-\ufffd-word-9')
    expect(known).toEqual([true])
    expect(text('it is pass-\ufffd-word-9, or "pass-%EF%BF%BD-word-9"')).toBe(`it is ${MASK}, or "${MASK}"`)
    // Bytes that are no text at all are read one for one, as before.
    expect(knowing(Buffer.from('pass-\xff-word-9', 'latin1')).text('pass-\xff-word-9')).toBe(MASK)
  })

  test('is masked wherever it stands in any text, and nothing else is', () => {
    const secret = fc
      .string({ minLength: 8, maxLength: 90, unit: 'grapheme' })
      .filter((each) => knowing(each).known[0] === true)
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ maxLength: 30 }), secret), { maxLength: 4 }),
        fc.string(),
        (parts, end) => {
          const { text } = knowing(...parts.map(([, each]) => each))
          const written = parts.map(([before, each]) => `${before} ${each.trim()} `).join('') + end
          const masked = text(written)
          for (const [, each] of parts) expect(masked.includes(each.trim())).toBe(false)
          if (parts.length === 0) expect(masked).toBe(written)
        },
      ),
    )
  })

  test('is masked if it is long, also where its beginning comes again and again before it', () => {
    const long = `${'ab1-'.repeat(60)}!end`
    expect(knowing(long).text(`${'ab1-'.repeat(200)}!end and ${long}`)).toBe(`${'ab1-'.repeat(140)}${MASK} and ${MASK}`)
  })

  test('is masked line by line, if it is a key of many lines', () => {
    const line = 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ'
    const { text } = knowing(`-----BEGIN X-----\n${line}\n-----END X-----\n`)
    expect(text(`it printed ${line}`)).toBe(`it printed ${MASK}`)
    expect(text('-----BEGIN X-----')).toBe('-----BEGIN X-----')
  })

  test('of two that begin alike the longer is masked whole', () => {
    const { text } = knowing('abcd-1234', 'abcd-1234-5678')
    expect(text('x abcd-1234-5678 y abcd-1234 z')).toBe(`x ${MASK} y ${MASK} z`)
  })

  test('in part is no secret, but at the edge of a piece of a stream it is', () => {
    const { text, piece, secretIn } = knowing('0123-abcd-4567-efgh')
    expect(text('begins 0123-abcd-45')).toBe('begins 0123-abcd-45')
    expect(secretIn({ token: '0123-abcd-4567' })).toBeUndefined()
    expect(secretIn({ deep: [{ '0123-abcd-4567-efgh': 1 }] })).toBe('s0')
    expect(piece('begins 0123-abcd-45')).toBe(`begins ${MASK}`)
    expect(piece('d-4567-efgh ends')).toBe(`${MASK} ends`)
    expect(piece('23-abcd-4567-ef')).toBe(MASK)
    expect(piece('an ordinary line')).toBe('an ordinary line')
  })

  test.each(['short', 'password', 'a plain word', 'task.submit', '20261130', 'aaaaaaaaaaaa', '        ', ''])(
    'that is short or common masks nothing: %j',
    (value) => {
      const { text, known } = knowing(value)
      expect(known).toEqual([false])
      expect(text(`the ${value} of 20261130 in password`)).toBe(`the ${value} of 20261130 in password`)
    },
  )

  const numbered = (at: number) => Buffer.from(`value-${at}-${'x7'.repeat(4)}`)
  const shown = (redaction: Redaction, at: number) => redaction.text(numbered(at).toString()) !== MASK

  test('is still masked after it was replaced, and no more than 256 of those are kept', () => {
    const redaction = createRedaction()
    redaction.know('steady', numbered(1000))
    for (let at = 0; at < 300; at += 1) redaction.know('rotated', numbered(at))
    expect([299, 43].map((at) => shown(redaction, at))).toEqual([false, false])
    expect(shown(redaction, 42)).toBe(true)
    // It holds this still, however often another one changes.
    expect(shown(redaction, 1000)).toBe(false)
  })

  test('that a secret holds again is masked like a new one', () => {
    const redaction = createRedaction()
    for (const at of [1000, 1001, 1000]) redaction.know('back', numbered(at))
    for (let at = 0; at < 400; at += 1) redaction.know('rotated', numbered(at))
    expect([1000, 1001].map((at) => shown(redaction, at))).toEqual([false, true])
  })

  test('of a thousand secrets is masked for each, and of more than 2048 for the newest', () => {
    const redaction = createRedaction()
    for (let at = 0; at < 2060; at += 1) redaction.know(`name-${at}`, numbered(at))
    expect([11, 12, 1000, 2059].map((at) => shown(redaction, at))).toEqual([true, false, false, false])
  })
})

describe('what looks like a key', () => {
  const digits = 'A1b2C3d4E5f6G7h8I9j0'
  const jwt = `eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.${digits}`
  const keys = [
    `sk-ant-api03-${digits}`,
    `sk-proj-${digits}`,
    `sk_live_${digits}`,
    `ghp_${digits}${digits}`,
    `github_pat_${digits}_${digits}`,
    `glpat-${digits}`,
    `xoxb-123456789-${digits}`,
    'AKIAIOSFODNN7EXAMPLE',
    `AIza${digits}${digits.slice(0, 15)}`,
    `npm_${digits}${digits.slice(0, 16)}`,
    `hf_${digits}${digits}`,
    `SG.${digits}.${digits}`,
    `hvs.${digits}`,
    `123456789:AA${digits}${digits.slice(0, 13)}`,
    jwt,
  ]
  test.each(keys)('is masked: %s', (key) => {
    const { text } = createRedaction()
    expect(text(key)).toBe(MASK)
    expect(text(`it said "${key}", and went on`)).toBe(`it said "${MASK}", and went on`)
    expect(JSON.parse(text(JSON.stringify({ a: key, b: 1 })))).toEqual({ a: MASK, b: 1 })
  })

  test.each([
    [`Authorization: Bearer ${digits}`, `Authorization: Bearer ${MASK}`],
    [`authorization=Basic dXNlcjpwYXNz`, `authorization=Basic ${MASK}`],
    [`{"authorization":"Bearer ${digits}","x":1}`, `{"authorization":"Bearer ${MASK}","x":1}`],
    [`curl -H 'X-Api-Key: ${digits}' x`, `curl -H 'X-Api-Key: ${MASK}' x`],
    [`with bearer ${digits}.`, `with bearer ${MASK}`],
    ['postgres://ann:pw@db/x', `postgres://${MASK}@db/x`],
    ['postgres://ann:p/w@db/x?y=1', `postgres://${MASK}@db/x?y=1`],
    ['postgres://ann:p@ss@db/x', `postgres://${MASK}@db/x`],
    ['amqp://:8080pw/+=@mq:5672/v', `amqp://${MASK}@mq:5672/v`],
    [`git clone https://${digits}@host/a.git`, `git clone https://${MASK}@host/a.git`],
    ['https://ann@host/a', `https://${MASK}@host/a`],
    [`redis://${digits}@cache:6379`, `redis://${MASK}@cache:6379`],
    [`-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\nend`, `${MASK}\nend`],
    [`-----BEGIN PRIVATE KEY-----\nMIIEabc and the rest is lost`, MASK],
  ])('is masked where it is carried: %s', (written, masked) => {
    expect(createRedaction().text(written)).toBe(masked)
  })

  test('keeps a line of JSON a line of JSON', () => {
    const pem = '-----BEGIN PRIVATE KEY-----\nMIIE\nabc'
    const line = JSON.stringify({ level: 40, msg: pem, url: 'https://a:b@c', h: `Bearer ${digits}` })
    expect(JSON.parse(createRedaction().text(line))).toEqual({
      level: 40,
      msg: MASK,
      url: `https://${MASK}@c`,
      h: `Bearer ${MASK}`,
    })
  })

  test.each([
    ['-----BEGIN PRIVATE KEY-----MIIE"quoted', `${MASK}"quoted`],
    ['-----BEGIN PRIVATE KEY-----MII\\', `${MASK}\\`],
    ['-----BEGIN EC PRIVATE KEY-----\r\nMII/E\r\n-----END EC PRIVATE KEY-----"', `${MASK}"`],
    [`GET /\nX-Api-Key: abcdefgh\n`, `GET /\nX-Api-Key: ${MASK}\n`],
    [`GET /\r\nAuthorization: token abcdefgh`, `GET /\r\nAuthorization: token ${MASK}`],
    [`a\tbearer ${digits}`, `a\tbearer ${MASK}`],
    [
      '-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\nlQOY/+a\n=twTO\n-----END PGP PRIVATE KEY BLOCK-----\nx',
      `${MASK}\nx`,
    ],
    [`a\u000bbearer ${digits}`, `a\u000bbearer ${MASK}`],
    ['cookie: \nabcdefgh', 'cookie: \nabcdefgh'],
    [`\n${'word-'.repeat(11)}word`, `\n${MASK}`],
    [`\u000b${'word-'.repeat(11)}word`, `\u000b${MASK}`],
    ...keys.map((key) => [`a\n${key}`, `a\n${MASK}`]),
  ])('is masked in the lines within a text of JSON, once and twice written, and leaves it one: %j', (given, masked) => {
    const { text } = createRedaction()
    expect(JSON.parse(text(JSON.stringify({ a: given })))).toEqual({ a: masked })
    const twice = JSON.parse(text(JSON.stringify({ a: JSON.stringify({ b: given }) }))) as { a: string }
    expect(JSON.parse(twice.a)).toEqual({ b: masked })
  })

  test('whatever stands beside it, a text of JSON stays one', () => {
    const part = fc.oneof(
      fc.constantFrom(
        '-----BEGIN PRIVATE KEY-----',
        '-----END PRIVATE KEY-----',
        'cookie: ',
        'bearer ',
        'https://u:',
        'https://u:/',
        'http://u',
        '@h',
        digits,
        'word-'.repeat(12),
        ...keys,
      ),
      fc.constantFrom('"', '\\', '\n', 'n', ' ', '=', '\u000b'),
      fc.string(),
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const line = JSON.stringify({ a: parts.join(''), b: 1 })
        expect(JSON.parse(createRedaction().text(line))).toMatchObject({ b: 1 })
      }),
    )
  })

  test.each([
    'see http://127.0.0.1:8080/@me, https://medium.com/@me?to=a@b and http://[::1]:9134/@me and http://[fe80::1]:80/a@b',
    'ssh://git@host/a.git, postgres://ann@db/x, registry://host:5000/agent@sha256, mail ann@host',
    'the basic knowledge of a bearer of news is in the task-list, see https://docs/x:8080/a',
    'sk-learn and ask-people are words; risk-assessment-of-2026-11-30-and-later too',
    `digest ${'0f'.repeat(32)} of 018f3c5e-0000-7000-8000-000000000000`,
    'session s2abcdefghijklmn of agent:alice/s2abcdefghijklmn, attempt 3',
  ])('leaves alone: %s', (text) => {
    expect(createRedaction().text(text)).toBe(text)
  })
})

test('a value of JSON keeps its form, keys are masked too, and what holds no secret stays the same object', () => {
  const { value } = knowing('canary-1234-5678')
  const clean = { a: [1, null, { b: 'x' }], c: true }
  expect(value(clean)).toBe(clean)
  expect(value({ 'k canary-1234-5678': ['canary-1234-5678', 1], d: { e: 'no' } })).toEqual({
    [`k ${MASK}`]: [MASK, 1],
    d: { e: 'no' },
  })
})

describe("twelve joined words, as on the contact's card (T30)", () => {
  const word = fc.stringMatching(/^[a-zA-Z]{3,8}$/)
  const joint = fc.constantFrom('-', '+', '%20', '%2d', '%2D')
  const around = fc.constantFrom('', ' ', '{"to":"', '0-0-0-0 ', '%-+%-+ ', '01890000-0000-7000-8000-000000000001 ')
  const joined = (count: number) =>
    fc
      .tuple(
        fc.array(word, { minLength: count, maxLength: count }),
        fc.array(joint, { minLength: count, maxLength: count }),
      )
      .map(([words, joints]) => words.map((each, at) => (at === 0 ? each : joints[at] + each)).join(''))

  test('are masked whatever joins them and whatever stands around them; eleven are not', () => {
    const { text } = createRedaction()
    fc.assert(
      fc.property(around, joined(12), around, (before, words, after) => {
        expect(text(`${before}${words} ${after}`)).toBe(`${before}${MASK} ${after}`)
      }),
    )
    fc.assert(
      fc.property(around, joined(11), around, (before, words, after) => {
        expect(text(`${before}${words} ${after}`)).toBe(`${before}${words} ${after}`)
      }),
    )
  })
})
