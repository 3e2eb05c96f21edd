/** Image assembly: the same inputs give the same bytes, and only what belongs there goes in (T50, T99). */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { archiveOf, imageOf, layerOf, sha256Of } from '../../../scripts/images/archive.ts'
import { createLibraries, librariesListed } from '../../../scripts/images/host-files.ts'
import { librariesOf } from '../../../scripts/images/machine.ts'
import { gatherPrograms, programEntries, sourcesOf, stripSource } from '../../../scripts/images/programs.ts'
import { fileData, tarOf } from '../../../scripts/images/tar.ts'
import { smallElf } from '../../support/small-elf.ts'

let root = ''
beforeEach(() => {
  root = mkdtempSync('/tmp/hub-images-')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

test('an archive is the same whatever the order and the times of its inputs', () => {
  const a = { path: 'x/a', kind: 'file' as const, mode: 0o644, data: Buffer.from('a') }
  const b = { path: 'x/b', kind: 'file' as const, mode: 0o755, data: Buffer.from('b') }
  expect(sha256Of(tarOf([a, b]))).toBe(sha256Of(tarOf([b, a])))
  expect(sha256Of(tarOf([a, b]))).toBe('9984cc60b3bc6ae123d181131c1b1c4120bcdd10e3a5d3b5e6dfdf099b74a17c')
})

test('an archive refuses a path that leaves it or stands twice', () => {
  const entry = (path: string) => ({ path, kind: 'file' as const, mode: 0o644, data: Buffer.alloc(0) })
  expect(() => tarOf([entry('../x')])).toThrow(/leaves the archive/)
  expect(() => tarOf([entry('/x')])).toThrow(/leaves the archive/)
  expect(() => tarOf([entry('x'), entry('x')])).toThrow(/is in the archive twice/)
})

/** What GNU tar makes of it: each line of its list. */
function listed(tar: Iterable<Buffer>): string[] {
  writeFileSync(join(root, 'x.tar'), Buffer.concat([...tar]))
  return execFileSync('tar', ['tvf', join(root, 'x.tar')], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.replace(/^(\S+) \S+ +(\d+) \S+ \S+ /, '$1 $2 '))
}

test('links, and paths and targets of any length, are what tar itself reads', () => {
  const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(180)}`
  const entries = [
    { path: long, kind: 'file' as const, mode: 0o644, data: Buffer.from('abc') },
    { path: 'bin/short', kind: 'link' as const, mode: 0o777, target: '../lib/x.js' },
    { path: 'bin/long', kind: 'link' as const, mode: 0o777, target: `../${'t'.repeat(150)}` },
  ]
  const lines = listed(tarOf(entries))
  expect(lines).toContain(`-rw-r--r-- 3 ${long}`)
  expect(lines).toContain('lrwxrwxrwx 0 bin/short -> ../lib/x.js')
  expect(lines).toContain(`lrwxrwxrwx 0 bin/long -> ../${'t'.repeat(150)}`)
})

test('a file is read when the archive is, in chunks; its bytes are those of the same data held whole', () => {
  const bytes = Buffer.alloc(3 * 1024 ** 2 + 77, 'chunks ')
  writeFileSync(join(root, 'large'), bytes)
  const whole = layerOf('x', [{ path: 'a', kind: 'file', mode: 0o644, data: bytes }])
  const read = layerOf('x', [{ path: 'a', kind: 'file', mode: 0o644, data: fileData(join(root, 'large')) }])
  expect(read.diffId).toBe(whole.diffId)
  const pieces = [...archiveOf([imageOf('hub/x:latest', [read], 'x64')])]
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(1024 ** 2)
  expect(archiveOf([imageOf('hub/x:latest', [read], 'x64')]).length).toBe(Buffer.concat(pieces).length)
})

test.each([
  ['shorter', (path: string) => truncateSync(path, 10)],
  ['longer', (path: string) => appendFileSync(path, 'more')],
])('a file that has become %s since it was looked at is refused by name', (_, change) => {
  writeFileSync(join(root, 'moving'), 'x'.repeat(2000))
  const tar = tarOf([{ path: 'a', kind: 'file', mode: 0o644, data: fileData(join(root, 'moving')) }])
  change(join(root, 'moving'))
  expect(() => [...tar]).toThrow(/moving was changed while it was read/)
})

test('an image of the same files has the same id on another day, and another one after a change', () => {
  const build = () => {
    put('images/x/main.ts', 'export const a: number = 1\n')
    const programs = gatherPrograms(root, sourcesOf(root, 'images/x'), new Set())
    return imageOf('hub/x:latest', [layerOf('x', programEntries(root, programs))], 'x64')
  }
  const first = build()
  utimesSync(join(root, 'images/x/main.ts'), 1, 1)
  expect(build().configDigest).toBe(first.configDigest)
  expect(sha256Of(archiveOf([build()]))).toBe(sha256Of(archiveOf([first])))
  put('images/x/more.ts', '')
  expect(build().configDigest).not.toBe(first.configDigest)
})

test('the config is of 1970, runs as nobody and carries nothing the engine would merge into a container', () => {
  const { config } = imageOf('hub/x:latest', [layerOf('x', [])], 'x64')
  const said = JSON.parse(config.toString()) as { created: string; config: object }
  expect(said.created).toBe('1970-01-01T00:00:00Z')
  expect(said.config).toEqual({ User: '65532:65532', WorkingDir: '/workspace' })
})

test('types vanish, .ts becomes .js, and imports of types alone are not followed', () => {
  const { code, imports } = stripSource(
    "import type { A } from './types.ts'\nimport { b } from '../b.ts'\nimport 'node:fs'\nconst c: A = await import('./c.ts')\nexport { d } from './d.ts'\n",
  )
  expect(imports).toEqual(['../b.ts', 'node:fs', './c.ts', './d.ts'])
  expect(code).toContain("from '../b.js'")
  expect(code).not.toMatch(/types|: A/)
})

test('imports are followed across folders; what the layer below holds is not repeated', () => {
  put('images/x/main.ts', "import { b } from '../../hub/b.ts'\nb()\n")
  put('images/x/main.test.ts', '')
  put('images/x/agent.yaml', '')
  put('images/x/table.json', '{}')
  put('hub/b.ts', "import { c } from './c.ts'\nexport const b = c\n")
  put('hub/c.ts', 'export const c = () => 1\n')
  const entries = sourcesOf(root, 'images/x')
  expect([...gatherPrograms(root, entries, new Set()).files.keys()].sort()).toEqual([
    'hub/b.js',
    'hub/c.js',
    'images/x/main.js',
    'images/x/table.json',
  ])
  const above = gatherPrograms(root, entries, new Set(['hub/b.js', 'hub/c.js']))
  expect([...above.files.keys()]).toEqual(['images/x/main.js', 'images/x/table.json'])
})

test.each([
  ["import 'zod'", /images carry no package except ws/],
  ["import './none.ts'", /does not exist/],
  ["import '../../../../etc/passwd'", /outside the repository/],
])('%s does not go into an image', (line, why) => {
  put('images/x/main.ts', `${line}\n`)
  expect(() => gatherPrograms(root, sourcesOf(root, 'images/x'), new Set())).toThrow(why)
})

test('the libraries of the Node binary are absolute paths and contain its C library', () => {
  const libraries = librariesOf(process.execPath)
  expect(libraries.every((path) => path.startsWith('/'))).toBe(true)
  expect(libraries.some((path) => /\/libc\.(?:so|musl)/.test(path))).toBe(true)
  expect(libraries.some((path) => /\/ld-/.test(path))).toBe(true)
})

test('of the libraries that a loader lists, a path with dots is made plain', () => {
  const listed = `
\tlinux-vdso.so.1 (0x00007ffc)
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f03)
\tlibq.so.1 => /opt/q/bin/../lib/libq.so.1 (0x00007f04)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f06)
`
  const plain = ['/lib/x86_64-linux-gnu/libm.so.6', '/opt/q/lib/libq.so.1', '/lib64/ld-linux-x86-64.so.2']
  expect(librariesListed(listed)).toEqual(plain)
})

describe('a file of a package', () => {
  const machine = process.arch === 'x64' ? 62 : 183
  const own = () => join(root, 'own')
  function putElf(path: string, says: Partial<Parameters<typeof smallElf>[0]>): string {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), smallElf({ machine, ...says }))
    return join(root, path)
  }

  test('finds what its package brings where it stands, and of this machine only what lies in the folders of the system', () => {
    putElf('own/lib/libbrought.so.1', { needed: ['libresolv.so.2', 'tool.node'], folders: '$ORIGIN/..' })
    const tool = putElf('own/tool.node', { needed: ['libbrought.so.1', 'libc.so.6'], folders: `/x:$${'{ORIGIN}'}/lib` })
    const libraries = createLibraries()
    libraries.addOf(own(), tool)
    const paths = libraries.entries().map(({ path }) => path)
    expect(paths.filter((path) => !/\/libresolv\.so\.2$/.test(path))).toEqual([])
    expect(paths).toHaveLength(1)
  })

  test('leads to no other file of this machine, whatever it says (T50)', () => {
    const elsewhere = putElf('elsewhere/libelse.so.1', { needed: ['libresolv.so.2'] })
    for (const says of [
      { needed: ['libelse.so.1'], folders: dirname(elsewhere) },
      { needed: ['libelse.so.1'], folders: '$ORIGIN/../elsewhere' },
      { needed: ['../../elsewhere/libelse.so.1'] },
      { needed: [elsewhere] },
    ]) {
      const libraries = createLibraries()
      libraries.addOf(own(), putElf('own/tool.node', says))
      expect(libraries.entries(), JSON.stringify(says)).toEqual([])
    }
  })

  // An auditor of a loader runs before anything is listed.
  test.skipIf(!hasCompiler())('is given to no loader, which would run what it names (T50)', () => {
    mkdirSync(own())
    const mark = join(root, 'ran')
    put(
      'a.c',
      `#include <fcntl.h>\nunsigned la_version(unsigned v) { open("${mark}", O_CREAT | O_WRONLY, 0600); return v; }`,
    )
    put('b.c', 'int b(void) { return 1; }')
    const build = (...argv: string[]) => execFileSync('cc', ['-shared', '-fPIC', ...argv], { cwd: root })
    build('-o', 'own/audit.so', 'a.c')
    build('-o', 'own/b.node', 'b.c', '-Wl,--audit,audit.so,--disable-new-dtags,-rpath,$ORIGIN')
    createLibraries().addOf(own(), join(own(), 'b.node'))
    expect(existsSync(mark)).toBe(false)
  })
})

function hasCompiler(): boolean {
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
