/**
 * The stop where the home's disk takes nothing any more (T80, T84, X1): full to the last byte, or read-only under the running processes.
 * By the hub, by the watchdog with the hub hung, by the contact's page and `hub-stop`, and by the command with both dead.
 */
import { spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { mountImage, mountSmall } from '../support/fault-home.ts'
import { hasEnded, openStopHome, type StopHome, until } from '../support/stop-home.ts'

vi.setConfig({ testTimeout: 900_000 })
const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** Above what the hub calls a low disk; what is not written costs nothing. */
const DISK_BYTES = 400 * 1024 ** 2

async function openOnDisk() {
  const disk = mountSmall(`size=${DISK_BYTES},mode=700`)
  if (disk === undefined) return undefined
  closers.push(disk)
  const home = await openStopHome({ at: disk.folder })
  closers.push(async () => {
    room()
    await home.close()
  })
  const resize = (bytes: number) => spawnSync('mount', ['-o', `remount,size=${bytes}`, disk.folder])
  const room = () => {
    rmSync(join(disk.folder, 'filler'), { force: true })
    resize(DISK_BYTES)
  }
  /** Not one byte more: the file system is made as small as what is in it, then the rest of it is written. */
  const fill = () => {
    // What writes meanwhile may need a page more than was just counted.
    const shrink = () => {
      const { blocks, bfree, bsize } = statfsSync(disk.folder)
      return resize((blocks - bfree) * bsize).status
    }
    expect([1, 2, 3, 4, 5].some(() => shrink() === 0)).toBe(true)
    // Nor may it give back one that was in use a moment ago.
    for (let tries = 0; tries < 5 && (tries === 0 || statfsSync(disk.folder).bavail > 0); tries += 1)
      for (const size of [4096, 1]) {
        try {
          for (;;) appendFileSync(join(disk.folder, 'filler'), Buffer.alloc(size))
        } catch {
          // Full at this size.
        }
      }
    expect(statfsSync(disk.folder).bavail).toBe(0)
  }
  return { home, fill, room }
}
const two = async (home: StopHome) => [(await home.place('idle')).task, (await home.place('idle')).task]
/** With room again it starts, and what was at work waits for a word. */
async function begunAgain(home: StopHome, tasks: readonly string[]) {
  await until('the one before has ended', () => hasEnded(home.hubNow()), Boolean)
  await home.startHub()
  await until('a lease', home.conditions, (names) => !names.includes('lease_pending'))
  for (const id of tasks) {
    // Its attempt is settled by the first look at what runs, which comes after the lease.
    const settled = await until(
      'it is queued',
      async () => (await home.shown(id)).task,
      ({ state }) => state !== 'running',
    )
    expect(settled, JSON.stringify(settled)).toMatchObject({ state: 'queued', held: true })
  }
}
const resumed = async (home: StopHome) => {
  expect((await home.hub('resume')).code).toBe(0)
  await until('normal', home.health, ({ mode }) => mode === 'normal')
}

describe('a disk that is full to the last byte', () => {
  test("T80, X1: `hub shutdown` by the hub, recorded from the ballast; the contact's page; `hub-stop` by the watchdog with the hub stopped dead; --emergency with both dead", async ({
    skip,
  }) => {
    const opened = await openOnDisk()
    if (opened === undefined) return skip('no small file system can be mounted: not root, or not permitted')
    const { home, fill, room } = opened
    const words = await home.newCard()
    await until('the ballast', () => existsSync(join(home.home, 'ballast')), Boolean)

    let tasks = await two(home)
    fill()
    expect(await home.shutdown()).toMatchObject({ path: 'hub', requested: 2, code: 0 })
    expect(await home.left()).toBe(0)
    room()
    await begunAgain(home, tasks)
    // Written into blocks that the write-ahead log still owned, or into the ballast's: which of the two the disk decides (test/scenarios/disk-faults.test.ts).
    const asked = await home.json<object[]>('audit', 'list', '--action', 'hub.shutdown_asked')
    expect(asked).toHaveLength(1)

    tasks = await two(home)
    fill()
    let page = await home.page('hub', 'POST', words)
    expect(page).toMatch(/^(stopping|stopped) /)
    page = await until(
      'the page says so',
      () => home.page('hub', 'GET', words),
      (word) => !word.startsWith('stopping'),
    )
    expect([page, await home.left()]).toEqual(['stopped 2 2', 0])
    room()
    await begunAgain(home, tasks)
    expect(await home.conditions()).toContain('emergency_stop')
    await until('it alone', home.conditions, (names) => names.join() === 'emergency_stop')
    await resumed(home)

    // The hub hangs on that disk: the watchdog's page does it, and what the command prints is what the contact reads.
    tasks = await two(home)
    fill()
    home.signal('SIGSTOP', home.hubNow())
    const said = await home.hubStop(words)
    expect([said.code, said.said]).toEqual([0, expect.stringContaining('Everything has stopped. Nothing was deleted.')])
    expect(await home.left()).toBe(0)
    const ended = await home.shutdown()
    expect(ended, 'and what hangs is ended').toMatchObject({ path: 'watchdog', requested: 0, code: 0 })
    await until('it has ended', () => hasEnded(home.hubNow()), Boolean)
    room()
    await begunAgain(home, tasks)
    await resumed(home)

    tasks = await two(home)
    fill()
    home.signal('SIGKILL', home.hubNow(), home.watchdogPid)
    expect(await home.shutdown('--emergency')).toMatchObject({ path: 'command', requested: 2, code: 0 })
    expect(await home.left()).toBe(0)
    room()
    await home.startHub()
    expect(await home.conditions(), 'the order was left').toContain('emergency_stop')
  })
})

/** The kernel makes a file system read-only when it finds it faulty, whoever writes to it then. */
describe('a disk that becomes read-only under the running hub and watchdog', () => {
  const ways = [
    ['hub', 'by the hub'],
    ['watchdog', 'by the watchdog, the hub stopped dead'],
    ['command', 'by the command, both dead'],
  ] as const
  test.for(process.env.HUB_TEST_LONG ? ways : ways.slice(0, 2))(
    'T84, X1: `hub shutdown` $1; all are confirmed gone',
    async ([path], { skip }) => {
      const disk = mountImage(DISK_BYTES)
      if (disk === undefined) return skip('no file system in a file can be mounted: not root, or not permitted')
      closers.push(disk)
      const home = await openStopHome({ at: disk.folder })
      closers.push(() => home.close())
      const words = await home.newCard()
      await two(home)
      disk.seal()
      if (path === 'watchdog') home.signal('SIGSTOP', home.hubPid)
      if (path === 'command') home.signal('SIGKILL', home.hubPid, home.watchdogPid)
      const view = await home.shutdown(...(path === 'command' ? ['--emergency'] : []))
      expect(view).toMatchObject({ path, requested: 2, code: 0 })
      expect(await home.left()).toBe(0)
      await until('the hub has ended', () => hasEnded(home.hubPid), Boolean)
      if (path === 'command') return expect(view.stderr).toContain('the order to stay stopped could not be left')
      const again = await home.hubStop(words)
      expect([again.code, again.said]).toEqual([0, expect.stringMatching(/has stopped/)])
    },
  )
})
