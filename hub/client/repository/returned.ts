/**
 * A branch that came back, in a mirror of the operator's repository: judged there before anything of it reaches the repository itself.
 *
 * 1. The bundle holds exactly the one branch of its session, and stands on the commit that was sent.
 * 2. Every object is checked as git checks what strangers send (`index-pack --strict`), and all of them are there.
 */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { branchOf } from '../../protocol/task-spec.ts'
import { Problem } from '../problem.ts'
import type { Mirror } from './git.ts'
import { type Change, type Risky, riskyOf } from './risky.ts'

export interface Returned {
  session: string
  branch: string
  base: string
  tip: string
  /** The pack in the mirror that holds all objects of the branch which the repository may lack. */
  pack: string
  /** Newest first. */
  commits: { commit: string; author: string; atMs: number; subject: string }[]
  files: { path: string; status: string; added: number | null; removed: number | null }[]
  /** Files among them that run by themselves where they are taken. */
  risky: Risky[]
}

const refused = (detail: string) =>
  new Problem(
    'bundle_refused',
    'refused',
    `the branch is refused: ${detail}`,
    'nothing was changed; `hub task logs ID` shows what the agent did',
  )

const HEADER_BYTES_MAX = 64 * 1024

/** The refs of a bundle and where its pack begins (gitformat-bundle). @throws Problem for what is none */
async function headerOf(
  file: string,
): Promise<{ refs: { id: string; name: string }[]; needs: string[]; packAt: number }> {
  await using handle = await open(file)
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(HEADER_BYTES_MAX), 0, HEADER_BYTES_MAX, 0)
  const end = buffer.subarray(0, bytesRead).indexOf('\n\n')
  const [first = '', ...rest] = buffer.subarray(0, Math.max(0, end)).toString('latin1').split('\n')
  if (end === -1 || !/^# v[23] git bundle$/.test(first)) throw refused('it is not a git bundle, or a cut one')
  const refs: { id: string; name: string }[] = []
  const needs: string[] = []
  for (const line of rest.filter((each) => !each.startsWith('@'))) {
    const match = /^(-?)([0-9a-f]{40,64})(?: (.*))?$/.exec(line)
    if (match === null) throw refused('its head cannot be read')
    const [, minus, id = '', name = ''] = match
    if (minus === '-') needs.push(id)
    else refs.push({ id, name })
  }
  return { refs, needs, packAt: end + 2 }
}

/** Takes the bundle into the mirror and says what it holds. @throws Problem in words for a person; then nothing was changed */
export async function openReturned(mirror: Mirror, file: string, session: string, base: string): Promise<Returned> {
  const { git } = mirror
  const { refs, needs, packAt } = await headerOf(file)
  const branch = branchOf(session)
  const [only, ...others] = refs
  if (only?.name !== `refs/heads/${branch}` || others.length > 0) throw refused(`it holds other refs than ${branch}`)
  if (needs.some((id) => id !== base)) throw refused('it stands on other commits than the one that was sent')
  const { id: tip } = only
  const pack = createReadStream(file, { start: packAt }) as AsyncIterable<Buffer>
  const taken = await git(['index-pack', '--stdin', '--fix-thin', '--strict', '--fsck-objects'], {
    codes: [0, 1, 128],
    input: pack,
  })
  if (taken.code !== 0) throw refused(`git does not take its objects: ${taken.said}`)
  const whole = await git(['rev-list', '--objects', '--quiet', tip, `^${base}`], { codes: [0, 1, 128] })
  if (whole.code !== 0) throw refused(`it is not whole: ${whole.said}`)
  const above = await git(['merge-base', '--is-ancestor', base, tip], { codes: [0, 1, 128] })
  if (above.code !== 0) throw refused('it does not stand on the commit that was sent')
  await git(['update-ref', `refs/heads/${branch}`, tip])
  const { files, changes } = await filesOf(git, base, tip)
  return {
    session,
    branch,
    base,
    tip,
    pack: join(mirror.folder, 'objects', 'pack', `pack-${taken.out.toString().trim().split('\t').at(-1)}.pack`),
    commits: await commitsOf(git, base, tip),
    files,
    risky: await riskyOf(changes, (asked) =>
      textsOf(
        git,
        asked.map(({ side, path }) => `${side === 'base' ? base : tip}:${path}`),
      ),
    ),
  }
}

/** A file above this is not read; its id stands for it. */
const TEXT_BYTES_MAX = 1024 ** 2

/** The texts of these blobs, by two processes however many there are; undefined for what is no blob. */
async function textsOf(git: Mirror['git'], names: readonly string[]): Promise<(string | undefined)[]> {
  const shown = await batch(git, '--batch-check', names)
  const isRead = (each: Shown | undefined) => each?.type === 'blob' && each.size <= TEXT_BYTES_MAX
  const small = shown.flatMap((each) => (each !== undefined && isRead(each) ? [each.id] : []))
  const texts = new Map((await batch(git, '--batch', small)).map((each) => [each?.id, each?.text]))
  return shown.map((each) => {
    if (each?.type !== 'blob') return undefined
    return isRead(each) ? texts.get(each.id) : each.id
  })
}

interface Shown {
  id: string
  type: string
  size: number
  text: string
}

/** One answer for each name; undefined where there is no such object. */
async function batch(
  git: Mirror['git'],
  how: '--batch' | '--batch-check',
  names: readonly string[],
): Promise<(Shown | undefined)[]> {
  if (names.length === 0) return []
  const input = (async function* () {
    for (const name of names) yield Buffer.from(`${name}\0`)
  })()
  const { out } = await git(['cat-file', how, '-z'], { input })
  let at = 0
  return names.map((name) => {
    const missing = Buffer.from(`${name} missing\n`)
    if (out.subarray(at, at + missing.length).equals(missing)) {
      at += missing.length
      return undefined
    }
    const end = out.indexOf(0x0a, at)
    const [id = '', type = '', size = '0'] = out.toString('latin1', at, end).split(' ')
    at = end + 1
    if (how === '--batch-check') return { id, type, size: Number(size), text: '' }
    const text = out.toString('utf8', at, at + Number(size))
    at += Number(size) + 1
    return { id, type, size: Number(size), text }
  })
}

async function commitsOf(git: Mirror['git'], base: string, tip: string): Promise<Returned['commits']> {
  const { out } = await git(['log', '-z', '--no-show-signature', '--format=%H%x1f%an%x1f%at%x1f%s', `${base}..${tip}`])
  return out
    .toString()
    .split('\0')
    .filter(Boolean)
    .map((line) => {
      const [commit = '', author = '', at = '0', ...subject] = line.split('\x1f')
      return { commit, author, atMs: Number(at) * 1000, subject: subject.join(' ') }
    })
}

async function filesOf(git: Mirror['git'], base: string, tip: string) {
  const plain = ['--no-renames', '--no-ext-diff', '--no-textconv', '-z']
  const raw = (await git(['diff', '--raw', ...plain, base, tip])).out.toString().split('\0')
  const counts = new Map<string, [number | null, number | null]>()
  for (const line of (await git(['diff', '--numstat', ...plain, base, tip])).out
    .toString()
    .split('\0')
    .filter(Boolean)) {
    const [added = '-', removed = '-', ...path] = line.split('\t')
    const count = (text: string) => (text === '-' ? null : Number(text))
    counts.set(path.join('\t'), [count(added), count(removed)])
  }
  const files: Returned['files'] = []
  const changes: Change[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [, mode = '', , , status = ''] = (raw[at] ?? '').split(' ')
    const path = raw[at + 1] ?? ''
    const [added = null, removed = null] = counts.get(path) ?? []
    files.push({ path, status, added, removed })
    changes.push({ path, mode })
  }
  return { files, changes }
}

/** The tree of a merge of the branch into `head`, and the files that would conflict; empty if none would. Touches nothing. */
export async function mergedOf(
  { git }: Mirror,
  head: string,
  tip: string,
): Promise<{ tree: string; conflicts: string[] }> {
  const { code, out } = await git(['merge-tree', '--write-tree', '--name-only', '--no-messages', '-z', head, tip], {
    codes: [0, 1],
  })
  const [tree = '', ...names] = out.toString().split('\0').filter(Boolean)
  return { tree: tree.trim(), conflicts: code === 0 ? [] : [...new Set(names)] }
}
