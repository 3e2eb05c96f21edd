/** S1-29, docs/safety.md 1, 3 and 6: what the backup contact hears in the whole story, over restarts, and what never. */
import { afterEach, expect, test } from 'vitest'
import type { Watch } from '../../watchdog/watch/watch.ts'
import { type WatchScene, watchScene } from '../support/watch-scene.ts'
import { HOUR, makeAnswer, makeContainer } from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})

const SAID = { note: '', source: 'cli' }
const MAIL = { kind: 'email', host: 'mail.example.org', from: 'o@example.org', to: 'c@example.org' }
const PUSH = { kind: 'push', url: 'https://ntfy.example.org/c' }
/** It is Monday 5 January 2026, 09:00 in London when a scene begins. */
const CONFIG = {
  zone: 'Europe/London',
  operator: { name: 'Olga', phone: '+44 20 7946 0000' },
  contact: { name: 'Carl', channels: [MAIL, PUSH], quiet: '22:00-08:00' },
  channels: [{ kind: 'file' }, MAIL],
}

function scene(over: object = {}): WatchScene {
  const made = watchScene({ ...CONFIG, ...over })
  homes.push(made)
  return made
}

/** Rounds every 10 minutes for `hours`, a restart every hour; what Carl heard, with the hour of the story. */
async function live(at: WatchScene, from: number, hours: number, during?: (minute: number, watch: Watch) => void) {
  const heard: string[] = []
  let one = at.start()
  for (let minute = from * 60; minute < (from + hours) * 60; minute += 10) {
    during?.(minute, one.watch)
    await one.watch.round()
    await one.alerts.settled()
    for (const line of at.came('C')) heard.push(`${Math.round(minute / 6) / 10} ${line}`)
    if (minute % 60 === 50) {
      one.file.close()
      one = at.start()
    }
    at.clock.move(600_000)
  }
  return { heard, ...one }
}

test('S1-29: fifty hours of absence: entry, two reminders and the final report by mail at once and by push after quiet hours, each once; then silence, and one all-clear [time-16]', async () => {
  const at = scene()
  const { heard, watch, alerts } = await live(at, 0, 80)
  expect(heard).toEqual([
    '26 C email: Olga has not checked in: please call, nothing else is needed',
    '26 C push: Olga has not checked in: please call, nothing else is needed',
    '38 C email: Olga has still not checked in',
    // 38 h is 23:00: the push waits for 08:00, and by then it says what is so then.
    '47 C push: Olga has still not checked in',
    '48 C email: Olga has still not checked in',
    '48 C push: Olga has still not checked in',
    '50.2 C email: Everything has stopped by itself; this is the last message',
    '50.2 C push: Everything has stopped by itself; this is the last message',
  ])
  watch.up()
  watch.heartbeat(true, SAID)
  await watch.round()
  await alerts.settled()
  expect(at.came('C')).toEqual(['C email: All clear: Olga is back', 'C push: All clear: Olga is back'])
  await watch.round()
  await alerts.settled()
  expect(at.came('C')).toEqual([])
})

test('S1-29: an operator who comes back before Carl wakes up: the push that waited says nothing at all, the mail says all clear [time-19, contact-37]', async () => {
  // 26 h after 21:30 is 23:30.
  const at = scene()
  at.clock.move(12.5 * HOUR)
  const begin = at.start()
  begin.watch.heartbeat(true, SAID)
  begin.file.close()
  const { heard, watch, alerts, file } = await live(at, 0, 27)
  expect(heard).toEqual(['26 C email: Olga has not checked in: please call, nothing else is needed'])
  watch.heartbeat(true, SAID)
  await watch.round()
  await alerts.settled()
  expect(at.came('C')).toEqual(['C email: All clear: Olga is back'])
  file.close()
  const { heard: later } = await live(at, 0, 12)
  expect(later).toEqual([])
})

test('a sign of life in safe mode is told to Carl once per step, however often an automation sends it [presence-16]', async () => {
  const at = scene({ contact: { name: 'Carl', channels: [MAIL] } })
  const { heard } = await live(at, 0, 60, (minute, watch) => {
    if (minute >= 28 * 60 && minute % 60 === 0) watch.heartbeat(false, { note: '', source: 'webhook' })
  })
  expect(heard).toEqual([
    '26 C email: Olga has not checked in: please call, nothing else is needed',
    '28 C email: Olga has checked in; nothing to do',
  ])
})

test('T98: while no channel of Carl takes the message, Olga is told so, and Carl gets it once one does [watch-14]', async () => {
  const at = scene()
  at.refuses.add('C email').add('C push')
  const { heard, watch, alerts } = await live(at, 0, 29)
  expect(heard).toEqual([])
  expect(at.told()).toEqual(expect.arrayContaining(['raised channel_failing 1', 'raised contact_unreachable 1']))
  at.refuses.clear()
  at.clock.move(600_000)
  await watch.round()
  await alerts.settled()
  expect(at.came('C')).toHaveLength(2)
  await watch.round()
  expect(at.told().slice(-2)).toEqual(['resolved channel_failing 1', 'resolved contact_unreachable 1'])
})

test('a planned absence is one short note; coming back from it in time is none, staying away too long is the usual path [away-8]', async () => {
  const at = scene({ contact: { name: 'Carl', channels: [MAIL] } })
  const first = at.start()
  await first.watch.round()
  const untilMs = at.clock.read().wallMs + 30 * HOUR
  expect(typeof first.watch.away({ untilMs, keepWorking: false }, { note: 'hiking', source: 'cli' })).toBe('object')
  first.file.close()
  const { heard, watch, alerts } = await live(at, 0, 33)
  expect(heard).toEqual([
    '0 C email: Olga is away as planned; nothing to do',
    '32 C email: Olga has not checked in: please call, nothing else is needed',
  ])
  watch.heartbeat(true, SAID)
  await watch.round()
  await alerts.settled()
  expect(at.came('C')).toEqual(['C email: All clear: Olga is back'])
})

test('what an agent or a fault of the machine causes never reaches Carl; a critical alert does, at once and by night [time-17, alert-9, alert-17]', async () => {
  const at = scene({ startGraceMs: 0 })
  at.clock.move(14 * HOUR)
  const { watch, alerts } = at.start()
  const stray = makeContainer(at.clock.read(), { createdAtMs: 0 })
  at.engine.present.set(stray.id, stray)
  at.engine.stubborn.add(stray.id)
  at.hub.answer = () => ({ kind: 'silent', reason: 'gone' })
  const rounds = async (count: number) => {
    for (let turn = 0; turn < count; turn += 1) {
      at.clock.move(30_000)
      await watch.round()
      await alerts.settled()
    }
  }
  await rounds(4)
  expect(at.told()).toContain('raised hub_health 1')
  expect(at.came('C')).toEqual([])
  at.hub.answer = () => ({ kind: 'answer', answer: makeAnswer({ sessions: [] }) })
  await rounds(6)
  expect(at.told()).toContain('louder orphan 2')
  const warned = 'A serious warning about the assistants of Olga'
  expect(at.came('C')).toEqual([`C email: ${warned}`, `C push: ${warned}`])
  at.engine.stubborn.clear()
  await rounds(2)
  expect(at.came('C')[0]).toBe('C email: All clear: the matter is settled')
  at.engine.present.set(stray.id, stray)
  at.engine.stubborn.add(stray.id)
  await rounds(6)
  expect(at.came('C'), 'the same cause again within six hours').toEqual([])
})

test('a critical alert by which the hub holds safe mode is told to Carl through the watchdog [alert-9]', async () => {
  const at = scene()
  const { watch, alerts } = at.start()
  at.hub.answer = () => ({ kind: 'answer', answer: makeAnswer({ mode: 'safe', conditions: ['critical_alert'] }) })
  for (let turn = 0; turn < 3; turn += 1) {
    at.clock.move(30_000)
    await watch.round()
    await alerts.settled()
  }
  expect(at.came('C')).toHaveLength(2)
})

test('S1-29: killed between telling and remembering, and back again before the next round: Carl hears it once, and the all-clear', async () => {
  const at = scene({ contact: { name: 'Carl', channels: [MAIL] } })
  const dies = { now: false }
  const first = at.start(dies)
  await first.watch.round()
  at.clock.move(26 * HOUR)
  dies.now = true
  await first.watch.round()
  dies.now = false
  first.file.close()
  expect(at.came('C'), 'nothing is sent before it is remembered').toEqual([])
  const { watch, alerts, file } = at.start(dies)
  watch.heartbeat(true, SAID)
  await watch.round()
  await alerts.settled()
  expect(at.came('C')).toEqual([
    'C email: Olga has not checked in: please call, nothing else is needed',
    'C email: All clear: Olga is back',
  ])
  await watch.round()
  await alerts.settled()
  expect(at.came('C')).toEqual([])
  file.close()
})
