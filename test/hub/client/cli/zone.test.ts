/** Fault C22: everything a person reads is told in one zone, that of hub.yaml; `--json` stays as the hub says it. And what else a person met in these lines. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { questionLines } from '../../../../hub/client/cli/presence/approvals.ts'
import { commandHome } from '../../../support/command-home.ts'
import { eventFeed, refusal, TASK_ID, taskView } from '../../../support/fake-hub.ts'

const at = commandHome()
const config = (text: string) => writeFileSync(path.join(at.home, 'hub.yaml'), text)

describe('the zone', () => {
  it.each([
    ['alerts:\n  zone: Asia/Tokyo\n', 'GMT+9'],
    ['alerts: { zone: "Asia/Tokyo" }\n', 'GMT+9'],
    ['alerts:\n  zone: Mars/Town\n', 'UTC'],
    ['', 'UTC'],
  ])('of %j', async (text, zone) => {
    config(text)
    const event = { sequence: 4, time: '2026-01-01T20:00:00Z', type: 'hub.task.queued.v1', subject: 'task/1', data: {} }
    at.hub.on('GET /v1/events', () => eventFeed([event]))
    at.hub.on('GET /v1/tasks', () => ({ body: { tasks: [taskView()], next: null } }))
    const [tasks, events, json] = await Promise.all([
      at.run(['task', 'list'], { tz: 'UTC' }),
      at.run(['events'], { tz: 'UTC' }),
      at.run(['events', '--json'], { tz: 'UTC' }),
    ])
    const [date, time] = zone === 'UTC' ? ['2026-01-01', '20:00:00'] : ['2026-01-02', '05:00:00']
    expect(events.stdout).toBe(`${date} ${time} ${zone} 4 task.queued task/1 {}\n`)
    expect(tasks.stdout).toContain(zone === 'UTC' ? 'Tue 14 Nov 2023 22:13 UTC' : 'Wed 15 Nov 2023 07:13 GMT+9')
    expect(JSON.parse(json.stdout)).toEqual([event])
  })
})

describe('questions', () => {
  it('of several lines stand in several lines, each further one set in; in a table in one', async () => {
    const question = 'Which one?\n- a\n- b'
    expect(questionLines({ id: TASK_ID, agent: 'solo', question })).toEqual([
      'solo asks: Which one?',
      '  - a',
      '  - b',
      expect.stringMatching(/^answer it: /),
    ])
    at.hub.on('GET /v1/approvals', () => ({
      body: { approvals: [{ id: TASK_ID, state: 'asked', agent: 'solo', question, answer: '', askedAtMs: 1 }] },
    }))
    const { stdout } = await at.run(['approval', 'list'])
    expect(stdout).toMatch(/Which one\? - a - b$/m)
  })

  it('that are settled say so once', async () => {
    at.hub.on('POST /v1/approvals/:id/answer', () => refusal('already_resolved', 'it was refused already'))
    const { code, stderr } = await at.run(['reject', TASK_ID])
    expect([code, stderr]).toEqual([3, 'hub: it was refused already\n'])
  })
})

it('rules that are reloaded without a change show no empty rows', async () => {
  at.hub.on('POST /v1/policy/reload', () => ({
    body: { version: '1', builtins: [], problem: null, why: '', changed: '' },
  }))
  const { stdout } = await at.run(['policy', 'reload'])
  expect(stdout).toBe('reloaded\nnothing changed\nversion  1\n')
})
