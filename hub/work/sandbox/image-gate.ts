/** Which images may be registered (T50): by local id, and none with settings of its own that the engine would merge into a container. */
import { HubError, toHubError } from '../../base/errors.ts'
import type { Engine } from './engine.ts'
import type { ImageFact } from './engine-answers.ts'

/** The comment of an image that was assembled with a shell (images/README.md); written by `scripts/images/assembly.ts`. */
export const SHELL_NOTE = 'exception: shell'

/** An image that names no user is root's too. */
const ROOT = /^(?:0+|root)?(?::|$)/

/** Throws `image_refused` with what stands in the way. The hub sets entrypoint, command and workdir itself, so those do not matter. */
export function assertImage(name: string, image: ImageFact): void {
  const found = [
    ['VOLUME', image.volumes],
    // The hub sets its own user anyway, but a root image was not made for this.
    ['USER', ROOT.test(image.user) ? [image.user || 'root'] : []],
    ['ENV', image.env],
    ['LABEL', Object.keys(image.labels)],
    ['EXPOSE', image.exposedPorts],
    ['ONBUILD', image.onBuild],
  ].filter(([, values]) => values?.length !== 0)
  if (found.length === 0) return
  const what = found.map(([word, values]) => `${word} (${[...(values ?? [])].slice(0, 3).join(', ')})`).join(', ')
  throw new HubError('image_refused', `${name} carries ${what}; build it from scratch without them (images/README.md)`)
}

/**
 * From a card's image name to its local id, or why it may not be used; undefined while it is missing. `onAway` hears of the name if the
 * engine does not answer, `onSeen` of each image that was looked up.
 */
export function createResolveImage(
  engine: Engine,
  { onAway, onSeen }: { onAway: (thrown: unknown, name: string) => void; onSeen: (image: ImageFact) => void },
) {
  return async (name: string): Promise<{ id: string } | { refused: string } | undefined> => {
    const image = await engine.inspectImage(name).catch((thrown: unknown) => {
      onAway(thrown, name)
      return undefined
    })
    if (image === undefined) return undefined
    onSeen(image)
    try {
      assertImage(name, image)
      return { id: image.id }
    } catch (thrown) {
      return { refused: toHubError(thrown).message }
    }
  }
}
