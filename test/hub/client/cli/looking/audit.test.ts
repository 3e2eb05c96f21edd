/** `hub audit` and `hub doctor`. */
import { expect, it } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'

const at = commandHome()

it('records are found by the operation too, as the records call it', async () => {
  at.hub.on('GET /v1/audit', () => ({ body: { records: [], next: null } }))
  await at.run(['audit', 'list', '--action', 'task.submit'])
  await at.run(['audit', 'list', '--action', 'task.submitted'])
  expect(at.hub.asked.map(({ query }) => query.get('action'))).toEqual(['task.submitted', 'task.submitted'])
})

it('a broken audit chain and a red check end with 1', async () => {
  const verdict = {
    ok: false,
    size: 9,
    head: 'ff',
    firstBad: { seq: 4, reason: 'hash' },
    checkpoints: 1,
    witness: null,
  }
  at.hub.on('GET /v1/audit/verify', () => ({ body: verdict }))
  at.hub.on('GET /v1/doctor', () => ({
    body: { checks: [{ name: 'zone', ok: false, detail: 'bad', mend: 'mend it' }] },
  }))
  const audit = await at.run(['audit', 'verify'])
  expect([audit.code, audit.stdout]).toEqual([1, 'BROKEN: first at record 4: hash\n'])
  // Fault F5: what the watchdog says to it counts as much.
  const said = (ok: boolean, witness: object) => ({ body: { ...verdict, ok, firstBad: null, witness } })
  at.hub.on('GET /v1/audit/verify', () => said(false, { asked: true, size: 7, reason: 'record 7 is gone' }))
  const cut = await at.run(['audit', 'verify'])
  expect([cut.code, cut.stdout]).toEqual([
    1,
    'BROKEN: record 7 is gone: the log is whole, but it is not the log that the watchdog saw\nhead ff\n',
  ])
  at.hub.on('GET /v1/audit/verify', () => said(true, { asked: false, size: null, reason: 'no socket' }))
  const alone = await at.run(['audit', 'verify'])
  expect([alone.code, alone.stdout]).toEqual([4, 'whole: 9 records, 1 signed checkpoint\nhead ff\n'])
  expect(alone.stderr).toContain('the watchdog could not be asked (no socket)')
  at.hub.on('GET /v1/audit/verify', () => said(true, { asked: true, size: 7, reason: null }))
  const whole = await at.run(['audit', 'verify'])
  expect([whole.code, whole.stdout]).toEqual([
    0,
    'whole: 9 records, 1 signed checkpoint\nhead ff\nthe watchdog has seen the same log\n',
  ])
  const doctor = await at.run(['doctor'])
  expect([doctor.code, doctor.stdout]).toEqual([1, 'FAIL  zone  bad\n      mend it\n'])
})
