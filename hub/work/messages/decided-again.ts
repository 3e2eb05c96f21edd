/**
 * When the rules change, what was admitted and still waits is decided again (T23, fault F10): subscriptions, and mail that nobody has
 * taken. This happens in the turn of the change, so nothing is delivered in between.
 *
 * G1. The question is the same as the first time, asked about the sender's session as its row is now. Each no is a refusal like any other.
 * G2. If nothing can be decided because the store cannot be written, none of it is delivered.
 * G3. Its sender is told of each that is taken back, by a delivery `refused` with the message's id and the reason: at most sixteen at one change,
 *     requests first, since somebody waits for their answer. An approval admitted it by the old rules; by new ones that ask, a person is asked
 *     anew when it is sent again (docs/safety.md, ask-3).
 * G4. Replies answer a request that was let through, and the hub's own words come from no sender: both stay.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import { principalOfSession } from '../dispatch/authority.ts'
import type { TaskRows } from '../dispatch/rows.ts'
import type { About, Mailboxes } from './mailboxes.ts'
import type { Targets } from './targets.ts'
import type { Topics } from './topics.ts'

/** Call this right after the rules have changed. Never throws. */
export type DecideAgain = () => void

/** Told at one change to one sender: the hub's own places in its mailbox are for its children too. */
export const TOLD_MAX = 16
const SENT: ReadonlySet<unknown> = new Set(['request', 'event', 'broadcast'])

export function createDecideAgain(parts: {
  gate: Pick<Gate, 'foresee' | 'group'>
  rows: Pick<TaskRows, 'session'>
  mailboxes: Mailboxes
  topics: Topics
  targets: Pick<Targets, 'waiting'>
  clock: Pick<Clock, 'wallMs'>
  random: Random
  log: Log
}): DecideAgain {
  const { gate, rows, mailboxes, topics, targets, clock, random, log } = parts

  function refusalOf(call: Parameters<Gate['foresee']>[0]): HubError | undefined {
    try {
      gate.foresee(call)
      return undefined
    } catch (thrown) {
      const error = toHubError(thrown)
      if (error.code === 'store_unavailable') throw thrown
      return error
    }
  }

  function mayListen(session: string, topic: string): boolean {
    const row = rows.session(session)
    if (row === undefined) return false
    const principal = principalOfSession(row)
    const call = {
      principal,
      operation: 'message.subscribe',
      resource: `session:${session}`,
      facts: { topic },
    } as const
    return refusalOf(call) === undefined
  }

  /** Asks one question for all that waits from one sender for one recipient, of one kind. Each no is recorded for itself. */
  function createMayCome(why: Map<About, HubError>) {
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
      const refusal = refusalOf({ principal: principalOfSession(sender), operation: 'message.send', ...asked })
      if (refusal === undefined) allowed.add(key)
      else why.set(about, refusal)
      return refusal === undefined
    }
  }

  /** Once for each message, however many were to get it. */
  function tellSenders(why: ReadonlyMap<About, HubError>): void {
    const told = new Map<string, Set<string>>()
    const first = [...why].sort(([a], [b]) => Number(b.messageKind === 'request') - Number(a.messageKind === 'request'))
    for (const [{ id, from }, { code, message }] of first) {
      const sender = from?.session ?? ''
      const ids = told.get(sender) ?? new Set()
      if (ids.has(id) || ids.size >= TOLD_MAX || !mailboxes.isOpen(sender)) continue
      told.set(sender, ids.add(id))
      const sentAtMs = clock.wallMs()
      const detail = `${message}; the rules changed before its receiver had confirmed it`
      const body = { code, detail, returned: true }
      try {
        mailboxes.put(sender, { kind: 'refused', id: newUuid(random, sentAtMs), correlationId: id, sentAtMs, body })
      } catch (thrown) {
        if (toHubError(thrown).code !== 'mailbox_full') throw thrown
      }
    }
  }

  /** Takes back all that was sent and still waits. */
  function takeAllBack(why: Map<About, HubError>): void {
    const error = new HubError('store_unavailable', 'it could not be decided again')
    const isSent = (about: About) => about.from !== undefined && SENT.has(about.messageKind)
    for (const about of mailboxes.keepOnly((_session, each) => !isSent(each))) why.set(about, error)
  }

  return () => {
    const why = new Map<About, HubError>()
    try {
      gate.group(() => {
        topics.keepOnly(mayListen)
        const gone = mailboxes.keepOnly(createMayCome(why)).length
        if (gone > 0) log.warn({ gone }, 'waiting messages are not delivered: the changed rules no longer allow them')
      })
    } catch (thrown) {
      log.error(
        { reason: toHubError(thrown).reason },
        'waiting messages could not be decided again, so they are not delivered',
      )
      topics.keepOnly(() => false)
      takeAllBack(why)
    }
    tellSenders(why)
  }
}
