/** 6. The backup contact. */
import type { Row } from './row.ts'

const HUB = 'scenarios/contact.test.ts'
const WALK = 'scenarios/contact-walk.test.ts'
const PAGE = 'watchdog/stop-page.test.ts'
const DESK = 'hub/edge/stop-desk.test.ts'
const CARD = 'hub/client/card.test.ts'
const COMMAND = 'hub/client/cli/contact.test.ts'
const LETTERS = 'watchdog/contact-letters.test.ts'
const STORY = 'watchdog/contact-story.test.ts'
const PHONE = 'console/stop-page.test.ts'

export const rows: readonly Row[] = [
  {
    rule: 'one credential: at least 128 random bits, as 12 words of which each card has others',
    proofs: [
      ['hub/guard/contact.test.ts', 'S1-31: 128 random bits become twelve words'],
      ['watchdog/contact.test.ts', 'reads and digests the words exactly as the hub does'],
    ],
  },
  {
    rule: 'it is printed as 12 words and as a QR code of the address of the stop page',
    proofs: [
      [CARD, 'its code is read by other means than it was made'],
      [CARD, 'S1-32: says its five steps in this order'],
    ],
  },
  {
    rule: 'it is kept only as a hash, by hub and watchdog',
    proofs: [
      [HUB, 'the words stand nowhere: not in the log'],
      ['watchdog/contact.test.ts', 'S1-31: only its digest is in the file'],
    ],
  },
  {
    rule: 'the hub accepts it alone, and so does the watchdog',
    proofs: [
      [HUB, 'S1-31: the card stops everything by POST and once'],
      [PAGE, 'S1-31: stops by POST alone and once'],
      ['containers/contact.test.ts', 'with the hub killed hub-stop stops every container by the watchdog'],
    ],
  },
  {
    rule: 'what one of the two was not told of the card it learns later, revocations first',
    proofs: [
      [HUB, 'what the watchdog could not be told it is told later'],
      ['watchdog/contact.test.ts', 'another card ends the one before; what was revoked here is never taken again'],
    ],
  },
  {
    rule: 'it is redacted everywhere: log, audit log, alerts, database, every file',
    proofs: [
      [HUB, 'the words stand nowhere: not in the log'],
      [PAGE, 'S1-31: stops by POST alone and once'],
    ],
  },
  {
    rule: 'GET, HEAD and prefetches show one sentence and one red button and change nothing, at both',
    proofs: [
      [HUB, 'GET, HEAD and prefetches change nothing'],
      [PAGE, 'S1-31: stops by POST alone and once'],
      [DESK, 'shows one sentence and one red button'],
    ],
  },
  {
    rule: 'POST stops everything',
    proofs: [
      [HUB, 'S1-31: the card stops everything by POST and once'],
      [PAGE, 'S1-31: stops by POST alone and once'],
    ],
  },
  {
    rule: 'only with the one-time field of a page, or the proof of `hub-stop`: a program that posts stops nothing (fault C30)',
    proofs: [
      [HUB, 'fault C30: a program that posts to the address'],
      [PAGE, 'fault C30: a program that posts to the address'],
    ],
  },
  {
    rule: '`hub-stop` works with both processes dead, and believes neither a stranger on a port nor an answer that the engine belies (faults F12, F13)',
    proofs: [
      ['scripts/hub-stop.test.ts', 'fault F12: with hub and watchdog dead the words alone stop'],
      ['scripts/hub-stop.test.ts', 'fault F12: the account that the home belongs to'],
      ['scripts/hub-stop.test.ts', 'fault F13: a stranger on the port'],
      ['scripts/hub-stop.test.ts', 'fault F13: what the engine shows to this account'],
    ],
  },
  {
    rule: 'the page works without JavaScript and fetches nothing from elsewhere',
    proofs: [
      [DESK, 'S1-31: is whole without a script'],
      [PHONE, 'S1-32: with the hub dead, at the watchdog'],
    ],
  },
  {
    rule: 'the page works on a phone, with the hub up and with the hub dead',
    proofs: [
      [PHONE, 'S1-32: with the hub dead, at the watchdog'],
      [PHONE, 'S1-32: with the hub up, at the hub'],
    ],
  },
  {
    rule: 'the page is the same at hub and watchdog',
    proofs: [[DESK, 'is the same at hub and watchdog, to the letter']],
  },
  {
    rule: 'it shows "stopping: 7 of 12 confirmed" and nothing more of what runs',
    proofs: [
      [PAGE, 'S1-31: stops by POST alone and once, shows how far it is'],
      [DESK, 'shows one sentence and one red button, names the operator safely'],
    ],
  },
  {
    rule: 'it ends with "Stopped. Nothing was deleted." and whom to tell, and only when the engine shows nothing',
    proofs: [
      [HUB, 'S1-31: the card stops everything by POST and once'],
      [PAGE, 'S1-32: it says that everything has stopped only when the engine shows nothing'],
      [DESK, 'S1-32: it says that everything has stopped only when it was confirmed'],
    ],
  },
  {
    rule: 'the hub does not end before the last page was seen, and waits no longer than a minute for it',
    proofs: [[HUB, 'the hub waits with its end until the last page was seen']],
  },
  {
    rule: 'pressing twice says that it is stopped already, and stops no second time',
    proofs: [
      [HUB, 'pressing again says so'],
      [PAGE, 'S1-31: stops by POST alone and once'],
    ],
  },
  {
    rule: 'pressed again where something is left, it stops again',
    proofs: [
      [PAGE, 'pressing again tries again'],
      [HUB, 'I6: pressed again with rows that cannot be read'],
    ],
  },
  {
    rule: 'everything else answers 403: in the policy, in a built-in rule, over every path, method and place of the hub',
    proofs: [
      [WALK, 'of every operation the built-in rule and the policy each refuse the contact all but one'],
      [WALK, 'over loopback exactly one route takes it, whatever the mode; as a bearer it is 403 everywhere'],
      [WALK, 'the sockets are closed to every other account, and to the card as well'],
    ],
  },
  {
    rule: 'everything else answers 403 at the watchdog too',
    proofs: [[WALK, 'over loopback exactly one route takes it, over the socket none']],
  },
  {
    rule: 'wrong, altered, revoked and expired words get one constant page, and no flood of them keeps the right ones out',
    proofs: [
      [HUB, 'T16, S1-31: altered, revoked, expired and unknown words'],
      [PAGE, 'T16, T17: wrong words get one constant page'],
      [DESK, 'T17: ten thousand wrong tries leave a few records and one warning'],
      [DESK, 'T16: right and wrong words take the same time'],
    ],
  },
  {
    rule: 'who holds all connections of the page, at hub or watchdog, keeps neither the press nor hub-stop out',
    proofs: [
      [HUB, 'T32, I6: who holds two hundred connections of the page'],
      ['watchdog/stop-places.test.ts', 'S1-32: %i %s from outside, and more as soon as one is closed'],
    ],
  },
  {
    rule: 'using it alerts the operator, until the stop is over',
    proofs: [
      [HUB, 'S1-31: the card stops everything by POST and once'],
      [HUB, 'S1-31: the stop holds over a restart, answers reads'],
      ['watchdog/story.test.ts', 'T97: what the contact or --emergency stopped is in every lease'],
    ],
  },
  {
    rule: 'it is revocable, at the hub, at the watchdog and with the store failing',
    proofs: [
      [COMMAND, 'goes to the hub, which tells the watchdog'],
      [COMMAND, 'with the hub dead goes to the watchdog'],
      [DESK, 'a card revoked meanwhile does not'],
      ['hub/edge/contact-news.test.ts', 'T17: a revocation that comes while the card before it is being told'],
    ],
  },
  {
    rule: 'it is reprintable: a new card ends the one before, and is asked about first',
    proofs: [
      [COMMAND, 'takes names from the watchdog, asks before it ends another card'],
      ['watchdog/contact.test.ts', 'another card ends the one before'],
    ],
  },
  {
    rule: 'the contact counts as set up once a test code they read out was entered',
    proofs: [
      [HUB, 'S1-31: a test code is six digits, five wrong ones end it'],
      ['hub/edge/doctor-contact.test.ts', 'S1-31: the contact in doctor: %s'],
    ],
  },
  {
    rule: 'doctor is amber without a contact, without a code read out, and after 180 days',
    proofs: [['hub/edge/doctor-contact.test.ts', 'S1-31: the contact in doctor: %s']],
  },
  {
    rule: 'the card, first: you need not hurry, nothing new starts, it stops by itself so long after the operator was last there; the day comes with a message, since a printed one is stale at the next heartbeat (fault C18)',
    proofs: [[CARD, 'S1-32: says its five steps in this order']],
  },
  {
    rule: 'the card, second: whom to call, with the number',
    proofs: [
      [CARD, 'S1-32: says its five steps in this order'],
      [CARD, 'without an address, a number, a date or a sentence of their own'],
    ],
  },
  {
    rule: 'the card, third: scan, press the red button, wait for "everything has stopped"',
    proofs: [
      [CARD, 'S1-32: says its five steps in this order'],
      [CARD, 'its code is read by other means than it was made'],
    ],
  },
  {
    rule: 'the card, fourth: after 2 minutes without an answer hub-stop at the machine, or switch it off, or the configured last resort',
    proofs: [
      [CARD, 'S1-32: says its five steps in this order'],
      [CARD, 'without an address, a number, a date or a sentence of their own'],
      ['scripts/hub-stop.test.ts', 'S1-32: asks for the words, stops by the watchdog'],
      ['scripts/hub-stop.test.ts', 'says honestly what it could not do, and that the machine may be switched off'],
    ],
  },
  {
    rule: 'the card, fifth: do not switch it on again',
    proofs: [[CARD, 'S1-32: says its five steps in this order']],
  },
  {
    rule: 'the card fits on one sheet, on the terminal and on paper in one order and without jargon',
    proofs: [
      [PHONE, 'S1-32: the card fits on one sheet of paper'],
      [CARD, 'S1-32: says its five steps in this order'],
    ],
  },
  {
    rule: "messages to the contact are templates in the contact's language, English or German",
    proofs: [[LETTERS, 'the messages in %s, word for word']],
  },
  {
    rule: 'a message says why it came, what has happened by itself, what is next and when, that doing nothing is safe, whom to call',
    proofs: [
      [LETTERS, 'what asks for something says why it came, what has happened, what comes when'],
      [LETTERS, 'the distance is that of the moment of sending, not of raising'],
    ],
  },
  {
    rule: 'no jargon in a message, and no link that acts',
    proofs: [[LETTERS, 'no jargon, no link, no gap in %s %o']],
  },
  {
    rule: 'an all-clear follows once the operator is back, to whoever heard of it',
    proofs: [
      [STORY, 'S1-29: fifty hours of absence'],
      [STORY, 'S1-29: an operator who comes back before Carl wakes up'],
    ],
  },
]
