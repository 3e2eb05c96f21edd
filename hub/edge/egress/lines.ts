/**
 * CONNECT (E6): a line to a host and port that rules name, for what has no base URL. The hub carries bytes and does not see into them; it only makes
 * sure where they go.
 *
 * C1. The host is a name, and what the client says in its TLS hello is that name. No other protocol is spoken, and an encrypted hello is refused.
 * C2. Ports other than 443 only if a grant names them; the rules see `host:port` as it was asked for.
 * C3. A host that is also a declared upstream is refused: with a key of its own an agent would walk round meter, list and record.
 * C4. The line is dialled only after the hello has been judged; what the client sends meanwhile waits.
 * C5. A placeholder belongs to an upstream. In a header of a CONNECT it refuses the line, whosever it is (E16).
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../base/clock.ts'
import { ERRORS, HubError, problemOf, toHubError } from '../../base/errors.ts'
import type { Call, Gate } from '../../guard/gate.ts'
import type { Dial } from '../../guard/outward/dial.ts'
import { createHelloReader, HELLO_BYTES_MAX } from '../../protocol/egress/client-hello.ts'
import { placeholdersIn } from '../../protocol/egress/placeholders.ts'
import { isTelemetry } from '../../protocol/egress/telemetry-hosts.ts'
import type { EgressClass, Upstream } from '../../protocol/egress/upstreams.ts'
import type { AgentCaller } from '../agents/requests.ts'
import type { Ended } from './records.ts'
import { isOfAnApproval } from './request-act.ts'
import type { Standing } from './standing.ts'

const HELLO_MS_MAX = 5000
const CONNECT_MS_MAX = 10_000
const IDLE_MS_MAX = 120_000
const TOTAL_MS_MAX = 1_800_000
/** A name whose last part begins with a letter: no address in any spelling. */
const AUTHORITY =
  /^((?=.{1,253}:)(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)+[a-z](?:[a-z\d-]{0,61}[a-z\d])?):([1-9]\d{0,4})$/
const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n'

export interface LineParts {
  gate: Gate
  clock: Clock
  dial: Dial
  standing: Standing
  upstreams: () => readonly Upstream[]
  callerOf: (session: string) => AgentCaller
  heldBack: () => HubError | undefined
  /** An agent offered a host what it was given for an upstream. */
  onForeign: (caller: AgentCaller, host: string) => void
  /** Counts so many bytes of a session as sent; answers what refuses them. */
  sends: (session: string, bytes: number, isAsked?: boolean) => HubError | undefined
  propose: (agent: string, upstream: string, kind: EgressClass) => void
  /** One was refused. */
  refused: () => void
  ended: (ended: Ended) => void
}

interface Asked {
  session: string
  request: IncomingMessage
  /** Aborts when the session ends. */
  ended: AbortSignal
}

export function createLines(parts: LineParts) {
  const { gate, clock, dial, standing, upstreams, callerOf, heldBack } = parts

  function judge(authority: string): { host: string; port: number } {
    const [, host, port] = AUTHORITY.exec(authority) ?? []
    if (host === undefined || Number(port) > 65_535)
      throw new HubError('egress_denied', 'CONNECT takes host:port with the full name of the host in small letters')
    if (isTelemetry(host)) throw new HubError('egress_denied', `${host} takes reports and updates: switch them off`)
    const declared = upstreams().find(({ url, files }) =>
      [url, files].some((each) => each !== undefined && new URL(each).hostname === host),
    )
    if (declared !== undefined)
      throw new HubError(
        'egress_denied',
        `${host} is the upstream ${declared.name}: use http://127.0.0.1:47080/up/${declared.name}`,
      )
    return { host, port: Number(port) }
  }

  function refuse(call: Call, thrown: unknown, wasAsked: boolean, key: string, session: string): HubError {
    const error = toHubError(thrown)
    parts.refused()
    if (standing.refusedBefore(session, key) === error) gate.countRefused(call, error)
    else {
      if (!wasAsked) gate.refuse(call, error)
      if (!isOfAnApproval(error)) standing.refused(session, key, error)
      const { agent, upstream } = (call.facts ?? {}) as Record<string, string>
      if (error.code === 'policy_denied' && agent !== undefined && upstream !== undefined)
        parts.propose(agent, upstream, 'connect')
    }
    return error
  }

  return async ({ session, request, ended }: Asked, client: Duplex, head: Buffer): Promise<void> => {
    const authority = (request.url ?? '').toLowerCase()
    const caller = callerOf(session)
    const facts = { agent: caller.session.agent, upstream: authority, kind: 'connect', class: 'connect' }
    const call: Call = {
      ...{
        principal: caller.principal,
        operation: 'egress.request',
        resource: `upstream:${authority.slice(0, 260)}`,
        facts,
      },
      ...caller.proof,
    }
    const key = `CONNECT ${authority}`
    let wasAsked = false
    let place: ReturnType<typeof judge>
    try {
      const before = standing.refusedBefore(session, key)
      if (before !== undefined) throw before
      place = judge(authority)
      if (request.rawHeaders.some((each) => placeholdersIn(each).length > 0)) {
        parts.onForeign(caller, authority)
        throw new HubError('forbidden', 'a placeholder of an upstream stands in a header of a CONNECT')
      }
      const back = heldBack()
      if (back !== undefined) throw back
      const why = standing.whyNot(session)
      if (why !== undefined) throw new HubError('upstream_failed', why.why)
      const over = parts.sends(session, 1, true)
      if (over !== undefined) throw over
      wasAsked = true
      gate.admit(call, () => undefined)
    } catch (thrown) {
      refuseLine(client, refuse(call, thrown, wasAsked, key, session))
      return
    }
    const counts = { out: 0, in: 0 }
    let why = ''
    try {
      client.write(ESTABLISHED)
      const hello = await helloOf(client, head, place.host, clock, ended)
      const far = await dial({ place: { ...place, local: false }, secured: false, connectMs: CONNECT_MS_MAX }, ended)
      const sends = (bytes: number) => {
        const over = parts.sends(session, bytes)
        if (over === undefined) counts.out += bytes
        return over
      }
      const over = sends(hello.length)
      if (over !== undefined) {
        far.destroy()
        throw over
      }
      far.write(hello)
      const takes = (bytes: number): undefined => {
        counts.in += bytes
      }
      why = await carry(client, far, { sends, takes }, clock, ended)
    } catch (thrown) {
      const error = toHubError(thrown)
      why = `${error.code}: ${error.message}`
    } finally {
      client.destroy()
      parts.ended({
        ...{ session, upstream: authority, class: 'connect', method: 'CONNECT', status: 0, why, leaks: 0 },
        ...{ bytesOut: counts.out, bytesIn: counts.in },
      })
    }
  }
}

function refuseLine(client: Duplex, error: HubError): void {
  const { status } = ERRORS[error.code]
  const body = JSON.stringify(problemOf(error))
  client.end(
    `HTTP/1.1 ${status} Refused\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

/** What the client sends first, once it is a hello for this host. Throws `egress_denied`, or `timed_out` after five seconds. */
function helloOf(client: Duplex, head: Buffer, host: string, clock: Clock, ended: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const reader = createHelloReader()
    // Copied together: a piece may be one byte, and kept as it came it would be an object of its own (E20).
    const kept = Buffer.allocUnsafe(HELLO_BYTES_MAX)
    let keptBytes = 0
    let timer: Timer | undefined
    function stop(): void {
      timer?.cancel()
      client.pause()
      client.off('data', take)
      client.off('close', left)
      ended.removeEventListener('abort', left)
    }
    function fail(error: HubError): void {
      stop()
      reject(error)
    }
    function left(): void {
      fail(new HubError('cancelled', 'the program left before its hello'))
    }
    timer = clock.after(HELLO_MS_MAX, () =>
      fail(new HubError('timed_out', `no whole hello came within ${HELLO_MS_MAX / 1000} s`)),
    )
    function take(piece: Buffer): void {
      const answer = reader.take(piece)
      if (answer.kind === 'more') keptBytes += piece.copy(kept, keptBytes)
      else if (answer.kind === 'refused') fail(new HubError('egress_denied', answer.why))
      else if (answer.name !== host)
        fail(new HubError('egress_denied', 'its hello names another host than its CONNECT'))
      else {
        stop()
        resolve(Buffer.concat([kept.subarray(0, keptBytes), piece]))
      }
    }
    client.on('data', take)
    client.once('close', left)
    ended.addEventListener('abort', left, { once: true })
    if (head.length > 0) take(head)
  })
}

/** Carries bytes both ways until one side ends. Answers why, if it was not at the end of one of them. */
function carry(
  client: Duplex,
  far: Duplex,
  bytes: { sends: (count: number) => HubError | undefined; takes: (count: number) => undefined },
  clock: Clock,
  ended: AbortSignal,
): Promise<string> {
  return new Promise((resolve) => {
    const beganMs = clock.monotonicMs()
    let lastMs = beganMs
    let timer = clock.after(IDLE_MS_MAX, look)
    const close = (why: string) => {
      timer.cancel()
      ended.removeEventListener('abort', over)
      client.destroy()
      far.destroy()
      resolve(why)
    }
    function over(): void {
      close('cancelled: the session ended')
    }
    function look(): void {
      const nowMs = clock.monotonicMs()
      const left = Math.min(lastMs + IDLE_MS_MAX, beganMs + TOTAL_MS_MAX) - nowMs
      if (left > 0) timer = clock.after(left, look)
      else if (nowMs - beganMs >= TOTAL_MS_MAX) close(`timed_out: it lasted ${TOTAL_MS_MAX / 1000} s`)
      else close(`timed_out: nothing was carried for ${IDLE_MS_MAX / 1000} s`)
    }
    const pipe = (from: Duplex, to: Duplex, count: (bytes: number) => HubError | undefined) => {
      from.on('data', (piece: Buffer) => {
        lastMs = clock.monotonicMs()
        const over = count(piece.length)
        if (over !== undefined) return close(`${over.code}: ${over.message}`)
        if (to.write(piece)) return
        from.pause()
        to.once('drain', () => from.resume())
      })
      from.once('end', () => to.end())
      from.once('error', () => close(''))
      from.once('close', () => close(''))
    }
    pipe(client, far, bytes.sends)
    pipe(far, client, bytes.takes)
    ended.addEventListener('abort', over, { once: true })
    if (ended.aborted) over()
    else client.resume()
  })
}
