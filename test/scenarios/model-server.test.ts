/** The scripted model server is what the official SDKs take it for: each shape, whole and streamed, with calls of tools, cut into pieces anywhere. */
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { startModelServer } from '../support/models/model-server.ts'
import type { Transport, Turn } from '../support/models/turn.ts'
import { createSeededRandom } from '../support/seeded-random.ts'

const SAID = 'Grüße 🌍: the quick brown fox, said in more than one piece of a stream.'
const call = { name: 'read', input: { path: 'a/ü.txt' } }
const once: Turn = { text: SAID, calls: [call], usage: { input: 11, output: 7, cacheRead: 0 } }

/** Pieces of one to nine bytes: they end within characters, lines and events. */
function anywhere(seed: number): Transport {
  const random = createSeededRandom(seed)
  return { pieces: () => 1 + random.below(9) }
}
const clients = (url: string) => ({
  anthropic: new Anthropic({ apiKey: 'k', baseURL: url, maxRetries: 0 }),
  openai: new OpenAI({ apiKey: 'k', baseURL: `${url}/v1`, maxRetries: 0 }),
})
const ask = { model: 'm-1', max_tokens: 100, messages: [{ role: 'user' as const, content: 'Hello' }] }

describe('the model server', () => {
  test.each([1, 2, 3])('speaks each shape to its SDK, whole and streamed in odd pieces (seed %i)', async (seed) => {
    await using server = await startModelServer(() => ({ ...once, transport: anywhere(seed) }))
    const { anthropic, openai } = clients(server.url)

    for (const message of [await anthropic.messages.create(ask), await anthropic.messages.stream(ask).finalMessage()]) {
      expect(message.content).toMatchObject([
        { type: 'text', text: SAID },
        { type: 'tool_use', ...call },
      ])
      expect([message.stop_reason, message.usage.input_tokens, message.usage.output_tokens]).toEqual([
        'tool_use',
        11,
        7,
      ])
    }

    const whole = await openai.chat.completions.create(ask)
    expect(whole.choices[0]?.message).toMatchObject({ content: SAID, tool_calls: [{ function: { name: 'read' } }] })
    expect(whole.usage).toMatchObject({ prompt_tokens: 11, completion_tokens: 7 })
    const chat = await openai.chat.completions
      .stream({ ...ask, stream_options: { include_usage: true } })
      .finalChatCompletion()
    expect(chat.choices[0]?.message.content).toBe(SAID)
    expect(chat.usage).toMatchObject({ prompt_tokens: 11, completion_tokens: 7 })
    const untold = await openai.chat.completions.stream(ask).finalChatCompletion()
    expect(untold.usage).toBeFalsy()

    const asked = { model: 'm-1', input: 'Hello', max_output_tokens: 100 }
    const streamed = await openai.responses.stream(asked).finalResponse()
    for (const response of [await openai.responses.create(asked), streamed]) {
      expect(response.output_text).toBe(SAID)
      expect(response.output[1]).toMatchObject({ type: 'function_call', arguments: JSON.stringify(call.input) })
      expect(response.usage).toMatchObject({ input_tokens: 11, output_tokens: 7 })
    }
    expect(server.answered()).toBe(7)
    expect(server.told.get('m-1')).toMatchObject({ input: 77, output: 49 })
  })

  test('reads a conversation back: calls, what tools answered, the turn, the cap', async () => {
    await using server = await startModelServer(({ results, cap, turn }) => ({ text: `${turn} ${cap} ${results}` }))
    const { anthropic, openai } = clients(server.url)
    const message = await anthropic.messages.create({
      ...ask,
      messages: [
        ...ask.messages,
        { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'read', input: {} }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'found' }] },
      ],
    })
    expect(message.content).toMatchObject([{ text: '1 100 found' }])
    const response = await openai.responses.create({
      model: 'm-1',
      input: [
        { role: 'user', content: 'Hello' },
        { type: 'function_call', call_id: 't', name: 'read', arguments: '{}' },
        { type: 'function_call_output', call_id: 't', output: 'found' },
      ],
    })
    expect(response.output_text).toBe('1 undefined found')
    const chat = await openai.chat.completions.create({
      model: 'm-1',
      max_completion_tokens: 9,
      messages: [
        ...ask.messages,
        { role: 'assistant', tool_calls: [{ id: 't', type: 'function', function: { name: 'read', arguments: '{}' } }] },
        { role: 'tool', tool_call_id: 't', content: 'found' },
      ],
    })
    expect(chat.choices[0]?.message.content).toBe('1 9 found')
  })

  test('ends an answer at its cap, fails as it is told, and is cut in the middle', async () => {
    await using server = await startModelServer(() => ({ text: 'x'.repeat(1000) }))
    const { anthropic, openai } = clients(server.url)
    const cut = await anthropic.messages.create({ ...ask, max_tokens: 10 })
    expect([cut.stop_reason, cut.usage.output_tokens]).toEqual(['max_tokens', 10])
    server.script = () => ({ status: 529 })
    await expect(anthropic.messages.create(ask)).rejects.toThrow('529')
    server.script = () => ({ status: 429, headers: { 'retry-after': '7200' } })
    await expect(openai.chat.completions.create(ask)).rejects.toMatchObject({ status: 429 })
    server.script = () => ({ text: SAID, transport: { cutAfter: 900 } })
    await expect(anthropic.messages.stream(ask).finalMessage()).rejects.toThrow()
    expect(server.answered()).toBe(1)
  })

  test('counts, lists its models, and speaks the shape of Google', async () => {
    await using server = await startModelServer(({ text, model }) => ({ text: `${model}: ${text}` }))
    const { anthropic, openai } = clients(server.url)
    expect((await anthropic.messages.countTokens(ask)).input_tokens).toBeGreaterThan(10)
    expect((await openai.models.list()).data).toMatchObject([{ id: 'scripted' }])
    const body = JSON.stringify({ contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] })
    const post = (verb: string) => fetch(`${server.url}/v1beta/models/g-1:${verb}`, { method: 'POST', body })
    expect(await (await post('generateContent')).json()).toMatchObject({
      candidates: [{ content: { parts: [{ text: 'g-1: Hello' }] } }],
      modelVersion: 'g-1',
    })
    expect(await (await post('streamGenerateContent?alt=sse')).text()).toMatch(/^data: .*"finishReason":"STOP"/ms)
    expect(await (await post('countTokens')).json()).toEqual({ totalTokens: Math.ceil(body.length / 4) })
  })
})
