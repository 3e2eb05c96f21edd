/** `hub branch ...`: the branch that an agent left, shown, and taken into your repository. The hub itself never runs git. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { sessionOfBundle } from '../../../protocol/task-spec.ts'
import { EXIT, Problem, usage } from '../../problem.ts'
import {
  commitOf,
  findRepository,
  type Mirror,
  openMirror,
  openWorkTree,
  type Repository,
} from '../../repository/git.ts'
import { requireNoLoss, requireReady } from '../../repository/ready.ts'
import { mergedOf, openReturned, type Returned } from '../../repository/returned.ts'
import { type Context, type Options, type Run, typed } from '../context.ts'
import { shortId } from '../ids.ts'
import { clean, cleanLines, columns, countOf, whenText } from '../text.ts'
import { createSpool } from './spool.ts'

interface Opened {
  context: Context
  task: string
  repository: Repository
  mirror: Mirror
  returned: Returned
}

/** The named task, else the one that was submitted last with a commit of this repository, which is then told. @throws Problem usage if there is none */
async function chosenTask({ hub, terminal }: Context, named: string, repository: Repository): Promise<string> {
  if (named !== '') return named
  const { tasks } = await hub.call('task.list', { limit: 100 })
  const ours = tasks.filter(({ depth, spec }) => depth === 0 && spec?.repository !== undefined)
  for (const { id, agent, createdAtMs, spec } of ours.sort((one, other) => other.createdAtMs - one.createdAtMs)) {
    const isHere = await commitOf(repository, spec?.repository?.base ?? '', '--repo').catch(() => undefined)
    if (isHere === undefined) continue
    terminal.note(`task ${shortId(id)} of ${agent ?? 'an agent'}, submitted ${whenText(createdAtMs, Date.now())}`)
    return id
  }
  throw usage(`no task works on ${repository.dir}`, 'submit one with --repo DIR, or name its task')
}

/** The task's newest branch, judged in a mirror. @throws Problem if it has none, or if it is refused */
async function withBranch(
  context: Context,
  named: string,
  options: Options,
  use: (opened: Opened) => Promise<number>,
): Promise<number> {
  const { hub, home } = context
  const repository = await findRepository(typed<string>(options.repo) ?? '.', '--repo')
  const { task: view, attempts } = await hub.call('task.show', { id: await chosenTask(context, named, repository) })
  const wanted = view.spec?.repository
  if (wanted === undefined) throw usage(`task ${shortId(view.id)} works on no repository`, 'submit one with --repo DIR')
  const bundles = view.artifacts.flatMap((each) => {
    const session = sessionOfBundle(each.name)
    return session === undefined ? [] : [{ ...each, session, nth: attempts.findIndex((at) => at.session === session) }]
  })
  const newest = bundles.sort((one, other) => one.nth - other.nth).at(-1)
  if (newest === undefined) {
    const isOver = !['queued', 'running'].includes(view.state)
    const next = isOver ? `\`hub task show ${shortId(view.id)}\` says why` : `\`hub wait ${shortId(view.id)}\``
    throw new Problem('no_branch', 'refused', `task ${shortId(view.id)} is ${view.state} and has left no branch`, next)
  }
  await requireBase(repository, wanted.base)
  const spool = createSpool(home)
  const folder = spool.open()
  try {
    const file = path.join(folder, newest.name)
    await fetchTo(context, newest, file)
    const mirror = await openMirror(repository, path.join(folder, 'mirror'))
    const returned = await openReturned(mirror, file, newest.session, wanted.base)
    return await use({ context, task: view.id, repository, mirror, returned })
  } finally {
    spool.remove()
  }
}

async function requireBase(repository: Repository, base: string): Promise<void> {
  await commitOf(repository, base, '--repo').catch(() => {
    throw usage(
      `${repository.dir} does not hold the commit that was sent (${base.slice(0, 12)})`,
      'run this in the repository that you submitted, or name it: --repo DIR',
    )
  })
}

async function fetchTo(
  { hub }: Context,
  { sha256, size }: { sha256: string; size: number },
  file: string,
): Promise<void> {
  const hash = createHash('sha256')
  let bytes = 0
  await using handle = await open(file, 'wx', 0o600)
  for await (const part of await hub.fetch(sha256)) {
    hash.update(part)
    bytes += part.length
    if (bytes > size) break
    await handle.writeFile(part)
  }
  if (bytes !== size || hash.digest('hex') !== sha256)
    throw new Problem('internal', 'fault', `the received bytes are not ${sha256}`, 'do not use them; see `hub doctor`')
}

/** What runs by itself comes first: whoever reads on has seen it. */
function warn({ terminal, json }: Context, { risky }: Returned): void {
  if (risky.length === 0 || json) return
  terminal.out(terminal.paint('yellow', `${countOf(risky.length, 'changed file')} can act without being called:`))
  for (const { path: name, what } of risky) terminal.out(`  ${clean(name)}: ${what}`)
  terminal.out('')
}

const counted = (count: number | null): string => (count === null ? 'binary' : String(count))

export const branchLog: Run = (context, [task = ''], options) =>
  withBranch(context, task, options, async ({ returned }) => {
    const { terminal, json } = context
    if (json) {
      const { pack: _, ...shown } = returned
      terminal.json(shown)
      return EXIT.done
    }
    warn(context, returned)
    terminal.out(
      clean(`${returned.branch}: ${countOf(returned.commits.length, 'commit')} after ${returned.base.slice(0, 12)}`),
    )
    const nowMs = Date.now()
    const rows = returned.commits.map((each) => [
      each.commit.slice(0, 12),
      whenText(each.atMs, nowMs),
      each.author,
      each.subject,
    ])
    terminal.out(columns(['COMMIT', 'WHEN', 'AUTHOR', 'SUBJECT'], rows, terminal.paint))
    terminal.out('')
    const files = returned.files.map((each) => [each.status, counted(each.added), counted(each.removed), each.path])
    terminal.out(columns(['', 'ADDED', 'REMOVED', 'FILE'], files, terminal.paint))
    return EXIT.done
  })

export const branchDiff: Run = (context, [task = ''], options) =>
  withBranch(context, task, options, async ({ mirror, returned }) => {
    const { terminal, json } = context
    const { base, tip, files, risky } = returned
    const { out } = await mirror.git(['diff', '--no-ext-diff', '--no-textconv', '--no-color', base, tip])
    if (json) {
      terminal.json({ branch: returned.branch, base, tip, files, risky, patch: out.toString() })
      return EXIT.done
    }
    warn(context, returned)
    terminal.out(cleanLines(out.toString().trimEnd()))
    return EXIT.done
  })

/**
 * Brings the objects into the repository, and makes the branch `name` if one is given. Not by `git fetch`: the configuration of the repository
 * may turn the path into another address.
 */
async function bring(
  { returned }: Opened,
  tree: Awaited<ReturnType<typeof openWorkTree>>,
  name: string | undefined,
): Promise<void> {
  const pack = createReadStream(returned.pack) as AsyncIterable<Buffer>
  const failed = (what: string, said: string) =>
    new Problem('git_failed', 'refused', `git ${what} failed: ${said}`, 'see what git says')
  const taken = await tree.git(['index-pack', '--stdin', '--fix-thin'], pack)
  if (taken.code !== 0) throw failed('index-pack', taken.said)
  if (name === undefined) return
  // Only if there is none by now.
  const made = await tree.git(['update-ref', `refs/heads/${name}`, returned.tip, '0'.repeat(returned.tip.length)])
  if (made.code !== 0) throw failed('update-ref', made.said)
}

/** Filters of the repository's own configuration stay off; a person has to know. */
function sayWithout({ terminal }: Context, keys: readonly string[]): void {
  if (keys.length > 0) terminal.note(clean(`not run, because the repository itself names them: ${keys.join(', ')}`))
}

/**
 * Words that git itself reads otherwise than as the name of a branch: `@{-1}` is the one before, `@` and `HEAD` are where you are, 40 digits are a
 * commit. @throws Problem usage
 */
async function requireBranchName(tree: Awaited<ReturnType<typeof openWorkTree>>, name: string): Promise<void> {
  const isOdd =
    name.startsWith('-') || name.startsWith('refs/') || /^(?:@|HEAD|FETCH_HEAD|[0-9a-f]{40}|[0-9a-f]{64})$/.test(name)
  if (isOdd || (await tree.git(['check-ref-format', `refs/heads/${name}`])).code !== 0)
    throw usage(`--as: ${JSON.stringify(name)} is no name for a branch`, 'choose a plain name: --as agent/night')
}

export const branchCheckout: Run = (context, [task = ''], options) =>
  withBranch(context, task, options, async (opened) => {
    const { repository, mirror, returned } = opened
    const { terminal, json } = context
    const name = typed<string>(options.as) ?? returned.branch
    const tree = await openWorkTree(repository)
    await requireBranchName(tree, name)
    await requireReady(tree, repository.dir)
    const there = await tree.git(['rev-parse', '--verify', '--quiet', `refs/heads/${name}`])
    const at = there.out.toString().trim()
    if (there.code === 0 && at !== returned.tip)
      throw new Problem(
        'conflict',
        'refused',
        `the branch ${name} exists already, at another commit (${at.slice(0, 12)}); nothing was touched`,
        'choose another name: --as NAME',
      )
    await requireNoLoss(tree, mirror, await commitOf(repository, 'HEAD', '--repo'), returned.tip)
    warn(context, returned)
    if (there.code !== 0) await bring(opened, tree, name)
    const { code, said } = await tree.git(['switch', '--quiet', '--no-guess', name])
    if (code !== 0) throw new Problem('git_failed', 'refused', `git switch failed: ${said}`, 'see what git says')
    sayWithout(context, tree.without)
    if (json) terminal.json({ branch: name, tip: returned.tip, risky: returned.risky })
    else
      terminal.out(
        clean(`on branch ${name}, ${countOf(returned.commits.length, 'commit')} after ${returned.base.slice(0, 12)}`),
      )
    return EXIT.done
  })

export const branchApply: Run = (context, [task = ''], options) =>
  withBranch(context, task, options, async (opened) => {
    const { repository, mirror, returned } = opened
    const { terminal, json } = context
    const { tip, branch } = returned
    const tree = await openWorkTree(repository)
    await requireReady(tree, repository.dir)
    const head = await commitOf(repository, 'HEAD', '--repo')
    if ((await mirror.git(['merge-base', '--is-ancestor', tip, head], { codes: [0, 1] })).code === 0) {
      if (json) terminal.json({ branch, tip, head, applied: false, risky: returned.risky })
      else terminal.out(clean(`${branch} is in here already; nothing was touched`))
      return EXIT.done
    }
    const onto = (await tree.git(['symbolic-ref', '--quiet', '--short', 'HEAD'])).out.toString().trim()
    if (onto === '')
      throw new Problem(
        'conflict',
        'refused',
        `${repository.dir} is on no branch (its HEAD is detached), so a merge would be lost; nothing was touched`,
        '`git switch NAME` first',
      )
    warn(context, returned)
    const { tree: merged, conflicts } = await mergedOf(mirror, head, tip)
    if (conflicts.length > 0) {
      if (!json) for (const name of conflicts) terminal.out(`conflict: ${clean(name)}`)
      throw new Problem(
        'conflict',
        'refused',
        `${countOf(conflicts.length, 'file')} changed on both sides; nothing was touched`,
        `\`hub branch checkout ${shortId(opened.task)}\` makes the branch, so that you can merge it by hand`,
        { conflicts },
      )
    }
    await requireNoLoss(tree, mirror, head, merged)
    const what = `${countOf(returned.commits.length, 'commit')}, ${countOf(returned.files.length, 'file')}`
    if (
      !(await terminal.confirm(
        clean(`merge ${branch} (${what}) into ${onto} of ${repository.dir}?`),
        options.yes === true,
      ))
    ) {
      terminal.note('nothing was touched')
      return EXIT.done
    }
    await bring(opened, tree, undefined)
    const text = `Merge branch '${branch}' (task ${shortId(opened.task)})`
    const { code, said } = await tree.git([
      'merge',
      '--quiet',
      '--no-stat',
      '--no-edit',
      '--commit',
      '--no-squash',
      '--no-verify',
      '-m',
      text,
      tip,
    ])
    if (code !== 0) {
      await tree.git(['merge', '--abort'])
      throw new Problem('git_failed', 'refused', `git merge failed: ${said}; it was taken back`, 'see what git says')
    }
    sayWithout(context, tree.without)
    const now = await commitOf(repository, 'HEAD', '--repo')
    if (json) terminal.json({ branch, tip, head: now, applied: true, risky: returned.risky })
    else terminal.out(clean(`merged ${branch} (${what}); now at ${now.slice(0, 12)}`))
    return EXIT.done
  })
