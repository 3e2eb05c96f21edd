/** `hub backup`: the hub makes the copy in its home; with --out the command moves it there. */
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
import { diskWords } from '../../../base/disk-words.ts'
import { nextTurn } from '../../../base/turn.ts'
import { EXIT, Problem, toProblem } from '../../problem.ts'
import type { Run } from '../context.ts'
import { clean } from '../text.ts'

function syncPath(name: string): void {
  const file = openSync(name, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Throws if the target folder has too little free space, so that no copy starts that cannot be finished. */
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
 * Moves a folder; copies it if the target is on another file system. The target appears only when it is whole and on disk, and only then
 * is the source removed. A partial copy holds keys: what an earlier try left beside the target is removed, and a copy that fails leaves
 * nothing, not even a folder that was made for it.
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
      // In steps, so that a signal is noticed between two of them.
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

/** The nearest folder that exists. */
function standing(folder: string): string {
  return existsSync(folder) || path.dirname(folder) === folder ? folder : standing(path.dirname(folder))
}

/** The file system's error about the target, in words; nothing was made there. */
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
 * On Ctrl-C a partial copy is removed, or else named, because it holds keys. What the hub has made or is still making is named too.
 */
function watchSignals(say: (text: string) => void) {
  let made: string | undefined
  let partial: string | undefined
  const leave = (signal: (typeof SIGNALS)[number]) => {
    try {
      // Retries, because a file that was just begun may still appear.
      if (partial !== undefined) rmSync(partial, { recursive: true, force: true, maxRetries: 5 })
    } catch {
      say(`${partial} is incomplete and holds keys: remove it`)
    }
    say(
      made === undefined
        ? 'stopped; the hub still finishes its backup, the newest one in HOME/backups: keep it or remove it'
        : `stopped; the backup in ${made} is complete: keep it, move it or remove it`,
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

export const backup: Run = async ({ hub, json, terminal }, _, { out, withSecrets = false }) => {
  const target = out === undefined ? undefined : path.resolve(String(out))
  if (target !== undefined && existsSync(target))
    throw new Problem('conflict', 'refused', `${target} is there already`, 'name a folder that does not exist yet')
  try {
    // Before the hub makes a copy that could not be moved.
    if (target !== undefined) accessSync(standing(path.dirname(target)), constants.W_OK)
  } catch (error) {
    throw outProblem(error, target ?? '')
  }
  if (withSecrets === true)
    terminal.note('The secrets are copied in plain text: whoever reads this backup can use every key in HOME/secrets.')
  const signals = watchSignals((text) => terminal.note(text))
  const made = await hub.call('backup.run', withSecrets === true ? { withSecrets } : {}, { deadlineMs: 3_600_000 })
  signals.isMade(made.path)
  try {
    if (target !== undefined) await moveFolder(made.path, target, signals.isPartial)
  } catch (error) {
    // The backup was wanted there; a copy in the home would only fill its disk.
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
  const secrets: string[] = []
  for (const { path: name, why, damaged, secret } of view.leftOut ?? [])
    if (secret) secrets.push(clean(path.basename(name)))
    else terminal.note(`${damaged ? 'damaged' : 'not in it'}: ${clean(name)}: ${clean(why)}`)
  if (secrets.length > 0)
    terminal.note(
      `not in it, because they are secrets: ${secrets.join(', ')}. Keep them elsewhere: after a restore you set each again. --with-secrets copies them.`,
    )
  if (!json)
    terminal.note(
      "It holds the hub's own keys: keep it as private as the home, and on another disk. `hub restore` puts it back.",
    )
  return EXIT.done
}
