/**
 * Upstreams whose quota is used up (table `egress_pause`). Only this file writes it.
 *
 * Q1. A 429 that says to wait a little passes: that is between the client and the provider. One that says that the quota is used up, by its
 *     code or by a wait of more than two minutes, pauses the upstream for the secret that it is used up for, for every session.
 * Q2. When the time is over, one call looks. If it is answered, the pause is over; if the quota is still used up, it lasts anew. Meanwhile, and
 *     for a minute at most, the others are still told of the pause.
 * Q3. Where the provider does not say how long, the first look comes after ten minutes, the next ones later, and none later than an hour.
 */

import { parseStrictJson } from '../../../base/strict-json.ts'
import { isBag } from '../../../protocol/keys.ts'
import type { Store } from '../../../store/database.ts'

export interface Pause {
  upstream: string
  /** When it is looked at again; epoch ms of the steady clock. */
  untilMs: number
  sinceMs: number
  why: string
  /** For whoever is refused: why, and until when. */
  text: string
}

/** An answer of an upstream, as far as it was read. */
export interface Refusal {
  status: number
  /** Names and values in turn, as they came. */
  rawHeaders: readonly string[]
  body: Buffer
}

export interface QuotaPauses {
  /** Undefined if the upstream may be called with this secret: also for the one call that looks. */
  isPaused(upstream: string, secret: string): Pause | undefined
  /** The pause whose time is not over, for a call that was let through before it began. It makes nobody the one that looks. */
  stillPaused(upstream: string, secret: string): Pause | undefined
  /** Within a transaction: judges an answer that is an error. `pass`, or the pause that begins. */
  judge(upstream: string, secret: string, refusal: Refusal): 'pass' | Pause
  /** Within a transaction: it was answered, so a pause that was looked at is over. */
  answered(upstream: string, secret: string): void
  /** Undefined if `answered` would change nothing. */
  has(upstream: string, secret: string): boolean
  list(): Pause[]
}

const PASSES_MS_MAX = 120_000
const FIRST_LOOK_MS = 600_000
const LAST_LOOK_MS = 3_600_000
const LOOKING_MS = 60_000
/** A reset that is further away is a mistake, or nothing to wait for. */
const FAR_MS = 32 * 86_400_000

export function createQuotaPauses(store: Store, nowMs: () => number): QuotaPauses {
  const found = store.prepare(
    'select upstream, until_ms as untilMs, since_ms as sinceMs, tries, why from egress_pause where upstream = ? and secret = ?',
  )
  const save = store.prepare('insert or replace into egress_pause values (?, ?, ?, ?, ?, ?)')
  const remove = store.prepare('delete from egress_pause where upstream = ? and secret = ?')
  const all = store.prepare(
    'select upstream, until_ms as untilMs, since_ms as sinceMs, tries, why from egress_pause order by upstream, secret',
  )
  /** Who looks, until when at most; a restart looks anew. */
  const looking = new Map<string, number>()
  type Row = Omit<Pause, 'text'> & { tries: number }
  const row = (upstream: string, secret: string) => found.get(upstream, secret) as Row | undefined
  const pauseOf = ({ upstream, untilMs, sinceMs, why }: Row): Pause => ({
    ...{ upstream, untilMs, sinceMs, why },
    text: `the quota of ${upstream} is used up (${why}); it is looked at again at ${new Date(untilMs).toISOString()}`,
  })

  return {
    isPaused(upstream, secret) {
      const known = row(upstream, secret)
      if (known === undefined) return undefined
      const now = nowMs()
      const key = `${upstream} ${secret}`
      if (now < known.untilMs || now < (looking.get(key) ?? 0)) return pauseOf(known)
      looking.set(key, now + LOOKING_MS)
      return undefined
    },
    stillPaused(upstream, secret) {
      const known = row(upstream, secret)
      return known === undefined || nowMs() >= known.untilMs ? undefined : pauseOf(known)
    },
    judge(upstream, secret, refusal) {
      const now = nowMs()
      const used = usedUp(refusal, now)
      if (used === undefined) return 'pass'
      const known = row(upstream, secret)
      const tries = (known?.tries ?? 0) + 1
      const waitMs = used.waitMs ?? Math.min(LAST_LOOK_MS, FIRST_LOOK_MS * 2 ** Math.min(tries - 1, 8))
      const sinceMs = known?.sinceMs ?? now
      looking.delete(`${upstream} ${secret}`)
      save.run(upstream, secret, Math.round(now + Math.min(waitMs, FAR_MS)), sinceMs, tries, used.why)
      return pauseOf(row(upstream, secret) as Row)
    },
    answered(upstream, secret) {
      looking.delete(`${upstream} ${secret}`)
      remove.run(upstream, secret)
    },
    has: (upstream, secret) => row(upstream, secret) !== undefined,
    list: () => (all.all() as Row[]).map(pauseOf),
  }
}

const headerOf = (raw: readonly string[], name: string): string | undefined => {
  for (let at = 0; at + 1 < raw.length; at += 2) if (raw[at]?.toLowerCase() === name) return raw[at + 1]
  return undefined
}

/** Seconds, or an instant, as headers say them; ms from now, or undefined. */
function waitOf(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined
  if (/^\d{1,9}(?:\.\d{1,9})?$/.test(value)) return Math.round(Number(value) * 1000)
  const units: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 }
  // As OpenAI writes them: 6m0s, 1d2h, 20ms.
  if (/^(?:\d{1,9}(?:\.\d{1,9})?(?:ms|[dhms]))+$/.test(value))
    return [...value.matchAll(/(\d+(?:\.\d+)?)(ms|[dhms])/g)].reduce(
      (sum, [, count, unit]) => sum + Math.round(Number(count) * (units[unit ?? ''] ?? 0)),
      0,
    )
  const at = Date.parse(value)
  return Number.isFinite(at) ? Math.max(0, at - now) : undefined
}

/** Words of an error with which a provider says that money or quota is used up, and not that calls come too fast. */
const USED_UP =
  /^(?:insufficient_quota|billing_hard_limit_reached|billing_not_active|usage_limit_reached|billing_error|credit_balance_too_low|quota_exceeded)$/

function errorOf(body: Buffer): Record<string, unknown> {
  try {
    const read = parseStrictJson(body)
    // A stream of Google answers a list with the error in it.
    const first: unknown = Array.isArray(read) ? read[0] : read
    const error = isBag(first) ? first.error : undefined
    return isBag(error) ? error : {}
  } catch {
    return {}
  }
}

/** Google's own details: which quota it is, and how long to wait. */
function googleWait(error: Record<string, unknown>): { waitMs?: number; isDaily: boolean } {
  const details = Array.isArray(error.details) ? error.details.filter(isBag) : []
  const violations = details.flatMap(({ violations: list }) => (Array.isArray(list) ? list.filter(isBag) : []))
  const isDaily = violations.some(({ quotaId }) => typeof quotaId === 'string' && /PerDay/i.test(quotaId))
  const delay = details.map(({ retryDelay }) => retryDelay).find((each) => typeof each === 'string')
  const seconds = /^(\d{1,9})(?:\.\d{1,9})?s$/.exec(typeof delay === 'string' ? delay : '')?.[1]
  return { isDaily, ...(seconds === undefined ? {} : { waitMs: Number(seconds) * 1000 }) }
}

/** Why the quota is used up and how long it stays so, if that is known; undefined for any other answer. */
function usedUp({ status, rawHeaders, body }: Refusal, now: number): { why: string; waitMs?: number } | undefined {
  if (status !== 429 && status !== 402 && status !== 400 && status !== 403) return undefined
  const error = errorOf(body)
  const word = [error.code, error.type].find((each) => typeof each === 'string' && USED_UP.test(each))
  const google = googleWait(error)
  const waits = [
    waitOf(headerOf(rawHeaders, 'retry-after-ms')?.concat('ms'), now),
    waitOf(headerOf(rawHeaders, 'retry-after'), now),
    google.waitMs,
    typeof error.resets_in_seconds === 'number' ? Math.round(error.resets_in_seconds * 1000) : undefined,
  ].filter((each) => each !== undefined)
  const waitMs = waits.length === 0 ? undefined : Math.max(...waits)
  const isLong = waitMs !== undefined && waitMs > PASSES_MS_MAX
  if (typeof word === 'string') return { why: word, ...(isLong ? { waitMs } : {}) }
  // Anthropic says in words alone that the credit of an account, or the limit of a workspace, is used up.
  const message = typeof error.message === 'string' ? error.message : ''
  if (status !== 429)
    return /credit balance is too low|reached your specified .{0,20}usage limits/i.test(message)
      ? { why: 'credit or usage limit' }
      : undefined
  if (google.isDaily) return { why: 'quota of a day', ...(isLong ? { waitMs } : {}) }
  return isLong ? { why: 'a long wait was asked for', waitMs } : undefined
}
