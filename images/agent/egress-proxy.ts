/**
 * The inner end of a session's way out (docs/egress.md 1): listens on the container's own loopback and carries bytes to the session's second
 * socket and back. It reads none of them, changes none and writes none down. The hub judges: what this does, any program in here could do too.
 */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { EGRESS_HOST, EGRESS_PORT } from './egress-environment.ts'

/** At once; one more is closed as soon as it is there (docs/egress.md E12). */
const CONNECTIONS_MAX = 32

/** Each direction has its own end, and waits while the other side does not read. */
function join(program: Socket, hub: Socket): void {
  for (const [from, to] of [
    [program, hub],
    [hub, program],
  ] as const) {
    from.pipe(to)
    // What is on its way still arrives; a side that broke off breaks the other.
    from.on('error', () => to.destroy())
    from.on('close', (failed) => (failed ? to.destroy() : to.destroySoon()))
  }
}

/** Listens before it answers. Rejects if it cannot. `port` 0 takes any, for tests. */
export async function openEgressProxy(socketPath: string, port = EGRESS_PORT): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (program) => {
    join(program, connect({ path: socketPath, allowHalfOpen: true }))
  })
  server.maxConnections = CONNECTIONS_MAX
  server.listen(port, EGRESS_HOST)
  await once(server, 'listening')
  // The task decides when the shim ends.
  server.unref()
  return server
}
