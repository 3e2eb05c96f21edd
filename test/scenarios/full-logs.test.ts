/**
 * Every way to stop with the home full to its last byte, the last page of both logs included, started by `hub up` (faults B1, F1): real
 * processes, and an engine that only lists and forgets. test/containers/stop-disk.test.ts has real containers on a full disk.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test, vi } from 'vitest'
import { type BareHome, exitOf, openBareHome, seen } from '../support/bare-home.ts'
import { runHub } from '../support/fake-hub.ts'
import { mountSmall } from '../support/fault-home.ts'
import { press, send } from '../support/plain-http.ts'
import { hasEnded } from '../support/stop-home.ts'

// Real processes, started again after each stop, on a machine that may be busy.
vi.setConfig({ testTimeout: 600_000 })
const root = resolve(import.meta.dirname, '../..')
const DISK_BYTES = 256 * 1024 ** 2

function fill(folder: string, logs: readonly string[]): void {
  // What writes meanwhile may need a page more than was just counted.
  const shrink = () => {
    const { blocks, bfree, bsize } = statfsSync(folder)
    return spawnSync('mount', ['-o', `remount,size=${(blocks - bfree) * bsize}`, folder]).status
  }
  expect([1, 2, 3, 4, 5].some(() => shrink() === 0)).toBe(true)
  for (const file of [join(folder, 'filler'), ...logs]) {
    for (const size of [4096, 1]) {
      try {
        // Line breaks, so that what the processes write still stands in lines.
        for (;;) appendFileSync(file, Buffer.alloc(size, 10))
      } catch {
        // Full at this size.
      }
    }
  }
  for (const file of logs) expect(() => appendFileSync(file, 'x'), file).toThrow(/ENOSPC/)
}
function room(folder: string): void {
  rmSync(join(folder, 'filler'), { force: true })
  spawnSync('mount', ['-o', `remount,size=${DISK_BYTES}`, folder])
}

test('faults B1, F1: on a home full to the last byte, its logs too, every way to stop stops, both processes live on where they should, and the logs go on with room [stop-52]', async ({
  skip,
}) => {
  const disk = mountSmall(`size=${DISK_BYTES},mode=700`)
  if (disk === undefined) return skip('no small file system can be mounted: not root, or not permitted')
  const template = join(disk.folder, 'template')
  mkdirSync(join(disk.folder, 'cache'))
  execFileSync(process.execPath, [join(root, 'hub/main.ts'), 'init', '--home', template])
  const at = await openBareHome(disk.folder, template, { intervalMs: 500, leaseTimeoutMs: 500, stopGraceMs: 1000 })
  const pidOf = (file: string) => {
    const path = join(at.home, file)
    return existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0
  }
  const pids = () => ({ hub: pidOf('run/hub.pid'), watchdog: pidOf('watchdog/watchdog.pid') })
  const hub = (...words: string[]) => runHub(at.home, words)
  try {
    expect(await hub('up')).toMatchObject({ code: 0 })
    const card = await hub(
      'contact',
      'card',
      '--json',
      '--name',
      'Bea',
      '--operator-name',
      'Ada',
      '--out',
      join(at.home, 'card.html'),
    )
    const { words } = JSON.parse(card.stdout) as { words: string }
    await walk(at, { hub, pids, words, folder: disk.folder })
  } finally {
    room(disk.folder)
    for (const pid of Object.values(pids())) if (pid > 1 && !hasEnded(pid)) process.kill(pid, 'SIGKILL')
    at.close()
    disk()
  }
})

async function walk(
  at: BareHome,
  {
    hub,
    pids,
    words,
    folder,
  }: {
    hub: (...words: string[]) => ReturnType<typeof runHub>
    pids: () => { hub: number; watchdog: number }
    words: string
    folder: string
  },
): Promise<void> {
  const logs = [at.logs.hub, at.logs.watchdog]
  const page = async (where: 'hub' | 'watchdog') => {
    await press(at.ports[where], `/stop/${words}`)
    return seen('the page says so', async () => {
      const word = String((await send(at.ports[where], { path: `/stop/${words}` })).headers['hub-stop'])
      return !word.startsWith('stopping') && word
    })
  }
  const byCard = async () => {
    const child = spawn(join(root, 'scripts/hub-stop'), [
      '--card',
      '-',
      String(at.ports.watchdog),
      String(at.ports.hub),
    ])
    child.stdin.end(words)
    return exitOf(child)
  }
  const watchdogDoor = async () => {
    const { status, body } = await at.askWatchdog('POST', '/v1/shutdown', { by: 'operator', reason: 'tried' })
    return [status, body.path]
  }
  const code = async (...said: string[]) => (await hub(...said)).code
  const ways: [name: string, act: () => Promise<unknown>, answer: unknown, lives: ('hub' | 'watchdog')[]][] = [
    ['hub safe-mode', () => code('safe-mode'), expect.any(Number), ['hub', 'watchdog']],
    [
      'hub session stop --all',
      () => code('session', 'stop', '--all', '--yes'),
      expect.any(Number),
      ['hub', 'watchdog'],
    ],
    ['POST /v1/shutdown at the watchdog', watchdogDoor, [200, expect.any(String)], ['watchdog']],
    ['hub shutdown', () => code('shutdown', '--yes'), 0, ['watchdog']],
    ['hub shutdown --emergency', () => code('shutdown', '--yes', '--emergency'), 0, ['watchdog']],
    ["the contact's page at the hub", () => page('hub'), expect.stringMatching(/^(stopped|already)/), ['watchdog']],
    [
      "the contact's page at the watchdog",
      () => page('watchdog'),
      expect.stringMatching(/^(stopped|already)/),
      ['watchdog'],
    ],
    ['hub-stop', byCard, 0, ['watchdog']],
    ['hub down', () => code('down'), 0, []],
  ]
  for (const [name, act, answer, lives] of ways) {
    expect(await hub('up'), name).toMatchObject({ code: 0 })
    await at.hubUp()
    await hub('resume')
    const before = pids()
    const stops = !lives.includes('hub')
    if (stops) for (const digit of ['a', 'b']) at.containers.add(digit.repeat(64))
    fill(folder, logs)
    expect(await act(), name).toEqual(answer)
    if (stops) expect(await seen(`${name}: all gone`, () => at.containers.size === 0), name).toBe(true)
    for (const each of lives) expect(hasEnded(before[each]), `${name}: the ${each} lives`).toBe(false)
    room(folder)
    if (stops) await seen(`${name}: the hub has ended`, () => hasEnded(before.hub))
    for (const each of lives) {
      // Each says something when it hears this, now that it can.
      const said = () => readFileSync(at.logs[each], 'utf8').split('SIGHUP').length
      const count = said()
      process.kill(before[each], 'SIGHUP')
      await seen(`${name}: the log of the ${each} goes on`, () => said() > count)
    }
  }
  for (const log of logs)
    for (const line of readFileSync(log, 'utf8').split('\n'))
      if (line !== '') expect(() => JSON.parse(line), line).not.toThrow()
}
