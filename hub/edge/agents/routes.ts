/** The paths of an agent's socket, and what each does once the bytes are in. */
import { sha256Hex } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { scrub } from '../../base/random.ts'
import { parseStrictJson } from '../../base/strict-json.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Nonces } from '../../guard/identity/nonces.ts'
import { type Tokens, unauthenticated } from '../../guard/identity/tokens.ts'
import type { AgentCard } from '../../protocol/agent.ts'
import { handedTo } from '../../protocol/egress/placeholders.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import { envelopeShape } from '../../protocol/envelope.ts'
import { ENVELOPE_BYTES_MAX } from '../../protocol/frame.ts'
import { OPERATIONS, type OperationName } from '../../protocol/operations.ts'
import { parseShape } from '../../protocol/parse.ts'
import { AGENT_ROUTES, type AgentRouteName } from '../../protocol/routes.ts'
import type { TaskSpec } from '../../protocol/task-spec.ts'
import type { KeptTranscript } from '../../protocol/transcripts.ts'
import { envWith } from '../../protocol/wish-places.ts'
import type { Artifacts } from '../../work/artifacts.ts'
import { leftMs, mostLeftMs } from '../../work/dispatch/expiry.ts'
import type { TaskRow } from '../../work/dispatch/rows.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import { type Hooks, sendFacts } from '../../work/messages/hooks.ts'
import type { Mailboxes } from '../../work/messages/mailboxes.ts'
import type { Topics } from '../../work/messages/topics.ts'
import type { Secrets } from '../../work/sandbox/secrets.ts'
import type { SessionCards } from '../../work/session-cards.ts'
import type { TaskTraces } from '../../work/traces.ts'
import type { Transcripts } from '../../work/transcripts.ts'
import { readBody, requireContentType, sendJson, sendText } from '../http-answers.ts'
import { agentArtifacts } from './artifacts.ts'
import type { Send } from './messages.ts'
import {
  type AgentAuth,
  type AgentCaller,
  type AgentExchange,
  type ByToken,
  type OwnCall,
  reserveNonce,
  sessionFacts,
} from './requests.ts'
import { agentTranscripts } from './transcripts.ts'

/** What a request without a body signs. */
const EMPTY_SHA256 = sha256Hex('')

/**
 * One secret over the agent's own socket. Each fetch is decided and recorded by name. Nothing is cached, and the bytes are scrubbed once
 * sent (S1-53).
 */
function agentSecrets({ gate, secrets }: { gate: Gate; secrets: Secrets }, byToken: ByToken, own: OwnCall) {
  return async (exchange: AgentExchange): Promise<void> => {
    const caller = await byToken(exchange, EMPTY_SHA256)
    const { name } = parseShape(OPERATIONS['secret.get'].request, { name: exchange.url.pathname.split('/').pop() })
    const call = { ...own(exchange, 'secret.get', caller, { name }), resource: `secret:${name}` }
    const value = gate.admit(call, (grant) => secrets.get(grant, name))
    const { response } = exchange
    response.once('close', () => scrub(value))
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': value.length,
      'cache-control': 'no-store',
    })
    response.end(value)
  }
}

export interface AgentRoute {
  operation: OperationName
  serve(exchange: AgentExchange): Promise<void>
}
export interface AgentRoutes {
  find(method: string, url: string): { route: AgentRoute; url: URL } | undefined
}

/** What stands in a path for a name in it. */
const PARTS: Readonly<Record<string, string>> = { ':sha256': '[0-9a-f]{64}', ':name': '[a-z0-9-]{1,63}' }
/** One function for each route of the table but the upgrade, which `socket.ts` takes. */
type Serves = Readonly<Record<Exclude<AgentRouteName, 'session.open'>, AgentRoute['serve']>>

function tableOf(serves: Serves): { method: string; pattern: RegExp; route: AgentRoute }[] {
  return (Object.keys(serves) as (keyof Serves)[]).map((operation) => {
    const { method, path } = AGENT_ROUTES[operation]
    const pattern = new RegExp(`^${path.replace(/:\w+/, (part) => PARTS[part] ?? part)}$`)
    return { method, pattern, route: { operation, serve: serves[operation] } }
  })
}

export interface AgentRouteParts {
  gate: Gate
  auth: AgentAuth
  tokens: Tokens
  nonces: Nonces
  clock: Clock
  tasks: Tasks
  cards: Pick<SessionCards, 'of'>
  mailboxes: Mailboxes
  topics: Topics
  artifacts: Artifacts
  transcripts: Transcripts
  secrets: Secrets
  send: Send
  hooks: Hooks | undefined
  /** Undefined where nobody keeps traces. */
  traces: Pick<TaskTraces, 'placeOf' | 'tracer'> | undefined
  instance: string
  /** What is left of the money that a task was to cost. */
  budgetLeft: (task: string, budget: number) => number
  artifactBytesMax: () => number
  /** As declared now. */
  upstreams: () => readonly Upstream[]
  /** No poll waits longer, because the next one is a sign of life. */
  pollMs: (session: string) => number
  /** It asked for mail, and so will ask again. */
  listens: (session: string) => void
  /** The wall clock has jumped ahead, and nobody has confirmed it (T72). */
  isClockAhead: () => boolean
  /** A second key on one socket: raises an alarm and ends the session. */
  onSecondKey: (session: string) => void
}

export function createAgentRoutes(parts: AgentRouteParts): AgentRoutes {
  const { gate, auth, tokens, nonces, clock, tasks, cards, mailboxes, topics, send, hooks, traces } = parts

  const jsonBody = async ({ request }: AgentExchange) => {
    requireContentType(request, 'application/json')
    return readBody(request, ENVELOPE_BYTES_MAX)
  }
  async function byToken(exchange: AgentExchange, bodySha256: string): Promise<AgentCaller> {
    const caller = await auth.byToken(exchange.session, exchange.request, bodySha256)
    exchange.proven(caller)
    return caller
  }
  /** What a session leaves may come after its end too, by its key: its tokens have ended. */
  async function byTokenOrLate(exchange: AgentExchange, bodySha256: string): Promise<AgentCaller> {
    const late = auth.late(exchange.session, exchange.request, bodySha256)
    if (late === undefined) return byToken(exchange, bodySha256)
    exchange.proven(late)
    return late
  }
  const own: OwnCall = (exchange, operation, caller, facts = {}) => {
    exchange.admitted()
    return { principal: caller.principal, operation, resource: `session:${caller.session.id}`, facts, ...caller.proof }
  }

  async function join(exchange: AgentExchange): Promise<void> {
    const body = await jsonBody(exchange)
    const { publicKey, ...caller } = auth.byPresented(exchange.session, exchange.request, body)
    const { session } = caller
    if (session.publicKey !== null && session.publicKey !== publicKey) {
      parts.onSecondKey(session.id)
      throw new HubError('unauthenticated', '', {
        reason: 'a second key tried to join on this socket; the session is ended',
      })
    }
    exchange.proven(caller)
    gate.admit(own(exchange, 'session.join', caller), (grant) => {
      if (session.publicKey === null)
        tasks.joined(grant, session.id, publicKey, cards.of(session)?.card.mode === 'chat')
    })
    await answerWithToken(exchange, session.id, (row, token) => joinAnswer(row.id, token))
  }

  async function renew(exchange: AgentExchange): Promise<void> {
    const body = await jsonBody(exchange)
    const caller = auth.byKey(exchange.session, exchange.request, sha256Hex(body))
    exchange.proven(caller)
    if (parts.isClockAhead())
      throw new HubError(
        'mode_degraded',
        'the wall clock has jumped ahead; no token is renewed until the time is confirmed',
        {
          facts: { conditions: ['clock_fault'] },
        },
      )
    gate.admit(own(exchange, 'session.renew', caller), () => undefined)
    await answerWithToken(exchange, caller.session.id, (_row, token) => token)
  }

  type TokenAnswer = { token: string; tokenExpiresAtMs: number; nowMs: number }
  async function answerWithToken(
    exchange: AgentExchange,
    id: string,
    shape: (row: { id: string }, token: TokenAnswer) => unknown,
  ): Promise<void> {
    const row = tasks.session(id)
    if (row === undefined) throw new HubError('unknown_session')
    // While it waits for a person it goes on renewing, up to its last instant.
    const { token, expiresAtMs, nowMs } = await tokens.mint(sessionFacts(row), mostLeftMs(row, clock))
    sendJson(exchange.response, 200, shape(row, { token, tokenExpiresAtMs: expiresAtMs, nowMs }))
  }

  function keptOf(task: string): KeptTranscript | null {
    const found = parts.transcripts.of(task)
    return found === undefined ? null : { sha256: found.sha256, size: found.size, tries: found.tries, as: found.as }
  }

  function joinAnswer(id: string, token: TokenAnswer) {
    const session = tasks.session(id)
    const task = session && tasks.task(session.task)
    const card = session && cards.of(session)?.card
    if (session === undefined || task === undefined || card === undefined) throw new HubError('unknown_session')
    const attempt = tasks.attempts(task.id).find(({ id }) => id === session.attempt)?.ordinal ?? 1
    const parent = task.parentSession === null ? undefined : tasks.session(task.parentSession)
    const { params, inputs } = task
    const spec = specOf(card, task)
    const { capabilities, depthLeft, tasksLeft } = session.authority
    const egress = handedTo(id, session.authority.egress, parts.upstreams())
    return {
      session: id,
      agent: session.agent,
      instance: parts.instance,
      ...token,
      // By boot time, beside the wall time that the agent is told: what is left counts, not what a changed wall clock says (T71).
      deadlineMs: token.nowMs + leftMs(session, clock),
      waitLeftMs: session.waitLeftMs ?? 0,
      program: {
        ...{ driver: card.driver, run: card.run, env: envWith(card.env, spec) },
        ...(card.mcp === undefined ? {} : { mcp: card.mcp }),
        ...(card.resume === undefined ? {} : { resume: card.resume }),
        ...(card.mode === 'chat' ? { mode: card.mode } : {}),
      },
      secrets: session.authority.secrets,
      ...(egress === undefined ? {} : { egress }),
      ...(card.transcripts === true ? { transcript: keptOf(task.id) } : {}),
      task: {
        task: task.id,
        attempt,
        params,
        inputs,
        ...(Object.keys(spec).length === 0 ? {} : { spec }),
        capabilities,
        parent: parent === undefined ? null : { agent: parent.agent, session: parent.id },
        depthLeft,
        tasksLeft,
        ...(traces === undefined ? {} : { traceparent: traces.tracer.traceparentOf(traces.placeOf(task.id)) }),
      },
    }
  }

  /** What is asked of it, with its card's own words for the rest; of its budget what is left. */
  function specOf(card: AgentCard, { id, spec }: TaskRow): TaskSpec {
    const asked = { ...card.defaults, ...spec }
    return asked.budget === undefined ? asked : { ...asked, budget: parts.budgetLeft(id, asked.budget) }
  }

  async function sendEnvelope(exchange: AgentExchange): Promise<void> {
    const body = await jsonBody(exchange)
    const caller = await byTokenOrLate(exchange, sha256Hex(body))
    const envelope = parseShape(envelopeShape, parseStrictJson(body))
    if (caller.session.state === 'recycling' && envelope.kind !== 'result')
      throw unauthenticated('the session has ended; only its result may still come')
    // A repeated message is answered without an effect. The same signed request twice is still refused (T9).
    reserveNonce(nonces, caller)
    exchange.admitted()
    const sent =
      hooks === undefined
        ? send(caller, envelope, body)
        : await hooks.around(sendFacts(caller.session, envelope, body.length), (refusal) =>
            send(caller, envelope, body, refusal),
          )
    sendJson(exchange.response, 200, sent)
  }

  async function subscribe(exchange: AgentExchange): Promise<void> {
    const body = await jsonBody(exchange)
    const caller = await byToken(exchange, sha256Hex(body))
    const { topic } = parseShape(OPERATIONS['message.subscribe'].request, parseStrictJson(body, 2))
    gate.admit(own(exchange, 'message.subscribe', caller, { topic }), () => topics.subscribe(caller.session.id, topic))
    sendJson(exchange.response, 200, { topic })
  }

  async function receive(exchange: AgentExchange): Promise<void> {
    const caller = await byToken(exchange, EMPTY_SHA256)
    const { after, waitMs } = parseShape(
      OPERATIONS['message.receive'].request,
      Object.fromEntries(exchange.url.searchParams),
    )
    const { id } = caller.session
    reserveNonce(nonces, caller)
    parts.listens(id)
    const gone = new AbortController()
    exchange.response.once('close', () => gone.abort())
    const timer = clock.after(Math.min(waitMs, parts.pollMs(id)), () => gone.abort())
    await mailboxes.waitForMail(id, after, gone.signal)
    timer.cancel()
    if (exchange.response.destroyed) return exchange.admitted()
    const waiting = mailboxes.isOpen(id) ? mailboxes.take(id, after) : []
    if (waiting.length > 0) gate.admit(own(exchange, 'message.receive', caller), () => undefined)
    exchange.admitted()
    sendText(exchange.response, 200, `{"deliveries":[${waiting.map(({ text }) => text).join(',')}]}`)
  }

  const stored = agentArtifacts(parts, { byToken, byTokenOrLate }, own)
  const conversation = agentTranscripts(parts, byToken, own)

  const table = tableOf({
    'session.join': join,
    'session.renew': renew,
    'message.send': sendEnvelope,
    'message.subscribe': subscribe,
    'message.receive': receive,
    'artifact.put': stored.put,
    'artifact.get': stored.get,
    'artifact.list': stored.list,
    'secret.get': agentSecrets(parts, byToken, own),
    'transcript.put': conversation.put,
    'transcript.get': conversation.get,
  })
  return {
    find(method, text) {
      const url = text.length > 4096 || !URL.canParse(text, 'http://hub') ? undefined : new URL(text, 'http://hub')
      // The path as it was sent. A URL parser would make another route of `..`, `//name` or an escape (T22).
      const [path = ''] = text.split('?', 1)
      const row = url && table.find((each) => each.method === method && each.pattern.test(path))
      return row === undefined || url === undefined ? undefined : { route: row.route, url }
    },
  }
}
