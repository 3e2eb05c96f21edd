/** A key that an upstream sends back never reaches the agent, in no form and however the answer is cut (E14). */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLeakPatterns, createLeakScan } from '../../../../hub/edge/egress/leak-scan.ts'

const KEY = 'sk-proj-Zq8/wN3+vTy0LmKc7Rb=Xe51HdUa9'
const patterns = createLeakPatterns([
  ['model-key', Buffer.from(KEY)],
  ['other-key', Buffer.from('tok_4b5c6d7e8f90123456')],
])
function scanned(text: string, cuts: readonly number[] = []) {
  const bytes = Buffer.from(text)
  const scan = createLeakScan(patterns)
  const out: Buffer[] = []
  let from = 0
  for (const cut of [...cuts].map((each) => each % (bytes.length + 1)).sort((a, b) => a - b)) {
    out.push(...scan.pass(Buffer.from(bytes.subarray(from, Math.max(from, cut)))).map((each) => Buffer.from(each)))
    from = Math.max(from, cut)
  }
  out.push(...scan.pass(Buffer.from(bytes.subarray(from))), scan.rest())
  return { text: Buffer.concat(out).toString(), found: [...scan.found], count: scan.count }
}
const unicode = (text: string) =>
  [...text].map((one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')

const FORMS: [string, string][] = [
  ['as it is', KEY],
  ['within JSON', JSON.stringify({ error: `bad key ${KEY}` })],
  ['with its slash escaped', KEY.replaceAll('/', '\\/')],
  ['with its odd letters escaped', KEY.replace('=', '\\u003d').replace('+', '\\u002b').replace('/', '\\u002f')],
  ['with every letter escaped', unicode(KEY)],
  ['in base64', Buffer.from(KEY).toString('base64')],
  ['in base64 within something else', Buffer.from(`Basic user:${KEY}\n`).toString('base64')],
  ['in base64url', Buffer.from(`u:${KEY}`).toString('base64url')],
  ['in hex', Buffer.from(KEY).toString('hex')],
  ['in a URL', encodeURIComponent(KEY)],
]

describe('a known secret in an answer [E14]', () => {
  it.each(FORMS)('%s is masked with as many stars, and named', (_form, form) => {
    const text = `data: before ${form} after\n\n`
    const got = scanned(text)
    expect(got.text).toHaveLength(text.length)
    expect(got.text).toMatch(/\*{8}/)
    expect(got.found).toEqual(['model-key'])
    for (let at = 0; at + 8 <= KEY.length; at += 1) expect(got.text).not.toContain(KEY.slice(at, at + 8))
  })

  it('half masked by the service gives away neither of its ends', () => {
    const got = scanned(`Incorrect API key provided: ${KEY.slice(0, 16)}${'*'.repeat(20)}${KEY.slice(-8)}.`)
    expect(got.text).not.toContain(KEY.slice(8, 16))
    expect(got.text).not.toContain(KEY.slice(-8))
    expect(got.found).toEqual(['model-key'])
  })

  it('leaves alone what every key of that service begins with', () => {
    const text = 'Keys begin with sk-proj- or sk-ant-api03- and are secret.'
    expect(scanned(text)).toEqual({ text, found: [], count: 0 })
  })

  it('is found across every cut of the stream, and the answer is the same', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...FORMS.map(([, form]) => form), 'tok_4b5c6d7e8f90123456', 'sk-proj-', 'nothing at all'),
        fc.constantFrom(...FORMS.map(([, form]) => form), ''),
        fc.string({ maxLength: 40 }),
        fc.array(fc.nat(1000), { maxLength: 10 }),
        (first, second, between, cuts) => {
          const text = `{"a":"${first}${between}${second}"}\n\n`
          const bytes = Buffer.from(text).toString()
          expect(scanned(bytes, cuts)).toEqual(scanned(bytes))
        },
      ),
      { numRuns: 600 },
    )
  })

  it('is found where a large piece begins in it, and such a piece is not copied for what waited before it [E20]', () => {
    const forms = [...FORMS.map(([, form]) => form), 'sk-proj-', 'nothing at all']
    const filling = 'large body of a bench\n'.repeat(300)
    for (const form of forms)
      for (let cut = 0; cut <= form.length; cut += 1) {
        const text = `${filling}${form}${filling}`
        expect(scanned(text, [filling.length + cut])).toEqual(scanned(text))
      }
    const scan = createLeakScan(patterns)
    expect(scan.pass(Buffer.from('abc sk-')).join('')).toBe('abc ')
    const piece = Buffer.from(filling)
    const [waited, passed] = scan.pass(piece)
    expect(waited?.toString()).toBe('sk-')
    expect(passed?.buffer).toBe(piece.buffer)
  })

  it('holds back nothing of an event that cannot begin a secret', () => {
    const scan = createLeakScan(patterns)
    const event = 'data: {"delta":"hello"}\n\n'
    expect(scan.pass(Buffer.from(event)).join('')).toBe(event)
    expect(scan.pass(Buffer.from('abc sk-')).join('')).toBe('abc ')
    expect(scan.pass(Buffer.from('ate\n\n')).join('')).toBe('sk-ate\n\n')
  })
})
