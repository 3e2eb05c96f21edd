/** Which images may be registered (T50): by local id, and none whose own settings the engine would merge into a container. */
import { HubError } from '../../base/errors.ts'
import type { ImageFact } from './engine-answers.ts'

/** Throws `image_refused`, naming what stands in the way. User, entrypoint, command and workdir are set by the hub and do not matter. */
export function assertImage(name: string, image: ImageFact): void {
  const found = [
    ['VOLUME', image.volumes],
    ['ENV', image.env],
    ['LABEL', Object.keys(image.labels)],
    ['EXPOSE', image.exposedPorts],
    ['ONBUILD', image.onBuild],
  ].filter(([, values]) => values?.length !== 0)
  if (found.length === 0) return
  const what = found.map(([word, values]) => `${word} (${[...(values ?? [])].slice(0, 3).join(', ')})`).join(', ')
  throw new HubError('image_refused', `${name} carries ${what}; build it from scratch without them (images/README.md)`)
}
