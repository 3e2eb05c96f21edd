/**
 * The fast way in: WebSocket on `/v1/session` of the agent's socket, one authenticated frame per message (docs/protocol.md 3).
 *
 * W1. Acknowledged means committed: acks and deliveries leave after the group's transaction. While the store fails it means recorded in the
 *     audit buffer, and the ack says that it is not durable (S1-18). Any other error acknowledges nothing.
 * W2. Acks are cumulative. If frames were taken in and not committed, their line ends, so that no later ack covers them.
 * W3. When a line ends, the frames that were not acknowledged are not carried out any more. The client sends them again.
 */

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Clock, Timer } from '../../../base/clock.ts'
import { HubError, problemOf, toHubError } from '../../../base/errors.ts'
import type { Random } from '../../../base/random.ts'
import type { Log } from '../../../base/telemetry.ts'
import type { Gate } from '../../../guard/gate.ts'
import { createOpenedSession, type OpenedSession } from '../../../guard/identity/opened-sessions.ts'
import { CLOSE_CODES, ENVELOPE_BYTES_MAX, FRAME_OVERHEAD_BYTES, LINE_LIFE_MS } from '../../../protocol/frame.ts'
import type { Mailboxes } from '../../../work/messages/mailboxes.ts'
import { type Brake, createBrake } from '../../brake.ts'
import type { Send } from '../messages.ts'
import type { AgentCaller } from '../requests.ts'
import { createFrameAct, type FrameHooks, type HookedFrame } from './acts.ts'
import { createFrameGroups } from './groups.ts'
import { asBuffer, createGreetings, type Hello } from './hello.ts'
import { createFrameOutlet, type FrameOutlet } from './outlet.ts'

export interface AgentFrames {
  /** Takes over an upgrade of the session's socket. */
  upgrade(session: string, request: IncomingMessage, socket: Duplex, head: Buffer): void
  close(session: string): void
}

/** Known from the length that a frame announces, before any byte of it is taken in (fault F18). */
const FRAME_BYTES_MAX = FRAME_OVERHEAD_BYTES + ENVELOPE_BYTES_MAX

interface Line {
  session: string
  ws: WebSocket
  socket: Socket
  brake: Brake
  opened: OpenedSession
  outlet: FrameOutlet
  caller: AgentCaller
  refused: { id: string; problem: Record<string, unknown> }[]
  /** Highest sequence of the present group; 0 if it has none. */
  upTo: number
  /** The hub ended it (W3). */
  over: boolean
  life: Timer
}
interface Waiting extends HookedFrame {
  line: Line
  sequence: number
}

const linesOf = (group: readonly Waiting[]) => new Set(group.map(({ line }) => line).filter(({ over }) => !over))

/** What the WebSocket itself refused, in the words of a record. */
const faultOfWire = (fault: Error & { code?: unknown }): HubError =>
  fault.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
    ? new HubError('too_large', `a frame holds at most ${FRAME_BYTES_MAX} bytes`)
    : new HubError('schema_invalid', 'the bytes on the line are not a WebSocket message')

export function createAgentFrames(
  parts: {
    gate: Gate
    hello: Hello
    send: Send
    hooks?: FrameHooks | undefined
    mailboxes: Mailboxes
    takeQuota: (session: string, agent: string) => void
    pingMs: (session: string) => number
    heard: (session: string) => void
    clock: Clock
    random: Random
    log: Log
    /** Records a refusal of a session. Never throws. */
    refuse: (session: string, error: HubError, caller?: AgentCaller) => void
    /** Counts one that gets no record of its own. */
    count: (session: string, error: HubError, caller: AgentCaller) => void
    /** Three broken sequences: the agent is stopped. */
    onStrikes: (session: string) => void
  },
  limits: { framesMax?: number; lifeMs?: number } = {},
): AgentFrames {
  const { gate, hello, hooks, mailboxes, clock, random, log, refuse, pingMs, heard } = parts
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: FRAME_BYTES_MAX,
    clientTracking: false,
  })
  const lines = new Map<string, Line>()
  const greetings = createGreetings(clock, greet)
  const strikes = createStrikes(parts)
  const act = createFrameAct(parts)
  const groups = createFrameGroups<Waiting>({
    gate,
    clock,
    peerOf: ({ line }) => line.brake,
    bytesOf: ({ body }) => body.length,
    handle,
    sockets: () => [...lines.values()].map(({ socket }) => socket),
    undone(group) {
      for (const line of linesOf(group)) line.refused = []
      for (const frame of group) delete frame.error
    },
    committed(group, durable) {
      for (const line of linesOf(group)) acknowledge(line, durable)
      hooks?.tell(group)
    },
    failed(group, thrown) {
      log.error({ reason: toHubError(thrown).reason, frames: group.length }, 'a group of frames was not committed')
      for (const line of linesOf(group)) {
        line.outlet.ack('{"upTo":0,"durable":false}')
        end(line, CLOSE_CODES.unavailable, 'store_unavailable')
      }
      hooks?.tell(group, thrown)
    },
  })

  async function greet(session: string, ws: WebSocket, socket: Socket, text: Buffer | undefined): Promise<void> {
    try {
      const { caller, after } = await hello(session, text)
      // The connection or its session ended while its hello was checked.
      if (!greetings.end(ws)) return
      endOf(session, CLOSE_CODES.rekey, 'a newer connection replaced this one')
      const line = open({ session, ws, socket, caller })
      ws.on('message', (data, isBinary) => receive(line, isBinary ? asBuffer(data) : undefined))
      ws.on('close', () => forget(line))
      ws.on('error', (fault) => refuse(session, faultOfWire(fault), caller))
      ws.send(JSON.stringify({ welcome: line.opened.secret }))
      line.outlet.seen(after)
      mailboxes.listen(session, line.outlet.deliver)
    } catch (thrown) {
      close(ws, CLOSE_CODES.unauthenticated, 'unauthenticated')
      refuse(session, toHubError(thrown))
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
      pingMs: () => pingMs(session),
      heard: () => heard(session),
      cut(why) {
        log.warn({ session, why }, 'a session does not read what it is sent; its line is cut')
        ended()
      },
    })
    const life = clock.after(limits.lifeMs ?? LINE_LIFE_MS, () => ended(CLOSE_CODES.rekey, 'open a new session'))
    const line: Line = {
      ...peer,
      brake: createBrake(ws, clock),
      opened,
      outlet,
      refused: [],
      upTo: 0,
      over: false,
      life,
    }
    lines.set(session, line)
    return line

    function ended(code?: number, reason?: string): void {
      end(line, code, reason)
    }
  }

  function receive(line: Line, bytes: Buffer | undefined): void {
    const { session } = line
    if (line.over) return
    try {
      const frame: Waiting = { line, ...line.opened.open(bytes ?? Buffer.alloc(0)) }
      if (hooks === undefined) groups.add(frame)
      else if (!hooks.pass(line, line.caller.session, frame, () => groups.add(frame))) {
        refuse(session, new HubError('rate_limited', 'too many frames are waiting'), line.caller)
        end(line, CLOSE_CODES.unavailable, 'too many unconfirmed')
      }
    } catch (thrown) {
      end(line, CLOSE_CODES.sequence_broken, 'sequence_broken')
      strikes.add(session, toHubError(thrown), line.caller)
    }
  }

  function handle(frame: Waiting, durable: boolean): void {
    const { line, sequence } = frame
    const { session, caller, outlet } = line
    if (line.over) return
    line.upTo = sequence
    const refused = act(caller, frame, durable, (after) => {
      if (mailboxes.isOpen(session)) mailboxes.pass(session, after)
      outlet.seen(after)
    })
    if (refused === undefined) return
    frame.error = refused.error
    if (refused.error.code === 'rate_limited') line.brake.flooded()
    line.refused.push({ id: refused.id, problem: { sequence, ...problemOf(refused.error) } })
  }

  function acknowledge(line: Line, durable: boolean): void {
    if (line.over) return
    const refused = line.refused.length === 0 ? '' : `,"refused":${JSON.stringify(line.refused)}`
    line.outlet.ack(`{"upTo":${line.upTo},"durable":${durable}${refused}}`)
    line.refused = []
    if (line.opened.isSpent()) end(line, CLOSE_CODES.rekey, 'open a new session')
  }

  function forget(line: Line): void {
    line.life.cancel()
    line.outlet.stop()
    line.brake.stop()
    if (lines.get(line.session) !== line) return
    lines.delete(line.session)
    mailboxes.listen(line.session, undefined)
  }
  /** Without a code it ends at once. */
  function end(line: Line, code?: number, reason = ''): void {
    if (line.over) return
    line.over = true
    forget(line)
    if (code === undefined) line.ws.terminate()
    else close(line.ws, code, reason)
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
      server.handleUpgrade(request, socket, head, (ws) => greetings.begin(session, ws, socket as Socket))
    },
    close(session) {
      endOf(session, CLOSE_CODES.ended, 'the session has ended')
      greetings.endOf(session)
      strikes.forget(session)
    },
  }
}

const STRIKES_MAX = 3

/** Broken sequences of a session, counted over its lines. Each is recorded; at the third the agent is stopped. */
interface Strikes {
  /** Never throws. */
  add(session: string, error: HubError, caller: AgentCaller): void
  forget(session: string): void
}

function createStrikes(parts: {
  log: Log
  refuse: (session: string, error: HubError, caller?: AgentCaller) => void
  onStrikes: (session: string) => void
}): Strikes {
  const { log, refuse, onStrikes } = parts
  const counts = new Map<string, number>()
  return {
    add(session, error, caller) {
      const count = (counts.get(session) ?? 0) + 1
      counts.set(session, count)
      try {
        refuse(session, error, caller)
        if (count >= STRIKES_MAX) onStrikes(session)
      } catch (thrown) {
        log.error({ session, reason: toHubError(thrown).reason }, 'a broken frame could not be recorded or answered')
      }
    },
    forget: (session) => void counts.delete(session),
  }
}
