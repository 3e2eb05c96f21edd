/** Broken sequences of a session, counted over its lines: each is recorded, and at the third the agent is stopped. */
import { type HubError, toHubError } from '../base/errors.ts'
import type { Log } from '../base/telemetry.ts'
import type { AgentCaller } from './agent-requests.ts'

const STRIKES_MAX = 3

export interface Strikes {
  /** Never throws. */
  add(session: string, error: HubError, caller: AgentCaller): void
  forget(session: string): void
}

export function createStrikes(parts: {
  log: Log
  refuse: (session: string, error: HubError, caller?: AgentCaller) => void
  onStrikes: (session: string) => void
}): Strikes {
  const { log, refuse, onStrikes } = parts
  const counts = new Map<string, number>()
  return {
    add(session, error, caller) {
      const count = (counts.get(session) ?? 0) + 1
      counts.set(session, count)
      try {
        refuse(session, error, caller)
        if (count >= STRIKES_MAX) onStrikes(session)
      } catch (thrown) {
        log.error({ session, reason: toHubError(thrown).reason }, 'a broken frame could not be recorded or answered')
      }
    },
    forget: (session) => void counts.delete(session),
  }
}
