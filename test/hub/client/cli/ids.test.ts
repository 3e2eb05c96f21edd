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
})
