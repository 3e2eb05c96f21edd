/** What "this image has provenance" means (S1-56, S1-59). Pure. */

/**
 * `built`: this checkout assembled it for this home, and the engine showed it exactly as it was assembled (base/image-builds.ts).
 * `signed`: the operator's program for signatures passed it (`images.signature` of hub.yaml).
 */
export type Provenance = 'built' | 'signed'

/** Where an image comes from; undefined if nobody can say. A build of ours comes first: it needs nobody else's word. */
export function provenanceOf(
  imageId: string | undefined,
  sources: { isBuilt: (id: string) => boolean; isSigned: (id: string) => boolean },
): Provenance | undefined {
  if (imageId === undefined) return undefined
  if (sources.isBuilt(imageId)) return 'built'
  return sources.isSigned(imageId) ? 'signed' : undefined
}
