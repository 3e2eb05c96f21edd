/** T95, T73, T74: the dead-man timeline in all its variants, each in a few milliseconds. */
import { describe, expect, test } from 'vitest'
import { planDeadlines } from '../../watchdog/judge/timeline.ts'
import { type PresenceWalk, presenceWalk } from '../support/presence-walk.ts'
import { HOUR, makeAnswer } from '../support/watchdog-home.ts'

const WAITING = makeAnswer({ queued: 1, dispatched: 4 })

const WHOLE = [
  [18, 'heartbeat_due 1'],
  [22, 'heartbeat_due 2'],
  [24, 'heartbeat_due 3'],
  [26, 'heartbeat_missed 2 and the contact'],
  [26, 'heartbeat_missed'],
  [38, 'heartbeat_missed 3 and the contact'],
  [48, 'heartbeat_missed 4 and the contact'],
  [50, 'heartbeat_missed, unattended_stop'],
  [50.167, 'unattended_stop 1 and the contact'],
]
const dueIn = (w: PresenceWalk) => (planDeadlines(w.presence, w.config).dueAtMs - w.presence.nowMs) / HOUR

describe('fifty hours', () => {
  test('S1-26, S1-30, T95: reminders, missed, safe mode, reminders to both, stop and report, each at its hour; then silence for a month [time-3, time-8, time-9]', () => {
    const w = presenceWalk()
    w.live(60)
    expect(w.story).toEqual(WHOLE)
    w.live(30 * 24)
    expect(w.story).toHaveLength(WHOLE.length)
  })

  test('S1-30, T97: after the stop a heartbeat alone ends the missed one and no more: no deadline runs again until `hub up` and a heartbeat [time-10, stop-29]', () => {
    const w = presenceWalk()
    w.live(51)
    w.strong()
    w.look()
    expect(w.conditions()).toEqual(['unattended_stop'])
    w.story.length = 0
    w.live(30 * 24)
    expect(w.story).toEqual([])
    w.up()
    w.restart()
    w.look()
    expect(w.conditions(), '`hub up` alone ends nothing').toEqual(['unattended_stop'])
    w.weak()
    w.look()
    expect(w.conditions(), 'nor with a webhook').toEqual(['unattended_stop'])
    w.strong()
    w.look()
    expect(w.conditions()).toEqual([])
    w.story.length = 0
    w.live(60)
    expect(w.story.map(([, what]) => what)).toEqual(WHOLE.map(([, what]) => what))
  })

  test('T95: the same over a restart each hour, a reboot each hour, and both clocks stepping [time-2, clock-5]', () => {
    const w = presenceWalk()
    let minutes = 0
    w.live(50.2, () => {
      minutes += 10
      if (minutes % 60 !== 30) return
      w.restart()
      w.clock.reboot(0)
      w.look()
      // A jump within one boot is nobody's business, there or back.
      for (const sign of [1, -1]) {
        w.clock.stepWall(sign * (minutes % 120 === 0 ? 9_000 : -9_000) * HOUR)
        w.look()
      }
    })
    const own = w.story.filter(([, what]) => !what.startsWith('clock_fault'))
    // Each boot is 20 s old when it is first seen, which is counted: many boots bring a step a round or two forward.
    expect(own.map(([, what]) => what)).toEqual(WHOLE.map(([, what]) => what))
    for (const [at, [hour]] of own.entries()) expect(Math.abs(hour - Number(WHOLE[at]?.[0]))).toBeLessThanOrEqual(0.35)
  })

  test('a grace of zero: missed and safe mode fall together [time-6]', () => {
    const w = presenceWalk({ missedGraceMs: 0 })
    w.live(48)
    expect(w.story.filter(([, what]) => what === 'heartbeat_missed' || what.includes('unattended'))).toEqual([
      [24, 'heartbeat_missed'],
      [48, 'heartbeat_missed, unattended_stop'],
    ])
  })

  test('unattendedFrom last_heartbeat: the ceiling counts from the last sign, and where it falls before safe mode, that is entered first [time-13]', () => {
    const late = presenceWalk({ unattendedFrom: 'last_heartbeat', unattendedMs: 48 * HOUR })
    late.live(60)
    expect(late.story.map(([hour, what]) => `${hour} ${what}`)).toEqual([
      '18 heartbeat_due 1',
      '22 heartbeat_due 2',
      '24 heartbeat_due 3',
      '26 heartbeat_missed 2 and the contact',
      '26 heartbeat_missed',
      '38 heartbeat_missed 3 and the contact',
      '48 heartbeat_missed, unattended_stop',
      '48.167 unattended_stop 1 and the contact',
    ])
    const early = presenceWalk({ unattendedFrom: 'last_heartbeat', unattendedMs: 23 * HOUR })
    early.live(23)
    expect(early.conditions()).toEqual(['heartbeat_missed', 'unattended_stop'])
  })

  test('S1-25: a strong heartbeat at any step before the stop begins it anew [presence-12]', () => {
    for (const hour of [1, 19, 25, 27, 49]) {
      const w = presenceWalk()
      w.live(hour)
      w.strong()
      w.look()
      expect(w.conditions(), `at ${hour} h`).toEqual([])
      w.story.length = 0
      w.live(60)
      expect(w.story.map(([at, what]) => [Math.round((at - hour) * 1000) / 1000, what])).toEqual(WHOLE)
    }
  })
})

describe('weak heartbeats', () => {
  test('S1-25, T95: alone they carry for 7 days: missed then, safe mode after the grace, stop a day later [presence-14]', () => {
    const w = presenceWalk()
    w.live(9 * 24, w.weak)
    const steps = w.story.filter(([, what]) => ['heartbeat_due 3', 'heartbeat_missed'].includes(what))
    expect(steps).toEqual([
      [168, 'heartbeat_due 3'],
      [170, 'heartbeat_missed'],
    ])
    expect(w.story.findLast(([, what]) => what.includes('unattended_stop'))?.[0]).toBeCloseTo(194.167)
    expect(
      w.story.filter(([, what]) => what.startsWith('heartbeat_due 1')),
      'told once, not with each',
    ).toHaveLength(1)
  })

  test('in safe mode one restarts the ceiling and its reminders, resumes nothing, and nothing goes past the 7 days and a day [presence-15]', () => {
    const w = presenceWalk()
    w.live(30)
    w.weak()
    w.live(24 - 1 / 6)
    expect(w.conditions()).toEqual(['heartbeat_missed'])
    w.live(1 / 6)
    expect(w.conditions()).toEqual(['heartbeat_missed', 'unattended_stop'])
    expect(w.story.filter(([, what]) => what.startsWith('heartbeat_missed 3'))).toEqual([
      [42, 'heartbeat_missed 3 and the contact'],
    ])
    const v = presenceWalk()
    v.live(27)
    v.live(220, v.weak)
    expect(v.story.find(([, what]) => what === 'heartbeat_missed, unattended_stop')?.[0]).toBe(168 + 24)
  })

  test('after the stop it does nothing', () => {
    const w = presenceWalk()
    w.live(51)
    const before = w.presence
    w.weak()
    expect(w.presence).toEqual({ ...before, nowMs: w.presence.nowMs })
  })
})

describe('due at times of day', () => {
  const berlin = { heartbeat: { due: 'daily at 09:00' }, operator: { zone: 'Europe/Berlin' } }
  const york = { heartbeat: { due: 'daily at 09:00' }, operator: { zone: 'America/New_York' } }
  test.each([
    [berlin, '2026-01-05T08:00', '2026-01-06T08:00', 24, 'given on time'],
    [berlin, '2026-01-05T12:00', '2026-01-06T08:00', 20, 'given late'],
    [berlin, '2026-01-06T00:00', '2026-01-06T08:00', 8, 'eight hours before is for the same day'],
    [berlin, '2026-01-06T00:01', '2026-01-07T08:00', 32, 'a minute less is already the day after'],
    [berlin, '2026-03-28T08:00', '2026-03-29T07:00', 23, 'the clock is put forward'],
    [berlin, '2026-10-24T07:00', '2026-10-25T08:00', 25, 'the clock is put back'],
    [york, '2026-03-07T14:00', '2026-03-08T13:00', 23, 'forward in New York'],
    [york, '2026-10-31T13:00', '2026-11-01T14:00', 25, 'back in New York'],
    [
      { ...berlin, heartbeat: { due: 'daily at 02:30' } },
      '2026-03-28T01:30',
      '2026-03-29T01:30',
      24,
      'a time that is skipped',
    ],
    [
      { ...berlin, heartbeat: { due: 'daily at 02:30' } },
      '2026-10-24T00:30',
      '2026-10-25T00:30',
      24,
      'one that comes twice: the first',
    ],
    [
      { ...york, heartbeat: { due: 'daily at 01:30' } },
      '2026-10-31T05:30',
      '2026-11-01T05:30',
      24,
      'twice in New York',
    ],
    [
      { ...berlin, heartbeat: { due: 'daily at 08:30, 20:00' } },
      '2026-01-05T08:00',
      '2026-01-05T19:00',
      11,
      'the next of several',
    ],
    [
      { ...berlin, heartbeat: { due: 'daily at 08:30, 20:00' } },
      '2026-01-05T12:00',
      '2026-01-06T07:30',
      19.5,
      'the first that is far enough',
    ],
  ])('%j at %s is due %s: in %d h (%s) [time-5, clock-2]', (settings, given, due, hours) => {
    const w = presenceWalk(settings, given)
    w.strong()
    expect(w.dueAt(planDeadlines(w.presence, w.config).dueAtMs)).toBe(due)
    expect(dueIn(w)).toBeCloseTo(hours, 1)
  })

  test('T95: the whole path from there: reminders 6 h and 2 h before, missed, safe mode 2 h later, stop a day after that [time-5]', () => {
    const w = presenceWalk(berlin, '2026-03-28T12:00')
    w.strong()
    w.live(50)
    expect(w.story.map(([hour, what]) => `${hour} ${what}`)).toEqual([
      '13 heartbeat_due 1',
      '17 heartbeat_due 2',
      '19 heartbeat_due 3',
      '21 heartbeat_missed 2 and the contact',
      '21 heartbeat_missed',
      '33 heartbeat_missed 3 and the contact',
      '43 heartbeat_missed 4 and the contact',
      '45 heartbeat_missed, unattended_stop',
      '45.167 unattended_stop 1 and the contact',
    ])
  })

  test('the instant once fixed is neither lengthened nor shortened by a restart, a reboot, a step of the wall or another configuration [time-5]', () => {
    const w = presenceWalk(berlin, '2026-03-28T12:00')
    w.strong()
    for (const wallMs of [HOUR, -HOUR, 90_000 * HOUR, -90_000 * HOUR]) {
      w.clock.stepWall(wallMs)
      w.look()
      w.restart()
    }
    expect(dueIn(w)).toBe(19)
    w.clock.reboot(4 * HOUR)
    w.look()
    expect(dueIn(w)).toBe(15)
    const rolling = presenceWalk()
    expect(planDeadlines(w.presence, rolling.config).dueAtMs - w.presence.nowMs).toBe(15 * HOUR)
  })

  test('a weak heartbeat moves it to a later day, never to an earlier hour, and never past the 7 days [presence-14]', () => {
    const w = presenceWalk(berlin, '2026-01-05T12:00')
    w.strong()
    w.live(2)
    w.weak()
    expect(dueIn(w), 'at 14:00 UTC the next is still tomorrow at 8').toBe(18)
    w.live(16)
    w.weak()
    expect(dueIn(w), 'two hours before it the day after counts').toBe(26)
    for (let day = 0; day < 6; day += 1) {
      w.live(24)
      w.weak()
    }
    expect(planDeadlines(w.presence, w.config).dueAtMs).toBe(168 * HOUR)
  })

  test('a wall clock far in the future at the heartbeat gives a due time within a day and a half all the same', () => {
    const w = presenceWalk(berlin)
    w.clock.stepWall(10 * 8760 * HOUR)
    w.strong()
    w.clock.stepWall(-10 * 8760 * HOUR)
    w.look()
    expect(dueIn(w)).toBeGreaterThanOrEqual(8)
    expect(dueIn(w)).toBeLessThanOrEqual(33)
  })
})

describe('quiet hours of the operator', () => {
  test('reminders move to their end where an hour is left, else to half an hour before they begin; deadlines do not move [time-15]', () => {
    // The heartbeat is at 09:00 UTC: reminders fall on 03:00 and 07:00, the deadline on 09:00.
    const early = presenceWalk({ operator: { zone: 'UTC', quiet: '22:00-06:30' } })
    early.live(26)
    expect(early.story.map(([hour, what]) => `${hour} ${what}`)).toEqual([
      '21.5 heartbeat_due 1',
      '22 heartbeat_due 2',
      '24 heartbeat_due 3',
      '26 heartbeat_missed 2 and the contact',
      '26 heartbeat_missed',
    ])
    const late = presenceWalk({ operator: { zone: 'UTC', quiet: '22:00-08:30' } })
    late.live(26)
    expect(late.story.map(([hour, what]) => `${hour} ${what}`)).toEqual([
      // Both at 21:30, as one reminder.
      '12.5 heartbeat_due 2',
      '24 heartbeat_due 3',
      '26 heartbeat_missed 2 and the contact',
      '26 heartbeat_missed',
    ])
  })

  test('safe mode and the stop never wait, though they fall into them; the reminders between do [time-18]', () => {
    // Safe mode at 11:00, the reminders at 23:00 and 09:00, the stop at 11:00 of the third day.
    const w = presenceWalk({ operator: { zone: 'UTC', quiet: '22:00-09:30' } })
    w.live(51)
    expect(w.story.filter(([, what]) => what.startsWith('heartbeat_missed') || what.startsWith('unatt'))).toEqual([
      [26, 'heartbeat_missed 2 and the contact'],
      [26, 'heartbeat_missed'],
      [48.5, 'heartbeat_missed 4 and the contact'],
      [50, 'heartbeat_missed, unattended_stop'],
      [50.167, 'unattended_stop 1 and the contact'],
    ])
    const night = presenceWalk({ operator: { zone: 'UTC', quiet: '22:00-10:00' } }, '2026-01-05T01:00')
    night.live(26)
    expect(night.conditions(), 'at 03:00').toEqual(['heartbeat_missed'])
  })

  test('a step of the wall does not take a reminder back nor tell it twice', () => {
    const w = presenceWalk({ operator: { zone: 'UTC', quiet: '22:00-06:30' } })
    w.live(21.6)
    for (const stepMs of [-8 * HOUR, 8 * HOUR, -30 * HOUR, 30 * HOUR]) {
      w.clock.stepWall(stepMs)
      w.look()
    }
    const told = w.story.filter(([, what]) => what.startsWith('heartbeat_due')).map(([, what]) => what)
    expect(told).toEqual(['heartbeat_due 1', 'heartbeat_due 2'])
  })
})

describe('waking', () => {
  test('T73: a deadline that passed asleep is safe mode with the first look; the contact hears after 2 h, the ceiling counts from the waking [away-2, away-4]', () => {
    const w = presenceWalk()
    w.live(20)
    w.clock.sleep(30 * HOUR)
    w.look()
    expect(w.story.slice(1)).toEqual([
      [50, 'heartbeat_due 3'],
      [50, 'heartbeat_missed 1'],
      [50, 'heartbeat_missed'],
    ])
    w.live(30)
    expect(w.story.slice(4)).toEqual([
      [52, 'heartbeat_missed 2 and the contact'],
      [62, 'heartbeat_missed 3 and the contact'],
      [72, 'heartbeat_missed 4 and the contact'],
      [74, 'heartbeat_missed, unattended_stop'],
      [74.167, 'unattended_stop 1 and the contact'],
    ])
  })

  test('T73: the operator who wakes the machine within the grace alarms nobody [away-2]', () => {
    const w = presenceWalk()
    w.clock.sleep(30 * HOUR)
    w.look()
    w.live(1)
    w.strong()
    w.look()
    expect(w.story.some(([, what]) => what.includes('contact'))).toBe(false)
    expect(w.conditions()).toEqual([])
  })

  test('T73: one grace per period: a second sleep over the ceiling does not bring another [away-3]', () => {
    const w = presenceWalk()
    w.clock.sleep(30 * HOUR)
    w.look()
    w.live(3)
    w.clock.sleep(40 * HOUR)
    w.look()
    expect(w.conditions()).toEqual(['heartbeat_missed', 'unattended_stop'])
  })

  test('T73: a sleep of a minute or of eight hours before any deadline is nothing [away-4]', () => {
    const w = presenceWalk()
    for (const ms of [60_000, 8 * HOUR]) {
      w.clock.sleep(ms)
      w.look()
    }
    expect(w.story).toEqual([])
  })

  test('T73: what both processes missed asleep is no alarm: hub health, throughput, announced silence; a hub that stays away still is one [away-4]', () => {
    const w = presenceWalk()
    const waiting = { heard: { kind: 'answer' as const, answer: { ...WAITING } } }
    const silent = { heard: { kind: 'silent' as const, reason: 'gone' } }
    w.look(waiting)
    w.clock.move(30_000)
    w.look(silent)
    w.clock.move(30_000)
    w.look(silent)
    w.clock.sleep(8 * HOUR)
    w.look(silent)
    w.clock.move(30_000)
    w.look(waiting)
    expect(w.story).toEqual([])
    w.clock.sleep(2 * HOUR)
    for (let round = 0; round < 6; round += 1) {
      w.look(silent)
      w.clock.move(30_000)
    }
    expect(w.story.map(([, what]) => what)).toEqual(['hub_health 1', 'ledger 1'])
  })

  test('T74: a new boot ten years ahead is safe mode at once, and no stop before the wake grace and the ceiling [clock-8]', () => {
    const w = presenceWalk()
    w.live(1)
    w.clock.reboot(10 * 8760 * HOUR)
    w.look()
    expect(w.conditions()).toEqual(['heartbeat_missed'])
    // The clock is set right again within this boot: what has been entered stays, and nothing more comes of it.
    w.clock.stepWall(-10 * 8760 * HOUR)
    w.live(24 - 1 / 6)
    expect(w.conditions()).toEqual(['heartbeat_missed'])
    w.live(1 / 6)
    expect(w.conditions()).toContain('unattended_stop')
    const v = presenceWalk()
    v.live(30)
    v.clock.reboot(10 * 8760 * HOUR)
    v.look()
    v.live(2 - 1 / 6)
    expect(v.conditions(), 'already in safe mode: the ceiling waits for the grace').toEqual(['heartbeat_missed'])
    v.live(1 / 6)
    expect(v.conditions()).toContain('unattended_stop')
  })

  test('T74: boots with a clock of 1970 neither reset nor stretch it by more than the time the machine was off [clock-8]', () => {
    const w = presenceWalk()
    let awake = 0
    while (w.conditions().length === 0 && awake < 40) {
      w.live(1)
      awake += 1
      w.clock.reboot(-50 * 8760 * HOUR)
      w.look()
    }
    expect(awake).toBe(26)
  })
})
