/**
 * Packages in an image: exactly those that image.yaml names, by the registry's digests, without any script of theirs, and the same image again from
 * `image.lock`. The registry of npm is one of our own on loopback, the index of pip is a folder.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { npmFolder } from '../../../scripts/images/npm.ts'
import { installPackages, type PackageOptions } from '../../../scripts/images/packages.ts'
import { tarOf } from '../../../scripts/images/tar.ts'
import { MARK, openRegistry } from '../../support/npm-registry.ts'

let root = ''
let registry: Worker
let registryUrl = ''
const cache = () => join(root, 'cache')

beforeAll(async () => {
  root = mkdtempSync('/tmp/hub-installed-')
  const { worker, url } = await openRegistry(root)
  registry = worker
  registryUrl = url
  mkdirSync(join(root, 'wheels'))
  vi.stubEnv('PIP_CONFIG_FILE', '/dev/null')
  vi.stubEnv('PIP_NO_INDEX', '1')
  vi.stubEnv('PIP_FIND_LINKS', join(root, 'wheels'))
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await registry.terminate()
  rmSync(root, { recursive: true, force: true })
})

function install(options: Partial<PackageOptions>) {
  const said: string[] = []
  const lockFile = join(root, 'image.lock')
  const made = installPackages({
    cacheDir: cache(),
    lockFile,
    hasEnv: true,
    say: (line) => said.push(line),
    ...options,
  })
  const names = made.layers.flatMap(({ pieces }) => {
    writeFileSync(join(root, 'layer.tar'), Buffer.concat([...pieces]))
    return execFileSync('tar', ['tvf', join(root, 'layer.tar')], { encoding: 'utf8' })
      .trim()
      .split('\n')
  })
  return { ...made, said, lockFile, listed: names.join('\n') }
}
const ids = ({ layers }: ReturnType<typeof install>) => layers.map(({ diffId }) => diffId)

describe.skipIf(npmFolder() === undefined)('packages of npm', () => {
  test('are there with what they need and their programs, by the digests of the registry, and are the same again without it', () => {
    const first = install({ npm: ['small@1.2.3'] })
    expect(first.listed).toMatch(/usr\/local\/lib\/node_modules\/small\/index\.js/)
    expect(first.listed).toMatch(/usr\/local\/lib\/node_modules\/below\/index\.js/)
    expect(first.listed).toMatch(/usr\/local\/bin\/small-tool -> \/usr\/local\/lib\/node_modules\/small\/cli\.js/)
    expect(first.digests).toEqual([expect.stringMatching(/^npm:small@1\.2\.3 sha512-[A-Za-z0-9+/]{86}==$/)])
    const lock = readFileSync(first.lockFile, 'utf8')
    rmSync(cache(), { recursive: true })
    expect(ids(install({ npm: ['small@1.2.3'] })), 'installed again by the lock').toEqual(ids(first))
    vi.stubEnv('npm_config_registry', 'http://127.0.0.1:9/')
    expect(ids(install({ npm: ['small@1.2.3'] })), 'from the cache, without a registry').toEqual(ids(first))
    vi.stubEnv('npm_config_registry', registryUrl)
    expect(readFileSync(first.lockFile, 'utf8')).toBe(lock)
    expect(
      readdirSync(cache()).filter((name) => name.startsWith('packages-')),
      'nothing is left',
    ).toEqual([])
  })

  test('have the same lock whatever npm is set to: it names where each archive lies, so a build by it asks for nothing else', () => {
    const first = install({ npm: ['small@1.2.3'], lockFile: join(root, 'plain.lock') })
    vi.stubEnv('npm_config_omit_lockfile_registry_resolved', 'true')
    const other = install({ npm: ['small@1.2.3'], lockFile: join(root, 'set.lock') })
    vi.stubEnv('npm_config_omit_lockfile_registry_resolved', undefined)
    expect(readFileSync(other.lockFile, 'utf8')).toBe(readFileSync(first.lockFile, 'utf8'))
    expect(readFileSync(first.lockFile, 'utf8')).toMatch(/"resolved": "http/)
  })

  test('whose registry lacks what is only for other machines are there all the same, and the same again', () => {
    const first = install({ npm: ['platform@3.0.0'] })
    expect(first.listed).toMatch(/usr\/local\/lib\/node_modules\/below\/index\.js/)
    rmSync(cache(), { recursive: true })
    expect(ids(install({ npm: ['platform@3.0.0'] }))).toEqual(ids(first))
  })

  test('that want an install script are named, and it does not run', () => {
    const { said } = install({ npm: ['scripted@2.0.0'] })
    expect(said).toEqual([expect.stringMatching(/scripted@2\.0\.0 wants its install script, which does not run/)])
    expect(existsSync(join(root, MARK))).toBe(false)
  })

  test('that are changed behind the digest of the lock are refused', () => {
    const { lockFile } = install({ npm: ['small@1.2.3'] })
    writeFileSync(lockFile, readFileSync(lockFile, 'utf8').replaceAll(/sha512-[A-Za-z0-9+/]{4}/g, 'sha512-AAAA'))
    rmSync(join(root, 'npm-cache'), { recursive: true, force: true })
    expect(() => install({ npm: ['small@1.2.3'] })).toThrow(
      /packages\.npm: npm could not install them: .*(?:integrity|EINTEGRITY)/i,
    )
    rmSync(lockFile)
  })

  test.each([
    ['no-such-package@1.0.0', /there is no no-such-package@1\.0\.0 in the registry of npm/],
    ['small@9.9.9', /there is no small@9\.9\.9 in the registry of npm/],
  ])('%s is refused by name, and no lock is written', (name, why) => {
    const lockFile = join(root, 'other.lock')
    expect(() => install({ npm: [name], lockFile })).toThrow(why)
    expect(existsSync(lockFile)).toBe(false)
  })
})

/** A lock as a stranger could give it away with the folder of an agent. */
describe('a lock that no build has written is refused by name, and no installer is told of it (T50)', () => {
  const digest = `sha512-${'A'.repeat(86)}==`
  const small = { version: '1.2.3', resolved: 'http://127.0.0.1/small.tgz', integrity: digest }
  const npmLock = (packages: object, more: object = {}) => ({
    wanted: ['small@1.2.3'],
    lock: {
      ...{ name: 'image', version: '0.0.0', lockfileVersion: 3, requires: true, ...more },
      packages: { '': { name: 'image', version: '0.0.0', dependencies: { small: '1.2.3' } }, ...packages },
    },
  })
  const npm = (entry: object, path = 'node_modules/small') => ({
    npm: npmLock({ 'node_modules/small': small, [path]: { ...small, ...entry } }),
  })
  const pip = (file: object) => ({
    pip: {
      wanted: ['tiny==1.0'],
      python: '3.11',
      files: [{ name: 'tiny', version: '1.0', sha256: 'a'.repeat(64), ...file }],
    },
  })
  test.each<[string, object]>([
    ['a folder of this machine', npm({ resolved: 'file:../../../home' })],
    ['a repository that git would ask', npm({ resolved: 'git+ssh://git@example.org/x.git#0' })],
    ['a version that is a place', npm({ version: 'file:../x' })],
    ['a link', npm({ resolved: '../x', link: true })],
    ['a package without a digest', npm({ integrity: undefined })],
    ['a package outside the folder', npm({}, '../../victim/node_modules/small')],
    ['a package below another name', npm({}, 'node_modules/..')],
    ['a program with a folder in its name', npm({ bin: { '../../app/x': 'x' } })],
    ['an older form, in which npm reads other entries', { npm: npmLock({}, { lockfileVersion: 1, dependencies: {} }) }],
    [
      'a root that says more',
      { npm: npmLock({ '': { name: 'image', version: '0.0.0', dependencies: {}, workspaces: ['/'] } }) },
    ],
    ['a name of pip with an address', pip({ name: 'tiny @ http://127.0.0.1/x.tar.gz #' })],
    ['a name of pip on two lines', pip({ name: '-e .\ntiny' })],
    ['a version of pip with an option', pip({ version: '1.0 --index-url=http://127.0.0.1/' })],
    ['a digest of pip that is none', pip({ sha256: '' })],
    ['a key that nobody knows', { more: 1 }],
    ['a prototype', { npm: JSON.parse('{"__proto__": {}}') }],
  ])('%s', (_, lock) => {
    const lockFile = join(root, 'strange.lock')
    writeFileSync(lockFile, JSON.stringify(lock))
    const wish = 'pip' in lock ? { pip: ['tiny==1.0'] } : { npm: ['small@1.2.3'] }
    expect(() => install({ ...wish, lockFile })).toThrow(
      /strange\.lock is not the lock of an image's packages \(.+\); remove it/,
    )
    expect(readFileSync(lockFile, 'utf8'), 'it stays').toBe(JSON.stringify(lock))
  })
})

describe('where no registry can be reached', () => {
  const alone = (options: Partial<PackageOptions>) => install({ lockFile: join(root, 'alone.lock'), ...options })
  test.skipIf(npmFolder() === undefined)('npm says so, and that what was built before needs none', () => {
    vi.stubEnv('npm_config_registry', 'http://127.0.0.1:9/')
    expect(() => alone({ npm: ['not-yet@1.0.0'] })).toThrow(
      /^packages\.npm: the registry of npm cannot be reached from this machine \(ECONNREFUSED\); connect it, .* built again without one$/,
    )
    vi.stubEnv('npm_config_registry', registryUrl)
  })

  test.skipIf(!hasPip())('pip says so, and not that there is no such package', () => {
    vi.stubEnv('PIP_NO_INDEX', undefined)
    vi.stubEnv('PIP_FIND_LINKS', undefined)
    vi.stubEnv('PIP_INDEX_URL', 'http://127.0.0.1:9/simple')
    expect(() => alone({ pip: ['not-yet==1.0'] })).toThrow(
      /^packages\.pip: the index of pip cannot be reached from this machine \(Connection refused\); connect it/,
    )
    vi.stubEnv('PIP_INDEX_URL', undefined)
    vi.stubEnv('PIP_NO_INDEX', '1')
    vi.stubEnv('PIP_FIND_LINKS', join(root, 'wheels'))
  })
})

function hasPip(): boolean {
  try {
    execFileSync('/usr/bin/python3', ['-m', 'pip', '--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
const WHEEL = `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1], 'w')
i = 'tiny-1.0.dist-info/'
for name, text in {'tiny.py': 'x = 1\\n', i + 'METADATA': 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n', i + 'WHEEL': 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n', i + 'entry_points.txt': '[console_scripts]\\ntiny-tool = tiny:x\\n', i + 'RECORD': ''}.items():
  z.writestr(zipfile.ZipInfo(name), text)
z.close()`

describe.skipIf(!hasPip())('packages of pip', () => {
  test('are wheels at the place where Python looks, with their programs, by their digests, and the same again', () => {
    const wheel = join(root, 'wheels/tiny-1.0-py3-none-any.whl')
    execFileSync('/usr/bin/python3', ['-c', WHEEL, wheel])
    const first = install({ pip: ['tiny==1.0'] })
    expect(first.listed).toMatch(/usr\/local\/lib\/python3\.\d+\/(?:dist|site)-packages\/tiny\.py/)
    expect(first.listed).toMatch(/usr\/local\/bin\/tiny-tool/)
    const sha256 = createHash('sha256').update(readFileSync(wheel)).digest('hex')
    expect(first.digests).toEqual([`pip:tiny==1.0 sha256:${sha256}`])
    rmSync(cache(), { recursive: true })
    expect(ids(install({ pip: ['tiny==1.0'] }))).toEqual(ids(first))
  })

  test('of which there are only sources, or none, are refused by name', () => {
    writeFileSync(join(root, 'wheels/only-sources-1.0.tar.gz'), gzipSync(Buffer.concat([...tarOf([])])))
    expect(() => install({ pip: ['only-sources==1.0'] })).toThrow(
      /no wheel of only-sources==1\.0 .* only sources, which want a script/,
    )
  })
})
