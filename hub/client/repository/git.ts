/**
 * Git on the operator's machine, for repositories that go in and branches that come back. Neither is trusted: a repository from anywhere may
 * name programs in its own configuration, and a branch was made by an agent.
 *
 * 1. Whatever can be done without the repository's configuration is done in a mirror: an empty repository of ours that reads its objects.
 * 2. Where the repository itself has to be asked or changed, the programs that its own configuration names are switched off, and no hook runs.
 *    What the operator set for all repositories stays.
 */
import { isUtf8 } from 'node:buffer'
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { diskProblem } from '../../base/disk-words.ts'
import { gitFault } from '../../base/git-version.ts'
import { Problem, usage } from '../problem.ts'

const OUTPUT_BYTES_MAX = 64 * 1024 ** 2

/** A command that ends takes its git with it, so that nothing is written any more into a folder that is being removed. */
const running = new Set<ChildProcess>()
const endAll = (): void => {
  for (const child of running) child.kill('SIGKILL')
}

/** What git writes where the disk has no more room. */
const FULL: Readonly<Record<string, string>> = {
  'No space left on device': 'ENOSPC',
  'Disk quota exceeded': 'EDQUOT',
}
function fullDisk(said: string, place: string | undefined): unknown {
  const [words, code] = Object.entries(FULL).find(([each]) => said.includes(each)) ?? []
  return words === undefined ? undefined : diskProblem(Object.assign(new Error(words), { code }), place)
}

const drained = (stream: NodeJS.WritableStream) =>
  new Promise<void>((resolve) => {
    stream.once('drain', resolve)
    stream.once('close', resolve)
  })

export interface GitAnswer {
  code: number
  out: Buffer
  /** What git said of the fault: its first line about one, else its last line. */
  said: string
}

/**
 * The environment of the command without what would lead git elsewhere. Nothing here needs another repository, so no protocol is allowed: a
 * repository may name itself a partial clone, and git would then run what its configuration names to fetch an object that is missing.
 */
const surroundings = (more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('GIT_'))),
  ...{ GIT_TERMINAL_PROMPT: '0', GIT_OPTIONAL_LOCKS: '0', GIT_NO_REPLACE_OBJECTS: '1', LC_ALL: 'C.UTF-8' },
  ...{ GIT_ALLOW_PROTOCOL: 'none', GIT_NO_LAZY_FETCH: '1' },
  ...more,
})

interface Streams {
  /** Goes to its standard input. */
  input?: AsyncIterable<Uint8Array>
  /** Is given what it writes, piece by piece, which is then not answered. It may throw: then git is ended. */
  take?: (piece: Buffer) => void
}

/** Runs git and answers whatever came of it. @throws Problem if there is no git, or if it says too much; and what `take` threw */
function runGit(
  cwd: string,
  args: readonly string[],
  { env, input, take }: Streams & { env?: Readonly<Record<string, string>> } = {},
): Promise<GitAnswer> {
  return new Promise((resolve, reject) => {
    const child = spawn('git', args, { cwd, env: surroundings(env), stdio: ['pipe', 'pipe', 'pipe'] })
    if (running.size === 0) process.once('exit', endAll)
    running.add(child)
    const over = () => {
      running.delete(child)
      if (running.size === 0) process.removeListener('exit', endAll)
    }
    const out: Buffer[] = []
    let bytes = 0
    let said = ''
    child.on('error', (thrown: NodeJS.ErrnoException) => {
      over()
      const why = thrown.code === 'ENOENT' ? 'git is not installed here' : `git cannot be started (${thrown.code})`
      reject(usage(why, 'install git'))
    })
    let stopped: { thrown: unknown } | undefined
    child.stdout.on('data', (chunk: Buffer) => {
      try {
        if (take !== undefined) return take(chunk)
      } catch (thrown) {
        stopped = { thrown }
        child.kill()
        // What it started writes here too, and ends by this.
        return child.stdout.destroy()
      }
      bytes += chunk.length
      if (bytes <= OUTPUT_BYTES_MAX) out.push(chunk)
      else child.kill()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk}`.slice(-4096)
    })
    child.on('close', (code) => {
      over()
      if (stopped !== undefined) return reject(stopped.thrown)
      const full = code === 0 ? undefined : fullDisk(said, args[1])
      if (full !== undefined) return reject(full)
      if (bytes > OUTPUT_BYTES_MAX)
        return reject(new Problem('too_large', 'refused', `git ${args[0]} says more than 64 MiB`, 'use git itself'))
      const lines = said.trim().split('\n')
      const first = lines.find((line) => /^(fatal|error): /.test(line)) ?? lines.at(-1) ?? ''
      resolve({ code: code ?? 128, out: Buffer.concat(out), said: first.replace(/^(fatal|error): /, '') })
    })
    // It may end without reading all of it; its exit code says why.
    child.stdin.on('error', () => undefined)
    void (async () => {
      try {
        for await (const chunk of input ?? []) if (!child.stdin.write(chunk)) await drained(child.stdin)
      } catch (thrown) {
        child.kill()
        reject(thrown)
      }
      child.stdin.end()
    })()
  })
}

/**
 * What may run side by side. Ends when all of it has, so that nothing is written any more where the caller then removes it. @throws what the first
 * in the row threw
 */
export async function together<const All extends readonly Promise<unknown>[]>(
  all: All,
): Promise<{ -readonly [At in keyof All]: Awaited<All[At]> }> {
  await Promise.allSettled(all)
  // In their order: `Promise.all` would throw what failed first.
  for (const each of all) await each
  return (await Promise.all(all)) as { -readonly [At in keyof All]: Awaited<All[At]> }
}

export interface Repository {
  dir: string
  /** Where its objects are, as an absolute path. */
  objects: string
  format: 'sha1' | 'sha256'
}

/** @throws Problem usage if the git of this machine is too old for what is done with it */
async function requireGit(): Promise<void> {
  const { out } = await runGit('.', ['--version'])
  const fault = gitFault(out.toString())
  if (fault !== undefined) throw usage(`git cannot be used: ${fault}`, 'install a newer git')
}

/** Finds the repository that holds `dir`. @throws Problem usage where there is none that can be used; `option` is how it was named */
export async function findRepository(dir: string, option: string): Promise<Repository> {
  await requireGit()
  const asked = ['--path-format=absolute', '--git-path', 'objects', '--show-object-format', '--is-shallow-repository']
  const { code, out, said } = await runGit('.', ['-C', dir, 'rev-parse', ...asked])
  if (code !== 0) {
    const isNone = said.startsWith('not a git repository')
    throw usage(
      `${option}: ${dir} ${isNone ? 'is not a git repository' : `cannot be used: ${said}`}`,
      'name a repository',
    )
  }
  const [objects = '', format = 'sha1', shallow] = out.toString().trimEnd().split('\n')
  if (shallow === 'true')
    throw usage(
      `${option}: ${dir} is a shallow clone, so its history is not whole`,
      '`git fetch --unshallow` fetches it',
    )
  if (/["\n]/.test(objects)) throw usage(`${option}: the path of ${dir} holds a character that git cannot pass on`)
  return { dir, objects, format: format === 'sha256' ? 'sha256' : 'sha1' }
}

/** The whole id of a commit. @throws Problem usage if the name leads to none */
export async function commitOf({ dir }: Repository, name: string, option: string): Promise<string> {
  const { code, out } = await runGit('.', [
    '-C',
    dir,
    'rev-parse',
    '--verify',
    '--quiet',
    '--end-of-options',
    `${name}^{commit}`,
  ])
  if (code === 0) return out.toString().trim()
  const isEmpty = name === 'HEAD'
  throw usage(
    isEmpty ? `${option}: ${dir} has no commit yet` : `${option}: ${dir} has no commit ${JSON.stringify(name)}`,
    isEmpty ? 'commit something first' : '`git branch` and `git tag` show the names',
  )
}

/** An empty bare repository in `folder`, by our configuration alone, that reads the objects of `repository`. */
export interface Mirror {
  folder: string
  /** Runs git in it. @throws Problem naming what failed, unless `codes` lists the exit code */
  git(args: readonly string[], options?: Streams & { codes?: readonly number[] }): Promise<GitAnswer>
}

/** A few bytes of a pack can say an object of any size, and git would ask for that much memory at once. */
const MEMORY_AT_ONCE = '1g'
const OURS = {
  ...{ GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_ATTR_NOSYSTEM: '1' },
  GIT_ALLOC_LIMIT: MEMORY_AT_ONCE,
}

export async function openMirror({ objects, format }: Repository, folder: string): Promise<Mirror> {
  const git: Mirror['git'] = async (args, { codes = [0], ...streams } = {}) => {
    const options = { env: OURS, ...streams }
    const answer = await runGit('.', ['--git-dir', folder, '-c', 'gc.auto=0', ...args], options)
    if (codes.includes(answer.code)) return answer
    const isLacking = /unable to read|bad object|missing|could not read/i.test(answer.said)
    throw new Problem(
      'git_failed',
      'refused',
      `git ${args[0]} failed: ${answer.said || `exit code ${answer.code}`}`,
      isLacking
        ? 'objects are missing here, as in a partial clone: `git fetch --refetch` fetches them'
        : 'see what git says',
    )
  }
  const made = await runGit('.', ['init', '--quiet', '--bare', '--template=', `--object-format=${format}`, folder], {
    env: OURS,
  })
  if (made.code !== 0) throw new Problem('git_failed', 'fault', `git init failed: ${made.said}`, 'see what git says')
  writeFileSync(join(folder, 'objects', 'info', 'alternates'), `${objects}\n`)
  return { folder, git }
}

/**
 * Keys of a repository's own configuration that name programs which git would run, and what takes their place. The middle part of a key may
 * hold any character, also one that ends a line.
 */
const PROGRAMS: readonly { key: RegExp; instead: string }[] = [
  { key: /^filter\..*\.(clean|smudge|process)$/s, instead: '' },
  { key: /^filter\..*\.required$/s, instead: 'false' },
  { key: /^merge\..*\.driver$/s, instead: 'false' },
  { key: /^hook\..*\.command$/s, instead: 'true' },
  { key: /^core\.alternaterefscommand$/, instead: 'true' },
  { key: /^gpg\.(.*\.)?(program|defaultkeycommand)$/s, instead: 'false' },
  // Options of `git merge`: they choose a strategy, which is a program, or sign.
  { key: /^branch\..*\.mergeoptions$/s, instead: '' },
]

/** What stays off whatever the configuration says. In a submodule git would read that repository's configuration, and it is not ours to judge. */
const OFF = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['submodule.recurse', 'false'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
] as const

/**
 * Runs git in the operator's repository itself, with the programs of its own configuration switched off: `without` names their keys. No hook
 * runs, also none that the operator set: a branch may have brought it. @throws Problem if the configuration moves the work tree, or if a key
 * that names a program is no text, so that it cannot be switched off
 */
export async function openWorkTree({ dir }: Repository): Promise<{
  without: readonly string[]
  git(args: readonly string[], input?: AsyncIterable<Uint8Array>): Promise<GitAnswer>
}> {
  const listing = (scope: string) =>
    runGit('.', ['-C', dir, 'config', scope, '--includes', '--list', '--name-only', '-z'])
  const listings = await together([listing('--local'), listing('--worktree')])
  // Byte by byte: a name that is not UTF-8 must not be taken for another one.
  const found = listings.flatMap(({ code, out }) => (code === 0 ? out.toString('latin1').split('\0') : []))
  const keys = [...new Set(found)]
  if (keys.some((key) => key.toLowerCase() === 'core.worktree'))
    throw usage(
      `${dir}: its configuration moves the work tree elsewhere (core.worktree)`,
      'use git itself, or remove that key',
    )
  const switched = keys.flatMap((key) => {
    const row = PROGRAMS.find((each) => each.key.test(key.toLowerCase()))
    if (row === undefined) return []
    const bytes = Buffer.from(key, 'latin1')
    if (!isUtf8(bytes))
      throw usage(
        `${dir}: its configuration names a program under a key that is not UTF-8 (${bytes.toString()})`,
        'use git itself, or remove that key',
      )
    return [[bytes.toString(), row.instead] as const]
  })
  const signs = switched.some(([key]) => /^gpg\./i.test(key)) ? [['commit.gpgSign', 'false'] as const] : []
  const pairs = [...OFF, ...signs, ...switched] as const
  const env: Record<string, string> = { GIT_CONFIG_COUNT: String(pairs.length) }
  for (const [at, [key, value]] of pairs.entries()) {
    env[`GIT_CONFIG_KEY_${at}`] = key
    env[`GIT_CONFIG_VALUE_${at}`] = value
  }
  return {
    without: switched.map(([key]) => key),
    git: (args, input) => runGit('.', ['-C', dir, ...args], input === undefined ? { env } : { env, input }),
  }
}
