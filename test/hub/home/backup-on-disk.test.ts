/** A backup is on disk before it has its name, on whatever disk, and what was broken off does not stay (T86). */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { silentLog } from '../../../hub/base/telemetry.ts'
import { moveFolder } from '../../../hub/client/cli/setup/backup.ts'
import { createBackup } from '../../../hub/home/backup.ts'
import { createFakeClock } from '../../support/fake-clock.ts'

/** What was synced, and what was given its name, in their order. */
const { done, disk } = vi.hoisted(() => ({ done: [] as string[], disk: { isFull: false, bytesFree: 2 ** 40 } }))
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>()
  return {
    ...real,
    open: async (path: string, flags: string) => {
      const handle = await real.open(path, flags)
      const sync = handle.sync.bind(handle)
      handle.sync = () => {
        done.push(path)
        return sync()
      }
      return handle
    },
    cp: async (from: string, to: string, options: object) => {
      if (disk.isFull) {
        await real.mkdir(to)
        await real.writeFile(`${to}/half`, '')
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
      }
      await real.cp(from, to, options)
    },
    rename: async (from: string, to: string) => {
      done.push('named')
      await real.rename(from, to)
    },
  }
})
vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>()
  const paths = new Map<number, string>()
  return {
    ...real,
    openSync: (path: string, flags: string) => {
      const file = real.openSync(path, flags)
      paths.set(file, path)
      return file
    },
    statfsSync: () => ({ bavail: disk.bytesFree, bsize: 1 }),
    fsyncSync: (file: number) => {
      done.push(paths.get(file) ?? '')
      real.fsyncSync(file)
    },
    renameSync: (from: string, to: string) => {
      if (from.endsWith('.partial')) done.push('named')
      // As from one disk to another.
      else throw Object.assign(new Error('cross-device link'), { code: 'EXDEV' })
      real.renameSync(from, to)
    },
  }
})

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'b-'))
  mkdirSync(join(home, 'artifacts', 'ab'), { recursive: true })
  mkdirSync(join(home, 'keys'))
  for (const name of ['instance', 'keys/hub', 'artifacts/ab/one']) writeFileSync(join(home, name), name)
  done.splice(0)
})
afterEach(() => rmSync(home, { recursive: true, force: true }))
const backupOf = (folder: string) =>
  createBackup({
    home: folder,
    clock: createFakeClock(),
    log: silentLog(),
    audit: { head: () => ({ size: 0, head: '' }) },
    copyDatabase: async (path) => writeFileSync(path, 'rows'),
    checkCopy: async () => ({ integrity: 'ok', hasHead: true, artifacts: [] }),
  })
const syncedIn = (folder: string) => done.slice(0, done.indexOf('named')).map((path) => relative(folder, path) || '.')

test('T86: every file and every folder of a backup is synced before the backup has its name, and its own folder after', async () => {
  const { path } = await backupOf(home)()
  expect(syncedIn(`${path}.partial`).sort()).toEqual(
    [
      '.',
      'artifacts',
      'artifacts/ab',
      'artifacts/ab/one',
      'backup.json',
      'hub.db',
      'instance',
      'keys',
      'keys/hub',
    ].sort(),
  )
  expect(done.slice(done.indexOf('named') + 1)).toEqual([join(home, 'backups')])
})

test('T86: moved to another disk it is synced there before it has its name and before the first copy goes', async () => {
  const to = join(home, 'elsewhere', 'mine')
  mkdirSync(`${to}.partial`, { recursive: true })
  writeFileSync(join(`${to}.partial`, 'stale'), 'of a try that was killed')
  await moveFolder(join(home, 'artifacts'), to)
  expect(syncedIn(`${to}.partial`).sort()).toEqual(['.', 'ab', 'ab/one'])
  expect(done.at(-1)).toBe(join(home, 'elsewhere'))
  expect(readdirSync(to)).toEqual(['ab'])
  expect(readFileSync(join(to, 'ab', 'one'), 'utf8')).toBe('artifacts/ab/one')
  expect(existsSync(join(home, 'artifacts'))).toBe(false)
})

test.each([
  ['is full on the way', { isFull: true, bytesFree: 2 ** 40 }],
  ['has too little room from the beginning', { isFull: false, bytesFree: 2 }],
])(
  'fault B9: where the other disk %s nothing is left there, not even a folder, and the copy is still whole',
  async (_how, how) => {
    Object.assign(disk, how)
    try {
      await expect(moveFolder(join(home, 'artifacts'), join(home, 'made', 'for', 'it', 'mine'))).rejects.toThrow(
        expect.objectContaining({ code: 'ENOSPC' }),
      )
    } finally {
      Object.assign(disk, { isFull: false, bytesFree: 2 ** 40 })
    }
    expect(existsSync(join(home, 'made'))).toBe(false)
    expect(readFileSync(join(home, 'artifacts', 'ab', 'one'), 'utf8')).toBe('artifacts/ab/one')
  },
)

test('what a killed hub left half-made holds keys: it goes at the next start and before the next backup, and nothing else does', async () => {
  const leave = (name: string) => {
    mkdirSync(join(home, 'backups', name, 'keys'), { recursive: true })
    writeFileSync(join(home, 'backups', name, 'keys', 'hub'), 'secret')
  }
  const [half, whole, other] = ['2026-11-24T08-00-00-000Z.partial', '2026-11-24T07-00-00-000Z', 'mine.partial']
  for (const name of [half, whole, other]) leave(name)
  const backup = backupOf(home)
  expect(readdirSync(join(home, 'backups')).sort()).toEqual([whole, other])
  leave(half)
  const { path } = await backup()
  expect(existsSync(join(home, 'backups', half))).toBe(false)
  expect(statSync(path).isDirectory()).toBe(true)
})
