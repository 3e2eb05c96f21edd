/** Doctor: a watchdog that can tell nobody is broken; no contact, no outside, a failing channel and a watchdog that is away are worth a look. */
import { expect, test } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { createWatchdogChecks } from '../../../../hub/edge/doctor/channels.ts'

const checks = async (alerting: unknown) =>
  (await createWatchdogChecks(async () => ({ alerting }))()).map(({ name, ok, detail }) => `${name} ${ok}: ${detail}`)

test('what is not set up: no channel is red, no contact and no outside are amber [watch-58, alert-24]', async () => {
  const lacks = [
    { name: 'no_channel', ok: false, text: 'nobody is told' },
    { name: 'no_contact', ok: null, text: 'no contact' },
    { name: 'no_outside', ok: null, text: 'no outside' },
  ]
  expect(await checks({ lacks, channels: [], outside: {} })).toEqual([
    'watchdog channels false: nobody is told',
    'contact channels null: no contact',
    'outside ping null: no outside',
  ])
})

test('what is set up: green while it delivers, amber with the reason while it does not', async () => {
  const row = { who: 'operator', channel: 'email through mail.example.org', waiting: 0, failures: 0, reason: null }
  const channels = [row, { ...row, who: 'contact', channel: 'push to ntfy', waiting: 2, failures: 3, reason: '401' }]
  const outside = { configured: true, lastOkAgeMs: 5, reason: 'answered 503' }
  expect(await checks({ lacks: [], channels, outside })).toEqual([
    'watchdog channels true: email through mail.example.org ok, 0 waiting',
    'contact channels null: push to ntfy fails: 401, 2 waiting',
    'outside ping null: answered 503',
  ])
  expect((await checks({ lacks: [], channels, outside: { ...outside, reason: null } })).at(-1)).toBe(
    'outside ping true: answered',
  )
})

test('a watchdog that is away, or says nothing of it, breaks no doctor', async () => {
  const away = createWatchdogChecks(async () => {
    throw new HubError('timed_out', 'the watchdog did not answer')
  })
  expect(await away()).toMatchObject([{ name: 'watchdog channels', ok: null, mend: 'hub up' }])
  expect(await checks(undefined)).toEqual([])
})
