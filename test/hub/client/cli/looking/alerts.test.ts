/** `hub alert list`, `hub alert test`, `hub resume --alert`, and the alerts on the status screen (S1-34). */
import { describe, expect, it } from 'vitest'
import { watchdogTests } from '../../../../../hub/client/cli/looking/alerts.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { watchdogView } from '../../../../support/fake-hub.ts'

const at = commandHome(undefined, true)

const ID = '018f0000-0000-7000-8000-000000000001'
const open = {
  id: ID,
  cause: 'lease_forged',
  severity: 'critical',
  state: 'sent',
  text: 'A word was refused.\nSecond line \u001b[31m',
  holds: true,
  raisedAtMs: Date.now() - 60_000,
  resolvedAtMs: null,
}
const over = { ...open, cause: 'mode_safe', severity: 'warning', resolvedAtMs: Date.now() }

it('alert list shows what is open, with --all what is over too', async () => {
  at.hub.on('GET /v1/alerts', () => ({ body: { alerts: [open, over] } }))
  const listed = await at.run(['alert', 'list', '--all'])
  expect(listed.code).toBe(0)
  expect(listed.stdout).toMatch(new RegExp(`${ID.slice(-8)} +critical +sent +lease_forged .* A word was refused\\.\n`))
  expect(listed.stdout).toMatch(/warning +resolved +mode_safe/)
  expect(listed.stdout).not.toContain('\u001b')
  at.hub.on('GET /v1/alerts', () => ({ body: { alerts: [] } }))
  expect((await at.run(['alert', 'list'])).stdout).toBe('no alert is open\n')
  expect((await at.run(['alert', 'list', '--json'])).stdout).toBe('[]\n')
  expect(at.hub.asked.map(({ query }) => query.get('all'))).toEqual(['true', 'false', 'false'])
})

it('alerts of the watchdog stand among those of the hub (fault C10)', async () => {
  at.watchdog.on('GET /v1/status', () => ({
    body: watchdogView({ alerts: [{ finding: 'hub_health', level: 1, forMs: 60_000 }] }),
  }))
  at.hub.on('GET /v1/alerts', () => ({ body: { alerts: [] } }))
  const { stdout } = await at.run(['alert', 'list'])
  expect(stdout).toMatch(/\nwatchdog +warning +sent +hub_health +.*\(1 m ago\)/)
})

describe('alert test', () => {
  const mail = { channel: 'mail', kind: 'email', ok: true, answer: '250 OK', tookMs: 41 }
  const dead = { channel: 'phone', kind: 'push', ok: false, answer: 'it answered 500', tookMs: 7 }
  const theirs = { channels: [{ who: 'operator', channel: 'file', kind: 'file', ok: true, why: '', ms: 1 }] }
  const say = (body: object) => at.hub.on('POST /v1/alerts/test', () => ({ body }))

  it('prints what each channel answered, of hub and watchdog, and ends with 1 if any failed [alert-25]', async () => {
    say({ hub: [mail, dead], watchdog: theirs, watchdogProblem: null, watchdogAway: false })
    const { code, stdout } = await at.run(['alert', 'test'])
    expect(code).toBe(1)
    expect(stdout).toMatch(/hub +mail +accepted +41 ms +250 OK/)
    expect(stdout).toMatch(/hub +phone +FAILED +7 ms +it answered 500/)
    expect(stdout).toMatch(/watchdog +file +accepted +1 ms/)
    // Below the table it is whole, however narrow the terminal (fault C24).
    expect(stdout).toMatch(/\nphone: it answered 500\n$/)
    say({ hub: [mail], watchdog: theirs, watchdogProblem: null, watchdogAway: false })
    expect((await at.run(['alert', 'test'])).code).toBe(0)
  })

  it('says that the watchdog has no channel but its file', async () => {
    say({ hub: [mail], watchdog: { channels: [] }, watchdogProblem: null, watchdogAway: false })
    const { code, stdout } = await at.run(['alert', 'test'])
    expect([code, stdout.includes('has no channel except the file watchdog/alerts.log')]).toEqual([0, true])
  })

  it('takes an older watchdog for no failure, and one that does not answer for one', async () => {
    say({ hub: [mail], watchdog: null, watchdogProblem: 'the watchdog refused: not known', watchdogAway: false })
    const older = await at.run(['alert', 'test', '--channel', 'mail'])
    expect([older.code, older.stdout.includes('the watchdog refused')]).toEqual([0, true])
    expect(at.hub.asked.at(-1)?.body).toEqual({ channel: 'mail' })
    say({ hub: [mail], watchdog: null, watchdogProblem: 'the watchdog did not answer', watchdogAway: true })
    expect((await at.run(['alert', 'test'])).code).toBe(1)
  })

  it('guesses nothing from an answer of another shape', () => {
    for (const odd of [null, undefined, 7, {}, { channels: 'x' }]) expect(watchdogTests(odd)).toEqual([])
    expect(watchdogTests({ channels: [{}] })).toEqual([{ channel: '', ok: false, answer: '' }])
  })
})

it('resume --alert names the one alert; what is no id never leaves this machine', async () => {
  at.hub.on('POST /v1/mode/resume', () => ({ body: { mode: 'normal' } }))
  expect((await at.run(['resume', '--alert', ID])).stdout).toContain('the mode is normal')
  expect(at.hub.asked.at(-1)?.body).toEqual({ alert: ID })
  expect((await at.run(['resume', '--alert', 'all'])).code).toBe(2)
  expect(at.hub.asked).toHaveLength(1)
})
