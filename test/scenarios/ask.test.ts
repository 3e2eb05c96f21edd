import { expect, test } from 'vitest'
import { createHarness, puppet } from '../support/hub-harness.ts'

const asker = { solo: { script: puppet } }
type Row = { id: string; state: string; question: string; agent: string }

test('an agent asks, its session waits, the operator answers, and the answer comes back under the same id', async () => {
  await using h = await createHarness({ agents: asker })
  const [solo] = await h.bring('solo')
  const id = await h.pumped(solo.say({ kind: 'ask', body: { text: 'Shall I delete it?' } }))
  expect(h.hub.work.tasks.session(solo.session)?.state).toBe('input_required')
  expect(h.events('hub.task.asked.v1').at(-1)?.data).toMatchObject({ text: 'Shall I delete it?' })
  const listed = (await h.operator('GET', '/v1/approvals')).body.approvals as Row[]
  expect(listed).toMatchObject([{ state: 'asked', question: 'Shall I delete it?', agent: 'solo' }])
  const path = `/v1/approvals/${listed[0]?.id}/answer`
  const answered = await h.operator('POST', path, { approve: false, text: 'keep it' })
  expect(answered.body.approval).toMatchObject({ state: 'refused', answer: 'keep it' })
  expect(h.hub.work.tasks.session(solo.session)?.state).toBe('working')
  const [mail] = await h.pumped(solo.receive(0))
  expect(mail).toMatchObject({ kind: 'reply', correlationId: id, body: { approved: false, text: 'keep it' } })
  expect((await h.operator('POST', path, { approve: true })).body.code).toBe('already_resolved')
  expect(h.audit().findLast((row) => row.action === 'approval.answered' && row.outcome === 'ok')).toBeDefined()
})

test('silence never answers: a question ends as expired with the session that asked it (X10)', async () => {
  await using h = await createHarness({ agents: asker })
  const [solo] = await h.bring('solo')
  await h.pumped(solo.say({ kind: 'ask', body: { text: 'Well?' } }))
  const task = h.hub.work.tasks.session(solo.session)?.task ?? ''
  await h.operator('POST', `/v1/tasks/${task}/cancel`, {})
  await h.until(() => h.hub.guard.approvals.list(true)[0]?.state === 'expired', 'the question expires', 1000)
  const [row] = (await h.operator('GET', '/v1/approvals?all=true')).body.approvals as Row[]
  expect((await h.operator('POST', `/v1/approvals/${row?.id}/answer`, { approve: true })).body.code).toBe(
    'already_resolved',
  )
})

test.each([
  ['degraded', 'disk_low'],
  ['safe', 'operator_request'],
  ['draining', 'draining'],
] as const)(
  'a yes widens what runs and is refused while the hub is %s; a no is taken, and its session goes on',
  async (mode, condition) => {
    await using h = await createHarness({ agents: asker })
    const [solo] = await h.bring('solo')
    await h.pumped(solo.say({ kind: 'ask', body: { text: 'Well?' } }))
    const [row] = (await h.operator('GET', '/v1/approvals')).body.approvals as Row[]
    const answer = async (approve: boolean) => {
      h.hub.guard.modes.raise(condition, 'test')
      return (await h.operator('POST', `/v1/approvals/${row?.id}/answer`, { approve })).body
    }
    expect((await answer(true)).code).toBe(`mode_${mode}`)
    expect((await answer(false)).approval).toMatchObject({ state: 'refused' })
    expect(h.hub.work.tasks.session(solo.session)?.state).toBe('working')
  },
)
