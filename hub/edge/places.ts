/**
 * Places at a listener (T32, I6): nobody who merely holds connections may keep out somebody who wants to stop everything.
 *
 * P1. Above `most`, the connection goes that has been longest without a whole request: half-open, slow or idle. Next comes one that asks
 *     faster than its pace: its wait is its own doing (fault F11).
 * P2. If there is none, the one goes whose answer has been under way longest: an event stream, a reader that does not read.
 * P3. A request whose answer has not begun is never cut. Only if all connections are such requests is the newcomer sent away.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'

/** Keeps at most `most` connections at this server, in the order P1 to P3. */
export function keepPlaces(server: Server, most: number, isOverPace: (socket: Socket) => boolean = () => false): void {
  /** Without a whole request; the longest comes first. */
  const asking = new Set<Socket>()
  /** Being answered, oldest first. */
  const answering = new Map<Socket, Set<ServerResponse>>()

  function leave(socket: Socket): void {
    asking.delete(socket)
    answering.delete(socket)
  }

  function whoGoes(newcomer: Socket): Socket {
    for (const socket of asking) if (socket !== newcomer) return socket
    for (const socket of answering.keys()) if (isOverPace(socket)) return socket
    for (const [socket, responses] of answering)
      if ([...responses].some(({ headersSent }) => headersSent)) return socket
    return newcomer
  }

  server.on('connection', (socket: Socket) => {
    asking.add(socket)
    socket.once('close', () => leave(socket))
    if (asking.size + answering.size <= most) return
    const goes = whoGoes(socket)
    leave(goes)
    goes.destroy()
  })
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request
    let isOver = false
    response.once('close', () => {
      isOver = true
      const open = answering.get(socket)
      if (open === undefined) return
      open.delete(response)
      if (open.size > 0) return
      answering.delete(socket)
      if (!socket.destroyed) asking.add(socket)
    })
    const isWhole = () => {
      // Answered before it was whole, or sent away meanwhile.
      if (isOver || socket.destroyed) return
      asking.delete(socket)
      answering.set(socket, (answering.get(socket) ?? new Set()).add(response))
    }
    if (hasBody(request)) request.once('end', isWhole)
    else isWhole()
  })
}
