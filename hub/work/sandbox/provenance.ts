/** What "this image has provenance" means (S1-56, S1-59). Pure. */

/**
 * `built`: this checkout assembled it for this home, and the engine showed it exactly as it was assembled (base/image-builds.ts).
 * `signed`: the operator's program for signatures passed it (`images.signature` of hub.yaml).
 */
export type Provenance = 'built' | 'signed'

/** More than anybody puts on top of each other. */
const CHAIN_MAX = 16

/** An assembly on somebody else's image proves nothing of that one: it must be proven by itself, or the strictest profile could be led around. */
function isBuilt(imageId: string, { builtOn, isSigned }: Parameters<typeof provenanceOf>[1]): boolean {
  let at = imageId
  for (let step = 0; step < CHAIN_MAX; step += 1) {
    const below = builtOn(at)
    if (below === null) return true
    if (below === undefined) return step > 0 && isSigned(at)
    at = below
  }
  return false
}

/** Where an image comes from; undefined if nobody can say. A build of ours comes first: it needs nobody else's word. */
export function provenanceOf(
  imageId: string | undefined,
  sources: {
    /** Of one that was assembled here: what it stands on, or null where all of it is ours. Undefined for any other image. */
    builtOn: (id: string) => string | null | undefined
    isSigned: (id: string) => boolean
  },
): Provenance | undefined {
  if (imageId === undefined) return undefined
  if (isBuilt(imageId, sources)) return 'built'
  return sources.isSigned(imageId) ? 'signed' : undefined
}
