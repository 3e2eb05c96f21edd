/** The screen that answers: is all well, what must I do, and by when? */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { modeView, TASK_ID, taskView, watchdogView } from '../../../../support/fake-hub.ts'

const at = commandHome(() => {
  at.watchdog.on('GET /v1/status', () => ({ body: watchdogView() }))
}, true)

it('status shows mode, tasks, lease, watchdog, deadline and that there is nothing to do', async () => {
  at.hub.on('GET /v1/health', () => ({ body: modeView() }))
  at.hub.on('GET /v1/tasks', () => ({ body: { tasks: [taskView({ state: 'running' })], next: null } }))
  const { code, stdout } = await at.run(['status'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^mode +normal$/m)
  expect(stdout).toMatch(/^tasks +2 running, 1 queued/m)
  expect(stdout).toMatch(/^lease +1 m 20 s left$/m)
  expect(stdout).toMatch(/^heartbeat +due [A-Z].* CES?T \(in 23 h 53 m\)$/m)
  expect(stdout).toMatch(/^watchdog +ok, last round 4 s ago$/m)
  expect(stdout).toMatch(/^next +nothing to do$/m)
  expect(stdout).toContain(TASK_ID.slice(-8))
})

it('a question stands in status and in the answer to a heartbeat, with the words that answer it (fault C1)', async () => {
  const question = {
    id: TASK_ID,
    agent: 'solo',
    task: TASK_ID,
    root: TASK_ID,
    question: 'Shall I\x1b[2J?',
    askedAtMs: 1,
  }
  const alert = { id: TASK_ID, cause: `question:${TASK_ID}`, severity: 'warning', raisedAtMs: 1 }
  at.hub.on('GET /v1/health', () => ({ body: modeView() }))
  at.hub.on('GET /v1/approvals', () => ({ body: { approvals: [question] } }))
  at.hub.on('GET /v1/alerts', () => ({ body: { alerts: [alert] } }))
  at.hub.on('POST /v1/heartbeat', () => ({ body: { dueAtMs: 1, safeAtMs: 2, stopAtMs: 3, questions: [question] } }))
  const status = (await at.run(['status'])).stdout
  expect(status).toMatch(/^asked +solo, .*: Shall I\\u001b\[2J\? \(`hub approve /m)
  expect(status).toMatch(/^next +answer agent solo: `hub approve .*` or `hub reject /m)
  expect(status).not.toContain('alerts')
  const beat = (await at.run(['heartbeat'])).stdout
  expect(beat).toMatch(/\nsolo asks: Shall I\\u001b\[2J\?\nanswer it: `hub approve .*` or `hub reject /)
})

it.each([
  ['shutdown', 'operator:1000', 'shut down by you'],
  ['down', 'device:phone', 'taken down by device phone'],
  ['unattended_stop', null, 'stopped because no heartbeat came'],
  ['SIGTERM', null, 'ended by SIGTERM'],
])('status of a hub that ended by %s says who did it, and no fault to look for (fault C16)', async (how, by, text) => {
  await at.closeHub()
  writeFileSync(path.join(at.home, 'run', 'ended.json'), JSON.stringify({ how, by, atMs: Date.now() - 180_000 }))
  const { code, stdout } = await at.run(['status'])
  expect(code).toBe(4)
  expect(stdout).toMatch(new RegExp(`^hub +${text} .* \\(3 m( \\d+ s)? ago\\)$`, 'm'))
  expect(stdout).toMatch(/^next +nothing runs; start it again: `hub up`$/m)
})

it('status works with the hub dead: it shows what the watchdog knows and ends with 4', async () => {
  await at.closeHub()
  const { code, stdout } = await at.run(['status', '--json'])
  expect(code).toBe(4)
  expect(JSON.parse(stdout)).toMatchObject({ hub: null, watchdog: { demand: 'normal' }, running: [] })
  expect((await at.run(['status'])).stdout).toMatch(/^heartbeat +due /m)
  await at.watchdog.close()
  expect((await at.run(['status'])).stdout).toMatch(/^watchdog +does not answer \(/m)
})
