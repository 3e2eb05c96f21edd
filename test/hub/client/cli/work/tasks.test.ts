/** Lists and logs of tasks and of what they made. */
import { expect, it } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { eventFeed, TASK_ID, taskView } from '../../../../support/fake-hub.ts'

const at = commandHome()

it('artifacts of every task are listed where none is named', async () => {
  const sha256 = 'ab'.repeat(32)
  at.hub.on('GET /v1/artifacts', () => ({
    body: { artifacts: [{ sha256, size: 3, name: 'x', task: TASK_ID }], next: '25' },
  }))
  const { stdout, stderr } = await at.run(['artifact', 'list', '--limit', '25'])
  expect(stdout).toMatch(/\nabababababab {2}3 B +00000001 +x\n/)
  expect(stderr).toBe('there is more: the same command with --cursor 25 shows what follows\n')
})

it('a task that logged nothing says so, and whether more may come', async () => {
  at.hub.on('GET /v1/tasks/:id/logs', () => ({ body: { lines: [] } }))
  at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView({ state: 'running' }), attempts: [] } }))
  const { stdout, stderr } = await at.run(['task', 'logs', TASK_ID])
  expect([stdout, stderr]).toEqual([
    '',
    `task ${TASK_ID} has logged nothing so far (it is running; --follow waits for more)\n`,
  ])
})

it('task logs --follow goes on with what is new, each line once, until the task has ended', async () => {
  let ended = false
  at.hub.on('GET /v1/tasks/:id/logs', () => ({ body: { lines: [{ atMs: 1000, level: 'info', text: 'first' }] } }))
  at.hub.on('GET /v1/tasks/:id', () => ({
    body: { task: taskView({ state: ended ? 'succeeded' : 'running' }), attempts: [] },
  }))
  const event = (sequence: number, type: string, data: object) => ({
    sequence,
    type,
    subject: `task:${TASK_ID}`,
    time: new Date(1000 + sequence).toISOString(),
    data,
  })
  at.hub.on('GET /v1/events', () => {
    ended = true
    return eventFeed([
      event(1, 'hub.task.log.v1', { level: 'info', text: 'first' }),
      event(2, 'hub.task.log.v1', { level: 'warn', text: 'second' }),
      event(3, 'hub.task.completed.v1', {}),
    ])
  })
  const { code, stdout } = await at.run(['task', 'logs', TASK_ID, '--follow'])
  expect([code, stdout.split('\n').map((line) => line.replace(/^\d{4}-01-01 01:00:01 CET /, ''))]).toEqual([
    0,
    ['info  first', 'warn  second', ''],
  ])
})

it('S2-30: task show says what it cost alone and with its tree, what is only estimated, and the limit', async () => {
  const account = {
    ...{ scope: 'task', key: TASK_ID, spentUsd: 7530, estimatedUsd: 7530, heldUsd: 0 },
    ...{ limitUsd: null, input: 2024, output: 1000, calls: 1 },
  }
  const tree = { ...account, scope: 'tree', spentUsd: 1_600_000, heldUsd: 5000, limitUsd: 2_000_000, calls: 12 }
  const body = { task: taskView({}), attempts: [], money: { task: account, tree } }
  at.hub.on('GET /v1/tasks/:id', () => ({ body }))
  const { stdout } = await at.run(['task', 'show', TASK_ID])
  expect(stdout).toMatch(/^cost +0\.00753 USD, 0\.00753 USD of it estimated, 1 call, 2024 tokens sent, 1000 received$/m)
  expect(stdout).toMatch(
    /^its tree +1\.60 of 2\.00 USD, 0\.00753 USD of it estimated, 0\.005 USD reserved, 12 calls, 2024 tokens sent, 1000 received$/m,
  )
  for (const money of [null, undefined]) {
    at.hub.on('GET /v1/tasks/:id', () => ({ body: { ...body, money } }))
    expect((await at.run(['task', 'show', TASK_ID])).stdout).not.toMatch(/cost|tree/)
  }
})

it('task show and the list say why a queued task cannot start', async () => {
  const task = taskView({ agent: null, needs: ['read'], waitsFor: 'no agent that may take it offers read now' })
  at.hub.on('GET /v1/tasks/:id', () => ({ body: { task, attempts: [] } }))
  at.hub.on('GET /v1/tasks', () => ({ body: { tasks: [task], next: null } }))
  expect((await at.run(['task', 'show', TASK_ID])).stdout).toMatch(
    /^waits +no agent that may take it offers read now$/m,
  )
  expect((await at.run(['task', 'list'])).stdout).toMatch(/queued +read .* no agent that may take it offers read now$/m)
})

it('S4-20: task show says why the model of its agent stopped', async () => {
  const outcome = { outcome: 'succeeded', value: 'half', stopReason: 'max_tokens' } as const
  at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView({ state: 'succeeded', outcome }), attempts: [] } }))
  expect((await at.run(['task', 'show', TASK_ID])).stdout).toMatch(
    /^stop reason +max_tokens: it came to the most tokens of an answer, or to the end of its context$/m,
  )
})
