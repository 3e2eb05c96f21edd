/**
 * Signs of life of running sessions (S1-49): what each last said, and for how long it has said nothing.
 *
 * V1. Only a running event loop can give a sign: a signed request (a renewal, the next poll), a frame, the pong of a fast line. An open
 *     connection is no sign: the kernel keeps it for a program that hangs.
 * V2. Silence counts only while this process listened. A hub that was stopped or held up heard nobody, and that is not the sessions' fault.
 * V3. All this is in memory. After a restart of the hub every session has the whole time again.
 *
 * The upper half judges purely whether a session lives and makes progress (docs/sandbox.md 5).
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import { type AgentCard, silentAfterOf } from '../../protocol/agent.ts'
import type { SilenceBody } from '../../protocol/silence.ts'
import type { SessionCards } from '../session-cards.ts'
import type { Losses } from './losses.ts'
import type { SessionRow } from './rows.ts'
import { decideSilence, ENDING_MS } from './silence.ts'
import type { Tasks } from './tasks.ts'

/** How often a session owes a sign, how late it may be, and how many it may miss in a row. */
export interface HealthSpans {
  intervalMs: number
  timeoutMs: number
  failuresMax: number
}
/** How long a poll is left unanswered, and how often a quiet fast line is pinged. Both are well within the interval. */
export const pollMsOf = ({ intervalMs }: HealthSpans): number => Math.floor((intervalMs * 5) / 6)
export const pingMsOf = ({ intervalMs }: HealthSpans): number => Math.floor((intervalMs * 2) / 3)

export interface VitalFacts {
  hasJoined: boolean
  /** It polls or holds a fast line. It is answered or pinged within each interval, and then owes the next sign. */
  isListening: boolean
  sinceStartMs: number
  silentMs: number
  /** Since when it has made no progress with its task. */
  idleMs: number
  /** It waits for a person, for its children, or, by its nature, for messages: it may do nothing then. */
  mayWait: boolean
  joinWindowMs: number
  spans: HealthSpans
  stallAfterMs: number
  onStall: 'alert' | 'recycle'
}

/** `isAlive`: its shim gives signs of life, and can keep what its program left. */
export type VitalVerdict =
  | { kind: 'well' }
  | { kind: 'stalled'; why: string }
  | { kind: 'unhealthy'; why: string; isAlive?: true }

/** A program that never asks for mail owes only its renewal, due at half of a token's 5 min. */
const SILENT_MS_MAX = 330_000

const seconds = (ms: number) => `${Math.round(ms / 1000)} s`

const LET_IT_TURN = 'let the event loop run in between, or compute in a worker thread or a child process'

/** How many intervals in a row have passed without a sign. A sign starts the count again. */
export const failuresOf = (silentMs: number, { intervalMs, timeoutMs }: HealthSpans): number =>
  Math.max(0, Math.floor((silentMs - timeoutMs) / intervalMs))

/**
 * What is said of a listening session that owes its first sign, or undefined. A program that computes in its event loop looks like one that
 * hangs, and its author can help while there is time (fault C25).
 */
function warningOf({
  hasJoined,
  isListening,
  silentMs,
  spans,
}: Pick<VitalFacts, 'hasJoined' | 'isListening' | 'silentMs' | 'spans'>): string | undefined {
  if (!hasJoined || !isListening || failuresOf(silentMs, spans) < 1) return undefined
  const endMs = spans.failuresMax * spans.intervalMs + spans.timeoutMs
  return `no sign of life for ${seconds(silentMs)}: its event loop does not run. After ${seconds(endMs)} the hub ends it as hung; ${LET_IT_TURN}`
}

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
      ? `, ${failures} intervals of ${seconds(spans.intervalMs)}: its event loop did not run; ${LET_IT_TURN}`
      : ' and did not renew its token'
    return { kind: 'unhealthy', why: `no sign of life for ${seconds(silentMs)}${missed}` }
  }
  if (mayWait || idleMs < stallAfterMs) return { kind: 'well' }
  const why = `no message, progress or output for ${seconds(idleMs)} (stallAfter of its card)`
  return onStall === 'recycle' ? { kind: 'unhealthy', why, isAlive: true } : { kind: 'stalled', why }
}

export interface Vitals {
  /** Its container runs; from now on it must join. */
  began(session: string): void
  /** It proved itself just now. `isListening`: it asked for mail, and so will ask again. */
  heard(session: string, isListening?: boolean): void
  /** It made progress: a message, progress, a log line, a result that was admitted. */
  acted(session: string): void
  forget(session: string): void
  /** Since when it does nothing; null if it works or may wait. */
  stalledSinceMs(session: string): number | null
  /** Who knows whether a request of a session is open at the gateway; it is handed in once the edge is built. */
  callsOf(isCalling: (session: string) => boolean): void
  /** What this session owes. */
  spansOf(session: string): HealthSpans
  /** Time to the next round. */
  everyMs(): number
  /** Judges every running session. */
  round(): void
}

/** Hears of a session that stalls, and of one that goes on. */
export interface StallListener {
  /** It owes its first sign. Called once for each silence, while there is time. */
  silent(session: SessionRow, text: string): void
  stalled(session: SessionRow, text: string): void
  /** Its program says nothing: its shim is asked, or told to end it. */
  quiet(session: SessionRow, body: SilenceBody): void
  goesOn(session: string): void
}

interface Signs {
  /** By the listening clock of this process, in ms. */
  beganAt: number
  heardAt: number
  actedAt: number
  isListening: boolean
  /** What it owes, as configured when it began: a change counts for later sessions. */
  readonly spans: HealthSpans
  /** When its shim was asked about its program, and when it was told to end it. */
  askedAt: number | undefined
  endAt: number | undefined
  /** It was told of this silence. */
  isWarned: boolean
  stalledSinceMs: number | null
}

/** Time between two rounds. */
const vitalsEveryMs = ({ intervalMs }: HealthSpans): number => Math.min(5000, intervalMs / 2)
/** More than this between two rounds means that the hub was held up. It is less than any session may be silent, however short the spans. */
const heldUpMs = (spans: HealthSpans): number => 2 * vitalsEveryMs(spans)

export function createVitals(
  options: { joinWindowMs: number; health: HealthSpans },
  parts: { clock: Clock; log: Log; tasks: Tasks; cards: SessionCards; losses: Losses; listener: StallListener },
): Vitals {
  const { clock, log, tasks, cards, losses, listener } = parts
  const signs = new Map<string, Signs>()
  let isCalling: (session: string) => boolean = () => false
  let listenedMs = 0
  let lastRoundAt = clock.monotonicMs()
  /** The shortest spans of any session, and of those to come. */
  let shortest = options.health
  function findShortest(): void {
    shortest = { ...options.health }
    for (const { spans } of signs.values()) if (spans.intervalMs < shortest.intervalMs) shortest = spans
  }
  /** Runs only while this process does; what it slept through does not count (V2). */
  const now = () => listenedMs + Math.min(clock.monotonicMs() - lastRoundAt, heldUpMs(shortest))

  function signsOf(session: string): Signs {
    const known = signs.get(session)
    if (known !== undefined) return known
    const at = now()
    const made = {
      ...{ beganAt: at, heardAt: at, actedAt: at, isListening: false, isWarned: false, stalledSinceMs: null },
      ...{ askedAt: undefined, endAt: undefined },
      spans: { ...options.health },
    }
    signs.set(session, made)
    if (made.spans.intervalMs < shortest.intervalMs) shortest = made.spans
    return made
  }

  function goOn(session: string, sign: Signs): void {
    if (sign.stalledSinceMs === null) return
    sign.stalledSinceMs = null
    listener.goesOn(session)
  }

  /** Its shim ends the program and keeps what it left; where that does not come about, the session is ended from here. */
  function end(session: SessionRow, sign: Signs, why: string, force?: true): void {
    if (sign.endAt === undefined) {
      sign.endAt = now()
      losses.ending(session.id, why)
      listener.quiet(session, { step: 'end', why, ...(force === undefined ? {} : { force }) })
    } else if (now() - sign.endAt >= ENDING_MS) losses.unhealthy(session.id, why)
  }

  function judgeSilence(
    session: SessionRow,
    sign: Signs,
    { idleMs, mayWait, card }: { idleMs: number; mayWait: boolean; card: AgentCard },
  ): void {
    const since = (at: number | undefined) => (at === undefined ? undefined : now() - at)
    const step = decideSilence({
      ...{ idleMs, mayWait, silentAfterMs: silentAfterOf(card) },
      isCalling: isCalling(session.id),
      ...{ sinceAskedMs: since(sign.askedAt), sinceEndMs: since(sign.endAt) },
    })
    const why = `its program said nothing for ${seconds(idleMs)} (silentAfter of its card)`
    if (step === 'end' || step === 'over') end(session, sign, why)
    if (step !== 'ask') return
    sign.askedAt = now()
    listener.quiet(session, { step, why })
  }

  function judge(session: SessionRow): void {
    // It is being made, so the launcher watches it.
    if (session.state === 'provisioning' || session.state === 'recycling') return
    const card = cards.of(session)?.card
    if (card === undefined) {
      losses.interrupted(
        session.id,
        `nobody knows what it owes: the card that it was started with is not kept, and agent ${session.agent} has none that is loaded; see \`hub agent list\``,
      )
      return
    }
    const sign = signsOf(session.id)
    const at = now()
    const mayWait =
      card.mode === 'service' ||
      // A chat between two turns (chats.ts ends it once nobody speaks to it).
      (card.mode === 'chat' && session.state === 'ready') ||
      session.state === 'input_required' ||
      tasks.hasUnfinishedChildren(session.task)
    // A wait that was allowed does not count against it afterwards.
    if (mayWait) sign.actedAt = at
    const idleMs = at - sign.actedAt
    const owed = {
      hasJoined: session.state !== 'starting',
      isListening: sign.isListening,
      silentMs: at - sign.heardAt,
      spans: sign.spans,
    }
    const judged = decideVitals({
      ...owed,
      sinceStartMs: at - sign.beganAt,
      idleMs,
      mayWait,
      joinWindowMs: options.joinWindowMs,
      stallAfterMs: card.stallAfter,
      onStall: card.onStall,
    })
    const warning = warningOf(owed)
    if (warning === undefined) sign.isWarned = false
    else if (!sign.isWarned && judged.kind !== 'unhealthy') {
      sign.isWarned = true
      listener.silent(session, warning)
    }
    if (judged.kind !== 'unhealthy' && owed.hasJoined) judgeSilence(session, sign, { idleMs, mayWait, card })
    if (judged.kind === 'well') goOn(session.id, sign)
    else if (judged.kind === 'unhealthy') {
      if (judged.isAlive === true && sign.isListening) end(session, sign, judged.why, true)
      else losses.unhealthy(session.id, judged.why)
    } else if (sign.stalledSinceMs === null) {
      sign.stalledSinceMs = clock.wallMs()
      listener.stalled(session, judged.why)
    }
  }

  return {
    began(session) {
      signs.delete(session)
      signsOf(session)
    },
    heard(session, isListening = false) {
      const sign = signsOf(session)
      // Joining is progress too; what follows is counted from there.
      if (sign.heardAt === sign.beganAt) sign.actedAt = now()
      sign.heardAt = now()
      sign.isListening ||= isListening
    },
    acted(session) {
      const sign = signsOf(session)
      sign.actedAt = now()
      sign.askedAt = undefined
      goOn(session, sign)
    },
    callsOf(given) {
      isCalling = given
    },
    forget(session) {
      const sign = signs.get(session)
      if (sign !== undefined) goOn(session, sign)
      signs.delete(session)
    },
    spansOf: (session) => signs.get(session)?.spans ?? options.health,
    everyMs: () => vitalsEveryMs(shortest),
    stalledSinceMs: (session) => signs.get(session)?.stalledSinceMs ?? null,
    round() {
      listenedMs = now()
      findShortest()
      lastRoundAt = clock.monotonicMs()
      for (const session of tasks.sessionsOpen()) {
        try {
          judge(session)
        } catch (thrown) {
          // One row that cannot be moved must not keep the others from being looked at.
          log.error({ session: session.id, reason: toHubError(thrown).reason }, 'a session could not be judged')
        }
      }
    },
  }
}
