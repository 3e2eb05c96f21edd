/** The bytes that are sent to a model server are the bytes that were judged, with the cap, `store` and the wish for usage written into them. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { judgeBody, judgeHead } from '../../../../../hub/work/egress/wire.ts'
import { LEAST } from '../../../../support/wire-bodies.ts'
import {
  judgeAt,
  kindOfRecorded,
  passedIn,
  recorded,
  recordedNames,
  refusalIn,
  sentBytes,
  type Target,
  upstreamOf,
} from '../../../../support/wire-requests.ts'

describe('the body that is sent', () => {
  const CAPPED: readonly [Target, string, string, boolean][] = [
    [
      'messages',
      '{"model":"m", "max_tokens" : 128000,"messages":[]}',
      '{"model":"m", "max_tokens" : 500,"messages":[]}',
      true,
    ],
    ['messages', '{"model":"m","max_tokens":500,"messages":[]}', '{"model":"m","max_tokens":500,"messages":[]}', false],
    ['messages', '{"model":"m","messages":[]}', '{"max_tokens":500,"model":"m","messages":[]}', true],
    [
      'chat',
      '{"model":"m","messages":[]}',
      '{"max_completion_tokens":500,"store":false,"model":"m","messages":[]}',
      true,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":501}',
      '{"store":false,"model":"m","messages":[],"max_tokens":500}',
      true,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":null,"store":true}',
      '{"max_completion_tokens":500,"model":"m","messages":[],"max_tokens":null,"store":false}',
      true,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":9,"stream":true}',
      '{"store":false,"stream_options":{"include_usage":true},"model":"m","messages":[],"max_tokens":9,"stream":true}',
      false,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":9,"store":null,"stream":true,"stream_options":{"include_usage":false}}',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":{"include_usage":true}}',
      false,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":{}}',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":{"include_usage":true}}',
      false,
    ],
    [
      'chat',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":null}',
      '{"model":"m","messages":[],"max_tokens":9,"store":false,"stream":true,"stream_options":{"include_usage":true}}',
      false,
    ],
    [
      'responses',
      '{"model":"m","input":"x","store":true}',
      '{"max_output_tokens":500,"model":"m","input":"x","store":false}',
      true,
    ],
    ['generate', '{"contents":[]}', '{"generationConfig":{"maxOutputTokens":500},"contents":[]}', true],
    ['generate', '{}', '{"generationConfig":{"maxOutputTokens":500}}', true],
    ['generate', '{"generationConfig":{ }}', '{"generationConfig":{"maxOutputTokens":500 }}', true],
    [
      'generate',
      '{"generationConfig":{"topK":1,"maxOutputTokens":9000},"store":true}',
      '{"generationConfig":{"topK":1,"maxOutputTokens":500},"store":false}',
      true,
    ],
    ['embeddings', '{"model":"m","input":"x"}', '{"model":"m","input":"x"}', false],
    ['countMessages', '{"model":"m","messages":[]}', '{"model":"m","messages":[]}', false],
  ]
  it.each(CAPPED)('has its cap, and else the bytes that came: %s %s', (target, body, sent, clamped) => {
    const judged = passedIn(judgeAt(target, body))
    expect(sentBytes(judged, 500).toString()).toBe(sent)
    expect(judged.withCap(500)).toMatchObject({ clamped, length: sent.length })
  })

  it('keeps numbers beyond 2^53, escapes and spaces as they came', () => {
    const body =
      '{ "model":"m","messages":[{"role":"user","content":"\\u00e9\\/é \\n"}],\n"tools":[{"name":"f","input_schema":{"maximum":18446744073709551615,"x":1.50}}],"max_tokens":9000}'
    expect(sentBytes(passedIn(judgeAt('messages', body)), 5).toString()).toBe(body.replace('9000', '5'))
  })

  it("caps a server of one's own by the name that it knows", () => {
    expect(sentBytes(passedIn(judgeAt('chat', LEAST.chat, { local: true })), 5).toString()).toMatch(
      /^\{"max_tokens":5,/,
    )
  })

  it('is none where a thinking budget is not below the cap: that is refused by name', () => {
    const thinking = passedIn(
      judgeAt('messages', { ...LEAST.messages, max_tokens: 9000, thinking: { type: 'enabled', budget_tokens: 5000 } }),
    )
    expect(refusalIn(thinking.withCap(5000)).detail).toContain('thinking budget of 5000 tokens')
    expect(passedIn(thinking.withCap(5001)).clamped).toBe(true)
    const budget = { ...LEAST.generate, generationConfig: { thinkingConfig: { thinkingBudget: 600 } } }
    expect(refusalIn(passedIn(judgeAt('generate', budget)).withCap(500)).code).toBe('limit_exceeded')
  })

  const cap = fc.constantFrom<unknown>(null, 1, 2048, 99_999, 300, 4000, -1)
  const flag = fc.constantFrom<unknown>(true, true, false, null)
  const fields = fc.record(
    {
      ...{ model: fc.constantFrom<unknown>('m', 'n', 'o', null), max_tokens: cap, max_completion_tokens: cap },
      ...{
        store: flag,
        stream: flag,
        n: fc.constantFrom<unknown>(1, 2, 3, null, 0),
        user: fc.string({ maxLength: 3 }),
      },
      stream_options: fc.constantFrom<unknown>(null, {}, { include_usage: false }, { include_usage: null }, []),
    },
    { requiredKeys: [] },
  )
  const written = fc.constantFrom(undefined, 1, '\t')
  const bent = fc.record({
    at: fc.nat(),
    put: fc.constantFrom('', '"', ',', '{', '}', '0', 'e', '\\', '\n', '"model":"dear",'),
  })

  it('E23: what JSON.parse reads of the bytes sent is what was judged, with the cap, store and usage and nothing else changed', () => {
    let passed = 0
    fc.assert(
      fc.property(
        fields,
        written,
        fc.option(bent, { freq: 1 }),
        fc.integer({ min: 1, max: 5000 }),
        (changes, indent, bend, most) => {
          const whole = JSON.stringify({ ...LEAST.chat, ...changes }, null, indent)
          const at = bend === null ? 0 : bend.at % whole.length
          const text = bend === null ? whole : whole.slice(0, at) + bend.put + whole.slice(at)
          const judged = judgeAt('chat', text)
          if ('code' in judged) return
          passed += 1
          const [before, sent] = [JSON.parse(text), JSON.parse(sentBytes(judged, most).toString())]
          expect(sent.model).toBe(judged.model)
          expect(sent.store).toBe(false)
          const caps = [sent.max_tokens, sent.max_completion_tokens].filter((each) => typeof each === 'number')
          expect(caps).toEqual([Math.min(most, judged.askedOutput ?? most)])
          if (judged.stream) expect(sent.stream_options.include_usage).toBe(true)
          const changed = ['store', 'max_tokens', 'max_completion_tokens', ...(judged.stream ? ['stream_options'] : [])]
          for (const name of changed) for (const each of [before, sent]) delete each[name]
          expect(sent).toEqual(before)
        },
      ),
      { numRuns: 2000 },
    )
    expect(passed).toBeGreaterThan(200)
  })

  const odd = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      true,
      0,
      -1,
      1.5,
      '',
      'x',
      [],
      {},
      [null],
      { type: 'text' },
      { type: null },
      { type: [] },
      [[]],
      { text: {} },
    ),
    fc.json({ maxDepth: 2 }).map((text) => JSON.parse(text) as unknown),
  )
  it.each(recordedNames())('E23: is judged without a fault whatever stands where: %s', (name) => {
    const { method, target, headers, body } = recorded(name)
    const upstream = upstreamOf(kindOfRecorded(name))
    const head = passedIn(judgeHead(upstream, { method, target, headers }))
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 1, maxLength: 9 }), odd, fc.boolean(), (steps, value, adds) => {
        const whole = structuredClone(body)
        let at: Record<string, unknown> = whole
        for (const step of steps) {
          const keys = Object.keys(at)
          const key = keys[step % Math.max(keys.length, 1)] ?? 'x'
          const next = at[key]
          if (typeof next !== 'object' || next === null || step === steps.at(-1)) {
            at[adds ? 'model' : key] = structuredClone(value)
            break
          }
          at = next as Record<string, unknown>
        }
        const judged = judgeBody(upstream, head, Buffer.from(JSON.stringify(whole)))
        if ('code' in judged) return
        const [before, sent] = [JSON.parse(JSON.stringify(whole)), JSON.parse(sentBytes(judged, 99_999).toString())]
        for (const each of [before, sent])
          for (const changed of ['store', 'max_tokens', 'max_output_tokens', 'generationConfig']) delete each[changed]
        expect(sent).toEqual(before)
      }),
      { numRuns: 300 },
    )
  })
})
