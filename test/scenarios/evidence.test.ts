/**
 * Every stop for security keeps evidence before the container is destroyed, within its bound (S1-66, fault D7). A critical alert that names a
 * session contains and examines it first, and is told then (S1-67).
 */
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CAPTURE_MS_MAX } from '../../hub/work/dispatch/custody.ts'
import { oldEvidence } from '../../hub/work/retention/old-files.ts'
import { type AgentSpec, createHarness, forever, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'
import { openRawSession } from '../support/raw-session.ts'
import { createSigningClient } from '../support/signing-client.ts'

const single: AgentSpec = { script: puppet, card: { restarts: 0 } }
const never = () => new Promise<never>(() => undefined)

interface Bundle {
  folder: string
  session: string
  why: string | null
  sha256: string | null
  recorded: string | null
  files: number
  state: string
}
async function evidenceOf(h: Harness, session?: string): Promise<Bundle[]> {
  const { body } = await h.operator('GET', `/v1/evidence${session === undefined ? '' : `?session=${session}`}`)
  return body.evidence as Bundle[]
}
const manifestOf = ({ folder }: Bundle) =>
  JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as { faults: { part: string; reason: string }[] }
const isGone = (h: Harness, agent: TestAgent) => h.engine.byName(agent.container.name) === undefined
const captured = (h: Harness, session: string) =>
  h.audit().filter(({ action, resource }) => action === 'session.captured' && resource === `session:${session}`)

async function secondKey(h: Harness, { socketPath }: TestAgent): Promise<void> {
  const ended = new AbortController().signal
  const thief = createSigningClient({ socketPath, clock: h.clock, ended })
  await h.pumped(thief.ask({ method: 'POST', path: '/v1/join', body: { publicKey: thief.publicKey } }))
}
async function brokenFrames(h: Harness, agent: TestAgent): Promise<void> {
  for (let strike = 0; strike < 3; strike += 1) {
    await h.pumped(agent.renew())
    const line = await h.pumped(openRawSession(agent, { after: 0 }))
    line.ws.send(Buffer.alloc(60))
    await h.pumped(line.closed)
  }
}
function altered(h: Harness, agent: TestAgent): void {
  h.engine.alterInspect = (answer) => {
    const labels = answer.Config?.Labels as Record<string, string> | undefined
    if (labels?.['hub.session'] === agent.session && answer.HostConfig) answer.HostConfig.Privileged = true
  }
}

/** Every way in which a session is stopped for security, and what its record of the end says. */
const KINDS: Record<string, { provoke: (h: Harness, agent: TestAgent) => unknown; why: RegExp }> = {
  'second-key': { provoke: secondKey, why: /a second key tried to join/ },
  'broken-frames': { provoke: brokenFrames, why: /three broken frames/ },
  'foreign-token': {
    provoke: async (h, agent) => {
      const { token } = h.started.find(({ agent: name }) => name === 'bystander') as TestAgent
      const asked = agent.ask({ method: 'GET', path: '/v1/receive?after=0&waitMs=0', token })
      await h.pumped(asked.catch(() => undefined))
    },
    why: /token of another session/,
  },
  refusals: { provoke: flood, why: /refused 300 times/ },
  revoked: {
    provoke: (h, agent) => h.operator('POST', `/v1/sessions/${agent.session}/revoke`, {}),
    why: /revoked by the operator/,
  },
  quarantined: {
    provoke: (h, agent) => h.operator('POST', `/v1/sessions/${agent.session}/quarantine`),
    why: /quarantined by the operator/,
  },
  unreadable: {
    provoke: (h, agent) =>
      h.hub.guard.store.prepare("update session set authority = '{' where id = ?").run(agent.session),
    why: /./,
  },
  altered: { provoke: altered, why: /no longer as the hub made it/ },
}

/** As `Refusals.excessive` says of a session that goes on with what is refused. */
function flood(h: Harness, agent: TestAgent): void {
  const { refusals } = h.hub.guard
  const { excessive } = refusals
  refusals.excessive = () => {
    refusals.excessive = excessive
    return [{ session: agent.session, why: 'it was refused 300 times a minute' }]
  }
}

describe('evidence before destruction (S1-66, fault D7)', () => {
  test('each kind of stop for security pauses, keeps a whole bundle, records its digest, and only then removes [stop-62, stop-64]', async () => {
    const names = Object.keys(KINDS)
    const agents = Object.fromEntries([...names, 'bystander'].map((name) => [name, single]))
    await using h = await createHarness({ agents, config: { limits: { sessions: 12 } } })
    await h.bring('bystander')
    for (const [name, { provoke, why }] of Object.entries(KINDS)) {
      const [agent] = await h.bring(name)
      const before = h.engine.calls.length
      await provoke(h, agent)
      await h.until(() => agent.ended.aborted && isGone(h, agent), `${name}: its container is gone`, 500)
      const calls = h.engine.calls.slice(before).filter((call) => /^(pause|top|remove) /.test(call))
      expect(
        calls.map((call) => call.split(' ')[0]),
        name,
      ).toEqual(['pause', 'top', 'remove'])
      await h.until(() => h.hub.work.tasks.session(agent.session)?.state === 'recycled', `${name}: its row says so`)
      const [bundle, ...more] = await evidenceOf(h, agent.session)
      expect(more, name).toEqual([])
      expect(bundle, name).toMatchObject({ state: 'whole', session: agent.session, files: 6 })
      expect(bundle?.why, name).toMatch(why)
      const manifest = readFileSync(join(bundle?.folder ?? '', 'manifest.json'))
      expect(createHash('sha256').update(manifest).digest('hex'), name).toBe(bundle?.sha256)
      expect(bundle?.recorded, name).toBe(bundle?.sha256)
      expect(captured(h, agent.session).map(({ outcome, principal }) => [outcome, principal])).toEqual([
        ['ok', 'hub:custody'],
      ])
      h.engine.alterInspect = () => undefined
    }
    expect((await evidenceOf(h)).length).toBe(names.length)
    // Retention knows them by their names.
    expect(oldEvidence(h.home, h.clock.wallMs() + 1).map(({ path }) => path)).toHaveLength(names.length)
  })

  test('what does not answer costs five seconds each, the whole fifteen at most, and is named; the tokens end and the line is cut before [stop-61, stop-62]', async () => {
    await using h = await createHarness({ agents: { one: single } })
    const [one] = await h.bring('one')
    await h.pumped(one.renew())
    const line = await h.pumped(openRawSession(one, { after: 0 }))
    for (const verb of ['pause', 'top', 'logs'] as const) h.engine[verb] = never
    const begunMs = h.clock.monotonicMs()
    await secondKey(h, one)
    await h.pumped(line.closed)
    expect((await h.pumped(one.ask({ method: 'GET', path: '/v1/receive?after=0&waitMs=0' }))).status).toBe(401)
    expect([isGone(h, one), h.clock.monotonicMs() - begunMs < CAPTURE_MS_MAX]).toEqual([false, true])
    await h.until(() => isGone(h, one), 'its container is gone', 500)
    expect(h.clock.monotonicMs() - begunMs).toBeLessThan(CAPTURE_MS_MAX + 3000)
    await h.quiet()
    const [bundle] = await evidenceOf(h, one.session)
    expect(bundle).toMatchObject({ state: 'whole' })
    const { faults } = manifestOf(bundle as Bundle)
    expect(faults.map(({ part }) => part)).toEqual(['pause', 'processes.json', 'container.log'])
    expect(captured(h, one.session)[0]?.effect).toContain('not captured: pause processes.json container.log')
  })

  test('without a folder to write to it is destroyed all the same, and the record says that nothing was kept', async () => {
    await using h = await createHarness({ agents: { one: single } })
    const [one] = await h.bring('one')
    rmSync(join(h.home, 'evidence'), { recursive: true })
    writeFileSync(join(h.home, 'evidence'), '')
    await secondKey(h, one)
    await h.until(() => isGone(h, one), 'its container is gone')
    expect(captured(h, one.session).map(({ effect }) => effect)).toEqual([
      'no evidence sha256:none, 0 files; not captured: folder',
    ])
    expect(await evidenceOf(h)).toEqual([])
  })

  test('an emergency stop waits for no evidence, neither for what is under way nor for more [stop-21, stop-63]', async () => {
    await using h = await createHarness({ agents: { one: single, two: single } })
    const [one] = await h.bring('one', 'two')
    for (const verb of ['top', 'inspect', 'logs'] as const) h.engine[verb] = never
    await secondKey(h, one)
    await h.until(() => h.engine.calls.some((call) => call.startsWith('pause')), 'it is being captured')
    h.engine.inspect = async () => undefined
    const begunMs = h.clock.monotonicMs()
    const { body } = await h.operator('POST', '/v1/shutdown', { emergency: true })
    expect(body).toMatchObject({ requested: 2 })
    expect((body.containers as { outcome: string }[]).map(({ outcome }) => outcome)).toEqual(['gone', 'gone'])
    expect(h.clock.monotonicMs() - begunMs).toBeLessThan(5000)
  })

  test('a hub that is killed meanwhile captures after its restart, once', async () => {
    await using h = await createHarness({ agents: { one: single } })
    const [one] = await h.bring('one')
    const { pause } = h.engine
    h.engine.pause = never
    await secondKey(h, one)
    await h.kill()
    h.engine.pause = pause
    await h.start()
    await h.until(() => isGone(h, one), 'its container is gone')
    await h.quiet()
    const bundles = await evidenceOf(h, one.session)
    expect(bundles.map(({ state }) => state)).toEqual(['whole'])
    // A stop whose removal was cut off by a second crash does not capture what is captured already.
    const { evidence } = h.hub.work.distrust
    expect(evidence.earlier(one.session)).toMatchObject({ folder: bundles[0]?.folder, sha256: bundles[0]?.sha256 })
  })

  test('each session of an agent that is stopped for security is told, also while the alert of an earlier one is open', async () => {
    await using h = await createHarness({ agents: { one: single }, config: { limits: { sessionsPerAgent: 2 } } })
    const [first, second] = await h.bring('one', 'one')
    for (const agent of [first, second]) await secondKey(h, agent)
    const told = h.events('hub.alert.raised.v1').filter(({ data }) => data.cause === 'session_stopped:one')
    expect(told.map(({ data }) => /session evidence (\w+)/.exec(String(data.text))?.[1])).toEqual([
      first.session,
      second.session,
    ])
  })

  /** Every stop that the engine is asked for from here on, with its grace in seconds. */
  const gracesOf = (h: Harness) => {
    const graces: number[] = []
    const { stop } = h.engine
    h.engine.stop = (id, grace) => {
      graces.push(grace)
      return stop(id, grace)
    }
    return graces
  }

  test('one that ends already is examined too when it is revoked, and ends without grace [stop-62]', async () => {
    const lingers: AgentSpec = {
      async script(agent) {
        await agent.join()
        await agent.result('done')
        await forever(agent)
      },
      stubborn: true,
    }
    await using h = await createHarness({ agents: { one: lingers } })
    const graces = gracesOf(h)
    const id = await h.submit('one')
    await h.until(() => h.sessionsOf(id)[0]?.state === 'recycling', 'it takes its leave')
    const [session] = h.sessionsOf(id)
    const { status } = await h.operator('POST', `/v1/sessions/${session?.id}/revoke`, {})
    expect(status).toBe(200)
    await h.quiet()
    expect(graces).toEqual([0])
    const calls = h.engine.calls.filter((call) => /^(pause|top|stop) /.test(call))
    expect(calls.map((call) => call.split(' ')[0])).toEqual(['pause', 'top', 'stop'])
    expect(await evidenceOf(h, session?.id)).toMatchObject([{ state: 'whole' }])
    expect(h.task(id).state).toBe('succeeded')
  })

  test('one whose time to live ends while it is examined, and nothing can be written, is neither thawed nor ended before its evidence is kept', async () => {
    await using h = await createHarness({
      agents: { one: { ...single, card: { restarts: 0, limits: { ttl: '40s' } } } },
    })
    const [one] = await h.bring('one')
    const graces = gracesOf(h)
    for (const verb of ['top', 'inspect'] as const) {
      const done = h.engine[verb] as (id: string) => Promise<undefined>
      h.engine[verb] = async (id) => {
        await h.clock.sleep(4500)
        return done(id)
      }
    }
    const [session] = h.sessionsOf(one.joined?.task.task ?? '')
    await h.clock.advance((session?.expiresAtMs ?? 0) - h.clock.wallMs() - 2000)
    h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' }))
    const asked = h.operator('POST', `/v1/sessions/${one.session}/quarantine`)
    await h.until(() => h.engine.calls.some((call) => call.startsWith('pause')), 'it is examined')
    const said = () => h.complaints.some(({ msg }) => msg === 'a session is stopped, but the store cannot record it')
    await h.until(said, 'its time to live has ended')
    expect(graces).toEqual([])
    await h.until(() => one.ended.aborted && isGone(h, one), 'its container is gone', 200)
    await asked
    expect(new Set(graces)).toEqual(new Set([0]))
    const [name = ''] = readdirSync(join(h.home, 'evidence'))
    expect(readdirSync(join(h.home, 'evidence', name))).toContain('container.log')
    await h.kill()
  })

  test('while the database cannot be written evidence is kept too', async () => {
    await using h = await createHarness({ agents: { one: single } })
    const [one] = await h.bring('one')
    h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' }))
    flood(h, one)
    await h.until(() => one.ended.aborted && isGone(h, one), 'its container is gone', 200)
    const [name = ''] = readdirSync(join(h.home, 'evidence'))
    expect(name.startsWith(one.session)).toBe(true)
    expect(existsSync(join(h.home, 'evidence', name, 'manifest.json'))).toBe(true)
    await h.kill()
  })

  test('evidence that was changed afterwards, or never finished, says so [stop-64]', async () => {
    await using h = await createHarness({ agents: { one: single } })
    const [one] = await h.bring('one')
    await secondKey(h, one)
    await h.quiet()
    const [bundle] = await evidenceOf(h, one.session)
    const folder = bundle?.folder ?? ''
    appendFileSync(join(folder, 'container.log'), 'more')
    expect(await evidenceOf(h)).toMatchObject([{ state: 'changed' }])
    // Together with its manifest, only the audit log knows better.
    const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as { files: { name: string }[] }
    const files = manifest.files.filter(({ name }) => name !== 'container.log')
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...manifest, files }))
    expect(await evidenceOf(h)).toMatchObject([{ state: 'whole' }])
    expect(await evidenceOf(h, one.session)).toMatchObject([{ state: 'changed' }])
    for (const text of ['{', '{"files":[{"name":"../x"}]}']) {
      writeFileSync(join(folder, 'manifest.json'), text)
      expect(await evidenceOf(h), text).toMatchObject([{ state: 'unfinished', sha256: null }])
    }
    mkdirSync(join(h.home, 'evidence', 'mine'))
    expect(await evidenceOf(h)).toHaveLength(1)
  })
})

describe('a critical alert that names a session (S1-67)', () => {
  const told = (h: Harness): string => {
    const path = join(h.home, 'logs', 'alerts.log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }
  const withheld = (h: Harness, agent: TestAgent) =>
    h.hub.work.catalogue.artifacts.list(agent.joined?.task.task ?? '', true)

  test('contains and captures it first, withholds what it left, and is told then; the hub is safe at once [alert-13, alert-31]', async () => {
    await using h = await createHarness({ agents: { one: single } })
    const [one] = await h.bring('one')
    await h.pumped(one.put('out/found.txt', 'what it found'))
    const { top } = h.engine
    const go = { on: () => undefined as unknown }
    h.engine.top = (id) => new Promise((done) => Object.assign(go, { on: () => done(top(id)) }))
    altered(h, one)
    await h.until(() => h.hub.guard.alerts.isOpen(`profile_mismatch:${one.session}`), 'it is seen', 2000)
    expect([h.hub.guard.modes.current(), h.task(one.joined?.task.task ?? '').state]).toEqual(['safe', 'failed'])
    expect(withheld(h, one)).toMatchObject([{ name: 'out/found.txt' }])
    await h.clock.advance(2000)
    expect(told(h)).not.toContain('profile_mismatch')
    go.on()
    await h.until(() => told(h).includes('profile_mismatch'), 'it is told')
    expect(captured(h, one.session)).toHaveLength(1)
    await h.until(() => isGone(h, one), 'its container is gone')
    expect((await evidenceOf(h, one.session))[0]).toMatchObject({ state: 'whole' })
  })

  test('is told after the bound whatever hangs, and after a restart at once [alert-31]', async () => {
    await using h = await createHarness({ agents: { one: single, two: single } })
    const [one, two] = await h.bring('one', 'two')
    h.hub.guard.alerts.onAccused(never)
    const raise = (agent: TestAgent) =>
      h.hub.guard.alerts.raise(`profile_mismatch:${agent.session}`, 'critical', 'it is other than it was made')
    const begunMs = h.clock.monotonicMs()
    raise(one)
    await h.until(() => told(h).includes(one.session), 'it is told', 200)
    const tookMs = h.clock.monotonicMs() - begunMs
    expect([tookMs >= CAPTURE_MS_MAX, tookMs < CAPTURE_MS_MAX + 3000]).toEqual([true, true])
    raise(two)
    await h.kill()
    await h.start()
    await h.until(() => told(h).includes(two.session), 'it is told')
  })

  test('one about no session, or about one that has ended, is told at once, and nobody else is stopped', async () => {
    await using h = await createHarness({ agents: { one: single } })
    await h.bring('one')
    for (const cause of ['secret_leaving:nobody', 'audit_chain_broken'] as const)
      h.hub.guard.alerts.raise(cause, 'critical', 'as told')
    await h.until(() => told(h).includes('secret_leaving') && told(h).includes('audit_chain_broken'), 'both are told')
    expect(h.hub.work.tasks.sessionsOpen().map(({ state }) => state)).toEqual(['working'])
  })

  test('of a container that does not go, evidence is kept without a pause, and what its session left stays', async () => {
    await using h = await createHarness({ agents: { one: single } })
    const [one] = await h.bring('one')
    await h.pumped(one.put('out/found.txt', 'what it found'))
    for (const verb of ['stop', 'kill', 'remove'] as const) h.engine.fault(verb, 'fail', 20)
    await h.operator('POST', `/v1/sessions/${one.session}/stop`, {})
    await h.until(() => h.hub.guard.alerts.isOpen(`kill_unconfirmed:${one.container.name}`), 'it is told', 2000)
    await h.until(() => captured(h, one.session).length === 1, 'evidence is kept')
    expect(h.engine.calls.filter((call) => call.startsWith('pause'))).toEqual([])
    expect(withheld(h, one)).toEqual([])
    await h.until(() => isGone(h, one), 'its container is gone', 500)
  })
})
