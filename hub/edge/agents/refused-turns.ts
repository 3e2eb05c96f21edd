/**
 * A turn whose begin is refused for good fails by that name, and its session goes on with the next one: else the prompt would wait until
 * somebody takes it back. The refusal has its own record; the end of the turn has another one.
 */
import { type ErrorCode, type HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import { RULE_CODES } from '../../guard/policy/engine.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { Turns } from '../../work/dispatch/turns.ts'
import type { Send } from './messages.ts'

const TURNS = hubPrincipal('turns')
/** What rules, a person and hooks say. Of `needs_approval` the program hears later, and begins it then. */
const FINAL: ReadonlySet<ErrorCode> = new Set([...RULE_CODES, 'approval_refused', 'forbidden', 'flag_off'])

function reasonOf({ code, message, facts }: HubError): string {
  const { decisionId } = facts
  const more = typeof decisionId === 'string' ? ` (\`hub policy explain ${decisionId}\`)` : ''
  return `${code}: ${message}${more}`
}

/** The same `send`, which ends the turns that it refuses to begin. */
export function failingTurns(send: Send, parts: { gate: Gate; turns: Pick<Turns, 'refused'>; log: Log }): Send {
  const { gate, turns, log } = parts

  function end(session: string, turn: string, error: HubError): void {
    const call = { principal: TURNS, operation: 'session.interrupt', resource: `session:${session}` } as const
    try {
      gate.admitStop(call, (grant) => {
        const isEnded = turns.refused(grant, session, turn, reasonOf(error))
        return { auditEffect: isEnded ? `turn:${turn} failed: ${error.code}` : `turn:${turn} had no end to be given` }
      })
    } catch (thrown) {
      log.warn({ session, turn, reason: toHubError(thrown).reason }, 'a turn that was refused could not be ended')
    }
  }

  return (caller, envelope, raw, refusal) => {
    try {
      return send(caller, envelope, raw, refusal)
    } catch (thrown) {
      const error = toHubError(thrown)
      const { turn, state } = envelope.body
      if (envelope.kind === 'turn' && state === 'running' && typeof turn === 'string' && FINAL.has(error.code))
        end(caller.session.id, turn, error)
      throw thrown
    }
  }
}
