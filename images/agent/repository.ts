/**
 * The repository of a task (docs/agents.md): its input is one git bundle, and what comes back is a bundle and a patch.
 *
 * 1. Git runs here, in the container, and never in the hub. Whatever a repository makes git run, it runs as the agent's own program would.
 * 2. The bundle is cloned to `/workspace/repo` on the branch `hub/SESSION`. No hook of the clone runs for what the shim does.
 * 3. What is not committed when the agent ends is committed by the shim, in a commit that says so. It goes by an index of its own, so a lock or
 *    a half-done merge that the agent left is not in the way. Nothing that the agent wrote is lost, but what it told git to ignore.
 * 4. Only commits after the base come back: in `out/SESSION.bundle`, and for people in `out/SESSION.patch`.
 */
import { execFile } from 'node:child_process'
import { appendFile, link, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { HubAgent } from '../../hub/client/agent.ts'
import type { Repository } from '../../hub/protocol/task-spec.ts'

/** As `BASE_REF` and `branchOf` of protocol/task-spec.ts, whose module loads others that no image needs. */
const BASE = 'refs/heads/base'
const branchOf = (session: string) => `hub/${session}`

/** How many commits there are, and a sentence about what is lost. */
interface Saved {
  commits?: number
  lost?: string
}

export interface RepositoryWork {
  /** Where the program begins: the root of the clone. */
  readonly folder: string
  /** What the bundle that comes back is called in `out`. */
  readonly bundle: string
  /** Writes what was changed so far to `out`, one save after the other. Nothing that the agent sees of its repository changes. Never throws. */
  save(): Promise<Saved>
}

const GIT_MS_MAX = 300_000
const OUTPUT_BYTES_MAX = 1024 ** 2
/**
 * A repository of many objects must not need more threads than its session may have. Whether a file was changed is seen as closely as git can,
 * whatever the agent told it.
 */
const QUIET = [
  ...['core.hooksPath=/dev/null', 'core.fsmonitor=false', 'gc.auto=0', 'maintenance.auto=false', 'pack.threads=1'],
  ...['index.threads=1', 'commit.gpgSign=false', 'fetch.fsckObjects=true', 'advice.detachedHead=false'],
  ...['core.ignoreStat=false', 'core.checkStat=default', 'core.trustctime=true', 'core.sparseCheckout=false'],
].flatMap((pair) => ['-c', pair])

const NO_GIT = 'the image of this agent has no git: write `tools: [git]` into its image.yaml and build it again'

/** Runs git in the container and answers its output. Throws with what it said first of the fault. */
function createGit(home: string) {
  const env = {
    ...{ HOME: home, PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin', LANG: 'C.UTF-8' },
    ...{ GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0', GIT_OPTIONAL_LOCKS: '0' },
  }
  return (cwd: string, args: readonly string[], more: Record<string, string> = {}): Promise<string> =>
    new Promise((resolve, reject) => {
      const options = { cwd, env: { ...env, ...more }, maxBuffer: OUTPUT_BYTES_MAX, timeout: GIT_MS_MAX }
      execFile('git', [...QUIET, ...args], options, (thrown, stdout, stderr) => {
        if (thrown === null) return resolve(stdout.trim())
        const lines = stderr.trim().split('\n')
        const said = (lines.find((line) => /^(fatal|error): /.test(line)) ?? lines.at(-1) ?? '').replace(/^\w+: /, '')
        const isMissing = (thrown as NodeJS.ErrnoException).code === 'ENOENT'
        reject(new Error(isMissing ? NO_GIT : `git ${args[0]} failed: ${said || thrown.message}`))
      })
    })
}

/** Clones the bundle. Throws in words for the task's result if that cannot be done. */
export async function openRepository(
  { joined }: Pick<HubAgent, 'joined'>,
  { base }: Repository,
  { bundle, workspace, home }: { bundle: string; workspace: string; home: string },
): Promise<RepositoryWork> {
  const git = createGit(home)
  const folder = join(workspace, 'repo')
  const branch = branchOf(joined.session)
  const bundleName = `${joined.session}.bundle`
  // The length of an id tells how the repository names its objects.
  const format = base.length === 64 ? ['--object-format=sha256'] : []
  await git(workspace, ['init', '--quiet', '--template=', `--initial-branch=${branch}`, ...format, folder])
  // Refused here already: a bundle that is cut, that holds odd objects, or that is none.
  await git(folder, ['fetch', '--quiet', '--no-tags', bundle, BASE])
  const held = await git(folder, ['rev-parse', '--verify', '--quiet', 'FETCH_HEAD^{commit}'])
  if (held !== base) throw new Error(`the bundle holds commit ${held}, but the task says ${base}`)
  // Written, not told to git key by key: each would be a process. A name of an agent needs no quotes. Where agents reach a forge, deltas could not
  // be read before they are sent (docs/egress.md 1).
  const who = `[user]\n\tname = agent ${joined.agent}\n\temail = ${joined.agent}@hub.invalid\n`
  await appendFile(join(folder, '.git', 'config'), `${who}[pack]\n\tdepth = 0\n`)
  await git(folder, ['reset', '--quiet', '--hard', base])
  // What git saw of each file when it wrote it, so that a save reads only what was changed since. A link and no copy: git looks closer at a file
  // that is not older than its index, and a copy would be newer. Without it a save reads everything.
  const index = { GIT_INDEX_FILE: join(folder, '.git', 'hub-index') }
  await link(join(folder, '.git', 'index'), index.GIT_INDEX_FILE).catch(() => undefined)
  await rm(bundle, { force: true })

  /**
   * The commit that holds everything: the newest of the agent's, and beyond it what it did not commit. What git cannot take of that (a repository
   * in the repository that has no commit, a file that nobody may read) does not hold up the rest: `lost` names it.
   */
  async function tipOf(): Promise<{ tip: string; lost?: string }> {
    const head = await git(folder, ['rev-parse', '--verify', '--quiet', 'HEAD^{commit}'])
    await git(folder, ['read-tree', '-m', '-i', head], index).catch(async () => {
      // It is not as it was left, or a save was broken off.
      for (const end of ['', '.lock']) await rm(`${index.GIT_INDEX_FILE}${end}`, { force: true })
      await git(folder, ['read-tree', head], index)
    })
    const taken = await git(folder, ['add', '--all', '--ignore-errors'], index).then(
      () => ({}),
      (thrown: Error) => ({ lost: `not all that the agent left could be committed: ${thrown.message}` }),
    )
    const tree = await git(folder, ['write-tree'], index)
    if (tree === (await git(folder, ['rev-parse', `${head}^{tree}`]))) return { tip: head, ...taken }
    const text = 'Not committed by the agent: what its work tree held at the end'
    return { tip: await git(folder, ['commit-tree', '-p', head, '-m', text, tree]), ...taken }
  }

  async function saveNow(): Promise<Saved> {
    const out = join(workspace, 'out')
    try {
      if ((await stat(join(folder, '.git')).catch(() => undefined)) === undefined)
        return { lost: 'the branch is lost: the agent removed /workspace/repo/.git' }
      const { tip, lost } = await tipOf()
      const ref = `refs/heads/${branch}`
      const isAfter = await git(folder, ['merge-base', '--is-ancestor', base, tip]).then(
        () => true,
        () => false,
      )
      if (!isAfter) return { lost: `the branch is lost: what the agent left does not stand on the commit ${base}` }
      const commits = Number(await git(folder, ['rev-list', '--count', `${base}..${tip}`]))
      if (commits === 0) return lost === undefined ? { commits } : { lost }
      // Where HEAD stands counts, whatever the agent called its branch. The branch of that name is made in a repository beside its own: the
      // agent may be at work, and its own refs must not move under it.
      const beside = join(folder, '.git', 'hub-beside')
      await rm(beside, { recursive: true, force: true })
      await git(workspace, ['init', '--quiet', '--bare', '--template=', ...format, beside])
      await writeFile(join(beside, 'objects', 'info', 'alternates'), `${join(folder, '.git', 'objects')}\n`)
      await git(beside, ['update-ref', ref, tip])
      const files = { bundle: join(out, bundleName), patch: join(out, `${joined.session}.patch`) }
      await git(beside, ['bundle', 'create', '--quiet', files.bundle, ref, `^${base}`])
      await git(folder, ['diff', '--no-ext-diff', '--no-textconv', '--binary', `--output=${files.patch}`, base, tip])
      return lost === undefined ? { commits } : { commits, lost }
    } catch (thrown) {
      return { lost: `the branch is lost: ${(thrown as Error).message}` }
    }
  }

  // The index of a save and its bundle are the same files each time.
  let last: Promise<unknown> = Promise.resolve()
  return {
    folder,
    bundle: bundleName,
    save() {
      const saving = last.then(saveNow)
      last = saving
      return saving
    },
  }
}
