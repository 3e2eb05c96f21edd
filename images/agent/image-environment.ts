/** The ENV of the image that this one was made from (docs/images.md 4): in a file, because a container's own environment is the hub's alone. */
import { readFileSync } from 'node:fs'

const FILE = new URL('../../hub/environment.json', import.meta.url)

/** What programs of the image are told where neither card nor hub says otherwise; nothing in an image of the hub's own. */
export function imageEnvironment(file: URL | string = FILE): Readonly<Record<string, string>> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw thrown
  }
}
