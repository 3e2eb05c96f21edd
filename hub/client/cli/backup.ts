/** `hub backup`: the hub makes the copy, beside its home or moved to where it shall be. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
} from 'node:fs'
import { cp } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { diskWords } from '../../base/disk-words.ts'
import { nextTurn } from '../../base/turn.ts'
import { EXIT, Problem, toProblem } from '../problem.ts'
import type { Run } from './context.ts'
import { clean } from './text.ts'

function syncPath(name: string): void {
  const file = openSync(name, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Throws where the folder that is to hold it has no room; nothing is copied that cannot be finished. */
function requireRoom(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder)
  if (bavail * bsize < bytes) throw Object.assign(new Error('no room'), { code: 'ENOSPC', path: folder })
}

const bytesOf = (folder: string): number =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).reduce(
    (sum, entry) => sum + (entry.isFile() ? lstatSync(path.join(entry.parentPath, entry.name)).size : 0),
    0,
  )

/**
 * A file system's end is no reason to fail: then it is copied. The target appears only when it is whole and on its disk, and the source goes
 * only after that. What an earlier try left half-made beside the target is removed: it holds keys. Nothing is left of a copy that failed,
 * not even a folder that was made for it.
 */
export async function moveFolder(
  from: string,
  to: string,
  onPartial: (partial: string) => void = () => {},
): Promise<void> {
  const made = mkdirSync(path.dirname(to), { recursive: true })
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') {
      if (made !== undefined) rmSync(made, { recursive: true, force: true })
      throw error
    }
    const partial = `${to}.partial`
    try {
      rmSync(partial, { recursive: true, force: true })
      requireRoom(path.dirname(to), bytesOf(from))
      onPartial(partial)
      // In steps: a signal between two of them is heard.
      await cp(from, partial, { recursive: true })
      for (const name of readdirSync(partial, { recursive: true })) {
        syncPath(path.join(partial, String(name)))
        await nextTurn()
      }
      syncPath(partial)
      renameSync(partial, to)
    } catch (thrown) {
      rmSync(partial, { recursive: true, force: true })
      if (made !== undefined) rmSync(made, { recursive: true, force: true })
      throw thrown
    }
    syncPath(path.dirname(to))
    rmSync(from, { recursive: true })
    return
  }
  syncPath(path.dirname(to))
}

/** The nearest folder that is there already. */
function standing(folder: string): string {
  return existsSync(folder) || path.dirname(folder) === folder ? folder : standing(path.dirname(folder))
}

/** What the file system said of the target, with the folder; nothing was made there. */
function outProblem(error: unknown, target: string): Problem {
  const words = diskWords(error, path.dirname(target))
  if (words === undefined) return toProblem(error)
  return new Problem(
    'store_unavailable',
    'unavailable',
    `no backup was made: ${words}`,
    'name another folder with --out',
  )
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * What a Ctrl-C does while a backup is made: what is half made here goes, or is named, since it holds keys; so is what the hub makes or has
 * made.
 */
function watchSignals(say: (text: string) => void) {
  let made: string | undefined
  let partial: string | undefined
  const leave = (signal: (typeof SIGNALS)[number]) => {
    try {
      // Again where a file came that was begun just before.
      if (partial !== undefined) rmSync(partial, { recursive: true, force: true, maxRetries: 5 })
    } catch {
      say(`${partial} is half made and holds keys: remove it`)
    }
    say(
      made === undefined
        ? 'stopped; the hub goes on, and its backup will be the newest in HOME/backups: remove it, or keep it'
        : `stopped; the backup is whole in ${made}: keep it, move it, or remove it`,
    )
    process.exit(128 + os.constants.signals[signal])
  }
  for (const signal of SIGNALS) process.once(signal, leave)
  return {
    isMade: (at: string) => {
      made = at
    },
    isPartial: (at: string) => {
      partial = at
    },
    end: () => {
      for (const signal of SIGNALS) process.removeListener(signal, leave)
    },
  }
}

export const backup: Run = async ({ hub, json, terminal }, _, { out }) => {
  const target = out === undefined ? undefined : path.resolve(String(out))
  if (target !== undefined && existsSync(target))
    throw new Problem('conflict', 'refused', `${target} is there already`, 'name a folder that is not there yet')
  try {
    // Before the hub makes a copy that could then go nowhere.
    if (target !== undefined) accessSync(standing(path.dirname(target)), constants.W_OK)
  } catch (error) {
    throw outProblem(error, target ?? '')
  }
  const signals = watchSignals((text) => terminal.note(text))
  const made = (await hub.call('backup.run', {}, { deadlineMs: 3_600_000 })) as {
    path: string
    files: number
    bytes: number
    auditSize: number
    leftOut?: { path: string; why: string }[]
  }
  signals.isMade(made.path)
  try {
    if (target !== undefined) await moveFolder(made.path, target, signals.isPartial)
  } catch (error) {
    // It was asked for there; a second one that nobody asked for would only fill the home.
    rmSync(made.path, { recursive: true, force: true })
    throw outProblem(error, target ?? '')
  } finally {
    signals.end()
  }
  const view = { ...made, path: target ?? made.path }
  if (json) terminal.json(view)
  else {
    const mib = (view.bytes / 1024 ** 2).toFixed(1)
    terminal.out(`${view.path}\n${view.files} files, ${mib} MiB, ${view.auditSize} audit records`)
  }
  for (const { path: name, why } of view.leftOut ?? [])
    terminal.note(`${/and so in the backup$/.test(why) ? 'damaged' : 'not in it'}: ${clean(name)}: ${clean(why)}`)
  if (!json)
    terminal.note('It holds the keys: keep it as private as the home, and on another disk. `hub restore` puts it back.')
  return EXIT.done
}
