/** What feature flags switch in a whole hub (S1-59): starts, delegation, restarts, agents with a shell, trial copies. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { noteImageBuilds } from '../../hub/base/image-builds.ts'
import { FAKE_IMAGE_ID, fakeImage } from '../support/fake-engine.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const flip = async (h: Harness, name: string, value: boolean | null, more: Record<string, unknown> = {}) => {
  const { status, body } = await h.operator('POST', `/v1/flags/${name}`, { value, ...more })
  if (status !== 200) throw new Error(`${status} ${String(body.code)}: ${String(body.detail)}`)
}
const taskView = async (h: Harness, id: string) =>
  (await h.operator('GET', `/v1/tasks/${id}`)).body.task as { state: string; held: boolean; waitsFor: string | null }
const refusal = async (h: Harness, agent: string) => {
  const { status, body } = await h.operator('POST', '/v1/tasks', { agent })
  return [status, body.code, body.detail]
}

describe('S1-59: flags of a whole hub', () => {
  test('each switches what it says, at once and without a restart [flag-8]', async () => {
    await using h = await createHarness({
      agents: {
        plain: { script: worker(() => 1), card: { capabilities: ['work'] } },
        shelly: { script: worker(() => 2), card: { shell: true } },
        'plain--dev': { script: worker(() => 3) },
        lead: { script: puppet, card: { may: { delegate: ['plain'] } } },
        crash: {
          script: async (agent) => {
            await agent.join()
            throw new Error('as always')
          },
          card: { repeatable: true, restarts: 3 },
        },
        quiet: { script: worker(() => 4), card: { image: 'hub/quiet' } },
        runs: { script: worker(() => 5), card: { run: ['/bin/sh', '-c', 'true'] } },
        serving: { script: puppet, card: { mode: 'service', shell: true }, policy: { service: true } },
      },
    })
    await h.working(1)

    // dispatch: what is asked for waits and says why; what runs goes on.
    const [lead] = await h.bring('lead')
    await flip(h, 'dispatch', false)
    const waiting = await h.submit('plain')
    await h.clock.advance(5000)
    expect(await taskView(h, waiting)).toMatchObject({
      state: 'queued',
      waitsFor: 'nothing starts: the flag dispatch is off (`hub flag set dispatch on`)',
    })
    await flip(h, 'dispatch', true)
    await h.ended(waiting)

    // delegation: refused to the agent, by name and with a record; not to one that has its child already.
    const child = { kind: 'delegate', body: { agent: 'plain' } } as const
    await flip(h, 'delegation', false)
    const refused = await h.pumped(lead.send(child))
    expect([refused.status, refused.body.code]).toEqual([409, 'flag_off'])
    expect(h.audit().findLast(({ action }) => action === 'task.delegated')).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining('flag_off: no agent may delegate now: the flag delegation is off'),
    })
    await flip(h, 'delegation', null)
    expect((await h.pumped(lead.send(child))).status).toBe(200)

    // shells: refused at the submission; what waits says why; a session that runs goes on, and no service starts anew.
    await flip(h, 'dispatch', false)
    const queued = await h.submit('shelly')
    await flip(h, 'shells', false)
    await flip(h, 'dispatch', true)
    await h.clock.advance(5000)
    const why =
      'agent shelly does not start: its image holds a shell, and the flag shells is off (`hub flag set shells on`)'
    expect(await taskView(h, queued)).toMatchObject({
      state: 'queued',
      waitsFor: `${why}; \`hub task cancel ${queued}\` ends it`,
    })
    expect(await refusal(h, 'shelly')).toEqual([409, 'flag_off', why])
    expect((await h.operator('GET', '/v1/agents/shelly')).body.agent).toMatchObject({
      state: 'registered',
      reason: expect.stringContaining('the flag shells is off'),
    })
    // Whatever the card says: the image's own note counts, and so does a program that is a shell.
    h.engine.images.set('hub/quiet', { ...fakeImage(`sha256:${'2'.repeat(64)}`), comment: 'exception: shell' })
    expect((await h.operator('POST', '/v1/agents/reload', {})).status).toBe(200)
    for (const agent of ['quiet', 'runs'])
      expect(await refusal(h, agent)).toEqual([409, 'flag_off', why.replace('shelly', agent)])
    const serving = () => h.started.filter(({ agent }) => agent === 'serving')
    expect(serving().at(-1)?.ended.aborted).toBe(false)
    serving().at(-1)?.container.exit(0)
    await h.until(
      () => h.hub.work.tasks.sessionsOpen().every(({ agent }) => agent !== 'serving'),
      'the service has ended',
    )
    await h.clock.advance(60_000)
    expect(serving()).toHaveLength(1)
    await flip(h, 'shells', true)
    await h.ended(queued)
    await h.until(() => serving().length === 2, 'the service starts again')

    // trials
    await flip(h, 'trials', false)
    expect((await refusal(h, 'plain--dev'))[2]).toMatch('it is a trial copy, and the flag trials is off')
    await flip(h, 'trials', true)
    await h.ended(await h.submit('plain--dev'))

    // restarts: what would run again is held, and a release still runs it.
    await flip(h, 'restarts', false)
    const crashed = await h.submit('crash')
    await h.until(() => h.task(crashed).held, 'it is held')
    await h.clock.advance(60_000)
    expect([h.task(crashed).crashes, h.sessionsOf(crashed).length]).toEqual([1, 1])
    await flip(h, 'restarts', true)
    expect((await h.operator('POST', `/v1/tasks/${crashed}/release`)).status).toBe(200)
    await h.ended(crashed)
    expect([h.task(crashed).state, h.sessionsOf(crashed).length]).toEqual(['failed', 4])

    const listed = await h.operator('GET', '/v1/flags')
    expect(listed.body).toMatchObject({ profile: 'standard' })
    expect(h.events('hub.flag.changed.v1').length).toBeGreaterThan(8)
  })

  test('an emergency entry ends over a restart of the hub, and its end is written down [flag-5]', async () => {
    await using h = await createHarness({ agents: { plain: { script: worker(() => 1) } } })
    await flip(h, 'dispatch', false, { emergency: 'too much at once', forMs: 3_600_000 })
    const id = await h.submit('plain')
    await h.stop()
    h.clock.jump(1_800_000)
    await h.start()
    expect(h.hub.guard.flags.isOn('dispatch')).toBe(false)
    await h.kill()
    h.clock.jump(1_800_000)
    await h.start()
    await h.ended(id)
    await h.until(() => h.audit().some(({ action }) => action === 'flag.expired'), 'its end is a record')
    expect(h.hub.guard.alerts.isOpen('flag_emergency:dispatch')).toBe(false)
  })
})

test('S1-56, S1-59: with `unproven` off, as strict holds it, an agent starts only from an image of which somebody can say where it comes from [flag-9]', async () => {
  await using h = await createHarness({ agents: { plain: { script: puppet } } })
  await h.bring('plain')
  await flip(h, 'unproven', false)
  const shown = async () => (await h.operator('GET', '/v1/agents/plain')).body.agent
  expect(await refusal(h, 'plain')).toEqual([
    409,
    'flag_off',
    expect.stringContaining('nobody can say where its image'),
  ])
  expect(await shown()).toMatchObject({ provenance: null, reason: expect.stringContaining('the flag unproven is off') })
  writeFileSync(join(h.home, 'instance'), h.instance)
  noteImageBuilds(h.home, [{ id: FAKE_IMAGE_ID, name: 'hub/plain' }], 1)
  await h.operator('POST', '/v1/agents/reload', {})
  expect(await shown()).toMatchObject({ provenance: 'built', reason: '' })
  await h.bring('plain')
})
