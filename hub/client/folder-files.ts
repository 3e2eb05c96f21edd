/** Which files of a directory are meant: those git would know in a work tree, else all that no .gitignore excludes. */
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import ignore, { type Ignore } from 'ignore'
import { HubError } from '../base/errors.ts'
import { judgePath } from '../protocol/folder.ts'

export interface FolderFiles {
  /** Relative paths, each a valid one (protocol/folder.ts), in no certain order; not yet known to be regular files. */
  paths: string[]
  notes: string[]
}

const GIT_BYTES_MAX = 64 * 1024 ** 2
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Lists a directory. Names that are not valid UTF-8, or hold control characters, are left out with a note. */
export async function listFolder(dir: string): Promise<FolderFiles> {
  const names = await listGit(dir)
  // A directory that git itself ignores lists as empty, and was named on purpose.
  return names === undefined || names.length === 0 ? await walk(dir) : sift(names)
}

/** Raw names by git, or undefined where there is no git, no work tree, or git refuses to trust it. */
function listGit(dir: string): Promise<Buffer[] | undefined> {
  // A hostile checkout may name programs in its own configuration; none of them is run for a listing.
  const quiet = ['-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null', '-c', 'core.untrackedCache=false']
  const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('GIT_')))
  return new Promise((resolve) => {
    const options = { encoding: 'buffer', maxBuffer: GIT_BYTES_MAX, env, timeout: 60_000 } as const
    execFile('git', [...quiet, '-C', dir, ...list], options, (thrown, stdout) => {
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

function sift(names: Buffer[]): FolderFiles {
  const paths = new Set<string>()
  const notes: string[] = []
  for (const name of names) {
    const { path, note } = readName(name)
    if (path !== undefined) paths.add(path)
    else notes.push(note)
  }
  return { paths: [...paths], notes }
}

function readName(name: Buffer): { path: string; note?: never } | { path?: never; note: string } {
  let path: string
  try {
    path = utf8.decode(name)
  } catch {
    return { note: `${JSON.stringify(name.toString('latin1'))}: left out, its name is not valid UTF-8` }
  }
  const fault = judgePath(path)
  return fault === undefined ? { path } : { note: `${JSON.stringify(path)}: left out, its name ${fault}` }
}

/** The rules of one .gitignore, and the directory they count from. */
interface Rules {
  base: string
  rules: Ignore
}

async function walk(dir: string): Promise<FolderFiles> {
  const paths: string[] = []
  const notes: string[] = []

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
      const { path, note } = readName(Buffer.concat([Buffer.from(base), entry.name]))
      if (path === undefined) {
        notes.push(note)
        continue
      }
      if (path === '.git' || path.endsWith('/.git')) continue
      if (isIgnored(entry.isDirectory() ? `${path}/` : path, rules)) continue
      if (entry.isDirectory()) await visit(`${path}/`, rules)
      else paths.push(path)
    }
  }
  await visit('', [])
  return { paths, notes }
}

/** The nearest .gitignore that says anything decides, as in git. */
function isIgnored(path: string, rules: readonly Rules[]): boolean {
  for (const { base, rules: each } of rules) {
    const judged = each.test(path.slice(base.length))
    if (judged.ignored || judged.unignored) return judged.ignored
  }
  return false
}
