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

const day = {
  ...{ scope: 'day', key: '2026-12-01', spentUsd: 8_500_000, estimatedUsd: 20_000, heldUsd: 300_000 },
  ...{ limitUsd: 10_000_000, input: 9, output: 9, calls: 41 },
}
const budget = {
  ...{ declared: ['anthropic'], day: '2026-12-01', accounts: [day], calls: [], waiting: 2 },
  pauses: [{ upstream: 'anthropic', untilMs: Date.now() + 1_210_000, sinceMs: 1, why: 'insufficient_quota\x1b[2J' }],
  hours: [{ agent: 'lead', input: 500_000, inputLimit: 500_000, output: 80, outputLimit: 100_000 }],
  nearest: { scope: 'tree', key: TASK_ID, measure: 'usd', used: 1_600_000, limit: 2_000_000 },
}
it('S2-30: status says what was spent today of its limit, what is nearest to its end, and which upstream waits until when; --json holds all of it', async () => {
  at.hub.on('GET /v1/health', () => ({ body: modeView() }))
  at.hub.on('GET /v1/budget', () => ({ body: budget }))
  const { stdout } = await at.run(['status'])
  expect(stdout).toMatch(
    /^money +8\.50 of 10\.00 USD today, 0\.02 USD of it estimated, 0\.30 USD reserved, 41 calls, 2 calls wait for what is reserved$/m,
  )
  expect(stdout).toMatch(new RegExp(`^ +nearest: tree of ${TASK_ID.slice(-8)}, 1\\.60 of 2\\.00 USD$`, 'm'))
  expect(stdout).toMatch(/^tokens +lead: 500000 of 500000 sent, 80 of 100000 received within an hour$/m)
  expect(stdout).toMatch(
    /^quota +anthropic is used up \(insufficient_quota\\u001b\[2J\); it is looked at again .*\(in 20 m( \d+ s)?\): `hub upstream list`$/m,
  )
  expect(JSON.parse((await at.run(['status', '--json'])).stdout).money).toEqual(budget)
})

it('status says nothing of money where no upstream is declared, or where the hub cannot say', async () => {
  at.hub.on('GET /v1/health', () => ({ body: modeView() }))
  const before = (await at.run(['status'])).stdout
  at.hub.on('GET /v1/budget', () => ({ body: { ...budget, declared: [] } }))
  expect((await at.run(['status'])).stdout.replace(/up .*/, '')).toBe(before.replace(/up .*/, ''))
  expect(before).not.toMatch(/money|tokens|quota/)
})

it('whether a task may spend more is named as such in what to do next', async () => {
  const asked = {
    ...{ id: TASK_ID, kind: 'budget', agent: 'lead', operation: null, resource: null, principal: 'hub:egress' },
    ...{ task: TASK_ID, question: 'May it spend 0.02 more?', askedAtMs: 1 },
  }
  at.hub.on('GET /v1/health', () => ({ body: modeView() }))
  at.hub.on('GET /v1/approvals', () => ({ body: { approvals: [asked] } }))
  expect((await at.run(['status'])).stdout).toMatch(/^next +answer whether a task may spend more: `hub approve /m)
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
