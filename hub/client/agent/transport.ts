/**
 * The session's line to the hub: joins, renews the token, repeats what got lost. Everything above it speaks only through
 * `Transport`, and does not know whether a message goes as a frame of a fast session or as a signed request.
 *
 * 1. A repeat keeps its envelope and its id, is marked as repeated if the first try may have arrived, and takes a new nonce and timestamp.
 * 2. After a lost link the first thing that succeeds is a renewal; then `onRestored` listeners run; then the lost calls repeat.
 * 3. Nothing is repeated past the session's deadline, or past the call's own `untilAt`.
 */
import { ERRORS, type ErrorCode, HubError } from '../../base/errors.ts'
import type { Delivery } from '../../protocol/envelope.ts'
import { ENVELOPE_BYTES_MAX } from '../../protocol/frame.ts'
import type { JoinAnswer, TokenAnswer } from './contract.ts'
import { createFastLane, type SessionMode } from './fast-lane.ts'
import { openFastLine } from './fast-line.ts'
import { type Answer, type Exchange, LinkLost, type Wire } from './wire.ts'

export interface ConnectOptions {
  /** `HUB_SOCKET`, else `/run/hub/hub.sock`. */
  socketPath?: string
  /** How long to try to join, in ms; never past `HUB_DEADLINE`. */
  joinTimeoutMs?: number
  /** Whether messages go as frames of a fast session; `auto` without it. */
  session?: SessionMode
}

export interface Call extends Omit<Exchange, 'path' | 'token'> {
  /** A function where the path depends on what a restored link changed. */
  path: string | (() => string)
  /** Also wait for a hub that answers "unavailable": for what must not be lost, such as a result. Never sent as a frame. */
  patient?: boolean
  /** Also wait while the hub accepts no new work or cannot record it: for a delegation, since its program cannot change that. */
  held?: boolean
  /** Monotonic instant after which no further try is made. */
  untilAt?: number
}

export interface Transport {
  call(call: Call): Promise<Buffer>
  /** Waits for deliveries numbered above `after()`. */
  receive(after: () => number, waitMs: number): Promise<Delivery[]>
  onRestored(listener: () => void): void
  close(): void
}

const FRAMES_SETTLE_MS = 2_000
const EMPTY = Buffer.alloc(0)
const BACKOFF_MIN_MS = 100
const BACKOFF_MAX_MS = 2_000
/** The hub records a refusal for each try while it holds. */
const HELD_BACKOFF_MS = 5_000
const HOLDING: ReadonlySet<ErrorCode> = new Set([
  'mode_degraded',
  'mode_safe',
  'policy_unavailable',
  'store_unavailable',
  'audit_unavailable',
])
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
const backoffMs = (failures: number) => Math.min(BACKOFF_MIN_MS * 2 ** failures, BACKOFF_MAX_MS)

/** The hub's problem document as an error; a code that this SDK does not know keeps its text under `internal`. */
function errorOf(answer: Answer): HubError {
  let problem: Record<string, unknown> = {}
  try {
    problem = JSON.parse(answer.body.toString()) as Record<string, unknown>
  } catch {}
  return errorOfProblem({ detail: `status ${answer.status}`, ...problem })
}

function errorOfProblem(problem: Record<string, unknown>): HubError {
  const code = Object.hasOwn(ERRORS, String(problem.code)) ? (problem.code as ErrorCode) : 'internal'
  const next = typeof problem.next === 'string' ? problem.next : ERRORS[code].next
  return new HubError(code, String(problem.detail), { facts: { ...problem, next } })
}

const isUnavailable = (error: HubError) => ERRORS[error.code].kind === 'unavailable'

/** Joins over the wire, repeating a lost join until `joinUntilAt` or until it is `told` to stop; returns the transport and the hub's answer. */
export async function join(
  wire: Wire,
  joinUntilAt: number,
  session: SessionMode = 'auto',
  told?: AbortSignal,
): Promise<{ transport: Transport; answer: JoinAnswer }> {
  const body = Buffer.from(JSON.stringify({ publicKey: wire.publicKey }))
  for (let failures = 0; ; failures += 1) {
    try {
      const raw = await wire.exchange({ method: 'POST', path: '/v1/join', body, idleMs: 10_000 })
      if (raw.status !== 200) throw errorOf(raw)
      const answer = JSON.parse(raw.body.toString()) as JoinAnswer
      return { transport: await createTransport(wire, answer, session), answer }
    } catch (thrown) {
      const later = thrown instanceof LinkLost || (thrown instanceof HubError && isUnavailable(thrown))
      if (!later || told?.aborted || performance.now() >= joinUntilAt) throw thrown
      await sleep(backoffMs(failures))
    }
  }
}

async function createTransport(wire: Wire, joined: JoinAnswer, session: SessionMode): Promise<Transport> {
  const deadlineAt = performance.now() + (joined.deadlineMs - joined.nowMs) + (joined.waitLeftMs ?? 0)
  const restored: (() => void)[] = []
  let token = ''
  let closed = false
  let renewal: Promise<void> | undefined
  let restoring: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined

  function take(answer: TokenAnswer): void {
    token = answer.token
    const halfLifeMs = Math.max(1_000, (answer.tokenExpiresAtMs - answer.nowMs) / 2)
    renewIn(halfLifeMs, Math.max(1_000, halfLifeMs / 10))
  }

  function renewIn(ms: number, againMs: number): void {
    clearTimeout(timer)
    // The token stays valid for as long again, and the first refused call renews it too.
    timer = setTimeout(() => void renew().catch(() => closed || renewIn(againMs, againMs)), ms).unref()
  }

  function renew(): Promise<void> {
    renewal ??= wire
      .exchange({ method: 'POST', path: '/v1/renew', body: Buffer.from('{}'), idleMs: 10_000 })
      .then((raw) => {
        if (raw.status !== 200) throw errorOf(raw)
        if (!closed) take(JSON.parse(raw.body.toString()) as TokenAnswer)
      })
      .finally(() => {
        renewal = undefined
      })
    return renewal
  }

  async function renewUntilDeadline(): Promise<void> {
    for (let failures = 0; ; failures += 1) {
      try {
        await renew()
        for (const listener of restored) listener()
        return
      } catch (thrown) {
        const later = thrown instanceof LinkLost || (thrown instanceof HubError && isUnavailable(thrown))
        if (!later || closed || performance.now() >= deadlineAt) throw thrown
        await sleep(backoffMs(failures))
      }
    }
  }

  function restore(): Promise<void> {
    restoring ??= renewUntilDeadline().finally(() => {
      restoring = undefined
    })
    return restoring
  }

  const lane = createFastLane(session, {
    errorOf: errorOfProblem,
    onLost: () => void restore().catch(() => {}),
    async openLine(heard) {
      // A token's id opens one session only.
      await renew()
      return await openFastLine({ socketPath: wire.socketPath, token, sign: wire.sign, ...heard })
    },
  })

  /** The answer of a message that went as a frame; undefined where it has to be a signed request. */
  async function sayFast({ patient, body, path }: Call): Promise<Buffer | undefined> {
    if (path !== '/v1/send') return undefined
    if (patient || !(body instanceof Buffer) || body.length > ENVELOPE_BYTES_MAX) {
      // A result ends the session, so messages sent before it must arrive first.
      await Promise.race([lane.settled(), sleep(FRAMES_SETTLE_MS)])
      return undefined
    }
    lane.note()
    if (!lane.isOpen()) return undefined
    await lane.send(body)
    return EMPTY
  }

  async function call(request: Call): Promise<Buffer> {
    const { path, patient = false, held = false, untilAt = deadlineAt, ...exchange } = request
    let renewed = false
    let body = request.body
    for (let failures = 0; ; failures += 1) {
      if (closed) throw new HubError('cancelled', 'this session is closed')
      try {
        const said = await sayFast({ ...request, ...(body === undefined ? {} : { body }) })
        if (said !== undefined) return said
        const at = typeof path === 'string' ? path : path()
        const answer = await wire.exchange({ ...exchange, ...(body === undefined ? {} : { body }), path: at, token })
        if (answer.status < 300) return answer.body
        throw errorOf(answer)
      } catch (thrown) {
        if (closed || performance.now() >= untilAt) throw thrown
        if (thrown instanceof LinkLost || (thrown instanceof HubError && thrown.code === 'nonce_used'))
          body = request.again?.() ?? body
        if (thrown instanceof LinkLost) {
          await sleep(backoffMs(failures))
          await restore()
        } else if (!(thrown instanceof HubError)) throw thrown
        else if (thrown.code === 'unauthenticated' && !renewed) {
          renewed = true
          // While the clock is in doubt no token is renewed, and what was signed before its step came too late: the old token still counts (T71).
          await renew().catch((refused) => {
            if (!(refused instanceof HubError && isUnavailable(refused))) throw refused
          })
        } else if (thrown.code === 'nonce_used' && failures < 8) {
          // The first try arrived and its answer was lost: the same again with a new nonce gets the recorded outcome.
        } else if (
          thrown.code === 'rate_limited' ||
          thrown.code === 'mailbox_full' ||
          (patient && isUnavailable(thrown))
        ) {
          const askedMs = Number(thrown.facts.retryAfterMs)
          await sleep(askedMs > 0 ? Math.min(askedMs, 30_000) : backoffMs(failures))
        } else if (held && HOLDING.has(thrown.code)) {
          await sleep(Math.min(BACKOFF_MIN_MS * 2 ** failures, HELD_BACKOFF_MS))
        } else throw thrown
      }
    }
  }

  take(joined)
  if (session === 'always') await lane.open()
  return {
    call,
    async receive(after, waitMs) {
      if (lane.isOpen()) return await lane.receive()
      const path = () => `/v1/receive?after=${after()}&waitMs=${waitMs}`
      const body = await call({ method: 'GET', path, idleMs: waitMs + 10_000 })
      const { deliveries } = JSON.parse(body.toString()) as { deliveries: Delivery[] }
      lane.holds(deliveries.at(-1)?.number ?? 0)
      return deliveries
    },
    onRestored: (listener) => void restored.push(listener),
    close() {
      closed = true
      clearTimeout(timer)
      lane.close(new HubError('cancelled', 'this session is closed'))
      wire.close()
    },
  }
}
