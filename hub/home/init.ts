/**
 * `hub init`: makes a home that can be started (keys, instance, rules' data, first heartbeat). Run again, it adds what is
 * missing and changes nothing that is there.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { HubError } from '../base/errors.ts'
import { newUuid, type Random } from '../base/random.ts'
import { createFile, removeHalfMade, syncFolder } from '../base/whole-file.ts'
import { createKeyFiles } from '../guard/identity/keys.ts'
import { makeStopOrder } from '../guard/operator/stop-order.ts'
import { makeStopWishes } from '../guard/operator/stop-wishes.ts'
import { openStore } from '../store/database.ts'
import { migrate, shippedMigrations } from '../store/migrations.ts'
import { HOME_BYTES_MAX } from '../work/sandbox/sockets.ts'
import { requireDatabase, requireInstance, signOfUse } from './home-check.ts'

export interface InitReport {
  home: string
  instance: string
  /** What was made now; empty when all was there. */
  made: string[]
}

const CONFIG_TEXT = `# Configuration of this hub. Every key has a default; unknown keys stop the start. See docs/reference/configuration.md.
# limits:
#   sessions: 12
# http:
#   port: 7300
`

const git = (folder: string, ...words: string[]): string =>
  execFileSync('git', ['-c', 'user.name=hub', '-c', 'user.email=hub@localhost', '-C', folder, ...words], {
    encoding: 'utf8',
    timeout: 10_000,
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim()

const FOLDERS = [
  ...['agents', 'agents/schemas', 'policy', 'run', 'logs', 'watchdog'],
  ...['artifacts', 'transcripts', 'evidence', 'secrets'],
]

/**
 * The commit that holds exactly these files: undefined if one was changed since, is in no repository, or git is absent (S1-13). A commit with
 * another version of a file would prove something false.
 */
export function commitOfFiles(folder: string, names: readonly string[]): string | undefined {
  try {
    const changed = git(folder, 'status', '--porcelain', '--ignored', '--', ...names)
    return changed === '' ? git(folder, 'rev-parse', 'HEAD') : undefined
  } catch {
    return undefined
  }
}

export function initHome(
  options: { home: string; checkout: string; nowMs: number },
  random: Random,
  initWatchdog: (home: string) => void,
): InitReport {
  const { home, checkout } = options
  if (Buffer.byteLength(home) > HOME_BYTES_MAX)
    throw new HubError(
      'config_invalid',
      `the home ${home} is longer than ${HOME_BYTES_MAX} bytes; choose a shorter --home`,
    )
  const made: string[] = []
  makeFolder(home)
  const used = signOfUse(home)
  requireDatabase(home, used)
  requireInstance(home, used)
  for (const name of FOLDERS) makeFolder(join(home, name))
  for (const name of ['.', 'keys', 'policy', 'agents'])
    if (existsSync(join(home, name))) removeHalfMade(join(home, name))
  made.push(...createKeyFiles(join(home, 'keys'), random, used !== undefined))

  const put = (path: string, text: string | Buffer) => {
    if (!existsSync(join(home, path)) && createFile(join(home, path), text)) made.push(path)
  }
  put('instance', `${newUuid(random, options.nowMs)}\n`)
  put('hub.yaml', CONFIG_TEXT)
  makeStopOrder(home)
  makeStopWishes(home)
  put(join('policy', 'data.json'), readFileSync(join(checkout, 'policies', 'data.json')))
  for (const folder of ['policy', 'agents']) keepHistory(join(home, folder))
  if (!existsSync(join(home, 'watchdog', 'state'))) {
    // A lost witness must be seen, not silently replaced by one that remembers nothing (docs/safety.md 8).
    if (used !== undefined) {
      const again = `node ${join(checkout, 'watchdog', 'main.ts')} --home ${home} --init`
      throw new HubError(
        'config_invalid',
        `${join(home, 'watchdog', 'state')} is missing although this hub was used, and no backup has it. To begin again without it run: ${again}`,
      )
    }
    initWatchdog(home)
    made.push('watchdog/state')
  }
  // Last: a home that has its database is whole. So a home that lost its database differs from one that never had one.
  if (!existsSync(join(home, 'hub.db'))) {
    makeDatabase(join(home, 'hub.db'), options.nowMs)
    made.push('hub.db')
  }
  return { home, instance: readFileSync(join(home, 'instance'), 'utf8').trim(), made }
}

/** An empty database with every table; it gets its name once it is whole and on disk. */
function makeDatabase(path: string, nowMs: number): void {
  const beside = `${path}.making`
  for (const file of [beside, `${beside}-wal`]) rmSync(file, { force: true })
  const store = openStore(beside)
  migrate(store, shippedMigrations(), nowMs, () => undefined)
  store.checkpoint()
  store.close()
  renameSync(beside, path)
  syncFolder(dirname(path))
}

/** 0700, and ours: a folder that others can write is refused rather than repaired. */
function makeFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const found = statSync(path)
  if (!found.isDirectory() || found.uid !== process.getuid?.())
    throw new HubError('config_invalid', `${path} does not belong to this user; choose another --home`)
  if ((found.mode & 0o077) !== 0)
    throw new HubError(
      'config_invalid',
      `${path} is open to others (mode ${(found.mode & 0o777).toString(8)}); run: chmod 700 ${path}`,
    )
}

/** A git repository where git is at hand, so that every change of rules and cards has a commit to name. */
function keepHistory(folder: string): void {
  try {
    if (!existsSync(join(folder, '.git'))) git(folder, 'init', '--quiet')
    git(folder, 'add', '--all')
    if (git(folder, 'status', '--porcelain') !== '') git(folder, 'commit', '--quiet', '--message', 'hub init')
  } catch {
    // Without git the files are used as they are; `hub policy status` then shows no commit.
  }
}
