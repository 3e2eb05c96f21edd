/** `hub away` and `hub back` at the hub: admitted, recorded, passed on, refused by name; and the mode that the watchdog asks for. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type FakeWatchdog, openFakeWatchdog } from '../support/fake-watchdog.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'

const DAY = 86_400_000
let h: Harness
let watchdog: FakeWatchdog
beforeEach(async () => {
  h = await createHarness({ agents: { one: { script: puppet } } })
  watchdog = await openFakeWatchdog(h.home)
})
afterEach(async () => {
  await watchdog.close()
  await h[Symbol.asyncDispose]()
})

const away = (body: object) => h.operator('POST', '/v1/away', body)
const inMs = (ms: number) => h.clock.wallMs() + ms
const told = (path: string) => watchdog.heard.filter((one) => one.path === path).map(({ body }) => body)
const records = (action: string) =>
  h
    .audit()
    .filter((row) => row.action === action)
    .map(({ outcome, principal }) => `${principal} ${outcome}`)

describe('operator.away and operator.back', () => {
  test('from normal it is recorded and passed on as it was asked, and the watchdog answers with its deadlines [away-5]', async () => {
    watchdog.answers['/v1/away'] = { dueAtMs: 5, conditions: ['away'] }
    const untilMs = inMs(3 * DAY)
    expect(await away({ untilMs, note: 'at sea' })).toMatchObject({ status: 200, body: { dueAtMs: 5 } })
    expect(told('/v1/away')).toEqual([{ untilMs, keepWorking: false, note: 'at sea', source: 'cli' }])
    expect(records('operator.away_asked')).toEqual(['operator ok'])
    expect(await h.operator('POST', '/v1/back', {})).toMatchObject({ status: 200, body: { held: 0 } })
    expect(told('/v1/back')).toEqual([{ note: '', source: 'cli' }])
    expect(records('operator.back_asked')).toEqual(['operator ok'])
  })

  test.each([
    [{ untilMs: 1 }, 'schema_invalid', /later than now/],
    [{ untilMs: Number.MAX_SAFE_INTEGER }, 'limit_exceeded', /at most 21 days/],
    [{}, 'schema_invalid', /untilMs/],
    [{ untilMs: '3d' }, 'schema_invalid', /untilMs/],
    [{ untilMs: 5, for: 'ever' }, 'schema_invalid', /for/],
  ])('%j is refused by name, recorded, and goes nowhere [away-10]', async (body, code, detail) => {
    const answer = await away(body)
    expect(answer.body).toMatchObject({ code, detail: expect.stringMatching(detail) })
    expect(records('operator.away_asked')).toEqual(['operator refused'])
    expect(watchdog.heard.filter(({ path }) => path === '/v1/away')).toEqual([])
  })

  test('in any mode but normal it is refused, with the open conditions and what ends them [away-6]', async () => {
    await h.operator('POST', '/v1/mode/safe', { reason: 'going out' })
    const answer = await away({ untilMs: inMs(DAY) })
    expect(answer.body).toMatchObject({
      code: 'conflict',
      detail: expect.stringMatching(/only in normal mode; now there is operator_request \(ends by `hub resume`\)/),
    })
    expect(told('/v1/away')).toEqual([])
  })

  test('what the watchdog refuses is refused with its reason, and is recorded beside the request [away-12]', async () => {
    watchdog.refusals['/v1/away'] = 'keepWorking is off: away.workMax in watchdog/config.yaml is 0'
    const answer = await away({ untilMs: inMs(DAY), keepWorking: true })
    expect(answer).toMatchObject({
      status: 409,
      body: { code: 'conflict', detail: expect.stringContaining('away.workMax') },
    })
    expect(answer.body.detail).not.toContain('{')
    expect(records('operator.away_asked')).toEqual(['operator ok', 'operator refused'])
  })

  test('while the watchdog demands it nothing new starts, sessions work on, and `hub safe-mode` meanwhile is not ended by coming back [away-7, away-13]', async () => {
    await h.submit('one')
    await h.working(1)
    await h.lease({ demand: 'safe', conditions: ['away'], awayInMs: 3 * DAY })
    const mode = await h.operator('GET', '/v1/mode')
    expect(mode.body).toMatchObject({
      mode: 'safe',
      conditions: [{ name: 'away', reason: expect.stringMatching(/^planned absence until 20/) }],
    })
    expect((await h.operator('POST', '/v1/tasks', { agent: 'one' })).body.code).toBe('mode_safe')
    expect(h.hub.work.tasks.sessionsOpen()).toHaveLength(1)
    expect((await h.operator('POST', '/v1/mode/resume', {})).body.detail).toContain('away ends by `hub back`')
    await h.operator('POST', '/v1/mode/safe', {})
    await h.lease({ demand: 'normal', conditions: [], awayInMs: null })
    expect((await h.operator('GET', '/v1/mode')).body).toMatchObject({
      mode: 'safe',
      conditions: [{ name: 'operator_request' }],
    })
    expect((await h.operator('POST', '/v1/mode/resume', {})).body.mode).toBe('normal')
  })
})
