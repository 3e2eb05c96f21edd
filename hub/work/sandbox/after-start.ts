/**
 * Looks again at running containers (S1-51). What the engine shows of each must be what it was told: right after the start, and then every
 * minute. This includes containers taken over from an earlier run of the hub (fault F21).
 */
import type { Relaxation } from '../../protocol/relax.ts'
import type { Beside } from './floors.ts'
import { type HardeningCheck, judgeHardening, NOT_HELD } from './hardening.ts'
import type { CreateBody } from './profile.ts'

export interface AfterStart {
  /** Its container has just been started from this body. */
  began(session: string, containerId: string, sent: CreateBody): void
  /**
   * The same for a container that an earlier run of the hub started. That run's floors may have been lower, so only what has changed since
   * then counts.
   */
  tookOver(session: string, containerId: string, sent: CreateBody): void
  ended(session: string): void
  /** Looks at all of them, one after the other. If the engine does not answer for one, the next round looks again. */
  round(): Promise<void>
}

interface Watched {
  containerId: string
  sent: CreateBody
  isTakenOver: boolean
}

const wordsOf = (failed: readonly HardeningCheck[]): string =>
  failed
    .map(({ name, found }) => `${name}: ${found}`)
    .join('; ')
    .slice(0, 1000)

export function createAfterStart(parts: {
  inspect: (id: string) => Promise<unknown>
  beside: Beside
  /** What the session was granted at its start. */
  relaxOf: (session: string) => readonly Relaxation[]
  /** Hears once of each session whose container is not as it was made. */
  differs: (session: string, found: string) => void
}): AfterStart {
  const { inspect, beside, relaxOf, differs } = parts
  const watched = new Map<string, Watched>()

  async function look(session: string, { containerId, sent, isTakenOver }: Watched) {
    const found = await inspect(containerId).catch(() => undefined)
    // Gone, or no answer: other parts handle that. Ended meanwhile: it is not watched any more.
    if (found === undefined || !watched.has(session)) return
    const { checks } = judgeHardening(sent, found, containerId, beside, relaxOf(session))
    const failed = checks.filter((check) => !check.pass && !(isTakenOver && check.found === NOT_HELD))
    if (failed.length === 0) return
    watched.delete(session)
    differs(session, wordsOf(failed))
  }

  function watch(session: string, entry: Watched): void {
    watched.set(session, entry)
    void look(session, entry)
  }

  return {
    began: (session, containerId, sent) => watch(session, { containerId, sent, isTakenOver: false }),
    tookOver: (session, containerId, sent) => watch(session, { containerId, sent, isTakenOver: true }),
    ended: (session) => void watched.delete(session),
    async round() {
      for (const [session, entry] of [...watched]) await look(session, entry)
    },
  }
}
