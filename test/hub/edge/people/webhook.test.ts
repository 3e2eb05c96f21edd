/** The weak heartbeat by webhook: who may give it, what looking does, and that guessing never locks the true one out (T17, T33, T34). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { silentLog } from '../../../../hub/base/telemetry.ts'
import { createLoopbackHttp } from '../../../../hub/edge/people/loopback.ts'
import { webhook } from '../../../../hub/edge/people/webhook.ts'
import { deviceHandlers } from '../../../../hub/edge/routes/devices.ts'
import { createServe } from '../../../../hub/edge/serve.ts'
import { DEVICE_KINDS } from '../../../../hub/guard/identity/credentials.ts'
import { OPERATOR } from '../../../../hub/guard/principal.ts'
import { fillDisk, type GuardHome, openGuardHome } from '../../../support/guard-home.ts'
import { send } from '../../../support/plain-http.ts'

let home: GuardHome
let port: number
let beats: string[]
let watchdogIsAway: boolean
let close: () => Promise<unknown>
beforeEach(async () => {
  home = openGuardHome()
  home.guard.modes.clear('lease_pending')
  beats = []
  watchdogIsAway = false
  const { gate, credentials } = home.guard
  const { clock } = home
  const plugin = webhook({
    credentials,
    gate,
    clock,
    zone: () => 'Europe/Berlin',
    heartbeat: async (device) => {
      if (watchdogIsAway) throw new HubError('timed_out', 'the watchdog did not answer')
      beats.push(device)
      return { dueAtMs: clock.wallMs() + 3 * 3_600_000 }
    },
  })
  const healthz = () => ({ status: 200, body: {} })
  const app = createLoopbackHttp(() => port, { clock, log: silentLog(), healthz, plugins: [plugin] })
  await app.listen({ host: '127.0.0.1', port: 0 })
  port = (app.server.address() as { port: number }).port
  close = () => {
    app.server.closeAllConnections()
    return app.close()
  }
})
afterEach(async () => {
  await close()
  home[Symbol.dispose]()
})

const call = (operation: 'device.add' | 'device.list' | 'device.revoke', request: object) =>
  createServe({
    gate: home.guard.gate,
    redaction: home.guard.redaction,
    learnSecrets: () => undefined,
    handlers: deviceHandlers({
      credentials: home.guard.credentials,
      nowMs: home.clock.wallMs,
      base: () => `http://127.0.0.1:${port}`,
    }),
  })(operation, request, { principal: OPERATOR, idempotencyKey: undefined }) as Promise<Record<string, string>>
const added = async (name = 'phone') => (await call('device.add', { name, kind: 'webhook' })).path ?? ''
const recorded = () => home.records().map(({ action, outcome, reason }) => `${action} ${outcome} ${reason}`)

describe('POST to the address of a webhook', () => {
  it('gives a heartbeat of the source webhook, is recorded, and answers when the next is due [presence-13, presence-17, presence-18]', async () => {
    const path = await added()
    const { status, text } = await send(port, { method: 'POST', path })
    expect([status, JSON.parse(text)]).toEqual([
      200,
      { accepted: true, text: 'accepted; next due Mon 5 Jan 2026, 13:00 CET (in 3 h)', dueAtMs: expect.any(Number) },
    ])
    expect(beats).toEqual(['phone'])
    expect(home.guard.store.prepare('select principal, action from audit_record order by seq desc').get()).toEqual({
      principal: 'device:phone',
      action: 'operator.heartbeat_given',
    })
    expect(home.guard.credentials.list(DEVICE_KINDS)).toMatchObject([{ usedAtMs: home.clock.wallMs() }])
  })

  it.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'])(
    'never acts by %s: links are fetched by programs [presence-13]',
    async (method) => {
      const path = await added()
      const before = home.records().length
      const { text } = await send(port, { method, path })
      if (method === 'GET') expect(text).toBe('This address takes a heartbeat by POST. Looking at it does nothing.\n')
      expect([beats, home.records().length]).toEqual([[], before])
      expect((await send(port, { path: '/hook/wrong' })).text).toContain('takes a heartbeat')
    },
  )

  it('does not read its body, whatever it is, and cuts one that does not end', async () => {
    const path = await added()
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'image/png']) {
      await home.clock.advance(10_000)
      const { status } = await send(port, { method: 'POST', path, headers: { 'content-type': type }, body: '{"note":' })
      expect(status, type).toBe(200)
    }
    await home.clock.advance(10_000)
    await send(port, { method: 'POST', path, body: 'x'.repeat(2_000_000) }).catch(() => undefined)
    expect(beats.length).toBeLessThanOrEqual(5)
  })

  it('of a stranger or from another page is refused (T33, T34)', async () => {
    const path = await added()
    for (const headers of [{ host: 'evil.example' }, { origin: 'https://evil.example' }])
      expect((await send(port, { method: 'POST', path, headers })).status).toBe(403)
    expect(beats).toEqual([])
  })

  it('is weak by its right alone: the rules let this device do nothing else [presence-13]', () => {
    const decide = (operation: 'operator.heartbeat' | 'mode.resume' | 'mode.safe' | 'task.list') =>
      home.guard.decisions.decide({
        operation,
        principal: { kind: 'device', id: 'phone', rights: ['heartbeat'] },
        resource: {},
        mode: 'normal',
      }).effect
    expect(decide('operator.heartbeat')).toBe('allow')
    for (const other of ['mode.resume', 'mode.safe', 'task.list'] as const) expect(decide(other)).toBe('deny')
  })

  it('says so when the watchdog is away', async () => {
    const path = await added()
    watchdogIsAway = true
    expect((await send(port, { method: 'POST', path })).status).toBe(504)
  })

  it('is taken once in five seconds: an automation gone wild does not fill the log', async () => {
    const path = await added()
    const statuses: number[] = []
    for (let n = 0; n < 3; n += 1) statuses.push((await send(port, { method: 'POST', path })).status)
    await home.clock.advance(5000)
    statuses.push((await send(port, { method: 'POST', path })).status)
    expect(statuses).toEqual([200, 429, 429, 200])
  })
})

describe('a wrong address', () => {
  it('is refused and recorded, and 2 000 of them neither fill the log nor keep the true one out (T17)', async () => {
    const path = await added()
    const before = recorded().length
    const statuses = new Set<number>()
    for (let n = 0; n < 2000; n += 1) {
      statuses.add((await send(port, { method: 'POST', path: `/hook/${'a'.repeat(40)}${n}` })).status)
      if (n % 100 === 0) await home.clock.advance(1000)
    }
    expect(statuses).toEqual(new Set([401, 429]))
    const refused = recorded().slice(before)
    expect(refused[0]).toContain('operator.heartbeat_given refused unauthenticated: a wrong webhook secret')
    expect(refused.length).toBeGreaterThan(1)
    expect(refused.length).toBeLessThan(20)
    expect(refused.at(-1)).toMatch(/\d+ others before it were not recorded one by one/)
    expect((await send(port, { method: 'POST', path })).status).toBe(200)
    expect(beats).toEqual(['phone'])
  })

  it('names nothing of the right one, neither do the database or the records hold it', async () => {
    const path = await added()
    const secret = path.split('/').at(-1) ?? ''
    const { text } = await send(port, { method: 'POST', path: '/hook/x' })
    expect(text).not.toContain(secret)
    const { store } = home.guard
    const everything = JSON.stringify([
      store.prepare('select * from credential').all(),
      store.prepare('select * from audit_record').all(),
      store.prepare('select * from decision').all(),
    ])
    expect(everything).toContain('phone')
    expect(everything).not.toContain(secret)
  })
})

describe('a device', () => {
  it('that is revoked can do nothing, at once and after a restart', async () => {
    const path = await added()
    await call('device.revoke', { name: 'phone' })
    expect((await send(port, { method: 'POST', path })).status).toBe(401)
    expect(home.reopen().credentials.find(path.split('/').at(-1) ?? '', ['webhook'])).toBeUndefined()
  })

  it('is revoked also while the store cannot be written, and for good once it can [mode-8]', async () => {
    const path = await added()
    const mend = fillDisk(home.guard)
    await call('device.revoke', { name: 'phone' })
    expect((await send(port, { method: 'POST', path })).status).not.toBe(200)
    mend()
    home.guard.recoverStore()
    home.guard.credentials.saveAgain()
    expect(home.reopen().credentials.list(DEVICE_KINDS)).toMatchObject([{ revokedAtMs: expect.any(Number) }])
  })

  it('has a name of its own, which is free again once it is revoked; 64 are the most', async () => {
    await added()
    await expect(added()).rejects.toMatchObject({ code: 'conflict' })
    await call('device.revoke', { name: 'phone' })
    await expect(call('device.revoke', { name: 'phone' })).rejects.toMatchObject({ code: 'conflict' })
    await added()
    for (let n = 1; n < 64; n += 1) await added(`d${n}`)
    await expect(added('one-more')).rejects.toMatchObject({ code: 'limit_exceeded' })
  })

  it('cannot be added while the hub is safe: that would widen who speaks for the operator', async () => {
    home.guard.modes.raise('operator_request', 'test')
    await expect(added()).rejects.toMatchObject({ code: 'mode_safe' })
  })
})
