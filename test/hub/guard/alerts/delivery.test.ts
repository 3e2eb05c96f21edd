/** The outbox and its delivery (S1-34, T98): who is told what, when, how often, and what happens when a channel does not take it. */
import { afterEach, describe, expect, it } from 'vitest'
import { testMessage } from '../../../../hub/guard/alerts/message.ts'
import { WAITING_MAX } from '../../../../hub/guard/alerts/outbox.ts'
import { type AlertHome, openAlertHome } from '../../../support/alert-home.ts'
import { fillDisk } from '../../../support/guard-home.ts'

const HOUR = 3_600_000
const COMMAND = { kind: 'command', run: ['/bin/true'] }
const both = {
  channels: [
    { ...COMMAND, name: 'one' },
    { ...COMMAND, name: 'two' },
  ],
}
let home: AlertHome
afterEach(() => home[Symbol.dispose]())
const told = (name: string) => home.channel(name).got.map(({ event, cause }) => `${event} ${cause}`)

describe('an alert', () => {
  it('reaches every channel once, under an id of its own, and its end follows once (S1-34) [alert-6]', async () => {
    home = openAlertHome(both)
    home.parts.alerts.raise('disk_low', 'warning', 'The disk is filling up.')
    await home.run(10_000)
    home.parts.alerts.raise('disk_low', 'warning', 'The disk is filling up.')
    await home.run(10_000)
    home.parts.alerts.resolve('disk_low', 'There is room again.')
    home.parts.alerts.resolve('disk_low', 'There is room again.')
    await home.run(10_000)
    for (const name of ['one', 'two']) expect(told(name)).toEqual(['raised disk_low', 'resolved disk_low'])
    const ids = ['one', 'two'].flatMap((name) => home.channel(name).got.map(({ id }) => id))
    expect(new Set(ids).size).toBe(4)
  })

  it('is told again when it becomes more serious, in the order it happened', async () => {
    home = openAlertHome(both)
    home.channel('one').behave = { fails: 'no' }
    home.parts.alerts.raise('kill_unconfirmed:x', 'warning', 'w')
    home.parts.alerts.raise('other', 'warning', 'o')
    await home.run(1000)
    home.parts.alerts.raise('kill_unconfirmed:x', 'critical', 'c')
    home.channel('one').behave = 'taken'
    await home.run(30_000)
    expect(told('one')).toEqual(['raised kill_unconfirmed:x', 'louder kill_unconfirmed:x', 'raised other'])
    expect(told('two')).toEqual(['raised kill_unconfirmed:x', 'raised other', 'louder kill_unconfirmed:x'])
  })

  it('of severity info is told nobody, and stands in the list [alert-7]', async () => {
    home = openAlertHome(both)
    home.parts.alerts.raise('note', 'info', 'text')
    await home.run(5000)
    expect(told('one')).toEqual([])
    expect(home.parts.alerts.list()).toMatchObject([{ cause: 'note' }])
  })

  it('names weekday, date, local time with zone and distance, and the head of the audit log [alert-29, audit-24]', async () => {
    home = openAlertHome(both, Date.UTC(2026, 10, 21, 13))
    home.parts.alerts.raise('disk_low', 'warning', 'The disk is filling up.')
    await home.run(3_600_000, 60_000)
    home.parts.alerts.resolve('disk_low')
    await home.run(10_000)
    const [raised, resolved] = home.channel('two').got
    expect(raised?.body).toContain('since: Sat 21 Nov 2026, 14:00 CET (now)')
    expect(raised?.body).toContain(`audit log: 7 records, head ${'a'.repeat(64)}`)
    expect(resolved?.body).toContain('was raised: Sat 21 Nov 2026, 14:00 CET (1 h ago)')
    expect(resolved?.subject).toBe('[hub] resolved: disk low')
  })

  it('a test says nothing of an audit log that there is not yet, as in `hub setup`', () => {
    home = openAlertHome(both)
    const facts = { nowMs: 0, zone: 'UTC', instance: 'setup', mode: 'setup' as const, audit: { size: 0, head: '' } }
    expect(testMessage('one', facts).body).not.toContain('audit log')
    const body = (size: number) => testMessage('one', { ...facts, audit: { size, head: 'f00d' } }).body
    expect([body(1), body(2)].map((text) => /^audit log: .*$/m.exec(text)?.[0])).toEqual([
      'audit log: 1 record, head f00d',
      'audit log: 2 records, head f00d',
    ])
  })

  it('moves to sent with the first channel that takes it, and to given_up with the last that does not', async () => {
    home = openAlertHome(both)
    home.channel('one').behave = { fails: 'no' }
    home.parts.alerts.raise('a', 'warning', 'text')
    await home.run(2000)
    expect(home.parts.alerts.list().find(({ cause }) => cause === 'a')?.state).toBe('sent')
    home.channel('two').behave = { fails: 'no' }
    home.parts.alerts.raise('b', 'warning', 'text')
    await home.run(25 * HOUR, 60_000)
    expect(home.parts.alerts.list().find(({ cause }) => cause === 'b')?.state).toBe('given_up')
  })
})

describe('a channel that fails', () => {
  it('is tried with growing pauses; after three failures the other says so, and its return is told too (T98) [alert-4, alert-5]', async () => {
    home = openAlertHome(both)
    const one = home.channel('one')
    one.behave = { fails: 'connection refused' }
    home.parts.alerts.raise('x', 'warning', 'text')
    const triesAt: number[] = []
    for (let second = 0; second < 1200; second += 1) {
      if (one.tries > triesAt.length) triesAt.push(second)
      if (triesAt.length === 2) expect(told('two')).toEqual(['raised x'])
      await home.run(1000)
      if (second === 60) expect(told('two')).toEqual(['raised x', 'raised channel_failing:one'])
    }
    const pauses = triesAt.map((at, index) => at - (triesAt[index - 1] ?? at)).slice(1, 6)
    expect(pauses.map((pause, index) => pause > (pauses[index - 1] ?? 0))).toEqual([true, true, true, true, true])
    expect(home.channel('two').got[1]?.text).toContain('3 tries in a row failed, the last with: connection refused')
    one.behave = 'taken'
    home.parts.alerts.raise('y', 'warning', 'text')
    await home.run(700_000)
    expect(told('one').sort()).toEqual(['raised x', 'raised y'])
    expect(told('two')).toEqual(['raised x', 'raised channel_failing:one', 'raised y', 'resolved channel_failing:one'])
  })

  it('for a night loses nothing: a warning waits 24 h, a critical one 72 h; then they are given up and stand in the list (T98) [alert-5]', async () => {
    home = openAlertHome({ channels: [{ ...COMMAND, name: 'one' }] })
    const one = home.channel('one')
    one.behave = { fails: 'no internet' }
    home.parts.alerts.raise('lease_forged', 'critical', 'text')
    home.parts.alerts.raise('w', 'warning', 'text')
    await home.run(12 * HOUR, 60_000)
    one.behave = 'taken'
    await home.run(700_000, 10_000)
    // The third is the safe mode that the critical one brought.
    expect(told('one').sort()).toEqual(['raised lease_forged', 'raised mode_safe', 'raised w'])
    one.behave = { fails: 'no internet' }
    home.parts.alerts.raise('profile_mismatch:s', 'critical', 'text')
    home.parts.alerts.raise('v', 'warning', 'text')
    // But for the safe mode, of which it is said each day that it lasts (S1-19).
    const waiting = () => {
      const lines = home.parts.rows.waiting()
      return lines.filter(({ alert }) => home.parts.alerts.find(alert)?.cause !== 'mode_safe').length
    }
    await home.run(24 * HOUR - 60_000, 60_000)
    expect(waiting()).toBe(2)
    await home.run(120_000, 60_000)
    expect(waiting()).toBe(1)
    await home.run(48 * HOUR - 180_000, 60_000)
    expect(waiting()).toBe(1)
    await home.run(180_000, 60_000)
    expect(waiting()).toBe(0)
    const states = Object.fromEntries(home.parts.alerts.list().map(({ cause, state }) => [cause, state]))
    expect(states).toMatchObject({ w: 'sent', v: 'given_up', 'profile_mismatch:s': 'given_up' })
  })

  it('and is taken out of the configuration has no alert any more (fault C37)', async () => {
    home = openAlertHome({
      channels: [
        { ...COMMAND, name: 'one' },
        { ...COMMAND, name: 'two' },
      ],
    })
    home.channel('one').behave = { fails: 'gone' }
    home.parts.alerts.raise('x', 'warning', 'text')
    await home.run(700_000)
    expect(home.parts.alerts.isOpen('channel_failing:one')).toBe(true)
    home.reopen({ channels: [{ ...COMMAND, name: 'two' }] })
    expect(home.parts.alerts.isOpen('channel_failing:one')).toBe(false)
    await home.run(10_000)
    expect(told('two')).toContain('resolved channel_failing:one')
  })

  it('hears nothing of what a trial does, whose operator looks on (fault C11)', async () => {
    home = openAlertHome({ channels: [{ ...COMMAND, name: 'one' }] })
    home.parts.alerts.raise('agent_unhealthy:a--dev', 'warning', 'text')
    home.parts.alerts.raise('agent_unhealthy:a', 'warning', 'text')
    await home.run(10_000)
    expect(told('one')).toEqual(['raised agent_unhealthy:a'])
    expect(home.parts.alerts.isOpen('agent_unhealthy:a--dev')).toBe(true)
  })

  it('at one line for itself stands before no other, and the lines of one alert stay in order (T98)', async () => {
    home = openAlertHome({ channels: [{ ...COMMAND, name: 'one' }] })
    home.channel('one').behave = { refuses: 'profile_mismatch:s' }
    home.parts.alerts.raise('profile_mismatch:s', 'critical', 'text')
    home.parts.alerts.raise('a', 'warning', 'text')
    home.parts.alerts.resolve('a')
    await home.run(200_000)
    expect(told('one').filter((line) => line.endsWith(' a'))).toEqual(['raised a', 'resolved a'])
    // Once all were tried often, each still has its turn.
    home.channel('one').behave = { fails: 'no internet' }
    home.parts.alerts.raise('b', 'warning', 'text')
    await home.run(4 * HOUR, 10_000)
    home.channel('one').behave = { refuses: 'profile_mismatch:s' }
    await home.run(1_300_000, 10_000)
    expect(told('one')).toContain('raised b')
    expect(home.parts.outbox.waitingFor('one')).toBe(1)
  })

  it('with 500, then 200, is told once', async () => {
    home = openAlertHome(both)
    home.channel('one').behave = { fails: 'it answered 500' }
    home.parts.alerts.raise('x', 'warning', 'text')
    await home.run(2000)
    home.channel('one').behave = 'taken'
    await home.run(30_000)
    expect(told('one')).toEqual(['raised x'])
    expect(home.parts.alerts.isOpen('channel_failing:one')).toBe(false)
  })

  it('that hangs delays neither another channel nor the end of the hub (T98) [alert-30]', async () => {
    home = openAlertHome(both)
    home.channel('one').behave = 'hangs'
    for (let n = 0; n < 5; n += 1) home.parts.alerts.raise(`x:${n}`, 'warning', 'text')
    await home.run(1000)
    expect(told('two')).toHaveLength(5)
    expect(home.channel('one').tries).toBe(1)
    home.parts.delivery.stop()
    home.reopen()
    home.channel('one').behave = 'taken'
    await home.run(5000)
    expect(told('one')).toHaveLength(5)
  })

  it('that hangs is let go at its deadline and counts as failed', async () => {
    home = openAlertHome(both)
    home.channel('one').behave = 'hangs'
    home.parts.alerts.raise('x', 'warning', 'text')
    await home.run(3_000_000, 5000)
    expect(home.channel('one').tries).toBeGreaterThanOrEqual(6)
    expect(home.parts.alerts.isOpen('channel_failing:one')).toBe(true)
    expect(home.parts.delivery.states()).toMatchObject([{ lastError: 'no answer within 10 s' }, { failedInARow: 0 }])
  })

  it('alone is not asked to tell of itself, and does not fill its own outbox', async () => {
    home = openAlertHome({ channels: [{ ...COMMAND, name: 'one' }] })
    home.channel('one').behave = { fails: 'no' }
    home.parts.alerts.raise('x', 'warning', 'text')
    await home.run(60_000)
    expect(home.parts.alerts.isOpen('channel_failing:one')).toBe(true)
    await home.run(25 * HOUR, 60_000)
    expect(home.parts.outbox.waitingFor('one')).toBe(0)
  })
})

describe('the outbox', () => {
  it('survives a restart: what was not told is told then, what was told is not told again [alert-26]', async () => {
    home = openAlertHome(both)
    home.channel('two').behave = { fails: 'no' }
    home.parts.alerts.raise('x', 'warning', 'text')
    await home.run(1000)
    home.reopen()
    home.channel('two').behave = 'taken'
    await home.run(1000)
    expect([told('one'), told('two')]).toEqual([['raised x'], ['raised x']])
  })

  it('tells twice under the same id what a crash left unsettled, so that a receiver can drop it', async () => {
    home = openAlertHome(both)
    home.parts.alerts.raise('x', 'warning', 'text')
    const { store } = home.parts
    // The row as it was before the try: the crash came after the channel took it.
    const before = store.prepare("select * from alert_delivery where channel = 'one'").get() as Record<string, unknown>
    await home.run(1000)
    store.prepare("update alert_delivery set state = 'raised', ended_at_ms = null where id = ?").run(before.id)
    home.reopen()
    await home.run(1000)
    const ids = home.channel('one').got.map(({ id }) => id)
    expect(ids).toEqual([before.id, before.id])
  })

  it(`holds ${WAITING_MAX} lines for a channel; beyond, warnings are not kept for it and a critical one has its place`, async () => {
    home = openAlertHome(both)
    home.channel('one').behave = 'hangs'
    for (let n = 0; n < WAITING_MAX + 20; n += 1) {
      home.parts.alerts.raise(`n:${n}`, 'warning', 'text')
      if (n % 100 === 0) await home.run(1000)
    }
    home.parts.alerts.raise('audit_chain_broken', 'critical', 'text')
    await home.run(2000)
    expect(home.parts.outbox.waitingFor('one')).toBe(WAITING_MAX)
    expect(told('two')).toContain('raised outbox_full:one')
    home.channel('one').behave = 'taken'
    await home.run(60_000)
    expect(told('one')[0]).toBe('raised audit_chain_broken')
    // The critical one, the full outbox, and the safe mode that the critical one brought.
    expect(home.parts.alerts.list().length).toBe(WAITING_MAX + 20 + 3)
  })

  it('tells also while the store cannot be written, and writes that down when it can', async () => {
    home = openAlertHome(both)
    const mend = fillDisk(home.parts as never)
    home.parts.alerts.raise('store', 'warning', 'x'.repeat(3900))
    await home.run(2000)
    expect(told('one')).toEqual(['raised store'])
    mend()
    await home.run(2000)
    home.reopen()
    await home.run(2000)
    expect(told('one')).toEqual(['raised store'])
    expect(home.parts.alerts.isOpen('store')).toBe(true)
  })

  it('gives up what waits for a channel that is not configured any more', async () => {
    home = openAlertHome(both)
    home.channel('two').behave = { fails: 'no' }
    home.parts.alerts.raise('x', 'warning', 'text')
    await home.run(1000)
    const { store } = home.reopen({ channels: [both.channels[0]] })
    expect(store.prepare("select state, detail from alert_delivery where channel = 'two'").get()).toEqual({
      state: 'given_up',
      detail: 'the channel is no longer configured',
    })
  })
})

describe('a change of the channels while the hub runs (S0-13)', () => {
  it('ends what is said of one that is gone, gives up its lines, and leaves the others as they were', async () => {
    home = openAlertHome(both)
    for (const name of ['one', 'two']) home.channel(name).behave = { fails: 'no' }
    home.parts.alerts.raise('x', 'warning', 'text')
    await home.run(200_000)
    expect(home.parts.alerts.isOpen('channel_failing:one')).toBe(true)
    const before = home.parts.delivery.states().find(({ channel }) => channel === 'two')
    home.change({ channels: [both.channels[1], { kind: 'file', name: 'three' }] })
    expect(home.parts.alerts.isOpen('channel_failing:one')).toBe(false)
    expect(home.parts.delivery.states().map(({ channel }) => channel)).toEqual(['two', 'three'])
    expect(home.parts.delivery.states()[0]?.failedInARow).toBe(before?.failedInARow)
    const tries = home.channel('one').tries
    home.parts.alerts.raise('y', 'warning', 'text')
    await home.run(10_000)
    expect([home.channel('one').tries, home.channel('three').got.some(({ cause }) => cause === 'y')]).toEqual([
      tries,
      true,
    ])
    expect(home.parts.rows.waiting().some(({ channel }) => channel === 'one')).toBe(false)
  })

  it('does not complain of one that was gone before its last try failed', async () => {
    home = openAlertHome(both)
    home.channel('one').behave = 'hangs'
    home.parts.alerts.raise('x', 'warning', 'text')
    // Two tries have failed by their deadline, and the third is under way.
    await home.run(48_000)
    expect([home.channel('one').tries, home.parts.alerts.isOpen('channel_failing:one')]).toEqual([3, false])
    home.change({ channels: [both.channels[1]] })
    await home.run(60_000)
    expect(home.parts.alerts.list().map(({ cause }) => cause)).toEqual(['x'])
  })
})

describe('quiet hours', () => {
  const PUSH = { kind: 'push', name: 'phone', url: 'https://push.example.org/topic' }
  const MAIL = { ...COMMAND, name: 'mail' }
  const quiet = { zone: 'Europe/Berlin', quiet: { from: '22:00', to: '07:00' }, channels: [PUSH, MAIL] }

  it('let a warning by push wait for their end and nothing else, in the zone they are meant in [alert-8, alert-9]', async () => {
    // 23:30 in Berlin.
    home = openAlertHome(quiet, Date.UTC(2026, 10, 21, 22, 30))
    home.parts.alerts.raise('w', 'warning', 'text')
    await home.run(5000)
    expect([told('phone'), told('mail')]).toEqual([[], ['raised w']])
    home.parts.alerts.raise('lease_forged', 'critical', 'text')
    await home.run(5000)
    expect(told('phone')).toEqual(['raised lease_forged'])
    await home.run(7.4 * 3_600_000, 60_000)
    expect(told('phone')).toEqual(['raised lease_forged'])
    await home.run(600_000)
    expect(told('phone')).toEqual(['raised lease_forged', 'raised w', 'raised mode_safe'])
  })
})

describe('a test of the channels', () => {
  it('says of each what it answered, at the same time, and one that works again is not failing any more', async () => {
    home = openAlertHome(both)
    home.channel('one').behave = { fails: 'no' }
    home.parts.alerts.raise('x', 'warning', 'text')
    await home.run(2_000_000)
    expect(await home.parts.delivery.test()).toMatchObject([
      { channel: 'one', ok: false, answer: 'no' },
      { channel: 'two', ok: true, answer: 'taken' },
    ])
    home.channel('one').behave = 'taken'
    expect(await home.parts.delivery.test('one')).toMatchObject([{ channel: 'one', ok: true }])
    expect(home.channel('one').got[0]?.body).toContain('Nothing has happened')
    expect(home.parts.alerts.isOpen('channel_failing:one')).toBe(false)
  })
})
