import { describe, expect, test } from 'vitest'
import { type AgentSpec, createHarness, type Harness, puppet, type TestAgent, worker } from '../support/hub-harness.ts'
import type { Answer } from '../support/signing-client.ts'

const member = (
  delegate: string[],
  capabilities: string[] = ['read'],
  more: Record<string, unknown> = {},
): AgentSpec => ({
  script: puppet,
  card: { capabilities, may: { delegate, ...(more.may as object) } },
})
const code = ({ status, body }: Answer) => (status < 300 ? 'ok' : String(body.code))
const delegate = (h: Harness, agent: TestAgent, body: Record<string, unknown>) =>
  h.pumped(agent.send({ kind: 'delegate', body }))

/** Lets `parent` delegate and answers the child once it has joined. */
async function child(h: Harness, parent: TestAgent, body: Record<string, unknown>): Promise<TestAgent> {
  const before = h.started.length
  expect(code(await delegate(h, parent, body))).toBe('ok')
  await h.until(() => h.started[before]?.token, `a child of ${parent.agent} joins`)
  return h.started[before] as TestAgent
}

describe('depth and cycles', () => {
  test('a chain goes as deep as the limit and no deeper; the refusal is in the audit (T40)', async () => {
    const names = ['d0', 'd1', 'd2', 'd3', 'd4']
    await using h = await createHarness({
      agents: Object.fromEntries(names.map((name, depth) => [name, member(names.slice(depth + 1))])),
      config: { limits: { delegationDepth: 3 } },
    })
    let [last] = await h.bring('d0')
    for (const agent of ['d1', 'd2', 'd3']) last = await child(h, last, { agent })
    expect(last.joined?.task.depthLeft).toBe(0)
    const answer = await delegate(h, last, { agent: 'd4' })
    expect([answer.status, code(answer)]).toEqual([403, 'delegation_depth'])
    expect(h.audit().findLast(({ action }) => action === 'task.delegated')).toMatchObject({
      outcome: 'refused',
      principal: `agent:d3/${last.session}`,
      decision_id: answer.body.decisionId,
    })
    expect(h.hub.work.tasks.tasks({ limit: 100 })).toHaveLength(4)
  })

  test('no agent stands twice in one chain: itself, its parent, its grandparent (T41)', async () => {
    const all = ['a', 'b', 'c']
    await using h = await createHarness({ agents: Object.fromEntries(all.map((name) => [name, member(all)])) })
    const [a] = await h.bring('a')
    expect(code(await delegate(h, a, { agent: 'a' }))).toBe('delegation_cycle')
    const b = await child(h, a, { agent: 'b' })
    expect(code(await delegate(h, b, { agent: 'a' }))).toBe('delegation_cycle')
    const c = await child(h, b, { agent: 'c' })
    for (const agent of all) expect(code(await delegate(h, c, { agent }))).toBe('delegation_cycle')
    // Asked for only by capability, nobody is left to choose.
    expect(code(await delegate(h, c, { needs: ['read'] }))).toBe('policy_denied')
  })
})

describe('a child holds no more than its parent', () => {
  test('a child that has what its parent lacks does not lend it to the parent (T45)', async () => {
    await using h = await createHarness({
      agents: {
        weak: member(['strong'], ['read']),
        strong: member(['tool'], ['read', 'write'], { may: { message: ['tool'], topics: ['t'] } }),
        tool: member([]),
      },
    })
    const [weak] = await h.bring('weak')
    const [alone] = await h.bring('strong')
    const strong = await child(h, weak, { agent: 'strong' })
    const authorityOf = ({ session }: TestAgent) => h.hub.work.tasks.session(session)?.authority
    expect(authorityOf(alone)).toMatchObject({ capabilities: ['read', 'write'], delegate: ['tool'], message: ['tool'] })
    expect(authorityOf(strong)).toMatchObject({ capabilities: ['read'], delegate: [], message: [], topics: [] })
    expect(strong.joined?.task.capabilities).toEqual(['read'])
    expect(code(await delegate(h, strong, { agent: 'tool' }))).toBe('policy_denied')
    expect(code(await delegate(h, alone, { agent: 'tool' }))).toBe('ok')
  })

  test('asking for wider capabilities is refused, asking for fewer is granted (T42)', async () => {
    await using h = await createHarness({
      agents: { lead: member(['kid'], ['read', 'write']), kid: member([], ['read', 'write', 'admin']) },
    })
    const [lead] = await h.bring('lead')
    expect(code(await delegate(h, lead, { agent: 'kid', capabilities: ['read', 'admin'] }))).toBe('delegation_wider')
    const kid = await child(h, lead, { agent: 'kid', capabilities: ['read'] })
    expect(kid.joined?.task.capabilities).toEqual(['read'])
  })

  test('a child lives no longer than its parent, whatever it asks for', async () => {
    await using h = await createHarness({
      agents: {
        lead: { ...member(['kid']), card: { may: { delegate: ['kid'] }, limits: { ttl: '5m' } } },
        kid: member([]),
      },
    })
    const [lead] = await h.bring('lead')
    await h.clock.advance(60_000)
    const kid = await child(h, lead, { agent: 'kid', ttlMs: 3_600_000 })
    const endOf = ({ session }: TestAgent) => Number(h.hub.work.tasks.session(session)?.expiresBoot.split(':')[1])
    expect(endOf(kid)).toBeLessThanOrEqual(endOf(lead))
    const short = await child(h, lead, { agent: 'kid', ttlMs: 10_000 })
    expect(endOf(short) - h.clock.bootMs()).toBeLessThanOrEqual(10_000)
  })

  test('a pair that card or policy does not have is refused, and so is an agent nobody knows', async () => {
    await using h = await createHarness({
      agents: {
        lead: { script: puppet, card: { may: { delegate: ['kid'] } }, policy: { delegate: ['other', 'ghost'] } },
        kid: member([]),
        other: member([]),
      },
    })
    const [lead] = await h.bring('lead')
    for (const agent of ['kid', 'other', 'ghost'])
      expect(code(await delegate(h, lead, { agent })), agent).toBe('policy_denied')
    expect(h.hub.work.tasks.tasks({ limit: 10 })).toHaveLength(1)
  })
})

describe('the tree', () => {
  test('one budget is shared by the whole tree, whoever of it spends it (T43)', async () => {
    await using h = await createHarness({
      agents: { lead: member(['middle', 'leaf']), middle: member(['leaf']), leaf: { script: worker(() => 1) } },
      config: { limits: { tasksPerTree: 5 } },
    })
    const [lead] = await h.bring('lead')
    const middle = await child(h, lead, { agent: 'middle' })
    for (const each of [lead, middle, lead]) expect(code(await delegate(h, each, { agent: 'leaf' }))).toBe('ok')
    for (const each of [lead, middle]) expect(code(await delegate(h, each, { agent: 'leaf' }))).toBe('limit_exceeded')
    // Those that have ended still count: a budget is not a rate.
    await h.until(() => h.hub.work.tasks.sessionsOpen().length === 2)
    expect(code(await delegate(h, lead, { agent: 'leaf' }))).toBe('limit_exceeded')
    expect(h.hub.work.tasks.tasks({ limit: 100 })).toHaveLength(5)
    // Another tree has its own.
    const [second] = await h.bring('lead')
    expect(code(await delegate(h, second, { agent: 'leaf' }))).toBe('ok')
  })

  test('S2-31: the 21st delegation of a tree within an hour is refused, whoever of it asks; an hour later it is not', async () => {
    await using h = await createHarness({
      agents: { lead: member(['middle', 'leaf']), middle: member(['leaf']), leaf: { script: worker(() => 1) } },
      config: { limits: { ttl: '3h' } },
    })
    const [lead] = await h.bring('lead')
    const middle = await child(h, lead, { agent: 'middle' })
    for (let at = 0; at < 19; at += 1)
      expect(code(await delegate(h, at % 2 === 0 ? lead : middle, { agent: 'leaf' }))).toBe('ok')
    for (const each of [lead, middle]) {
      const { body } = await delegate(h, each, { agent: 'leaf' })
      expect(body).toMatchObject({
        code: 'rate_limited',
        detail: expect.stringMatching(/20 delegations.*budget\.delegations/),
      })
      expect(body.retryAfterMs).toBeGreaterThan(3_000_000)
    }
    // Another tree has its own.
    const [second] = await h.bring('lead')
    expect(code(await delegate(h, second, { agent: 'leaf' }))).toBe('ok')
    h.clock.stepWall(3_600_000)
    expect(code(await delegate(h, lead, { agent: 'leaf' }))).toBe('ok')
  })

  test('a repeated delegation makes one child, and its outcome is told again', async () => {
    await using h = await createHarness({ agents: { lead: member(['leaf']), leaf: { script: worker(() => 'x') } } })
    const [lead] = await h.bring('lead')
    const envelope = { id: lead.newId(), kind: 'delegate', body: { agent: 'leaf' } } as const
    expect(code(await h.pumped(lead.send(envelope)))).toBe('ok')
    expect(await h.pumped(lead.outcome(envelope.id))).toMatchObject({ outcome: 'succeeded', value: 'x', artifacts: [] })
    expect(code(await h.pumped(lead.send(envelope)))).toBe('ok')
    expect(await h.pumped(lead.outcome(envelope.id))).toMatchObject({ outcome: 'succeeded', value: 'x' })
    expect(h.hub.work.tasks.tasks({ limit: 10 })).toHaveLength(2)
  })

  test('asked for by need only, the work goes to a capable agent of those permitted', async () => {
    await using h = await createHarness({
      agents: {
        lead: member(['reader', 'idle'], ['read']),
        forbidden: member([], ['read']),
        idle: member([], []),
        reader: member([], ['read']),
      },
    })
    const [lead] = await h.bring('lead')
    expect((await child(h, lead, { needs: ['read'] })).agent).toBe('reader')
    expect(code(await delegate(h, lead, { needs: ['fly'] }))).toBe('policy_denied')
    expect(code(await delegate(h, lead, {}))).toBe('policy_denied')
  })

  test('parent and child may talk to each other without any rule, strangers may not', async () => {
    const messages = { sends: { say: null }, receives: { say: null } }
    const spec = (names: string[]): AgentSpec => ({ script: puppet, card: { messages, may: { delegate: names } } })
    await using h = await createHarness({ agents: { lead: spec(['kid']), kid: spec([]), other: spec([]) } })
    const [lead, other] = await h.bring('lead', 'other')
    const kid = await child(h, lead, { agent: 'kid' })
    const say = (from: TestAgent, to: TestAgent) =>
      h.pumped(from.send({ kind: 'request', to: `session:${to.session}`, type: 'say' })).then(code)
    expect([await say(lead, kid), await say(kid, lead)]).toEqual(['ok', 'ok'])
    expect([await say(other, kid), await say(kid, other), await say(lead, other)]).toEqual(
      Array(3).fill('policy_denied'),
    )
  })

  test('a child that fails or is cancelled is told to its parent as what it is', async () => {
    await using h = await createHarness({
      agents: {
        lead: member(['bad', 'crash', 'slow']),
        bad: {
          script: async (agent) => {
            await agent.join()
            await agent.say({ kind: 'result', body: { outcome: 'failed', error: 'no luck' } })
          },
        },
        crash: { script: () => Promise.reject(new Error('x')), card: { restarts: 0 } },
        slow: { script: puppet },
      },
    })
    const [lead] = await h.bring('lead')
    const outcomes: Record<string, unknown>[] = []
    for (const agent of ['bad', 'crash'])
      outcomes.push(await h.pumped(lead.outcome(await h.pumped(lead.delegate({ agent })))))
    expect(outcomes).toMatchObject([
      { outcome: 'failed', error: 'no luck' },
      { outcome: 'failed', code: 'agent_unhealthy' },
    ])
    const id = await h.pumped(lead.delegate({ agent: 'slow' }))
    const slow = h.hub.work.tasks.children(lead.joined?.task.task ?? '').at(-1)
    await h.operator('POST', `/v1/tasks/${slow?.id}/cancel`)
    expect(await h.pumped(lead.outcome(id))).toMatchObject({ outcome: 'cancelled', code: 'cancelled' })
  })
})
