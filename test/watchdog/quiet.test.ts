import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { planLoudAt, planReminderAt, quietSpanAt } from '../../watchdog/base/quiet-hours.ts'
import { parseConfig } from '../../watchdog/config/config.ts'

const HOUR = 3_600_000
const at = (text: string) => Date.parse(`${text}:00Z`)
const text = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString().slice(0, 16))
const night = parseConfig({ operator: { zone: 'Europe/Berlin', quiet: '22:00-07:00' } }).operator
const noon = parseConfig({ operator: { zone: 'UTC', quiet: '12:00-14:00' } }).operator
const never = parseConfig({}).operator

describe('quiet hours', () => {
  test.each([
    ['2026-01-05T20:59', null],
    ['2026-01-05T21:00', ['2026-01-05T21:00', '2026-01-06T06:00']],
    ['2026-01-06T03:00', ['2026-01-05T21:00', '2026-01-06T06:00']],
    ['2026-01-06T05:59', ['2026-01-05T21:00', '2026-01-06T06:00']],
    ['2026-01-06T06:00', null],
    // Nine hours on the dial are eight when the clock is put forward and ten when it is put back.
    ['2026-03-29T00:00', ['2026-03-28T21:00', '2026-03-29T05:00']],
    ['2026-10-25T00:00', ['2026-10-24T20:00', '2026-10-25T06:00']],
  ])('at %s they are %j [time-14]', (instant, span) => {
    const found = quietSpanAt(at(instant), night)
    expect(found && [text(found.fromMs), text(found.toMs)]).toEqual(span)
  })

  test('none are configured, or they lie within one day', () => {
    expect(quietSpanAt(at('2026-01-05T03:00'), never)).toBeNull()
    expect(quietSpanAt(at('2026-01-05T13:00'), noon)).toEqual({
      fromMs: at('2026-01-05T12:00'),
      toMs: at('2026-01-05T14:00'),
    })
    expect(quietSpanAt(at('2026-01-05T14:00'), noon)).toBeNull()
  })

  test('a reminder in them moves to their end if that is an hour before the deadline, else to 30 min before their start [time-15]', () => {
    const since = '2026-01-05T09:00'
    const plan = (reminder: string, deadline: string, sinceText = since) =>
      text(planReminderAt(at(reminder), { sinceMs: at(sinceText), deadlineMs: at(deadline) }, night))
    expect(plan('2026-01-05T20:59', '2026-01-06T09:00'), 'outside: it stays').toBe('2026-01-05T20:59')
    expect(plan('2026-01-06T03:00', '2026-01-06T09:00')).toBe('2026-01-06T06:00')
    expect(plan('2026-01-06T03:00', '2026-01-06T07:00'), 'exactly an hour is enough').toBe('2026-01-06T06:00')
    expect(plan('2026-01-06T03:00', '2026-01-06T06:59')).toBe('2026-01-05T20:30')
    expect(plan('2026-01-06T03:00', '2026-01-06T06:59', '2026-01-05T20:30'), 'never before its span began').toBe(
      '2026-01-06T06:00',
    )
    expect(plan('2026-01-06T03:00', '2026-01-06T05:00', '2026-01-05T20:45'), 'no place left').toBeNull()
  })

  test('loud channels wait for their end, never for what is critical [time-17, alert-9]', () => {
    expect(text(planLoudAt(at('2026-01-06T03:00'), 'warning', night))).toBe('2026-01-06T06:00')
    expect(text(planLoudAt(at('2026-01-06T03:00'), 'critical', night))).toBe('2026-01-06T03:00')
    expect(text(planLoudAt(at('2026-01-06T06:00'), 'warning', night))).toBe('2026-01-06T06:00')
    expect(text(planLoudAt(at('2026-01-06T03:00'), 'warning', never))).toBe('2026-01-06T03:00')
  })

  test('wherever a reminder falls it is told outside them, before its deadline and after its start, or not at all [time-15]', () => {
    const start = at('2026-03-20T00:00')
    const hours = fc.integer({ min: 0, max: 400 * 60 })
    fc.assert(
      fc.property(
        hours,
        fc.integer({ min: 1, max: 36 * 60 }),
        fc.integer({ min: 1, max: 36 * 60 }),
        (from, span, part) => {
          const sinceMs = start + from * 60_000
          const deadlineMs = sinceMs + span * 60_000
          const fallsMs = sinceMs + Math.min(span, part) * 60_000
          const toldMs = planReminderAt(fallsMs, { sinceMs, deadlineMs }, night)
          if (toldMs === null) return
          expect(quietSpanAt(toldMs, night)).toBeNull()
          expect(toldMs).toBeGreaterThanOrEqual(sinceMs)
          expect(toldMs).toBeLessThanOrEqual(deadlineMs)
          expect(Math.abs(toldMs - fallsMs)).toBeLessThanOrEqual(10.5 * HOUR)
        },
      ),
      { numRuns: 500 },
    )
  })
})
