/** What the hub tells a session about its turns, in its mailbox. */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Delivery } from '../../protocol/envelope.ts'
import { PROMPT_TYPE, type PromptBody, TURN_CANCELLED_TYPE } from '../../protocol/turn.ts'

/** How long a program has for its result once it was told that its chat is closed. */
export const CLOSE_GRACE_MS = 30_000
/** Places in a mailbox for the hub's words about turns: a prompt, its cancel, a close, and the same again. */
export const TURN_MAILS_MAX = 8

/** A mailbox that is full belongs to a session that does not read: it hears nothing, and its time runs out. */
export interface TurnMail {
  isOpen(session: string): boolean
  /** Under the id of the turn, so that a program takes it once. False if there was no room. */
  prompt(session: string, body: PromptBody, redelivered: boolean): boolean
  cancelled(session: string, turn: string): void
  /** Nothing more comes. Others can send it nothing from now on. */
  closed(session: string): void
}

export function createTurnMail(parts: {
  clock: Clock
  random: Random
  mailboxes: {
    isOpen(session: string): boolean
    /** Throws `mailbox_full`. */
    put(session: string, content: Omit<Delivery, 'number'>): void
    seal(session: string): void
  }
}): TurnMail {
  const { clock, random, mailboxes } = parts

  function put(session: string, content: Omit<Delivery, 'number' | 'sentAtMs'>): boolean {
    if (!mailboxes.isOpen(session)) return false
    try {
      mailboxes.put(session, { ...content, sentAtMs: clock.wallMs() })
      return true
    } catch (thrown) {
      if (!(thrown instanceof HubError) || thrown.code !== 'mailbox_full') throw thrown
      return false
    }
  }
  const newId = () => newUuid(random, clock.wallMs())
  const event = { kind: 'message', messageKind: 'event' } as const

  return {
    isOpen: mailboxes.isOpen,
    prompt: (session, body, redelivered) =>
      put(session, {
        ...{ ...event, id: body.turn, type: PROMPT_TYPE, body: { ...body } },
        ...(redelivered ? { redelivered } : {}),
      }),
    cancelled(session, turn) {
      put(session, { ...event, id: newId(), type: TURN_CANCELLED_TYPE, body: { turn } })
    },
    closed(session) {
      mailboxes.seal(session)
      put(session, { kind: 'finish', id: newId(), body: { graceMs: CLOSE_GRACE_MS, closed: true } })
    },
  }
}
