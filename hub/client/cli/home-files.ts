/** Files of a home that the command writes: whole or not at all, and with a commit where the folder keeps its history. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'

/** Replaces a file, 0600: a reader sees the old text or the new one. */
export function writeWhole(file: string, text: string | Uint8Array): void {
  const fresh = `${file}.${process.pid}.new`
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  try {
    const fd = openSync(fresh, 'wx', 0o600)
    try {
      writeSync(fd, Buffer.from(text))
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    chmodSync(fresh, 0o600)
    renameSync(fresh, file)
  } catch (error) {
    rmSync(fresh, { force: true })
    throw error
  }
}

/** Commits these files of a folder, and nothing else that may lie changed in it. False where the folder has no repository or git fails. */
export function keepInHistory(folder: string, files: readonly string[], message: string): boolean {
  if (!existsSync(path.join(folder, '.git'))) return false
  const git = (...words: string[]) =>
    execFileSync('git', ['-c', 'user.name=hub', '-c', 'user.email=hub@localhost', '-C', folder, ...words], {
      timeout: 10_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  try {
    git('add', '--', ...files)
    git('commit', '--quiet', '--message', message, '--', ...files)
    return true
  } catch {
    return false
  }
}
