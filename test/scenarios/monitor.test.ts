/** A runtime monitor outside: what its alerts do to sessions, and what they cannot (S1-77). */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { judgeAlerts, MONITOR_OUTCOMES } from '../../hub/protocol/monitor.ts'
import { OPERATIONS } from '../../hub/protocol/operations.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'
import { send } from '../support/plain-http.ts'

const LIVE = 'saaaaaaaaaaaaaaa'
const ENDED = 'sbbbbbbbbbbbbbbb'
const stateOf = (session: string) => (session === LIVE ? 'live' : session === ENDED ? 'ended' : 'unknown')
const alert = (labels: Record<string, string>, status: 'firing' | 'resolved' = 'firing') => ({ status, labels })
const critical = (session: string, more: Record<string, string> = {}) =>
  alert({ severity: 'critical', session, ...more })

describe('S1-77: one alert is judged', () => {
  test.each([
    ['recycled', critical(LIVE)],
    ['already_ended', critical(ENDED)],
    ['unknown_session', critical('scccccccccccccccc'.slice(0, 16))],
    ['resolved', { ...critical(LIVE), status: 'resolved' as const }],
    ['not_critical', alert({ severity: 'warning', session: LIVE })],
    ['not_critical', alert({ severity: 'CRITICAL', session: LIVE })],
    ['not_critical', alert({ session: LIVE })],
    ['no_session', alert({ severity: 'critical' })],
    ['bad_session', critical('')],
    ['bad_session', critical(`${LIVE}\n`)],
    ['bad_session', critical('*')],
    ['bad_session', critical(`${LIVE},${ENDED}`)],
    ['bad_session', critical('../../etc/passwd')],
  ])('%s: %j', (outcome, one) => {
    expect(judgeAlerts({ alerts: [one] }, stateOf)[0]?.outcome).toBe(outcome)
  })

  test('of whatever labels: a session is recycled once at most, and only for the one combination that recycles', () => {
    const word = fc.oneof(fc.constantFrom(LIVE, ENDED, 'critical', 'firing', '__proto__', 'constructor'), fc.string())
    const key = fc.oneof(fc.constantFrom('session', 'severity', 'alertname', '__proto__'), fc.string())
    const one = fc.record({
      status: fc.constantFrom('firing' as const, 'resolved' as const),
      labels: fc.dictionary(key, word),
    })
    fc.assert(
      fc.property(fc.array(one, { maxLength: 8 }), (alerts) => {
        const verdicts = judgeAlerts({ alerts }, stateOf)
        expect(verdicts).toHaveLength(alerts.length)
        const meant = alerts.map(({ status, labels }) => {
          const own = (name: string) => (Object.hasOwn(labels, name) ? labels[name] : undefined)
          return status === 'firing' && own('severity') === 'critical' && own('session') === LIVE
        })
        const recycled = verdicts.map(({ outcome }) => outcome === 'recycled')
        expect(recycled.indexOf(true)).toBe(meant.indexOf(true))
        expect(recycled.filter(Boolean).length).toBeLessThanOrEqual(1)
        for (const { alert: name, outcome } of verdicts) {
          expect(MONITOR_OUTCOMES).toContain(outcome)
          expect(name).toMatch(/^[\w .:()/-]{0,80}$/)
        }
      }),
    )
  })

  test('the shape takes what Alertmanager posts and refuses what is too much', () => {
    const { request } = OPERATIONS['monitor.alert']
    const post = (alerts: unknown, more = {}) => ({ version: '4', status: 'firing', alerts, ...more })
    const real = {
      ...{ groupKey: '{}:{}', truncatedAlerts: 0, receiver: 'hub', externalURL: 'http://x', groupLabels: {} },
      ...{ commonLabels: {}, commonAnnotations: {} },
    }
    const full = {
      ...critical(LIVE),
      annotations: { a: 'b' },
      startsAt: 'x',
      endsAt: 'y',
      generatorURL: '',
      fingerprint: 'f',
    }
    expect(request.safeParse(post([full], real)).success).toBe(true)
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`l${at}`, 'x']))
    for (const wrong of [
      post([]),
      post(Array.from({ length: 65 }, () => full)),
      post([alert(many)]),
      post([alert({ severity: 'x'.repeat(8193) })]),
      post([alert({ ['x'.repeat(257)]: 'x' })]),
      post([{ status: 'pending', labels: {} }]),
      post([{ status: 'firing', labels: { session: 7 } }]),
      post([full], { version: '3' }),
      post('all'),
    ])
      expect(request.safeParse(wrong).success, JSON.stringify(wrong).slice(0, 80)).toBe(false)
  })
})

async function opened() {
  const port = await freePort()
  const h = await createHarness({
    agents: { odd: { script: puppet, card: { repeatable: true, restarts: 10 } }, calm: { script: puppet } },
    config: { http: { port }, limits: { recycles: 1 } },
  })
  return { h, port }
}
const tokenOf = async (h: Harness, name: string, actions: string[]): Promise<string> => {
  const { status, body } = await h.operator('POST', '/v1/tokens', { name, actions, expiresInMs: 3_600_000 })
  expect(status, JSON.stringify(body)).toBe(200)
  return String(body.secret)
}

test('S1-77: in a whole hub a critical alert recycles its session, counts for the breaker, and nothing else does anything [flag-10]', async () => {
  const { h, port } = await opened()
  await using _ = h
  const secret = await tokenOf(h, 'monitor', ['session.stop'])
  const post = async (alerts: unknown[], bearer = secret, more: Record<string, unknown> = {}) => {
    const said = await h.pumped(
      send(port, {
        method: 'POST',
        path: '/v1/monitor/alerts',
        headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
        body: JSON.stringify({ version: '4', status: 'firing', alerts, ...more }),
      }),
    )
    const body = JSON.parse(said.text) as { code?: string; results?: { outcome: string }[] }
    return said.status === 200 ? (body.results ?? []).map(({ outcome }) => outcome) : [said.status, body.code]
  }
  const [odd, calm] = await h.bring('odd', 'calm')
  const isLive = (session: string) => h.hub.work.losses.isLive(session)

  // Off until the operator switches it on; and only for a token that ends sessions and nothing else.
  expect(await post([critical(odd.session)])).toEqual([409, 'flag_off'])
  expect((await h.operator('POST', '/v1/flags/monitor', { value: true })).status).toBe(200)
  const wide = await tokenOf(h, 'wide', ['session.stop', 'task.list'])
  const none = await tokenOf(h, 'none', ['task.list'])
  for (const bearer of [wide, none]) expect(await post([critical(odd.session)], bearer)).toEqual([403, 'policy_denied'])
  expect(await post([critical(odd.session)], 'x'.repeat(43))).toEqual([401, 'unauthenticated'])
  expect(
    (
      await h.operator('POST', '/v1/monitor/alerts', {
        version: '4',
        status: 'firing',
        alerts: [critical(odd.session)],
      })
    ).body,
  ).toMatchObject({ code: 'forbidden' })
  expect([isLive(odd.session), isLive(calm.session)]).toEqual([true, true])

  // What does nothing is written down by name.
  const harmless = [
    alert({ severity: 'warning', session: odd.session }),
    alert({ severity: 'critical' }),
    critical('no session'),
    critical('s222222222222222'),
  ]
  expect(await post([...harmless, { ...critical(odd.session), status: 'resolved' }])).toEqual([
    ...['not_critical', 'no_session', 'bad_session', 'unknown_session', 'resolved'],
  ])
  expect(h.audit().findLast(({ action }) => action === 'monitor.alerted')).toMatchObject({
    principal: 'automation:monitor',
    outcome: 'ok',
    effect: 'nothing done; not_critical 1; no_session 1; bad_session 1; unknown_session 1; resolved 1',
  })
  expect(isLive(odd.session)).toBe(true)

  // Two alerts of one session, and the same post again: recycled once, tried again as its card says.
  // What a monitor quotes is the agent's own: a secret that it was given keeps no post out (S1-62).
  mkdirSync(join(h.home, 'secrets'), { mode: 0o700 })
  writeFileSync(join(h.home, 'secrets', 'api-key'), 'k3y-of-the-agent', { mode: 0o600 })
  const graces: number[] = []
  const { stop } = h.engine
  h.engine.stop = (id, graceSeconds) => {
    if (id === odd.container.id) graces.push(graceSeconds)
    return stop(id, graceSeconds)
  }
  const hostile = { alertname: 'Shell\u001b[2J in\ncontainer', description: '<script> k3y-of-the-agent' }
  expect(await post([critical(odd.session, hostile), critical(odd.session)])).toEqual(['recycled', 'already_ended'])
  expect(await post([critical(odd.session)])).toEqual(['already_ended'])
  expect(h.audit().filter(({ effect }) => effect.startsWith('unhealthy: a runtime monitor'))).toMatchObject([
    { action: 'session.observed', effect: 'unhealthy: a runtime monitor reported it: Shell2J incontainer' },
  ])
  expect(h.hub.guard.alerts.isOpen('session_reported:odd')).toBe(true)
  // S1-66: what runs is captured, paused, before it goes.
  await h.until(() => h.engine.byName(odd.container.name) === undefined, 'its container is gone')
  const { evidence } = (await h.operator('GET', `/v1/evidence?session=${odd.session}`)).body
  expect(evidence).toMatchObject([{ state: 'whole', why: 'a runtime monitor reported it: Shell2J incontainer' }])
  const verbs = h.engine.calls.filter((call) => call.endsWith(odd.container.id) && /^(pause|top|remove)/.test(call))
  expect(verbs.map((call) => call.split(' ')[0])).toEqual(['pause', 'top', 'remove'])
  // Without a grace, which would let it run on after that.
  expect(graces).toEqual([0])
  const task = h.hub.work.tasks.session(odd.session)?.task ?? ''
  await h.until(
    () => h.started.filter(({ agent, token }) => agent === 'odd' && token !== '').length === 2,
    'it is tried again',
  )
  expect(h.task(task)).toMatchObject({ state: 'running', crashes: 1 })
  expect(isLive(calm.session)).toBe(true)

  // The second within ten minutes is one more than `limits.recycles`: its agent is halted.
  const second = h.started.findLast(({ agent }) => agent === 'odd')?.session ?? ''
  expect(await post([critical(second)])).toEqual(['recycled'])
  // The first alert is open still, and each report is told.
  const told = h.events('hub.alert.raised.v1').filter(({ data }) => data.cause === 'session_reported:odd')
  expect(told.map(({ data }) => [odd.session, second].map((id) => String(data.text).includes(id)))).toEqual([
    [true, false],
    [false, true],
  ])
  expect(h.hub.work.catalogue.registry.find('odd')?.state).toBe('halted')

  // In safe mode it still counts. A flood is refused by name, and no body is too large for a plain refusal.
  h.hub.guard.modes.raise('operator_request', 'test')
  expect(await post([critical(calm.session)])).toEqual(['recycled'])
  const answers = []
  for (let times = 0; times < 40; times += 1) answers.push((await post(harmless))[0])
  expect(answers.filter((each) => each === 429).length).toBeGreaterThan(10)
  expect(await post([alert({ severity: 'x'.repeat(300_000) })])).toEqual([413, 'too_large'])
})
