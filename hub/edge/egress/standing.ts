/**
 * What is remembered of sessions and upstreams from one request to the next, in memory. Of refused keys the account of money remembers those
 * of calls that cost, so a restart forgets none of these.
 *
 * N1. A refusal is answered from memory for 10 s: a client that tries again costs no decision and no record of its own. What form
 *     or body refuse is judged each time all the same: one refusal must not stand before another request.
 * N2. An upstream that answers 401 or 403 three times in a row (`budget.keyRefusals`) is left alone by that session for ten minutes from the last
 *     of them: its key is wrong, and each try shows it again. One more refusal after that, and it is left alone anew.
 * N3. An upstream that broke off two answers in a row rests for 30 s, for everybody. What a limit of the hub or a slow reader ended is no fault of its.
 * N4. A session whose program left three metered answers in a row before their end reaches nothing more: it would spend money unread.
 */
import type { Clock } from '../../base/clock.ts'
import type { HubError } from '../../base/errors.ts'

const REFUSED_FOR_MS = 10_000
const REFUSED_MAX = 64
const KEY_REST_MS = 600_000
const MINUTE_MS = 60_000
const CUTS_IN_A_ROW_MAX = 2
const REST_MS = 30_000
const LEFT_IN_A_ROW_MAX = 3

interface OfSession {
  refused: Map<string, { error: HubError; atMs: number }>
  /** By upstream: answers 401 and 403 in a row, and when the last of them came. */
  denied: Map<string, { inARow: number; lastMs: number }>
  left: number
}

/** Answers 401 and 403 of an upstream to a session. */
export interface KeyRefusals {
  /** So many in a row stop it. */
  most(): number
  /** Those before this start of the hub: how many in a row, and how long ago the last came. */
  before(session: string, upstream: string): { inARow: number; agoMs: number }
}

export interface Standing {
  /** From now on this session is remembered, until `forget`. What still ends after that leaves nothing behind. */
  begin(session: string): void
  /** The refusal of exactly this request, if it was refused a moment ago. */
  refusedBefore(session: string, request: string): HubError | undefined
  refused(session: string, request: string, error: HubError): void
  /** The upstream answered; answers whether this was one 401 or 403 in a row too many. */
  answered(session: string, upstream: string, status: number): boolean
  /** Why nothing of this session goes to this upstream now; undefined if it may. Without one: why none of its lines is begun. */
  whyNot(session: string, upstream?: string): { why: string; untilMs?: number } | undefined
  /** Answers whether the upstream rests from now on. */
  cut(upstream: string): boolean
  whole(upstream: string): void
  /** Until when nobody calls it, epoch ms; undefined if it does not rest. */
  restsUntilMs(upstream: string): number | undefined
  /** The program left before the end, or stayed; answers whether this stops its session's egress. */
  left(session: string): boolean
  stayed(session: string): void
  forget(session: string): void
}

export function createStanding(clock: Clock, keys: KeyRefusals): Standing {
  const sessions = new Map<string, OfSession>()
  const cuts = new Map<string, { inARow: number; restsUntilMs: number }>()

  const nothingOf = (): OfSession => ({ refused: new Map(), denied: new Map(), left: 0 })
  const of = (session: string): OfSession => sessions.get(session) ?? nothingOf()

  function deniedOf(session: string, upstream: string): { inARow: number; lastMs: number } {
    const { denied } = of(session)
    const known = denied.get(upstream)
    if (known !== undefined) return known
    const { inARow, agoMs } = keys.before(session, upstream)
    const made = { inARow, lastMs: clock.monotonicMs() - agoMs }
    denied.set(upstream, made)
    return made
  }

  function restsUntil(upstream: string): number | undefined {
    const rests = (cuts.get(upstream)?.restsUntilMs ?? 0) - clock.monotonicMs()
    return rests > 0 ? Math.round(clock.wallMs() + rests) : undefined
  }

  return {
    begin: (session) => void sessions.set(session, nothingOf()),
    refusedBefore(session, request) {
      const found = of(session).refused.get(request)
      return found !== undefined && clock.monotonicMs() - found.atMs < REFUSED_FOR_MS ? found.error : undefined
    },
    refused(session, request, error) {
      const { refused } = of(session)
      refused.delete(request)
      refused.set(request, { error, atMs: clock.monotonicMs() })
      const [oldest] = refused.keys()
      if (refused.size > REFUSED_MAX && oldest !== undefined) refused.delete(oldest)
    },
    answered(session, upstream, status) {
      const denied = deniedOf(session, upstream)
      if (status !== 401 && status !== 403) {
        if (status < 500) denied.inARow = 0
        return false
      }
      denied.inARow += 1
      denied.lastMs = clock.monotonicMs()
      return denied.inARow >= keys.most()
    },
    whyNot(session, upstream) {
      const { left } = of(session)
      if (left >= LEFT_IN_A_ROW_MAX)
        return { why: `${left} answers in a row were left before their end: this session reaches nothing more` }
      // An agent may name any host for a line: nothing is remembered of those.
      if (upstream === undefined) return undefined
      const { inARow, lastMs } = deniedOf(session, upstream)
      const keyRestsMs = inARow >= keys.most() ? lastMs + KEY_REST_MS - clock.monotonicMs() : 0
      if (keyRestsMs > 0)
        return {
          why: `${upstream} refused the key of this hub ${inARow} times in a row; look at its secret. This session asks it again in ${Math.ceil(keyRestsMs / MINUTE_MS)} min`,
        }
      const untilMs = restsUntil(upstream)
      return untilMs === undefined
        ? undefined
        : { why: `${upstream} broke off two answers in a row and rests`, untilMs }
    },
    cut(upstream) {
      const inARow = (cuts.get(upstream)?.inARow ?? 0) + 1
      const rests = inARow >= CUTS_IN_A_ROW_MAX
      cuts.set(upstream, { inARow: rests ? 0 : inARow, restsUntilMs: rests ? clock.monotonicMs() + REST_MS : 0 })
      return rests
    },
    whole: (upstream) => void cuts.delete(upstream),
    restsUntilMs: restsUntil,
    left(session) {
      const state = of(session)
      state.left += 1
      return state.left === LEFT_IN_A_ROW_MAX
    },
    stayed(session) {
      const state = of(session)
      // What was stopped stays stopped.
      if (state.left < LEFT_IN_A_ROW_MAX) state.left = 0
    },
    forget: (session) => void sessions.delete(session),
  }
}
