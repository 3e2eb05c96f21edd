/** Work routed by its class of data (S1-73): who may take it, what children inherit, and what becomes of work that nobody may take. */
import { writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { builtInRules } from '../../hub/guard/policy/no-rules.ts'
import { DATA_CLASSES, takesClass } from '../../hub/protocol/data-class.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'
import type { Answer } from '../support/signing-client.ts'

const code = ({ status, body }: Answer) => (status < 300 ? 'ok' : String(body.code))
const view = async (h: Harness, id: string) =>
  (await h.operator('GET', `/v1/tasks/${id}`)).body.task as Record<string, unknown>
const able = { capabilities: ['read'] }

test('S1-73: who takes which class, card or row, all pairs', () => {
  const upTo = [undefined, null, ...DATA_CLASSES]
  expect(
    upTo.map((one) => [undefined, null, ...DATA_CLASSES].map((label) => (takesClass(one, label) ? 1 : 0)).join('')),
  ).toEqual(['110000', '110000', '111000', '111100', '111110', '111111'])
})

test('S1-73: the built-in rules, which know no row, let nothing begin that has a class', () => {
  const effect = (sensitivity: object) =>
    builtInRules('none').evaluate(
      JSON.stringify({
        operation: 'task.submit',
        principal: { kind: 'operator', id: 'operator' },
        resource: { agent: 'a', needs: [], origin: { by: 'people', parent: null }, inputs: 'none', ...sensitivity },
        mode: 'degraded',
      }),
    ).effect
  expect([effect({}), effect({ sensitivity: null })]).toEqual(['allow', 'allow'])
  for (const sensitivity of DATA_CLASSES) expect(effect({ sensitivity })).toBe('deny')
})

describe('S1-73: in a whole hub', () => {
  test('a labelled task runs only where card and rules both take its class; without a label everything is as before', async () => {
    await using h = await createHarness({
      agents: {
        // It would be chosen first, by its name: it takes nothing with a label.
        aopen: { script: worker(() => 'aopen'), card: able },
        // The card asks, the rules do not grant; and the other way round.
        bcard: { script: worker(() => 'bcard'), card: { ...able, sensitivity: 'restricted' } },
        crules: { script: worker(() => 'crules'), card: able, policy: { sensitivity: 'restricted' } },
        dboth: {
          script: worker(() => 'dboth'),
          card: { ...able, sensitivity: 'restricted' },
          policy: { sensitivity: 'confidential' },
        },
      },
    })
    const agentOf = async (more: Record<string, unknown>) => {
      const { status, body } = await h.operator('POST', '/v1/tasks', { needs: ['read'], ...more })
      if (status !== 200) return `${String(body.code)}: ${String(body.detail)}`
      const { id } = body.task as { id: string }
      await h.ended(id)
      return h.task(id).agent
    }
    expect(await agentOf({})).toBe('aopen')
    for (const sensitivity of ['public', 'internal', 'confidential'])
      expect(await agentOf({ sensitivity })).toBe('dboth')
    expect(await agentOf({ sensitivity: 'restricted' })).toMatch(
      /^no_capable_agent: no agent that may take a restricted task has read/,
    )
    const named = async (agent: string, sensitivity: string) => {
      const { body } = await h.operator('POST', '/v1/tasks', { agent, sensitivity })
      return [body.code, body.detail]
    }
    expect(await named('aopen', 'public')).toEqual([
      'policy_denied',
      'agent aopen takes no public tasks: set agents.aopen.sensitivity to "public" in policy/data.json',
    ])
    expect((await named('bcard', 'public'))[0]).toBe('policy_denied')
    expect(await named('crules', 'internal')).toEqual([
      'no_capable_agent',
      'agent crules takes no internal tasks: its card says nothing of `sensitivity`',
    ])
    expect((await named('dboth', 'secret'))[0]).toBe('schema_invalid')
    expect(
      h.audit().filter(({ action, outcome }) => action === 'task.submitted' && outcome === 'refused'),
    ).toHaveLength(5)

    // The rules saw the label, and nothing at all of a task without one.
    const seen = h.hub.guard.store
      .prepare(
        "select json_extract(input, '$.resource.sensitivity') from decision where input like '%\"task.dispatch\"%'",
      )
      .pluck()
      .all()
    expect(new Set(seen)).toEqual(new Set([null, 'public', 'internal', 'confidential']))
  })

  test('a child has its parent’s class or a higher one, never a lower; a retry keeps it', async () => {
    const taking = { card: { ...able, sensitivity: 'restricted' }, policy: { sensitivity: 'restricted' } }
    await using h = await createHarness({
      agents: {
        lead: {
          script: puppet,
          card: { sensitivity: 'restricted', capabilities: ['read'], may: { delegate: ['helper', 'outside', 'half'] } },
          policy: { sensitivity: 'restricted' },
        },
        helper: { ...taking, script: puppet },
        outside: { script: puppet, card: able },
        half: { script: puppet, card: { ...able, sensitivity: 'internal' }, policy: { sensitivity: 'restricted' } },
      },
    })
    const task = await h.submit('lead', {}, { sensitivity: 'confidential' })
    await h.until(() => h.started[0]?.token, 'the lead joins')
    const [lead] = h.started
    if (lead === undefined) throw new Error('no lead')
    const delegate = async (body: Record<string, unknown>) => h.pumped(lead.send({ kind: 'delegate', body }))
    const lower = await delegate({ agent: 'helper', sensitivity: 'internal' })
    expect([code(lower), lower.body.detail]).toEqual([
      'delegation_wider',
      'sensitivity: internal is lower than confidential, which this task has; a child is never lower than its parent',
    ])
    expect(code(await delegate({ agent: 'outside' }))).toBe('policy_denied')
    const half = await delegate({ agent: 'half' })
    expect([code(half), half.body.detail]).toEqual([
      'no_capable_agent',
      'agent half takes no confidential tasks: its card says sensitivity: internal',
    ])
    expect(code(await delegate({ agent: 'helper' }))).toBe('ok')
    expect(code(await delegate({ needs: ['read'], sensitivity: 'restricted' }))).toBe('ok')
    const children = h.hub.work.tasks.children(task)
    expect(children.map(({ agent, sensitivity }) => [agent, sensitivity])).toEqual([
      ['helper', 'confidential'],
      ['helper', 'restricted'],
    ])
    expect(
      h.audit().filter(({ action, outcome }) => action === 'task.delegated' && outcome === 'refused'),
    ).toHaveLength(3)
    await h.operator('POST', `/v1/tasks/${task}/cancel`, {})
    await h.quiet()
    const retried = (await h.operator('POST', `/v1/tasks/${task}/retry`, {})).body.task as {
      id: string
      sensitivity: string
    }
    expect(retried.sensitivity).toBe('confidential')
    expect(h.task(retried.id).sensitivity).toBe('confidential')
  })

  test('work that nobody may take any more waits with its reason if a card changed, and fails with it if the rules did; a damaged label counts as the highest', async () => {
    const spec = {
      script: worker(() => 1),
      card: { ...able, sensitivity: 'internal' },
      policy: { sensitivity: 'restricted' },
    }
    await using h = await createHarness({ agents: { one: spec } })
    const held = { hold: true, sensitivity: 'internal' }
    const [waits, fails, damaged] = [
      await h.submit('one', {}, held),
      await h.submit('one', {}, held),
      await h.submit('one', {}, held),
    ]
    const { store } = h.hub.guard
    store.transaction(() =>
      store.prepare("update task set sensitivity = 'confidential', check_sum = null where id = ?").run(waits),
    )
    expect((await h.operator('POST', `/v1/tasks/${waits}/release`, {})).status).toBe(200)
    await h.clock.advance(5000)
    expect(await view(h, waits)).toMatchObject({
      state: 'queued',
      sensitivity: 'confidential',
      waitsFor: `agent one takes no confidential tasks: its card says sensitivity: internal: raise it, then \`hub agent reload\`, or \`hub task cancel ${waits}\``,
    })
    store.transaction(() =>
      store.prepare("update task set sensitivity = 'secret', check_sum = null where id = ?").run(damaged),
    )
    expect(h.task(damaged)).toMatchObject({
      sensitivity: 'restricted',
      unreadable: expect.stringContaining('sensitivity'),
    })

    // The rules take their word back while it waits in the queue.
    expect((await h.operator('POST', '/v1/flags/dispatch', { value: false })).status).toBe(200)
    expect((await h.operator('POST', `/v1/tasks/${fails}/release`, {})).status).toBe(200)
    const row = { submit: true, capabilities: ['read'], ttlMs: 3_600_000, sensitivity: 'public' }
    writeFileSync(`${h.home}/policy/data.json`, JSON.stringify({ agents: { one: row } }))
    expect((await h.operator('POST', '/v1/policy/reload', {})).body).toMatchObject({
      changed: expect.stringContaining('agents.one.sensitivity: restricted -> public'),
    })
    await h.operator('POST', '/v1/flags/dispatch', { value: true })
    await h.ended(fails)
    expect(h.task(fails)).toMatchObject({
      state: 'failed',
      error: { code: 'policy_denied', detail: expect.stringContaining('agent one takes no internal tasks') },
    })
  })
})
