import { describe, expect, it } from 'vitest'
import { commandHome } from '../../../support/command-home.ts'
import { TASK_ID, taskView } from '../../../support/fake-hub.ts'

const at = commandHome()

describe('parts of ids (fault C9)', () => {
  const other = TASK_ID.replace(/1$/, '2')
  const listed = (ids: readonly string[]) =>
    at.hub.on('GET /v1/tasks', ({ query }) => ({
      body: { tasks: query.get('part') === null ? [] : ids.map((id) => taskView({ id })), next: null },
    }))

  it('an end that only one task has is that task; a whole id is asked for as it is', async () => {
    listed([TASK_ID])
    at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView(), attempts: [] } }))
    expect((await at.run(['task', 'show', '00000001'])).code).toBe(0)
    expect((await at.run(['task', 'show', TASK_ID])).code).toBe(0)
    expect(at.hub.asked.map((each) => each.path)).toEqual(['/v1/tasks', `/v1/tasks/${TASK_ID}`, `/v1/tasks/${TASK_ID}`])
    expect(at.hub.asked[0]?.query.get('part')).toBe('00000001')
  })

  it('the tree of a task gets more money by the end that `hub status` and `hub budget show` print', async () => {
    listed([TASK_ID])
    at.hub.on('POST /v1/budget/tasks/:id/raise', () => ({ body: { root: TASK_ID, raisedUsd: 1, limitUsd: 2 } }))
    expect((await at.run(['budget', 'raise', '00000001', '2'])).code).toBe(0)
    expect(at.hub.asked.at(-1)?.path).toBe(`/v1/budget/tasks/${TASK_ID}/raise`)
  })

  it('the id of a trace is that of the task at its root, and `task show` says it', async () => {
    const trace = TASK_ID.replaceAll('-', '')
    at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView({ children: 2 }), attempts: [] } }))
    const { stdout } = await at.run(['task', 'show', trace])
    expect(at.hub.asked.map((each) => each.path)).toEqual([`/v1/tasks/${TASK_ID}`])
    expect(stdout).toMatch(new RegExp(`^trace +${trace}$`, 'm'))
    expect(stdout).toMatch(/^children +2: `hub task list --parent 00000001`$/m)
    // Nothing is said of a class that the task does not have.
    expect(stdout).not.toContain('sensitivity')
  })

  it.each([
    ['none', [], 3, 'hub: no task has an id that begins or ends with 018f'],
    [
      'two',
      [TASK_ID, other],
      2,
      `hub: more than one task has an id that begins or ends with 018f: ${TASK_ID}, ${other}`,
    ],
  ])('where %s has it, that is said and nothing is stopped', async (_, ids, exit, text) => {
    listed(ids)
    const { code, stderr } = await at.run(['task', 'cancel', '018f'])
    expect([code, stderr.split('\n')[0]]).toEqual([exit, text])
    expect(at.hub.asked.every(({ method }) => method === 'GET')).toBe(true)
  })

  it('questions and alerts are answered by their ends too', async () => {
    at.hub.on('GET /v1/approvals', () => ({ body: { approvals: [{ id: TASK_ID }, { id: other }] } }))
    at.hub.on('GET /v1/alerts', () => ({ body: { alerts: [{ id: other }] } }))
    at.hub.on('POST /v1/approvals/:id/answer', () => ({
      body: { approval: { id: other, state: 'approved', agent: 'echo' } },
    }))
    at.hub.on('POST /v1/mode/resume', () => ({ body: { mode: 'normal' } }))
    expect((await at.run(['approve', '00000002'])).stdout).toBe('approved; agent echo has been told\n')
    expect((await at.run(['resume', '--alert', '0000002'])).code).toBe(0)
    expect(at.hub.asked.filter(({ method }) => method === 'POST').map(({ path, body }) => [path, body])).toEqual([
      [`/v1/approvals/${other}/answer`, { approve: true, text: '' }],
      ['/v1/mode/resume', { alert: other }],
    ])
  })

  it('without an id the only one that waits is answered; of two none is, and both are named', async () => {
    const asked = { askedAtMs: 1, answer: '', state: 'asked', kind: 'act', agent: 'shop', principal: 'hub:dispatcher' }
    const act = {
      operation: 'task.dispatch',
      resource: 'task:7',
      tier: 'execute',
      onTimeout: 'abort',
      leftMs: 3_600_000,
    }
    const ended = {
      ending: null,
      answeredBy: null,
      usedAtMs: null,
      session: null,
      task: null,
      rule: null,
      act: 'a'.repeat(64),
    }
    const one = {
      id: TASK_ID,
      question: 'sells',
      ...asked,
      ...act,
      ...ended,
      about: { parts: { agent: 'shop' }, facts: {} },
    }
    let waiting = [one]
    at.hub.on('GET /v1/approvals', () => ({ body: { approvals: waiting } }))
    at.hub.on('GET /v1/approvals/:id', () => ({ body: { approval: one } }))
    at.hub.on('POST /v1/approvals/:id/answer', () => ({ body: { approval: { ...one, state: 'refused' } } }))
    expect((await at.run(['reject'])).stdout).toBe('refused; the task has ended\n')
    expect((await at.run(['approval', 'show', '00000001'])).stdout).toMatch(
      /^a rule asks:\nmay agent shop start task 7\? sells\n[\s\S]*waits\s+1h more[\s\S]*silence is a no\ncan do\s+execute: it starts something\nexactly\s+task\.dispatch on task:7\n[\s\S]*act\s+a{64}/,
    )
    waiting = [one, { ...one, id: other, question: 'buys' }]
    const { code, stderr } = await at.run(['approve'])
    expect(code).toBe(3)
    expect(stderr).toContain('hub: 2 wait for an answer\n')
    expect(stderr).toMatch(/00000001 {2}a rule: may .* sells\n.*00000002 {2}a rule: may .* buys/)
    waiting = []
    expect((await at.run(['approve'])).stderr).toContain('nothing waits for an answer')
    expect(at.hub.asked.filter(({ method }) => method === 'POST')).toHaveLength(1)
  })
})
