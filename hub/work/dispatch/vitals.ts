/**
 * Signs of life of running sessions (S1-49): what each last said, and for how long it has said nothing.
 *
 * V1. A sign is something only a turning event loop gives: a signed request (a renewal, the next poll), a frame, the pong of a fast line.
 *     That a connection stands open is none: the kernel keeps it for a program that hangs.
 * V2. Silence counts only while this process listened: a hub that was stopped or held up heard nobody, and that is not their fault.
 * V3. In memory alone; after a restart of the hub everybody has the whole time again.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Registry } from '../registry.ts'
import type { Losses } from './losses.ts'
import type { SessionRow } from './rows.ts'
import type { Tasks } from './tasks.ts'
import { decideVitals, type HealthSpans, warningOf } from './vitals-rule.ts'

export interface Vitals {
  /** Its container runs: from now on it has to join. */
  began(session: string): void
  /** It proved itself just now; `isListening` when it asked for mail, and so will again. */
  heard(session: string, isListening?: boolean): void
  /** It got on with its task: a message, progress, a log line, a result that was admitted. */
  acted(session: string): void
  forget(session: string): void
  /** Since when it does nothing, or null where it works or may wait. */
  stalledSinceMs(session: string): number | null
  /** Judges every running session. */
  round(): void
}

/** Who hears of a session that stalls, and when it goes on. */
export interface StallListener {
  /** It owes its first sign; told once for each silence, while there is time. */
  silent(session: SessionRow, text: string): void
  stalled(session: SessionRow, text: string): void
  goesOn(session: string): void
}

interface Signs {
  /** By the listening clock of this process, in ms. */
  beganAt: number
  heardAt: number
  actedAt: number
  isListening: boolean
  /** Of this silence it was told. */
  isWarned: boolean
  stalledSinceMs: number | null
}

/** Between two rounds. */
export const vitalsEveryMs = ({ intervalMs }: HealthSpans): number => Math.min(5000, intervalMs / 2)
/** More than this between two rounds is taken for the hub having been held up: less than any session may be silent, however short the spans. */
const heldUpMs = (spans: HealthSpans): number => 2 * vitalsEveryMs(spans)

export function createVitals(
  options: { joinWindowMs: number; health: HealthSpans },
  parts: { clock: Clock; log: Log; tasks: Tasks; registry: Registry; losses: Losses; listener: StallListener },
): Vitals {
  const { clock, log, tasks, registry, losses, listener } = parts
  const signs = new Map<string, Signs>()
  let listenedMs = 0
  let lastRoundAt = clock.monotonicMs()
  /** Monotonic while this process turns; what it slept through does not count (V2). */
  const now = () => listenedMs + Math.min(clock.monotonicMs() - lastRoundAt, heldUpMs(options.health))

  function signsOf(session: string): Signs {
    const known = signs.get(session)
    if (known !== undefined) return known
    const at = now()
    const made = { beganAt: at, heardAt: at, actedAt: at, isListening: false, isWarned: false, stalledSinceMs: null }
    signs.set(session, made)
    return made
  }

  function goOn(session: string, sign: Signs): void {
    if (sign.stalledSinceMs === null) return
    sign.stalledSinceMs = null
    listener.goesOn(session)
  }

  function judge(session: SessionRow): void {
    const card = registry.find(session.agent)?.card
    // Being made: the launcher watches over it. Without a card nothing says what to expect; its TTL holds.
    if (session.state === 'provisioning' || session.state === 'recycling' || card === undefined) return
    const sign = signsOf(session.id)
    const at = now()
    const mayWait =
      card.mode !== 'task' || session.state === 'input_required' || tasks.hasUnfinishedChildren(session.task)
    // What it waited for rightly is not held against it when the waiting ends.
    if (mayWait) sign.actedAt = at
    const owed = {
      hasJoined: session.state !== 'starting',
      isListening: sign.isListening,
      silentMs: at - sign.heardAt,
      spans: options.health,
    }
    const judged = decideVitals({
      ...owed,
      sinceStartMs: at - sign.beganAt,
      idleMs: at - sign.actedAt,
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
    if (judged.kind === 'well') goOn(session.id, sign)
    else if (judged.kind === 'unhealthy') losses.unhealthy(session.id, judged.why)
    else if (sign.stalledSinceMs === null) {
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
      // Joining is progress too: what it does afterwards is counted from there.
      if (sign.heardAt === sign.beganAt) sign.actedAt = now()
      sign.heardAt = now()
      sign.isListening ||= isListening
    },
    acted(session) {
      const sign = signsOf(session)
      sign.actedAt = now()
      goOn(session, sign)
    },
    forget(session) {
      const sign = signs.get(session)
      if (sign !== undefined) goOn(session, sign)
      signs.delete(session)
    },
    stalledSinceMs: (session) => signs.get(session)?.stalledSinceMs ?? null,
    round() {
      listenedMs = now()
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
