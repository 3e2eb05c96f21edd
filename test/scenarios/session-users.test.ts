/** Each live session has a user of its own (fault F14), and one taken over by a restarted hub is compared like any other (fault F21). */
import { describe, expect, test } from 'vitest'
import { freeFirst } from '../../hub/work/sandbox/shared-users.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'

const agents = { a: { script: puppet }, b: { script: puppet } }
const usersOf = (h: Harness) =>
  [...h.engine.containers.values()].map(({ body }) => {
    const [user, group] = body.User.split(':')
    const owners = Object.values(body.HostConfig.Tmpfs).map((options) => /uid=(\d+),gid=(\d+),/.exec(options)?.slice(1))
    return { user: Number(user), isWhole: user === group && owners.every((each) => each?.join() === `${user},${user}`) }
  })

test.each(['stop', 'kill'] as const)(
  'fault F14: no two live sessions share a user, over a %s of the hub too; it is free again once its container is gone',
  async (how) => {
    await using h = await createHarness({ agents })
    const [first] = await h.bring('a', 'b')
    await h[how]()
    await h.start()
    await h.bring('a', 'b')
    const live = usersOf(h)
    expect(live.map(({ user }) => user).sort()).toEqual([60_928, 60_929, 60_930, 60_931])
    expect(live.every(({ isWhole }) => isWhole)).toBe(true)
    expect(h.hub.work.tasks.usersHeld().sort()).toEqual([60_928, 60_929, 60_930, 60_931])

    // As long as its container is not confirmed gone its user is held, though the session has ended.
    h.engine.fault('remove', 'refuse', 1)
    await h.operator('POST', `/v1/sessions/${first.session}/stop`)
    await h.until(() => h.hub.work.tasks.session(first.session)?.state === 'recycling', 'it is to be recycled')
    expect(h.hub.work.tasks.usersHeld()).toContain(60_928)
    await h.until(() => !h.hub.work.tasks.usersHeld().includes(60_928), 'its user is free')
    expect(h.hub.work.tasks.session(first.session)?.state).toBe('recycled')
  },
)

test('fault F14: at the end of the range it starts again at the beginning, and skips what is held there', async () => {
  await using h = await createHarness({ agents })
  const [, , third] = await h.bring('a', 'b', 'a')
  await h.operator('POST', `/v1/sessions/${third.session}/stop`)
  await h.until(() => h.hub.work.tasks.session(third.session)?.state === 'recycled', 'the newest has ended')
  // As after many sessions: the newest had the last user of the range.
  h.hub.guard.store.prepare('update session set uid = 61182, check_sum = null where id = ?').run(third.session)
  await h.bring('b')
  expect(
    usersOf(h)
      .map(({ user }) => user)
      .sort(),
  ).toEqual([60_928, 60_929, 60_930])
})

test("fault F14: the range begins where hub.yaml says; ids of the range before are in nobody's way", async () => {
  await using h = await createHarness({ agents, config: { engine: { firstUser: 70_000 } } })
  await h.bring('a', 'b')
  expect(usersOf(h).map(({ user }) => user)).toEqual([70_000, 70_001])
})

test('fault F21: a session taken over by a restarted hub is compared in the same rounds: what a hand changes is noticed within the minute', async () => {
  await using h = await createHarness({ agents })
  const [agent] = await h.bring('a')
  await h.stop()
  await h.start()
  await h.clock.advance(90_000)
  expect(h.hub.work.tasks.session(agent.session)?.state).toBe('working')
  h.engine.alterInspect = ({ HostConfig }) =>
    void Object.assign(HostConfig ?? {}, { Memory: 8 * 1024 ** 3, MemorySwap: 8 * 1024 ** 3 })
  const changedAt = h.clock.monotonicMs()
  await h.until(() => h.hub.work.tasks.session(agent.session)?.state !== 'working', 'it is noticed', 1000)
  expect(h.clock.monotonicMs() - changedAt).toBeLessThanOrEqual(61_000)
  expect(h.hub.work.tasks.session(agent.session)).toMatchObject({ exitReason: 'security' })
  expect(h.hub.guard.alertRows.open().map(({ cause }) => cause)).toContain(`profile_mismatch:${agent.session}`)
})

test('fault F21: one that was changed while no hub ran is found when it is taken over', async () => {
  await using h = await createHarness({ agents })
  const [agent] = await h.bring('a')
  await h.kill()
  h.engine.alterInspect = ({ HostConfig }) => void Object.assign(HostConfig ?? {}, { PidsLimit: 1000 })
  await h.start()
  await h.until(() => h.hub.work.tasks.session(agent.session)?.exitReason === 'security', 'it is found')
  expect(h.hub.guard.alertRows.open().map(({ cause }) => cause)).toContain(`profile_mismatch:${agent.session}`)
})

test('fault F21: what containers were made from is kept while they are there, and not a moment longer', async () => {
  await using h = await createHarness({ agents })
  const rows = () => h.hub.guard.store.prepare('select session from session_made').pluck().all()
  const [agent] = await h.bring('a')
  expect(rows()).toEqual([agent.session])
  await h.operator('POST', `/v1/sessions/${agent.session}/stop`)
  await h.quiet()
  expect(rows()).toEqual([])
})

describe('fault F14: another hub on the same engine', () => {
  /** A container of another hub as its engine shows it. */
  const other = (h: Harness, user: number, instance = 'other-hub', state: 'running' | 'exited' = 'running') =>
    h.engine.addForeign(
      `hub-${instance.slice(0, 8)}-s${String(user).padEnd(15, 'a')}`,
      { 'hub.instance': instance, 'hub.session': `s${user}` },
      state,
      `${user}:${user}`,
    )
  const alertOf = (h: Harness) => h.hub.guard.alertRows.open().find(({ cause }) => cause === 'session_users_shared')
  const row = async (h: Harness) =>
    (
      (await h.operator('GET', '/v1/doctor')).body.checks as {
        name: string
        ok: boolean | null
        detail: string
        mend: string
      }[]
    ).find(({ name }) => name === 'session users')

  test('that has users of our range is named by doctor and by an alert with a free value; nothing is stopped, and it ends by itself', async () => {
    await using h = await createHarness({ agents })
    await h.stop()
    const theirs = other(h, 61_000)
    await h.start()
    const [agent] = await h.bring('a')
    await h.clock.advance(5000)
    expect(await row(h)).toMatchObject({
      ok: null,
      detail: expect.stringContaining('60928 to 61183: other-hub'),
      mend: expect.stringMatching(
        /^set engine\.firstUser in hub\.yaml of one of these hubs to a free number, such as \d{5}, /,
      ),
    })
    expect(alertOf(h)?.text).toMatch(/other-hub; set engine\.firstUser in hub\.yaml /)
    expect(alertOf(h)?.severity).toBe('warning')
    expect(h.engine.containers.has(theirs.id)).toBe(true)
    expect(h.hub.work.tasks.session(agent.session)?.state).toBe('working')
    h.engine.containers.delete(theirs.id)
    expect((await row(h))?.ok).toBe(true)
    await h.clock.advance(660_000)
    expect(alertOf(h)).toBeUndefined()
  })

  test.each([
    ['has users of another range', 70_000, 'other-hub', 'running'],
    ['has only what ended long ago', 61_000, 'other-hub', 'exited'],
  ] as const)('that %s is nothing to be told', async (_, user, instance, state) => {
    await using h = await createHarness({ agents })
    other(h, user, instance, state)
    await h.clock.advance(660_000)
    expect(alertOf(h)).toBeUndefined()
    expect((await row(h))?.ok).toBe(true)
  })

  test('is looked for at the start, and again a minute later where the engine did not answer', async () => {
    await using h = await createHarness({ agents })
    await h.stop()
    other(h, 61_000)
    h.engine.fault('listOthers', 'fail', 1)
    await h.start()
    await h.clock.advance(5000)
    expect(alertOf(h)).toBeUndefined()
    await h.clock.advance(61_000)
    expect(alertOf(h)).toBeDefined()
    expect(alertOf(h)).toBeDefined()
  })

  test('a free value is one that no account has and no other hub', () => {
    const others = [{ instance: 'b', user: 30_300 }]
    const source = {
      named: (kind: string) => (kind === 'passwd' ? 'mia:x:30500:30500::/:/bin/sh' : ''),
      subordinate: () => '',
    }
    expect(freeFirst(others, source)).toBe(30_720)
  })
})
