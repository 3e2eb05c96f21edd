/** Whether a running session lives and gets on, purely (S1-49; sandbox.md section 5). */

/** How often a session owes a sign, how late it may be, and how many it may owe in a row. */
export interface HealthSpans {
  intervalMs: number
  timeoutMs: number
  failuresMax: number
}
/** How long a poll is left unanswered, and how often a quiet fast line is pinged: both well within the interval. */
export const pollMsOf = ({ intervalMs }: HealthSpans): number => Math.floor((intervalMs * 5) / 6)
export const pingMsOf = ({ intervalMs }: HealthSpans): number => Math.floor((intervalMs * 2) / 3)

export interface VitalFacts {
  hasJoined: boolean
  /** It polls or holds a fast line: it is answered or pinged within each interval, and owes the next sign upon that. */
  isListening: boolean
  sinceStartMs: number
  silentMs: number
  /** Since it last got on with its task. */
  idleMs: number
  /** It waits for a person, for its children, or for messages by its nature: doing nothing is right then. */
  mayWait: boolean
  joinWindowMs: number
  spans: HealthSpans
  stallAfterMs: number
  onStall: 'alert' | 'recycle'
}

export type VitalVerdict = { kind: 'well' } | { kind: 'stalled'; why: string } | { kind: 'unhealthy'; why: string }

/** Who never asks for mail owes no more than its renewal, which is due at half of a token's 5 min. */
const SILENT_MS_MAX = 330_000

const seconds = (ms: number) => `${Math.round(ms / 1000)} s`

/** How many intervals in a row have passed without a sign; a sign begins anew. */
export const failuresOf = (silentMs: number, { intervalMs, timeoutMs }: HealthSpans): number =>
  Math.max(0, Math.floor((silentMs - timeoutMs) / intervalMs))

/**
 * What is said of a listening session that owes its first sign, or undefined: a program that computes in its event loop looks like one that
 * hangs, and whoever wrote it can help it while there is time (fault C25).
 */
export function warningOf({
  hasJoined,
  isListening,
  silentMs,
  spans,
}: Pick<VitalFacts, 'hasJoined' | 'isListening' | 'silentMs' | 'spans'>): string | undefined {
  if (!hasJoined || !isListening || failuresOf(silentMs, spans) < 1) return undefined
  const endMs = spans.failuresMax * spans.intervalMs + spans.timeoutMs
  return `no sign of life for ${seconds(silentMs)}: its event loop does not turn. At ${seconds(endMs)} it is taken for hung and ended; ${LET_IT_TURN}`
}
const LET_IT_TURN =
  'a program that computes lets its event loop turn in between, or computes in a worker thread or child process'

export function decideVitals(facts: VitalFacts): VitalVerdict {
  const {
    hasJoined,
    isListening,
    sinceStartMs,
    silentMs,
    idleMs,
    mayWait,
    joinWindowMs,
    spans,
    stallAfterMs,
    onStall,
  } = facts
  if (!hasJoined) {
    if (sinceStartMs < joinWindowMs) return { kind: 'well' }
    return { kind: 'unhealthy', why: `it did not join within ${seconds(joinWindowMs)} of its start` }
  }
  const failures = failuresOf(silentMs, spans)
  if (isListening ? failures >= spans.failuresMax : silentMs >= SILENT_MS_MAX) {
    const missed = isListening
      ? `, ${failures} intervals of ${seconds(spans.intervalMs)}: its event loop did not turn; ${LET_IT_TURN}`
      : ' and did not renew its token'
    return { kind: 'unhealthy', why: `no sign of life for ${seconds(silentMs)}${missed}` }
  }
  if (mayWait || idleMs < stallAfterMs) return { kind: 'well' }
  const why = `no message, progress or output for ${seconds(idleMs)} (stallAfter of its card)`
  return { kind: onStall === 'recycle' ? 'unhealthy' : 'stalled', why }
}
