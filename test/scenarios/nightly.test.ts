/** The calendar: once a night the whole audit log is looked through, and a broken one is critical (S1-64, T83, X14). */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import { validate } from 'node-cron'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
import { cronSchedule } from '../../hub/guard/audit/nightly-look.ts'
import { createHarness } from '../support/hub-harness.ts'

async function calendar() {
  const jobs = new Map<string, () => Promise<void>>()
  const h = await createHarness({
    agents: {},
    schedule(expression, job) {
      jobs.set(expression, job)
      return () => void jobs.delete(expression)
    },
  })
  return { h, jobs, night: () => h.pumped(jobs.values().next().value?.() ?? Promise.reject(new Error('no job'))) }
}

describe('once a night', () => {
  test('more than a thousand records are looked through a page a turn, and a whole log raises nothing [audit-29]', async () => {
    const { h, jobs, night } = await calendar()
    await using _ = h
    expect([...jobs.keys()].map((expression) => validate(expression))).toEqual([true])
    for (let n = 0; n < 1100; n += 1)
      h.hub.guard.gate.refuse(
        { principal: { kind: 'operator', id: 'operator' }, operation: 'health.show', resource: 'hub' },
        new HubError('schema_invalid', 'made up'),
      )
    h.hub.guard.checkpoints.take()
    await night()
    expect(h.hub.guard.alerts.isOpen('audit_chain_broken')).toBe(false)
    expect(h.hub.guard.modes.current()).toBe('normal')
  })

  test.each([
    ['a changed record', "update audit_record set reason = 'other' where seq = 2"],
    ['a cut tail', 'delete from audit_record where seq > 2'],
  ])(
    '%s is found, told as critical, and the hub is safe until the operator ends it [alert-11, audit-29]',
    async (_what, sql) => {
      const { h, night } = await calendar()
      await using _ = h
      for (let n = 0; n < 4; n += 1) await h.operator('POST', '/v1/policy/reload', {})
      h.hub.guard.checkpoints.take()
      await h.stop()
      const file = new Database(join(h.home, 'hub.db'))
      for (const verb of ['update', 'delete']) file.exec(`drop trigger audit_record_is_append_only_${verb}`)
      file.exec(sql)
      file.close()
      await h.start()
      await night()
      expect(h.hub.guard.alerts.isOpen('audit_chain_broken')).toBe(true)
      expect(h.hub.guard.modes.has('critical_alert')).toBe(true)
    },
  )
})

describe('the calendar', () => {
  let ran: number
  const job = async () => {
    ran += 1
  }
  beforeEach(() => {
    ran = 0
    // Not UTC, so that one that ticks by the machine is seen.
    vi.stubEnv('TZ', 'Asia/Kathmandu')
    vi.useFakeTimers({ now: Date.UTC(2026, 6, 5, 3, 16, 30) })
  })
  afterEach(() => {
    vi.unstubAllEnvs()
    vi.useRealTimers()
  })

  test('ticks in UTC whatever the zone of the machine, and can be ended [time-20]', async () => {
    const end = cronSchedule('17 3 * * *', job)
    await vi.advanceTimersByTimeAsync(20_000)
    expect(ran).toBe(0)
    await vi.advanceTimersByTimeAsync(15_000)
    expect(ran).toBe(1)
    await vi.advanceTimersByTimeAsync(86_400_000)
    expect(ran).toBe(2)
    end()
    await vi.advanceTimersByTimeAsync(2 * 86_400_000)
    expect(ran).toBe(2)
  })

  test('an hour that passed while the hub was down or the machine slept is skipped, and the next one is kept [time-20]', async () => {
    vi.setSystemTime(Date.UTC(2026, 6, 5, 3, 18))
    const end = cronSchedule('17 3 * * *', job)
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect(ran, 'started a minute late').toBe(0)
    // Asleep over the next one: the wall goes on and no timer does.
    vi.setSystemTime(Date.UTC(2026, 6, 6, 9))
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect(ran, 'asleep').toBe(0)
    // The timer fires as late as the machine slept; the missed job is skipped, and the timer is set again.
    await vi.advanceTimersByTimeAsync(23 * 3_600_000)
    expect(ran, 'late').toBe(0)
    await vi.advanceTimersByTimeAsync(24 * 3_600_000)
    expect(ran).toBe(1)
    end()
  })
})
