/** Which request is the beginning of another, so that what was paid for once is not reserved at its worst again. */
import { describe, expect, it } from 'vitest'
import { judgeBody, judgeHead } from '../../../../../hub/work/egress/wire.ts'
import { LEAST } from '../../../../support/wire-bodies.ts'
import {
  JSON_HEADERS,
  judgeAt,
  kindOfRecorded,
  passedIn,
  recorded,
  upstreamOf,
} from '../../../../support/wire-requests.ts'

describe('a body for a model server', () => {
  it.each(['claude-code', 'codex', 'gemini'])(
    'knows the second request of %s as a longer form of its first',
    (name) => {
      const judge = (which: string) => {
        const { method, target, headers, body } = recorded(`${name}-${which}`)
        const upstream = upstreamOf(kindOfRecorded(name))
        return passedIn(
          judgeBody(
            upstream,
            passedIn(judgeHead(upstream, { method, target, headers })),
            Buffer.from(JSON.stringify(body)),
          ),
        )
      }
      const [first, second] = [judge('first'), judge('second')]
      const found = second.prefixes.find(({ hash }) => hash === first.prefixes[0]?.hash)
      expect(found?.restBytes).toBeGreaterThan(100)
      expect(found?.restBytes).toBeLessThan(1000)
      expect(first.prefixes[0]?.restBytes).toBe(0)
    },
  )

  it('takes a request for no beginning of another if anything that the model reads differs', () => {
    const [one, two] = [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
    ]
    const first = { ...LEAST.messages, system: 's', tools: [{ name: 'f', input_schema: {} }], messages: [one] }
    const longer = { ...first, messages: [one, two] }
    const isBeginning = (other: object) => {
      const hash = passedIn(judgeAt('messages', first)).prefixes[0]?.hash
      return passedIn(judgeAt('messages', other)).prefixes.some((each) => each.hash === hash)
    }
    expect(isBeginning(longer)).toBe(true)
    expect(isBeginning({ ...longer, max_tokens: 7, metadata: { user_id: 'x' }, stream: true })).toBe(true)
    expect(isBeginning({ ...longer, system: 's2' })).toBe(false)
    expect(isBeginning({ ...longer, tools: [...first.tools, { name: 'g', input_schema: {} }] })).toBe(false)
    expect(isBeginning({ ...longer, messages: [{ ...one, content: 'other' }, two] })).toBe(false)
    expect(isBeginning({ ...longer, messages: [two, one] })).toBe(false)
    expect(isBeginning({ ...longer, model: 'other' })).toBe(false)
    const hashAt = (model: string) => {
      const [upstream, target] = [upstreamOf('google'), `/v1beta/models/${model}:generateContent`]
      const head = passedIn(judgeHead(upstream, { method: 'POST', target, headers: JSON_HEADERS }))
      return passedIn(judgeBody(upstream, head, Buffer.from(JSON.stringify(LEAST.generate)))).prefixes[0]?.hash
    }
    expect(hashAt('a')).toBe(hashAt('a'))
    expect(hashAt('a')).not.toBe(hashAt('b'))
  })
})
