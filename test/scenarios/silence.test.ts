/** A session whose program says nothing (S1-49): asked, told to end, ended. The clock is the harness's. */
import { expect, test } from 'vitest'
import { decideSilence, type SilenceFacts } from '../../hub/work/dispatch/silence.ts'
import { createHarness, forever, type TestAgent } from '../support/hub-harness.ts'

const quiet: SilenceFacts = {
  ...{ idleMs: 600_000, silentAfterMs: 600_000, mayWait: false, isCalling: false },
  ...{ sinceAskedMs: undefined, sinceEndMs: undefined },
}
test.each<[what: string, facts: Partial<SilenceFacts>, step: string]>([
  ['that said something a moment before is left alone', { idleMs: 599_999 }, 'nothing'],
  ['that said nothing is asked', {}, 'ask'],
  ['whose card never asks is left alone', { silentAfterMs: undefined, idleMs: 1e9 }, 'nothing'],
  ['that may wait is left alone', { mayWait: true }, 'nothing'],
  ['with an open request at the gateway is left alone', { isCalling: true }, 'nothing'],
  ['that was asked has a minute', { sinceAskedMs: 59_999 }, 'nothing'],
  ['that was asked and says nothing is told to end', { sinceAskedMs: 60_000 }, 'end'],
  ['that was asked and calls its model is left alone', { sinceAskedMs: 60_000, isCalling: true }, 'nothing'],
  ['that was told to end has a minute', { sinceEndMs: 59_999 }, 'nothing'],
  ['that was told to end and is there is ended, whatever it does', { sinceEndMs: 60_000, isCalling: true }, 'over'],
])('S1-49: a program %s', (_, facts, step) => expect(decideSilence({ ...quiet, ...facts })).toBe(step))

/** A shim of which `answers` says what it does about each step. */
const shim =
  (heard: [step: string, atMs: number][], answers: (agent: TestAgent, step: string) => unknown) =>
  async (agent: TestAgent, h: () => { clock: { wallMs(): number } }) => {
    await agent.join()
    const beganAt = h().clock.wallMs()
    for (;;) {
      const { type, body } = await agent.next(() => true)
      if (type !== 'session.silent') continue
      heard.push([String(body.step), Math.round((h().clock.wallMs() - beganAt) / 60_000)])
      await answers(agent, String(body.step))
    }
  }
const card = { driver: 'command', run: ['cli'] }

test('S1-49: a silent program is asked after ten minutes and told to end a minute later; its task fails by that name', async () => {
  const heard: [string, number][] = []
  let h!: Awaited<ReturnType<typeof createHarness>>
  const script = shim(heard, (_, step) => {
    if (step === 'end') throw new Error('it ends')
  })
  h = await createHarness({ agents: { coder: { card, script: (agent) => script(agent, () => h) } } })
  await using _ = h
  const id = await h.submit('coder')
  await h.working(1)
  await h.until(() => h.task(id).state !== 'running', 'the end of the task', 5000)
  expect(heard).toEqual([
    ['ask', 10],
    ['end', 11],
  ])
  expect(h.task(id).error).toMatchObject({
    ...{ code: 'not_repeatable', detail: expect.stringContaining('its program said nothing for 66') },
  })
  expect(h.sessionsOf(id)[0]).toMatchObject({ exitReason: 'unhealthy' })
})

test('S1-49: what its shim finds at work begins it anew; so does a request that is open at the gateway', async () => {
  const heard: [string, number][] = []
  let h!: Awaited<ReturnType<typeof createHarness>>
  const script = shim(heard, (agent) => agent.say({ kind: 'log', body: { text: 'it waits for make (7)' } }))
  h = await createHarness({ agents: { coder: { card, script: (agent) => script(agent, () => h) } } })
  await using _ = h
  const id = await h.submit('coder')
  await h.working(1)
  await h.until(() => heard.length === 2, 'two questions', 5000)
  expect(heard).toEqual([
    ['ask', 10],
    ['ask', 20],
  ])
  h.hub.work.supervision.vitals.callsOf(() => true)
  const atMs = h.clock.wallMs()
  await h.until(() => h.clock.wallMs() - atMs > 1_500_000, '25 minutes', 5000)
  expect([heard.length, h.task(id).state]).toEqual([2, 'running'])
})

test('S1-49: where the shim does nothing the hub ends the session; a card may say never, or sooner', async () => {
  const deaf = async (agent: TestAgent) => {
    await agent.join()
    void agent.receive(0)
    for (;;) await agent.next(() => false).catch(() => forever(agent))
  }
  await using h = await createHarness({
    agents: {
      deaf: { card: { ...card, silentAfter: '2m' }, script: deaf },
      sdk: { card: {}, script: deaf },
    },
  })
  const [deafTask, sdkTask] = [await h.submit('deaf'), await h.submit('sdk')]
  await h.working(2)
  const atMs = h.clock.wallMs()
  await h.until(() => h.task(deafTask).state === 'failed', 'the end of the deaf one', 5000)
  expect(Math.round((h.clock.wallMs() - atMs) / 60_000)).toBe(4)
  await h.until(() => h.clock.wallMs() - atMs > 1_500_000, '25 minutes', 5000)
  expect(h.task(sdkTask).state).toBe('running')
})
