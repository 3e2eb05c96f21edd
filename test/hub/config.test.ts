/** hub.yaml takes no secret: none of its keys is for one, and what is written there all the same is not shown (S0-24). */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HubError } from '../../hub/base/errors.ts'
import { readConfig } from '../../hub/config.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cf-'))
})
afterEach(() => rmSync(folder, { recursive: true }))
const read = (text: string) => {
  writeFileSync(join(folder, 'hub.yaml'), text)
  return readConfig(join(folder, 'hub.yaml'))
}

describe('a secret written into hub.yaml', () => {
  it.each([
    ['token', 'token: canary-value'],
    ['secrets', 'secrets: { api-key: canary-value }'],
    ['apiKey', 'http: { port: 0, apiKey: canary-value }'],
    ['password', 'engine:\n  password: canary-value'],
    ['HUB_SECRET_API_KEY', 'HUB_SECRET_API_KEY: canary-value'],
    ['secret', 'limits: { agents: { echo: { secret: canary-value } } }'],
  ])('S0-24: stops the start, named by its key %s and never by its value', (key, text) => {
    let refused: unknown
    try {
      read(text)
    } catch (thrown) {
      refused = thrown
    }
    expect(refused).toMatchObject({ code: 'config_invalid' })
    expect((refused as HubError).message).toContain(key)
    expect((refused as HubError).message).toContain('hub.yaml')
    expect((refused as HubError).message).not.toContain('canary-value')
    expect(read('logLevel: warn').logLevel).toBe('warn')
  })
})

it('S0-15: without a file the span of a stop is 15 s', () => {
  expect(read('').shutdownTimeout).toBe(15_000)
  expect(read('shutdownTimeout: 1m').shutdownTimeout).toBe(60_000)
})
