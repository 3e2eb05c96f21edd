/**
 * What an agent may ask on its own socket over signed requests, one function each (docs/protocol.md 2 and 3). The socket tells which
 * session asks; token, key and generation must agree with it.
 */
import type { KeyObject } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { sha256Hex } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { parseStrictJson } from '../../base/strict-json.ts'
import type { Call, Gate } from '../../guard/gate.ts'
import type { Nonces } from '../../guard/identity/nonces.ts'
import { publicKeyOf, type VerifiedRequest, verifySignedRequest } from '../../guard/identity/signed-requests.ts'
import { isForeignToken, type SessionFacts, type Tokens, unauthenticated } from '../../guard/identity/tokens.ts'
import type { Principal } from '../../guard/principal.ts'
import { OPERATIONS, type OperationName } from '../../protocol/operations.ts'
import { parseShape } from '../../protocol/parse.ts'
import { HEADER_TOKEN } from '../../protocol/signing.ts'
import { principalOfSession } from '../../work/dispatch/authority.ts'
import type { SessionRow, TaskRows } from '../../work/dispatch/rows.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'

export interface AgentCaller {
  session: SessionRow
  principal: Principal
  /** What the gate burns and checks again inside its transaction. */
  proof: Pick<Call, 'burn' | 'recheck'>
  /** For a signed request. A frame has its sequence instead. */
  nonce?: VerifiedRequest
}

export interface AgentExchange {
  session: string
  request: IncomingMessage
  response: ServerResponse
  url: URL
  /** Tells who is proven, so that a later refusal names them and burns their nonce. */
  proven(caller: AgentCaller): void
  /** The request has reached the gate, which records its own refusals. */
  admitted(): void
}
/** Who asked, by the token of the request; throws where it does not prove its session. */
export type ByToken = (exchange: AgentExchange, bodySha256: string) => Promise<AgentCaller>
/** A call of the gate that an agent makes for itself. */
export type OwnCall = (
  exchange: AgentExchange,
  operation: OperationName,
  caller: AgentCaller,
  facts?: Record<string, unknown>,
) => Call
const LIVE = new Set(['starting', 'ready', 'working', 'input_required'])

export const sessionFacts = (row: SessionRow): SessionFacts => ({
  session: row.id,
  agent: row.agent,
  task: row.task,
  generation: row.generation,
  containerId: row.containerId ?? '',
  publicKey: row.publicKey ?? '',
  capabilities: row.authority.capabilities,
  depthLeft: row.authority.depthLeft,
  live: LIVE.has(row.state),
})

/** Who the row says the session is, checked once more inside the gate's transaction. */
export function callerOf(session: SessionRow, rows: Pick<TaskRows, 'standing'>): AgentCaller {
  const { id, generation } = session
  return {
    session,
    principal: principalOfSession(session),
    proof: {
      recheck: () => {
        const now = rows.standing(id)
        const same = now !== undefined && LIVE.has(now.state) && now.generation === generation
        return same ? undefined : unauthenticated('the session ended while the request was on its way')
      },
    },
  }
}

export interface AgentAuth {
  /** By token and signature. Throws `unauthenticated`. */
  byToken(sessionId: string, request: IncomingMessage, bodySha256: string): Promise<AgentCaller>
  /** By the joined key alone, for what comes after the end; undefined if nothing may (work/dispatch/late.ts). */
  late(sessionId: string, request: IncomingMessage, bodySha256: string): AgentCaller | undefined
  /** By the joined key alone (renewal). */
  byKey(sessionId: string, request: IncomingMessage, bodySha256: string): AgentCaller
  /** By the key that the request itself presents (join). */
  byPresented(sessionId: string, request: IncomingMessage, body: Buffer): AgentCaller & { publicKey: string }
  /** Records a refusal under the socket's session. Never throws. */
  refuse(sessionId: string, operation: OperationName, error: HubError, caller?: AgentCaller): void
  /** Counts one of a flood, for the record of their sum (T65). */
  count(sessionId: string, operation: OperationName, error: HubError, caller?: AgentCaller): void
}

export function createAgentAuth(parts: {
  tasks: Tasks
  tokens: Tokens
  gate: Gate
  clock: Clock
  /** A request of this session was signed by its key. */
  heard: (session: string) => void
  heldBackMs: () => number
  /** Whether something may still come of a session that is being removed. */
  isLate: (session: SessionRow) => boolean
  /** How long one that showed no life has to hand in what there is, in ms. */
  handInMs: (session: SessionRow) => number | undefined
  /** It presented a token that never belonged on its socket (T8). */
  onForeignToken: (session: string) => void
}): AgentAuth {
  const { tasks, tokens, gate, clock, heard, heldBackMs, isLate, handInMs, onForeignToken } = parts
  const signed = (request: IncomingMessage, bodySha256: string) => ({
    method: request.method ?? '',
    path: request.url ?? '',
    headers: request.headers,
    bodySha256,
  })
  const verified = (request: IncomingMessage, bodySha256: string, key: KeyObject) =>
    verifySignedRequest(signed(request, bodySha256), key, clock, heldBackMs())

  function liveSession(id: string): SessionRow {
    const row = tasks.session(id)
    if (row !== undefined && LIVE.has(row.state)) return row
    const leftMs = row === undefined ? undefined : handInMs(row)
    // Its shim renews its token once more before it gives up, and so hears what it may still do.
    const facts = leftMs === undefined ? {} : { facts: { handInMs: leftMs } }
    throw new HubError('unauthenticated', '', { reason: 'the session has ended', ...facts })
  }
  const unproven = (session: string): Principal => {
    const agent = tasks.session(session)?.agent ?? 'unknown'
    return { kind: 'agent', id: agent, agent, session, proven: false }
  }
  const keyOf = (text: string | null) => {
    const key = text === null ? undefined : publicKeyOf(text)
    if (key === undefined) throw unauthenticated('no key has joined on this socket')
    return key
  }

  const signedCaller = (session: SessionRow, nonce: VerifiedRequest): AgentCaller => {
    const caller = callerOf(session, tasks)
    heard(session.id)
    const burn = { scope: session.id, value: nonce.nonce, expiresAtMs: nonce.nonceExpiresAtMs }
    return { ...caller, nonce, proof: { ...caller.proof, burn } }
  }

  return {
    async byToken(sessionId, request, bodySha256) {
      const token = request.headers[HEADER_TOKEN]
      if (typeof token !== 'string') throw unauthenticated('no token')
      const claims = await tokens.verify(token, sessionId, (id) => {
        const row = tasks.session(id)
        return row === undefined ? undefined : sessionFacts(row)
      })
      // Read again after the await: the transaction will check the generation that the token proved.
      const session = liveSession(sessionId)
      if (session.generation !== claims.gen) throw unauthenticated('the token is of an earlier generation')
      return signedCaller(session, verified(request, bodySha256, keyOf(session.publicKey)))
    },
    late(sessionId, request, bodySha256) {
      const session = tasks.session(sessionId)
      if (session === undefined || !isLate(session)) return undefined
      const nonce = verified(request, bodySha256, keyOf(session.publicKey))
      const burn = { scope: session.id, value: nonce.nonce, expiresAtMs: nonce.nonceExpiresAtMs }
      const recheck = () => {
        const now = tasks.session(sessionId)
        return now !== undefined && isLate(now) ? undefined : unauthenticated('nothing more is taken from this session')
      }
      return { session, principal: principalOfSession(session), nonce, proof: { burn, recheck } }
    },
    byKey(sessionId, request, bodySha256) {
      const session = liveSession(sessionId)
      return signedCaller(session, verified(request, bodySha256, keyOf(session.publicKey)))
    },
    byPresented(sessionId, request, body) {
      const session = liveSession(sessionId)
      let publicKey: string
      try {
        ;({ publicKey } = parseShape(OPERATIONS['session.join'].request, parseStrictJson(body, 2)))
      } catch (thrown) {
        throw unauthenticated(`the join is malformed: ${toHubError(thrown).reason}`)
      }
      const nonce = verified(request, sha256Hex(body), keyOf(publicKey))
      return { ...signedCaller(session, nonce), publicKey }
    },
    count(sessionId, operation, error, caller) {
      const resource = `session:${sessionId}`
      gate.countRefused({ principal: caller?.principal ?? unproven(sessionId), operation, resource }, error)
    },
    refuse(sessionId, operation, error, caller) {
      const principal = caller?.principal ?? unproven(sessionId)
      const proof = caller === undefined ? {} : { burn: caller.proof.burn }
      gate.refuse(
        {
          principal,
          operation,
          resource: `session:${sessionId}`,
          ...(proof.burn === undefined ? {} : { burn: proof.burn }),
        },
        error,
      )
      if (isForeignToken(error)) onForeignToken(sessionId)
    },
  }
}

/** Reserves the nonce of a request that may end without an effect, so that it cannot be used twice meanwhile. */
export function reserveNonce(nonces: Nonces, { proof }: AgentCaller): void {
  if (proof.burn !== undefined) nonces.reserve(proof.burn)
}
