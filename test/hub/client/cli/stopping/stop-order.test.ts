/** In which order the command speaks to the two processes when it ends or restarts them. */
import { expect, it } from 'vitest'
import { createContext } from '../../../../../hub/client/cli/context.ts'
import { restartHub, takeDown } from '../../../../../hub/client/cli/setup/down.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { type FakeDoor, writeRules } from '../../../../support/fake-hub.ts'
import { fakeTerminal } from '../../../../support/fake-terminal.ts'

let said: string[]
const at = commandHome(() => {
  writeRules(at.home)
  said = []
  const hears = (who: string, door: FakeDoor, path: string) =>
    door.on(`POST ${path}`, ({ body }) => {
      const { kind, exit } = body as { kind?: string; exit?: string }
      said.push(`${who} ${path} ${kind ?? exit ?? ''}`.trim())
      return { body: { path: 'hub', requested: 0, containers: [] } }
    })
  for (const path of ['/v1/shutdown']) hears('hub', at.hub, path)
  for (const path of ['/v1/announce', '/v1/exit', '/v1/shutdown']) hears('watchdog', at.watchdog, path)
}, true)
const context = () => createContext(at.home, false, fakeTerminal())

it('`hub down` tells the watchdog first and ends it last [stop-13]', async () => {
  await takeDown(context())
  expect(said).toEqual(['watchdog /v1/announce down', 'hub /v1/shutdown down', 'watchdog /v1/exit'])
})

it('`hub restart` announces a restart, asks the hub for no more than that, and leaves the watchdog running [stop-3]', async () => {
  const unused = { name: 'hub', argv: [], log: `${at.home}/none` } as const
  await restartHub(context(), { hub: unused, watchdog: { ...unused, name: 'watchdog' } })
  expect(said).toEqual(['watchdog /v1/announce restart', 'hub /v1/shutdown restart'])
})
