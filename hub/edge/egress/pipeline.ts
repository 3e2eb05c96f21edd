/**
 * The way of one request outward, from its head to its record (docs/egress.md 1).
 *
 * P1. The order is fixed: form, upstream, the closed list of its kind, what is remembered, body, one decision of the gate with what it may cost, key,
 *     exchange, answer, settlement, record. Nothing goes outward before the gate has said yes.
 * P2. Only what was judged and written anew goes outward, with the key of this hub; a credential of the agent never does (E6).
 * P3. Where the rules ask, a yes is for exactly one request (request-act.ts): its body is read before they are asked, also one that otherwise goes on
 *     piece by piece.
 * P4. Every request that was admitted has an end that is recorded, whoever breaks off (E9).
 */
import { HubError, toHubError } from '../../base/errors.ts'
import type { Call, Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import { placeholderOf } from '../../protocol/egress/placeholders.ts'
import type { EgressClass, Upstream } from '../../protocol/egress/upstreams.ts'
import { isRefused, type JudgedHead } from '../../work/egress/wire/judged.ts'
import { judgeBodyInTurns, judgeHead, judgePush } from '../../work/egress/wire.ts'
import type { AgentCaller } from '../agents/requests.ts'
import { counting, hasBody, inTurns, pieces, type Room, readWhole, requirePlainBody, requireSize } from './bodies.ts'
import { bytesOfPieces, createCounting } from './counting.ts'
import type { EgressExchange, Meter, Metered, Reserved } from './ports.ts'
import type { Ended } from './records.ts'
import { answerRefusal } from './refusing.ts'
import { actOfRequest, type BodyDigest, digestInTurns, isOfAnApproval } from './request-act.ts'
import type { Outgoing, Sending, SentEnd } from './sending.ts'
import type { Standing } from './standing.ts'

/** A larger body is asked about before it is read. */
const FORESEE_FROM_BYTES = 1024 ** 2
/** Of the names of branches, in the record of a push. */
const BRANCHES_MAX = 300
/** Without a body that is read here. */
const STREAMED: ReadonlySet<string> = new Set(['read', 'write'])

export interface PipelineParts {
  gate: Gate
  clock: Parameters<typeof readWhole>[1]['clock']
  held: Room
  standing: Standing
  send: Sending
  outward: Parameters<typeof createCounting>[0]
  meter: Meter
  upstream: (name: string) => Upstream | undefined
  /** Throws `unauthenticated` if the session has ended. */
  callerOf: (session: string) => AgentCaller
  /** Why nothing goes outward now although its mode permits it. */
  heldBack: () => HubError | undefined
  /** Counts so many bytes of a session as sent, or asks about them; answers what refuses them. */
  sends: (session: string, bytes: number, isAsked?: boolean) => HubError | undefined
  /** Somebody may want to permit it. */
  propose: (agent: string, upstream: string, kind: EgressClass) => void
  /** A request was refused. */
  refused: () => void
  /** An agent offered what is another upstream's, or another session's (E16). */
  onForeign: (caller: AgentCaller, upstream: string) => void
  /** What ended is counted, remembered, told and written. */
  ended: (
    ended: Ended,
    sent: SentEnd | undefined,
    metered: { upstream: Upstream; reserved: Reserved } | undefined,
  ) => void
}

/** One request on its way; what is known of it so far. */
interface Way extends EgressExchange {
  caller: AgentCaller
  upstream: Upstream
  call: Call
  /** The gate was asked, and records its own refusals. */
  asked: boolean
  /** What a repeat of it is known by; undefined while what refuses it is looked at again in every request. */
  key: string | undefined
  /** Undefined until its head was judged. */
  kind: EgressClass | undefined
  /** As it would be sent; empty until it was judged. */
  path: string
}

const PASSES_BY = ['rate_limited', 'timed_out', 'cancelled', 'budget_busy', 'store_unavailable', 'audit_unavailable']
/** What a repeat would meet again: not what passes by itself. */
const isFinal = (error: HubError): boolean =>
  !PASSES_BY.includes(error.code) && !isOfAnApproval(error) && error.facts.untilMs === undefined

const FORM = /^\/up\/([a-z][a-z0-9-]{0,63})([/?].*)?$/

/** What the agent says to the upstream before the body. */
const bytesOfHead = ({ path, query, headers }: JudgedHead): number =>
  headers.reduce((sum, [name, value]) => sum + name.length + value.length, path.length + query.length)

/** How it was asked for, as it came. */
const lineOf = ({ request }: Way): string => `${request.method} ${request.url}`

export function createPipeline(parts: PipelineParts) {
  const { gate, clock, standing, meter, callerOf } = parts
  const count = createCounting(parts.outward)

  /** Throws what refuses it. */
  async function serve(way: Way): Promise<void> {
    const { request, upstream, caller } = way
    requirePlainBody(request)
    const head = judgeHead(upstream, {
      method: request.method ?? '',
      target: FORM.exec(request.url ?? '')?.[2] ?? '',
      headers: request.rawHeaders,
    })
    if (isRefused(head)) throw new HubError(head.code, head.detail)
    requireOwn(way, head)
    way.path = head.path
    way.kind = head.class
    requireNew(way, lineOf(way))
    way.call = {
      ...way.call,
      ...caller.proof,
      facts: { agent: caller.session.agent, upstream: upstream.name, kind: upstream.kind, class: head.class },
      ...(head.class === 'free' || head.class === 'read' ? { recordedLater: true as const } : {}),
    }
    requireReady(way)
    requireRoom(way, head)
    if (Number(request.headers['content-length'] ?? 0) >= FORESEE_FROM_BYTES) isAskedAbout(way)
    const isPush = upstream.kind === 'git' && head.class === 'write' && head.method === 'POST'
    const isStreamed = (STREAMED.has(head.class) || head.shape === undefined) && !isPush
    if (isStreamed && !(hasBody(request) && isAskedAbout(way))) return stream(way, head)
    // From here on the body may be what refuses it.
    way.key = undefined
    const held = parts.held.of(way.session, upstream.bodyBytesMax)
    const bytes = await readWhole(request, { most: upstream.bodyBytesMax, held, clock })
    const size = bytes.length
    try {
      const digest = await inTurns(digestInTurns(bytes))
      way.call = { ...way.call, act: actOfRequest(way.call, head, digest) }
      if (isPush) await push(way, head, bytes)
      else if (isStreamed) await whole(way, head, bytes)
      else await withBody(way, head, bytes, digest)
    } finally {
      held.give(size)
    }
  }

  /** What rules and accounts said a moment ago of exactly this request, they say again. */
  function requireNew(way: Way, key: string): void {
    way.key = key
    const before = standing.refusedBefore(way.session, key)
    if (before !== undefined) throw before
  }

  function requireOwn({ caller, session, upstream }: Way, { placeholders }: JudgedHead): void {
    if (placeholders.length === 0) return
    const own = placeholderOf(session, upstream.name)
    if (placeholders.every((each) => each === own)) return
    parts.onForeign(caller, upstream.name)
    throw new HubError('forbidden', 'a placeholder of another upstream or session stands where the key belongs')
  }

  function requireReady({ session, upstream }: Way): void {
    const back = parts.heldBack()
    if (back !== undefined) throw back
    requireStanding(session, upstream, true)
  }

  /** `looks`: once the time of a used-up quota is over, this call may be the one that looks. */
  function requireStanding(session: string, upstream: Upstream, looks: boolean): void {
    const why = standing.whyNot(session, upstream.name)
    if (why !== undefined)
      throw new HubError('upstream_failed', why.why, {
        facts: why.untilMs === undefined ? {} : { untilMs: why.untilMs },
      })
    const paused = meter.paused(upstream, looks)
    if (paused !== undefined)
      throw new HubError('upstream_exhausted', paused.text, { facts: { untilMs: paused.untilMs } })
  }

  /** E15. Another request of the same line may be smaller, so this one is not remembered. */
  function requireRoom(way: Way, head: JudgedHead): void {
    const { key } = way
    way.key = undefined
    const refused = parts.sends(
      way.session,
      bytesOfHead(head) + Number(way.request.headers['content-length'] ?? 0),
      true,
    )
    if (refused !== undefined) throw refused
    way.key = key
  }

  /** Whether the rules would ask a person, and whether one has agreed already. Throws what refuses it; that is recorded. */
  function foresee(way: Way): { isAsked: boolean; isApproved: boolean } {
    way.asked = true
    const { asks, isApproved = false } = gate.foresee(way.call, true)
    way.asked = false
    return { isAsked: asks !== undefined, isApproved }
  }
  function isAskedAbout(way: Way): boolean {
    return foresee(way).isAsked
  }

  /** What otherwise goes on piece by piece, read because the rules ask about it. */
  async function whole(way: Way, head: JudgedHead, bytes: Buffer): Promise<void> {
    way.key = lineOf(way)
    way.asked = true
    gate.admit(way.call, () => undefined)
    await carryOut(way, head, { body: [bytes], streams: true }, undefined, undefined)
  }

  /** What has no body that is read here: it goes on piece by piece. */
  async function stream(way: Way, head: JudgedHead): Promise<void> {
    const most = way.upstream.bodyBytesMax
    way.key = undefined
    requireSize(way.request, most)
    way.key = lineOf(way)
    way.asked = true
    way.call = { ...way.call, act: actOfRequest(way.call, head, hasBody(way.request) ? 'unread' : undefined) }
    gate.admit(way.call, () => undefined)
    const body = hasBody(way.request) ? pieces(way.request, most) : undefined
    await carryOut(way, head, { body, streams: true }, undefined, undefined)
  }

  /** A push is read before it is sent: to which branches, and what it does there. */
  async function push(way: Way, head: JudgedHead, bytes: Buffer): Promise<void> {
    const judged = await inTurns(judgePush(way.upstream, bytes))
    if (isRefused(judged)) throw new HubError(judged.code, judged.detail)
    way.key = lineOf(way)
    way.asked = true
    const names = judged.branches.join(' ').slice(0, BRANCHES_MAX)
    gate.admit(way.call, () => ({ auditEffect: judged.workflows ? `workflows: ${names}` : names }))
    await carryOut(way, head, { body: [bytes], streams: false }, undefined, undefined)
  }

  async function withBody(way: Way, head: JudgedHead, bytes: Buffer, digest: BodyDigest): Promise<void> {
    const judged = await inTurns(judgeBodyInTurns(way.upstream, head, bytes))
    if (isRefused(judged)) throw new HubError(judged.code, judged.detail)
    way.call = { ...way.call, act: actOfRequest(way.call, head, digest, judged.model) }
    requireNew(way, `${lineOf(way)} ${judged.prefixes[0]?.hash ?? ''} ${judged.askedOutput ?? ''}`)
    way.asked = true
    if (head.class !== 'metered') {
      gate.admit(way.call, () => undefined)
      return carryOut(way, head, { body: [bytes], streams: false }, undefined, undefined)
    }
    const metered = await counted(way, { head, body: judged })
    const reserved = await reserve(way, metered)
    const capped = judged.withCap(reserved.cap)
    if (isRefused(capped)) {
      finish(way, head, undefined, reserved, new HubError(capped.code, capped.detail))
      throw new HubError(capped.code, capped.detail)
    }
    await carryOut(way, head, { body: capped.pieces, streams: judged.stream }, metered, reserved)
  }

  /** Where only the bound of its input is in the way, the provider says how long it is: once the rules would admit the request, with the yes of a person where they ask for one. */
  async function counted(way: Way, metered: Metered): Promise<Metered> {
    const { session, upstream, ended } = way
    const request = metered.body.toCount()
    if (request === undefined || !meter.needsCount(way.caller, upstream, metered)) return metered
    const { isAsked, isApproved } = foresee(way)
    if (isAsked && !isApproved) return metered
    // Before it goes out, as every piece (E15): how long a body is that says nothing of it, nobody knew until it was read.
    const refused = parts.sends(session, bytesOfPieces(request.pieces))
    if (refused !== undefined) throw refused
    const { tokens, sent, bytesOut } = await count(upstream, metered.head, request, ended)
    const why = sent.error === undefined ? '' : `${sent.error.code}: ${sent.error.message}`
    const { status, bytesIn } = sent
    parts.ended(
      { session, upstream: upstream.name, class: 'free', method: 'POST', bytesOut, status, bytesIn, leaks: 0, why },
      sent,
      undefined,
    )
    return tokens === undefined ? metered : { ...metered, counted: tokens }
  }

  /** At its turn: it waits where only calls that are under way are in the way of it. */
  async function reserve(way: Way, metered: Metered): Promise<Reserved> {
    const leaving = new AbortController()
    const gone = () => leaving.abort()
    way.response.once('close', gone)
    way.ended.addEventListener('abort', gone, { once: true })
    const admit = (take: (grant: Grant) => Reserved) => {
      // It may have waited for minutes, while others met an upstream that rests or whose quota is used up.
      way.asked = false
      requireStanding(way.session, way.upstream, false)
      way.asked = true
      return gate.admit(way.call, (grant) => {
        const reserved = take(grant)
        return { ...reserved, auditEffect: `reservation:${reserved.id}` }
      })
    }
    try {
      return await meter.atTurn(way.caller, way.upstream, metered, admit, leaving.signal)
    } finally {
      way.response.off('close', gone)
      way.ended.removeEventListener('abort', gone)
    }
  }

  async function carryOut(
    way: Way,
    head: JudgedHead,
    { body, streams }: Pick<Outgoing, 'body' | 'streams'>,
    metered: Metered | undefined,
    reserved: Reserved | undefined,
  ): Promise<void> {
    let bytesOut = 0
    const count = (bytes: number) => {
      bytesOut += bytes
    }
    if (Array.isArray(body)) for (const { length } of body as readonly Buffer[]) count(length)
    const passed = (bytes: number) => {
      const refused = parts.sends(way.session, bytes)
      if (refused !== undefined) throw refused
      count(bytes)
    }
    const counted = body === undefined || Array.isArray(body) ? body : counting(body as AsyncIterable<Buffer>, passed)
    let sent: SentEnd | undefined
    let failure: HubError | undefined
    try {
      const refused = parts.sends(way.session, bytesOfHead(head) + bytesOut)
      if (refused !== undefined) {
        bytesOut = 0
        throw refused
      }
      sent = await parts.send({
        ...{ session: way.session, request: way.request, response: way.response, ended: way.ended },
        ...{ upstream: way.upstream, head, body: counted, streams },
        usage: metered === undefined ? undefined : (contentType) => meter.reader(metered, contentType),
      })
    } catch (thrown) {
      failure = toHubError(thrown)
      throw thrown
    } finally {
      finish(way, head, sent, reserved, failure, bytesOut)
    }
  }

  function finish(
    { session, upstream }: Way,
    head: JudgedHead,
    sent: SentEnd | undefined,
    reserved: Reserved | undefined,
    failure?: HubError,
    bytesOut = 0,
  ): void {
    const error = sent?.error ?? failure
    const ended: Ended = {
      ...{ session, upstream: upstream.name, class: head.class, method: head.method, bytesOut },
      ...{ status: sent?.status ?? 0, bytesIn: sent?.bytesIn ?? 0, leaks: sent?.leaks ?? 0 },
      archive: sent?.archive,
      why: error === undefined ? '' : `${error.code}: ${error.message}`,
    }
    parts.ended(ended, sent, reserved && { upstream, reserved })
  }

  /** Says no in the words of the kind, records it once, and remembers it. */
  function refuse(way: Way, thrown: unknown): void {
    const error = toHubError(thrown)
    if (error.code === 'internal') throw error
    parts.refused()
    // What its form or its body refuses is judged each time, so that no refusal hides another: only the record is saved.
    const key = way.key ?? `${lineOf(way)} ${error.code} ${error.message}`
    const before = standing.refusedBefore(way.session, key)
    if (before === error || (way.key === undefined && before !== undefined)) gate.countRefused(way.call, error)
    else {
      if (!way.asked) gate.refuse(way.call, error)
      if (isFinal(error)) standing.refused(way.session, key, error)
      if (error.code === 'policy_denied' && way.kind !== undefined)
        parts.propose(way.caller.session.agent, way.upstream.name, way.kind)
    }
    answerRefusal(way, error)
  }

  return async (exchange: EgressExchange): Promise<void> => {
    const { request, session } = exchange
    const name = FORM.exec(request.url ?? '')?.[1]
    const caller = callerOf(session)
    const call: Call = { principal: caller.principal, operation: 'egress.request', resource: `upstream:${name ?? ''}` }
    const upstream = name === undefined ? undefined : parts.upstream(name)
    if (upstream === undefined) {
      const error = new HubError(
        'unknown_upstream',
        name === undefined ? 'the path must be /up/NAME/...' : `no upstream is named ${name}`,
      )
      gate.refuse(call, error)
      throw error
    }
    const way: Way = {
      ...exchange,
      caller,
      upstream,
      call,
      asked: false,
      key: undefined,
      path: '',
      kind: undefined,
    }
    try {
      await serve(way)
    } catch (thrown) {
      refuse(way, thrown)
    }
  }
}
