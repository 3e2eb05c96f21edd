/**
 * Looks again at containers that run (S1-51): what the engine shows of each must be what it was told at the start, right after it and from
 * then on every minute. Kept in memory; a container taken over from an earlier run is not looked at again.
 */
import type { Beside } from './floors.ts'
import { type Hardening, judgeHardening } from './hardening.ts'
import type { CreateBody } from './profile.ts'

export interface AfterStart {
  /** Its container has just been started from this body. */
  began(session: string, containerId: string, sent: CreateBody): void
  ended(session: string): void
  /** Looks at all of them, one after the other; what the engine does not answer is left to the next round. */
  round(): Promise<void>
}

export function createAfterStart(parts: {
  inspect: (id: string) => Promise<unknown>
  beside: Beside
  /** Hears once of a session whose container is not as it was made. */
  differs: (session: string, found: string) => void
}): AfterStart {
  const { inspect, beside, differs } = parts
  const watched = new Map<string, { containerId: string; sent: CreateBody }>()

  async function look(session: string, { containerId, sent }: { containerId: string; sent: CreateBody }) {
    const found = await inspect(containerId).catch(() => undefined)
    // Gone, or no answer: others see to that. Ended meanwhile: it is not watched any more.
    if (found === undefined || !watched.has(session)) return
    const graded = judgeHardening(sent, found, containerId, beside)
    if (graded.pass) return
    watched.delete(session)
    differs(session, failuresOf(graded))
  }

  return {
    began(session, containerId, sent) {
      const entry = { containerId, sent }
      watched.set(session, entry)
      void look(session, entry)
    },
    ended: (session) => void watched.delete(session),
    async round() {
      for (const [session, entry] of [...watched]) await look(session, entry)
    },
  }
}

const failuresOf = ({ checks }: Hardening): string =>
  checks
    .filter(({ pass }) => !pass)
    .map(({ name, found }) => `${name}: ${found}`)
    .join('; ')
    .slice(0, 1000)
