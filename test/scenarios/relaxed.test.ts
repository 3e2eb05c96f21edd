/** Relaxations under a whole hub (docs/sandbox.md 8): what no card asks for changes nothing, and what a session got at its start is all it has. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { sha256Hex } from '../../hub/base/canonical.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'

/** The one body that the engine was told, with what differs from one session to the next taken out. */
function bodyText(h: Harness): string {
  const [container] = [...h.engine.containers.values()]
  if (container === undefined) throw new Error('there is no container')
  const { Labels, Env, HostConfig } = container.body
  const own = [
    HostConfig.Mounts[0]?.Source ?? '',
    ...Object.values(Labels),
    ...Env.map((each) => each.split('=')[1] ?? ''),
  ]
  // The name of the agent and what is always the same stay.
  const varying = own.filter((value) => value.length >= 12 && value !== '/run/hub/hub.sock')
  return varying.reduce((text, value) => text.replaceAll(value, 'X'), JSON.stringify(container.body))
}

test('T48: the container of a card without relaxations is made byte for byte as before there were any', async () => {
  await using h = await createHarness({ agents: { plain: { script: puppet } } })
  await h.bring('plain')
  // Taken from the last commit without them. Whoever changes the profile of all sessions takes it anew.
  expect(sha256Hex(bodyText(h))).toBe('20bd9ef6dfcb663d5237acf613c17278ec4d1c50ba2951952e3d9f8ec47e9c47')
})

const graded = async (h: Harness, session: string) => {
  const { body } = await h.operator('GET', `/v1/sessions/${session}?hardening=true`)
  const { pass, relaxed } = body.hardening as { pass: boolean; relaxed: string[] }
  return {
    pass,
    relaxed,
    tmpfs: [...h.engine.containers.values()].find((each) => each.session === session)?.body.HostConfig.Tmpfs,
  }
}

test('T101, T102: card and row both say it, or no session begins; what the session got is fixed at its start', async () => {
  const agents = {
    coder: { script: puppet, card: { relax: ['exec'] }, policy: { relax: ['exec'] } },
    python: { script: puppet, card: { relax: ['shm'] }, policy: { relax: ['exec', 'shm'] } },
    // One side alone gives nothing.
    granted: { script: puppet, policy: { relax: ['exec', 'shm'] } },
    asking: { script: puppet, card: { relax: ['exec', 'shm'] }, policy: { relax: ['shm'] } },
  }
  await using h = await createHarness({ agents })
  const [coder, python, granted] = await h.bring('coder', 'python', 'granted')
  const rights = [coder, python, granted].map(({ session }) => h.hub.work.tasks.session(session)?.authority.relax)
  expect(rights).toEqual([['exec'], ['shm'], undefined])
  const grades = await Promise.all([coder, python, granted].map(({ session }) => graded(h, session)))
  expect(grades).toMatchObject([
    { pass: true, relaxed: ['exec'], tmpfs: { '/workspace': expect.stringMatching(/^rw,exec,/) } },
    { pass: true, relaxed: ['shm'], tmpfs: { '/dev/shm': expect.stringMatching(/^rw,noexec,.*size=64m,/) } },
    { pass: true, relaxed: [] },
  ])
  expect(grades.map(({ tmpfs }) => Object.keys(tmpfs ?? {}).length)).toEqual([2, 3, 2])

  const refused = await h.submit('asking')
  await h.ended(refused)
  expect(h.task(refused)).toMatchObject({
    state: 'failed',
    error: {
      code: 'policy_denied',
      detail: expect.stringContaining(
        'agent asking asks for relax exec, which is not granted: add it to agents.asking.relax in policy/data.json, or take it out of the card',
      ),
    },
  })
  expect(h.sessionsOf(refused)).toEqual([])

  // The record of the container says which of its walls were moved, and whose were not.
  const provided = h.audit().filter(({ action }) => action === 'session.provisioned')
  expect(provided.map(({ effect }) => / relax:(.*)$/.exec(effect)?.[1])).toEqual(['exec', 'shm', undefined])

  // The row takes it back: what runs goes on by what it got, and is no difference; what begins later is refused.
  const file = join(h.home, 'policy', 'data.json')
  const data = JSON.parse(readFileSync(file, 'utf8')) as { agents: Record<string, Record<string, unknown>> }
  writeFileSync(file, JSON.stringify({ agents: { ...data.agents, coder: { ...data.agents.coder, relax: [] } } }))
  expect((await h.operator('POST', '/v1/policy/reload', {})).status).toBe(200)
  await h.clock.advance(61_000)
  expect(await graded(h, coder.session)).toMatchObject({ pass: true, relaxed: ['exec'] })
  expect(coder.ended.aborted).toBe(false)
  const later = await h.submit('coder')
  await h.ended(later)
  expect(h.task(later).error?.detail).toContain('agent coder asks for relax exec, which is not granted')

  // So does a hub that starts anew.
  await h.stop()
  await h.start()
  expect(await graded(h, coder.session)).toMatchObject({ pass: true, relaxed: ['exec'] })
})

test('T101: rules that allow a start and say nothing of its relaxation, as earlier ones do, begin nothing', async () => {
  const agents = { coder: { script: puppet, card: { relax: ['exec'] }, policy: { relax: ['exec'] } } }
  await using h = await createHarness({ agents })
  const { gate } = h.hub.guard
  const { admit } = gate
  gate.admit = (call, effect) =>
    admit(call, (grant) => {
      const { relax: _, ...narrow } = grant.narrow
      return effect(call.operation === 'task.dispatch' ? { ...grant, narrow } : grant)
    })
  const task = await h.submit('coder')
  await h.ended(task)
  expect(h.task(task).error).toMatchObject({
    code: 'policy_denied',
    detail: expect.stringContaining('the rules did not grant relax exec to agent coder'),
  })
  expect(h.sessionsOf(task)).toEqual([])
})

test('T101: a container whose workspace runs programs though nobody granted that is found within a minute, and ends', async () => {
  await using h = await createHarness({ agents: { plain: { script: puppet } } })
  const [agent] = await h.bring('plain')
  h.engine.alterInspect = ({ HostConfig }) => {
    const { Tmpfs } = HostConfig as unknown as { Tmpfs: Record<string, string> }
    Tmpfs['/workspace'] = Tmpfs['/workspace']?.replace('noexec', 'exec') ?? ''
  }
  await h.clock.advance(61_000)
  await h.until(() => h.hub.work.tasks.session(agent.session)?.exitReason === 'security', 'it is ended')
  expect(h.hub.guard.alerts.isOpen(`profile_mismatch:${agent.session}`)).toBe(true)
})

test('T101, T42: a chain of delegations moves no wall that stands for the session above, whoever asks', async () => {
  const relax = ['exec']
  const agents = {
    lead: { script: puppet, card: { relax, may: { delegate: ['coder', 'wide'] } }, policy: { relax } },
    sealed: { script: puppet, card: { may: { delegate: ['coder'] } } },
    coder: { script: puppet, card: { relax, capabilities: ['code'] }, policy: { relax } },
    wide: { script: puppet, card: { relax: ['exec', 'shm'] }, policy: { relax: ['exec', 'shm'] } },
  }
  await using h = await createHarness({ agents })
  const [lead, sealed] = await h.bring('lead', 'sealed')
  const refusal = async (agent: typeof lead, child: Record<string, unknown>) => {
    const { status, body } = await h.pumped(agent.send({ kind: 'delegate', body: child }))
    return [status, body.code, body.detail]
  }
  const why = (name: string, what: string) =>
    expect.stringContaining(`agent ${name} asks for relax ${what}, which the delegating session does not hold`)
  expect(await refusal(sealed, { agent: 'coder' })).toEqual([403, 'delegation_wider', why('coder', 'exec')])
  expect(await refusal(lead, { agent: 'wide' })).toEqual([403, 'delegation_wider', why('wide', 'shm')])
  await h.pumped(lead.delegate({ agent: 'coder' }))
  await h.working(3)
  const child = h.started.find(({ agent }) => agent === 'coder')
  expect(await graded(h, child?.session ?? '')).toMatchObject({ pass: true, relaxed: ['exec'] })

  // By a capability nobody is named: then its start is refused, and the parent hears why.
  const { status } = await h.pumped(sealed.send({ kind: 'delegate', body: { needs: ['code'] } }))
  expect(status).toBe(200)
  const asked = h.hub.guard.store.prepare('select id from task where parent_session = ?').pluck().get(sealed.session)
  await h.ended(String(asked))
  expect(h.task(String(asked)).error?.detail).toContain('which the session that delegated to it does not hold')
})

test('[flag-9] the flag relaxations, which strict holds off, refuses by name whose card asks; what runs goes on', async () => {
  const agents = {
    coder: { script: puppet, card: { relax: ['exec'] }, policy: { relax: ['exec'] } },
    plain: { script: puppet },
  }
  await using h = await createHarness({ agents })
  const [before] = await h.bring('coder')
  expect((await h.operator('POST', '/v1/flags/relaxations', { value: false })).status).toBe(200)
  const { status, body } = await h.operator('POST', '/v1/tasks', { agent: 'coder' })
  expect([status, body.code, body.detail]).toEqual([
    409,
    'flag_off',
    'agent coder does not start: its card asks for relax: exec, and the flag relaxations is off (`hub flag set relaxations on`)',
  ])
  await h.bring('plain')
  expect(before.ended.aborted).toBe(false)
  expect((await h.operator('GET', '/v1/agents/coder')).body.agent).toMatchObject({
    relax: ['exec'],
    reason: expect.stringContaining('the flag relaxations is off'),
  })
})
