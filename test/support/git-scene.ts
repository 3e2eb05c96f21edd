/** A git repository in a folder of its own, made by the real git, by nobody's configuration but ours. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Problem } from '../../hub/client/problem.ts'

const OURS = { PATH: process.env.PATH, HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' }
const WHO = ['-c', 'user.name=An Operator', '-c', 'user.email=operator@example.org', '-c', 'protocol.file.allow=always']

/** For a bundle whose size is not what a test is about. */
export const ANY_SIZE = {
  bytesMax: Number.POSITIVE_INFINITY,
  tooLarge: (bytes: number) => new Problem('too_large', 'refused', `${bytes} bytes`, 'send less'),
}

export function gitScene(format: 'sha1' | 'sha256' = 'sha1') {
  const dir = mkdtempSync(join(tmpdir(), 'git-'))
  const git = (...args: string[]): string =>
    execFileSync('git', [...WHO, ...args], {
      cwd: dir,
      env: OURS,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim()
  const write = (name: string, text: string | Buffer, mode = 0o644) => {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), text, { mode })
  }
  git('init', '--quiet', '--initial-branch=main', `--object-format=${format}`)
  return {
    dir,
    git,
    write,
    /** Writes the files and commits everything. Answers the commit. */
    commit(files: Record<string, string>, text = 'a change') {
      for (const [name, content] of Object.entries(files)) write(name, content)
      git('add', '--all')
      git('commit', '--quiet', '--allow-empty', '-m', text)
      return git('rev-parse', 'HEAD')
    },
    head: () => git('rev-parse', 'HEAD'),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  }
}
export type GitScene = ReturnType<typeof gitScene>
