/** A person follows one task through the audit log: by its id, by its sessions, to the rule that decided and the head that proves it. */
import { expect, test } from 'vitest'
import { runHub } from '../support/fake-hub.ts'
import { createHarness, puppet, type TestAgent, worker } from '../support/hub-harness.ts'

interface Row {
  seq: number
  action: string
  decisionId: string | null
}

test('every step of a task is found by its id, and each record shows the rule, its input, its neighbours and its signed head (S1-64)', async () => {
  await using h = await createHarness({
    agents: { echo: { script: worker(() => 'done') }, calm: { script: worker(() => 'done') } },
  })
  const task = await h.submit('echo')
  await h.ended(task)
  const other = await h.submit('calm')
  await h.ended(other)
  await h.quiet()
  h.hub.guard.checkpoints.take()
  const rows = async (query: string) =>
    ((await h.operator('GET', `/v1/audit?limit=100&${query}`)).body as unknown as { records: Row[] }).records
  const ofTask = await rows(`task=${task}`)
  const actions = ofTask.map(({ action }) => action).reverse()
  for (const step of [
    'task.submitted',
    'task.dispatched',
    'session.provisioned',
    'session.joined',
    'task.result_given',
  ])
    expect(actions).toContain(step)
  const [session] = h.sessionsOf(task)
  const ofSession = await rows(`session=${session?.id}`)
  expect(ofSession.length).toBeGreaterThan(2)
  expect(ofTask.map(({ seq }) => seq)).toEqual(expect.arrayContaining(ofSession.map(({ seq }) => seq)))
  const ofOther = new Set((await rows(`task=${other}`)).map(({ seq }) => seq))
  expect(ofTask.filter(({ seq }) => ofOther.has(seq))).toEqual([])
  expect((await rows('agent=calm')).length).toBeGreaterThan(2)
  expect(await rows(`task=${task}&outcome=failed`)).toEqual([])
  expect((await rows(`task=${task}&fromMs=${h.clock.wallMs() + 1}`)).length).toBe(0)
  const result = ofTask.find(({ action }) => action === 'task.result_given')
  expect(await rows(`decision=${result?.decisionId}`)).toMatchObject([{ seq: result?.seq }])

  const { status, body } = await h.operator('GET', `/v1/audit/records/${result?.seq}`)
  expect(status).toBe(200)
  expect(body).toMatchObject({
    record: { action: 'task.result_given' },
    decision: { effect: 'allow', rule: expect.any(String), input: { operation: 'task.result' } },
    signed: { fault: null },
  })
  const near = [...(body.before as Row[]), ...(body.after as Row[])].map(({ seq }) => seq)
  expect(ofTask.map(({ seq }) => seq)).toEqual(expect.arrayContaining(near))
  expect((await h.operator('GET', '/v1/audit/records/999999')).body).toMatchObject({ code: 'unknown_record' })
  expect((await h.operator('GET', '/v1/audit/records/zero')).body).toMatchObject({ code: 'schema_invalid' })

  const shown = await runHub(h.home, ['audit', 'show', String(result?.seq)])
  expect([shown.code, shown.stderr]).toEqual([0, expect.stringContaining('neighbours were looked for from record')])
  for (const part of ['task.result_given', 'rule', '"operation":"task.result"', 'with the same ids:', 'head '])
    expect(shown.stdout).toContain(part)
  const listed = await runHub(h.home, [
    'audit',
    'list',
    '--task',
    task,
    '--since',
    '2020-01-01T00:00',
    '--until',
    '2099-01-01',
    '--json',
  ])
  expect((JSON.parse(listed.stdout) as Row[]).map(({ seq }) => seq)).toEqual(ofTask.slice(0, 25).map(({ seq }) => seq))
  const wrong = await runHub(h.home, ['audit', 'list', '--since', 'yesterday'])
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('2026-11-30T08:00Z')])
})

test('with `tree` the records of a task hold those of every task below it (S1-64)', async () => {
  await using h = await createHarness({
    agents: {
      lead: { script: puppet, card: { may: { delegate: ['mid', 'echo'] } } },
      mid: { script: puppet, card: { may: { delegate: ['echo'] } } },
      echo: { script: worker(() => 'done') },
    },
  })
  const [lead] = await h.bring('lead')
  const before = h.started.length
  await h.pumped(lead.delegate({ agent: 'mid' }))
  await h.until(() => h.started[before]?.token, 'the child joins')
  const mid = h.started[before] as TestAgent
  const leaf = await h.pumped(mid.outcome(await h.pumped(mid.delegate({ agent: 'echo' }))))
  const rows = async (query: string) =>
    ((await h.operator('GET', `/v1/audit?limit=100&${query}`)).body as unknown as { records: Row[] }).records
  const seqs = async (query: string) => (await rows(query)).map(({ seq }) => seq)
  const [top, middle] = [lead.joined?.task.task, mid.joined?.task.task]
  const each = await Promise.all([top, middle, leaf.task].map((id) => seqs(`task=${id}`)))
  for (const own of each) expect(own.length).toBeGreaterThan(2)
  const tree = await seqs(`task=${top}&tree=true`)
  expect(tree).toEqual([...new Set(each.flat())].sort((a, b) => b - a))
  expect(await seqs(`task=${top}`)).toEqual(each[0])
  expect(each[0]).not.toEqual(expect.arrayContaining(each[2] ?? []))
})
