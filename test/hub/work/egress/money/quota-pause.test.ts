/** Quotas that are used up, of each provider: what pauses an upstream, for whom, and how it ends by itself. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openStore, type Store } from '../../../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../../../hub/store/migrations.ts'
import { createQuotaPauses, type QuotaPauses } from '../../../../../hub/work/egress/money/quota-pause.ts'

const MINUTE = 60_000
let folder: string
let store: Store
let now: number
let quota: QuotaPauses
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-quota-'))
  store = openStore(join(folder, 'hub.db'))
  migrate(store, shippedMigrations(), 1, () => undefined)
  now = Date.UTC(2026, 11, 1)
  quota = createQuotaPauses(store, () => now)
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})
const judge = (status: number, headers: Record<string, string>, body: unknown, name = 'up') =>
  quota.judge(name, 'key', {
    status,
    rawHeaders: Object.entries(headers).flat(),
    body: Buffer.from(JSON.stringify(body)),
  })
const error = (of: object) => ({ error: of })
const google = (details: object[]) =>
  error({ code: 429, status: 'RESOURCE_EXHAUSTED', message: 'Quota exceeded', details })
const violated = (quotaId: string) => ({
  '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
  violations: [{ quotaId }],
})
const retryIn = (retryDelay: string) => ({ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay })

test.each<[string, number, Record<string, string>, unknown]>([
  ['a 429 that asks for some seconds', 429, { 'Retry-After': '30' }, error({ type: 'rate_limit_error' })],
  ['a 429 without any wait', 429, {}, error({ type: 'rate_limit_exceeded', code: 'rate_limit_exceeded' })],
  ['exactly two minutes', 429, { 'retry-after': '120' }, error({})],
  ['a limit of a minute of Google', 429, {}, google([violated('GenerateRequestsPerMinute'), retryIn('36s')])],
  ['an overload', 529, { 'retry-after': '7200' }, error({ type: 'overloaded_error' })],
  ['a server error that asks for hours', 503, { 'retry-after': '7200' }, error({})],
  ['another fault of the request', 400, {}, error({ type: 'invalid_request_error', message: 'max_tokens: too large' })],
  ['a body that is no JSON', 429, {}, 'x'],
])('%s passes: it is between client and provider', (_, status, headers, body) => {
  expect(judge(status, headers, body)).toBe('pass')
  expect(quota.isPaused('up', 'key')).toBeUndefined()
})

test.each<[string, number, Record<string, string>, unknown, number]>([
  ['insufficient_quota of OpenAI', 429, {}, error({ type: 'insufficient_quota', code: 'insufficient_quota' }), 10],
  ['a used-up plan with its reset', 429, {}, error({ type: 'usage_limit_reached', resets_in_seconds: 7200 }), 120],
  ['a wait of two hours', 429, { 'retry-after': '7200' }, error({ type: 'rate_limit_error' }), 120],
  ['a wait until an instant', 429, { 'retry-after': 'Tue, 01 Dec 2026 03:00:00 GMT' }, error({}), 180],
  [
    'credit of Anthropic',
    400,
    {},
    error({ type: 'invalid_request_error', message: 'Your credit balance is too low to access the API' }),
    10,
  ],
  ['a limit of a workspace', 400, {}, error({ message: 'You have reached your specified API usage limits.' }), 10],
  ['billing of Anthropic', 402, {}, error({ type: 'billing_error', message: 'x' }), 10],
  ['a quota of a day of Google', 429, {}, google([violated('GenerateRequestsPerDayPerProject'), retryIn('36s')]), 10],
  ['a long delay of Google, in a list', 429, {}, [google([retryIn('3600s')])], 60],
])('%s pauses the upstream', (_, status, headers, body, minutes) => {
  expect(judge(status, headers, body)).toMatchObject({ upstream: 'up', untilMs: now + minutes * MINUTE })
  expect(quota.isPaused('up', 'key')?.text).toMatch(/the quota of up is used up .*looked at again at 2026-12-01T/)
  // Of another secret, and another upstream, nothing is known.
  expect(quota.isPaused('up', 'other')).toBeUndefined()
  expect(quota.isPaused('elsewhere', 'key')).toBeUndefined()
})

test('a pause outlives a restart, is looked at by one call alone, and ends when that is answered', () => {
  judge(429, { 'retry-after': '3600' }, error({}))
  now += 59 * MINUTE
  quota = createQuotaPauses(store, () => now)
  expect(quota.isPaused('up', 'key')).toBeDefined()
  now += MINUTE
  expect(quota.isPaused('up', 'key')).toBeUndefined()
  expect(quota.isPaused('up', 'key')).toBeDefined()
  // The one that looks never came back: another looks.
  now += MINUTE
  expect(quota.isPaused('up', 'key')).toBeUndefined()
  expect(quota.has('up', 'key')).toBe(true)
  quota.answered('up', 'key')
  expect(quota.list()).toEqual([])
  expect(quota.isPaused('up', 'key')).toBeUndefined()
})

test('where nobody says how long, looks come later and later, but each hour; a reset in the far future is not believed', () => {
  const waits: number[] = []
  for (let tries = 0; tries < 6; tries += 1) {
    const pause = judge(429, {}, error({ code: 'insufficient_quota' }))
    if (pause !== 'pass') waits.push((pause.untilMs - now) / MINUTE)
  }
  expect(waits).toEqual([10, 20, 40, 60, 60, 60])
  const far = judge(429, { 'retry-after': '999999999' }, error({}), 'far')
  expect(far).toMatchObject({ untilMs: now + 32 * 24 * 60 * MINUTE })
})

test('a call that waited meets a pause that began meanwhile, and takes the look of nobody', () => {
  expect(quota.stillPaused('up', 'key')).toBeUndefined()
  judge(429, {}, error({ code: 'insufficient_quota' }))
  expect([quota.stillPaused('up', 'key')?.why, quota.stillPaused('up', 'other')]).toEqual([
    'insufficient_quota',
    undefined,
  ])
  now += 10 * MINUTE
  expect([quota.stillPaused('up', 'key'), quota.isPaused('up', 'key')]).toEqual([undefined, undefined])
  expect(quota.isPaused('up', 'key')).toBeDefined()
})
