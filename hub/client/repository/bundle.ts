/** A repository as it is sent (docs/agents.md): every commit up to the base, in one git bundle, and what a person should know of it first. */
import { BASE_REF } from '../../protocol/task-spec.ts'
import { secretLook } from '../pack.ts'
import { commitOf, findRepository, openMirror, openWorkTree, type Repository } from './git.ts'

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
 * `mirror` is an empty folder for the work; `judge` is told about how many bytes the bundle will have, before it is made, and may throw: what its
 * objects take now, which is too much only where git has not packed them yet. @throws Problem in words for a person
 */
export async function bundleRepository(
  dir: string,
  name: string,
  mirror: string,
  file: string,
  judge: (bytes: number) => void = () => undefined,
): Promise<RepositoryFacts> {
  const repository = await findRepository(dir, '--repo')
  const base = await commitOf(repository, name, name === 'HEAD' ? '--repo' : '--base')
  const { git } = await openMirror(repository, mirror)
  await git(['update-ref', BASE_REF, base])
  const commits = Number((await git(['rev-list', '--count', BASE_REF])).out)
  const tree = names((await git(['ls-tree', '-r', '-z', BASE_REF])).out).map((line) => {
    const cut = line.indexOf('\t')
    return { mode: line.slice(0, 6), path: line.slice(cut + 1) }
  })
  const submodules = tree.filter(({ mode }) => mode === '160000').map(({ path }) => path)
  const files = tree.filter(({ mode }) => mode !== '160000').map(({ path }) => path)
  const isFound = async (pattern: string) => {
    const { code, out } = await git(['grep', '-l', '-z', '-I', '-E', '-e', pattern, BASE_REF], { codes: [0, 1] })
    return code === 1 ? [] : names(out).map((line) => line.slice(BASE_REF.length + 1))
  }
  judge(Number((await git(['rev-list', '--objects', '--disk-usage', BASE_REF])).out))
  await git(['bundle', 'create', '--quiet', file, BASE_REF])
  return {
    base,
    commits,
    files: files.length,
    secrets: await secretsOf(files, await isFound('^-----BEGIN [A-Z ]*PRIVATE KEY-----'), git),
    submodules,
    pointers: await isFound('^version https://git-lfs.github.com/spec/v1'),
    uncommitted: await uncommittedOf(repository),
  }
}

async function secretsOf(
  files: readonly string[],
  withKeys: readonly string[],
  git: Awaited<ReturnType<typeof openMirror>>['git'],
): Promise<RepositoryFacts['secrets']> {
  const looks = (path: string) => secretLook(path, Buffer.alloc(0))
  const found = new Map<string, RepositoryFacts['secrets'][number]>()
  for (const path of files) {
    const why = looks(path) ?? (withKeys.includes(path) ? 'it holds a private key' : undefined)
    if (why !== undefined) found.set(path, { path, why, past: false })
  }
  // Each object once, with a path that it had.
  for (const line of lines((await git(['rev-list', '--objects', BASE_REF])).out)) {
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
