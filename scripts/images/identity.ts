/**
 * Whether the image that an engine has under a name is the one that was assembled (fault A1). Pure.
 *
 * An image's id proves nothing: one store of the engine makes it from the configuration, the other from a manifest that the engine writes
 * itself. The digests of its layers and its configuration are the same in both, and a container is made of nothing else.
 */
import type { Image } from './archive.ts'

type Row = Readonly<Record<string, unknown>>

const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Engines before 29 write out what is not set. */
const isUnset = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  value === false ||
  (typeof value === 'object' && Object.keys(value).length === 0)

/** Field by field; what is not named on one side is unset on the other. */
function differingKey(wanted: Row, shown: Row): string | undefined {
  return [...new Set([...Object.keys(wanted), ...Object.keys(shown)])].find((key) =>
    isUnset(wanted[key]) ? !isUnset(shown[key]) : JSON.stringify(wanted[key]) !== JSON.stringify(shown[key]),
  )
}

/** What differs between the engine's answer to inspect and the assembled image; undefined if nothing does. */
export function differenceOf(image: Image, shown: unknown): string | undefined {
  if (!isRow(shown)) return 'the answer'
  const made = JSON.parse(image.config.toString('utf8')) as {
    architecture: string
    os: string
    created: string
    config: Row
    rootfs: { diff_ids: string[] }
  }
  const layers = isRow(shown.RootFS) ? shown.RootFS.Layers : undefined
  if (JSON.stringify(layers) !== JSON.stringify(made.rootfs.diff_ids)) return 'its layers'
  if (shown.Architecture !== made.architecture || shown.Os !== made.os) return 'its platform'
  if (Date.parse(String(shown.Created)) !== Date.parse(made.created)) return 'its date'
  if ((shown.Comment ?? '') !== image.note) return 'its note'
  const key = differingKey(made.config, isRow(shown.Config) ? shown.Config : {})
  return key === undefined ? undefined : `its configuration (${key})`
}
