/**
 * T95, T71, T72, T74, T76 as laws: whatever restarts, reboots, sleeps, steps of the wall and weak heartbeats come in whatever order, no
 * deadline comes early, none comes late, and what sticks stays. The model beside it knows only spans of its own.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { planDeadlines } from '../../watchdog/judge/timeline.ts'
import { type PresenceWalk, presenceWalk } from '../support/presence-walk.ts'
import { HOUR } from '../support/watchdog-home.ts'

const MINUTE = 60_000
const BOOT_MS = 20_000

type Act =
  | { readonly act: 'awake' | 'sleep' | 'reboot' | 'step'; readonly ms: number }
  | { readonly act: 'weak' | 'restart' | 'up' }

const span = (most: number) => fc.integer({ min: 0, max: most })
const acts = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ act: fc.constant('awake' as const), ms: span(9 * HOUR) }) },
    { weight: 2, arbitrary: fc.record({ act: fc.constant('sleep' as const), ms: span(40 * HOUR) }) },
    // Off for a while; or started with a clock that is years behind or ahead.
    { weight: 1, arbitrary: fc.record({ act: fc.constant('reboot' as const), ms: span(30 * HOUR) }) },
    { weight: 1, arbitrary: fc.constant({ act: 'reboot' as const, ms: -50 * 8760 * HOUR }) },
    {
      weight: 2,
      arbitrary: fc.record({
        act: fc.constant('step' as const),
        ms: fc.integer({ min: -90_000 * HOUR, max: 90_000 * HOUR }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ act: fc.constantFrom('weak' as const, 'restart' as const, 'up' as const) }),
    },
  ),
  { minLength: 5, maxLength: 60 },
)

/** Does it and answers how much time passed, as somebody with a stopwatch at the machine would count it (off: by the wall, never back). */
function perform(w: PresenceWalk, one: Act): number {
  switch (one.act) {
    case 'weak':
    case 'restart':
    case 'up':
      w[one.act]()
      return 0
    case 'step':
      w.clock.stepWall(one.ms)
      return 0
    case 'awake':
      w.clock.move(one.ms)
      return one.ms
    case 'sleep':
      w.clock.sleep(one.ms)
      return one.ms
    case 'reboot': {
      const before = w.clock.read().wallMs
      w.clock.reboot(one.ms)
      return Math.max(BOOT_MS, w.clock.read().wallMs - before)
    }
  }
}

const CONFIGS: readonly (readonly [string, object])[] = [
  ['rolling', {}],
  ['daily', { heartbeat: { due: 'daily at 02:30, 09:00' }, operator: { zone: 'Europe/Berlin', quiet: '22:00-07:00' } }],
  ['without grace', { missedGraceMs: 0, wakeGraceMs: 0 }],
]
/** The longest a heartbeat may be good for before a weak one: a daily time is at least 8 h and at most a day and an hour more away. */
const DUE_MOST_MS = 33 * HOUR

test.each(CONFIGS)(
  '%s: no order of events moves safe mode or the stop out of their bounds, and neither is ever taken back [time-2, clock-5]',
  (_name, settings) => {
    fc.assert(
      fc.property(acts, (story) => {
        const w = presenceWalk(settings)
        w.strong()
        const { config } = w
        let elapsedMs = 0
        let dueAtMs = planDeadlines(w.presence, config).dueAtMs
        expect(dueAtMs).toBeLessThanOrEqual(DUE_MOST_MS)
        let lastSignMs = 0
        let safeAtMs: number | null = null
        let stoppedAtMs: number | null = null
        /** The first look at which the ceiling had surely passed. */
        let ceilingSeenMs: number | null = null
        const endMs = config.weakMaxMs + config.missedGraceMs
        for (const one of story) {
          elapsedMs += perform(w, one)
          // Nothing is believed but what was looked at; a wall that stepped within the same boot was nothing.
          w.look()
          const p = w.presence
          expect(p.nowMs, 'the clock is the stopwatch').toBe(elapsedMs)
          if (one.act === 'weak' && p.safeSinceMs === null) lastSignMs = elapsedMs

          const plan = planDeadlines(p, config)
          expect(plan.dueAtMs, 'a due time never comes nearer').toBeGreaterThanOrEqual(dueAtMs)
          dueAtMs = plan.dueAtMs
          expect(dueAtMs).toBeLessThanOrEqual(Math.max(DUE_MOST_MS, config.weakMaxMs))

          if (safeAtMs === null && p.safeSinceMs !== null) {
            safeAtMs = elapsedMs
            const goodForMs = config.due.kind === 'rolling' ? config.missedMs : 8 * HOUR
            expect(p.safeSinceMs, 'safe mode not before the last sign allows it').toBeGreaterThanOrEqual(
              Math.min(lastSignMs + goodForMs, config.weakMaxMs) + config.missedGraceMs,
            )
          }
          if (safeAtMs !== null) expect(w.conditions(), 'it sticks').toContain('heartbeat_missed')
          if (elapsedMs >= endMs) expect(w.conditions(), 'at the latest after weakMax').toContain('heartbeat_missed')

          if (safeAtMs !== null) {
            const latestMs = Math.max(safeAtMs, config.weakMaxMs) + config.unattendedMs
            if (elapsedMs >= latestMs) ceilingSeenMs ??= elapsedMs
          }
          if (stoppedAtMs === null && p.stoppedSinceMs !== null) {
            stoppedAtMs = elapsedMs
            expect(elapsedMs, 'no stop before its day in safe mode').toBeGreaterThanOrEqual(
              (p.safeSinceMs ?? Number.NaN) + config.unattendedMs,
            )
          }
          if (stoppedAtMs !== null) expect(w.conditions()).toContain('unattended_stop')
          if (ceilingSeenMs !== null && elapsedMs >= ceilingSeenMs + config.wakeGraceMs)
            expect(w.conditions(), 'the stop at the latest a wake grace after the ceiling').toContain('unattended_stop')
        }
      }),
      { numRuns: 300 },
    )
  },
)

test('an absence is never longer than its end and the grace, and never shorter, whatever happens meanwhile [away-9]', () => {
  fc.assert(
    fc.property(acts, span(21 * 24 * 60 - 1), (story, minutes) => {
      const w = presenceWalk()
      const untilMs = (minutes + 1) * MINUTE
      w.away({ untilInMs: untilMs })
      let elapsedMs = 0
      for (const one of story) {
        elapsedMs += perform(w, one)
        w.look()
        const isOver = elapsedMs >= untilMs + w.config.missedGraceMs
        expect(w.presence.away === null).toBe(isOver)
        expect(w.conditions()).toContain(isOver ? 'heartbeat_missed' : 'away')
        if (!isOver) expect(w.conditions()).toEqual(['away'])
      }
    }),
    { numRuns: 200 },
  )
})
