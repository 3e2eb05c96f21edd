/**
 * `hub init`: makes a home that can be started (keys, instance, rules' data, shipped cards, first heartbeat). Run again it adds what is
 * missing and changes nothing that is there.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { HubError } from '../base/errors.ts'
import { newUuid, type Random } from '../base/random.ts'
import { createKeyFiles } from '../guard/identity/keys.ts'
import { makeStopOrder } from '../guard/operator/stop-order.ts'
import { HOME_BYTES_MAX } from '../work/sandbox/sockets.ts'

export interface InitReport {
  home: string
  instance: string
  /** What was made now; empty when all was there. */
  made: string[]
}

const CONFIG_TEXT = `# Configuration of this hub. Every key has a default; unknown keys stop the start. See README.md.
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

/** The commit a file's folder stands at, or undefined where it is no repository or git is absent (S1-13). */
export function commitOf(folder: string): string | undefined {
  try {
    return git(folder, 'rev-parse', 'HEAD')
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
  for (const name of ['agents', 'policy', 'run', 'logs', 'watchdog', 'artifacts', 'evidence', 'secrets'])
    makeFolder(join(home, name))
  createKeyFiles(join(home, 'keys'), random)

  const put = (path: string, text: string) => {
    if (existsSync(join(home, path))) return
    writeFileSync(join(home, path), text, { mode: 0o600, flag: 'wx' })
    made.push(path)
  }
  put('instance', `${newUuid(random, options.nowMs)}\n`)
  put('hub.yaml', CONFIG_TEXT)
  makeStopOrder(home)
  if (!existsSync(join(home, 'policy', 'data.json'))) {
    copyFileSync(join(checkout, 'policies', 'data.json'), join(home, 'policy', 'data.json'))
    chmodSync(join(home, 'policy', 'data.json'), 0o600)
    made.push('policy/data.json')
  }
  made.push(...copyCards(join(checkout, 'images'), join(home, 'agents')))
  for (const folder of ['policy', 'agents']) keepHistory(join(home, folder))
  if (!existsSync(join(home, 'watchdog', 'state'))) {
    // A lost witness must be seen, not silently replaced by one that remembers nothing (threats.md section 9).
    if (existsSync(join(home, 'hub.db'))) {
      const mend = `node ${join(checkout, 'watchdog', 'main.ts')} --home ${home} --init`
      throw new HubError(
        'config_invalid',
        `watchdog/state is missing although this hub was used: restore it, or begin a new witness with: ${mend}`,
      )
    }
    initWatchdog(home)
    made.push('watchdog/state')
  }
  return { home, instance: readFileSync(join(home, 'instance'), 'utf8').trim(), made }
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

function copyCards(images: string, agents: string): string[] {
  const made: string[] = []
  for (const name of readdirSync(images)) {
    const card = join(images, name, 'agent.yaml')
    const place = join(agents, `${name}.yaml`)
    if (!existsSync(card) || existsSync(place)) continue
    copyFileSync(card, place)
    chmodSync(place, 0o600)
    const schemas = join(images, name, 'schemas')
    if (existsSync(schemas)) cpSync(schemas, join(agents, 'schemas'), { recursive: true })
    made.push(`agents/${name}.yaml`)
  }
  return made
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
