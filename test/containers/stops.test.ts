/**
 * Every way to stop everything, on a real hub, a real watchdog and the real engine: with each of them up, hung or dead. After each
 * the engine is asked, not the answer: nothing of ours may be left (X1, I4, I6), and what was at work comes back held (docs/safety.md 5).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { StopView } from '../../hub/client/answers.ts'
import { type ContainerHome, hasEnded, openContainerHome, type Task, until } from '../support/container-home.ts'
import { ask } from '../support/hub-harness.ts'
import { load, spyImage } from '../support/spy-image.ts'

const card = {
  name: 'deaf',
  description: 'Hangs',
  image: 'hub-test/spy',
  run: ['node', '/app/test/support/images/spy/main.js'],
  repeatable: true,
  limits: { ttl: '5m', memory: '128MiB' },
}

let home: ContainerHome
beforeAll(() => load([spyImage()]))
afterEach(() => home?.close())

const open = async (env: Record<string, string> = {}) => {
  home = await openContainerHome({
    cards: [card],
    config: { shutdownTimeout: '3s' },
    watchdog: { startGraceMs: 0, stopGraceMs: 1000 },
    env,
  })
}
const two = async () =>
  [await home.place('deaf', { what: 'idle' }), await home.place('deaf', { what: 'idle' })] as const
const left = async () => (await home.engine.list(home.instance)).length
/** Asked of the hub alone: `hub status` would wait for a watchdog that hangs. */
const mode = async () => {
  const asked = ask(join(home.home, 'run', 'operator.sock'), 'GET', '/healthz', undefined, {})
  const { body } = await asked.catch(() => ({ body: {} }))
  return body as { mode?: string; conditions?: { name: string }[] }
}
/** Of a hub that answers; one that starts does so in a moment. */
const conditions = async () => {
  const { conditions: all = [] } = await until('the hub answers', mode, (answer) => answer.mode !== undefined)
  return all.map(({ name }) => name)
}
/** It holds now, and nothing else does but for a moment: a busy machine is late now and then. */
async function stays(name: string, why = name) {
  expect(await conditions(), why).toContain(name)
  await until(`${why}: it alone`, conditions, (names) => names.join() === name)
}
const normal = () => until('normal mode', mode, (answer) => answer.mode === 'normal')
const signal = (name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT', ...pids: number[]) => {
  for (const pid of pids) process.kill(pid, name)
}
const ended = (pid: number) => until('the process is gone', () => hasEnded(pid), Boolean)
const told = () => {
  const file = join(home.home, 'watchdog', 'alerts.log')
  return existsSync(file)
    ? [...readFileSync(file, 'utf8').matchAll(/"event":"(\w+)","finding":"(\w+)"/g)].map((m) => `${m[1]} ${m[2]}`)
    : []
}

async function shutdown(...words: string[]): Promise<StopView & { code: number | null; stderr: string }> {
  const { code, stdout, stderr } = await home.hub('shutdown', '--yes', '--json', ...words)
  if (stdout === '') throw new Error(stderr)
  return { ...(JSON.parse(stdout) as StopView), code, stderr }
}
/** Started again, each of these is held, although its card says that it may be repeated. */
async function heldAgain(...tasks: string[]) {
  await until('a lease has been taken', conditions, (names) => !names.includes('lease_pending'))
  for (const id of tasks) {
    const { task } = await home.json<{ task: Task }>('task', 'show', id)
    expect(task).toMatchObject({ state: 'queued', held: true })
  }
  // The canary of this start passes by; nothing else comes.
  await until('nothing is left', left, (count) => count === 0)
}

describe('hub shutdown', () => {
  test('S0-15: by the hub: all confirmed, nobody alarmed, it stays down, and its log is emptied into the database [stop-18, stop-19]', async () => {
    await open()
    await two()
    const view = await shutdown()
    expect(view).toMatchObject({ path: 'hub', requested: 2, code: 0 })
    expect(view.containers.every(({ outcome }) => outcome !== 'failed')).toBe(true)
    expect(view.stderr).toMatch(/stopping: \d of 2 confirmed/)
    expect(await left()).toBe(0)
    await ended(home.hubPid)
    expect(existsSync(join(home.home, 'stay-down', 'hub'))).toBe(true)
    expect(existsSync(join(home.home, 'hub.db-wal'))).toBe(false)
    // Rounds without the hub, announced: the clock of presence stands, and nothing is an alarm.
    const paused = () => home.json<{ watchdog: { heartbeat: { paused: boolean } } }>('status')
    await until('the presence clock is paused', paused, ({ watchdog }) => watchdog.heartbeat.paused)
    await sleep(3000)
    expect(told()).toEqual([])
  })

  test('T88: with the hub hung it is not waited for; the watchdog stops everything by label, and the hung process is ended [mode-16, stop-44]', async () => {
    await open()
    const [one, other] = await two()
    signal('SIGSTOP', home.hubPid)
    const before = performance.now()
    const view = await shutdown()
    expect(view).toMatchObject({ path: 'watchdog', requested: 2, code: 0 })
    expect(performance.now() - before).toBeLessThan(60_000)
    expect(await left()).toBe(0)
    await ended(home.hubPid)
    await home.startHub()
    await heldAgain(one.task, other.task)
  })

  test('T87: with the hub dead the watchdog does it, a container that is paused included [stop-45, stop-49]', async () => {
    await open()
    const [one, other] = await two()
    await home.engineCall('POST', `/containers/${one.containerId}/pause`)
    signal('SIGKILL', home.hubPid)
    expect(await shutdown()).toMatchObject({ path: 'watchdog', requested: 2, code: 0 })
    expect(await left()).toBe(0)
    expect(await shutdown(), 'asked again').toMatchObject({ path: 'watchdog', requested: 0, code: 0 })
    await home.startHub()
    await heldAgain(one.task, other.task)
  })

  test.each([
    ['hung', 'SIGSTOP'],
    ['dead', 'SIGKILL'],
  ] as const)(
    'T89: with the watchdog %s the hub does it, and waits for it no longer than it must [stop-46]',
    async (_how, how) => {
      await open()
      const [one, other] = await two()
      signal(how, home.watchdogPid)
      if (how === 'SIGKILL') await ended(home.watchdogPid)
      const before = performance.now()
      const view = await shutdown()
      expect(view).toMatchObject({ path: 'hub', requested: 2, code: 0 })
      expect(view.containers.every(({ outcome }) => outcome !== 'failed')).toBe(true)
      expect(view.stderr).toContain('the watchdog was not told')
      expect(performance.now() - before).toBeLessThan(60_000)
      expect(await left()).toBe(0)
      if (how === 'SIGSTOP') signal('SIGKILL', home.watchdogPid)
      await ended(home.watchdogPid)
      await home.startWatchdog()
      await home.startHub()
      await heldAgain(one.task, other.task)
    },
  )

  test('T97: with both dead --emergency does it from the command, leaves the order, and both obey it when they start, until `hub resume` [stop-47]', async () => {
    await open()
    const [one, other] = await two()
    signal('SIGKILL', home.hubPid, home.watchdogPid)
    const without = await home.hub('shutdown', '--yes')
    expect([without.code, without.stderr.includes('`hub shutdown --emergency`')]).toEqual([4, true])
    expect(await left()).toBe(2)
    expect(await shutdown('--emergency')).toMatchObject({ path: 'command', requested: 2, code: 0 })
    expect(await left()).toBe(0)

    await home.startHub()
    expect(await conditions()).toContain('emergency_stop')
    await home.startWatchdog()
    await heldAgain(one.task, other.task)
    await stays('emergency_stop')
    const dog = () => home.json<{ watchdog: { conditions: string[] } }>('status')
    expect((await dog()).watchdog.conditions).toEqual(['emergency_stop'])
    expect((await home.hub('heartbeat')).code).toBe(0)
    await stays('emergency_stop', 'a heartbeat alone does not end it')
    expect((await home.hub('submit', 'deaf')).code).toBe(3)
    expect((await home.hub('resume')).code).toBe(0)
    await normal()
    // A lease that was on its way does not bring it back.
    await sleep(1500)
    expect([...(await conditions()), ...(await dog()).watchdog.conditions]).not.toContain('emergency_stop')
    await until('nothing holds', conditions, (names) => names.length === 0)
    expect((await dog()).watchdog.conditions).toEqual([])
  })

  test('by the hub with --emergency: the process ends with a code of its own, and hub and watchdog both hold it [stop-25]', async () => {
    await open()
    const [one] = await two()
    const code = home.ended('hub')
    expect(await shutdown('--emergency')).toMatchObject({ path: 'hub', requested: 2, code: 0 })
    expect(await code).toBe(11)
    expect(existsSync(join(home.home, 'stay-down', 'hub')), 'the next boot answers reads and holds').toBe(false)
    await home.startHub()
    await heldAgain(one.task)
    await stays('emergency_stop')
  })

  test('hub down: both ended, nothing left, nobody alarmed, and neither is started again by a service manager [stop-11, stop-15]', async () => {
    await open()
    await two()
    expect((await home.hub('down')).code).toBe(0)
    await ended(home.hubPid)
    await ended(home.watchdogPid)
    expect([await left(), told()]).toEqual([0, []])
    for (const part of ['hub', 'watchdog']) expect(existsSync(join(home.home, 'stay-down', part))).toBe(true)
  })
})

test('hub drill stops one canary by the hub and one by the watchdog, and no other container [stop-54]', async () => {
  await open()
  const other = await home.place('deaf', { what: 'idle' })
  type View = { ok: boolean; skipped: string | null; steps: { name: string; ok: boolean; detail: string }[] }
  // A machine that is busy enough degrades the hub for a moment, and then no drill is run.
  const drill = async () => {
    await normal()
    const { code, stdout } = await home.hub('drill', '--json')
    return { code, view: JSON.parse(stdout) as View }
  }
  const { code, view } = await until('a drill is run', drill, ({ view: { skipped } }) => skipped === null)
  expect(view.steps.filter(({ ok }) => !ok)).toEqual([])
  expect([code, view.ok]).toEqual([0, true])
  expect((await home.engine.list(home.instance)).map(({ id }) => id)).toEqual([other.containerId])
  await normal()
})

test('T90: with both dead the host timer removes what is past its deadline, by the labels alone, and leaves the others', async () => {
  await open()
  const live = await home.place('deaf', { what: 'idle' })
  const late = await home.place('deaf', { what: 'wedge' }, '--ttl', '25s')
  // Its one thread stands still: not even its own shim ends it.
  const said = async () => (await home.door.call('task.logs', { id: late.task })).lines
  await until('it is at work', said, (lines) => JSON.stringify(lines).includes('about to try: wedge'))
  signal('SIGKILL', home.hubPid, home.watchdogPid)
  const reap = () => {
    const script = join(import.meta.dirname, '../../scripts/systemd/reaper.ts')
    return spawnSync(process.execPath, [script, '--home', home.home, '--grace-ms', '0'], { encoding: 'utf8' })
  }
  expect(reap()).toMatchObject({ status: 0, stdout: '' })
  await sleep(Math.max(0, late.expiresAtMs - Date.now()) + 500)
  const { status, stdout } = reap()
  expect([status, stdout.match(/removed hub-/g)?.length]).toEqual([0, 1])
  const here = await home.engine.list(home.instance)
  expect(here.map(({ id }) => id)).toEqual([live.containerId])
})
