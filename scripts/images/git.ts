/** What git needs beside its program while it runs: its other programs (`git --exec-path`) and the templates of new repositories. */
import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gitFault } from '../../hub/base/git-version.ts'
import { BaseMissing, fileOf, isElf, type Libraries, linkOf } from './host-files.ts'
import type { TarEntry } from './tar.ts'

/** Servers and mail: nothing that a session could use. */
const SKIPPED =
  /^git-(?:daemon|http-backend|imap-send|shell|cvsserver|send-email|instaweb|gui|citool|svn|p4|archimport|cvs\w+)$/
const SHELL_SCRIPT = /^#! ?\/(?:usr\/)?bin\/(?:env )?(?:ba|da)?sh\b/

/**
 * At the paths where this machine's git looks for them, which are part of its program. Of its own programs most are git itself under another name:
 * those become links. Scripts in Perl or Python are left out, for no image with git has to hold those.
 */
export function gitEntries(git: string, libraries: Libraries): TarEntry[] {
  const fault = gitFault(execFileSync(git, ['--version'], { encoding: 'utf8', env: {} }))
  if (fault !== undefined) throw new BaseMissing(`the tool git cannot be used: ${fault}`)
  const folder = execFileSync(git, ['--exec-path'], { encoding: 'utf8', env: {} }).trim()
  const isGit = (path: string): boolean => {
    const [own, other] = [statSync(git), statSync(path)]
    if (own.ino === other.ino && own.dev === other.dev) return true
    return own.size === other.size && readFileSync(git).equals(readFileSync(path))
  }
  /** The file that each program really is, and under which name it is already in the image. */
  const known = new Map<string, string>()
  const entries: TarEntry[] = []
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name)
    if (SKIPPED.test(name) || !statSync(path).isFile()) continue
    const real = realpathSync(path)
    const place = path.slice(1)
    const target = known.get(real) ?? (isElf(real) && isGit(real) ? '/usr/bin/git' : undefined)
    if (target !== undefined) entries.push(linkOf(place, target))
    else if (isElf(real)) {
      libraries.add(real)
      entries.push(fileOf(place, real, 0o755))
    } else if (isShellScript(real)) entries.push(fileOf(place, real, 0o755))
    else continue
    known.set(real, target ?? path)
  }
  const templates = join(folder, '../../share/git-core/templates')
  return [...entries, ...(existsSync(templates) ? templateEntries(templates) : [])]
}

/** Files that only the shell reads as well: they are not marked as programs. */
function isShellScript(path: string): boolean {
  const text = readFileSync(path, 'latin1').slice(0, 100)
  return SHELL_SCRIPT.test(text) || text.startsWith('# ')
}

/** Without the examples of hooks, which would be copied into each new repository. */
function templateEntries(folder: string): TarEntry[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .sort()
    .flatMap((path): TarEntry[] => {
      const found = lstatSync(join(folder, path))
      const place = join(folder, path).slice(1)
      if (found.isDirectory()) return [{ path: place, kind: 'folder', mode: 0o755 }]
      return found.isFile() && !path.endsWith('.sample') ? [fileOf(place, join(folder, path), 0o444)] : []
    })
}
