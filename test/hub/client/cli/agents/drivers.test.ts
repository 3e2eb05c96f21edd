/** `hub agent drivers`. */
import { expect, it } from 'vitest'
import { DRIVERS, FEATURES } from '../../../../../hub/protocol/drivers.ts'
import { DRIVES } from '../../../../../images/agent/drivers.ts'
import { commandHome } from '../../../../support/command-home.ts'

const at = commandHome()

it('lists each driver with what it can do, without a hub (S4-34)', async () => {
  const { code, stdout, stderr } = await at.run(['agent', 'drivers'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^stream-json +ownProcess, reportsUsage, resumes +as a coding CLI/m)
  expect(stdout).toMatch(/^command +ownProcess +as an ordinary program/m)
  // A line of its own for each: a line break inside one would be shown as \n.
  expect(stderr.split('\n')).toEqual(expect.arrayContaining(Object.entries(FEATURES).map((each) => each.join(': '))))
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
    ...['stream-json ownProcess', 'stream-json reportsUsage', 'stream-json resumes'],
    ...['acp waitsForReady', 'acp ownProcess', 'acp takesPrompts', 'acp cancelsTurns', 'acp asksPermission'],
    'acp reportsUsage',
    ...['acp-v2 waitsForReady', 'acp-v2 ownProcess', 'acp-v2 takesPrompts'],
    ...['acp-v2 cancelsTurns', 'acp-v2 asksPermission'],
    ...['stub takesWishes', 'stub takesPrompts', 'stub cancelsTurns', 'stub asksPermission'],
  ])
})

it('each driver but sdk has a loader in the shim', () => {
  expect(['sdk', ...Object.keys(DRIVES)].sort()).toEqual(Object.keys(DRIVERS).sort())
})
