import { mkdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createHarness } from '../support/hub-harness.ts'

test('a witness mismatch ends only by naming the very head that is accepted, and the watchdog is told', async () => {
  await using h = await createHarness({ agents: {} })
  const heard: unknown[] = []
  const watchdog = createServer(async (request, response) => {
    let text = ''
    for await (const part of request) text += part
    heard.push([request.url, JSON.parse(text)])
    response.setHeader('content-type', 'application/json').end('{}')
  })
  mkdirSync(join(h.home, 'watchdog', 'run'), { recursive: true })
  await new Promise<void>((resolve) => watchdog.listen(join(h.home, 'watchdog', 'run', 'watchdog.sock'), resolve))
  const { modes, audit } = h.hub.guard
  modes.raise('witness_mismatch', 'test')
  const resume = (body: object) => h.operator('POST', '/v1/mode/resume', body)
  expect((await resume({})).body.code).toBe('conflict')
  expect((await resume({ acceptHead: '0'.repeat(64) })).body.code).toBe('conflict')
  expect((await resume({ acceptHead: 'yes' })).body.code).toBe('schema_invalid')
  expect([modes.has('witness_mismatch'), heard]).toEqual([true, []])
  // The hash of a record that was never shown as the head says nothing of this log.
  expect((await resume({ acceptHead: audit.hashAt(1) })).body.code).toBe('conflict')
  expect((await resume({ acceptHead: audit.head().head })).body.code).toBe('conflict')
  const head = (await h.operator('GET', '/v1/health')).body.auditHead
  expect((await resume({ acceptHead: head })).status).toBe(200)
  expect(modes.has('witness_mismatch')).toBe(false)
  expect(heard.filter((one) => (one as unknown[])[0] === '/v1/accept-head')).toHaveLength(1)
  expect(h.audit().at(-1)).toMatchObject({ action: 'mode.resumed', outcome: 'ok' })
  watchdog.close()
  watchdog.closeAllConnections()
})
