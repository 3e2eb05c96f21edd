/** Tools that agents ask about: what card, rules and a person make of a question, and that nothing else is its answer (docs/permissions.md). */
import { describe, expect, test } from 'vitest'
import type { ApprovalView } from '../../hub/client/answers.ts'
import type { Delivery } from '../../hub/protocol/envelope.ts'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

const COMMAND = { tool: 'Bash', kind: 'execute', title: 'npm test', arguments: { command: 'npm test --silent' } }

const agentOf = (permissions?: string, row: Record<string, unknown> = {}) => ({
  solo: {
    script: puppet,
    card: { driver: 'json-lines', ...(permissions === undefined ? {} : { permissions }) },
    policy: row,
  },
})
const hubOf = (permissions?: string, row?: Record<string, unknown>) =>
  createHarness({ agents: agentOf(permissions, row) })
const bypass = { relax: ['bypass'] }

const asks = (h: Harness, agent: TestAgent, body: Record<string, unknown>, more: Record<string, unknown> = {}) =>
  h.pumped(agent.say({ kind: 'permit', body, ...more }))
const stateOf = (h: Harness, { session }: TestAgent) => h.hub.work.tasks.session(session)?.state
const waiting = async (h: Harness) => (await h.operator('GET', '/v1/approvals')).body.approvals as ApprovalView[]
const answer = async (h: Harness, id: string | undefined, approve: boolean, text = '') =>
  (await h.operator('POST', `/v1/approvals/${id}/answer`, { approve, text })).body
const heard = async (h: Harness, agent: TestAgent): Promise<Delivery[]> => await h.pumped(agent.receive(0))
const permits = (h: Harness) => h.audit().filter(({ action }) => action === 'tool.permission_asked')

describe('what the card says, with the same question each time (S4-7)', () => {
  test('ask: a person is asked, and their answer comes back under the id of the question', async () => {
    await using h = await hubOf()
    const [solo] = await h.bring('solo')
    const id = await asks(h, solo, COMMAND)
    expect(stateOf(h, solo)).toBe('input_required')
    expect(await heard(h, solo)).toEqual([])
    const [row] = await waiting(h)
    expect(row).toMatchObject({ kind: 'tool', tier: 'execute', state: 'asked', askId: id, operation: null })
    expect(row?.about?.facts).toMatchObject({ tool: 'Bash', arguments: COMMAND.arguments, permissions: 'ask' })
    expect((await answer(h, row?.id, true, 'go on')).approval).toMatchObject({ state: 'approved' })
    expect(await heard(h, solo)).toMatchObject([
      { kind: 'reply', correlationId: id, body: { approved: true, text: 'go on' } },
    ])
    expect(stateOf(h, solo)).toBe('working')
  })

  test.each([
    ['allow', {}],
    ['bypass', bypass],
  ])('%s: a yes at once', async (permissions, row) => {
    await using h = await hubOf(permissions, row)
    const [solo] = await h.bring('solo')
    const id = await asks(h, solo, COMMAND)
    expect(await heard(h, solo)).toMatchObject([{ kind: 'reply', correlationId: id, body: { approved: true } }])
    expect(await waiting(h)).toEqual([])
    expect(stateOf(h, solo)).toBe('working')
  })

  test('deny: a no at once, and nobody is asked', async () => {
    await using h = await hubOf('deny')
    const [solo] = await h.bring('solo')
    await expect(asks(h, solo, COMMAND)).rejects.toMatchObject({ code: 'policy_denied' })
    expect(await waiting(h)).toEqual([])
    expect(permits(h)).toMatchObject([{ outcome: 'refused' }])
  })
})
