/** Builds what the hub itself tells sessions: prompts and their ends, answers of people, money that runs low. */
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Guard } from '../guard/guard.ts'
import { permits } from '../guard/modes.ts'
import type { Tasks } from './dispatch/tasks.ts'
import { createTurnMail, TURN_MAILS_MAX } from './dispatch/turn-mail.ts'
import { createTurns } from './dispatch/turns.ts'
import { ANSWERS_MAX, createAnswers } from './messages/answers.ts'
import { BUDGET_MAILS_MAX, createBudgetMail, createSilenceMail, SILENCE_MAILS_MAX } from './messages/hub-mail.ts'
import type { Mailboxes } from './messages/mailboxes.ts'
import type { SessionCards } from './session-cards.ts'

/** Places in each mailbox for all of it. */
export const OWN_MAILS_MAX = ANSWERS_MAX + BUDGET_MAILS_MAX + SILENCE_MAILS_MAX + TURN_MAILS_MAX

export function createOwnMail(parts: {
  clock: Clock
  random: Random
  guard: Guard
  tasks: Tasks
  cards: Pick<SessionCards, 'of'>
  mailboxes: Mailboxes
}) {
  const { clock, random, guard, tasks, cards, mailboxes } = parts
  const { store, gate, events, approvals, modes, host, redaction } = guard
  return {
    turns: createTurns({
      ...{ store, clock, tasks, redaction, steady: host.steady },
      mail: createTurnMail({ clock, random, mailboxes }),
      cardOf: (session) => cards.of(session)?.card,
      mayBegin: () => permits(modes.current(), 'new_work'),
      onStep({ id, agent, task }, { id: turn, number, state, stopReason }) {
        events.publish('hub.session.turn.v1', `task:${task}`, { agent, session: id, turn, number, state, stopReason })
      },
    }),
    answers: createAnswers({ store, clock, random, tasks, mailboxes, gate, approvals }),
    tellBudget: createBudgetMail({ clock, random, tasks, mailboxes }),
    tellSilence: createSilenceMail({ clock, random, mailboxes }),
  }
}
