/**
 * Places at a listener (T32, I6): a person who wants to stop everything must get in, even if somebody holds all connections.
 * The hub has its own copy, because the two share no code; one test tries both.
 *
 * P1. Beyond `most`, the connection is closed that has been longest without a whole request: half-open, slow, idle.
 * P2. If there is none, the one is closed whose answer has been under way longest: an event stream, a reader that does not read.
 * P3. A request whose answer has not begun is never cut. If all connections are such requests, the newcomer is turned away.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'

/** Keeps at most `most` connections at this server, in the order P1 to P3. */
export function keepPlaces(server: Server, most: number): void {
  /** Without a whole request, longest first. */
  const asking = new Set<Socket>()
  /** Under answer, oldest first. */
  const answering = new Map<Socket, Set<ServerResponse>>()

  function leave(socket: Socket): void {
    asking.delete(socket)
    answering.delete(socket)
  }

  function whoGoes(newcomer: Socket): Socket {
    for (const socket of asking) if (socket !== newcomer) return socket
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
      // Answered before it was whole, or closed meanwhile.
      if (isOver || socket.destroyed) return
      asking.delete(socket)
      answering.set(socket, (answering.get(socket) ?? new Set()).add(response))
    }
    if (hasBody(request)) request.once('end', isWhole)
    else isWhole()
  })
}
