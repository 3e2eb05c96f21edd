/**
 * Our own image archive (docs/sandbox.md 8). Some engines use the SHA-256 of an image's config as its id, so two runs over the same inputs must
 * give the same config: created is 1970, history is ours, labels and environment are empty (the engine would merge both into every
 * container, where the hub compares them field by field).
 */
import { createHash } from 'node:crypto'
import { ARCHES, type Arch } from './machine.ts'
import { type Content, type Pieces, type TarEntry, tarOf } from './tar.ts'

export interface Layer {
  /** `sha256:` and the digest of the uncompressed tar. */
  diffId: string
  /** What it holds, for the history. */
  title: string
  /** The tar itself; read anew each time, so that none is held whole. */
  pieces: Pieces
}

export interface Image {
  /** Reference with its tag, such as `hub/agent:latest`. */
  reference: string
  /** `sha256:` and the digest of the config; an engine with containerd's store gives it another id (identity.ts). */
  configDigest: string
  config: Buffer
  layers: readonly Layer[]
  /** What a person should know about it, such as that it holds a shell; inspect shows it as `Comment`. Else empty. */
  note: string
}

const CREATED = '1970-01-01T00:00:00Z'

export function sha256Of(pieces: Iterable<Buffer>): string {
  const hash = createHash('sha256')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

export function layerOf(title: string, entries: readonly TarEntry[]): Layer {
  const pieces = tarOf(entries)
  return { diffId: `sha256:${sha256Of(pieces)}`, title, pieces }
}

/** An image of these layers for one kind of machine. User 65532, no entrypoint, no volume, no environment: the hub sets all of them at create. */
export function imageOf(reference: string, layers: readonly Layer[], arch: Arch, note = ''): Image {
  const config = Buffer.from(
    JSON.stringify({
      architecture: ARCHES[arch].oci,
      os: 'linux',
      created: CREATED,
      config: { User: '65532:65532', WorkingDir: '/workspace' },
      history: layers.map((layer, at) => ({
        created: CREATED,
        created_by: layer.title,
        // The engine takes an image's comment from its last entry.
        ...(note !== '' && at === layers.length - 1 ? { comment: note } : {}),
      })),
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    }),
  )
  return { reference, configDigest: `sha256:${sha256Of([config])}`, config, layers, note }
}

/** One archive of several images for the engine's `load`; it holds a shared layer once. */
export function archiveOf(images: readonly Image[]): Pieces {
  const layerPath = (layer: Layer) => `${layer.diffId.slice(7)}.tar`
  const configPath = (image: Image) => `${image.configDigest.slice(7)}.json`
  const entries = new Map<string, TarEntry>()
  const add = (path: string, data: Content) => entries.set(path, { path, kind: 'file', mode: 0o644, data })
  const manifest = images.map((image) => ({
    Config: configPath(image),
    RepoTags: [image.reference],
    Layers: image.layers.map(layerPath),
  }))
  add('manifest.json', Buffer.from(JSON.stringify(manifest)))
  for (const image of images) {
    add(configPath(image), image.config)
    for (const layer of image.layers) {
      if (!entries.has(layerPath(layer))) add(layerPath(layer), layer.pieces)
    }
  }
  return tarOf([...entries.values()])
}
