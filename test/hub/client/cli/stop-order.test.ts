/** In which order the command speaks to the two processes when it ends or restarts them. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createContext } from '../../../../hub/client/cli/context.ts'
import { restartHub, takeDown } from '../../../../hub/client/cli/down.ts'
import { plain } from '../../../../hub/client/cli/text.ts'
import {
  type FakeDoor,
  hubSocketOf,
  makeHome,
  openFakeDoor,
  watchdogSocketOf,
  writeRules,
} from '../../../support/fake-hub.ts'

let home: string
let remove: () => void
let hub: FakeDoor
let watchdog: FakeDoor
let said: string[]
beforeEach(async () => {
  ;({ home, remove } = makeHome())
  writeRules(home)
  hub = await openFakeDoor(hubSocketOf(home))
  watchdog = await openFakeDoor(watchdogSocketOf(home))
  said = []
  const hears = (who: string, door: FakeDoor, path: string) =>
    door.on(`POST ${path}`, ({ body }) => {
      const { kind, exit } = body as { kind?: string; exit?: string }
      said.push(`${who} ${path} ${kind ?? exit ?? ''}`.trim())
      return { body: { path: 'hub', requested: 0, containers: [] } }
    })
  for (const path of ['/v1/shutdown']) hears('hub', hub, path)
  for (const path of ['/v1/announce', '/v1/exit', '/v1/shutdown']) hears('watchdog', watchdog, path)
})
afterEach(async () => {
  await Promise.all([hub.close(), watchdog.close()])
  remove()
})
const context = () =>
  createContext(home, false, {
    out: () => {},
    json: () => {},
    bytes: async () => true,
    note: () => {},
    live: () => {},
    paint: plain,
    interactive: false,
    confirm: async () => true,
  })

it('`hub down` tells the watchdog first and ends it last', async () => {
  await takeDown(context())
  expect(said).toEqual(['watchdog /v1/announce down', 'hub /v1/shutdown down', 'watchdog /v1/exit'])
})

it('`hub restart` announces a restart, asks the hub for no more than that, and leaves the watchdog running', async () => {
  const unused = { name: 'hub', argv: [], log: `${home}/none` } as const
  await restartHub(context(), { hub: unused, watchdog: { ...unused, name: 'watchdog' } })
  expect(said).toEqual(['watchdog /v1/announce restart', 'hub /v1/shutdown restart'])
})
