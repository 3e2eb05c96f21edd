/** Who an envelope goes to, and the facts that the rules see of that. Read-only, before the gate (S1-8). */
import { HubError } from '../../base/errors.ts'
import { classFact, type DataClass } from '../../protocol/data-class.ts'
import { type Envelope, parseAddress } from '../../protocol/envelope.ts'
import type { Peer, SessionRow, TaskRows } from '../dispatch/rows.ts'
import type { SessionCards } from '../session-cards.ts'
import type { Delivered } from './delivered.ts'
import type { About, Mailboxes } from './mailboxes.ts'

export type Target =
  | { kind: 'session'; recipient: { id: string; agent: string } | undefined; redelivered: boolean }
  | { kind: 'reply' }
  | { kind: 'topic'; topic: string }
  | { kind: 'hub' }

export interface Addressed {
  target: Target
  resource: string
  facts: Record<string, unknown>
}

export interface Targets {
  /** One target, or for a broadcast one for every other live session; each is admitted by itself (S1-36). Throws `schema_invalid`. */
  resolve(sender: SessionRow, envelope: Envelope): Addressed[]
  /** What the rules see of a delivery that still waits for this session, as `resolve` had it. */
  waiting(sender: SessionRow, recipient: Peer, about: About): Omit<Addressed, 'target'>
}

export function createTargets(parts: {
  rows: TaskRows
  cards: Pick<SessionCards, 'checkBody'>
  mailboxes: Mailboxes
  delivered: Pick<Delivered, 'firstOf'>
}): Targets {
  const { rows, cards, mailboxes, delivered } = parts

  /** parent: the session that delegated the sender's task. child: a session that works on a task the sender delegated. */
  function relation(sender: SessionRow, recipient: Peer | undefined): 'parent' | 'child' | 'none' {
    if (recipient === undefined) return 'none'
    if (rows.parentSessionOf(sender.task) === recipient.id) return 'parent'
    return rows.parentSessionOf(recipient.task) === sender.id ? 'child' : 'none'
  }

  const live = (of: Parameters<TaskRows['peers']>[0]) =>
    rows.peers(of).filter((session) => mailboxes.isOpen(session.id))

  const topicFacts = (kind: unknown, type: unknown, topic: string, dataClass: DataClass | undefined) => ({
    resource: `topic:${topic}`,
    facts: { kind, type, to: { topic }, relation: 'none', ...classFact(dataClass) },
  })

  function addressed(
    sender: SessionRow,
    envelope: Envelope,
    recipient: Peer | undefined,
    agent: string | undefined,
  ): Addressed {
    const to = {
      ...(agent === undefined ? {} : { agent }),
      ...(recipient === undefined ? {} : { session: recipient.id }),
    }
    return {
      target: {
        kind: 'session',
        recipient: recipient && { id: recipient.id, agent: recipient.agent },
        redelivered: envelope.repeated === true || delivered.firstOf(sender.id, envelope.id) !== undefined,
      },
      resource: recipient === undefined ? envelope.to : `session:${recipient.id}`,
      facts: {
        ...{ kind: envelope.kind, type: envelope.type, to, relation: relation(sender, recipient) },
        ...classFact(envelope.dataClass),
      },
    }
  }

  /**
   * The session that was given it before a restart comes first, as long as it lives: it drops what it has seen. Otherwise the least loaded
   * session; the sender's parent and children come before strangers.
   */
  function sessionOfAgent(sender: SessionRow, agent: string, id: string): Peer | undefined {
    const first = delivered.firstOf(sender.id, id)
    const again = first === undefined ? undefined : live({ id: first }).find((session) => session.agent === agent)
    if (again !== undefined) return again
    const related = (session: Peer) => (relation(sender, session) === 'none' ? 1 : 0)
    return live({ agent })
      .filter((session) => session.id !== sender.id)
      .sort(
        (a, b) => related(a) - related(b) || mailboxes.depth(a.id) - mailboxes.depth(b.id) || (a.id < b.id ? -1 : 1),
      )[0]
  }

  const wrong = (expected: string) => new HubError('schema_invalid', `to: this kind goes to ${expected}`)

  return {
    waiting(sender, recipient, { messageKind = 'request', type = '', topic, dataClass }) {
      if (topic !== undefined) return topicFacts(messageKind, type, topic, dataClass)
      const to = { agent: recipient.agent, session: recipient.id }
      const facts = { kind: messageKind, type, to, relation: relation(sender, recipient), ...classFact(dataClass) }
      return { resource: `session:${recipient.id}`, facts }
    },
    resolve(sender, envelope) {
      const address = parseAddress(envelope.to)
      if (address === undefined)
        throw new HubError('schema_invalid', 'to: must be agent:<name>, session:<id>, topic:<name>, all or hub')
      const { kind, type } = envelope
      if (kind === 'request' || kind === 'event' || kind === 'broadcast') cards.checkBody(sender, 'sends', envelope)
      if (kind === 'request') {
        if (address.kind === 'agent')
          return [addressed(sender, envelope, sessionOfAgent(sender, address.agent, envelope.id), address.agent)]
        if (address.kind !== 'session') throw wrong('one agent or session')
        const recipient = live({ id: address.session })[0]
        if (recipient === undefined) throw new HubError('inbox_closed', `session ${address.session} has ended`)
        return [addressed(sender, envelope, recipient, recipient.agent)]
      }
      if (kind === 'event') {
        if (address.kind !== 'topic') throw wrong('a topic')
        const { topic } = address
        return [{ target: { kind: 'topic', topic }, ...topicFacts(kind, type, topic, envelope.dataClass) }]
      }
      if (kind === 'broadcast') {
        if (address.kind !== 'all') throw wrong('all')
        return live('all')
          .filter((session) => session.id !== sender.id)
          .map((session) => addressed(sender, envelope, session, session.agent))
      }
      if (kind === 'reply')
        return [
          {
            target: { kind: 'reply' },
            resource: `message:${envelope.correlationId ?? ''}`,
            facts: classFact(envelope.dataClass),
          },
        ]
      if (address.kind !== 'hub') throw wrong('hub')
      // A task, its result, its log and its questions are written down and shown (S1-63).
      if (envelope.dataClass === 'restricted')
        throw new HubError(
          'schema_invalid',
          `dataClass: what a ${kind} says is written down, so it cannot be restricted; send it as a message, or store it as an artifact`,
        )
      return [{ target: { kind: 'hub' }, resource: `task:${sender.task}`, facts: classFact(envelope.dataClass) }]
    },
  }
}
