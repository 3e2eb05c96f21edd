/**
 * Chats that nobody speaks to end by themselves, and those that were closed end in time.
 *
 * D1. A chat in which nothing waits and nothing runs for `idleAfter` of its card is closed, as a person closes it: its program gives its
 *     result, and its task succeeds.
 * D2. A program that gives no result within the grace after a close is stopped, and its task is cancelled, saying so.
 * D3. Both times run only while this process does, and begin anew with it: a hub that was away heard nobody.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { type AgentCard, idleAfterOf } from '../../protocol/agent.ts'
import { spanWritten } from '../../protocol/spans.ts'
import type { SessionRow } from './rows.ts'
import type { Tasks } from './tasks.ts'
import { CLOSE_GRACE_MS } from './turn-mail.ts'
import type { Turns } from './turns.ts'

const PRINCIPAL = hubPrincipal('chats')
/** After the grace of the program: what it stores and posts at its end. */
const LAST_MS = 10_000

export interface Chats {
  /** Looks at every session; hands over prompts that wait for the mode. */
  round(): void
}

export function createChats(parts: {
  clock: Clock
  log: Log
  gate: Pick<Gate, 'admitStop'>
  tasks: Pick<Tasks, 'sessionsOpen' | 'stop'>
  turns: Turns
  cardOf: (session: { id: string; agent: string }) => AgentCard | undefined
}): Chats {
  const { clock, log, gate, tasks, turns, cardOf } = parts
  /** Since when each chat is quiet, or closed; monotonic. */
  const since = new Map<string, { what: 'quiet' | 'closed'; atMs: number }>()

  function spanOf(session: string, what: 'quiet' | 'closed'): number {
    const known = since.get(session)
    if (known?.what === what) return clock.monotonicMs() - known.atMs
    since.set(session, { what, atMs: clock.monotonicMs() })
    return 0
  }
  const stop = (session: SessionRow, effect: Parameters<Gate['admitStop']>[1]) =>
    gate.admitStop(
      { principal: PRINCIPAL, operation: 'session.close', resource: `session:${session.id}`, wish: { id: session.id } },
      effect,
    )

  function judge(session: SessionRow, card: AgentCard): void {
    const closed = turns.closing(session.id)
    if (closed !== undefined) {
      if (spanOf(session.id, 'closed') < CLOSE_GRACE_MS + LAST_MS) return
      const detail = `${closed.why}, and its program gave no result within ${spanWritten(CLOSE_GRACE_MS + LAST_MS)}`
      stop(session, (grant) => {
        tasks.stop(grant, session.task, { state: 'cancelled', error: { code: 'cancelled', detail } }, 'operator')
        return { auditEffect: detail }
      })
      return
    }
    if (session.state !== 'ready' || turns.isBusy(session.id)) return void since.delete(session.id)
    const idleMs = idleAfterOf(card)
    if (spanOf(session.id, 'quiet') < idleMs) return
    const why = `nobody spoke to it for ${spanWritten(idleMs)} (idleAfter of its card)`
    stop(session, (grant) => {
      turns.close(grant, session.id, why)
      return { auditEffect: why }
    })
  }

  return {
    round() {
      turns.offerAll()
      const open = new Set<string>()
      for (const session of tasks.sessionsOpen()) {
        const card = cardOf(session)
        if (card?.mode !== 'chat' || session.state === 'recycling') continue
        open.add(session.id)
        try {
          judge(session, card)
        } catch (thrown) {
          log.error({ session: session.id, reason: toHubError(thrown).reason }, 'a chat could not be judged')
        }
      }
      for (const session of since.keys()) if (!open.has(session)) since.delete(session)
    },
  }
}
