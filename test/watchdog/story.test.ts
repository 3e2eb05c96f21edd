/** The whole watch with a fake clock, a fake engine and a fake hub, but its real state and alert files. */
import { readdirSync, readFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { createActs } from '../../watchdog/act/act.ts'
import { initState, openState } from '../../watchdog/act/state-file.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import type { Heard, Lease, Session } from '../../watchdog/judge/lease.ts'
import { firstState } from '../../watchdog/judge/state.ts'
import type { Confirmed, HubLine } from '../../watchdog/observe/hub-line.ts'
import { createObserve } from '../../watchdog/observe/observe.ts'
import { type AnyParcel, createAlerts } from '../../watchdog/tell/alerts.ts'
import type { Letter } from '../../watchdog/tell/channels/letter.ts'
import { openOutbox } from '../../watchdog/tell/outbox.ts'
import { createWatch } from '../../watchdog/watch/watch.ts'
import { watchScene } from '../support/watch-scene.ts'
import {
  createFakeEngine,
  createSteerableClock,
  HOUR,
  INSTANCE,
  KEY,
  makeAnswer,
  makeCheckpoint,
  makeContainer,
  makeHome,
  sessionOf,
} from '../support/watchdog-home.ts'

const BY_CLI = { source: 'cli', note: '' }
const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})

function scene(config?: object, send: (letter: Letter) => Promise<void> = async () => {}) {
  const home = makeHome(config)
  homes.push(home)
  const paths = pathsOf(home.home)
  const clock = createSteerableClock()
  const engine = createFakeEngine()
  const hub = {
    up: true,
    sessions: [] as Session[],
    leases: [] as Lease[],
    told: [] as string[],
    onLease: () => {},
    stop: (): readonly Confirmed[] | null => null,
  }
  const line: HubLine = {
    async lease(lease): Promise<Heard> {
      hub.leases.push(lease)
      hub.onLease()
      return hub.up
        ? { kind: 'answer', answer: makeAnswer({ sessions: hub.sessions, mode: lease.demand }) }
        : { kind: 'silent', reason: 'gone' }
    },
    async shutdown(_epoch, { by }) {
      hub.told.push(by)
      return hub.up ? hub.stop() : null
    },
  }
  initState(paths.state, firstState(clock.read(), INSTANCE))
  const settings = parseConfig(config ?? {})
  const start = () => {
    const file = openState(paths.state, clock.read().wallMs)
    if (file.found === null) throw new Error('no state')
    const first = { ...file.found, epoch: file.found.epoch + 1 }
    file.save(first)
    const observe = createObserve(
      { ledger: paths.ledger, checkpointKey: paths.checkpointKey, key: KEY, instance: INSTANCE },
      { clock, engine, hub: line },
    )
    const alerts = createAlerts(
      { file: paths.alerts, instance: INSTANCE, config: settings },
      {
        clock,
        outbox: openOutbox<AnyParcel>(paths.outbox, clock.read().wallMs),
        openPost: ({ kind }) => ({ label: kind, kind, loud: false, deadlineMs: 5_000, deliver: send }),
      },
    )
    const log = { info() {}, warn() {} }
    const acts = createActs(settings, { clock, engine, hub: line })
    return {
      file,
      alerts,
      line,
      watch: createWatch(
        { config: settings, evidence: paths.evidence, checkpointKey: paths.checkpointKey, first },
        { clock, file, observe, acts, alerts, log },
      ),
    }
  }
  const told = () => {
    try {
      return readFileSync(paths.alerts, 'utf8')
        .trim()
        .split('\n')
        .map((text) => JSON.parse(text) as { event: string; finding: string; level: number; text: string })
    } catch {
      return []
    }
  }
  return {
    paths,
    checkpointKey: home.checkpointKey,
    clock,
    engine,
    hub,
    start,
    told,
    short: () => told().map((one) => `${one.event} ${one.finding} ${one.level}`),
  }
}

test('T95: fifty hours without the operator, restarted every hour, end with every container gone and each step told once [watch-1]', async () => {
  const { clock, engine, hub, start, short } = scene()
  let { watch, file } = start()
  const at = new Map<string, number>()
  for (let minute = 0; minute <= 51 * 60; minute += 10) {
    // An agent works all the time; its session is known and its deadline never passes before the stop.
    if (engine.present.size === 0 && hub.told.length === 0) {
      const one = makeContainer(clock.read())
      engine.present.set(one.id, one)
      hub.sessions = [sessionOf(one)]
    }
    for (const one of engine.present.values())
      engine.present.set(one.id, {
        ...one,
        labels: { ...one.labels, 'hub.expires-boot': `${clock.read().bootId}:${clock.read().bootMs + HOUR}` },
      })
    while (await watch.round());
    for (const line of short()) if (!at.has(line)) at.set(line, minute / 60)
    if (minute % 60 === 50) {
      file.close()
      ;({ watch, file } = start())
    }
    clock.move(600_000)
  }
  expect([...at]).toEqual([
    ['raised heartbeat_due 1', 18],
    ['louder heartbeat_due 2', 22],
    ['louder heartbeat_due 3', 24],
    ['raised heartbeat_missed 2', 26],
    ['louder heartbeat_missed 3', 38],
    ['louder heartbeat_missed 4', 48],
    ['raised unattended_stop 1', 50],
  ])
  expect(short()).toHaveLength(7)
  expect(hub.told).toEqual(['unattended'])
  expect(engine.present.size).toBe(0)
  const stray = makeContainer(clock.read())
  engine.present.set(stray.id, stray)
  await watch.round()
  expect(engine.present.size, 'after the stop nothing of ours may run, session or not').toBe(0)
  await watch.round()
  watch.heartbeat(true, BY_CLI)
  await watch.round()
  expect(short().slice(-2)).toEqual(['resolved heartbeat_due 3', 'resolved heartbeat_missed 4'])
  expect(hub.leases.at(-1), 'a heartbeat alone does not end the stop').toMatchObject({
    demand: 'safe',
    conditions: ['unattended_stop'],
  })
  expect(watch.up()).toEqual({ conditions: ['unattended_stop'] })
  await watch.round()
  expect(hub.leases.at(-1), 'nor does `hub up` alone').toMatchObject({ conditions: ['unattended_stop'] })
  watch.heartbeat(true, BY_CLI)
  await watch.round()
  expect(short().at(-1)).toBe('resolved unattended_stop 1')
  expect(hub.leases.at(-1)).toMatchObject({ demand: 'normal', conditions: [] })
  file.close()
})

test('T95: with the hub dead from the first hour the timeline runs all the same, and at the ceiling every container is stopped by its label [presence-7, time-9]', async () => {
  const { clock, engine, hub, start, short, told } = scene({ startGraceMs: 0 })
  const { watch, file } = start()
  await watch.round()
  hub.up = false
  // Longer than the ceiling: nothing but the stop ends it.
  const far = `${clock.read().bootId}:${clock.read().bootMs + 100 * HOUR}`
  const one = makeContainer(clock.read(), {}, { 'hub.expires-boot': far, 'hub.expires-at': String(Date.UTC(2027, 0)) })
  engine.present.set(one.id, one)
  for (let half = 0; half < 104; half += 1) {
    while (await watch.round());
    clock.move(HOUR / 2)
    if (half < 98) expect(engine.present.size, `after ${half / 2} h`).toBe(1)
  }
  expect(engine.present.size).toBe(0)
  expect(short().filter((line) => /hub_health|missed|unattended/.test(line))).toEqual([
    'raised hub_health 1',
    'raised heartbeat_missed 2',
    'louder heartbeat_missed 3',
    'louder heartbeat_missed 4',
    // Announced by the stop itself: that the hub is silent from here on is no news.
    'resolved hub_health 1',
    'raised unattended_stop 1',
  ])
  expect(told().at(-1)?.text).toContain('1 container confirmed gone')
  file.close()
})

test('with the engine silent at the ceiling nobody is told that everything has stopped [time-11]', async () => {
  const { clock, engine, hub, start, told } = scene()
  const { watch, file } = start()
  await watch.round()
  engine.down = true
  hub.up = false
  clock.move(51 * HOUR)
  while (await watch.round());
  const report = told().find(({ finding }) => finding === 'unattended_stop')
  expect(report?.text).toContain('1 could not be confirmed as gone')
  file.close()
})

test('T89: a heartbeat survives kill -9 right after its answer, and one that comes during a round is not lost [presence-19]', async () => {
  const { clock, hub, start } = scene()
  const one = start()
  await one.watch.round()
  clock.move(20 * HOUR)
  hub.onLease = () => void one.watch.heartbeat(true, BY_CLI)
  await one.watch.round()
  hub.onLease = () => {}
  clock.move(7 * HOUR)
  const two = start()
  expect(await two.watch.round()).toBe(false)
  expect(hub.leases.at(-1)).toMatchObject({ demand: 'normal', heartbeatAgeMs: 7 * HOUR })
  clock.move(20 * HOUR)
  await two.watch.round()
  expect(hub.leases.at(-1)?.demand).toBe('safe')
  two.watch.heartbeat(true, BY_CLI)
  const three = start()
  await three.watch.round()
  expect(hub.leases.at(-1)).toMatchObject({ demand: 'normal', heartbeatAgeMs: 0 })
  for (const each of [one, two, three]) each.file.close()
})

test('T91: the epoch rises with every start and is in the first lease', async () => {
  const { hub, start } = scene()
  for (let turn = 0; turn < 3; turn += 1) {
    const { watch, file } = start()
    await watch.round()
    file.close()
  }
  const epochs = hub.leases.map((lease) => lease.epoch)
  expect(epochs).toEqual([0, 1, 2].map((more) => (epochs[0] ?? 0) + more))
})

test('a deadline that passes is in the lease of the round that sees it', async () => {
  const { clock, hub, start } = scene()
  const { watch, file } = start()
  clock.move(26 * HOUR)
  await watch.round()
  expect(hub.leases).toMatchObject([{ demand: 'safe', conditions: ['heartbeat_missed'] }])
  file.close()
})

test('shutdown says by which path: the hub, the watchdog for what the hub left or when it is dead; a stubborn container is failed, not gone [stop-45, stop-48]', async () => {
  const { clock, engine, hub, start } = scene()
  const { watch, file } = start()
  const add = () => {
    const one = makeContainer(clock.read())
    engine.present.set(one.id, one)
    return one
  }
  const a = add()
  hub.stop = () => {
    engine.present.delete(a.id)
    return [{ container: a.name, outcome: 'gone' }]
  }
  expect(await watch.shutdown('test', 'operator')).toEqual({
    path: 'hub',
    requested: 1,
    containers: [{ container: a.name, outcome: 'gone' }],
  })
  expect(await watch.shutdown('test', 'operator'), 'idempotent').toMatchObject({ requested: 1 })
  hub.stop = () => []
  const b = add()
  expect(await watch.shutdown('test', 'operator'), 'the hub forgot one').toEqual({
    path: 'watchdog',
    requested: 1,
    containers: [{ container: b.name, outcome: 'gone' }],
  })
  hub.up = false
  const [c, d] = [add(), add()]
  engine.stubborn.add(d.id)
  const stopped = await watch.shutdown('test', 'operator')
  expect(stopped).toMatchObject({ path: 'watchdog', requested: 2 })
  expect(stopped.containers).toContainEqual({ container: c.name, outcome: 'gone' })
  expect(stopped.containers).toContainEqual({ container: d.name, outcome: 'failed', reason: 'it will not die' })
  file.close()
})

test('fault A11: a lease goes out while the round waits for the engine, and carries a deadline that passed meanwhile', async () => {
  const { clock, engine, hub, start } = scene()
  const { watch, line } = start()
  let goOn = () => {}
  engine.list = () =>
    new Promise((_resolve, reject) => {
      goOn = () => reject(new Error('it stalled'))
    })
  const round = watch.round()
  await new Promise((resolve) => setImmediate(resolve))
  expect(hub.leases).toEqual([])
  await watch.renew(line.lease)
  clock.move(27 * HOUR)
  await watch.renew(line.lease)
  expect(hub.leases.map(({ demand }) => demand)).toEqual(['normal', 'safe'])
  expect(hub.leases[1]?.conditions).toContain('heartbeat_missed')
  goOn()
  await round
})

test('T93, T98: a dead engine and a dead mail channel end no round; the mail that fails is told in the file [watch-13, watch-27]', async () => {
  const letters: string[] = []
  let refuse = true
  const { clock, engine, hub, start, short } = scene(
    {
      startGraceMs: 0,
      channels: [{ kind: 'file' }, { kind: 'email', host: 'mail.invalid', from: 'a@example.org', to: 'b@example.org' }],
    },
    async (letter) => {
      if (refuse) throw new Error('refused')
      letters.push(letter.subject)
    },
  )
  const { watch, file, alerts } = start()
  engine.down = true
  hub.up = false
  for (let turn = 0; turn < 6; turn += 1) {
    clock.move(30_000)
    await watch.round()
    await alerts.settled()
  }
  expect(short()).toEqual(
    expect.arrayContaining(['raised hub_health 1', 'raised engine_unavailable 1', 'raised channel_failing 1']),
  )
  expect(await watch.shutdown('test', 'operator'), 'silence proves nothing').toEqual({
    path: 'watchdog',
    requested: 0,
    containers: [],
    unproven: 'the engine is down',
  })
  refuse = false
  engine.down = false
  hub.up = true
  for (let turn = 0; turn < 3; turn += 1) {
    clock.move(300_000)
    await watch.round()
    await alerts.settled()
  }
  expect(short()).toEqual(expect.arrayContaining(['resolved hub_health 1', 'resolved channel_failing 1']))
  expect(letters[0]).toMatch(/^hub watchdog, warning: /)
  file.close()
})

test('T97: what the contact or --emergency stopped is in every lease, over restarts and heartbeats, until the operator resumes [watch-4, stop-23]', async () => {
  const { clock, engine, hub, start, short } = scene()
  const one = start()
  await one.watch.round()
  expect(hub.leases.at(-1)).toMatchObject({ conditions: [], stopId: 0 })
  const gone = makeContainer(clock.read())
  engine.present.set(gone.id, gone)
  expect(await one.watch.shutdown('smoke', 'contact')).toMatchObject({ requested: 1 })
  expect(hub.told).toEqual(['contact'])
  // Killed right after its answer: the next one knows.
  const two = start()
  await two.watch.round()
  const { stopId } = hub.leases.at(-1) ?? {}
  expect(hub.leases.at(-1)).toMatchObject({
    demand: 'safe',
    conditions: ['emergency_stop'],
    stopId: expect.any(Number),
  })
  two.watch.heartbeat(true, BY_CLI)
  clock.reboot(3 * HOUR)
  await two.watch.round()
  expect(hub.leases.at(-1)).toMatchObject({ demand: 'safe', conditions: ['emergency_stop'], stopId })
  const stray = makeContainer(clock.read())
  engine.present.set(stray.id, stray)
  await two.watch.round()
  expect(engine.present.size, 'while it holds nothing of ours may run').toBe(0)
  expect(two.watch.resume()).toEqual({ ended: true, stopId })
  const three = start()
  await three.watch.round()
  expect(hub.leases.at(-1)).toMatchObject({ demand: 'normal', conditions: [], stopId })
  expect(three.watch.resume()).toEqual({ ended: false, stopId })
  expect(short().filter((line) => line.includes('emergency'))).toEqual([
    'raised emergency_stop 1',
    'resolved emergency_stop 1',
  ])
  for (const each of [one, two, three]) each.file.close()
})

test('every stop has an id of its own, a plain one leaves no condition, and an announced one is remembered as if it was made here', async () => {
  const { hub, start } = scene()
  const { watch, file } = start()
  const ids: number[] = []
  const look = async () => {
    await watch.round()
    const { stopId, conditions } = hub.leases.at(-1) ?? { stopId: 0, conditions: [] }
    ids.push(stopId)
    return conditions
  }
  await watch.shutdown('test', 'operator')
  expect(await look()).toEqual([])
  watch.announce('shutdown', 1000)
  expect(await look()).toEqual([])
  expect(ids[1], 'the hub holds its tasks itself').toBe(ids[0])
  watch.announce('shutdown', 1000, 'operator')
  expect(await look()).toEqual([])
  watch.announce('shutdown', 1000, 'emergency')
  expect(await look()).toEqual(['emergency_stop'])
  expect(new Set(ids).size).toBe(3)
  expect(ids).toEqual([...ids].sort((a, b) => a - b))
  file.close()
})

test('a hub that takes no lease is not waited for, one that does gets the condition with it before it is told to stop (T88) [stop-44]', async () => {
  const { clock, engine, hub, start } = scene()
  const { watch, file } = start()
  const one = makeContainer(clock.read())
  engine.present.set(one.id, one)
  hub.up = false
  expect(await watch.shutdown('test', 'emergency')).toMatchObject({ path: 'watchdog', requested: 1 })
  expect(hub.told).toEqual([])
  hub.up = true
  hub.stop = () => []
  let atLease: readonly string[] = []
  hub.onLease = () => {
    atLease = hub.leases.at(-1)?.conditions ?? []
    expect(hub.told).toEqual([])
  }
  expect(await watch.shutdown('test', 'emergency')).toMatchObject({ path: 'hub', requested: 0 })
  expect([atLease, hub.told]).toEqual([['emergency_stop'], ['emergency']])
  file.close()
})

test('what a stop has confirmed so far can be asked for while it goes on, and nothing once it is over', async () => {
  const { clock, engine, hub, start } = scene()
  const { watch, file } = start()
  const present = [makeContainer(clock.read()), makeContainer(clock.read())]
  for (const one of present) engine.present.set(one.id, one)
  hub.up = false
  const seen: unknown[] = []
  const stop = engine.stop
  engine.stop = async (id, graceMs) => {
    seen.push(watch.status().stopping)
    if (id === present[1]?.id) await new Promise((resolve) => setTimeout(resolve, 20))
    if (id === present[1]?.id) seen.push(watch.status().stopping)
    return stop(id, graceMs)
  }
  await watch.shutdown('test', 'operator')
  expect(seen).toEqual([
    { requested: 2, confirmed: 0 },
    { requested: 2, confirmed: 0 },
    { requested: 2, confirmed: 1 },
  ])
  expect(watch.status().stopping).toBeNull()
  file.close()
})

test('the last head of a hub that ends is witnessed; one that does not fit is a mismatch, with its evidence kept (T100) [watch-51, watch-52]', async () => {
  const { start, checkpointKey, paths } = scene()
  const { watch, file } = start()
  const first = makeCheckpoint(checkpointKey, 10, 'a'.repeat(64), null)
  const second = makeCheckpoint(checkpointKey, 20, 'b'.repeat(64), first)
  expect(watch.witness({ auditSize: 20, auditHead: 'b'.repeat(64), checkpoints: [first, second] })).toBe('accepted')
  expect(watch.status().witness).toEqual({ size: 20, head: 'b'.repeat(64) })
  expect(watch.witness({ auditSize: 10, auditHead: 'a'.repeat(64), checkpoints: [first] })).toBe('mismatch')
  expect(watch.status().conditions).toEqual(['witness_mismatch'])
  expect(readdirSync(paths.evidence)).toHaveLength(1)
  file.close()
})

test('T94: a watchdog that was stopped between what it saw and its judgement takes no clock for set back', async () => {
  const { remove, clock, engine, start, told } = watchScene()
  homes.push({ remove })
  const { watch } = start()
  await watch.round()
  // The last thing that is looked at in a round; the process stands still right after the clock was read.
  engine.disagreement = () => {
    clock.sleep(20_000)
    return null
  }
  await watch.round()
  expect(told().filter((line) => line.includes('clock_fault'))).toEqual([])
})
