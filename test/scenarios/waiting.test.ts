/** What the hub tells the watchdog of its queue: only what could run counts, or every held task would be an alarm in six hours. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'

test('S1-23: what waits for a word, or for an agent that is halted, is not told to the watchdog as waiting [watch-39]', async () => {
  const single = { script: puppet, card: { limits: { sessions: 1 } } }
  await using h = await createHarness({ agents: { one: single, halted: single } })
  const waiting = () => h.hub.work.supervision.dispatcher.waiting()
  await h.bring('one', 'halted')
  expect(waiting()).toBe(0)
  await h.submit('one', {}, { hold: true })
  expect(waiting(), 'held').toBe(0)
  await h.submit('halted')
  expect(waiting(), 'behind another of its agent').toBe(1)
  await h.operator('POST', '/v1/agents/halted/suspend', {})
  expect(waiting(), 'of a halted agent').toBe(0)
  const next = await h.submit('one')
  expect(waiting(), 'this one could run').toBe(1)
  await h.operator('POST', `/v1/tasks/${next}/cancel`, {})
  expect(waiting()).toBe(0)
})

describe('a queued task that nobody can take says so, and what to do, and goes on once somebody can', () => {
  const reader = (more: object = {}) => ({ capabilities: ['read'], limits: { sessions: 1 }, ...more })
  const write = async (h: Harness, name: string, card: object | undefined) => {
    const path = join(h.home, 'agents', `${name}.yaml`)
    if (card === undefined) rmSync(path)
    else writeFileSync(path, JSON.stringify({ name, description: 'x', image: 'hub/agent', run: ['x'], ...card }))
    expect((await h.operator('POST', '/v1/agents/reload', {})).status).toBe(200)
  }
  /** As `task show` and the list say it. */
  const said = async (h: Harness, id: string) => {
    await h.clock.advance(2000)
    const shown = (await h.operator('GET', `/v1/tasks/${id}`)).body.task as { state: string; waitsFor: string | null }
    const { tasks } = (await h.operator('GET', '/v1/tasks?limit=10')).body as {
      tasks: { id: string; waitsFor: unknown }[]
    }
    expect(tasks.find((task) => task.id === id)?.waitsFor).toBe(shown.waitsFor)
    return shown.state === 'queued' ? shown.waitsFor : shown.state
  }

  test.each([
    ['its card offers something else now', { capabilities: ['write'], limits: { sessions: 1 } }],
    ['its card is gone', undefined],
  ])('known by what it needs: %s', async (_, changed) => {
    await using h = await createHarness({
      agents: { one: { script: puppet, card: reader() }, other: { script: puppet } },
    })
    const [busy] = await h.bring('one')
    const { body } = await h.operator('POST', '/v1/tasks', { needs: ['read'] })
    const { id } = body.task as { id: string }
    expect(await said(h, id), 'only behind another').toBe(null)
    await write(h, 'one', changed)
    await h.pumped(busy.result())
    expect(await said(h, id)).toBe(
      `no agent that may take it offers read now: add that to \`capabilities\` of a card, then \`hub agent reload\`, or \`hub task cancel ${id}\``,
    )
    await write(h, 'one', reader())
    await h.until(() => h.task(id).state === 'running', 'it goes on')
    expect(await said(h, id)).toBe('running')
  })

  test('one whose card offers it and whom the rules do not let take it does not count', async () => {
    await using h = await createHarness({
      agents: {
        one: { script: puppet, card: reader() },
        barred: { script: puppet, card: { capabilities: ['read'] }, policy: { submit: false } },
      },
    })
    const [busy] = await h.bring('one')
    const { body } = await h.operator('POST', '/v1/tasks', { needs: ['read'] })
    const { id } = body.task as { id: string }
    await write(h, 'one', reader({ capabilities: [] }))
    await h.pumped(busy.result())
    expect(await said(h, id)).toMatch(/^no agent that may take it offers read now/)
  })

  test('known by its agent: its card is gone, or the agent may not start', async () => {
    await using h = await createHarness({ agents: { one: { script: puppet, card: reader() } } })
    await h.bring('one')
    const id = await h.submit('one')
    const held = await h.submit('one', {}, { hold: true })
    await h.operator('POST', '/v1/agents/one/suspend', {})
    expect(await said(h, id)).toMatch(/^agent one is suspended: .*`hub agent reset one`; `hub task cancel .*` ends it$/)
    await h.operator('POST', '/v1/agents/one/reset', {})
    expect(await said(h, id)).toBe(null)
    await write(h, 'one', undefined)
    expect(await said(h, id)).toMatch(/^no agent is named one now: /)
    expect(await said(h, held), 'waits for a word first').toBe(null)
  })
})
