/** Every way that leads to a session, tried by who may not take it (faults F3, F4, F7 to F10, D8; T22, T23, T45). */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Caller, type Doors, openDoors } from '../support/doors.ts'
import { type AgentSpec, type Harness, puppet, type TestAgent, worker } from '../support/hub-harness.ts'

const agent = (card: Record<string, unknown> = {}, policy: Record<string, unknown> = {}): AgentSpec => ({
  script: puppet,
  card,
  policy,
})
const submit = async (by: Caller, body: object, headers?: Record<string, string>) => {
  const answer = await by('POST', '/v1/tasks', body, headers)
  const { id = '' } = (answer.body.task ?? {}) as { id?: string }
  return {
    ...answer,
    id,
    code: answer.status < 300 ? 'ok' : String(answer.body.code),
    detail: String(answer.body.detail),
  }
}
const act = async (by: Caller, id: string, verb: 'retry' | 'release' | 'cancel', headers?: Record<string, string>) => {
  const answer = await by('POST', `/v1/tasks/${id}/${verb}`, {}, headers)
  const task = (answer.body.task ?? {}) as { id?: string }
  return {
    ...answer,
    id: task.id ?? '',
    code: answer.status < 300 ? 'ok' : String(answer.body.code),
    detail: String(answer.body.detail),
  }
}
const begun = async (h: Harness, task: string): Promise<TestAgent> => {
  const mine = () => h.started.findLast(({ joined }) => joined?.task.task === task)
  await h.until(() => mine()?.token, 'it joins')
  return mine() as TestAgent
}
const child = async (h: Harness, lead: TestAgent, body: Record<string, unknown>) => {
  const before = h.started.length
  await h.pumped(lead.delegate(body))
  await h.until(() => h.started[before]?.token, 'the child joins')
  const kid = h.started[before] as TestAgent
  return { kid, task: kid.joined?.task.task ?? '' }
}
const secretOf = async (h: Harness, { ask }: TestAgent, name: string) =>
  (await h.pumped(ask({ method: 'GET', path: `/v1/secrets/${name}` }))).status

describe('fault F3: by what an agent can do', () => {
  const agents = {
    open: agent({ capabilities: ['read'] }),
    closed: agent({ capabilities: ['read', 'write'] }, { submit: false }),
    drill: agent({ capabilities: ['read', 'wait'] }),
    resting: agent({ capabilities: ['sleep'] }, { suspended: true }),
  }

  test('no agent is chosen that the asker could not name, at the submission and again at the start', async () => {
    await using doors = await openDoors({ agents })
    const { h, operator, token, rules } = doors
    const ci = await token('ci', ['task.submit'])
    for (const by of [operator, ci]) {
      expect((await submit(by, { agent: 'closed' })).code).toBe('policy_denied')
      const refused = await submit(by, { needs: ['write'] })
      expect([refused.status, refused.code]).toEqual([409, 'no_capable_agent'])
      expect((await submit(by, { needs: ['sleep'] })).code).toBe('no_capable_agent')
      const { id } = await submit(by, { needs: ['read'] })
      expect((await begun(h, id)).agent).toBe('open')
      await act(operator, id, 'cancel')
    }
    expect(
      h.audit().filter(({ action, outcome }) => action === 'task.submitted' && outcome === 'refused'),
    ).toHaveLength(6)

    // Held over a change of the rules: who was permitted then is asked about again, and nobody else takes its place.
    const held = await submit(ci, { needs: ['read'], hold: true })
    await rules((rows) => Object.assign(rows.open ?? {}, { submit: false }))
    expect((await act(operator, held.id, 'release')).code).toBe('no_capable_agent')
    await rules((rows) => Object.assign(rows.open ?? {}, { submit: true }))
    expect((await act(operator, held.id, 'release')).code).toBe('ok')
    expect((await begun(h, held.id)).agent).toBe('open')
    expect(h.started.map((each) => each.agent)).toEqual(['open', 'open', 'open'])
  })

  test('a held task is not let go to wait for nobody: whom the rules of now leave it must be able to serve it', async () => {
    const other = agent({ capabilities: [] }, { capabilities: ['read'] })
    await using doors = await openDoors({ agents: { open: agent({ capabilities: ['read'] }), other } })
    const { h, operator, rules } = doors
    const held = await submit(operator, { needs: ['read'], hold: true })
    await rules((rows) => Object.assign(rows.open ?? {}, { submit: false }))
    expect((await act(operator, held.id, 'release')).code).toBe('no_capable_agent')
    expect(h.task(held.id)).toMatchObject({ state: 'queued', held: true })
    await rules((rows) => Object.assign(rows.open ?? {}, { submit: true }))
    expect((await act(operator, held.id, 'release')).code).toBe('ok')
    expect((await begun(h, held.id)).agent).toBe('open')
  })

  test('fault F8: neither an agent nor a need starts nothing, and the canary is started by its name alone', async () => {
    await using doors = await openDoors({ agents })
    const { h, operator, token } = doors
    for (const by of [operator, await token('ci', ['task.submit'])]) {
      for (const body of [{}, { needs: [] }, { params: {} }]) {
        const { code, detail } = await submit(by, body)
        expect([code, detail]).toEqual(['schema_invalid', expect.stringContaining('name the agent')])
      }
      expect((await submit(by, { needs: ['wait'] })).code).toBe('no_capable_agent')
    }
    const { id } = await submit(operator, { agent: 'drill' })
    expect((await begun(h, id)).agent).toBe('drill')
    expect(h.started).toHaveLength(1)
  })

  test('a task that waits for its turn does not start once the rules no longer let it have that agent (T23)', async () => {
    const one = agent({ capabilities: ['read'], limits: { sessions: 1 } })
    await using doors = await openDoors({ agents: { open: one } })
    const { h, operator, rules } = doors
    const busy = await submit(operator, { agent: 'open' })
    await begun(h, busy.id)
    const [named, chosen] = [await submit(operator, { agent: 'open' }), await submit(operator, { needs: ['read'] })]
    await rules((rows) => Object.assign(rows.open ?? {}, { submit: false }))
    await act(operator, busy.id, 'cancel')
    await h.ended(named.id, chosen.id)
    expect(h.task(named.id).error).toMatchObject({ code: 'policy_denied' })
    expect(h.task(chosen.id).error).toMatchObject({ code: 'no_capable_agent' })
    expect(h.started).toHaveLength(1)
  })
})

describe('fault F4, fault D8: trying again', () => {
  const agents = {
    lead: agent({ may: { delegate: ['kid'], secrets: ['shared'] }, limits: { ttl: '20m' } }),
    kid: agent({ capabilities: ['read'], may: { secrets: ['shared', 'own'] } }),
    closed: agent({}, { submit: false }),
  }
  const withSecrets = async (doors: Doors) => {
    for (const name of ['shared', 'own']) writeFileSync(join(doors.h.home, 'secrets', name), name, { mode: 0o600 })
    return doors
  }

  test('is submitting again: what failed may succeed, as a new task of the one who asks', async () => {
    let tries = 0
    const flaky = worker(() => {
      tries += 1
      if (tries === 1) throw new Error('not yet')
      return 'now'
    })
    await using doors = await openDoors({ agents: { flaky: { script: flaky, card: { restarts: 0 } } } })
    const { h, operator, token } = doors
    const ci = await token('ci', ['task.submit', 'task.retry'])
    const first = await submit(operator, { agent: 'flaky', params: { n: 1 }, priority: 7 })
    await h.ended(first.id)
    expect(h.task(first.id).state).toBe('failed')
    await operator('POST', '/v1/agents/flaky/reset', {})
    const again = await act(ci, first.id, 'retry')
    await h.ended(again.id)
    expect(h.task(again.id)).toMatchObject({
      state: 'succeeded',
      outcome: { value: 'now' },
      params: { n: 1 },
      priority: 7,
      requestedBy: 'automation:ci',
    })
    expect((await act(ci, again.id, 'retry')).code).toBe('conflict')
    expect(h.audit().findLast(({ action }) => action === 'task.retried')).toMatchObject({ outcome: 'refused' })
  })

  test('starts no agent that may not be submitted to, and for a token takes both rights', async () => {
    await using doors = await openDoors({ agents })
    const { h, operator, token, rules } = doors
    await rules((rows) => Object.assign(rows.closed ?? {}, { submit: true }))
    const { id } = await submit(operator, { agent: 'closed' })
    await act(operator, id, 'cancel')
    const tokens = [['task.retry'], ['task.submit'], ['task.submit', 'task.retry']]
    const callers = await Promise.all(tokens.map((actions, place) => token(`t${place}`, actions)))
    const tried = async () => {
      const answers: string[] = []
      for (const by of [...callers, operator]) answers.push((await act(by, id, 'retry')).code)
      return answers
    }
    expect(await tried()).toEqual(['policy_denied', 'policy_denied', 'ok', 'ok'])
    await rules((rows) => Object.assign(rows.closed ?? {}, { submit: false }))
    expect(await tried()).toEqual(['policy_denied', 'policy_denied', 'policy_denied', 'policy_denied'])
    expect(h.hub.work.tasks.tasks({ limit: 100 })).toHaveLength(3)
  })

  test('a retry of a delegated task stays in its chain: below the same session, under its ceiling, counted in its tree', async () => {
    await using doors = await withSecrets(await openDoors({ agents, config: { limits: { tasksPerTree: 3 } } }))
    const { h, operator } = doors
    const [lead] = await h.bring('lead')
    const { task } = await child(h, lead, { agent: 'kid' })
    await act(operator, task, 'cancel')
    const again = await act(operator, task, 'retry')
    const kid = await begun(h, again.id)
    const [first, second] = [h.task(task), h.task(again.id)]
    expect(second).toMatchObject({ depth: 1, chain: ['lead'], parent: first.parent, parentSession: lead.session })
    expect(second.ceiling).toEqual({ ...first.ceiling, ttlMs: expect.any(Number) })
    const [own, above] = [h.hub.work.tasks.session(kid.session), h.hub.work.tasks.session(lead.session)]
    expect(own?.authority).toMatchObject({ secrets: ['shared'], capabilities: [], depthLeft: 2 })
    expect(Number(own?.expiresBoot.split(':')[1])).toBeLessThanOrEqual(Number(above?.expiresBoot.split(':')[1]))
    expect([await secretOf(h, kid, 'shared'), await secretOf(h, kid, 'own')]).toEqual([200, 403])
    // The third task of a tree of three; and with its parent it ends.
    const last = await act(operator, task, 'retry')
    expect([last.code, last.detail]).toEqual(['limit_exceeded', expect.stringContaining('which is its limit')])
    await act(operator, first.parent ?? '', 'cancel')
    await h.ended(again.id)
    expect(h.task(again.id)).toMatchObject({ state: 'cancelled', error: { detail: 'its parent ended' } })
  })

  test('a retry of a delegated task is refused by name if its parent is gone, or may no longer delegate to the agent', async () => {
    await using doors = await openDoors({ agents })
    const { h, operator, rules } = doors
    const [lead] = await h.bring('lead')
    const { task } = await child(h, lead, { agent: 'kid' })
    await act(operator, task, 'cancel')
    await rules((rows) => Object.assign(rows.lead ?? {}, { delegate: [] }))
    const narrowed = await act(operator, task, 'retry')
    expect([narrowed.code, narrowed.detail]).toEqual(['policy_denied', expect.stringContaining('agents.lead.delegate')])
    await rules((rows) => Object.assign(rows.lead ?? {}, { delegate: ['kid'] }))
    const parent = h.task(task).parent ?? ''
    await act(operator, parent, 'cancel')
    const gone = await act(operator, task, 'retry')
    expect([gone.status, gone.code]).toEqual([409, 'conflict'])
    expect(gone.detail).toContain('agent lead delegated this task, and its session has ended')
    expect(gone.detail).toContain(parent)
    expect(h.started).toHaveLength(2)
  })

  test('nothing begins below a session that has ended, whatever brought the task back', async () => {
    await using doors = await openDoors({ agents })
    const { h, operator } = doors
    const [lead] = await h.bring('lead')
    const { task } = await child(h, lead, { agent: 'kid' })
    await act(operator, h.task(task).parent ?? '', 'cancel')
    await h.quiet()
    // As a copy of the database from before would have it.
    h.hub.guard.store
      .prepare(
        "update task set state = 'queued', ended_at_ms = null, error = null, agent = null, check_sum = null where id = ?",
      )
      .run(task)
    h.hub.guard.store.prepare("update task set agent = 'kid' where id = ?").run(task)
    await h.ended(task)
    expect(h.task(task)).toMatchObject({
      state: 'failed',
      error: { detail: expect.stringContaining("parent's session") },
    })
    expect(h.started).toHaveLength(2)
  })
})

test('a service that lost its right is not started again when its session ends', async () => {
  await using doors = await openDoors({
    agents: { keeper: { script: puppet, card: { mode: 'service' }, policy: { submit: false, service: true } } },
  })
  const { h, rules } = doors
  await h.until(() => h.started[0]?.token, 'the service joins')
  await rules((rows) => Object.assign(rows.keeper ?? {}, { service: false }))
  h.started[0]?.container.exit(1)
  await h.until(() => h.hub.work.tasks.serviceTasks('keeper', 5).some(({ state }) => state === 'failed'), 'it fails')
  const [row] = h.hub.work.tasks.serviceTasks('keeper', 1)
  expect(row?.error).toMatchObject({ code: 'policy_denied', detail: expect.stringContaining('agents.keeper.service') })
  expect(h.started).toHaveLength(1)
})

describe('fault F7: a key belongs to one request of one principal', () => {
  test('whoever acts on the task of another sees no more of it than they could read', async () => {
    await using doors = await openDoors({ agents: { a: agent() } })
    const { h, operator, token, device } = doors
    const ci = await token('ci', ['task.submit', 'task.retry', 'task.cancel'])
    const reader = await token('reader', ['task.submit', 'task.retry', 'task.show'])
    const stopper = await device('phone', ['stop'])
    const viewer = await device('tablet', ['stop', 'view'])
    const body = { agent: 'a', params: { key: 'MARK' }, hold: true }
    const given = async (by: Caller, verb: 'retry' | 'release' | 'cancel', of: string) => {
      const { id, code, body: said } = await act(by, of, verb)
      expect([verb, code, h.task(id).id]).toEqual([verb, 'ok', id])
      return { id, isShown: JSON.stringify(said).includes('MARK') }
    }
    const held = async () => (await submit(operator, body)).id
    const ended = await held()
    expect((await given(stopper, 'cancel', ended)).isShown).toBe(false)
    expect((await given(viewer, 'cancel', await held())).isShown).toBe(true)
    expect((await given(ci, 'cancel', await held())).isShown).toBe(false)
    expect((await given(operator, 'release', await held())).isShown).toBe(true)
    const again = await given(ci, 'retry', ended)
    expect(again.isShown).toBe(false)
    // Its own by name now, and another's by what it was given.
    expect((await given(ci, 'cancel', again.id)).isShown).toBe(false)
    expect(h.task(again.id).params).toEqual({ key: 'MARK' })
    expect((await given(reader, 'retry', ended)).isShown).toBe(true)
    expect((await given(operator, 'retry', ended)).isShown).toBe(true)
    // What it gave itself it is told.
    expect(JSON.stringify((await submit(ci, body)).body)).toContain('MARK')
  })

  const agents = { echo: { script: worker(() => 'done') }, patient: agent() }

  test('whoever uses the key of another gets a task of their own, and nothing of the other', async () => {
    await using doors = await openDoors({ agents })
    const { h, operator, token } = doors
    const key = { 'idempotency-key': 'k-1' }
    const first = await submit(operator, { agent: 'echo', params: { hidden: 'word' } }, key)
    for (const name of ['ci', 'operator']) {
      const other = await submit(await token(name, ['task.submit']), { agent: 'echo' }, key)
      expect(other.code).toBe('ok')
      expect(other.id).not.toBe(first.id)
      expect(JSON.stringify(other.body)).not.toContain('word')
    }
    expect((await submit(operator, { agent: 'echo', params: { hidden: 'word' } }, key)).id).toBe(first.id)
    expect(h.hub.work.tasks.tasks({ limit: 10 })).toHaveLength(3)
  })

  test('with another request it is a conflict, for a retry as for a submission, and starts nothing', async () => {
    await using doors = await openDoors({ agents })
    const { h, operator } = doors
    const key = { 'idempotency-key': 'k-1' }
    const { id } = await submit(operator, { agent: 'patient' }, key)
    const more: object[] = [{ agent: 'echo' }, { agent: 'patient', params: { a: 1 } }, { agent: 'patient', hold: true }]
    for (const body of more) {
      const { status, code } = await submit(operator, body, key)
      expect([status, code]).toEqual([409, 'conflict'])
    }
    await act(operator, id, 'cancel')
    expect((await act(operator, id, 'retry', key)).code).toBe('conflict')
    const own = { 'idempotency-key': 'k-2' }
    const again = await act(operator, id, 'retry', own)
    expect([again.code, (await act(operator, id, 'retry', own)).id]).toEqual(['ok', again.id])
    expect(h.hub.work.tasks.tasks({ limit: 10 })).toHaveLength(2)
  })
})

test('fault F9: an input is one that the asker put or may read, also when a task is tried again', async () => {
  await using doors = await openDoors({ agents: { echo: agent() } })
  const { h, operator, token, inputs } = doors
  const plain = await token('plain', ['task.submit', 'task.retry'])
  const putting = await token('putting', ['task.submit', 'task.retry', 'artifact.put'])
  const reading = await token('reading', ['task.submit', 'task.retry', 'artifact.get'])
  const [theirs, own] = [await inputs(operator, 'm', 'p'), await inputs(putting, 'm2', 'p2')]
  const mixed = { manifest: own.manifest, pack: theirs.pack }
  const given = async (by: Caller, of: object) => (await submit(by, { agent: 'echo', inputs: of, hold: true })).code
  expect([await given(plain, theirs), await given(putting, theirs), await given(putting, mixed)]).toEqual(
    Array(3).fill('policy_denied'),
  )
  expect([await given(putting, own), await given(reading, theirs), await given(operator, own)]).toEqual(
    Array(3).fill('ok'),
  )
  // Who has the same bytes may put them, and then has shown that there was nothing to learn.
  expect(await given(putting, await inputs(putting, 'm', 'p'))).toBe('ok')
  const [task] = [await submit(operator, { agent: 'echo', inputs: await inputs(operator, 'm3', 'p3') })]
  await act(operator, task.id, 'cancel')
  expect([(await act(plain, task.id, 'retry')).code, (await act(reading, task.id, 'retry')).code]).toEqual([
    'policy_denied',
    'ok',
  ])
  expect(h.audit().filter(({ outcome }) => outcome === 'refused')).toHaveLength(4)
})

describe('fault F9: inputs and keys belong to a credential, not to its name', () => {
  const ACTIONS = ['task.submit', 'task.retry', 'artifact.put']
  const key = { 'idempotency-key': 'k-1' }
  const plain = { agent: 'echo', params: { hidden: 'word' }, hold: true }
  /** All that one that was made under an old name might get of the old one. */
  async function expectNothingOf(by: Caller, old: { id: unknown; inputs: object }) {
    for (const request of [plain, { ...plain, params: {} }]) {
      const answer = await submit(by, request, { 'idempotency-key': request === plain ? 'k-1' : 'k-2' })
      expect(answer.code).toBe('ok')
      expect(answer.id).not.toBe(old.id)
    }
    const given = await submit(by, { agent: 'echo', inputs: old.inputs, hold: true })
    expect(given.code).toBe('policy_denied')
  }

  test('one that is made under the name of a revoked one gets neither its answers nor its inputs', async () => {
    await using doors = await openDoors({ agents: { echo: agent() } })
    const { operator, token, inputs } = doors
    const phone = await token('phone', ACTIONS)
    const own = await inputs(phone, 'm', 'p')
    const first = await submit(phone, plain, key)
    expect((await submit(phone, { agent: 'echo', inputs: own, hold: true })).code).toBe('ok')
    expect((await operator('POST', '/v1/tokens/phone/revoke', {})).status).toBe(200)
    const again = await token('phone', ACTIONS)
    await expectNothingOf(again, { id: first.id, inputs: own })
    // Another request under the old key is no conflict either, which would tell of the old one.
    expect((await submit(again, { ...plain, params: {} }, { 'idempotency-key': 'k-3' })).code).toBe('ok')
    const theirs = await inputs(again, 'm2', 'p2')
    expect((await submit(again, { agent: 'echo', inputs: theirs, hold: true })).code).toBe('ok')
  })

  test('one keeps what is its own over a restart; one of before each had an id keeps it too, and its successor gets nothing', async () => {
    await using doors = await openDoors({ agents: { echo: agent() } })
    const { h, operator, token, inputs } = doors
    const [phone, old] = [await token('phone', ACTIONS), await token('old', ACTIONS)]
    h.hub.guard.store.prepare(`update credential set id = null where name = 'old'`).run()
    await h.stop()
    await h.start()
    await h.lease()
    const had = []
    for (const [by, text] of [
      [phone, 'm'],
      [old, 'm2'],
    ] as const)
      had.push({ by, id: (await submit(by, plain, key)).id, inputs: await inputs(by, text, `p of ${text}`) })
    expect(had[0]?.id).not.toBe(had[1]?.id)
    await h.stop()
    await h.start()
    await h.lease()
    for (const { by, id, inputs: own } of had) {
      expect((await submit(by, plain, key)).id).toBe(id)
      expect((await submit(by, { agent: 'echo', inputs: own, hold: true })).code).toBe('ok')
    }
    expect((await operator('POST', '/v1/tokens/old/revoke', {})).status).toBe(200)
    const [, was] = had
    if (was === undefined) throw new Error('it had nothing')
    await expectNothingOf(await token('old', ACTIONS), was)
  })
})

describe('fault F10: what was admitted and waits is decided once more when the rules change (T23)', () => {
  const say = { sends: { say: null, note: null }, receives: { say: null, note: null } }
  const talker = (message: string[]): AgentSpec => ({
    script: puppet,
    card: { messages: say, may: { message, topics: ['news', 'other'] } },
    policy: { broadcast: true },
  })
  const agents = { alice: talker(['bob', 'carol']), bob: talker(['alice']), carol: talker(['bob']) }
  const mail = async (h: Harness, to: TestAgent) => (await h.pumped(to.receive(0))).map(({ body }) => body.n)

  test('mail of a pair that may not speak any more is not delivered, the rest is; each no is on record', async () => {
    await using doors = await openDoors({ agents })
    const { h, rules } = doors
    const [alice, bob, carol] = await h.bring('alice', 'bob', 'carol')
    const note = await h.pumped(alice.say({ kind: 'broadcast', to: 'all', type: 'note', body: { n: 3 } }))
    const said = []
    for (const n of [1, 2])
      said.push(await h.pumped(alice.say({ kind: 'request', to: 'agent:bob', type: 'say', body: { n } })))
    await h.pumped(carol.say({ kind: 'request', to: 'agent:bob', type: 'say', body: { n: 4 } }))
    await rules((rows) => Object.assign(rows.alice ?? {}, { message: ['carol'] }))
    expect([await mail(h, bob), await mail(h, carol)]).toEqual([[4], [3]])
    const refused = h.audit().filter(({ action, outcome }) => action === 'message.sent' && outcome === 'refused')
    expect(refused.map(({ principal, resource }) => [principal, resource])).toEqual(
      Array(3).fill([`agent:alice/${alice.session}`, `session:${bob.session}`]),
    )
    // Its sender is told, requests first; nobody else is.
    const back = await h.pumped(alice.receive(0))
    expect(back.map(({ kind, correlationId, body }) => [kind, correlationId, body.code, body.returned])).toEqual(
      [...said, note].map((id) => ['refused', id, 'policy_denied', true]),
    )
    expect(await h.pumped(carol.receive(0))).toEqual([])
    // No more than sixteen at one change.
    for (let n = 0; n < 20; n += 1)
      await h.pumped(carol.say({ kind: 'request', to: 'agent:bob', type: 'say', body: { n } }))
    await rules((rows) => Object.assign(rows.carol ?? {}, { message: [] }))
    expect([await mail(h, bob), await h.pumped(carol.receive(0))]).toEqual([[], Array(16).fill(expect.anything())])
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
  })

  test('a subscription ends with the right to its topic, and does not come back with it', async () => {
    await using doors = await openDoors({ agents })
    const { h, rules } = doors
    const [alice, bob, carol] = await h.bring('alice', 'bob', 'carol')
    for (const one of [bob, carol])
      for (const topic of ['news', 'other'])
        await h.pumped(one.must({ method: 'POST', path: '/v1/subscribe', body: { topic } }))
    const tell = (topic: string, n: number) =>
      h.pumped(alice.send({ kind: 'event', to: `topic:${topic}`, type: 'note', body: { n } }))
    await tell('news', 1)
    await rules((rows) => Object.assign(rows.bob ?? {}, { topics: ['other'] }))
    for (const [topic, n] of [
      ['news', 2],
      ['other', 3],
    ] as const)
      await tell(topic, n)
    expect([await mail(h, bob), await mail(h, carol)]).toEqual([[3], [1, 2, 3]])
    await rules((rows) => Object.assign(rows.bob ?? {}, { topics: ['news', 'other'] }))
    await tell('news', 4)
    expect([await mail(h, bob), await mail(h, carol)]).toEqual([[], [4]])
    // Who may not publish any more has said nothing that still waits.
    await tell('other', 5)
    await rules((rows) => Object.assign(rows.alice ?? {}, { topics: [] }))
    expect([await mail(h, bob), await mail(h, carol)]).toEqual([[], []])
  })

  test('an answer and the words of the hub stay, and a change that does not concern them removes nothing', async () => {
    await using doors = await openDoors({ agents })
    const { h, rules, operator } = doors
    const [alice, bob] = await h.bring('alice', 'bob')
    const asking = alice.request('agent:bob', 'say', { n: 1 })
    const got = await h.pumped(bob.next())
    await h.pumped(alice.say({ kind: 'ask', body: { text: 'Well?' } }))
    await h.pumped(bob.reply(got, { n: 2 }))
    const [row] = (await operator('GET', '/v1/approvals')).body.approvals as { id: string }[]
    await operator('POST', `/v1/approvals/${row?.id}/answer`, { approve: true })
    await h.pumped(bob.say({ kind: 'request', to: 'agent:alice', type: 'say', body: { n: 3 } }))
    await rules((rows) => Object.assign(rows.alice ?? {}, { message: [] }))
    expect(await h.pumped(asking)).toEqual({ n: 2 })
    expect((await h.pumped(alice.next())).body).toMatchObject({ approved: true })
    expect((await h.pumped(alice.next())).body).toEqual({ n: 3 })
  })
})

test('fault F17: a device that may stop can end a session, but not quarantine it', async () => {
  await using doors = await openDoors({ agents: { patient: agent() } })
  const { h, device, token } = doors
  const [one] = await h.bring('patient')
  const phone = await device('phone', ['stop'])
  const refused = await phone('POST', `/v1/sessions/${one.session}/quarantine`, {})
  expect([refused.status, refused.body.code]).toEqual([403, 'forbidden'])
  expect(h.audit().at(-1)).toMatchObject({
    action: 'session.quarantined',
    outcome: 'refused',
    principal: 'device:phone',
  })
  expect(h.hub.work.tasks.session(one.session)?.state).toBe('working')
  expect((await phone('POST', `/v1/sessions/${one.session}/stop`, {})).status).toBe(200)
  await h.quiet()
  const [two] = await h.bring('patient')
  const ci = await token('ci', ['session.quarantine'])
  const asked = ci('POST', `/v1/sessions/${two.session}/quarantine`, {})
  expect((await asked).status).toBe(200)
})
