/**
 * Twelve agents at work on the real engine while hub, watchdog and agents are killed (X6, T60): finished ones are collected, live ones
 * taken over on their sockets, overdue ones timed out, none run twice, none lost. And the three lines that end a session at its time,
 * each with the other two dead.
 */
import { request } from 'node:http'
import { beforeAll, describe, expect, test } from 'vitest'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { judgeInvariants } from '../support/invariants.ts'
import { loadTrialImage, openTrialHome, type TrialHome } from '../support/trial-home.ts'

beforeAll(() => loadTrialImage())

async function expectCalm(trial: TrialHome): Promise<void> {
  await trial.until('no session is open', trial.sessions, (open) => open.length === 0)
  await trial.empty()
  await trial.stopHub()
  expect(judgeInvariants(trial.home, { acknowledged: trial.acknowledged })).toEqual([])
  expect(trial.witness.overlaps()).toEqual([])
}
const reportOf = (task: { outcome: { value?: unknown } | null }) =>
  task.outcome?.value as { session: string; attempt: number }

type Open = Awaited<ReturnType<TrialHome['sessions']>>
const openOf = (open: Open, tasks: readonly string[]) =>
  open.filter(({ task }) => tasks.includes(String(task))).sort((a, b) => a.id.localeCompare(b.id))
const isAsking = ({ state }: Open[number]) => state === 'input_required'

/** The first alone in the long run. */
const WHO = (
  [
    ['the hub', ['hub']],
    ['hub and watchdog', ['hub', 'watchdog']],
  ] as const
).slice(process.env.HUB_TEST_LONG === '1' ? 0 : 1)

describe('kill -9 with twelve agents at work', () => {
  test.each(WHO)(
    'of %s: what ended meanwhile is collected, what lives goes on in its own session, what is overdue is timed out [stop-31, stop-32]',
    { timeout: 900_000 },
    async (_, who) => {
      await using trial = await openTrialHome({
        hubYaml: 'limits: { sessions: 13, sessionsPerAgent: 13, delegationDepth: 1, questionWait: 0 }',
      })
      const twelve = (params: Record<string, unknown>, more = {}) => trial.submit('trial-once', params, more)
      const live = await Promise.all(Array.from({ length: 8 }, () => twelve({ what: 'ask' })))
      const killed = [
        await trial.submit('trial', { what: 'sleep' }),
        await trial.submit('trial-child', { what: 'sleep' }),
      ]
      await trial.until(
        'ten agents at work, eight of which have asked',
        trial.sessions,
        (open) => open.filter(({ state }) => state === 'working').length === 2 && openOf(open, live).every(isAsking),
      )
      // Last, so that their time has not passed before all are at work.
      const deaf = await twelve({ what: 'hang' }, { ttlMs: 60_000 })
      const idle = await twelve({ what: 'sleep' }, { ttlMs: 60_000 })
      const before = await trial.until(
        'twelve agents at work, eight of which have asked',
        trial.sessions,
        (open) => open.filter(({ state }) => state === 'working').length === 4 && openOf(open, live).every(isAsking),
      )
      const diedAt = performance.now()
      for (const each of who) await trial.kill(each)
      for (const { id, containerId } of before)
        if (before.some((each) => each.id === id && killed.includes(String(each.task))))
          await trial.engine.kill(String(containerId))
      for (const each of who) await trial.start(each)
      console.log(`back at work after ${Math.round(performance.now() - diedAt)} ms`)
      expect(openOf(await trial.sessions(), live).map(({ id }) => id)).toEqual(openOf(before, live).map(({ id }) => id))
      // Under their old tokens, on their old sockets, they hear what they asked for before the hub died.
      const { approvals } = await trial.hub.call('approval.list')
      expect(approvals).toHaveLength(live.length)
      // A yes is taken in normal mode alone, and that waits for the first lease.
      await trial.untilNormal()
      for (const { id } of approvals) await trial.hub.call('approval.answer', { id, approve: true })
      for (const task of await trial.ended(...live)) {
        expect(task).toMatchObject({ state: 'succeeded', attempts: 1 })
        expect(before.map(({ id }) => id)).toContain(reportOf(task).session)
      }
      const overdue = await trial.ended(deaf, idle)
      // The shim of the one that listens ends it a moment before its time, and says so.
      expect(overdue.map(({ state }) => state)).toEqual(['timed_out', expect.stringMatching(/^(failed|timed_out)$/)])
      expect(overdue.map(({ attempts }) => attempts)).toEqual([1, 1])
      // A signal is a crash like any other: each is begun again by a second attempt.
      const again = await trial.until(
        'those that were killed at work again',
        () => Promise.all(killed.map(trial.task)),
        (tasks) => tasks.every(({ state, attempts, held }) => state === 'running' && attempts === 2 && !held),
      )
      expect(again).toHaveLength(2)
      for (const id of killed) await trial.hub.call('task.cancel', { id })
      await expectCalm(trial)
    },
  )
})

/** Past hub and watchdog, as someone with the engine's socket could. */
const engineCall = (path: string) =>
  new Promise<void>((resolve, reject) => {
    request({ socketPath: ENGINE_SOCKET, method: 'POST', path }, (answer) => answer.resume().on('end', resolve))
      .on('error', reject)
      .end()
  })

// Side by side: each waits for the same time to pass.
describe.concurrent('T60, T90: the three lines that end a session at its time, each with the other two dead', () => {
  /** Enough for all of them to be at work on a busy machine, and for the frozen one to be frozen before its shim would end it. */
  const TTL_MS = 60_000
  /** Cooperative, deaf, frozen: each placed, and its line alone left alive; answers how late each was gone, ms. */
  async function lateness(
    trial: TrialHome,
    whats: readonly ('sleep' | 'hang' | 'frozen')[],
    alone: () => Promise<void>,
  ) {
    const tasks: string[] = []
    for (const what of whats)
      tasks.push(await trial.submit('trial-once', { what: what === 'hang' ? 'hang' : 'sleep' }, { ttlMs: TTL_MS }))
    const open = await trial.working(whats.length)
    const frozen = open.find(({ task }) => task === tasks[whats.indexOf('frozen')])
    if (frozen !== undefined) await engineCall(`/containers/${frozen.containerId}/pause`)
    await alone()
    const expiresAtMs = Math.max(...open.map((session) => session.expiresAtMs))
    const running = async () => (await trial.engine.list(trial.instance)).filter(({ state }) => state !== 'exited')
    await trial.until('all ended', running, (left) => left.length === 0, TTL_MS + 120_000)
    return Date.now() - expiresAtMs
  }

  test('the shim: hub and watchdog are dead, a cooperative agent ends by itself at its time [stop-31]', async () => {
    await using trial = await openTrialHome()
    const late = await lateness(trial, ['sleep', 'sleep'], async () => {
      await trial.kill('hub')
      await trial.kill('watchdog')
    })
    // Nobody else is left who would end them.
    expect(late).toBeLessThan(15_000)
    await trial.start('hub')
    await trial.ended(...trial.acknowledged)
    expect((await trial.task(trial.acknowledged[0] ?? '')).state).toBe('timed_out')
  })

  test('the hub: the watchdog is dead, and one that hears no SIGTERM and one that is frozen are gone within 15 s [presence-6]', async () => {
    await using trial = await openTrialHome()
    const late = await lateness(trial, ['sleep', 'hang', 'frozen'], () => trial.kill('watchdog'))
    expect(late).toBeLessThan(15_000)
    // The shim of the one that listens is a moment earlier.
    const states = (await trial.ended(...trial.acknowledged)).map(({ state }) => state)
    expect(states).toEqual([expect.stringMatching(/^(failed|timed_out)$/), 'timed_out', 'timed_out'])
    await trial.empty()
  })

  test('the watchdog: the hub is dead, and the same are gone within its grace, as is one that was never started [presence-7, watch-46]', async () => {
    await using trial = await openTrialHome({ watchdog: { ttlGraceMs: 2_000, stopGraceMs: 1_000 } })
    const late = await lateness(trial, ['sleep', 'hang', 'frozen'], async () => {
      // The next one is created, and its start never comes.
      trial.proxy.spoil('start', { kind: 'stall', when: 'before' })
      await trial.submit('trial-once', { what: 'sleep' }, { ttlMs: 15_000 })
      await trial.until(
        'a container that is not started',
        () => trial.engine.list(trial.instance),
        (found) => found.some(({ state }) => state === 'created'),
      )
      await trial.kill('hub')
    })
    expect(late).toBeLessThan(60_000)
    await trial.empty()
    await trial.start('hub')
    await trial.ended(...trial.acknowledged.slice(0, 3))
    await expectCalm(trial)
  })
})
