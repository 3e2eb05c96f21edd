/** Loading images into an engine (fault A1): what it holds is proven by layers and configuration, whatever id its store gives. */
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Image, imageOf, layerOf } from '../../../scripts/images/archive.ts'
import { loadImages } from '../../../scripts/images/assembly.ts'
import { differenceOf } from '../../../scripts/images/identity.ts'
import { createImageEngine, type ImageEngine } from '../../../scripts/images/loading.ts'

const layers = ['base', 'agent'].map((name) =>
  layerOf(name, [{ path: name, kind: 'file', mode: 0o644, data: Buffer.from(name) }]),
)
const image = imageOf('hub/x:latest', layers, 'x64', 'exception: shell')
const MANIFEST = `sha256:${'5'.repeat(64)}`

/** As containerd's store of Engine 29 shows it, and as 20.10 does, which writes out what is not set. */
const shown29 = ({ layers: of, note }: Image) => ({
  Id: MANIFEST,
  Comment: note,
  Created: '1970-01-01T00:00:00Z',
  Config: { User: '65532:65532', WorkingDir: '/workspace' },
  Architecture: 'amd64',
  Os: 'linux',
  RootFS: { Type: 'layers', Layers: of.map(({ diffId }) => diffId) },
})
const shown20 = (of: Image) => ({
  ...shown29(of),
  Id: of.configDigest,
  Config: {
    ...shown29(of).Config,
    Hostname: '',
    AttachStdin: false,
    Tty: false,
    Env: null,
    Cmd: null,
    Volumes: null,
    Entrypoint: null,
    OnBuild: null,
    Labels: {},
  },
})

describe('fault A1: an image is known by its layers and its configuration', () => {
  test.each([
    ['20.10', shown20],
    ['29 with containerd’s store', shown29],
  ])('as Engine %s shows it', (_which, shown) => expect(differenceOf(image, shown(image))).toBeUndefined())

  type Shown = ReturnType<typeof shown29>
  test.each<[string, (shown: Shown) => object, string]>([
    ['one layer less', (s) => ({ RootFS: { Layers: s.RootFS.Layers.slice(1) } }), 'its layers'],
    ['layers in another order', (s) => ({ RootFS: { Layers: [...s.RootFS.Layers].reverse() } }), 'its layers'],
    ['no layers', () => ({ RootFS: null }), 'its layers'],
    ['another machine', () => ({ Architecture: 'arm64' }), 'its platform'],
    ['another date', () => ({ Created: '2026-01-01T00:00:00Z' }), 'its date'],
    ['no note', () => ({ Comment: '' }), 'its note'],
    ['root', () => ({ Config: { User: '0:0', WorkingDir: '/workspace' } }), 'its configuration (User)'],
    ['no user', () => ({ Config: { WorkingDir: '/workspace' } }), 'its configuration (User)'],
    ['an environment', (s) => ({ Config: { ...s.Config, Env: ['A=b'] } }), 'its configuration (Env)'],
    ['a volume', (s) => ({ Config: { ...s.Config, Volumes: { '/x': {} } } }), 'its configuration (Volumes)'],
    ['what runs on build', (s) => ({ Config: { ...s.Config, OnBuild: ['RUN x'] } }), 'its configuration (OnBuild)'],
    ['no configuration', () => ({ Config: null }), 'its configuration (User)'],
  ])('it is another one with %s', (_what, change, difference) => {
    expect(differenceOf(image, { ...shown29(image), ...change(shown29(image)) })).toBe(difference)
  })

  test.each([undefined, null, 'x', []])('an answer that is %j is none', (shown) =>
    expect(differenceOf(image, shown)).toBe('the answer'),
  )
})

/** An engine in memory: what `load` makes of an archive, and how often it was asked to. */
function engineThat(makes: () => unknown) {
  let held: unknown
  const loads: number[] = []
  const engine: ImageEngine = {
    inspect: async () => held,
    async load() {
      loads.push(1)
      held = makes()
    },
  }
  return { engine, loads }
}

describe('fault A1: loadImages', () => {
  test('takes the id that the engine says, and knows the image again without loading it twice', async () => {
    const { engine, loads } = engineThat(() => shown29(image))
    const said: string[] = []
    const load = () => loadImages([image], engine, (line) => said.push(line))
    expect(await load()).toEqual([{ name: 'hub/x', id: MANIFEST, note: 'exception: shell', state: 'built' }])
    expect(await load()).toEqual([{ name: 'hub/x', id: MANIFEST, note: 'exception: shell', state: 'present' }])
    const [more] = await loadImages([{ ...image, packages: ['npm:a'], additions: ['mcp'] }], engine, () => {})
    expect(more).toMatchObject({ packages: ['npm:a'], additions: ['mcp'] })
    expect(loads).toHaveLength(1)
    expect(said).toEqual(['loading hub/x:latest'])
  })

  test('says what is not as it was assembled', async () => {
    const { engine } = engineThat(() => ({ ...shown29(image), RootFS: { Layers: [] } }))
    await expect(loadImages([image], engine, () => {})).rejects.toThrow(
      /shows hub\/x:latest, but not as it was assembled: its layers/,
    )
    const none = engineThat(() => undefined)
    await expect(loadImages([image], none.engine, () => {})).rejects.toThrow(
      /accepted the archive but has no hub\/x:latest/,
    )
    const nameless = engineThat(() => ({ ...shown29(image), Id: '' }))
    await expect(loadImages([image], nameless.engine, () => {})).rejects.toThrow(/an image without an id/)
  })
})

describe('fault A3: the image loader', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync('/tmp/hub-loading-')
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  async function askedOf(version: string) {
    const asked: string[] = []
    const server = http.createServer(({ method, url }, response) => {
      asked.push(`${method} ${url}`)
      response.end(url === '/version' ? version : JSON.stringify(shown29(image)))
    })
    const socketPath = join(folder, 'e.sock')
    await new Promise<void>((resolve) => server.listen(socketPath, resolve))
    const engine = createImageEngine({ socketPath, deadlineMs: 60_000, loadDeadlineMs: 60_000 })
    const done = await Promise.all([engine.inspect('hub/x:latest'), engine.inspect('hub/y:latest')]).catch(
      (error: Error) => error.message,
    )
    server.closeAllConnections()
    server.close()
    return { asked, done }
  }

  test.each([
    ['{"ApiVersion":"1.41","MinAPIVersion":"1.12"}', 'v1.41'],
    ['{"ApiVersion":"1.52","MinAPIVersion":"1.44"}', 'v1.52'],
    ['{"ApiVersion":"1.70","MinAPIVersion":"1.44"}', 'v1.56'],
  ])('speaks with an engine of %s in %s, asked once', async (version, api) => {
    const { asked } = await askedOf(version)
    expect(asked).toEqual([
      'GET /version',
      `GET /${api}/images/hub/x:latest/json`,
      `GET /${api}/images/hub/y:latest/json`,
    ])
  })

  test.each([
    ['{"ApiVersion":"1.70","MinAPIVersion":"1.60"}', /only API 1\.60 and later.*upgrade the hub/],
    ['{"ApiVersion":"1.40"}', /it speaks 1\.40; install Engine 20\.10 or later/],
    ['<html>', /no Docker engine/],
  ])('refuses by name what answers %s', async (version, why) => {
    const { asked, done } = await askedOf(version)
    expect(asked).toEqual(['GET /version'])
    expect(done).toMatch(why)
  })
})
