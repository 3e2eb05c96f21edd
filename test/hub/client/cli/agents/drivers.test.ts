/** `hub agent drivers`. */
import { expect, it } from 'vitest'
import { DRIVERS, FEATURES } from '../../../../../hub/protocol/drivers.ts'
import { DRIVES } from '../../../../../images/agent/drivers.ts'
import { commandHome } from '../../../../support/command-home.ts'

const at = commandHome()

it('lists each driver with what it can do, without a hub (S4-34)', async () => {
  const { code, stdout, stderr } = await at.run(['agent', 'drivers'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^stream-json +ownProcess, reportsUsage +as a coding CLI/m)
  expect(stdout).toMatch(/^command +ownProcess +as an ordinary program/m)
  for (const [name, words] of Object.entries(FEATURES)) expect(stderr).toContain(`${name}: ${words}`)
})

it('--json says yes or no of every feature of every driver', async () => {
  const { drivers } = JSON.parse((await at.run(['agent', 'drivers', '--json'])).stdout)
  expect(drivers.map(({ name }: { name: string }) => name)).toEqual(Object.keys(DRIVERS))
  for (const { features } of drivers) expect(Object.keys(features)).toEqual(Object.keys(FEATURES))
  const yes = drivers.flatMap(({ name, features }: { name: string; features: Record<string, boolean> }) =>
    Object.keys(features).flatMap((feature) => (features[feature] ? [`${name} ${feature}`] : [])),
  )
  expect(yes).toEqual([
    ...['sdk takesMessages', 'sdk takesWishes', 'sdk takesPrompts', 'sdk cancelsTurns', 'sdk asksPermission'],
    ...[
      'json-lines ownProcess',
      'json-lines takesMessages',
      'json-lines takesWishes',
      'json-lines takesPrompts',
      'json-lines cancelsTurns',
      'json-lines asksPermission',
    ],
    'command ownProcess',
    ...['stream-json ownProcess', 'stream-json reportsUsage'],
    ...['acp waitsForReady', 'acp ownProcess', 'acp takesPrompts', 'acp cancelsTurns', 'acp asksPermission'],
    'acp reportsUsage',
    ...['stub takesWishes', 'stub takesPrompts', 'stub cancelsTurns', 'stub asksPermission'],
  ])
})

it('each driver but sdk has a loader in the shim', () => {
  expect(['sdk', ...Object.keys(DRIVES)].sort()).toEqual(Object.keys(DRIVERS).sort())
})
