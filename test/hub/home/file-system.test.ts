/** Fault B7: a file system that cannot hold a home is refused at once, in one line that names it and all it lacks. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PROBES, type Probe, requireFileSystem } from '../../../hub/home/file-system.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'fs-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const refuses = (code: string) => (): boolean => {
  throw Object.assign(new Error(code), { code })
}
/** The real ones, but for these. */
const withFaults = (faults: Record<string, Probe['holds']>) =>
  PROBES.map(({ what, holds }): Probe => ({ what, holds: faults[what] ?? holds }))
const refusal = (probes: readonly Probe[]) =>
  requireFileSystem(home, probes).then(
    () => 'fine',
    (error: Error & { code: string }) => `${error.code}: ${error.message}`,
  )

test('fault B7: a file system of this machine holds a home, and nothing of the try is left', async () => {
  mkdirSync(join(home, '.probe-2147483646'))
  writeFileSync(join(home, '.probe-2147483646', 'cut-short'), '')
  expect(await refusal(PROBES)).toBe('fine')
  expect(readdirSync(home)).toEqual([])
})

test('fault B7: all that is lacking is told at once, as of vfat: modes that do not stick, no sockets, no links', async () => {
  const said = await refusal(
    withFaults({
      'file modes and owners': () => false,
      'Unix sockets': refuses('EPERM'),
      'hard links and renames that replace': refuses('EPERM'),
    }),
  )
  expect(said).toMatch(
    /^config_invalid: the home \S+ is on [^;\n]+, which lacks file modes and owners, Unix sockets, hard links and renames that replace; choose a --home on a local Linux file system \(ext4, xfs, btrfs\)$/,
  )
  expect(readdirSync(home)).toEqual([])
})

test.each([
  ['file locks', 'SQLITE_IOERR_LOCK'],
  ['file locks', 'SQLITE_PROTOCOL'],
  ['Unix sockets', 'EOPNOTSUPP'],
  ['folders that can be synced', 'EINVAL'],
])('fault B7: %s that answer %s are lacking', async (what, code) => {
  expect(await refusal(withFaults({ [what]: refuses(code) }))).toContain(`which lacks ${what};`)
})

test.each(['ENOSPC', 'EDQUOT', 'EROFS', 'SQLITE_FULL', 'EMFILE'])(
  'fault B7: %s says nothing of the file system: a hub starts on a full disk',
  async (code) => {
    const all = Object.fromEntries(PROBES.map(({ what }) => [what, refuses(code)]))
    expect(await refusal(withFaults(all))).toBe('fine')
  },
)

test('fault B7: a lock that a second one does not find taken is none', async () => {
  expect(await refusal(withFaults({ 'file locks': () => false }))).toContain('which lacks file locks;')
})
