/** Whether anybody may have the time that a submit asks for: refused with both figures, never shortened without a word (fault C14). Pure. */
import { HubError } from '../../base/errors.ts'
import { spanWritten } from '../../protocol/spans.ts'

/** `mostMs`: of each that could do it, the longest session it may have. Throws `limit_exceeded`. */
export function requireSpan(
  { agent, ttlMs }: { agent?: string | undefined; ttlMs?: number | undefined },
  mostMs: readonly number[],
): void {
  const most = Math.max(0, ...mostMs)
  if (ttlMs === undefined || most === 0 || ttlMs <= most) return
  const way =
    agent === undefined
      ? ''
      : `, or raise limits.ttl of its card and agents.${agent}.ttlMs in policy/data.json (in milliseconds)`
  const detail = `ttl is ${spanWritten(ttlMs)}; ${agent ?? 'who can do this'} may have ${spanWritten(most)} at most: ask for less${way}`
  throw new HubError('limit_exceeded', detail, { facts: { key: 'ttl', value: ttlMs, ceiling: most } })
}
