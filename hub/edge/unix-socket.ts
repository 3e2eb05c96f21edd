/** Unix sockets of the hub. A socket file is replaced only if it is ours and nobody listens on it. */
import { lstatSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { HubError } from '../base/errors.ts'

/** Listens on a path. Rejects with what the system says. */
export const listenOn = (server: Server, path: string): Promise<void> =>
  new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve())
  })

/** Removes a socket file that nobody listens on. Refuses anything else in its place. */
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
