/** Whether a branch can be taken into a work tree: asked before anything is touched, so that nothing of the operator's is lost. */
import { existsSync, lstatSync } from 'node:fs'
import { join } from 'node:path'
import { Problem, usage } from '../problem.ts'
import type { Mirror, openWorkTree } from './git.ts'

type Tree = Awaited<ReturnType<typeof openWorkTree>>

const HALF_DONE = [
  ['MERGE_HEAD', 'a merge'],
  ['CHERRY_PICK_HEAD', 'a cherry-pick'],
  ['REVERT_HEAD', 'a revert'],
  ['rebase-merge', 'a rebase'],
  ['rebase-apply', 'a rebase'],
] as const

const conflict = (detail: string, next: string) =>
  new Problem('conflict', 'refused', `${detail}; nothing was touched`, next)
const names = (out: Buffer): string[] => out.toString().split('\0').filter(Boolean)
const listed = ([first = '', ...more]: readonly string[]) =>
  more.length === 0 ? first : `${first} and ${more.length} more ${more.length === 1 ? 'file' : 'files'}`

/** @throws Problem if the work tree holds changes that are not committed, or if an operation of git is half done */
export async function requireReady({ git }: Tree, dir: string): Promise<void> {
  const { code, out, said } = await git([
    'status',
    '--porcelain',
    '-z',
    '--untracked-files=no',
    '--ignore-submodules=all',
  ])
  if (code !== 0) throw usage(`${dir} has no work tree that git can use: ${said}`, 'name a repository with files')
  const changed = names(out).map((line) => line.slice(3))
  if (changed.length > 0) {
    const verb = changed.length > 1 ? 'have' : 'has'
    throw conflict(
      `${listed(changed)} ${verb} changes that are not committed`,
      'commit them, or put them aside with `git stash`',
    )
  }
  const asked = HALF_DONE.flatMap(([name]) => ['--git-path', name])
  const paths = (await git(['rev-parse', '--path-format=absolute', ...asked])).out.toString().split('\n')
  const at = HALF_DONE.findIndex((_, nth) => existsSync(paths[nth] ?? ''))
  if (at !== -1)
    throw conflict(
      `${HALF_DONE[at]?.[1]} is half done in ${dir}`,
      'finish it or give it up with git, then run this again',
    )
}

/**
 * Files that git does not track would be overwritten without a word if git is told to ignore them, such as `.env`: `to` is what the work tree
 * would hold, `from` what it holds. @throws Problem naming such a file
 */
export async function requireNoLoss({ git }: Tree, mirror: Mirror, from: string, to: string): Promise<void> {
  const asked = ['diff', '--name-only', '--no-renames', '--diff-filter=A', '-z', from, to]
  const added = names((await mirror.git(asked)).out)
  if (added.length === 0) return
  const root = (await git(['rev-parse', '--show-toplevel'])).out.toString().replace(/\n$/, '')
  // A folder without any tracked file is one name, which ends with a slash.
  const listing = await git(['ls-files', '--others', '--directory', '--full-name', '-z', '--', ':/'])
  const here = new Set(names(listing.out))
  const news = new Set(added)
  const lost = added.filter((path) => isInTheWay(path, here, root))
  for (const path of here) if (aboveOf(path).some((each) => news.has(each))) lost.push(path)
  if (lost.length > 0)
    throw conflict(
      `${listed([...new Set(lost)])} would be overwritten: git does not track it here, and the branch brings its own`,
      'move it away first',
    )
}

/** The folders that hold a path, without slashes at their ends. */
function aboveOf(path: string): string[] {
  const parts = path.replace(/\/$/, '').split('/')
  return parts.slice(1).map((_, at) => parts.slice(0, at + 1).join('/'))
}

function isInTheWay(path: string, here: ReadonlySet<string>, root: string): boolean {
  if ([path, `${path}/`, ...aboveOf(path)].some((each) => here.has(each))) return true
  if (!aboveOf(path).some((each) => here.has(`${each}/`))) return false
  return lstatSync(join(root, path), { throwIfNoEntry: false }) !== undefined
}
