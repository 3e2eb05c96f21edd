/** An agent's image from any image of the engine: what is kept and dropped of that one, what is refused by name, and how its archive is passed on. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { archiveOf, imageOf, type Layer, layerOf } from '../../../scripts/images/archive.ts'
import { detachedNode } from '../../../scripts/images/detached-node.ts'
import { judgeSource, withAccounts } from '../../../scripts/images/from.ts'
import { loadFrom } from '../../../scripts/images/from-load.ts'
import type { EngineCalls, ImageEngine } from '../../../scripts/images/loading.ts'
import { archOf, ownParts } from '../../../scripts/images/machine.ts'
import { tarOf } from '../../../scripts/images/tar.ts'
import { membersOf, textOf } from '../../../scripts/images/untar.ts'
import { smallElf } from '../../support/small-elf.ts'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync('/tmp/hub-from-')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const ID = `sha256:${'1'.repeat(64)}`
const digest = (nth: number) => `sha256:${String(nth).padStart(64, '0')}`
const shownOf = (config: object = {}, more: object = {}) => ({
  ...{ Id: ID, Os: 'linux', Architecture: 'amd64', RepoDigests: ['own@sha256:abc'] },
  RootFS: { Type: 'layers', Layers: [digest(1), digest(2)] },
  Config: config,
  ...more,
})
const judged = (config: object, more: object = {}) => judgeSource('own:1', shownOf(config, more), 'x64')

describe('an image of one’s own', () => {
  test('keeps its ENV for its programs, but what a session has of its own; a name like a secret is named', () => {
    const { env, notes } = judged({
      Env: [
        'PATH=/opt/x/bin:/usr/bin',
        'LANG=de_DE.UTF-8',
        'WITH=a=b',
        'HOME=/root',
        'HUB_SOCKET=/x',
        'https_proxy=http://p',
        'DEPLOY_TOKEN=1',
      ],
      User: 'app',
    })
    expect(env).toEqual({
      PATH: '/opt/x/bin:/usr/bin:/usr/local/bin',
      LANG: 'de_DE.UTF-8',
      WITH: 'a=b',
      DEPLOY_TOKEN: '1',
    })
    expect(notes).toEqual([
      'ENV HOME, HUB_SOCKET, https_proxy dropped: a session has its own',
      expect.stringMatching(/^ENV DEPLOY_TOKEN looks like a secret/),
    ])
    expect(judged({ User: 'app' }).env.PATH).toMatch(/^\/usr\/local\/sbin:\/usr\/local\/bin:/)
  })

  test.each([
    [{ Volumes: { '/data': {} } }, /^VOLUME \/data dropped/],
    [{ ExposedPorts: { '80/tcp': {} } }, /^EXPOSE 80\/tcp dropped/],
    [{ Healthcheck: { Test: ['CMD', 'x'] } }, /^HEALTHCHECK dropped/],
    [{ OnBuild: ['RUN x'] }, /^ONBUILD dropped/],
    [{ Entrypoint: ['/start'], Cmd: ['now'] }, /^it starts \["\/start","now"\] by itself/],
    [{ User: '' }, /^its user was root/],
    [{ User: '0:0' }, /^its user was root/],
  ])('%j is not in the image that is made, and the build says so', (config, note) => {
    const source = judged({ User: 'app', ...config })
    expect(source.notes).toEqual([expect.stringMatching(note)])
    const image = imageOf('hub/x:latest', [layerOf('x', [])], 'x64', '', source)
    const made = JSON.parse(image.config.toString()) as { config: object; rootfs: { diff_ids: string[] } }
    expect(made.config).toEqual({ User: '65532:65532', WorkingDir: '/workspace' })
    expect(made.rootfs.diff_ids.slice(0, 2)).toEqual([digest(1), digest(2)])
    expect(image.config.toString(), 'where its layers are from').toContain(ID)
  })

  test.each([
    ['that the engine has not', undefined, /the engine has no image own:1; build it first \(docker build -t own:1/],
    [
      'of another architecture',
      shownOf({}, { Architecture: 'arm64' }),
      /own:1 is for arm64, and this machine is amd64/,
    ],
    ['of another system', shownOf({}, { Os: 'windows' }), /own:1 is an image for windows/],
    ['without layers', shownOf({}, { RootFS: {} }), /own:1 has no layers/],
    [
      'with 200 layers',
      shownOf({}, { RootFS: { Layers: Array.from({ length: 200 }, (_, nth) => digest(nth)) } }),
      /own:1 has 200 layers, and ours need 4 of the 125 that an engine chains; .* docker import/,
    ],
  ])('%s is refused by name', (_, shown, why) => {
    expect(() => judgeSource('own:1', shown, 'x64')).toThrow(why)
  })

  test('has its users and ours, by ids and names that are there once', () => {
    const own = 'root:x:0:0:root:/root:/bin/sh\nagent0:x:500:500::/home:/bin/sh\nnonroot:x:65532:65532::/:/none'
    const ours = 'root:x:0:0:root:/:/none\nagent:x:65532:65532::/:/none\nagent0:x:60928:60928::/:/none\n'
    expect(withAccounts(own, ours)).toBe(`${own}\nhub-agent0:x:60928:60928::/:/none\n`)
    expect(withAccounts(undefined, ours)).toBe(ours)
  })
})

describe('Node with a loader of its own', () => {
  test('starts from its own folder whatever the image has, and is the same Node but for two places', () => {
    const parts = ownParts()
    const entries = detachedNode(parts)
    expect(entries.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['usr/local/bin/node', 'app/hub/l/ld', 'app/hub/l/libc.so.6', 'app/hub/l/libstdc++.so.6']),
    )
    const changed = Buffer.concat([...((entries[0]?.data ?? []) as Iterable<Buffer>)])
    const before = readFileSync(parts.node)
    expect(changed.length).toBe(before.length)
    let differing = 0
    for (let at = 0; at < before.length; at += 4096) {
      const [a, b] = [before.subarray(at, at + 4096), changed.subarray(at, at + 4096)]
      if (!a.equals(b)) for (const [nth, byte] of a.entries()) differing += byte === b[nth] ? 0 : 1
    }
    expect(differing).toBeLessThanOrEqual(28 + 16)
    writeFileSync(join(folder, 'node'), changed)
    chmodSync(join(folder, 'node'), 0o755)
    // By this machine's loader, told where the folder is not: what it would look through first stands in the program.
    const said = execFileSync(
      '/bin/sh',
      [
        '-c',
        `LD_DEBUG=libs "${ownParts().libraries.find(({ path }) => /\/ld-/.test(path))?.from}" "${join(folder, 'node')}" -p 1 2>&1`,
      ],
      { encoding: 'utf8' },
    )
    expect(said).toMatch(/search path=\/app\/hub\/l[^\n]*\(RPATH from file/)
  })

  test('is refused by name where the binary has no room for it', () => {
    const node = join(folder, 'small')
    writeFileSync(node, smallElf({ machine: 62, interpreter: '/lib/ld.so', needed: ['libc.so.6'] }))
    const libraries = [{ path: '/lib/ld.so', from: node }]
    expect(() => detachedNode({ arch: 'x64', node, libraries, own: true })).toThrow(
      /small cannot be given a loader of its own/,
    )
    expect(() => detachedNode({ arch: 'x64', node, libraries: [], own: true })).toThrow(/names no loader/)
  })
})

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
const whole = (pieces: Iterable<Buffer>) => Buffer.concat([...pieces])

describe('the archive of the other image', () => {
  const bytes = whole(
    tarOf([
      { path: 'a/layer.tar', kind: 'file', mode: 0o644, data: Buffer.alloc(1300, 'layer ') },
      { path: `b/${'long'.repeat(60)}`, kind: 'file', mode: 0o644, data: Buffer.from('x') },
      { path: 'c', kind: 'link', mode: 0o777, target: 'a' },
    ]),
  )

  test.each([1, 511, 512, 513, 100_000])('is read member by member in pieces of %d bytes', async (size) => {
    const seen: string[] = []
    // What is not read is passed over.
    for await (const { path, type, bytes: length, content } of membersOf(cut(bytes, size)))
      seen.push(`${type} ${path.slice(0, 20)} ${length} ${type === '0' && length < 10 ? await textOf(content) : ''}`)
    expect(seen).toEqual([
      '5 a/ 0 ',
      '0 a/layer.tar 1300 ',
      '5 b/ 0 ',
      `0 b/${'long'.repeat(5).slice(0, 18)} 1 x`,
      '2 c 0 ',
    ])
  })

  test('that breaks off is never taken for whole', async () => {
    const read = async (end: number) => {
      for await (const { content } of membersOf(cut(bytes.subarray(0, end), 700))) await textOf(content)
    }
    await expect(read(900)).rejects.toThrow(/breaks off/)
    await expect(read(bytes.length - 1024)).rejects.toThrow(/breaks off/)
    await read(bytes.length)
  })
})

/** An engine that keeps an image only if every layer is in the archive, as those with containerd's store do; or knows the lower ones already. */
function smallEngine(options: { wantsAll: boolean; saved: Buffer | undefined }) {
  const loads: string[][] = []
  let shown: object | undefined
  const engine: ImageEngine = {
    inspect: async () => shown,
    async load(archive) {
      const files = new Map<string, string>()
      for await (const { path, bytes, content } of membersOf(
        (async function* () {
          yield* archive as Iterable<Buffer>
        })(),
      ))
        files.set(path, bytes < 100_000 ? await textOf(content) : '')
      loads.push([...files.keys()].sort())
      const [{ Config, Layers }] = JSON.parse(files.get('manifest.json') ?? '') as [
        { Config: string; Layers: string[] },
      ]
      const missing = Layers.find((name) => !files.has(name))
      if (options.wantsAll && missing !== undefined) throw new Error(`the engine refused the archive: no ${missing}`)
      const { config, rootfs, ...rest } = JSON.parse(files.get(Config) ?? '') as Record<string, unknown> & {
        rootfs: { diff_ids: string[] }
      }
      shown = {
        Id: ID,
        Comment: '',
        Created: rest.created,
        Os: rest.os,
        Architecture: rest.architecture,
        Config: config,
        RootFS: { Layers: rootfs.diff_ids },
      }
    },
  }
  const calls: EngineCalls = {
    async ask() {
      return {
        status: options.saved === undefined ? 404 : 200,
        headers: {},
        stream: cut(options.saved ?? Buffer.alloc(0), 999) as never,
      }
    },
    tell: async (_, path) => ({
      status: path.endsWith('/start') ? 204 : 201,
      text: JSON.stringify({ Id: 'c', StatusCode: 0 }),
    }),
  }
  return { engine, calls, loads }
}

describe('an image on another one', () => {
  const below = layerOf('below', [{ path: 'base', kind: 'file', mode: 0o644, data: Buffer.from('b') }])
  const source = {
    ...judgeSource('own:1', shownOf({ User: 'x' }, { RootFS: { Layers: [below.diffId] } }), 'x64'),
    notes: [],
  }
  const own: Layer = layerOf('own', [{ path: 'mine', kind: 'file', mode: 0o644, data: Buffer.from('m') }])
  const image = imageOf('hub/x:latest', [own], 'x64', '', source)
  const saved = whole(archiveOf([imageOf('own:1', [below], archOf())]))
  const say = () => undefined

  test('is loaded without its lower layers where the engine has them: nothing of the other image is read', async () => {
    const { engine, calls, loads } = smallEngine({ wantsAll: false, saved: undefined })
    await expect(loadFrom({ image, source }, engine, calls, { say })).resolves.toMatchObject({
      state: 'built',
      whole: false,
    })
    expect(loads).toHaveLength(1)
    await expect(loadFrom({ image, source }, engine, calls, { say })).resolves.toMatchObject({ state: 'present' })
  })

  test('gets the other image’s own archive passed on where the engine wants every layer', async () => {
    const { engine, calls, loads } = smallEngine({ wantsAll: true, saved })
    await expect(loadFrom({ image, source }, engine, calls, { say })).resolves.toMatchObject({
      state: 'built',
      whole: true,
    })
    expect(loads[1]).toEqual(
      expect.arrayContaining([`${below.diffId.slice(7)}.tar`, `${own.diffId.slice(7)}.tar`, 'manifest.json']),
    )
    expect(loads[1]?.filter((name) => name === 'manifest.json')).toHaveLength(1)
  })

  test('names the other image where it was removed meanwhile', async () => {
    const { engine, calls } = smallEngine({ wantsAll: true, saved: undefined })
    await expect(loadFrom({ image, source }, engine, calls, { say })).rejects.toThrow(
      /own:1 \(sha256:1+\) was removed meanwhile/,
    )
  })
})
