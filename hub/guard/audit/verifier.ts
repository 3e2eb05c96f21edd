/**
 * Who walks through the whole audit log, and when: never two walks of people at once, however many ask.
 *
 * V1. An answer is about the log as it was when the question came, or later: a question during a walk is answered by the next walk.
 * V2. A caller that names a span hears within it how far the walk is, and asks again for the same walk. The verdict is kept for some seconds
 *     for such callers, and no longer: the next person gets no old answer.
 */
import type { Clock } from '../../base/clock.ts'
import type { AuditLog } from './log.ts'
import type { WalkParts, WalkVerdict } from './walk.ts'
import { walkAudit } from './walk.ts'
import { judgeWitnessed, type WitnessSaid, type WitnessVerdict } from './witnessed.ts'

export interface WalkProgress {
  /** Records looked through, and how many there are. */
  size: number
  of: number
}

/** What a walk found, and what the watchdog says to it. */
export type AuditVerdict = WalkVerdict & { witness: WitnessVerdict }

export interface AuditVerifier {
  verify(): Promise<AuditVerdict>
  /** Resolves with how far it is when that takes longer than `waitMs`. */
  verifyWithin(waitMs: number): Promise<AuditVerdict | WalkProgress>
  /** The hub's own look, at its own pace; its verdict counts like any other. Ends with the signal. */
  look(turn: () => Promise<void>, signal?: AbortSignal): Promise<void>
  /** Whether a walk is under way, of the hub's own or for somebody. */
  isWalking(): boolean
}

/** A caller that hears how far the walk is asks again at once. */
const KEPT_MS = 10_000

/** The walk that callers with a span ask about. */
interface Asked {
  verdict: Promise<AuditVerdict>
  endedAtMs: number
}

export function createAuditVerifier(parts: {
  walk: Omit<WalkParts, 'turn' | 'onProgress' | 'signal'> & { audit: Pick<AuditLog, 'provenHash'> }
  turn: () => Promise<void>
  clock: Pick<Clock, 'sleep' | 'monotonicMs'>
  /** Hears what each look at the whole log found. */
  onVerdict: (firstBad: WalkVerdict['firstBad']) => void
  /** What the watchdog has seen of the log; never rejects. */
  askWitness: () => Promise<WitnessSaid>
  /** Hears why the log is not the one that was witnessed. */
  onMismatch: (reason: string) => void
  /** The whole log was looked through, whatever was found. */
  onLooked: () => void
}): AuditVerifier {
  const { walk, turn, clock, onVerdict } = parts
  let at = 0
  let looks = 0
  let running: Promise<AuditVerdict> | undefined
  let next: Promise<AuditVerdict> | undefined
  let asked: Asked | undefined

  async function witnessed(): Promise<WitnessVerdict> {
    const said = await parts.askWitness()
    const verdict = judgeWitnessed(said, walk.audit.provenHash)
    if (verdict.asked && verdict.reason !== null) parts.onMismatch(verdict.reason)
    return verdict
  }
  async function begin(): Promise<AuditVerdict> {
    at = 0
    const onProgress = (size: number) => {
      at = size
    }
    const verdict = await walkAudit({ ...walk, turn, onProgress })
    onVerdict(verdict.firstBad)
    parts.onLooked()
    return { ...verdict, witness: await witnessed() }
  }
  function start(): Promise<AuditVerdict> {
    const mine = begin().finally(() => {
      if (running === mine) running = undefined
    })
    running = mine
    return mine
  }
  function verify(): Promise<AuditVerdict> {
    if (running === undefined) return start()
    const again = () => {
      next = undefined
      return start()
    }
    next ??= running.then(again, again)
    return next
  }
  function ask(): Asked {
    const mine: Asked = { verdict: verify(), endedAtMs: Number.POSITIVE_INFINITY }
    const ended = () => {
      mine.endedAtMs = clock.monotonicMs()
    }
    mine.verdict.then(ended, ended)
    return mine
  }

  return {
    verify,
    async verifyWithin(waitMs) {
      if (asked === undefined || clock.monotonicMs() - asked.endedAtMs > KEPT_MS) asked = ask()
      const mine = asked
      let isHeard = true
      try {
        const found = await Promise.race([mine.verdict, clock.sleep(waitMs).then(() => undefined)])
        isHeard = found !== undefined
        return found ?? { size: at, of: walk.audit.head().size }
      } finally {
        if (isHeard && asked === mine) asked = undefined
      }
    },
    async look(gently, signal) {
      looks += 1
      try {
        const { firstBad } = await walkAudit({ ...walk, turn: gently, ...(signal === undefined ? {} : { signal }) })
        onVerdict(firstBad)
        parts.onLooked()
        await witnessed()
      } finally {
        looks -= 1
      }
    },
    isWalking: () => looks > 0 || running !== undefined,
  }
}
