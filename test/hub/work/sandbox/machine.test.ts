/** What this machine says of itself, from files as kernels write them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { confinementOf, readMachine, swapBytesOf } from '../../../../hub/work/sandbox/machine.ts'

let root = ''
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'machine-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))
const write = (path: string, text: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}
const HEAD = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n'
const look = () => readMachine({ procPath: join(root, 'proc'), sysPath: join(root, 'sys') })

test('swap is what is switched on, all of it; where it cannot be read there may be some', () => {
  expect(swapBytesOf(join(root, 'proc'))).toBe(Number.POSITIVE_INFINITY)
  write('proc/swaps', HEAD)
  expect(swapBytesOf(join(root, 'proc'))).toBe(0)
  write('proc/swaps', `${HEAD}/swap\\040file file\t1024\t0\t-2\n/dev/zram0 partition\t2048\t0\t100\n`)
  expect(swapBytesOf(join(root, 'proc'))).toBe(3 * 1024 * 1024)
  write('proc/swaps', `${HEAD}something else\n`)
  expect(swapBytesOf(join(root, 'proc'))).toBe(Number.POSITIVE_INFINITY)
})

test.each([
  ['version 1, switched on', 'proc/cgroups', '#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t5\t90\t1\n', true],
  ['version 1, switched off, as on Raspberry Pi OS', 'proc/cgroups', 'cpu\t1\t9\t1\nmemory\t0\t90\t0\n', false],
  ['version 2', 'sys/fs/cgroup/cgroup.controllers', 'cpuset cpu io memory pids\n', true],
  ['version 2 without it', 'sys/fs/cgroup/cgroup.controllers', 'cpuset cpu io pids\n', false],
  ['no word of it', 'proc/version', 'Linux\n', undefined],
])('the control group of memory: %s', (_what, path, text, found) => {
  write(path, text)
  expect(look().memoryCgroup).toBe(found)
})

test('AppArmor is on in the kernel, and a process runs under what the kernel says', () => {
  expect(look().appArmor).toBe(false)
  write('sys/module/apparmor/parameters/enabled', 'Y\n')
  expect(look().appArmor).toBe(true)
  write('proc/4711/attr/current', 'docker-default (enforce)\n')
  write('proc/4712/attr/apparmor/current', 'unconfined\n')
  const found = [4711, 4712, 4713, 0, Number.NaN].map((pid) => confinementOf(pid, join(root, 'proc')))
  expect(found).toEqual(['docker-default', 'unconfined', undefined, undefined, undefined])
})
