/** `hub backup`: the hub makes the copy, beside its home or moved to where it shall be. */
import { closeSync, cpSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { EXIT, Problem } from '../problem.ts'
import type { Run } from './context.ts'

function syncPath(name: string): void {
  const file = openSync(name, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/**
 * A file system's end is no reason to fail: then it is copied. The target appears only when it is whole and on its disk, and the source goes
 * only after that. What an earlier try left half-made beside the target is removed: it holds keys.
 */
export function moveFolder(from: string, to: string): void {
  mkdirSync(path.dirname(to), { recursive: true })
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error
    const partial = `${to}.partial`
    rmSync(partial, { recursive: true, force: true })
    cpSync(from, partial, { recursive: true })
    for (const name of readdirSync(partial, { recursive: true })) syncPath(path.join(partial, String(name)))
    syncPath(partial)
    renameSync(partial, to)
    syncPath(path.dirname(to))
    rmSync(from, { recursive: true })
    return
  }
  syncPath(path.dirname(to))
}

export const backup: Run = async ({ hub, json, terminal }, _, { out }) => {
  const target = out === undefined ? undefined : path.resolve(String(out))
  if (target !== undefined && existsSync(target))
    throw new Problem('conflict', 'refused', `${target} is there already`, 'name a folder that is not there yet')
  const made = (await hub.call('backup.run', {}, { deadlineMs: 3_600_000 })) as {
    path: string
    files: number
    bytes: number
    auditSize: number
  }
  if (target !== undefined) moveFolder(made.path, target)
  const view = { ...made, path: target ?? made.path }
  if (json) terminal.json(view)
  else {
    const mib = (view.bytes / 1024 ** 2).toFixed(1)
    terminal.out(`${view.path}\n${view.files} files, ${mib} MiB, ${view.auditSize} audit records`)
    terminal.note('It holds the keys: keep it as private as the home, and on another disk. `hub restore` puts it back.')
  }
  return EXIT.done
}
