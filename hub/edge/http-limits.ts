/** Deadlines and caps of the HTTP listeners of people (T32). */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../base/clock.ts'

/** Deadlines and caps of a listener (T32). None ends an upload that moves, an event stream, or a wait for the hub itself. */
export interface HttpLimits {
  /** From the connection to the last header. */
  headersMs: number
  /** To the last byte of a request, uploads included. */
  requestMs: number
  /** To the last byte of a JSON body. */
  bodyMs: number
  /** An upload that sends nothing for so long is ended. */
  stalledMs: number
  connectionsMax: number
  /** Requests a second on one connection; what comes faster waits. Without it there is no pace. */
  perSecond?: number
}
export const OPERATOR_LIMITS: HttpLimits = {
  headersMs: 10_000,
  requestMs: 3_600_000,
  bodyMs: 30_000,
  stalledMs: 30_000,
  connectionsMax: 128,
}
/** Only health is served: nobody needs long, and whoever takes every place holds it for seconds. */
export const LOOPBACK_LIMITS: HttpLimits = {
  ...OPERATOR_LIMITS,
  headersMs: 5000,
  requestMs: 10_000,
  connectionsMax: 64,
  perSecond: 50,
}

/** Ends a request whose body does not come: JSON by its deadline, an upload when nothing more arrives. */
export function watchBody(
  request: IncomingMessage,
  response: ServerResponse,
  uploads: boolean,
  limits: HttpLimits,
  clock: Clock,
): void {
  let seen = request.socket.bytesRead
  const look = () => {
    if (request.complete) return
    if (!uploads || request.socket.bytesRead === seen) request.socket.destroy()
    else {
      seen = request.socket.bytesRead
      timer = clock.after(limits.stalledMs, look)
    }
  }
  let timer = clock.after(uploads ? limits.stalledMs : limits.bodyMs, look)
  response.once('close', () => timer.cancel())
}
