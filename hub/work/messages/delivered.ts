/**
 * Which session was first given which request, from the audit log: after a restart, a repeat goes to the same session again (fault G6).
 *
 * F1. While the hub lives, a repeat gets its first outcome (outcomes.ts) and goes to nobody. This file is only asked about requests from
 *     before the start.
 * F2. The log is read once, at the start, and only if a sender from before is still at work: the newest records only, no older than a
 *     request may wait. Nothing extra is written for this but the message id in the usual record.
 */
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { AuditLog } from '../../guard/audit/log.ts'
import { REQUEST_TIMEOUT_MS_MAX } from '../../protocol/envelope.ts'

/** Each search looks through 8 192 records at most, in some 5 ms (audit/reader.ts). */
const LOOKS_MAX = 3
const FOUND_MAX = 8192

/** What the record of a request holds, so that its first recipient can be found again. */
export const effectOfRequest = (id: string): string => `message:${id}`

export interface Delivered {
  /** Reads what was delivered before this start. `senders`: the sessions that go on. */
  recall(senders: ReadonlySet<string>): void
  /** The session that was first given this request; undefined if it is not known. */
  firstOf(sender: string, id: string): string | undefined
}

export function createDelivered(parts: { audit: Pick<AuditLog, 'search'>; nowMs: () => number; log: Log }): Delivered {
  const { audit, nowMs, log } = parts
  const recipients = new Map<string, string>()
  const keyOf = (sender: string, id: string) => `${sender} ${id}`

  /** Answers where to go on looking. */
  function look(before: number | undefined, senders: ReadonlySet<string>): number | undefined {
    const from = before === undefined ? {} : { before }
    const { records, searchedTo } = audit.search({ limit: FOUND_MAX, action: 'message.sent', outcome: 'ok', ...from })
    for (const { effect, principal, resource } of records) {
      const sender = principal.slice(principal.lastIndexOf('/') + 1)
      if (!effect.startsWith('message:') || !resource.startsWith('session:') || !senders.has(sender)) continue
      const key = keyOf(sender, effect.slice('message:'.length))
      // Newest first: the last session that had it may be working on it.
      if (!recipients.has(key)) recipients.set(key, resource.slice('session:'.length))
    }
    const isOld = (records.at(-1)?.atMs ?? nowMs()) < nowMs() - REQUEST_TIMEOUT_MS_MAX
    return isOld || searchedTo <= 1 ? undefined : searchedTo
  }

  return {
    recall(senders) {
      if (senders.size === 0) return
      try {
        let before: number | undefined
        for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
          before = look(before, senders)
          if (before === undefined) return
        }
      } catch (thrown) {
        // If it cannot be looked up, a recipient is chosen again and the repeat is still marked.
        log.warn({ reason: toHubError(thrown).reason }, 'who was sent which request before cannot be looked up')
      }
    },
    firstOf: (sender, id) => recipients.get(keyOf(sender, id)),
  }
}
