/**
 * Loads an image that stands on another one of the engine.
 *
 * 1. First an archive of our layers alone. An engine that keeps images by their layers has the others, and takes it at once: a base of 1 GB is
 *    neither read nor written.
 * 2. An engine that wants every layer gets the other image's own archive, passed on as it comes, with ours at the end. No layer is ever held.
 * 3. Either way the engine must then show exactly what was made, and our Node must start in it.
 */
import { archiveOf, configPath, type Image, layerPath } from './archive.ts'
import { idOf } from './assembly.ts'
import type { Source } from './from.ts'
import { differenceOf } from './identity.ts'
import { borrowContainer, type EngineCalls, type ImageEngine } from './loading.ts'
import { type Pieces, tarOf } from './tar.ts'
import { membersOf, paddingOf, textOf } from './untar.ts'

const SAVE_MS = 900_000
const START_MS = 60_000
/** What says how the archive's files belong together; ours takes its place. */
const INDEXES = new Set(['manifest.json', 'repositories', 'index.json', 'oci-layout'])

export interface LoadedFrom {
  id: string
  state: 'built' | 'present'
  /** Whether the other image had to be passed through. */
  whole: boolean
}

/** Throws naming what the engine does not take, or that the other image was removed meanwhile. */
export async function loadFrom(
  { image, source }: { image: Image; source: Source },
  engine: ImageEngine,
  calls: EngineCalls,
  { whole = false, say }: { whole?: boolean; say: (line: string) => void },
): Promise<LoadedFrom> {
  const before = await engine.inspect(image.reference)
  if (differenceOf(image, before) === undefined) return { id: idOf(before), state: 'present', whole: false }
  say(`loading ${image.reference} on ${source.name}`)
  const refused = whole ? 'asked for' : await shortWay(image, engine)
  if (refused !== undefined) await engine.load(passedOn(image, source, calls))
  const shown = await engine.inspect(image.reference)
  const difference = differenceOf(image, shown)
  if (difference !== undefined)
    throw new Error(`the engine shows ${image.reference}, but not as it was made: ${difference}; see its log`)
  const id = idOf(shown)
  await tryStart(id, calls)
  return { id, state: 'built', whole: refused !== undefined }
}

/** Why it was not taken; undefined if it was. */
async function shortWay(image: Image, engine: ImageEngine): Promise<string | undefined> {
  try {
    await engine.load(archiveOf([image]))
    return differenceOf(image, await engine.inspect(image.reference))
  } catch (thrown) {
    return (thrown as Error).message
  }
}

const layersOf = (manifest: string): string[] => (JSON.parse(manifest) as { Layers: string[] }[])[0]?.Layers ?? []

/** The archive of the other image as the engine hands it out, but its indexes; then our layers, and one index of all. */
async function* passedOn(image: Image, source: Source, calls: EngineCalls): AsyncGenerator<Buffer> {
  const { status, stream } = await calls.ask('GET', `/images/${source.id}/get`, { deadlineMs: SAVE_MS })
  if (status === 404) throw new Error(`${source.name} (${source.id}) was removed meanwhile; build or load it again`)
  if (status !== 200) throw new Error(`the engine does not hand out ${source.name} (${status})`)
  let below: string[] | undefined
  for await (const { path, bytes, heads, content } of membersOf(stream)) {
    if (path === 'manifest.json') below = layersOf(await textOf(content))
    if (INDEXES.has(path)) continue
    yield heads
    yield* content
    yield paddingOf(bytes)
  }
  if (below?.length !== source.layers.length)
    throw new Error(
      `the engine handed out ${source.name} without all of its layers; it was removed meanwhile, or its store is damaged`,
    )
  yield* endOf(image, below)
}

function endOf(image: Image, below: readonly string[]): Pieces {
  const manifest = [
    {
      Config: configPath(image),
      RepoTags: [image.reference],
      Layers: [...below, ...image.layers.map(({ diffId }) => layerPath(diffId))],
    },
  ]
  return tarOf([
    { path: configPath(image), kind: 'file', mode: 0o644, data: image.config },
    ...image.layers.map(({ diffId, pieces }) => ({
      path: layerPath(diffId),
      kind: 'file' as const,
      mode: 0o644,
      data: pieces,
    })),
    { path: 'manifest.json', kind: 'file', mode: 0o644, data: Buffer.from(JSON.stringify(manifest)) },
  ])
}

/** Runs our Node once, sealed as a session is and with nothing of the image's. Throws what it said if it does not start. */
async function tryStart(id: string, calls: EngineCalls): Promise<void> {
  const options = { deadlineMs: START_MS }
  const wanted = {
    ...{ Image: id, Entrypoint: ['/usr/local/bin/node'], Cmd: ['-e', 'process.exit(0)'] },
    ...{ User: '65532:65532', NetworkDisabled: true },
    HostConfig: {
      ...{ NetworkMode: 'none', ReadonlyRootfs: true, CapDrop: ['ALL'], SecurityOpt: ['no-new-privileges'] },
      ...{ IpcMode: 'none', PidsLimit: 64, Memory: 256 * 1024 ** 2, MemorySwap: 256 * 1024 ** 2 },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1m', 'max-file': '1' } },
    },
  }
  const trial = await borrowContainer(calls, wanted, START_MS)
  if (trial.id === undefined)
    throw new Error(`the image was made, but no container of it: ${trial.made.text.slice(0, 300)}`)
  try {
    const started = await calls.tell('POST', `/containers/${trial.id}/start`, options)
    const ended = started.status === 204 ? await calls.tell('POST', `/containers/${trial.id}/wait`, options) : started
    const code = (JSON.parse(ended.text) as { StatusCode?: number }).StatusCode
    if (code === 0) return
    const { text } = await calls.tell('GET', `/containers/${trial.id}/logs?stdout=1&stderr=1&tail=5`, options)
    const said = text.replaceAll(/[^\x20-\x7e\n]/g, '').trim()
    throw new Error(`our Node does not start in the image (${code ?? ended.text.slice(0, 200)}): ${said.slice(0, 500)}`)
  } finally {
    await trial.remove()
  }
}
