/** What an assembly has to do with one home: its images name the users of that home's sessions, and the home keeps which ones were built. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { ImageBuild } from '../../hub/base/image-builds.ts'
import { FIRST_USER } from '../../hub/work/sandbox/users.ts'

/** `engine.firstUser` of the home's hub.yaml; as shipped if there is no such file. Throws what the hub would say about the file. */
export async function firstUserOf(home: string | undefined): Promise<number> {
  const file = join(resolve(home ?? process.env.HUB_HOME ?? join(homedir(), '.hub')), 'hub.yaml')
  if (!existsSync(file)) return FIRST_USER
  // Only then: images are also assembled where no package is installed (agent/Dockerfile).
  const { readConfig } = await import('../../hub/config.ts')
  return readConfig(file).engine.firstUser
}

/** Writes down in the home that was named that these images were built here. Without one nothing is written. */
export async function noteBuilds(
  home: string | undefined,
  built: readonly Omit<ImageBuild, 'atMs'>[],
  say: (line: string) => void,
): Promise<void> {
  if (home === undefined) return
  const { noteImageBuilds } = await import('../../hub/base/image-builds.ts')
  if (!noteImageBuilds(resolve(home), built, Date.now()))
    say(`${home} is no home of a hub yet, so it is not written down there that these images were built here`)
}
