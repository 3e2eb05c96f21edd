/**
 * What the watchdog thinks of one labelled container. Pure (docs/sandbox.md 4, docs/safety.md 9).
 * A running container belongs to this boot and is judged only by boot time, so a step of the wall clock neither kills nor
 * keeps it alive; the wall clock counts only for containers that do not run.
 */
import type { Reading } from '../base/clock.ts'
import type { Session } from './lease.ts'

export interface Container {
  readonly id: string
  /** Without the leading slash. */
  readonly name: string
  /** created, running, paused, restarting, removing, exited, dead. */
  readonly state: string
  /** Wall milliseconds, from the engine. */
  readonly createdAtMs: number
  readonly labels: Readonly<Record<string, string>>
}

export type Fault = 'ttl_passed' | 'boot_mismatch' | 'deadline_unreadable' | 'orphan'

/** States in which no code of the container runs; in any other state, such as one of a later engine, it may. */
const STOPPED: readonly string[] = ['created', 'exited', 'dead', 'removing']

/** Whether its deadline label is past by the grace (exactly the grace counts). Milliseconds. */
export function judgeDeadline(container: Container, now: Reading, graceMs: number): Fault | null {
  if (STOPPED.includes(container.state)) {
    const at = container.labels['hub.expires-at'] ?? ''
    if (!/^\d{1,15}$/.test(at)) return 'deadline_unreadable'
    return now.wallMs >= Number(at) + graceMs ? 'ttl_passed' : null
  }
  const found = /^([\w-]{1,64}):(\d{1,15})$/.exec(container.labels['hub.expires-boot'] ?? '')
  // Labels cannot be changed after create: a container without a deadline was not made by the hub.
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
