/** Connections that have not said their hello yet: each has five seconds for it, and ends with its session. */
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import type { Clock } from '../base/clock.ts'

const HELLO_MS_MAX = 5000

export interface Greetings {
  begin(session: string, ws: WebSocket, socket: Socket): void
  /** Its hello was taken; false when it is gone already, or its session is. */
  end(ws: WebSocket): boolean
  /** All of one session are cut. */
  endOf(session: string): void
}

/** `greet` gets the first message, undefined where it was binary; what it throws ends the connection. */
export function createGreetings(
  clock: Clock,
  greet: (session: string, ws: WebSocket, socket: Socket, text: Buffer | undefined) => Promise<void>,
): Greetings {
  const waiting = new Map<WebSocket, string>()
  return {
    begin(session, ws, socket) {
      const late = clock.after(HELLO_MS_MAX, () => ws.terminate())
      waiting.set(ws, session)
      ws.on('error', () => ws.terminate())
      ws.once('close', () => {
        late.cancel()
        waiting.delete(ws)
      })
      ws.once('message', (data, isBinary) => {
        late.cancel()
        greet(session, ws, socket, isBinary ? undefined : asBuffer(data)).catch(() => ws.terminate())
      })
    },
    end: (ws) => waiting.delete(ws),
    endOf(session) {
      for (const [ws, of] of [...waiting]) if (of === session && waiting.delete(ws)) ws.terminate()
    },
  }
}

/** The bytes of one WebSocket message, however the library holds them. */
export const asBuffer = (data: RawData): Buffer =>
  Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
