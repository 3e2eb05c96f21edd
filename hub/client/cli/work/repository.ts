/** What `hub submit --repo` sends: a repository up to one commit, as a bundle; or what it would send, for `--dry-run`. */
import { statSync } from 'node:fs'
import path from 'node:path'
import type { FolderRef } from '../../../protocol/envelope.ts'
import { BUNDLE_NAME, type Repository } from '../../../protocol/task-spec.ts'
import { loadShapes } from '../../connection.ts'
import { packFile } from '../../pack.ts'
import { usage } from '../../problem.ts'
import { bundleRepository, type RepositoryFacts } from '../../repository/bundle.ts'
import { type Context, typed } from '../context.ts'
import { clean, countOf, sizeText } from '../text.ts'
import { INPUT_LIMITS, upload } from './input.ts'
import { createSpool } from './spool.ts'

/** The command line about a repository. */
export interface RepositoryWish {
  dir: string
  /** What the person calls the commit to begin at. */
  name: string
  change: boolean
  withSecrets: boolean
}

const SHOWN = 3
function listed(paths: readonly string[]): string {
  const shown = paths.slice(0, SHOWN).join(', ')
  return paths.length > SHOWN ? `${shown} and ${paths.length - SHOWN} more` : shown
}

/** The wish, or undefined without `--repo`. @throws Problem usage for options that need it, or that it excludes */
export function repositoryWish(options: Readonly<Record<string, unknown>>): RepositoryWish | undefined {
  const dir = typed<string>(options.repo)
  if (dir === undefined) {
    if (options.base !== undefined) throw usage('--base: a commit of which repository?', 'add --repo DIR')
    if (options.change === false) throw usage('--no-change: is about a repository', 'add --repo DIR')
    return undefined
  }
  if (options.input !== undefined)
    throw usage(
      '--input and --repo: a task has one input',
      'commit the files to the repository, or send only one of both',
    )
  const withSecrets = options.withSecrets === true || options.includeSecrets === true
  return { dir, name: typed<string>(options.base) ?? 'HEAD', change: options.change !== false, withSecrets }
}

/** Sentences that a person should read before an agent has the repository. */
function warnings({ secrets, submodules, pointers, uncommitted }: RepositoryFacts): string[] {
  const past = secrets.filter((each) => each.past).map((each) => each.path)
  const now = secrets.filter((each) => !each.past).map(({ path: name, why }) => `${name} (${why})`)
  const one = (paths: readonly string[], single: string, several: string) => (paths.length === 1 ? single : several)
  return [
    now.length > 0 ? `${listed(now)}: ${one(now, 'looks like a secret', 'look like secrets')}` : '',
    past.length > 0
      ? `${listed(past)}: ${one(past, 'looks like a secret', 'look like secrets')}, in earlier commits`
      : '',
    uncommitted.length > 0 ? `${listed(uncommitted)}: not sent, because it is not committed` : '',
    submodules.length > 0
      ? `${listed(submodules)}: left out, because a repository inside a repository (a submodule) is one of its own`
      : '',
    pointers.length > 0 ? `${listed(pointers)}: sent as LFS pointers, not as the files that they stand for` : '',
  ].filter((line) => line !== '')
}

const tooLarge = (dir: string, bytes: number) =>
  usage(
    `--repo: the history of ${dir} is ${sizeText(bytes)} or more; at most ${sizeText(INPUT_LIMITS.bytesMax)} can be sent, and no bundle was made`,
    '`git gc` packs it, if that was not done for long; else send a repository with less history',
  )

async function withBundle<T>(
  context: Context,
  wish: RepositoryWish,
  use: (facts: RepositoryFacts, file: string) => Promise<T>,
): Promise<T> {
  const { json, terminal, home } = context
  const spool = createSpool(home)
  const folder = spool.open()
  try {
    if (!json) terminal.live('packing the repository')
    const file = path.join(folder, BUNDLE_NAME)
    const facts = await bundleRepository(wish.dir, wish.name, path.join(folder, 'mirror'), file, {
      bytesMax: INPUT_LIMITS.bytesMax,
      tooLarge: (bytes) => tooLarge(wish.dir, bytes),
      foreseen(bytes) {
        spool.requireRoom(bytes)
        // Now git is at work, and this process is not. Who needs it says why it cannot be loaded.
        void loadShapes().catch(() => undefined)
      },
    })
    terminal.live('')
    return await use(facts, file)
  } finally {
    terminal.live('')
    spool.remove()
  }
}

/** Packs the repository and uploads what the hub does not have yet. @throws Problem usage for one that holds secrets, or is too large */
export const sendRepository = (
  context: Context,
  wish: RepositoryWish,
): Promise<{ inputs: FolderRef; spec: { repository: Repository } }> =>
  withBundle(context, wish, async (facts, file) => {
    const { terminal } = context
    for (const line of warnings(facts)) terminal.note(clean(`repository: ${line}`))
    if (facts.secrets.length > 0 && !wish.withSecrets)
      throw usage(
        '--repo: the repository holds what looks like a secret; nothing was sent',
        'take it out of the history; to send it anyway, add --include-secrets',
      )
    const inputs = await upload(context, await packFile(file, INPUT_LIMITS.bytesMax, BUNDLE_NAME))
    return { inputs, spec: { repository: { base: facts.base, from: wish.name, change: wish.change } } }
  })

/** Says what would be sent. Works without the hub. */
export const showRepository = (context: Context, wish: RepositoryWish): Promise<void> =>
  withBundle(context, wish, async (facts, file) => {
    const { json, terminal } = context
    const { size } = statSync(file)
    if (json) return terminal.json({ ...facts, bytes: size })
    const what = `${countOf(facts.files, 'file')} and ${countOf(facts.commits, 'commit')}, ${sizeText(size)}`
    terminal.out(`${what} up to ${facts.base.slice(0, 12)} would be sent; nothing was sent`)
    for (const line of warnings(facts)) terminal.out(clean(line))
    if (facts.secrets.length > 0 && !wish.withSecrets) terminal.out('refused without --include-secrets')
  })
