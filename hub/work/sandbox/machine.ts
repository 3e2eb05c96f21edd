/** What this machine's kernel says of itself, as far as it decides whether an engine on it can hold a session. Read again each time. */
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'

export interface Machine {
  /** As `uname -r` prints it. */
  kernel: string
  /** The size of all active swap. 0: there is none, so nothing can be swapped out. */
  swapBytes: number
  /** Whether the kernel has the control group for memory; undefined if that cannot be seen. */
  memoryCgroup: boolean | undefined
  /** Whether AppArmor is active in the kernel. Whether an engine uses it is a separate question. */
  appArmor: boolean
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** The size of all swap, in bytes. If it cannot be read there may be some, so it counts as infinite. */
export function swapBytesOf(procPath = '/proc'): number {
  const text = read(join(procPath, 'swaps'))
  if (text === undefined) return Number.POSITIVE_INFINITY
  const rows = text.trim().split('\n').slice(1)
  // Name, type, size in KiB. A name may hold blanks only as \040.
  const sizes = rows.map((row) => Number(row.split(/\s+/)[2]) * 1024)
  return sizes.every((size) => size >= 0) ? sizes.reduce((sum, size) => sum + size, 0) : Number.POSITIVE_INFINITY
}

function memoryCgroupOf(procPath: string, sysPath: string): boolean | undefined {
  const unified = read(join(sysPath, 'fs/cgroup/cgroup.controllers'))
  if (unified !== undefined) return unified.trim().split(' ').includes('memory')
  // Version 1. Its columns: name, hierarchy, number of groups, enabled.
  const listed = read(join(procPath, 'cgroups'))
  if (listed === undefined) return undefined
  return /^memory\s+\d+\s+\d+\s+1$/m.test(listed)
}

export function readMachine({ procPath = '/proc', sysPath = '/sys' } = {}): Machine {
  return {
    kernel: release(),
    swapBytes: swapBytesOf(procPath),
    memoryCgroup: memoryCgroupOf(procPath, sysPath),
    appArmor: read(join(sysPath, 'module/apparmor/parameters/enabled'))?.trim() === 'Y',
  }
}

/** The AppArmor profile that a process really runs under, `unconfined` for none; undefined if the kernel does not say. */
export function confinementOf(pid: number, procPath = '/proc'): string | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined
  const folder = join(procPath, String(pid), 'attr')
  const said = read(join(folder, 'apparmor', 'current')) ?? read(join(folder, 'current'))
  // `docker-default (enforce)`
  return said?.replace(/\0+$/, '').trim().split(' ')[0] || undefined
}
