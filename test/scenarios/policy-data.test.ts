/** The operator's rules data, changed by hand: refused with its place, recorded as a difference, and missing at a start (S1-13, S1-16). */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createHarness, type Harness, worker } from '../support/hub-harness.ts'
import { hasOpa, writeHomeRules } from '../support/policy-fixture.ts'

const agents = { echo: { script: worker(() => 'done') }, other: { script: worker(() => 'done') } }
const fileOf = (h: Harness) => join(h.home, 'policy', 'data.json')
const read = (h: Harness) => JSON.parse(readFileSync(fileOf(h), 'utf8'))
const write = (h: Harness, data: unknown) => writeFileSync(fileOf(h), JSON.stringify(data, undefined, 2))
const reload = (h: Harness) => h.operator('POST', '/v1/policy/reload', {})
const conditions = (h: Harness) => h.hub.guard.modes.active().map(({ name }) => name)
const openAlert = (h: Harness) => h.hub.guard.alerts.list().find(({ cause }) => cause === 'policy_refused')

test('fault C12: refused data names line, column and key; work goes on by the rules before it, an alert says so until it is fixed', async () => {
  await using h = await createHarness({ agents })
  const good = readFileSync(fileOf(h), 'utf8')
  write(h, { agents: { ...read(h).agents, echo: { submti: true, ttlMs: 60_000 } } })
  const refused = await reload(h)
  expect(refused).toMatchObject({ status: 503, body: { code: 'policy_unavailable' } })
  expect(refused.body.detail).toMatch(
    /data\.json line 4, column 7: agents\.echo\.submti: there is no such key; did you mean submit\?/,
  )
  expect(conditions(h)).toEqual([])
  expect(openAlert(h)?.text).toMatch(/line 4, column 7: .*The earlier rules stay in force/)
  await h.ended(await h.submit('echo'))
  expect((await h.operator('GET', '/v1/policy')).body.refused).toMatch(/line 4/)

  // Another fault: what is said is the present one.
  writeFileSync(fileOf(h), good.replace(/}$/, ',}'))
  expect((await reload(h)).body.detail).toMatch(/line 1, column \d+: a comma before }; take it out/)
  expect(openAlert(h)?.text).toMatch(/a comma before }/)
  writeFileSync(fileOf(h), good)
  expect((await reload(h)).status).toBe(200)
  expect(openAlert(h)).toBeUndefined()
  expect((await h.operator('GET', '/v1/policy')).body.refused).toBeNull()
})

test('fault C12: a change by hand is a record that names the difference, also where the hub was down', async () => {
  await using h = await createHarness({ agents })
  const data = read(h)
  data.agents.echo.message = ['other']
  data.agents.echo.ttlMs = 60_000
  data.agents.late = { ttlMs: 1000 }
  write(h, data)
  expect((await reload(h)).body).toMatchObject({
    changed:
      'agents.echo.ttlMs: 3600000 -> 60000; agents.echo.message: + other; + agents.late; agents.late.ttlMs: 1000',
    warnings: ['agents.late: no card is named late'],
  })
  expect(h.audit().findLast(({ action }) => action === 'policy.reloaded')?.effect).toMatch(
    /agents\.echo\.message: \+ other/,
  )
  // Nothing has changed since.
  expect((await reload(h)).body.changed).toBe('')

  await h.stop()
  delete data.agents.late
  data.agents.other.suspended = true
  write(h, data)
  await h.start()
  const noted = h.audit().filter(({ resource }) => resource === 'policy:data')
  expect(noted.map(({ effect }) => effect)).toEqual(['- agents.late; agents.other.suspended: false -> true'])
  await h.stop()
  await h.start()
  expect(h.audit().filter(({ resource }) => resource === 'policy:data')).toHaveLength(1)
})

test('fault C12: names that no agent has get a warning, with the one that was probably meant', async () => {
  await using h = await createHarness({ agents })
  const data = read(h)
  data.agents.echo.message = ['othre']
  data.agents.echo.delegate = ['nobody']
  write(h, data)
  expect((await reload(h)).body.warnings).toEqual([
    'agents.echo.message: no agent is named othre; did you mean other?',
    'agents.echo.delegate: no agent is named nobody',
  ])
})

test.each([
  ['missing', (file: string) => rmSync(file), /it is not there/],
  ['half written', (file: string) => writeFileSync(file, '{"agents":'), /line 1, column 11: the end of the file/],
])(
  'S1-16: data that is %s at the start does not replace what was accepted; where nothing was, the hub is degraded, answers reads and repairs, and says what to do',
  async (_, spoil, why) => {
    await using h = await createHarness({ agents })
    await h.stop()
    const good = readFileSync(fileOf(h), 'utf8')
    spoil(fileOf(h))
    // Accepted at the first start, and kept.
    await h.start()
    expect(conditions(h)).toEqual([])
    expect(openAlert(h)?.text).toMatch(why)
    expect((await h.operator('GET', '/v1/policy')).body).toMatchObject({
      from: 'accepted',
      refused: expect.stringMatching(why),
    })
    await h.ended(await h.submit('echo'))
    expect((await reload(h)).body.code).toBe('policy_unavailable')
    await h.ended(await h.submit('echo'))

    h.hub.guard.store.transaction(() => h.hub.guard.store.prepare('delete from policy_file').run())
    await h.stop()
    await h.start()
    expect(conditions(h)).toEqual(['policy_unavailable'])
    const health = (await h.operator('GET', '/healthz')).body
    expect(health).toMatchObject({ mode: 'degraded', components: { policy: false } })
    const [condition] = h.hub.guard.modes.active()
    expect(condition?.reason).toMatch(why)
    expect(condition?.reason).not.toMatch(/are in force: the rules|earlier rules stay in force/)
    for (const path of ['/v1/tasks', '/v1/agents', '/v1/audit', '/v1/policy', '/v1/alerts', '/v1/health'])
      expect((await h.operator('GET', path)).status, path).toBe(200)
    expect((await h.operator('GET', '/v1/policy')).body).toMatchObject({ from: 'none', version: 0 })
    // The mode refuses what is new; what is left besides is refused for want of rules, and recorded.
    expect((await h.operator('POST', '/v1/tasks', { agent: 'echo' })).body.code).toBe('mode_degraded')
    expect((await h.operator('POST', '/v1/keys/rotate', {})).body.code).toBe('policy_unavailable')
    expect(h.audit().findLast(({ action }) => action === 'keys.rotated')).toMatchObject({ outcome: 'refused' })
    expect((await h.operator('POST', '/v1/mode/safe', { reason: 'a test' })).status).toBe(200)
    expect((await h.operator('POST', '/v1/mode/resume', {})).status).toBe(200)
    expect((await reload(h)).body.code).toBe('policy_unavailable')
    writeFileSync(fileOf(h), good)
    expect((await reload(h)).status).toBe(200)
    expect(conditions(h)).toEqual([])
    await h.ended(await h.submit('echo'))
  },
)

test('S1-60: with failClosed false the built-in rules let only tasks of the operator start, sealed tight, until rules load', async () => {
  await using h = await createHarness({
    agents: {
      echo: {
        card: { capabilities: ['echo'], may: { message: ['other'], secrets: ['api-key'] } },
        script: worker(() => 'done'),
      },
      other: agents.other,
    },
    config: { policy: { failClosed: false } },
  })
  const good = readFileSync(fileOf(h), 'utf8')
  h.hub.guard.store.transaction(() => h.hub.guard.store.prepare('delete from policy_file').run())
  await h.stop()
  writeFileSync(fileOf(h), '{')
  await h.start()
  expect(conditions(h)).toEqual([])
  const alerts = h.hub.guard.alerts.list().map(({ cause }) => cause)
  expect(alerts).toContain('policy_built_in')
  expect((await h.operator('GET', '/v1/policy')).body).toMatchObject({ from: 'built-in', version: 0 })
  const task = await h.submit('echo')
  await h.ended(task)
  expect(h.task(task).state).toBe('succeeded')
  expect(h.sessionsOf(task)[0]?.authority).toMatchObject({ capabilities: [], ttlMs: 3_600_000 })
  expect((await h.operator('POST', '/v1/tasks', { needs: ['echo'] })).body.code).toBe('policy_unavailable')
  expect((await h.operator('POST', '/v1/keys/rotate', {})).body.code).toBe('policy_unavailable')
  writeFileSync(fileOf(h), good)
  expect((await reload(h)).status).toBe(200)
  expect(h.hub.guard.alerts.list().map(({ cause }) => cause)).not.toContain('policy_built_in')
  expect((await h.operator('POST', '/v1/keys/rotate', {})).status).toBe(200)
})

test.skipIf(!hasOpa)(
  'S1-13: rules of the operator are in force after a reload, recorded by name, and refused by name to API calls before they are compiled',
  async () => {
    await using h = await createHarness({ agents })
    const folder = { dataPath: fileOf(h) }
    await h.ended(await h.submit('echo'))
    writeFileSync(join(h.home, 'policy', 'own.rego'), 'package hub.home\n\ndeny contains "x" if false\n')
    expect((await reload(h)).body.detail).toMatch(/own\.rego is not compiled/)
    expect(openAlert(h)?.text).toMatch(/own\.rego is not compiled.*The earlier rules stay in force/)
    writeHomeRules(folder, 'deny contains "echo rests" if input.resource.agent == "echo"')
    expect((await reload(h)).body.changed).toMatch(/^\+ own\.rego \([0-9a-f]{12}\)$/)
    expect(h.audit().findLast(({ action }) => action === 'policy.reloaded')?.effect).toMatch(/^\+ own\.rego/)
    const refused = (await h.operator('POST', '/v1/tasks', { agent: 'echo' })).body
    expect(refused).toMatchObject({ code: 'policy_denied', detail: 'echo rests' })
    await h.ended(await h.submit('other'))
    expect((await h.operator('GET', '/v1/policy')).body.home).toMatchObject({ files: ['own.rego'] })

    // Changed by hand while the hub is down: refused, and what was accepted rules on.
    await h.stop()
    writeFileSync(join(h.home, 'policy', 'own.rego'), 'package hub.home\n')
    await h.start()
    expect(openAlert(h)?.text).toMatch(/own\.rego is not the file that policy\/bundle\.json names/)
    expect((await h.operator('POST', '/v1/tasks', { agent: 'echo' })).body.detail).toBe('echo rests')
    for (const name of ['own.rego', 'home.wasm', 'bundle.json']) rmSync(join(h.home, 'policy', name))
    expect((await reload(h)).body.changed).toBe('- own.rego')
    await h.ended(await h.submit('echo'))
  },
)

test('fault C14: a time to live that the agent may not have is refused with both figures, never shortened', async () => {
  await using h = await createHarness({
    agents: {
      ...agents,
      short: { script: worker(() => 'done'), card: { limits: { ttl: '2m' } }, policy: { ttlMs: 600_000 } },
    },
  })
  const data = read(h)
  data.agents.other.ttlMs = 300_000
  write(h, data)
  await reload(h)
  const ask = async (agent: string, ttlMs: number) => (await h.operator('POST', '/v1/tasks', { agent, ttlMs })).body
  expect(await ask('echo', 99 * 3_600_000)).toMatchObject({
    code: 'limit_exceeded',
    detail: expect.stringMatching(
      /^ttl is 99h, but echo may have 1h at most: ask for less, or raise limits\.ttl of its card/,
    ),
  })
  // By the rules' data, and by the card.
  expect((await ask('other', 301_000)).detail).toMatch(/^ttl is 301s, but other may have 5m at most/)
  expect((await ask('short', 121_000)).detail).toMatch(/^ttl is 121s, but short may have 2m at most/)
  const { task } = (await ask('short', 120_000)) as { task: { id: string } }
  await h.until(() => h.sessionsOf(task.id).length === 1)
  expect(h.sessionsOf(task.id)[0]?.authority.ttlMs).toBe(120_000)
})
