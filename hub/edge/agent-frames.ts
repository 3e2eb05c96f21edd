/**
 * The fast way in: WebSocket on `/v1/session` of the agent's socket, one authenticated frame per message (protocol.md section 3).
 *
 * W1. Frames of one turn, of all sessions, go through the gate together: at most 256 or 5 ms, one commit, a savepoint each.
 * W2. Acknowledged means committed: acks and deliveries leave after the group's transaction. A store error acknowledges nothing.
 * W3. A peer that does not drain is terminated, never closed: closing lingers 30 s and `send` never blocks (T67).
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import type { Clock } from '../base/clock.ts'
import { type HubError, problemOf, toHubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { parseStrictJson } from '../base/strict-json.ts'
import type { Log } from '../base/telemetry.ts'
import type { Gate } from '../guard/gate.ts'
import { createOpenedSession, type OpenedSession } from '../guard/identity/opened-sessions.ts'
import { type Delivery, envelopeShape } from '../protocol/envelope.ts'
import { FRAME_TYPES } from '../protocol/frame.ts'
import { parseShape } from '../protocol/parse.ts'
import type { Mailboxes } from '../work/messages/mailboxes.ts'
import type { Hello } from './agent-hello.ts'
import type { AgentCaller } from './agent-requests.ts'
import type { Send } from './routes/messages.ts'

export interface AgentFrames {
  /** Takes over an upgrade of the session's socket. */
  upgrade(session: string, request: IncomingMessage, socket: Duplex, head: Buffer): void
  close(session: string): void
}

const GROUP_FRAMES_MAX = 256
const GROUP_MS_MAX = 5
const BUFFERED_BYTES_MAX = 1024 * 1024
const FRAME_BYTES_MAX = 1024 * 1024 + 64
const HELLO_MS_MAX = 5000
const STRIKES_MAX = 3
export const CLOSE_CODES = { rekey: 4001, ended: 4410, unauthenticated: 4401, sequence_broken: 4409 } as const

interface Line {
  session: string
  ws: WebSocket
  socket: Duplex
  opened: OpenedSession
  caller: AgentCaller
  refused: { id: string; problem: Record<string, unknown> }[]
  /** Highest sequence of the present group; 0 while it has none. */
  upTo: number
}
interface Waiting {
  line: Line
  type: number
  body: Buffer
  sequence: number
}

export function createAgentFrames(parts: {
  gate: Gate
  hello: Hello
  send: Send
  mailboxes: Mailboxes
  takeQuota: (session: string, agent: string) => void
  clock: Clock
  random: Random
  log: Log
  /** Records a refusal of a session; never throws. */
  refuse: (session: string, error: HubError, caller?: AgentCaller) => void
  /** Three broken sequences: the agent is stopped. */
  onStrikes: (session: string) => void
}): AgentFrames {
  const { gate, hello, send, mailboxes, takeQuota, clock, random, log, refuse, onStrikes } = parts
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: FRAME_BYTES_MAX,
    clientTracking: false,
  })
  const lines = new Map<string, Line>()
  const strikes = new Map<string, number>()
  let queue: Waiting[] = []
  let scheduled = false

  function begin(session: string, ws: WebSocket, socket: Duplex): void {
    const late = clock.after(HELLO_MS_MAX, () => ws.terminate())
    ws.on('error', () => ws.terminate())
    ws.once('message', (data, isBinary) => {
      late.cancel()
      void greet(session, ws, socket, isBinary ? undefined : asBuffer(data))
    })
  }

  async function greet(session: string, ws: WebSocket, socket: Duplex, text: Buffer | undefined): Promise<void> {
    try {
      const { caller, after } = await hello(session, text)
      const opened = createOpenedSession({ random, clock })
      end(session, CLOSE_CODES.rekey, 'another opening took its place')
      const line: Line = { session, ws, socket, opened, caller, refused: [], upTo: 0 }
      lines.set(session, line)
      ws.on('message', (data, isBinary) => receive(line, isBinary ? asBuffer(data) : undefined))
      ws.on('close', () => lines.get(session) === line && forget(session))
      ws.send(JSON.stringify({ welcome: opened.secret }))
      for (const delivery of mailboxes.take(session, after)) deliver(line, delivery)
      mailboxes.listen(session, (delivery) => deliver(line, delivery))
    } catch (thrown) {
      refuse(session, toHubError(thrown))
      ws.close(CLOSE_CODES.unauthenticated, 'unauthenticated')
      clock.after(1000, () => ws.terminate())
    }
  }

  function receive(line: Line, frame: Buffer | undefined): void {
    if (lines.get(line.session) !== line) return
    try {
      queue.push({ line, ...line.opened.open(frame ?? Buffer.alloc(0)) })
      if (!scheduled) {
        scheduled = true
        setImmediate(flush)
      }
    } catch (thrown) {
      const count = (strikes.get(line.session) ?? 0) + 1
      strikes.set(line.session, count)
      refuse(line.session, toHubError(thrown), line.caller)
      end(line.session, CLOSE_CODES.sequence_broken, 'sequence_broken')
      if (count >= STRIKES_MAX) onStrikes(line.session)
    }
  }

  /** One group; what is left waits for the next turn, so that health and heartbeat are never starved. */
  function flush(): void {
    const startedAt = clock.monotonicMs()
    const group: Waiting[] = []
    const touched = new Set<Line>()
    try {
      gate.group(() => {
        for (
          let item = queue[group.length];
          item !== undefined && group.length < GROUP_FRAMES_MAX;
          item = queue[group.length]
        ) {
          group.push(item)
          touched.add(item.line)
          handle(item)
          if (clock.monotonicMs() - startedAt > GROUP_MS_MAX) break
        }
        // Corked before the commit, so that the deliveries it sets free and the acks leave in one write per socket.
        for (const { socket } of lines.values()) socket.cork()
      })
      for (const line of touched) acknowledge(line)
    } catch (thrown) {
      log.error(
        { reason: toHubError(thrown).reason, frames: group.length },
        'a group of frames could not be committed; nothing of it is acknowledged',
      )
      for (const line of touched) {
        line.upTo = 0
        line.refused = []
      }
    } finally {
      queue = queue.slice(Math.max(1, group.length))
      process.nextTick(uncork)
      scheduled = queue.length > 0
      if (scheduled) setImmediate(flush)
    }
  }
  function uncork(): void {
    for (const { socket } of lines.values()) while (socket.writableCorked > 0) socket.uncork()
  }

  function handle({ line, type, body, sequence }: Waiting): void {
    line.upTo = sequence
    let id = ''
    try {
      takeQuota(line.session, line.caller.session.agent)
      if (type === FRAME_TYPES.seen) {
        const { after } = parseStrictJson(body, 2) as { after?: unknown }
        if (typeof after === 'number' && mailboxes.isOpen(line.session)) mailboxes.pass(line.session, after)
        return
      }
      const envelope = parseShape(envelopeShape, parseStrictJson(body))
      id = envelope.id
      send(line.caller, envelope, body)
    } catch (thrown) {
      const error = toHubError(thrown)
      if (error.code === 'store_unavailable' || error.code === 'audit_unavailable') throw error
      // What the gate refused it has recorded; a body that never reached it is recorded here.
      if (id === '') refuse(line.session, error, line.caller)
      line.refused.push({ id, problem: { sequence, ...problemOf(error) } })
    }
  }

  function acknowledge(line: Line): void {
    if (line.upTo === 0 || lines.get(line.session) !== line) return
    const refused = line.refused.length === 0 ? '' : `,"refused":${JSON.stringify(line.refused)}`
    write(line, line.opened.seal(FRAME_TYPES.ack, `{"upTo":${line.upTo},"durable":true${refused}}`))
    line.upTo = 0
    line.refused = []
    if (line.opened.isSpent()) end(line.session, CLOSE_CODES.rekey, 'open a new session')
  }

  const deliver = (line: Line, delivery: Delivery) =>
    write(line, line.opened.seal(FRAME_TYPES.delivery, JSON.stringify(delivery)))

  function write(line: Line, frame: Buffer): void {
    if (line.ws.readyState !== line.ws.OPEN) return
    if (line.ws.bufferedAmount + line.socket.writableLength > BUFFERED_BYTES_MAX) {
      log.warn({ session: line.session }, 'a session does not drain and is cut')
      forget(line.session)
      line.ws.terminate()
    } else line.ws.send(frame)
  }

  function forget(session: string): void {
    lines.delete(session)
    mailboxes.listen(session, undefined)
  }
  function end(session: string, code: number, reason: string): void {
    const line = lines.get(session)
    if (line === undefined) return
    forget(session)
    line.ws.close(code, reason)
    clock.after(1000, () => line.ws.terminate())
  }

  return {
    upgrade(session, request, socket, head) {
      server.handleUpgrade(request, socket, head, (ws) => begin(session, ws, socket))
    },
    close(session) {
      end(session, CLOSE_CODES.ended, 'the session has ended')
      strikes.delete(session)
    },
  }
}

const asBuffer = (data: RawData): Buffer =>
  Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
