/** The opening of a fast session: `hello` proves the token and the joined key, and burns the token's id (T9). */
import { verify } from 'node:crypto'
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import { z } from 'zod'
import type { Clock } from '../../../base/clock.ts'
import type { HubError } from '../../../base/errors.ts'
import { parseStrictJson } from '../../../base/strict-json.ts'
import type { Gate } from '../../../guard/gate.ts'
import { decodeCanonical } from '../../../guard/identity/base64url.ts'
import { CLOCK_SKEW_MS } from '../../../guard/identity/clock-skew.ts'
import { publicKeyOf } from '../../../guard/identity/signed-requests.ts'
import { TOKEN_BYTES_MAX, type Tokens, unauthenticated } from '../../../guard/identity/tokens.ts'
import { helloText } from '../../../protocol/frame.ts'
import { parseShape } from '../../../protocol/parse.ts'
import type { Tasks } from '../../../work/dispatch/tasks.ts'
import { type AgentCaller, callerOf, sessionFacts } from '../requests.ts'

const helloShape = z.strictObject({
  token: z.string().max(TOKEN_BYTES_MAX),
  nonce: z.string().regex(/^[A-Za-z0-9_-]{22}$/),
  signature: z.string().length(86),
  /** The last delivery that the client has. */
  after: z.int().nonnegative().default(0),
})

/** Answers who is proven. Throws `unauthenticated`, or `nonce_used` for a token that already opened a session. */
export type Hello = (session: string, text: Buffer | undefined) => Promise<{ caller: AgentCaller; after: number }>

export function createHello(parts: { gate: Gate; tokens: Tokens; tasks: Tasks }): Hello {
  const { gate, tokens, tasks } = parts
  return async (sessionId, text) => {
    if (text === undefined) throw unauthenticated('the first message is not a hello')
    let said: z.output<typeof helloShape>
    try {
      said = parseShape(helloShape, parseStrictJson(text, 2))
    } catch (thrown) {
      throw unauthenticated(`the hello is malformed: ${(thrown as HubError).message}`)
    }
    const claims = await tokens.verify(said.token, sessionId, (id) => {
      const row = tasks.session(id)
      return row === undefined ? undefined : sessionFacts(row)
    })
    const session = tasks.session(sessionId)
    // Checked again after the await: the row may have moved while the token was verified.
    if (session?.generation !== claims.gen) throw unauthenticated('the session ended while the hello was on its way')
    const key = session?.publicKey ? publicKeyOf(session.publicKey) : undefined
    const signature = decodeCanonical(said.signature)
    if (session === undefined || key === undefined || signature === undefined)
      throw unauthenticated('no key has joined on this socket')
    if (!verify(null, Buffer.from(helloText(said.token, said.nonce)), key, signature))
      throw unauthenticated('the hello has a wrong signature')
    const caller = callerOf(session, tasks)
    const burn = { scope: 'jti', value: claims.jti, expiresAtMs: claims.exp * 1000 + CLOCK_SKEW_MS }
    const recheck = caller.proof.recheck
    gate.admit(
      {
        principal: caller.principal,
        operation: 'session.open',
        resource: `session:${sessionId}`,
        burn,
        ...(recheck && { recheck }),
      },
      () => undefined,
    )
    return { caller, after: said.after }
  }
}

/** The bytes of one WebSocket message, however the library holds them. */
export const asBuffer = (data: RawData): Buffer =>
  Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)

const HELLO_MS_MAX = 5000

/** Connections that have not said hello yet. Each has five seconds for it, and ends with its session. */
export interface Greetings {
  begin(session: string, ws: WebSocket, socket: Socket): void
  /** Its hello was accepted. False if the connection or its session is already gone. */
  end(ws: WebSocket): boolean
  /** Cuts all connections of one session. */
  endOf(session: string): void
}

/** `greet` gets the first message, undefined if it was binary. If it throws, the connection ends. */
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
