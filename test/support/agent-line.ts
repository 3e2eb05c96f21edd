/**
 * The line between a session's container and the hub, led through a relay that can be cut: its socket is moved out of the session's folder
 * and the relay listens in its place. What hub and agent say passes untouched until then.
 */
import { chmodSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface AgentLine {
  /** Resolves once the agent has asked for its mail, or after so many milliseconds. */
  listens(withinMs: number): Promise<void>
  /** Both ends hang up, and nobody listens any more. */
  cut(): void
}

/** `folder`: the session's own in the home, while the hub listens there and the agent has not connected yet. */
export function relayAgentLine(folder: string): AgentLine {
  const away = mkdtempSync(join(tmpdir(), 'al-'))
  const [place, real] = [join(folder, 'hub.sock'), join(away, 'real.sock')]
  renameSync(place, real)
  const sockets = new Set<Socket>()
  const asked = Promise.withResolvers<void>()
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
  }
  const server = createServer((agent) => {
    const hub = connect(real)
    keep(agent)
    keep(hub)
    agent.on('data', (bytes: Buffer) => bytes.includes('/v1/receive') && asked.resolve())
    agent.pipe(hub)
    hub.pipe(agent)
    agent.on('close', () => hub.destroy())
    hub.on('close', () => agent.destroy())
  })
  server.listen(place, () => chmodSync(place, 0o666))
  return {
    listens: (withinMs) => Promise.race([asked.promise, sleep(withinMs)]),
    cut() {
      server.close()
      for (const socket of sockets) socket.destroy()
      rmSync(away, { recursive: true, force: true })
    },
  }
}
