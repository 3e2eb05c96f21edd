import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createUnitsCheck } from '../../../../hub/edge/doctor/process.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'du-'))
})
afterEach(() => rmSync(home, { recursive: true }))

const UNITS = { hub: 'hub.service', watchdog: 'hub-watchdog.service', reaper: 'hub-reaper.timer' }
const install = () => writeFileSync(join(home, 'units.json'), JSON.stringify(UNITS))
const ask = (isEnabled: (unit: string) => Promise<boolean>) => createUnitsCheck({ home, running: home }, isEnabled)()

it('X13: a watchdog that is not enabled at boot is red, and what mends it is named', async () => {
  install()
  expect(await ask(async (unit) => unit !== 'hub-watchdog.service')).toMatchObject([
    {
      ok: false,
      detail: 'not enabled: hub-watchdog.service',
      mend: 'sudo systemctl enable --now hub-watchdog.service',
    },
  ])
  expect(await ask(async () => true)).toMatchObject([{ ok: true }])
})

it('X13: without units, without systemd, or with a systemd that is silent it is amber: nothing starts them after a reboot', async () => {
  const enabled = async () => true
  expect(await ask(enabled)).toMatchObject([{ ok: null, mend: 'sudo scripts/systemd/install' }])
  install()
  expect(await createUnitsCheck({ home, running: join(home, 'none') }, enabled)()).toMatchObject([{ ok: null }])
  expect(await ask(async () => Promise.reject(new Error('no bus')))).toMatchObject([
    {
      ok: null,
      detail: 'systemd cannot be asked: no bus',
    },
  ])
})
