/** Where the range of sessions' users begins in one home: images made for it name these users. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { FIRST_USER } from '../../hub/work/sandbox/users.ts'

/** `engine.firstUser` of the home's hub.yaml; as shipped if there is no such file. Throws what the hub would say about the file. */
export async function firstUserOf(home: string | undefined): Promise<number> {
  const file = join(resolve(home ?? process.env.HUB_HOME ?? join(homedir(), '.hub')), 'hub.yaml')
  if (!existsSync(file)) return FIRST_USER
  // Only then: images are also assembled where no package is installed (agent/Dockerfile).
  const { readConfig } = await import('../../hub/config.ts')
  return readConfig(file).engine.firstUser
}
