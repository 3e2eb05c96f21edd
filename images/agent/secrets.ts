/** The agent's secrets as files: fetched by name after the join, before the program starts, into memory only (S1-53). */
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { HubAgent } from '../../hub/client/agent.ts'

/**
 * Writes each secret to `folder/<name>`, 0400 in 0700. Returns why one could not be fetched: the task then fails before its program runs.
 * `folder` must not exist yet: files that another program put there are not trusted.
 */
export async function writeSecrets(
  hub: Pick<HubAgent, 'joined' | 'secret'>,
  folder: string,
): Promise<string | undefined> {
  const { secrets } = hub.joined
  if (secrets.length === 0) return undefined
  await mkdir(folder, { mode: 0o700 })
  for (const name of secrets) {
    try {
      const value = await hub.secret(name)
      await using file = await open(join(folder, name), 'wx', 0o400)
      await file.writeFile(value)
      value.fill(0)
    } catch (thrown) {
      return `the secret ${name} could not be fetched: ${(thrown as Error).message}`
    }
  }
  return undefined
}
