/** Which files of a directory are sent: in a work tree those that git tracks or would track, else all that no .gitignore excludes. */
import { execFile } from 'node:child_process'
import { lstat, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import ignore, { type Ignore } from 'ignore'
import { HubError } from '../base/errors.ts'
import { judgePath } from '../protocol/paths.ts'
import type { LeftOut } from './left-out.ts'

export interface FolderFiles {
  /** Relative paths, each a valid one (protocol/folder.ts), in no certain order; not yet known to be regular files. */
  paths: string[]
  /** Those of them that git tracks; empty if there is no work tree. */
  tracked: ReadonlySet<string>
  left: LeftOut[]
}

const GIT_BYTES_MAX = 64 * 1024 ** 2
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Lists a directory. Files whose name cannot be sent, nested repositories and `.git` are in `left`; with `ignored` also files that a
 * .gitignore excludes.
 */
export async function listFolder(dir: string, ignored = false): Promise<FolderFiles> {
  const names = await listGit(dir, ['-t', '--cached', '--others', '--exclude-standard'])
  // A directory that git itself ignores lists as empty, and was named on purpose.
  if (names === undefined || names.length === 0) return walk(dir, ignored)
  const listed = sift(names)
  if (await lstat(join(dir, '.git')).catch(() => undefined)) listed.left.unshift({ path: '.git', why: 'history' })
  if (!ignored) return listed
  const excluded = (await listGit(dir, ['--others', '--ignored', '--exclude-standard', '--directory'])) ?? []
  return {
    ...listed,
    left: [...listed.left, ...excluded.map((name) => ({ path: shown(name), why: 'ignored' as const }))],
  }
}

/** Raw lines of `git ls-files`, or undefined if there is no git or no work tree, or if git does not trust it. */
function listGit(dir: string, flags: readonly string[]): Promise<Buffer[] | undefined> {
  // A hostile checkout may name programs in its own configuration; none of them is run for a listing.
  const quiet = ['-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null', '-c', 'core.untrackedCache=false']
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('GIT_')))
  return new Promise((resolve) => {
    const options = { encoding: 'buffer', maxBuffer: GIT_BYTES_MAX, env, timeout: 60_000 } as const
    execFile('git', [...quiet, '-C', dir, 'ls-files', '-z', ...flags], options, (thrown, stdout) => {
      resolve(thrown === null ? splitNul(stdout) : undefined)
    })
  })
}

function splitNul(bytes: Buffer): Buffer[] {
  const names: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at)
    names.push(bytes.subarray(at, end))
    at = end + 1
  }
  return names
}

const SLASH = 0x2f
/** What `-t` writes before a path that is not in the index. */
const UNTRACKED = '?'

/** Lines of `-t`: a letter, a blank, the path. */
function sift(lines: readonly Buffer[]): FolderFiles {
  const paths = new Set<string>()
  const tracked = new Set<string>()
  const left: LeftOut[] = []
  for (const line of lines) {
    const name = line.subarray(2)
    // git names an untracked folder as a whole if it is a repository.
    if (name.at(-1) === SLASH) {
      left.push({ path: shown(name), why: 'repository' })
      continue
    }
    const { path, fault } = readName(name)
    if (path === undefined) {
      left.push(fault)
      continue
    }
    paths.add(path)
    if (String.fromCharCode(line[0] ?? 0) !== UNTRACKED) tracked.add(path)
  }
  return { paths: [...paths], tracked, left }
}

function decoded(name: Buffer): string | undefined {
  try {
    return utf8.decode(name)
  } catch {
    return undefined
  }
}

/** A name for a person: in quotation marks if it is not a valid path. */
function shown(name: Buffer): string {
  const path = decoded(name)
  if (path === undefined) return JSON.stringify(name.toString('latin1'))
  return judgePath(path.replace(/\/$/, '')) === undefined ? path : JSON.stringify(path)
}

function readName(name: Buffer): { path: string; fault?: never } | { path?: never; fault: LeftOut } {
  const path = decoded(name)
  const detail = path === undefined ? 'is not valid UTF-8' : judgePath(path)
  if (path !== undefined && detail === undefined) return { path }
  return { fault: { path: shown(name), why: 'name', detail: detail ?? 'cannot be read' } }
}

/** The rules of one .gitignore, and the directory they count from. */
interface Rules {
  base: string
  rules: Ignore
}

async function walk(dir: string, ignored: boolean): Promise<FolderFiles> {
  const paths: string[] = []
  const left: LeftOut[] = []

  async function visit(base: string, above: readonly Rules[]): Promise<void> {
    const entries = await readdir(join(dir, base), { withFileTypes: true, encoding: 'buffer' }).catch((thrown) => {
      throw new HubError(
        'schema_invalid',
        `cannot read ${base === '' ? dir : base}: ${thrown.code}; make it readable, or ignore it`,
      )
    })
    // Only a regular file: a pipe of that name would never end.
    const own = entries.some((entry) => entry.isFile() && entry.name.toString() === '.gitignore')
    const text = own ? await readFile(join(dir, base, '.gitignore'), 'utf8') : ''
    const rules = own ? [{ base, rules: ignore().add(text) }, ...above] : above
    for (const entry of entries) {
      const { path, fault } = readName(Buffer.concat([Buffer.from(base), entry.name]))
      if (path === undefined) {
        left.push(fault)
        continue
      }
      if (path === '.git' || path.endsWith('/.git')) {
        left.push({ path, why: 'history' })
        continue
      }
      const named = entry.isDirectory() ? `${path}/` : path
      if (isIgnored(named, rules)) {
        if (ignored) left.push({ path: named, why: 'ignored' })
        continue
      }
      if (entry.isDirectory()) await visit(`${path}/`, rules)
      else paths.push(path)
    }
  }
  await visit('', [])
  return { paths, tracked: new Set(), left }
}

/** The nearest .gitignore that says anything decides, as in git. */
function isIgnored(path: string, rules: readonly Rules[]): boolean {
  for (const { base, rules: each } of rules) {
    const judged = each.test(path.slice(base.length))
    if (judged.ignored || judged.unignored) return judged.ignored
  }
  return false
}
