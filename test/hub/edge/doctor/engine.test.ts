/** Every version floor has its row (S0-26, docs/sandbox.md 9), over versions as engines and distributions write them. */
import { expect, test } from 'vitest'
import { engineFloor, otherFloors } from '../../../../hub/edge/doctor/engine.ts'

const good = { runc: '1.3.4', kernel: '7.0.3', node: 'v24.21.0' }
const rowOf = (name: string, versions: Partial<typeof good>) =>
  otherFloors({ ...good, ...versions }).find((row) => row.name === name)

test.each([
  ['29.4.3', true],
  ['29.6.0', true],
  ['30.0.0-rc.1', true],
  ['29.4.2', null],
  ['20.10.24+dfsg1', null],
  ['dev', null],
])('engine %s: %s', (engine, ok) => {
  expect(engineFloor({ engine, api: '1.50' }).ok).toBe(ok)
})

test.each([
  ['runc', '1.1.5+ds1', null],
  ['runc', '1.2.7', null],
  ['runc', '1.2.8', true],
  ['runc', '1.3.2', null],
  ['runc', 'v1.3.3', true],
  ['runc', '1.5.3', true],
  ['runc', '', null],
  ['kernel', '6.1.0-44-amd64', null],
  ['kernel', '6.18.21', null],
  ['kernel', '6.18.44-fc-v669', true],
  ['kernel', '6.19.12-generic', null],
  ['kernel', '7.0.0', true],
  ['node', 'v24.0.0', true],
  ['node', 'v26.12.1', true],
  ['node', 'v22.9.0', null],
] as const)('%s %s: %s', (name, version, ok) => {
  const row = rowOf(name, { [name]: version })
  expect(row?.ok).toBe(ok)
  expect(row?.detail).toContain(version)
  expect(row?.mend).not.toBe('')
})

test('what is below its floor names what it lacks', () => {
  expect(rowOf('runc', { runc: '1.1.5' })?.detail).toMatch(
    /CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881 came with 1\.2\.8/,
  )
  expect(rowOf('kernel', { kernel: '6.1.0' })?.detail).toMatch(/CVE-2026-31431/)
  expect(rowOf('runc', { runc: '' })?.detail).toBe('its version is not known')
})
