/** The question to a provider's counting endpoint: made of a request that passed, it is one that its endpoint takes. */
import { describe, expect, test } from 'vitest'
import { countTold } from '../../../../../hub/work/egress/wire/count.ts'
import { judgeBody, judgeHead } from '../../../../../hub/work/egress/wire.ts'
import { kindOfRecorded, passedIn, recorded, recordedNames, upstreamOf } from '../../../../support/wire-requests.ts'

const ENDPOINTS: Record<string, RegExp> = {
  anthropic: /^\/v1\/messages\/count_tokens$/,
  openai: /^\/v1\/responses\/input_tokens$/,
  google: /^\/v1beta\/models\/[\w.-]+:countTokens$/,
}

describe('the input of a request is counted', () => {
  test.each(recordedNames())('of what %s really sends, by an endpoint that the closed list has', (name) => {
    const kind = kindOfRecorded(name)
    const { method, target, headers, body } = recorded(name)
    const head = passedIn(judgeHead(upstreamOf(kind), { method, target, headers }))
    const judged = passedIn(judgeBody(upstreamOf(kind), head, Buffer.from(JSON.stringify(body))))
    const asked = judged.toCount()
    if (asked === undefined) throw new Error('there is no such endpoint')
    expect(asked.path).toMatch(ENDPOINTS[kind] ?? /^$/)
    const target2 = asked.query === '' ? asked.path : `${asked.path}?${asked.query}`
    const counting = passedIn(judgeHead(upstreamOf(kind), { method, target: target2, headers }))
    expect(counting.class).toBe('free')
    passedIn(judgeBody(upstreamOf(kind), counting, Buffer.concat([...asked.pieces])))
    // What the model reads is in it, byte for byte.
    const of = JSON.parse(String(Buffer.concat([...asked.pieces])))
    const said = of.generateContentRequest ?? of
    for (const field of ['messages', 'input', 'contents', 'tools', 'system', 'instructions', 'systemInstruction'])
      expect(said[field]).toEqual(body[field])
    for (const field of ['stream', 'store', 'max_tokens', 'metadata', 'client_metadata', 'prompt_cache_key'])
      expect(said).not.toHaveProperty(field)
  })

  test('only a whole number of tokens is an answer', () => {
    expect([countTold('{"input_tokens":7}'), countTold('{"totalTokens":0}')]).toEqual([7, 0])
    for (const odd of ['', '[]', 'null', '{}', '{"input_tokens":-1}', '{"input_tokens":1.5}', '{"input_tokens":"7"}'])
      expect(countTold(odd)).toBeUndefined()
  })
})
