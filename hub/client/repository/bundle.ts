/** A repository as it is sent (docs/agents.md): every commit up to the base, in one git bundle, and what a person should know of it first. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { diskProblem } from '../../base/disk-words.ts'
import { BASE_REF } from '../../protocol/task-spec.ts'
import { secretLook } from '../pack.ts'
import type { Problem } from '../problem.ts'
import { commitOf, findRepository, openMirror, openWorkTree, type Repository, together } from './git.ts'

export interface RepositoryFacts {
  base: string
  commits: number
  files: number
  /** Paths that look like secrets: of the base, and of earlier commits, which an agent can read too. */
  secrets: { path: string; why: string; past: boolean }[]
  submodules: string[]
  /** Files that are pointers to what only an LFS server has. */
  pointers: string[]
  /** Changes that are not committed, so they are not sent. */
  uncommitted: string[]
}

const lines = (out: Buffer): string[] => out.toString().split('\n').filter(Boolean)
const names = (out: Buffer): string[] => out.toString().split('\0').filter(Boolean)

/**
 * How objects are packed that git has not packed yet: as they are, hardly compressed. What it has packed is copied, deltas and all. To look for
 * deltas among the others is nine tenths of the time of a repository that was never packed, and saves a way that ends on this machine.
 */
export const AS_THEY_ARE = ['-c', 'pack.window=0', '-c', 'pack.compression=1']

const KEYS = '^-----BEGIN [A-Z ]*PRIVATE KEY-----'
const POINTERS = '^version https://git-lfs.github.com/spec/v1'

/** Writes pieces to a new file; `over` says that it would be larger than that. */
function fileOf(file: string, bytesMax: number, over: (bytes: number) => Problem) {
  const handle = openSync(file, 'wx', 0o600)
  let bytes = 0
  return {
    take(piece: Buffer): void {
      bytes += piece.length
      if (bytes > bytesMax) throw over(bytes)
      try {
        for (let at = 0; at < piece.length; ) at += writeSync(handle, piece, at)
      } catch (thrown) {
        throw diskProblem(thrown, file)
      }
    },
    [Symbol.dispose]: () => closeSync(handle),
  }
}

/** How large a bundle may be. */
export interface BundleLimits {
  bytesMax: number
  tooLarge: (bytes: number) => Problem
  /** Is told about how many bytes it will have, before it is made, and may throw. */
  foreseen?: (bytes: number) => void
}

/**
 * `mirror` is an empty folder for the work. What the bundle will take is foreseen by what its objects take now. That is too much where git has not packed
 * them yet, and far too little where they are deltas of what is not sent: a file of a few bytes may then be written whole. So what is written is counted.
 * @throws Problem in words for a person
 */
export async function bundleRepository(
  dir: string,
  name: string,
  mirror: string,
  file: string,
  { bytesMax, tooLarge, foreseen }: BundleLimits,
): Promise<RepositoryFacts> {
  const repository = await findRepository(dir, '--repo')
  const base = await commitOf(repository, name, name === 'HEAD' ? '--repo' : '--base')
  const { git } = await openMirror(repository, mirror)
  await git(['update-ref', BASE_REF, base])
  const [bytes, listing, reached, uncommitted] = await together([
    git(['rev-list', '--objects', '--disk-usage', BASE_REF]),
    git(['ls-tree', '-r', '-z', BASE_REF]),
    git(['rev-list', '--objects', BASE_REF]),
    uncommittedOf(repository),
  ])
  if (Number(bytes.out) > bytesMax) throw tooLarge(Number(bytes.out))
  foreseen?.(Number(bytes.out))
  const tree = names(listing.out).map((line) => {
    const cut = line.indexOf('\t')
    return { mode: line.slice(0, 6), path: line.slice(cut + 1) }
  })
  const submodules = tree.filter(({ mode }) => mode === '160000').map(({ path }) => path)
  const files = tree.filter(({ mode }) => mode !== '160000').map(({ path }) => path)
  const filesWith = async (...patterns: string[]) => {
    const asked = patterns.flatMap((each) => ['-e', each])
    const { code, out } = await git(['grep', '-l', '-z', '-I', '-E', ...asked, BASE_REF], { codes: [0, 1] })
    return code === 1 ? [] : names(out).map((line) => line.slice(BASE_REF.length + 1))
  }
  using written = fileOf(file, bytesMax, tooLarge)
  const [either] = await together([
    filesWith(KEYS, POINTERS),
    git([...AS_THEY_ARE, 'bundle', 'create', '--quiet', '-', BASE_REF], { take: written.take }),
  ])
  // Most repositories hold neither, so their files are read once.
  const [withKeys = [], pointers = []] =
    either.length === 0 ? [] : await together([filesWith(KEYS), filesWith(POINTERS)])
  const objects = lines(reached.out)
  return {
    base,
    // A tree or a file has a path behind its id, if only an empty one.
    commits: objects.filter((line) => !line.includes(' ')).length,
    files: files.length,
    secrets: secretsOf(files, withKeys, objects),
    submodules,
    pointers,
    uncommitted,
  }
}

/** `objects`: each object once, with a path that it had. */
function secretsOf(
  files: readonly string[],
  withKeys: readonly string[],
  objects: readonly string[],
): RepositoryFacts['secrets'] {
  const looks = (path: string) => secretLook(path, Buffer.alloc(0))
  const found = new Map<string, RepositoryFacts['secrets'][number]>()
  for (const path of files) {
    const why = looks(path) ?? (withKeys.includes(path) ? 'it holds a private key' : undefined)
    if (why !== undefined) found.set(path, { path, why, past: false })
  }
  for (const line of objects) {
    const path = line.slice(line.indexOf(' ') + 1)
    const why = path === line ? undefined : looks(path)
    if (why !== undefined && !found.has(path)) found.set(path, { path, why, past: true })
  }
  return [...found.values()]
}

async function uncommittedOf(repository: Repository): Promise<string[]> {
  const { git } = await openWorkTree(repository)
  // Fails in a bare repository, which has no work tree.
  const { code, out } = await git(['status', '--porcelain', '-z', '--no-renames', '--ignore-submodules=all'])
  return code === 0 ? names(out).map((line) => line.slice(3)) : []
}
