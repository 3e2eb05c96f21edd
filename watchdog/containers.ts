/**
 * What the watchdog thinks of one labelled container. Pure (sandbox.md section 4, threats.md section 7).
 * A container that runs belongs to this boot and is judged by boot time alone, so a stepped wall clock neither kills nor
 * prolongs it; the wall counts only for what does not run.
 */
import type { Reading } from './clock.ts'
import type { Container } from './engine.ts'
import type { Session } from './lease.ts'

export type Fault = 'ttl_passed' | 'boot_mismatch' | 'deadline_unreadable' | 'orphan'

/** States in which no code of the container runs; in every other, one of a later engine too, it may. */
const STOPPED: readonly string[] = ['created', 'exited', 'dead', 'removing']

/** Whether its deadline label passed by the grace (exactly at the grace counts). Milliseconds. */
export function judgeDeadline(container: Container, now: Reading, graceMs: number): Fault | null {
  if (STOPPED.includes(container.state)) {
    const at = container.labels['hub.expires-at'] ?? ''
    if (!/^\d{1,15}$/.test(at)) return 'deadline_unreadable'
    return now.wallMs >= Number(at) + graceMs ? 'ttl_passed' : null
  }
  const found = /^([\w-]{1,64}):(\d{1,15})$/.exec(container.labels['hub.expires-boot'] ?? '')
  // Labels cannot be changed after create: without a deadline it was not made by the hub, and nothing of ours runs without one.
  if (found === null) return 'deadline_unreadable'
  if (found[1] !== now.bootId) return 'boot_mismatch'
  return now.bootMs >= Number(found[2]) + graceMs ? 'ttl_passed' : null
}

/**
 * Whether it matches no live session and is old enough. `sessions` must have been asked for after the container was
 * listed: a session is on record before its container is created, so then no fresh one can be missing from it.
 */
export function judgeOrphan(
  container: Container,
  sessions: readonly Session[],
  age: { readonly seenForMs: number; readonly wallMs: number },
  orphanAgeMs: number,
): Fault | null {
  const known = sessions.some(
    (one) =>
      one.session === container.labels['hub.session'] &&
      (one.containerId === null || one.containerId === container.id || one.containerId.startsWith(container.id)),
  )
  if (known) return null
  return Math.max(age.seenForMs, age.wallMs - container.createdAtMs) >= orphanAgeMs ? 'orphan' : null
}
