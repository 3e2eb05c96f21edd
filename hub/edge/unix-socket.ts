/** Unix sockets of the hub: taken over only from nobody, and only what is ours. */
import { lstatSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { HubError } from '../base/errors.ts'

/** Listens on a path; rejects with what the system says. */
export const listenOn = (server: Server, path: string): Promise<void> =>
  new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve())
  })

/** Removes a socket file that nobody listens on; refuses anything else that stands there. */
export async function freeSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket() || found.uid !== process.getuid?.())
    throw new HubError('conflict', `${path} is not a socket of this user; move it away`)
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => resolve(true)).on('error', () => resolve(false))
    probe.on('connect', () => probe.destroy())
  })
  if (alive) throw new HubError('conflict', `another process listens on ${path}; stop it first`)
  unlinkSync(path)
}
