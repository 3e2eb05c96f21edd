import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mayBeCritical } from '../../../../hub/guard/alerts/kinds.ts'
import { fillDisk, type GuardHome, openGuardHome } from '../../../support/guard-home.ts'

let home: GuardHome
beforeEach(() => {
  home = openGuardHome()
})
afterEach(() => home[Symbol.dispose]())

const rows = () =>
  home.guard.store.prepare('select cause, severity, resolved_at_ms is null as open from alert order by rowid').all()
const told = () =>
  home.guard.events
    .since(0)
    .events.filter(({ type }) => type.startsWith('hub.alert.'))
    .map(({ type, data }) => `${type.split('.')[2]} ${data.event} ${data.cause}`)

describe('an alert', () => {
  it('is raised once while it is open, and resolved once (S1-34) [alert-2]', () => {
    const { alerts } = home.guard
    alerts.raise('disk_low', 'warning', 'The disk is full.')
    alerts.raise('disk_low', 'warning', 'The disk is full.')
    alerts.resolve('disk_low')
    alerts.resolve('disk_low')
    expect(told()).toEqual(['raised raised disk_low', 'resolved resolved disk_low'])
    alerts.raise('disk_low', 'warning', 'Again.')
    expect(rows()).toEqual([
      { cause: 'disk_low', severity: 'warning', open: 0 },
      { cause: 'disk_low', severity: 'warning', open: 1 },
    ])
  })

  it('is told again when its severity rises, and not when it falls [alert-3]', () => {
    const { alerts } = home.guard
    alerts.raise('contact_guessing', 'info', 'low')
    alerts.raise('contact_guessing', 'warning', 'high')
    alerts.raise('contact_guessing', 'info', 'low')
    expect(told()).toEqual(['raised raised contact_guessing', 'raised louder contact_guessing'])
    expect(alerts.list()).toMatchObject([{ cause: 'contact_guessing', severity: 'warning', text: 'high' }])
  })

  it('is open over a restart', () => {
    home.guard.alerts.raise('contact_guessing', 'warning', 'text')
    const { alerts } = home.reopen()
    expect(alerts.list()).toMatchObject([{ cause: 'contact_guessing', state: 'raised' }])
    alerts.raise('contact_guessing', 'warning', 'text')
    alerts.resolve('contact_guessing')
    expect(told()).toEqual(['resolved resolved contact_guessing'])
    expect(rows()).toHaveLength(1)
  })

  it('without an end of its own counts as over when it was not raised again', async () => {
    const { alerts } = home.guard
    alerts.raise('session_stopped:reader', 'warning', 'text', 60_000)
    await home.clock.advance(40_000)
    alerts.raise('session_stopped:reader', 'warning', 'text', 60_000)
    await home.clock.advance(40_000)
    alerts.tick()
    expect(alerts.isOpen('session_stopped:reader')).toBe(true)
    await home.clock.advance(20_000)
    alerts.tick()
    expect(alerts.isOpen('session_stopped:reader')).toBe(false)
  })

  it('raised in a transaction that is undone still stands, and is written afterwards', () => {
    const { alerts, store } = home.guard
    expect(() =>
      store.transaction(() => {
        alerts.raise('lease_refused', 'warning', 'text')
        throw new Error('undone')
      }),
    ).toThrow('undone')
    expect(rows()).toEqual([])
    expect(alerts.isOpen('lease_refused')).toBe(true)
    alerts.tick()
    expect(rows()).toEqual([{ cause: 'lease_refused', severity: 'warning', open: 1 }])
  })

  it('is kept in memory while the store fails, and written when it works again (S1-34)', () => {
    const { alerts } = home.guard
    const mend = fillDisk(home.guard)
    alerts.raise('audit_unsealed', 'warning', 'x'.repeat(4000))
    alerts.raise('config_refused', 'warning', 'x'.repeat(4000))
    expect(alerts.list()).toHaveLength(2)
    alerts.tick()
    expect(rows().length).toBeLessThan(2)
    mend()
    alerts.tick()
    expect(rows()).toHaveLength(2)
  })

  it('holds no secret, no control character and not more than 4 000 characters (T38) [alert-28]', () => {
    const { alerts } = home.guard
    alerts.raise(
      `question:\r\nBcc: evil`,
      'warning',
      `a\x1b[31m\r\nHUB_SECRET_X=abcdef password: hunter2 Bearer abcdefghij https://u:pw@h/stop/1234-5678 ${'x'.repeat(9000)}`,
    )
    const [alert] = alerts.list()
    expect(alert?.cause).toBe('question: Bcc: evil')
    expect(alert?.text.length).toBe(4000)
    for (const secret of ['abcdef', 'hunter2', 'abcdefghij', 'pw', '1234-5678', '\x1b', '\r'])
      expect(alert?.text).not.toContain(secret)
  })

  it('beyond a thousand open ones is only counted, once, and says so; a critical one always has room', () => {
    const { alerts } = home.guard
    for (let n = 0; n < 1010; n += 1) alerts.raise(`question:${n}`, 'info', 'text')
    alerts.raise('lease_forged', 'critical', 'text')
    expect(alerts.list()).toHaveLength(1002)
    expect(alerts.isOpen('alerts_full')).toBe(true)
    // Under systemd there is no logs/hub.log.
    expect(alerts.list().find(({ cause }) => cause === 'alerts_full')?.text).toContain("only in the hub's log")
    alerts.resolve('question:1')
    alerts.resolve('question:2')
    alerts.resolve('question:3')
    alerts.resolve('question:4')
    expect(alerts.isOpen('alerts_full')).toBe(false)
  })
})

describe('a critical alert', () => {
  it('makes the hub safe, over a restart too, until the operator ends that one by its id (S1-67)', () => {
    home.guard.alerts.raise('audit_chain_broken', 'critical', 'text')
    home.guard.alerts.raise('lease_forged', 'critical', 'text')
    expect(home.guard.modes.current()).toBe('safe')
    const { alerts, modes, gate } = home.reopen()
    modes.clear('lease_pending')
    alerts.resolve('lease_forged')
    expect(modes.active().map(({ name }) => name)).toEqual(['critical_alert'])
    const end = (id: string) =>
      gate.admit(
        { principal: { kind: 'operator', id: 'operator' }, operation: 'mode.resume', resource: 'hub' },
        (grant) => alerts.release(grant, id),
      )
    const [first, second] = alerts.list()
    expect(() => end('019c0000-0000-7000-8000-000000000000')).toThrow(/no open critical alert/)
    end(first?.id ?? '')
    expect(modes.current()).toBe('safe')
    end(second?.id ?? '')
    expect(modes.current()).toBe('normal')
    expect(alerts.list()).toEqual([])
    expect(told().slice(-2)).toEqual(['resolved resolved audit_chain_broken', 'resolved resolved lease_forged'])
  })

  it('is one of a closed list: what an agent can provoke is a warning at most (S1-67) [alert-10]', () => {
    const { alerts, modes } = home.guard
    modes.clear('lease_pending')
    for (const cause of ['agent_breaker:reader', 'session_stopped:reader', 'refused_often:reader'] as const)
      alerts.raise(cause, 'critical', 'text')
    expect(alerts.list().map(({ severity }) => severity)).toEqual(['warning', 'warning', 'warning'])
    expect(mayBeCritical('constructor')).toBe(false)
    expect(modes.current()).toBe('normal')
  })

  it('of the witness does not hold the hub twice: its condition has its own end', () => {
    const { alerts, modes } = home.guard
    alerts.raise('witness_mismatch', 'critical', 'text')
    expect(modes.has('critical_alert')).toBe(false)
    alerts.resolve('witness_mismatch')
    expect(alerts.list()).toEqual([])
  })
})
