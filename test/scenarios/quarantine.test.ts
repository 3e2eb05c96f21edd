/** Evidence before destruction, and what a session that is not to be trusted has left (S1-66, S1-70). */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { PART_BYTES_MAX } from '../../hub/work/evidence.ts'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

const CANARY = 'canary-5f2b"9c\\71 value'
const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex')
const agents = {
  lead: { script: puppet, card: { may: { delegate: ['kid'] } } },
  kid: { script: puppet, card: { may: { secrets: ['api-key'] } } },
}
interface Answer {
  evidence: {
    folder: string | null
    files: { name: string; bytes: number; sha256: string; cut: boolean }[]
    faults: { part: string }[]
  }
  withheld: { name: string; sha256: string }[] | null
  consumers: { session: string; task: string; artifacts: string[] }[]
}
const quarantine = async (h: Harness, session: string) => {
  const { status, body } = await h.operator('POST', `/v1/sessions/${session}/quarantine`)
  expect(status, JSON.stringify(body)).toBe(200)
  return body as unknown as Answer
}
const get = (h: Harness, agent: TestAgent, digest: string) =>
  h.pumped(agent.ask({ method: 'GET', path: `/v1/artifacts/${digest}` }))

describe('hub session quarantine', () => {
  test('S1-66: pauses, keeps a hashed bundle without secrets, destroys, fails the task', async () => {
    await using h = await createHarness({ agents })
    mkdirSync(join(h.home, 'secrets'), { mode: 0o700 })
    writeFileSync(join(h.home, 'secrets', 'api-key'), `${CANARY}\n`, { mode: 0o600 })
    const [kid] = await h.bring('kid')
    await h.pumped(kid.say({ kind: 'log', body: { level: 'info', text: `it says ${CANARY}` } }))
    kid.container.log = `line one\n${CANARY}\n${Buffer.from(CANARY).toString('base64')}\n`
    const task = kid.joined?.task.task ?? ''
    const { evidence } = await quarantine(h, kid.session)
    await h.quiet()
    const at = (verb: string) => h.engine.calls.findIndex((call) => call.startsWith(verb))
    expect([at('pause') < at('top'), at('top') < at('remove')]).toEqual([true, true])
    expect(h.task(task)).toMatchObject({ state: 'failed', error: { code: 'forbidden' } })
    expect(h.sessionsOf(task)[0]?.exitReason).toBe('security')

    const folder = evidence.folder ?? ''
    expect(folder.startsWith(join(h.home, 'evidence', `${kid.session}-`))).toBe(true)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(evidence.faults).toEqual([])
    expect(readdirSync(folder).sort()).toEqual([
      'audit.jsonl',
      'container.log',
      'inspect.json',
      'manifest.json',
      'processes.json',
      'session.json',
      'transcript.jsonl',
    ])
    for (const { name, bytes, sha256: digest } of evidence.files) {
      const found = readFileSync(join(folder, name))
      expect([found.length, sha256(found), statSync(join(folder, name)).mode & 0o777], name).toEqual([
        bytes,
        digest,
        0o600,
      ])
    }
    const whole = readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('')
    for (const spelling of [CANARY, JSON.stringify(CANARY).slice(1, -1), Buffer.from(CANARY).toString('base64')])
      expect(whole.includes(spelling), spelling).toBe(false)
    expect(whole).toContain('[redacted]')
    expect(readFileSync(join(folder, 'audit.jsonl'), 'utf8')).toContain('session.joined')
    expect(readFileSync(join(folder, 'transcript.jsonl'), 'utf8')).toContain('it says [redacted]')
    expect((JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Answer['evidence']).files).toEqual(
      evidence.files,
    )
    expect(h.audit().find(({ action }) => action === 'session.quarantined')).toMatchObject({ outcome: 'ok' })
  })

  test('S1-70: what it stored vanishes from lists and from agents; who read it is named and told; people fetch it by saying so', async () => {
    await using h = await createHarness({ agents })
    const [lead] = await h.bring('lead')
    await h.pumped(lead.delegate({ agent: 'kid' }))
    await h.working(2)
    const kid = h.started.at(-1) as TestAgent
    const { sha256: digest } = await h.pumped(kid.put('out/found.txt', 'what it found'))
    const kidTask = kid.joined?.task.task ?? ''
    expect((await get(h, lead, digest)).status).toBe(200)

    const { withheld, consumers } = await quarantine(h, kid.session)
    expect(withheld).toMatchObject([{ name: 'out/found.txt', sha256: digest }])
    const leadTask = lead.joined?.task.task ?? ''
    expect(consumers).toMatchObject([{ session: lead.session, task: leadTask, artifacts: [digest] }])
    const [event] = h.events('hub.artifact.quarantined.v1')
    expect(event).toMatchObject({ subject: `task:${leadTask}`, data: { artifacts: [digest], from: kid.session } })

    expect((await get(h, lead, digest)).status).toBe(403)
    const listed = await h.pumped(lead.must({ method: 'GET', path: '/v1/artifacts' }))
    expect(listed.body.artifacts).toEqual([])
    const shown = await h.operator('GET', `/v1/tasks/${kidTask}`)
    expect((shown.body.task as { artifacts: unknown[] }).artifacts).toEqual([])
    const list = (query: string) => h.operator('GET', `/v1/artifacts?task=${kidTask}${query}`)
    expect((await list('')).body.artifacts).toEqual([])
    expect((await list('&quarantined=true')).body.artifacts).toMatchObject([{ sha256: digest }])
    expect((await h.operator('GET', `/v1/artifacts/${digest}`)).body).toMatchObject({ code: 'unknown_artifact' })
    expect((await h.operator('GET', `/v1/artifacts/${digest}?quarantined=true`)).body.text).toBe('what it found')
    // Not even as the input of something new.
    const inputs = { manifest: digest, pack: digest }
    expect((await h.operator('POST', '/v1/tasks', { agent: 'lead', inputs })).body.code).toBe('unknown_artifact')
  })

  test('a revoked session leaves nothing to be read either', async () => {
    await using h = await createHarness({ agents })
    const [kid] = await h.bring('kid')
    await h.pumped(kid.put('x', 'y'))
    await h.operator('POST', `/v1/sessions/${kid.session}/revoke`, {})
    expect(h.hub.work.catalogue.artifacts.list(kid.joined?.task.task ?? '')).toEqual([])
  })

  test.each(['pause', 'top', 'inspect'] as const)(
    'an engine that does not %s keeps no session from being destroyed',
    async (verb) => {
      await using h = await createHarness({ agents })
      const [kid] = await h.bring('kid')
      h.engine.fault(verb, 'fail')
      const { evidence } = await quarantine(h, kid.session)
      expect(evidence.faults).toHaveLength(1)
      expect(evidence.files.length).toBeGreaterThan(3)
      await h.quiet()
    },
  )

  test('an engine that hangs holds it up for fifteen seconds at most', async () => {
    await using h = await createHarness({ agents })
    const [kid] = await h.bring('kid')
    h.engine.fault('pause', 'stall')
    h.engine.fault('top', 'stall')
    const before = h.clock.monotonicMs()
    await quarantine(h, kid.session)
    expect(h.clock.monotonicMs() - before).toBeLessThan(20_000)
    await h.quiet()
  })

  test('works while the hub is safe, and once only', async () => {
    await using h = await createHarness({ agents })
    const [kid] = await h.bring('kid')
    await h.operator('POST', '/v1/mode/safe', {})
    await quarantine(h, kid.session)
    await h.quiet()
    const again = await h.operator('POST', `/v1/sessions/${kid.session}/quarantine`)
    expect(again.body.code).toBe('already_resolved')
  })

  test('while the database cannot be written it is still captured and destroyed, and the answer says what is missing', async () => {
    await using h = await createHarness({ agents })
    const [kid] = await h.bring('kid')
    h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' }))
    const { evidence, withheld } = await quarantine(h, kid.session)
    expect([withheld, evidence.files.some(({ name }) => name === 'inspect.json')]).toEqual([null, true])
    await h.until(() => kid.ended.aborted && h.engine.containers.size === 0, 'its container is gone')
    await h.kill()
  })

  test('an oversized part is cut and says so', async () => {
    await using h = await createHarness({ agents })
    const [kid] = await h.bring('kid')
    h.engine.logs = async () => 'x'.repeat(PART_BYTES_MAX + 1)
    const { evidence } = await quarantine(h, kid.session)
    expect(evidence.files.find(({ name }) => name === 'container.log')).toMatchObject({
      bytes: PART_BYTES_MAX,
      cut: true,
    })
    await h.quiet()
  })
})
