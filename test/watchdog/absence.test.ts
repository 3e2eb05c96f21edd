/** T95, S1-26: planned absence, from `hub away` to `hub back` or to nobody's coming back. */
import { describe, expect, test } from 'vitest'
import { AWAY_MAX_MS } from '../../watchdog/judge/heartbeat.ts'
import { planLease } from '../../watchdog/judge/judge.ts'
import { presenceWalk } from '../support/presence-walk.ts'
import { HOUR, makeAnswer, makeContainer, sessionOf } from '../support/watchdog-home.ts'

const DAY = 24 * HOUR

describe('hub away', () => {
  test('is quiet: one note, nothing new starts, no reminder, no stop; what runs ends at its own deadline [away-7, away-8, watch-3]', () => {
    const w = presenceWalk()
    w.live(3)
    expect(w.away({ untilInMs: 10 * DAY, note: 'at sea' })).toBeUndefined()
    const agent = makeContainer(w.clock.read())
    const world = {
      containers: { kind: 'listed' as const, list: [agent] },
      heard: { kind: 'answer' as const, answer: makeAnswer({ sessions: [sessionOf(agent)], mode: 'safe' }) },
    }
    w.look(world)
    expect(planLease(w.state, w.config)).toMatchObject({ demand: 'safe', conditions: ['away'], awayInMs: 10 * DAY })
    w.clock.move(HOUR / 2)
    w.look(world)
    expect(w.story.some(([, what]) => what.startsWith('ttl_passed'))).toBe(false)
    w.clock.move(HOUR)
    w.look(world)
    expect(w.story.at(-1)?.[1]).toBe('ttl_passed 1')
    w.live(10 * 24 - 2)
    expect(w.story.filter(([, what]) => !what.startsWith('ttl_passed'))).toEqual([
      [3, 'away 1 and the contact'],
      [3, 'away'],
    ])
  })

  test('nobody back at its end and the grace: safe mode takes over without a gap, the ceiling counts from there [away-9]', () => {
    const w = presenceWalk()
    w.away({ untilInMs: 5 * DAY })
    w.look()
    w.live(5 * 24 + 30)
    expect(w.story.slice(2)).toEqual([
      [120, 'heartbeat_due 3'],
      [122, 'heartbeat_missed 2 and the contact'],
      [122, 'away resolved'],
      [122, 'heartbeat_missed'],
      [134, 'heartbeat_missed 3 and the contact'],
      [144, 'heartbeat_missed 4 and the contact'],
      [146, 'heartbeat_missed, unattended_stop'],
      [146.167, 'unattended_stop 1 and the contact'],
    ])
  })

  test('unattendedFrom last_heartbeat counts from its end: no stop within it', () => {
    const w = presenceWalk({ unattendedFrom: 'last_heartbeat', unattendedMs: 30 * HOUR })
    w.away({ untilInMs: 5 * DAY })
    w.live(5 * 24)
    expect(w.conditions()).toEqual(['away'])
    w.live(30 - 1 / 6)
    expect(w.conditions()).toEqual(['heartbeat_missed'])
    w.live(1 / 6)
    expect(w.conditions()).toEqual(['heartbeat_missed', 'unattended_stop'])
  })

  test('a strong heartbeat from the road does not end it, at its end it does; hub back ends it at once and is a heartbeat [cond-18, away-13]', () => {
    const w = presenceWalk()
    w.away({ untilInMs: 2 * DAY })
    w.live(10)
    w.strong()
    w.look()
    expect(w.conditions()).toEqual(['away'])
    w.live(38)
    w.strong()
    w.look()
    expect(w.conditions()).toEqual([])
    expect(planLease(w.state, w.config)).toMatchObject({ demand: 'normal', awayInMs: null, heartbeatAgeMs: 0 })
    const v = presenceWalk()
    v.away({ untilInMs: 20 * DAY })
    v.live(10 * 24)
    v.back()
    v.look()
    expect(v.conditions()).toEqual([])
    v.story.length = 0
    v.live(26)
    expect(v.story.at(-1)).toEqual([266, 'heartbeat_missed'])
  })

  test('a webhook ends nothing of it and moves nothing in it [away-9]', () => {
    const w = presenceWalk()
    w.away({ untilInMs: DAY })
    w.live(26, w.weak)
    expect(w.conditions()).toEqual(['heartbeat_missed'])
  })

  test('it outlives restarts, reboots and steps of the clock, asleep or awake', () => {
    const w = presenceWalk()
    w.away({ untilInMs: 4 * DAY })
    w.look()
    w.restart()
    w.clock.reboot(DAY)
    w.look()
    for (const ms of [9_000 * HOUR, -9_000 * HOUR]) {
      w.clock.stepWall(ms)
      w.look()
    }
    w.clock.sleep(DAY)
    w.look()
    w.live(48 - 1)
    expect(w.conditions()).toEqual(['away'])
    w.clock.sleep(10 * DAY)
    w.look()
    expect(w.conditions(), 'its end passed asleep').toEqual(['heartbeat_missed'])
    w.live(2 - 1 / 6)
    expect(w.story.some(([, what]) => what.startsWith('heartbeat_missed 2'))).toBe(false)
    w.live(1 / 6)
    expect(w.story.at(-1)?.[1]).toBe('heartbeat_missed 2 and the contact')
  })

  test('--keep-working: dispatch goes on until its end and not into the grace [away-11]', () => {
    const w = presenceWalk({ away: { workMaxMs: 72 * HOUR } })
    expect(w.away({ untilInMs: 72 * HOUR, keepWorking: true })).toBeUndefined()
    w.live(72 - 1 / 6)
    expect(planLease(w.state, w.config)).toMatchObject({ demand: 'normal', conditions: [] })
    w.live(1 / 6)
    expect(w.conditions()).toEqual(['away'])
    w.live(2)
    expect(w.conditions()).toEqual(['heartbeat_missed'])
  })
})

describe('hub away is refused by name', () => {
  test.each([
    [{ untilInMs: 0 }, /until must be later than now/],
    [{ untilInMs: -DAY }, /until must be later than now/],
    [{ untilInMs: Number.NaN }, /until must be later than now/],
    [{ untilInMs: AWAY_MAX_MS + 1 }, /at most 21 days/],
    [{ keepWorking: true }, /away\.workMax in watchdog\/config\.yaml is 0/],
    [{ note: 'x'.repeat(199) }, /note must have at most 198 bytes/],
    [{ note: '\u0000'.repeat(40) }, /note must have at most/],
  ])('refused by name: %j [away-12]', (request, why) => {
    const w = presenceWalk()
    expect(w.away(request)).toMatch(why)
    expect(w.presence.away).toBeNull()
  })

  test('21 days to the millisecond, and a --keep-working above its own limit [away-10, away-12]', () => {
    expect(presenceWalk().away({ untilInMs: AWAY_MAX_MS })).toBeUndefined()
    const w = presenceWalk({ away: { workMaxMs: 48 * HOUR } })
    expect(w.away({ untilInMs: 48 * HOUR + 1, keepWorking: true })).toMatch(/allows 48 h/)
    expect(w.away({ untilInMs: 48 * HOUR, keepWorking: true })).toBeUndefined()
  })

  test('from anything but normal: missed, stopped, mismatch, emergency, and a second absence [away-6]', () => {
    const missed = presenceWalk()
    missed.live(27)
    expect(missed.away({})).toMatch(/only in normal mode; now there is heartbeat_missed/)
    missed.live(30)
    expect(missed.away({})).toMatch(/unattended_stop/)
    const twice = presenceWalk()
    twice.away({})
    expect(twice.away({ untilInMs: 2 * DAY })).toMatch(/planned already; end it first: hub back/)
  })
})
