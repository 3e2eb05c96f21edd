/**
 * The fast way in: WebSocket on `/v1/session` of the agent's socket, one authenticated frame per message (protocol.md section 3).
 *
 * W1. Frames of one turn, of all sessions, go through the gate together: at most 256 or 5 ms, one commit, a savepoint each.
 * W2. Acknowledged means committed: acks and deliveries leave after the group's transaction. A store error acknowledges nothing.
 * W3. Acks are cumulative: when frames were taken in and not committed, their line ends, so that no later ack covers them.
 * W4. What a line sent and has not had acknowledged when it ends is not carried out any more; the client says it again.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { z } from 'zod'
import type { Clock, Timer } from '../base/clock.ts'
import { HubError, problemOf, toHubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { parseStrictJson } from '../base/strict-json.ts'
import type { Log } from '../base/telemetry.ts'
import type { Gate } from '../guard/gate.ts'
import { createOpenedSession, type OpenedSession } from '../guard/identity/opened-sessions.ts'
import { BODY_BYTES_MAX, envelopeShape } from '../protocol/envelope.ts'
import { CLOSE_CODES, FRAME_TYPES, SESSION_LIFE_MS } from '../protocol/frame.ts'
import { parseShape } from '../protocol/parse.ts'
import type { Mailboxes } from '../work/messages/mailboxes.ts'
import type { Hello } from './agent-hello.ts'
import type { AgentCaller } from './agent-requests.ts'
import { createFrameOutlet, type FrameOutlet } from './frame-outlet.ts'
import type { Send } from './routes/messages.ts'

export interface AgentFrames {
  /** Takes over an upgrade of the session's socket. */
  upgrade(session: string, request: IncomingMessage, socket: Duplex, head: Buffer): void
  close(session: string): void
}

const GROUP_FRAMES_MAX = 256
const GROUP_MS_MAX = 5
const FRAME_BYTES_MAX = 1024 * 1024 + 64
/** As of a signed request: a body of 64 KiB and the envelope around it. */
const ENVELOPE_BYTES_MAX = BODY_BYTES_MAX + 4096
const HELLO_MS_MAX = 5000
const STRIKES_MAX = 3
const FLOOD_RECORD_EVERY_MS = 10_000
const seenShape = z.strictObject({ after: z.int().nonnegative() })

interface Line {
  session: string
  ws: WebSocket
  socket: Socket
  opened: OpenedSession
  outlet: FrameOutlet
  caller: AgentCaller
  refused: { id: string; problem: Record<string, unknown> }[]
  /** Highest sequence of the present group; 0 while it has none. */
  upTo: number
  /** Highest sequence that is committed. */
  committed: number
  /** The hub ended it (W4). */
  over: boolean
  life: Timer
}
interface Waiting {
  line: Line
  type: number
  body: Buffer
  sequence: number
}

export function createAgentFrames(
  parts: {
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
  },
  limits: { framesMax?: number; lifeMs?: number } = {},
): AgentFrames {
  const { gate, hello, send, mailboxes, takeQuota, clock, random, log, refuse, onStrikes } = parts
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: FRAME_BYTES_MAX,
    clientTracking: false,
  })
  const lines = new Map<string, Line>()
  const greeting = new Map<WebSocket, string>()
  const strikes = new Map<string, number>()
  const floods = new Map<string, number>()
  let queue: Waiting[] = []
  let scheduled = false

  function begin(session: string, ws: WebSocket, socket: Socket): void {
    const late = clock.after(HELLO_MS_MAX, () => ws.terminate())
    greeting.set(ws, session)
    ws.on('error', () => ws.terminate())
    ws.once('close', () => {
      late.cancel()
      greeting.delete(ws)
    })
    ws.once('message', (data, isBinary) => {
      late.cancel()
      void greet(session, ws, socket, isBinary ? undefined : asBuffer(data))
    })
  }

  async function greet(session: string, ws: WebSocket, socket: Socket, text: Buffer | undefined): Promise<void> {
    try {
      const { caller, after } = await hello(session, text)
      // Gone, or its session ended, while its hello was looked at.
      if (!greeting.delete(ws)) return
      endOf(session, CLOSE_CODES.rekey, 'another opening took its place')
      const line = open({ session, ws, socket, caller })
      ws.on('message', (data, isBinary) => receive(line, isBinary ? asBuffer(data) : undefined))
      ws.on('close', () => forget(line))
      ws.send(JSON.stringify({ welcome: line.opened.secret }))
      line.outlet.seen(after)
      mailboxes.listen(session, line.outlet.deliver)
    } catch (thrown) {
      refuse(session, toHubError(thrown))
      close(ws, CLOSE_CODES.unauthenticated, 'unauthenticated')
    }
  }

  function open(peer: Pick<Line, 'session' | 'ws' | 'socket' | 'caller'>): Line {
    const { session, ws, socket } = peer
    const opened = createOpenedSession({ random, clock, ...limits })
    const outlet = createFrameOutlet({
      ws,
      socket,
      opened,
      clock,
      take(after) {
        const deliveries = mailboxes.isOpen(session) ? mailboxes.take(session, after) : []
        return { deliveries, more: mailboxes.depth(session) > deliveries.length }
      },
      cut(why) {
        log.warn({ session, why }, 'a session does not drain and is cut')
        forget(line)
        line.over = true
        ws.terminate()
      },
    })
    const life = clock.after(limits.lifeMs ?? SESSION_LIFE_MS, () => end(line, CLOSE_CODES.rekey, 'open a new session'))
    const line: Line = { ...peer, opened, outlet, refused: [], upTo: 0, committed: 0, over: false, life }
    lines.set(session, line)
    return line
  }

  function receive(line: Line, frame: Buffer | undefined): void {
    if (lines.get(line.session) !== line) return
    try {
      queue.push({ line, ...line.opened.open(frame ?? Buffer.alloc(0)) })
    } catch (thrown) {
      const { session } = line
      const count = (strikes.get(session) ?? 0) + 1
      strikes.set(session, count)
      refuse(session, toHubError(thrown), line.caller)
      end(line, CLOSE_CODES.sequence_broken, 'sequence_broken')
      if (count >= STRIKES_MAX) strikeOut(session)
      return
    }
    if (scheduled) return
    scheduled = true
    setImmediate(flush)
  }

  function strikeOut(session: string): void {
    try {
      onStrikes(session)
    } catch (thrown) {
      log.error({ session, reason: toHubError(thrown).reason }, 'a session with three broken frames could not be stopped')
    }
  }

  /** One group; what is left waits for the next turn, so that health and heartbeat are never starved. */
  function flush(): void {
    const startedAt = clock.monotonicMs()
    const touched = new Set<Line>()
    let corked: Socket[] = []
    let taken = 0
    try {
      gate.group(() => {
        for (let item = queue[0]; item !== undefined && taken < GROUP_FRAMES_MAX; item = queue[taken]) {
          taken += 1
          if (item.line.over) continue
          touched.add(item.line)
          handle(item)
          if (clock.monotonicMs() - startedAt > GROUP_MS_MAX) break
        }
        // Corked before the commit, so that the deliveries it sets free and the acks leave in one write per socket.
        corked = [...lines.values()].map(({ socket }) => socket)
        for (const socket of corked) socket.cork()
      })
      for (const line of touched) acknowledge(line)
    } catch (thrown) {
      log.error(
        { reason: toHubError(thrown).reason, frames: taken },
        'a group of frames could not be committed; nothing of it is acknowledged',
      )
      for (const line of touched) {
        line.outlet.ack(`{"upTo":${line.committed},"durable":false}`)
        end(line, CLOSE_CODES.unavailable, 'store_unavailable')
      }
    } finally {
      queue = queue.slice(taken)
      process.nextTick(() => {
        for (const socket of corked) socket.uncork()
      })
      scheduled = queue.length > 0
      if (scheduled) setImmediate(flush)
    }
  }

  function handle({ line, type, body, sequence }: Waiting): void {
    line.upTo = sequence
    let id = ''
    try {
      takeQuota(line.session, line.caller.session.agent)
      if (type === FRAME_TYPES.seen) {
        const { after } = parseShape(seenShape, parseStrictJson(body, 2))
        if (mailboxes.isOpen(line.session)) mailboxes.pass(line.session, after)
        line.outlet.seen(after)
        return
      }
      if (type !== FRAME_TYPES.envelope) throw new HubError('schema_invalid', `an agent sends no frame of type ${type}`)
      if (body.length > ENVELOPE_BYTES_MAX) throw new HubError('too_large', `at most ${ENVELOPE_BYTES_MAX} bytes`)
      const envelope = parseShape(envelopeShape, parseStrictJson(body))
      id = envelope.id
      send(line.caller, envelope, body)
    } catch (thrown) {
      const error = toHubError(thrown)
      if (error.code === 'store_unavailable' || error.code === 'audit_unavailable') throw error
      // What the gate refused it has recorded; a body that never reached it is recorded here.
      if (id === '' && isRecordDue(line.session, error)) refuse(line.session, error, line.caller)
      line.refused.push({ id, problem: { sequence, ...problemOf(error) } })
    }
  }

  /** A flood is recorded once in ten seconds: a record per refusal would let an agent fill the disk (T65). */
  function isRecordDue(session: string, { code }: HubError): boolean {
    if (code !== 'rate_limited') return true
    const now = clock.monotonicMs()
    if (now - (floods.get(session) ?? Number.NEGATIVE_INFINITY) < FLOOD_RECORD_EVERY_MS) return false
    floods.set(session, now)
    return true
  }

  function acknowledge(line: Line): void {
    if (lines.get(line.session) !== line) return
    const refused = line.refused.length === 0 ? '' : `,"refused":${JSON.stringify(line.refused)}`
    line.outlet.ack(`{"upTo":${line.upTo},"durable":true${refused}}`)
    line.committed = line.upTo
    line.refused = []
    if (line.opened.isSpent()) end(line, CLOSE_CODES.rekey, 'open a new session')
  }

  function forget(line: Line): void {
    line.life.cancel()
    line.outlet.stop()
    if (lines.get(line.session) !== line) return
    lines.delete(line.session)
    mailboxes.listen(line.session, undefined)
  }
  function end(line: Line, code: number, reason: string): void {
    if (line.over) return
    line.over = true
    forget(line)
    close(line.ws, code, reason)
  }
  function endOf(session: string, code: number, reason: string): void {
    const line = lines.get(session)
    if (line !== undefined) end(line, code, reason)
  }
  function close(ws: WebSocket, code: number, reason: string): void {
    ws.close(code, reason)
    clock.after(1000, () => ws.terminate())
  }

  return {
    upgrade(session, request, socket, head) {
      // An upgrade comes over the session's own Unix socket.
      server.handleUpgrade(request, socket, head, (ws) => begin(session, ws, socket as Socket))
    },
    close(session) {
      endOf(session, CLOSE_CODES.ended, 'the session has ended')
      for (const [ws, waiting] of [...greeting]) if (waiting === session && greeting.delete(ws)) ws.terminate()
      strikes.delete(session)
      floods.delete(session)
    },
  }
}

const asBuffer = (data: RawData): Buffer =>
  Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
