/**
 * When the rules change, what was admitted and still waits is decided again (T23, fault F10): subscriptions, and mail that nobody has
 * taken. This happens in the turn of the change, so nothing is delivered in between.
 *
 * G1. The question is the same as the first time, asked about the sender's session as its row is now. Each no is a refusal like any other.
 * G2. If nothing can be decided because the store cannot be written, none of it is delivered.
 * G3. Replies answer a request that was let through, and the hub's own words come from no sender: both stay.
 */
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import { principalOfSession } from '../dispatch/authority.ts'
import type { TaskRows } from '../dispatch/rows.ts'
import type { About, Mailboxes } from './mailboxes.ts'
import type { Targets } from './targets.ts'
import type { Topics } from './topics.ts'

/** Call this right after the rules have changed. Never throws. */
export type DecideAgain = () => void

const SENT: ReadonlySet<unknown> = new Set(['request', 'event', 'broadcast'])

export function createDecideAgain(parts: {
  gate: Pick<Gate, 'foresee' | 'group'>
  rows: Pick<TaskRows, 'session'>
  mailboxes: Mailboxes
  topics: Topics
  targets: Pick<Targets, 'waiting'>
  log: Log
}): DecideAgain {
  const { gate, rows, mailboxes, topics, targets, log } = parts

  function isAllowed(call: Parameters<Gate['foresee']>[0]): boolean {
    try {
      gate.foresee(call)
      return true
    } catch (thrown) {
      if (toHubError(thrown).code === 'store_unavailable') throw thrown
      return false
    }
  }

  function mayListen(session: string, topic: string): boolean {
    const row = rows.session(session)
    if (row === undefined) return false
    const principal = principalOfSession(row)
    return isAllowed({ principal, operation: 'message.subscribe', resource: `session:${session}`, facts: { topic } })
  }

  /** Asks one question for all that waits from one sender for one recipient, of one kind. Each no is recorded for itself. */
  function createMayCome() {
    const allowed = new Set<string>()
    return (session: string, about: About): boolean => {
      const { from, messageKind, type, topic, dataClass } = about
      if (from === undefined || !SENT.has(messageKind)) return true
      if (topic !== undefined && !topics.isSubscribed(session, topic)) return false
      const key = JSON.stringify([from.session, session, messageKind, type, topic, dataClass])
      if (allowed.has(key)) return true
      const [sender, recipient] = [rows.session(from.session), rows.session(session)]
      if (sender === undefined || recipient === undefined) return false
      const asked = targets.waiting(sender, recipient, about)
      if (!isAllowed({ principal: principalOfSession(sender), operation: 'message.send', ...asked })) return false
      allowed.add(key)
      return true
    }
  }

  return () => {
    try {
      gate.group(() => {
        topics.keepOnly(mayListen)
        const gone = mailboxes.keepOnly(createMayCome())
        if (gone > 0) log.warn({ gone }, 'waiting messages are not delivered: the changed rules no longer allow them')
      })
    } catch (thrown) {
      log.error(
        { reason: toHubError(thrown).reason },
        'waiting messages could not be decided again, so they are not delivered',
      )
      topics.keepOnly(() => false)
      mailboxes.keepOnly((_session, { from, messageKind }) => from === undefined || !SENT.has(messageKind))
    }
  }
}
