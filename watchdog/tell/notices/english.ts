/** The contact's messages in English: plain words for somebody who knows nothing of the system, often read on a phone, perhaps at night. */
import type { People, Told, Words } from './words.ts'

function distance(spanMs: number): string {
  const minutes = Math.round(Math.abs(spanMs) / 60_000)
  if (minutes === 0) return 'just now'
  const hours = Math.round(minutes / 60)
  const span = minutes < 120 ? `${minutes} min` : hours < 72 ? `${hours} h` : `${Math.round(hours / 24)} days`
  return spanMs >= 0 ? `in ${span}` : `${span} ago`
}

const hello = ({ contact }: People) => `Hello ${contact},`
const why = ({ operator }: People) =>
  `Why you get this: ${operator} has a group of computer programs, the assistants, that work without being watched all the time. ${operator} named you as the person to be told when something about them is not as usual.`
const safe = 'You need not hurry and you need not do anything: doing nothing is safe.'
const call = ({ operator, phone }: People) =>
  phone === '' ? `Whom to call: ${operator}, in whatever way you know.` : `Whom to call: ${operator}, ${phone}.`
const stopNow = ({ operator, lastResort }: People) =>
  `If you want to stop everything now: use the card that ${operator} gave you. It deletes nothing. ${
    lastResort === ''
      ? 'If the card does not help, you may switch the machine off; that is allowed and harms nothing.'
      : lastResort
  }`
const stopsAt = ({ operator }: People, { next }: Told) =>
  next === null
    ? `What happens next: ${operator} was told too and will take care of it.`
    : `What happens next: if ${operator} does not check in, everything stops by itself on ${next}. Nothing is deleted.`

const unconfirmed = ({ operator }: People, told: Told) =>
  told.unconfirmed === 0
    ? ''
    : ` For ${told.unconfirmed} of them this could not be confirmed yet; it is tried again and again, and ${operator} was told.`

export const english: Words = {
  locale: 'en-GB',
  someone: 'the owner',
  distance,
  missed: (people, told) => ({
    subject: `${people.operator} has not checked in: please call, nothing else is needed`,
    paragraphs: [
      hello(people),
      why(people),
      `What has happened: the last sign of ${people.operator} was on ${told.lastSeen}. So the assistants were put on hold automatically: they may finish what they had begun, and nothing new starts.`,
      stopsAt(people, told),
      safe,
      `${call(people)} Please ask ${people.operator} to check in.`,
      stopNow(people),
    ],
  }),
  reminder: (people, told) => ({
    subject: `${people.operator} has still not checked in`,
    paragraphs: [
      hello(people),
      why(people),
      `What has happened: there is still no sign of ${people.operator}; the last was on ${told.lastSeen}. The assistants are on hold: nothing new starts.`,
      stopsAt(people, told),
      safe,
      `${call(people)} Please ask ${people.operator} to check in.`,
      stopNow(people),
    ],
  }),
  stopped: (people, told) => ({
    subject: 'Everything has stopped by itself; this is the last message',
    paragraphs: [
      hello(people),
      why(people),
      `What has happened: there has been no sign of ${people.operator} since ${told.lastSeen}. So all assistants have been stopped, as planned for this case. Nothing was deleted.${unconfirmed(people, told)}`,
      `What happens next: nothing. It stays like this until ${people.operator} starts everything again, and you get no further message before that.`,
      `${safe} Please do not switch anything on again; ${people.operator} does that.`,
      call(people),
    ],
  }),
  critical: (people, told) => ({
    subject: `A serious warning about the assistants of ${people.operator}`,
    paragraphs: [
      hello(people),
      why(people),
      `What has happened: a safety check found something serious. ${people.operator} was told at the same moment. If it was needed, the assistants were put on hold automatically.`,
      stopsAt(people, told),
      safe,
      `${call(people)} Please ask whether the warning was seen.`,
      stopNow(people),
    ],
  }),
  away: (people, told) => ({
    subject: `${people.operator} is away as planned; nothing to do`,
    paragraphs: [
      hello(people),
      `${people.operator} is away as planned until ${told.next}. This is only for you to know: nothing is wrong, and there is nothing to do.`,
      ...(told.note === '' ? [] : [`${people.operator} wrote: ${told.note}`]),
      `If ${people.operator} has not checked in some hours after that, you will hear from us again.`,
    ],
  }),
  paused: (people) => ({
    subject: `${people.operator} has put the assistants on hold as planned; nothing to do`,
    paragraphs: [
      hello(people),
      `${people.operator} has put the assistants on hold: they may finish what they had begun, and nothing new starts until ${people.operator} says so. This is only for you to know: it was planned, nothing is wrong, and there is nothing to do.`,
    ],
  }),
  checked_in: (people, told) => ({
    subject: `${people.operator} has checked in; nothing to do`,
    paragraphs: [
      hello(people),
      `There was a sign of ${people.operator} on ${told.lastSeen}. There is nothing to do.`,
      `The assistants stay on hold until ${people.operator} is back at the desk. If that does not happen, everything stops by itself on ${told.next}. Nothing is deleted.`,
    ],
  }),
  all_clear: (people, told) => ({
    subject: told.lastSeen === null ? 'All clear: the matter is settled' : `All clear: ${people.operator} is back`,
    paragraphs: [
      hello(people),
      told.lastSeen === null
        ? 'The matter of our last message is settled. There is nothing to do.'
        : `${people.operator} has been back since ${told.lastSeen} and is taking care of everything. There is nothing to do.`,
      'Thank you for being there.',
    ],
  }),
  test: (people, told) => ({
    subject: `Test, nothing is wrong: please tell ${people.operator} the code ${told.note}`,
    paragraphs: [
      hello(people),
      why(people),
      `This is a test; nothing is wrong. Please tell ${people.operator} this code, so that we know that messages reach you: ${told.note}`,
      call(people),
    ],
  }),
  rehearsal: (people) => ({
    subject: 'REHEARSAL, nothing is wrong',
    paragraphs: [
      'REHEARSAL, nothing is wrong.',
      hello(people),
      why(people),
      `This is a rehearsal; there is one every few months. In an emergency a message like this one would say what has happened and what happens next.`,
      `There is nothing to do. If you like, tell ${people.operator} that it came.`,
      call(people),
    ],
  }),
}
