/**
 * An agent's misbehaviour is contained: its session ends and its task fails. The mode stays, and the operator is warned (docs/safety.md 7,
 * S1-67).
 */

import type { Guard } from '../../guard/guard.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { Late } from './late.ts'
import type { Tasks } from './tasks.ts'

/** The alert has no natural end: it is over if this has not happened again for so long. */
export const WARNING_LASTS_MS = 3_600_000

export function stopForSecurity(
  { guard, tasks, late }: { guard: Guard; tasks: Tasks; late: Pick<Late, 'shut'> },
  session: string,
  detail: string,
): void {
  const row = tasks.session(session)
  if (row === undefined) return
  const text = `Session ${session} of agent ${row.agent} was stopped for security: ${detail}. Its task failed. Evidence: \`hub session evidence ${session}\``
  // Whoever goes on trying at one that ends already is no news; another session of the same agent is.
  const isNews = row.state !== 'recycling' && row.state !== 'recycled'
  guard.alerts[isNews ? 'event' : 'raise'](`session_stopped:${row.agent}`, 'warning', text, WARNING_LASTS_MS)
  const call = {
    principal: hubPrincipal('identity'),
    operation: 'session.reap',
    resource: `session:${session}`,
  } as const
  const end = { state: 'failed', error: { code: 'forbidden', detail: detail.slice(0, 500) } } as const
  guard.gate.admitStop(call, (grant) => {
    // Its task has ended already, and the end stays. What it still hands in counts for nothing: `late.ts` says why.
    if (row.state === 'recycling') late.shut(grant, row)
    else tasks.stop(grant, row.task, end, 'security')
  })
}
