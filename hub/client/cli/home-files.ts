/** Files of a home that the command writes: whole or not at all, with a commit if the folder is a git repository. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { replaceFile } from '../../base/whole-file.ts'

/** Replaces a file, 0600, so that a reader sees the old text or the new one (base/whole-file.ts). Makes its folder if it is missing. */
export function writeWhole(file: string, text: string | Uint8Array): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  replaceFile(file, text)
}

/** Commits these files of a folder and no other changes. False if the folder has no repository or git fails. */
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
