/** T104: conversations that are on their way do not fill the disk: one of each session, and four of the largest in all. */
import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import type { AgentExchange } from '../../../../hub/edge/agents/requests.ts'
import { agentTranscripts } from '../../../../hub/edge/agents/transcripts.ts'
import { TRANSCRIPT_BYTES_MAX } from '../../../../hub/protocol/transcripts.ts'

const SHA256 = 'a'.repeat(64)

/** Uploads whose bytes come when the test says so. */
function uploads() {
  const arriving = new Map<string, PromiseWithResolvers<object>>()
  const refused: string[] = []
  const parts = {
    gate: {
      foresee: () => undefined,
      refuse: (_: unknown, { code }: HubError) => refused.push(code),
      admit: (_: unknown, effect: (grant: object) => object) => effect({}),
    },
    transcripts: {
      receive(request: { name: string }) {
        const bytes = Promise.withResolvers<object>()
        arriving.set(request.name, bytes)
        return bytes.promise
      },
      put: () => ({ sha256: SHA256, size: 1 }),
      discard: () => undefined,
    },
    cards: { of: () => ({ card: { transcripts: true } }) },
  }
  const byToken = async ({ session }: { session: string }) => ({ session: { id: session, task: 't' } })
  const { put } = agentTranscripts(parts as never, byToken as never, (() => ({})) as never)
  return {
    /** What the gate was told of, for the record. */
    refused,
    isArriving: (name: string) => arriving.has(name),
    /** `size`: as its head says; undefined where it says none. */
    async put(name: string, size: number | undefined, session = name): Promise<string> {
      const type = 'application/octet-stream'
      const headers = { 'content-type': type, 'content-length': size?.toString() }
      const request = { name, headers, headersDistinct: { 'content-type': [type] } }
      const exchange = {
        ...{ session, request, url: new URL(`http://hub/v1/transcript/${SHA256}`) },
        response: { writeHead: () => ({ end: () => undefined }), end: () => undefined } as unknown as ServerResponse,
      }
      try {
        await put(exchange as unknown as AgentExchange)
        return 'ok'
      } catch (thrown) {
        if (!(thrown instanceof HubError)) throw thrown
        return `${thrown.code} ${thrown.facts.retryAfterMs}`
      }
    },
    end: (name: string) => arriving.get(name)?.resolve({ path: '', sha256: SHA256, size: 1 }),
    cut: (name: string) => arriving.get(name)?.reject(new HubError('too_large')),
  }
}

const REFUSED = 'rate_limited 500'

describe('on their way', () => {
  test('T104: a second one of the same session is told to come again, and comes when the first has arrived', async () => {
    const up = uploads()
    const first = up.put('one', 10)
    await expect.poll(() => up.isArriving('one')).toBe(true)
    expect(await up.put('again', 10, 'one')).toBe(REFUSED)
    expect(up.refused).toEqual(['rate_limited'])
    expect(up.isArriving('again')).toBe(false)
    up.end('one')
    expect(await first).toBe('ok')
    const next = up.put('again', 10, 'one')
    await expect.poll(() => up.isArriving('again')).toBe(true)
    up.end('again')
    expect(await next).toBe('ok')
  })

  test('T104: of all sessions together four of the largest; what says no size counts as one, and what was cut gives its place back', async () => {
    const up = uploads()
    const large = ['a', 'b', 'c'].map((name) => up.put(name, TRANSCRIPT_BYTES_MAX))
    // More than any may be: it counts as the largest, and is refused by its bytes.
    const unsaid = up.put('unsaid', undefined)
    await expect.poll(() => up.isArriving('unsaid')).toBe(true)
    expect(await up.put('one more', 2 ** 40)).toBe(REFUSED)
    const small = up.put('small', 1000)
    await expect.poll(() => up.isArriving('small')).toBe(true)
    up.cut('unsaid')
    expect(await unsaid).toBe('too_large undefined')
    const more = up.put('one more', 2 ** 40)
    await expect.poll(() => up.isArriving('one more')).toBe(true)
    for (const name of ['a', 'b', 'c', 'small', 'one more']) up.end(name)
    expect(await Promise.all([...large, small, more])).toEqual(Array(5).fill('ok'))
  })
})
