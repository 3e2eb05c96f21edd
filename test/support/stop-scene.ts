/** The watchdog's own doors with the backup contact's side behind them: a fake engine with twelve containers, and a watch whose stop ends on word. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import { openContactEntrance } from '../../watchdog/door/contact.ts'
import { digestOfWords } from '../../watchdog/door/contact-card.ts'
import { openDoors } from '../../watchdog/door/door.ts'
import type { Watch } from '../../watchdog/watch/watch.ts'
import { freePort } from './free-port.ts'
import { pressWith, send } from './plain-http.ts'
import { createFakeEngine, createSteerableClock, makeContainer, makeHome } from './watchdog-home.ts'

export const WORDS = 'able-bacon-cabin-dad-eager-fabric-gain-habit-icon-jar-keen-label'
export const INSTANCE = '11111111-2222-4333-8444-555555555555'
export const OTHER = WORDS.split('-').reverse().join('-')
export const cardOf = (words: string, expiresAtMs: number | null = null) => ({
  digest: digestOfWords(words),
  name: 'Bea',
  operator: 'Ada',
  madeAtMs: 1,
  expiresAtMs,
})

/** `kept`: what `contact.json` holds at the start. */
export async function scene(config: object = {}, kept?: string) {
  const home = makeHome()
  const paths = pathsOf(home.home)
  if (kept !== undefined) writeFileSync(paths.contact, kept)
  const port = await freePort()
  const settings = parseConfig({ port, ...config })
  const clock = createSteerableClock()
  const engine = createFakeEngine()
  const stops: string[] = []
  const logged: string[] = []
  let held = false
  let finish = () => {}
  const watch = {
    roundAgeMs: () => 0,
    status: () => ({ conditions: held ? ['emergency_stop'] : [], heartbeat: { stopInMs: 3_600_000 } }),
    async shutdown(reason: string) {
      stops.push(reason)
      held = true
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      for (const [id] of engine.present) if (!engine.stubborn.has(id)) engine.present.delete(id)
      return { path: 'watchdog', requested: 0, containers: [] }
    },
  } as unknown as Watch
  const log = {
    info: () => {},
    warn: (fields: object, text: string) => void logged.push(JSON.stringify([fields, text])),
  }
  const { side, stop, own } = openContactEntrance(
    { paths, config: settings, instance: INSTANCE },
    { clock, engine, watch, log, random: randomBytes },
  )
  const doors = await openDoors(
    { socket: paths.socket, port, staleMs: 1000 },
    { watch, alertTest: async () => ({ channels: [] }), wake: () => {}, exit: () => {}, contact: side, stop },
  )
  for (let count = 0; count < 12; count += 1) {
    const one = makeContainer(clock.read())
    engine.present.set(one.id, one)
  }
  const ask = (method: string, path: string, headers: Record<string, string> = {}, body?: string) =>
    send(port, { method, path, headers, ...(body === undefined ? {} : { body }) })
  /** As a browser presses the button: with the one-time field of the page that it was shown. */
  const press = (path: string, headers: Record<string, string> = {}, fields: Record<string, string> = {}) =>
    pressWith(ask, path, headers, fields)
  const contact = async (body: object) => {
    const reply = await exchange(createSystemClock(), {
      socketPath: paths.socket,
      method: 'POST',
      path: '/v1/contact',
      body: JSON.stringify(body),
      deadlineMs: 60_000,
      bytesMax: 1e5,
    })
    const said: Record<string, unknown> = JSON.parse(reply.body.toString())
    return { ...said, status: reply.status } as Record<string, unknown>
  }
  return {
    paths,
    own,
    port,
    clock,
    engine,
    stops,
    logged,
    ask,
    press,
    contact,
    close() {
      doors.close()
      home.remove()
    },
    finish: () => finish(),
    resume: () => {
      held = false
    },
  }
}
