/**
 * The socket of a canary session. It answers the join with a program that takes more memory than it may, and hears what became of it. The
 * canary's last message gets no answer: its container is stopped while it waits. Every other request is refused. Its token is worthless.
 */
import type { ServerResponse } from 'node:http'
import type { Clock } from '../../base/clock.ts'
import { http } from '../../base/node-http.ts'
import type { SessionFacts } from '../sandbox/profile.ts'
import type { Sockets } from '../sandbox/sockets.ts'

export const CANARY_MEMORY_BYTES = 96 * 1024 ** 2
const PIECE_BYTES = 4 * 1024 ** 2
const PIECES = (2 * CANARY_MEMORY_BYTES) / PIECE_BYTES
const BODY_BYTES_MAX = 64 * 1024
/** A shim needs two connections; what an image holds may try for more. */
const CONNECTIONS_MAX = 8

/**
 * It offers itself to the kernel first, so that the shim outlives it, and then takes twice its memory. It has no braces, because they would
 * name inputs.
 */
const HUNGRY = [
  `try_ = require('node:fs').writeFileSync('/proc/self/oom_score_adj', '1000')`,
  `kept = Array.from(Array(${PIECES}), () => Buffer.alloc(${PIECE_BYTES}, 1))`,
].join('; ')

export interface CanaryDoor {
  /** Resolves when somebody asks to join over the socket. */
  joined: Promise<void>
  /** What the shim reports of the hungry program. */
  hungry: Promise<'killed' | 'survived' | 'not seen'>
  close(): void
}

export async function openCanaryDoor(facts: SessionFacts, sockets: Sockets, clock: Clock): Promise<CanaryDoor> {
  const joined = Promise.withResolvers<void>()
  const hungry = Promise.withResolvers<'killed' | 'survived' | 'not seen'>()
  const server = http.createServer({ requestTimeout: 5000 }, (request, response) => {
    // The shim waits for mail while its program runs. There is none, and a refusal would end the program too early.
    if (request.method === 'GET' && request.url?.startsWith('/v1/receive?')) return
    if (request.method !== 'POST' || (request.url !== '/v1/join' && request.url !== '/v1/send')) {
      response.writeHead(404, { connection: 'close' }).end(() => request.destroy())
      return
    }
    let text = ''
    request.setEncoding('utf8')
    request.on('error', () => undefined)
    request.on('data', (piece: string) => {
      text += piece
      if (text.length > BODY_BYTES_MAX) request.destroy()
    })
    request.on('end', () => {
      if (request.url === '/v1/join') {
        answerJoin(response, facts, clock.wallMs())
        joined.resolve()
        return
      }
      const word = judgeWord(text)
      if (word === undefined) response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
      else hungry.resolve(word)
    })
  })
  server.maxConnections = CONNECTIONS_MAX
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(sockets.socketPathOf(facts.session), resolve)
  })
  sockets.open(facts.session)
  return {
    joined: joined.promise,
    hungry: hungry.promise,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function answerJoin(response: ServerResponse, facts: SessionFacts, nowMs: number): void {
  const { session, agent, instance, expiresAtMs } = facts
  const answer = {
    token: 'canary',
    tokenExpiresAtMs: expiresAtMs,
    nowMs,
    session,
    agent,
    instance,
    deadlineMs: expiresAtMs,
    program: { driver: 'command', run: ['/usr/local/bin/node', '-e', HUNGRY], env: {} },
    secrets: [],
    task: {
      task: 'canary',
      attempt: 1,
      params: {},
      inputs: null,
      capabilities: [],
      parent: null,
      depthLeft: 0,
      tasksLeft: 0,
    },
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
}

/** The shim logs that a signal ended its program, or posts its result. */
function judgeWord(text: string): 'killed' | 'survived' | 'not seen' | undefined {
  try {
    const { kind, body } = JSON.parse(text) as { kind?: unknown; body?: Record<string, unknown> }
    if (kind === 'log') return /SIGKILL/.test(String(body?.text)) ? 'killed' : undefined
    if (kind === 'result') return body?.outcome === 'succeeded' ? 'survived' : 'not seen'
  } catch {
    // A message that cannot be read says nothing.
  }
  return undefined
}
