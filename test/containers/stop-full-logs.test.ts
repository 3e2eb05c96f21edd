/**
 * Every way to stop with real containers, on a home that is full to its last byte, its log files too (faults B1, F1, T80, X1): started as
 * `hub up` starts both, and as their units do, with a pipe for a log that is full and that nobody reads. After each way the engine is asked,
 * and whoever lives says so in its log as soon as there is room. In scripts/test each way by one of the two starts; with HUB_TEST_LONG both.
 */
import { writeFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { asUnits, byHubUp, logOf, openDisk, type Part, type StartedAs } from '../support/started-as.ts'
import { hasEnded, openStopHome, type StopHome, until } from '../support/stop-home.ts'

vi.setConfig({ testTimeout: 1_200_000 })
/** Above what the hub calls a low disk; what is not written costs nothing. */
const DISK_BYTES = 400 * 1024 ** 2
const PARTS: readonly Part[] = ['hub', 'watchdog']

interface Scene {
  home: StopHome
  words: string
  pids: Readonly<Record<Part, number>>
}
interface Way {
  act: (scene: Scene) => Promise<unknown>
  answer: unknown
  lives: readonly Part[]
  /** Nothing is to end: the next start takes both over. */
  keeps?: true
}
const code = async (home: StopHome, ...words: string[]) => (await home.hub(...words)).code
const page = async ({ home, words }: Scene, at: Part) => {
  await home.page(at, 'POST', words)
  return until(
    'the page says so',
    () => home.page(at, 'GET', words),
    (word) => !word.startsWith('stopping'),
  )
}
const WAYS: Readonly<Record<string, Way>> = {
  'hub shutdown': {
    act: ({ home }) => home.shutdown(),
    answer: expect.objectContaining({ path: 'hub', requested: 2, code: 0 }),
    lives: ['watchdog'],
  },
  'hub shutdown, the hub stopped dead': {
    async act({ home, pids }) {
      home.signal('SIGSTOP', pids.hub)
      return home.shutdown()
    },
    answer: expect.objectContaining({ path: 'watchdog', requested: 2, code: 0 }),
    lives: ['watchdog'],
  },
  'hub shutdown --emergency, both dead': {
    async act({ home, pids }) {
      home.signal('SIGKILL', pids.hub, pids.watchdog)
      return home.shutdown('--emergency')
    },
    answer: expect.objectContaining({ path: 'command', requested: 2, code: 0 }),
    lives: [],
  },
  SIGTERM: {
    async act({ home, pids }) {
      process.kill(pids.hub, 'SIGTERM')
      await until('the hub has ended', () => hasEnded(pids.hub), Boolean)
      return home.left()
    },
    answer: 2,
    lives: ['watchdog'],
    keeps: true,
  },
  "the contact's page at the hub": { act: (scene) => page(scene, 'hub'), answer: 'stopped 2 2', lives: ['watchdog'] },
  "the contact's page at the watchdog": {
    act: (scene) => page(scene, 'watchdog'),
    answer: expect.stringMatching(/^stopped /),
    lives: ['watchdog'],
  },
  'hub-stop': {
    act: ({ home, words }) => home.hubStop(words),
    answer: { code: 0, said: expect.stringContaining('Everything has stopped. Nothing was deleted.') },
    lives: ['watchdog'],
  },
  'hub down': { act: ({ home }) => code(home, 'down'), answer: 0, lives: [] },
}
const STARTS: Readonly<Record<string, { open: () => StartedAs; ways: readonly string[] }>> = {
  '`hub up`': {
    open: byHubUp,
    ways: ['hub shutdown', 'SIGTERM', 'hub shutdown --emergency, both dead', "the contact's page at the hub"],
  },
  'its units': {
    open: asUnits,
    ways: ['hub shutdown, the hub stopped dead', "the contact's page at the watchdog", 'hub-stop', 'hub down'],
  },
}

test.for(Object.keys(STARTS))(
  'faults B1, F1, T80, X1: started by %s, on a home full to the last byte, every way to stop leaves 0 containers, who should live lives, and the logs go on with room',
  async (name, { skip }) => {
    const disk = openDisk(DISK_BYTES)
    if (disk === undefined) return skip('no small file system can be mounted: not root, or not permitted')
    const { open, ways } = STARTS[name] as (typeof STARTS)[string]
    const started = open()
    const home = await openStopHome({ at: disk.folder, begin: started.begin })
    try {
      const words = await home.newCard()
      for (const way of process.env.HUB_TEST_LONG ? Object.keys(WAYS) : ways)
        await walk(way, { home, words, started, disk })
    } finally {
      disk.room()
      await home.close()
      started.close()
      disk.close()
    }
  },
)

async function walk(
  name: string,
  parts: { home: StopHome; words: string; started: StartedAs; disk: NonNullable<ReturnType<typeof openDisk>> },
): Promise<void> {
  const { home, words, started, disk } = parts
  const { act, answer, lives, keeps } = WAYS[name] as Way
  const pids = { hub: await home.startHub(), watchdog: await home.startWatchdog() }
  await until(`${name}: a lease`, home.conditions, (names) => !names.includes('lease_pending'))
  await home.hub('resume')
  await until(`${name}: normal`, home.health, ({ mode }) => mode === 'normal')
  const containers = [(await home.place('idle')).containerId, (await home.place('idle')).containerId].sort()
  const logs = PARTS.map((part) => logOf(home.home, part))
  disk.fill(logs)
  for (const part of PARTS) started.brim(part)
  for (const log of logs) expect(() => writeFileSync(log, 'x', { flag: 'a' }), name).toThrow(/ENOSPC/)

  expect(await act({ home, words, pids }), name).toEqual(answer)
  expect(await home.left(), name).toBe(keeps ? 2 : 0)
  for (const part of PARTS)
    if (lives.includes(part)) expect(hasEnded(pids[part]), `${name}: the ${part} lives`).toBe(false)
    else await until(`${name}: the ${part} has ended`, () => hasEnded(pids[part]), Boolean)

  disk.room()
  for (const part of lives) {
    expect(started.peak(part), `${name}: the memory of the ${part}`).toBeLessThan(1)
    // It says something when it hears this, now that it can.
    const count = started.said(part).split('SIGHUP').length
    process.kill(pids[part], 'SIGHUP')
    await until(
      `${name}: the log of the ${part} goes on`,
      () => started.said(part).split('SIGHUP').length > count,
      Boolean,
    )
  }
  if (keeps) await takenOver(name, home, containers)
}

/** With room again the next hub goes on with the very containers. */
async function takenOver(name: string, home: StopHome, containers: readonly (string | null)[]): Promise<void> {
  await home.startHub()
  const work = async () =>
    (await home.door.call('session.list', { limit: 100 })).sessions
      .filter(({ state }) => state === 'working')
      .map(({ containerId }) => containerId)
      .sort()
  await until(`${name}: both go on in their containers`, work, (found) => `${found}` === `${containers}`)
  expect(await code(home, 'session', 'stop', '--all', '--yes'), name).toBe(0)
  expect(await until(`${name}: all gone`, home.left, (left) => left === 0), name).toBe(0)
}
