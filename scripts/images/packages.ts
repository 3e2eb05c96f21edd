/**
 * Packages of npm and pip in an image: installed by this machine, and no script of theirs runs. What exactly was installed, with the digests of its
 * files, stands in `image.lock` beside `image.yaml`; while that names the same packages, every build installs just that, whatever a registry says meanwhile.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalText } from '../../hub/base/canonical.ts'
import { npmNameOf } from '../../hub/protocol/image-recipe.ts'
import { type Layer, layerOf, sha256Of } from './archive.ts'
import { createLibraries, fileOf, isElf, linkOf, toolPath } from './host-files.ts'
import { type Lock, type NpmLock, npmLockOf, type PipLock, readLock } from './image-lock.ts'
import { cachedLayer } from './layer-cache.ts'
import { workFolder } from './left-behind.ts'
import { archOf } from './machine.ts'
import { npmFolder } from './npm.ts'
import type { TarEntry } from './tar.ts'

export const NPM_PLACE = 'usr/local/lib/node_modules'
const INSTALL_MS = 600_000
const OUTPUT_BYTES_MAX = 64 * 1024 ** 2

export interface Installed {
  layers: Layer[]
  /** Those that were asked for, each with the digest of its file. */
  digests: string[]
  /** Of npm, what a program may import. */
  names: string[]
}

export interface PackageOptions {
  npm?: readonly string[] | undefined
  pip?: readonly string[] | undefined
  cacheDir: string
  /** Read, and written where other packages are wanted than it names. */
  lockFile: string
  /** Whether the image has `env`, which the first line of a program of npm asks for. */
  hasEnv: boolean
  say: (line: string) => void
}

/** Throws naming a package that is not there, or that has only what would need a script of its own. */
export function installPackages(options: PackageOptions): Installed {
  const { npm, pip, lockFile } = options
  if (npm === undefined && pip === undefined) return { layers: [], digests: [], names: [] }
  const before = readLock(lockFile)
  using stage = workFolder(options.cacheDir, 'packages')
  const lock: Lock = {}
  const made: Installed[] = []
  if (npm !== undefined) made.push(withNpm([...npm].sort(), before.npm, stage.path, options, (own) => (lock.npm = own)))
  if (pip !== undefined) made.push(withPip([...pip].sort(), before.pip, stage.path, options, (own) => (lock.pip = own)))
  const text = `${JSON.stringify(lock, null, 1)}\n`
  if (!existsSync(lockFile) || readFileSync(lockFile, 'utf8') !== text) writeFileSync(lockFile, text)
  return {
    layers: made.flatMap(({ layers }) => layers),
    digests: made.flatMap(({ digests }) => digests),
    names: made.flatMap(({ names }) => names),
  }
}

const isSame = (one: readonly string[] | undefined, other: readonly string[]): boolean =>
  JSON.stringify(one) === JSON.stringify(other)

/**
 * Runs an installer; `why` makes one line of what it complains of. It speaks without colours whatever this process was told: `FORCE_COLOR` of a
 * test or a terminal would stand between the words.
 */
function run(command: string, argv: readonly string[], cwd: string, why: (said: string) => string): string {
  const { FORCE_COLOR: _, ...env } = process.env
  try {
    return execFileSync(command, argv, {
      ...{ cwd, env: { ...env, NO_COLOR: '1' }, encoding: 'utf8', timeout: INSTALL_MS, maxBuffer: OUTPUT_BYTES_MAX },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (thrown) {
    const { stdout = '', stderr = '', message } = thrown as { stdout?: string; stderr?: string; message: string }
    throw new Error(why(`${stdout}\n${stderr}`.trim() || message))
  }
}

const keyOf = (value: unknown): string => sha256Of([Buffer.from(canonicalText(value))]).slice(0, 32)

/** What npm, pip and the system say where there is no way to a registry. */
const OFFLINE =
  /\b(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT)\b|Connection refused|Name or service not known|Temporary failure in name resolution|Network is unreachable|No route to host|Read timed out|ConnectTimeoutError|ProxyError/
/** Undefined where it was reached. */
function unreachable(what: 'npm' | 'pip', said: string): string | undefined {
  const [why] = OFFLINE.exec(said) ?? []
  if (why === undefined) return undefined
  const own = what === 'npm' ? 'the registry of npm' : 'the index of pip'
  return `packages.${what}: ${own} cannot be reached from this machine (${why}); connect it, or have ${what} use a registry that it reaches; what was built here before is built again without one`
}

/* npm */

function npmWhy(said: string): string {
  const missing = /npm \S+ 404 [^\n]*'([^'\n]+)'|No matching version found for ([^\s]+?)\.?(?:\s|$)/.exec(said)
  if (missing !== null) return `packages.npm: there is no ${missing[1] ?? missing[2]} in the registry of npm`
  const offline = unreachable('npm', said)
  if (offline !== undefined) return offline
  const lines = said
    .split('\n')
    .filter(
      (line) =>
        /^npm (?:error|ERR!) ./.test(line) &&
        !/A complete log|^npm \S+ (?:code|errno|syscall|address|port|notarget|404) /.test(line),
    )
  return `packages.npm: npm could not install them: ${(lines[0] ?? said.split('\n')[0] ?? '').replace(/^npm \S+ /, '')}`
}

const nameAt = (path: string): string => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)

/** Where a package at `path` looks for another: in its own folder, then beside each above it. */
const placesFrom = (path: string, name: string): string[] => {
  const above = path.split('/node_modules/').map((_, at, parts) => parts.slice(0, at + 1).join('/node_modules/'))
  return [...above.map((place) => `${place}/node_modules/${name}`), `node_modules/${name}`]
}

/**
 * Without optional packages that the registry does not have, such as those for other machines. npm leaves them out of its lock, but not out of what
 * wants them there, and then refuses that lock.
 */
function withoutAbsent(lock: NpmLock['lock']): NpmLock['lock'] {
  for (const [path, entry] of Object.entries(lock.packages))
    for (const name of Object.keys(entry.optionalDependencies ?? {}))
      if (!placesFrom(path, name).some((place) => Object.hasOwn(lock.packages, place)))
        delete entry.optionalDependencies?.[name]
  return lock
}

function withNpm(
  wanted: readonly string[],
  before: NpmLock | undefined,
  stage: string,
  { cacheDir, hasEnv, say }: PackageOptions,
  keep: (lock: NpmLock) => void,
): Installed {
  const npm = npmFolder()
  if (npm === undefined) throw new Error('packages.npm: this machine has no npm; install Node with npm')
  const folder = join(stage, 'npm')
  mkdirSync(folder)
  const dependencies = Object.fromEntries(
    wanted.map((text) => [npmNameOf(text), text.slice(npmNameOf(text).length + 1)]),
  )
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'image', version: '0.0.0', private: true, dependencies }),
  )
  const install = (...words: string[]) => {
    // Below `npm run --silent` npm would not say what is wrong.
    const loud = ['--loglevel=error', '--color=false']
    const still = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--omit=dev', ...loud]
    // The lock is the same whatever this person's npm is set to, and names where each archive lies: a build by it asks for nothing else.
    still.push('--omit-lockfile-registry-resolved=false')
    // As often as npm wants, but not for minutes: a person waits, and no answer is one too.
    still.push('--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000')
    run(process.execPath, [join(npm, 'bin/npm-cli.js'), ...words, ...still], folder, npmWhy)
  }
  const known = before !== undefined && isSame(before.wanted, wanted) ? before : undefined
  const lockFile = join(folder, 'package-lock.json')
  // Only resolved: where another agent's layer holds just this, nothing is unpacked.
  const resolved = (): NpmLock => {
    install('install', '--package-lock-only')
    return { wanted, lock: withoutAbsent(npmLockOf(JSON.parse(readFileSync(lockFile, 'utf8')))) }
  }
  const lock = known ?? resolved()
  const layer = cachedLayer(
    cacheDir,
    `npm-${keyOf([4, archOf(), hasEnv, lock])}`,
    `hub: packages of npm: ${wanted.join(', ')}`,
    (title) => {
      writeFileSync(lockFile, JSON.stringify(lock.lock))
      install('ci')
      return layerOf(title, [...npmTree(join(folder, 'node_modules')), ...npmPrograms(lock, wanted, hasEnv)])
    },
  )
  keep(lock)
  const entries = Object.entries(lock.lock.packages).filter(([path]) => path !== '')
  const scripted = entries.filter(([, { hasInstallScript }]) => hasInstallScript === true)
  if (scripted.length > 0)
    say(
      `packages.npm: ${scripted.map(([path, { version }]) => `${nameAt(path)}@${version}`).join(', ')} ${scripted.length === 1 ? 'wants its install script, which does' : 'want their install scripts, which do'} not run; what such a script would fetch or build is missing`,
    )
  return {
    layers: [layer],
    digests: wanted.map(
      (text) => `npm:${text} ${lock.lock.packages[`node_modules/${npmNameOf(text)}`]?.integrity ?? ''}`,
    ),
    names: wanted.map(npmNameOf),
  }
}

/** With the libraries of its compiled programs. Of one for another machine or libc some are not here: it could not run in the image either. */
function npmTree(from: string): TarEntry[] {
  const hidden = '.package-lock.json'
  const libraries = createLibraries()
  const tree = treeEntries(from, NPM_PLACE, (path) => path !== hidden)
  for (const { data, mode } of tree)
    if (
      data !== undefined &&
      'from' in data &&
      ((mode & 0o111) !== 0 || data.from.endsWith('.node')) &&
      isElf(data.from)
    )
      libraries.addOf(from, data.from)
  return [...tree, ...libraries.entries()]
}

/** The programs of the packages that were asked for, by their names. */
function npmPrograms({ lock }: NpmLock, wanted: readonly string[], hasEnv: boolean): TarEntry[] {
  const links = wanted.flatMap((text) => {
    const name = npmNameOf(text)
    const bins = Object.entries(lock.packages[`node_modules/${name}`]?.bin ?? {})
    return bins.map(([bin, path]) => linkOf(`usr/local/bin/${bin}`, join('/', NPM_PLACE, name, path)))
  })
  const env = toolPath('env')
  return links.length === 0 || hasEnv || env === undefined ? links : [...links, fileOf('usr/bin/env', env, 0o755)]
}

/** Files and links of a folder at their place in the image; who may write them is nobody, who may run them is kept. */
function treeEntries(from: string, place: string, takes: (path: string) => boolean): TarEntry[] {
  const entries: TarEntry[] = []
  for (const path of readdirSync(from, { recursive: true, encoding: 'utf8' }).sort()) {
    const found = lstatSync(join(from, path))
    if (!takes(path)) continue
    if (found.isSymbolicLink()) entries.push(linkOf(`${place}/${path}`, readlinkSync(join(from, path))))
    else if (found.isFile())
      entries.push(fileOf(`${place}/${path}`, join(from, path), (found.mode & 0o111) === 0 ? 0o444 : 0o555))
  }
  return entries
}

/* pip */

function pipWhy(said: string): string {
  // First: pip finds nothing where it reaches nothing.
  const offline = unreachable('pip', said)
  if (offline !== undefined) return offline
  const missing = /No matching distribution found for ([^\s]+)/.exec(said)
  if (missing !== null)
    return `packages.pip: there is no wheel of ${missing[1]} for this machine's Python: no such package or version, or only sources, which want a script of their own to be installed`
  if (/No module named pip/.test(said))
    return "packages.pip: this machine's python3 has no pip; install it (python3-pip)"
  const line = said.split('\n').find((each) => each.startsWith('ERROR:')) ?? said.split('\n').at(-1) ?? ''
  return `packages.pip: pip could not install them: ${line.replace(/^ERROR: /, '')}`
}

function withPip(
  wanted: readonly string[],
  before: PipLock | undefined,
  stage: string,
  { cacheDir }: PackageOptions,
  keep: (lock: PipLock) => void,
): Installed {
  const binary = toolPath('python3')
  if (binary === undefined) throw new Error('packages.pip: this machine has no python3')
  const folder = join(stage, 'pip')
  mkdirSync(folder)
  const asked =
    'import site, sys; v = "%d.%d" % sys.version_info[:2]; print(v); print(next(p for p in site.getsitepackages(["/usr/local"]) if p.startswith("/usr/local/lib/python" + v + "/")))'
  const [python = '', place = ''] = execFileSync(binary, ['-I', '-c', asked], { encoding: 'utf8' }).split('\n')
  const still = ['--only-binary=:all:', '--no-input', '--disable-pip-version-check', '--quiet', '--retries=2']
  const pip = (...argv: string[]) => run(binary, ['-m', 'pip', 'install', ...still, ...argv], folder, pipWhy)
  function resolved(): PipLock {
    const report = join(folder, 'report.json')
    pip('--dry-run', '--ignore-installed', '--report', report, ...wanted)
    return { wanted, python, files: filesOf(JSON.parse(readFileSync(report, 'utf8')) as PipReport) }
  }
  const known = before !== undefined && isSame(before.wanted, wanted) && before.python === python
  const lock = known ? before : resolved()
  const layer = cachedLayer(
    cacheDir,
    `pip-${keyOf([3, archOf(), place, lock])}`,
    `hub: packages of Python: ${wanted.join(', ')}`,
    (title) => {
      const list = lock.files.map(({ name, version, sha256 }) => `${name}==${version} --hash=sha256:${sha256}\n`)
      writeFileSync(join(folder, 'list.txt'), list.join(''))
      const target = join(folder, 'target')
      pip('--no-compile', '--no-deps', '--require-hashes', '--target', target, '-r', join(folder, 'list.txt'))
      return layerOf(title, pipTree(target, place.slice(1)))
    },
  )
  keep(lock)
  const digestOf = (text: string) => {
    const [name = '', version = ''] = text.replace(/\[[^\]]*\]/, '').split('==')
    const plain = (each: string) => each.toLowerCase().replaceAll(/[-_.]+/g, '-')
    return lock.files.find((file) => plain(file.name) === plain(name))?.sha256 ?? version
  }
  return { layers: [layer], digests: wanted.map((text) => `pip:${text} sha256:${digestOf(text)}`), names: [] }
}

interface PipReport {
  install: {
    metadata: { name: string; version: string }
    download_info: { archive_info?: { hash?: string; hashes?: { sha256?: string } } }
  }[]
}

function filesOf({ install }: PipReport): PipLock['files'] {
  const files = install.map(({ metadata: { name, version }, download_info: { archive_info: info } }) => {
    const sha256 = info?.hashes?.sha256 ?? /^sha256=([0-9a-f]{64})$/.exec(info?.hash ?? '')?.[1]
    if (sha256 === undefined) throw new Error(`packages.pip: the index gives no digest of ${name}==${version}`)
    return { name, version, sha256 }
  })
  return files.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Modules at the place where Python looks for them; programs on PATH, run by the Python of the image. */
function pipTree(target: string, place: string): TarEntry[] {
  const libraries = createLibraries()
  const isProgram = (path: string) => /^bin\/[^/]+$/.test(path)
  const modules = treeEntries(target, place, (path) => !path.startsWith('bin/') && !/(?:^|\/)__pycache__\//.test(path))
  for (const { data } of modules)
    if (data !== undefined && 'from' in data && /\.so(?:\.|$)/.test(data.from) && isElf(data.from))
      libraries.addOf(target, data.from)
  const programs = existsSync(join(target, 'bin'))
    ? readdirSync(target, { recursive: true, encoding: 'utf8' })
        .filter(isProgram)
        .sort()
        .map((path) => programEntry(join(target, path), `usr/local/${path}`))
    : []
  return [...modules, ...programs, ...libraries.entries()]
}

function programEntry(from: string, path: string): TarEntry {
  const text = readFileSync(from, 'latin1')
  if (!/^#!.*python/.test(text.split('\n', 1)[0] ?? '')) return fileOf(path, from, 0o555)
  const data = Buffer.from(text.replace(/^#!.*/, '#!/usr/local/bin/python3'), 'latin1')
  return { path, kind: 'file', mode: 0o555, data }
}
