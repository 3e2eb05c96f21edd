/**
 * One property over every way that leads to a session (T22, T45; faults F3, F4, F8, F9, D8): whoever takes it, it never gives more than the plain
 * way. That is naming the agent for people and their tokens, and for what is handed on the session that did it.
 *
 * 1. Under open rules a hub is filled with everything that can be brought back: failed tasks of each agent, held ones, children of a session
 *    that lives and of one that has ended, tasks of a need, inputs, a service.
 * 2. Then the rules of a world drawn at random come into force, and every principal takes every way to everything.
 * 3. Each session that begins is compared with what the plain way gives its asker at this moment: agent, authority, secrets fetched by its
 *    own program, end. Where the plain way is refused, there must be none.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Authority } from '../../hub/protocol/task.ts'
import { type Caller, openDoors, type Row } from '../support/doors.ts'
import { type AgentSpec, forever, type TestAgent } from '../support/hub-harness.ts'

const WORKERS = ['a', 'b', 'drill'] as const
const ALL = ['lead', ...WORKERS, 'keeper'] as const
const SKILLS = ['read', 'write']
const SECRETS = ['s-one', 's-two']
const LISTS = ['capabilities', 'message', 'delegate', 'topics', 'secrets', 'egress'] as const

const some = (of: readonly string[]) => fc.subarray([...of])
/** What a card wishes, and what the rules of the world give. */
const rowOf = fc.record({
  submit: fc.boolean(),
  suspended: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  capabilities: some(SKILLS),
  delegate: some(WORKERS),
  secrets: some(SECRETS),
  ttlMs: fc.constantFrom<number>(300_000, 3_600_000),
  service: fc.boolean(),
})
const cardOf = fc.record({
  capabilities: some(SKILLS),
  secrets: some(SECRETS),
  ttl: fc.constantFrom<string>('4m', '30m'),
})
const world = fc.record({
  rows: fc.record({ lead: rowOf, a: rowOf, b: rowOf, drill: rowOf, keeper: rowOf }),
  cards: fc.record({ lead: cardOf, a: cardOf, b: cardOf, drill: cardOf, keeper: cardOf }),
})
type World = typeof world extends fc.Arbitrary<infer Made> ? Made : never
type Name = (typeof ALL)[number]

/** Whoever comes; each with what it holds beside the operator. */
const PRINCIPALS = {
  operator: undefined,
  submits: ['task.submit'],
  retries: ['task.retry'],
  both: ['task.submit', 'task.retry'],
  puts: ['task.submit', 'task.retry', 'artifact.put'],
  reads: ['task.submit', 'task.retry', 'artifact.get'],
  looks: ['task.list', 'task.show', 'artifact.get'],
} as const
type Who = keyof typeof PRINCIPALS | 'device' | 'stopper'

interface Got {
  agent: string
  authority: Authority
  secrets: string[]
}

/** Fetches what it can, then works until it is stopped. */
function greedy(fetched: Map<string, string[]>) {
  return async (agent: TestAgent) => {
    await agent.join()
    const got: string[] = []
    for (const name of SECRETS)
      if ((await agent.ask({ method: 'GET', path: `/v1/secrets/${name}` })).status === 200) got.push(name)
    fetched.set(agent.session, got)
    return forever(agent)
  }
}

function specsOf({ cards }: World, fetched: Map<string, string[]>): Record<string, AgentSpec> {
  return Object.fromEntries(
    ALL.map((name) => {
      const { capabilities, secrets, ttl } = cards[name]
      const mode = name === 'keeper' ? 'service' : 'task'
      const card = { capabilities, mode, may: { secrets, delegate: [...WORKERS] }, limits: { ttl }, restarts: 0 }
      return [name, { script: greedy(fetched), card, policy: { submit: true, service: true, capabilities } }]
    }),
  )
}

const wider = (one: Got, other: Got): string[] => [
  ...LISTS.flatMap((list) => one.authority[list].filter((item) => !other.authority[list].includes(item))),
  ...one.secrets.filter((name) => !other.secrets.includes(name)),
  ...(['ttlMs', 'depthLeft', 'tasksLeft'] as const).filter((key) => one.authority[key] > other.authority[key]),
]

async function trial(drawn: World, count: (way: string, isGiven: boolean) => void): Promise<void> {
  const fetched = new Map<string, string[]>()
  const agents = specsOf(drawn, fetched)
  await using doors = await openDoors({ agents, config: { limits: { sessionsPerAgent: 12, sessions: 30 } } })
  const { h, operator } = doors
  for (const name of SECRETS) writeFileSync(join(h.home, 'secrets', name), name, { mode: 0o600 })
  const { tasks } = h.hub.work
  const cancel = async (id: string) => void (await operator('POST', `/v1/tasks/${id}/cancel`, {}))
  const asked = async (by: Caller, body: object, headers?: Record<string, string>) => {
    const { status, body: said } = await by('POST', '/v1/tasks', body, headers)
    return status === 200 ? (said.task as { id: string }).id : undefined
  }

  /** The session the task gets, or undefined where it ends without one. */
  async function gotOf(task: string): Promise<(Got & { session: string }) | undefined> {
    const session = () => tasks.sessionOfTask(task)
    const isOver = () => !['queued', 'running'].includes(h.task(task).state)
    await h.until(() => isOver() || fetched.has(session()?.id ?? ''), `task ${task} begins or ends`)
    const row = session()
    return row && { session: row.id, agent: row.agent, authority: row.authority, secrets: fetched.get(row.id) ?? [] }
  }

  // 1. Everything that can be brought back.
  const callers: Partial<Record<Who, Caller>> = { operator }
  for (const [who, actions] of Object.entries(PRINCIPALS))
    if (actions !== undefined) callers[who as Who] = await doors.token(who, [...actions])
  callers.device = await doors.device('phone', ['view', 'heartbeat', 'approve', 'stop', 'resume'])
  callers.stopper = await doors.device('button', ['stop'])
  const inputs = await doors.inputs(operator, 'a manifest', 'a pack')
  const failed: string[] = []
  const held: string[] = []
  for (const agent of ['lead', ...WORKERS]) {
    for (const more of [{}, { inputs }]) {
      const id = (await asked(operator, { agent, hold: true, ...more })) as string
      await cancel(id)
      failed.push(id)
    }
    held.push((await asked(operator, { agent, hold: true })) as string)
  }
  const needs = SKILLS.filter((skill) =>
    WORKERS.some((name) => name !== 'drill' && drawn.cards[name].capabilities.includes(skill)),
  )
  for (const need of needs) {
    held.push((await asked(operator, { needs: [need], hold: true })) as string)
    const id = (await asked(operator, { needs: [need], hold: true })) as string
    await cancel(id)
    failed.push(id)
  }
  const keyed = (await asked(operator, { agent: 'a', hold: true }, { 'idempotency-key': 'known' })) as string
  await doors.rules((rows) => Object.assign(rows.lead ?? {}, { secrets: SECRETS }))
  const leads: TestAgent[] = []
  for (let n = 0; n < 2; n += 1) {
    const [lead] = await h.bring('lead')
    leads.push(lead)
    for (const agent of WORKERS) await h.pumped(lead.delegate({ agent }))
    const children = tasks.children(lead.joined?.task.task ?? '')
    for (const { id } of children) {
      await gotOf(id)
      await cancel(id)
    }
    failed.push(...children.map(({ id }) => id))
  }
  const [living, ended] = leads as [TestAgent, TestAgent]
  await cancel(ended.joined?.task.task ?? '')
  await h.until(
    () =>
      tasks.openServiceTask('keeper') !== undefined &&
      h.started.some(({ agent, token }) => agent === 'keeper' && token !== ''),
    'the service runs',
  )

  // 2. The rules of this world.
  await doors.rules((rows) => {
    for (const name of ALL) Object.assign(rows[name] ?? {}, drawn.rows[name] as Row)
  })
  const before = new Set(tasks.sessions({ limit: 1000, all: true }).map(({ id }) => id))
  const plain = new Map<string, Got | null>()
  /** What naming the agent gives this principal now. */
  async function direct(who: Who, agent: string): Promise<Got | null> {
    const key = `${who} ${agent}`
    const known = plain.get(key)
    if (known !== undefined) return known
    const id = await asked(callers[who] as Caller, { agent })
    const got = (id === undefined ? undefined : await gotOf(id)) ?? null
    if (id !== undefined) await cancel(id)
    plain.set(key, got)
    // The oracle itself against the rules as they are written.
    const row = drawn.rows[agent as Name]
    const may =
      who === 'operator' ||
      (PRINCIPALS[who as keyof typeof PRINCIPALS] as readonly string[] | undefined)?.includes('task.submit')
    expect(got !== null, `${key}: ${JSON.stringify(row)}`).toBe(may === true && row.submit && !row.suspended)
    return got
  }

  // 3. Every way, and what it gives.
  async function judge(
    way: string,
    who: Who,
    task: string | undefined,
    { above, of }: { above?: TestAgent; of?: string } = {},
  ): Promise<void> {
    const got = task === undefined ? undefined : await gotOf(task)
    count(way, got !== undefined)
    if (task === undefined || got === undefined) return
    const text = `${way} by ${who}: ${JSON.stringify({ got, task: h.task(task), row: drawn.rows[got.agent as Name] })}`
    const { chain, parentSession, requestedBy } = h.task(task)
    if (!requestedBy.startsWith('agent:')) {
      const most = await direct(who, got.agent)
      expect(most, `the plain way is refused, ${text}`).not.toBeNull()
      if (most !== null) expect(wider(got, most), text).toEqual([])
    }
    // What is tried again stays where it was.
    if (of !== undefined) {
      const { chain: was, parentSession: below } = h.task(of)
      expect([chain, parentSession], text).toEqual([was, below])
    }
    if (chain.length > 0 || above !== undefined) {
      const parent = tasks.session(parentSession ?? '')
      expect(parent?.state, text).toBe('working')
      const theirs = {
        agent: 'lead',
        authority: parent?.authority as Authority,
        secrets: fetched.get(parent?.id ?? '') ?? [],
      }
      expect(wider(got, theirs), text).toEqual([])
      expect(drawn.rows.lead.delegate, text).toContain(got.agent)
      expect(drawn.rows[got.agent as Name].suspended, text).toBe(false)
      const endOf = (id: string) => Number(tasks.session(id)?.expiresBoot.split(':')[1])
      expect(endOf(got.session), text).toBeLessThanOrEqual(endOf(parentSession ?? ''))
    }
    await cancel(task)
  }
  const idOf = ({ status, body }: { status: number; body: Row }) =>
    status === 200 ? (body.task as { id: string }).id : undefined

  for (const who of Object.keys(callers) as Who[]) {
    const by = callers[who] as Caller
    for (const need of [...SKILLS.map((skill) => [skill]), SKILLS, []]) {
      const id = await asked(by, { needs: need })
      await judge('needs', who, id)
      if (id !== undefined) expect(h.task(id).agent, 'a canary was chosen').not.toBe('drill')
    }
    await judge('nothing', who, await asked(by, {}))
    for (const id of failed) await judge('retry', who, idOf(await by('POST', `/v1/tasks/${id}/retry`, {})), { of: id })
    for (const agent of ['a', 'b']) {
      const id = await asked(by, { agent, inputs })
      await judge('inputs', who, id)
      if (id !== undefined && who !== 'operator')
        expect(PRINCIPALS[who as 'reads'], 'inputs of another').toContain('artifact.get')
    }
    if (who !== 'operator') {
      const answered = await asked(by, { agent: 'a', hold: true }, { 'idempotency-key': 'known' })
      expect(answered, 'the key of another').not.toBe(keyed)
    }
    // Only the console of this machine lets held tasks start, beside the operator (fault C21).
    if (who !== 'operator')
      for (const id of held) expect(idOf(await by('POST', `/v1/tasks/${id}/release`, {})), who).toBeUndefined()
  }
  for (const id of held)
    await judge('release', 'operator', idOf(await operator('POST', `/v1/tasks/${id}/release`, {})) && id)
  for (const body of [...WORKERS.map((agent) => ({ agent })), ...SKILLS.map((skill) => ({ needs: [skill] }))]) {
    const known = new Set(tasks.children(living.joined?.task.task ?? '').map(({ id }) => id))
    const { status } = await h.pumped(living.send({ kind: 'delegate', body }))
    const made = tasks.children(living.joined?.task.task ?? '').find(({ id }) => !known.has(id))
    expect(made !== undefined, JSON.stringify(body)).toBe(status === 200)
    await judge('delegate', 'operator', made?.id, { above: living })
    if (made !== undefined && 'needs' in body) expect(h.task(made.id).agent).not.toBe('drill')
  }
  // The service falls, and comes back only where the rules of now have it.
  h.started.find(({ agent, ended: gone }) => agent === 'keeper' && !gone.aborted)?.container.exit(1)
  const served = () => tasks.serviceTasks('keeper', 10)
  const isBack = () =>
    tasks.sessionsOpen().some(({ agent, id, state }) => agent === 'keeper' && !before.has(id) && state === 'working')
  const { service, suspended } = drawn.rows.keeper
  if (service && !suspended) await h.until(isBack, 'the service is back', 200)
  else await h.until(() => served().some(({ state }) => state === 'failed'), 'the service stays away', 200)
  count('service', isBack())
  expect(isBack()).toBe(service && !suspended)

  // Whatever way it was: no session of an agent that nobody may have.
  for (const { id, agent, task } of tasks.sessions({ limit: 1000, all: true })) {
    if (before.has(id)) continue
    const row = drawn.rows[agent as Name]
    const { requestedBy } = h.task(task)
    const isOwn = requestedBy === 'hub:services' ? row.service : requestedBy.startsWith('agent:') || row.submit
    expect([isOwn, row.suspended], `${agent} for ${requestedBy}`).toEqual([true, false])
  }
}

test('no way to a session gives anybody more than the plain way does', async () => {
  const given = new Map<string, { yes: number; no: number }>()
  const count = (way: string, isGiven: boolean) => {
    const sum = given.get(way) ?? { yes: 0, no: 0 }
    given.set(way, { yes: sum.yes + Number(isGiven), no: sum.no + Number(!isGiven) })
  }
  const long = process.env.HUB_TEST_LONG === '1'
  await fc.assert(
    fc.asyncProperty(world, (drawn) => trial(drawn, count)),
    { numRuns: long ? 40 : 3, endOnFailure: true, ...(long ? {} : { examples: [[OPEN], [SHUT]] }) },
  )
  // It must have been tried both ways, else it proves nothing.
  for (const way of ['needs', 'retry', 'release', 'delegate', 'inputs', 'service'])
    expect(
      [given.get(way)?.yes ?? 0, given.get(way)?.no ?? 0].every((n) => n > 0),
      `${way} ${JSON.stringify([...given])}`,
    ).toBe(true)
})

const card = { capabilities: ['read'], secrets: ['s-one'], ttl: '4m' }
const wide = { capabilities: SKILLS, secrets: SECRETS, ttl: '30m' }
const row = {
  submit: true,
  suspended: false,
  capabilities: SKILLS,
  delegate: [...WORKERS],
  secrets: SECRETS,
  ttlMs: 3_600_000,
  service: true,
}
/** Everything may be had, by the narrowest of leads. */
const OPEN: World = {
  rows: { lead: row, a: row, b: row, drill: row, keeper: row },
  cards: { lead: card, a: wide, b: card, drill: wide, keeper: card },
}
/** Only what is handed on may be had. */
const SHUT: World = {
  rows: {
    lead: { ...row, delegate: ['a', 'drill'] },
    a: { ...row, submit: false },
    b: { ...row, submit: false },
    drill: { ...row, submit: false },
    keeper: { ...row, service: false },
  },
  cards: { lead: wide, a: wide, b: wide, drill: wide, keeper: card },
}
