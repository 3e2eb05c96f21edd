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
  /** Digests of the layers that it stands on, from the bottom; the engine has them. Empty for an image of our own. */
  below: readonly string[]
  /** What a person should know about it, such as that it holds a shell; inspect shows it as `Comment`. Else empty. */
  note: string
  /** What was installed into it, with the digests; for the record of the build. */
  packages?: readonly string[]
  /** What it holds because its card asks (additions.ts); for the record of the build. */
  additions?: readonly string[]
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
export function imageOf(
  reference: string,
  layers: readonly Layer[],
  arch: Arch,
  note = '',
  source: { id: string; layers: readonly string[] } | undefined = undefined,
): Image {
  const below = source?.layers ?? []
  const config = Buffer.from(
    JSON.stringify({
      architecture: ARCHES[arch].oci,
      os: 'linux',
      created: CREATED,
      config: { User: '65532:65532', WorkingDir: '/workspace' },
      history: [
        ...below.map(() => ({ created: CREATED, created_by: `a layer of ${source?.id}` })),
        ...layers.map((layer, at) => ({
          created: CREATED,
          created_by: layer.title,
          // The engine takes an image's comment from its last entry.
          ...(note !== '' && at === layers.length - 1 ? { comment: note } : {}),
        })),
      ],
      rootfs: { type: 'layers', diff_ids: [...below, ...layers.map((layer) => layer.diffId)] },
    }),
  )
  return { reference, configDigest: `sha256:${sha256Of([config])}`, config, layers, below, note }
}

/** The names of a layer and of a configuration in an archive. */
export const layerPath = (diffId: string): string => `${diffId.slice(7)}.tar`
export const configPath = ({ configDigest }: Pick<Image, 'configDigest'>): string => `${configDigest.slice(7)}.json`

/**
 * One archive of several images for the engine's `load`; it holds a shared layer once. Layers that an image stands on are named and not in it: an
 * engine that keeps images by their layers has them (from-load.ts).
 */
export function archiveOf(images: readonly Image[]): Pieces {
  const entries = new Map<string, TarEntry>()
  const add = (path: string, data: Content) => entries.set(path, { path, kind: 'file', mode: 0o644, data })
  const manifest = images.map((image) => ({
    Config: configPath(image),
    RepoTags: [image.reference],
    Layers: [...image.below.map(layerPath), ...image.layers.map(({ diffId }) => layerPath(diffId))],
  }))
  add('manifest.json', Buffer.from(JSON.stringify(manifest)))
  for (const image of images) {
    add(configPath(image), image.config)
    for (const layer of image.layers) {
      if (!entries.has(layerPath(layer.diffId))) add(layerPath(layer.diffId), layer.pieces)
    }
  }
  return tarOf([...entries.values()])
}
