/** The calendar: once a night the whole audit log is looked through, and a broken one is critical (S1-64, T83, X14). */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import { schedule as cron, validate } from 'node-cron'
import { describe, expect, test } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
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
  test('more than a thousand records are looked through a page a turn, and a whole log raises nothing', async () => {
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
  ])('%s is found, told as critical, and the hub is safe until the operator ends it', async (_what, sql) => {
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
  })
})

test('the library ticks in UTC and its task can be ended', async () => {
  const task = cron('17 3 * * *', () => undefined, { timezone: 'Etc/UTC', noOverlap: true })
  expect(task.getNextRun()?.toISOString()).toMatch(/T03:17:00/)
  await task.destroy()
})
