/** Opens and closes the listeners of people and of the watchdog: two sockets of the home, and loopback where it is not switched off. */
import { chmodSync } from 'node:fs'
import type { Server } from 'node:http'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { HubError } from '../base/errors.ts'
import { freeSocket, listenOn } from '../edge/unix-socket.ts'

export function createListeners(
  options: { home: string; port: number },
  parts: { operator: FastifyInstance; loopback: FastifyInstance; watchdog: Server },
) {
  const { operator, loopback, watchdog } = parts
  let port = options.port

  return {
    /** Of the loopback listener; 0 while it is off. */
    port: () => port,
    /** What an address there begins with, or null while it is off. */
    base: () => (port === 0 ? null : `http://127.0.0.1:${port}`),
    async open() {
      const socket = join(options.home, 'run', 'operator.sock')
      await freeSocket(socket)
      await operator.listen({ path: socket })
      chmodSync(socket, 0o600)
      const door = join(options.home, 'run', 'watchdog.sock')
      await freeSocket(door)
      await listenOn(watchdog, door)
      chmodSync(door, 0o600)
      if (options.port !== 0) {
        await loopback.listen({ host: '127.0.0.1', port: options.port }).catch((thrown: NodeJS.ErrnoException) => {
          throw thrown.code === 'EADDRINUSE'
            ? new HubError('conflict', `port ${options.port} is in use; set http.port in hub.yaml to a free one`)
            : thrown
        })
        port = (loopback.server.address() as { port: number }).port
      }
      return { port, socket }
    },
    async close() {
      watchdog.close()
      operator.server.closeAllConnections()
      loopback.server.closeAllConnections()
      await Promise.all([operator.close(), loopback.close()])
    },
  }
}
