/** What an agent can provoke is contained: its session ends and its task fails; the mode stays, and the operator is warned (safety.md section 7, S1-67). */
import { hubPrincipal } from '../guard/principal.ts'
import type { Tasks } from '../work/dispatch/tasks.ts'
import type { Guard } from './guard.ts'

/** Without an end of its own: over when it did not happen again for so long. */
export const WARNING_LASTS_MS = 3_600_000

export function stopForSecurity(
  { guard, tasks }: { guard: Guard; tasks: Tasks },
  session: string,
  detail: string,
): void {
  const row = tasks.session(session)
  if (row === undefined) return
  const text = `Session ${session} of agent ${row.agent} was stopped for security: ${detail}. Its task failed.`
  guard.alerts.raise(`session_stopped:${row.agent}`, 'warning', text, WARNING_LASTS_MS)
  const call = {
    principal: hubPrincipal('identity'),
    operation: 'session.reap',
    resource: `session:${session}`,
  } as const
  const end = { state: 'failed', error: { code: 'forbidden', detail: detail.slice(0, 500) } } as const
  guard.gate.admitStop(call, (grant) => tasks.stop(grant, row.task, end, 'security'))
}
