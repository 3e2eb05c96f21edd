/** 3. The timeline, its exceptions: waking, planned absence, and what comes back held after a long rest. */
import type { Row } from './row.ts'

const TIMELINE = 'watchdog/timeline.test.ts'
const JUDGE = 'watchdog/judge.test.ts'
const ABSENCE = 'watchdog/absence.test.ts'
const CONTACT = 'watchdog/contact-story.test.ts'
const CONFIG = 'watchdog/config.test.ts'
const BACKLOG = 'scenarios/backlog.test.ts'
const DEGRADED = 'scenarios/degraded.test.ts'
const AT_HUB = 'scenarios/absence.test.ts'
const LAWS = 'watchdog/presence-laws.test.ts'

export const rows: readonly Row[] = [
  {
    rule: 'a deadline that passed asleep is safe mode at once, and what is past its time ends, before any traffic',
    proofs: [
      [DEGRADED, 'after a sleep what ended is ended, and a passed deadline is safe mode, before any message'],
      [DEGRADED, 'a signed request that is the first to come after a sleep finds its session ended'],
      [JUDGE, 'T73: a deadline that passed asleep is safe mode at once'],
      [JUDGE, 'T73: a suspend counts for the time to live'],
    ],
  },
  {
    rule: 'after waking the contact and the unattended stop wait `wakeGraceMs` (2 h); the operator hears first',
    proofs: [
      [TIMELINE, 'T73: a deadline that passed asleep is safe mode with the first look; the contact hears after 2 h'],
      [TIMELINE, 'T73: the operator who wakes the machine within the grace alarms nobody'],
      [JUDGE, 'T73: a ceiling that passed asleep waits for the grace as well'],
    ],
  },
  {
    rule: 'one wake grace in each period of a heartbeat',
    proofs: [
      [TIMELINE, 'T73: one grace per period: a second sleep over the ceiling does not bring another'],
      [
        JUDGE,
        'T73: a deadline that passed asleep is safe mode at once; the contact and the stop wait 2 h, once per period',
      ],
    ],
  },
  {
    rule: 'asleep nothing ran unattended: the ceiling counts from the waking, and what both processes slept through is no alarm',
    proofs: [
      [TIMELINE, 'T73: a deadline that passed asleep is safe mode with the first look'],
      [TIMELINE, 'T73: what both processes missed asleep is no alarm'],
      [TIMELINE, 'T73: a sleep of a minute or of eight hours before any deadline is nothing'],
    ],
  },
  {
    rule: '`hub away` is a word of the operator’s own, with strong credentials',
    proofs: [
      [
        'watchdog/door.test.ts',
        'away and back are strong words with their source; a refusal is 409 and says why; a webhook',
      ],
      ['house/pins.test.ts', 'of every operation, with audit kind, standing, reach and path'],
      [AT_HUB, 'from normal it is recorded and passed on as it was asked'],
    ],
  },
  {
    rule: '`hub away` begins only from normal',
    proofs: [
      [AT_HUB, 'from anything but normal it is refused, naming what holds and how it ends'],
      [ABSENCE, 'from anything but normal: missed, stopped, mismatch, emergency, and a second absence'],
    ],
  },
  {
    rule: 'a planned absence is quiet: nothing new starts, what runs ends at its time, no reminder, no stop',
    proofs: [
      [ABSENCE, 'is quiet: one note, nothing new starts, no reminder, no stop; what runs ends at its own deadline'],
      [AT_HUB, 'while the watchdog demands it nothing new starts, sessions work on'],
    ],
  },
  {
    rule: 'a planned absence is one note to both people',
    proofs: [
      [ABSENCE, 'is quiet: one note, nothing new starts, no reminder, no stop'],
      [CONTACT, 'a planned absence is one short note; coming back from it in time is none'],
    ],
  },
  {
    rule: 'without a strong heartbeat 2 h after its end the path goes on at safe mode, without a gap',
    proofs: [
      [ABSENCE, 'nobody back at its end and the grace: safe mode takes over without a gap'],
      [ABSENCE, 'a webhook ends nothing of it and moves nothing in it'],
      [LAWS, 'an absence is never longer than its end and the grace'],
      ['watchdog/process.test.ts', 'T95, T97: an absence that nobody ends, over kill -9 at each step'],
    ],
  },
  {
    rule: 'an absence lasts at most 21 days',
    proofs: [
      [ABSENCE, '21 days to the millisecond'],
      [AT_HUB, '%j is refused by name, recorded, and goes nowhere'],
    ],
  },
  {
    rule: '`--keep-working` lets dispatch go on to the end of the absence and no longer',
    proofs: [[ABSENCE, '--keep-working: dispatch goes on until its end and not into the grace']],
  },
  {
    rule: '`--keep-working` is bounded by `away.workMaxMs`: by default 0, refused naming the key; at most 72 h',
    proofs: [
      [ABSENCE, '21 days to the millisecond, and a --keep-working above its own limit'],
      [ABSENCE, 'refused by name: %j'],
      [CONFIG, 'T96: %j is refused by name'],
      [AT_HUB, 'what the watchdog refuses is refused with its own word'],
    ],
  },
  {
    rule: '`hub back` ends an absence and is a heartbeat; it ends nothing else',
    proofs: [
      [ABSENCE, 'a strong heartbeat from the road does not end it, at its end it does; hub back ends it at once'],
      ['watchdog/conditions.test.ts', 'T97: %s and %s'],
      [AT_HUB, 'and `hub safe-mode` meanwhile is not ended by coming back'],
    ],
  },
  {
    rule: 'after more than `staleAfter` (12 h) safe or stopped what was queued before comes back held',
    proofs: [
      [BACKLOG, 'what was queued is held: none starts'],
      [BACKLOG, 'a rest of just under that holds nothing'],
      [BACKLOG, 'the span is configuration'],
      [BACKLOG, 'a machine that slept so long has rested'],
    ],
  },
  {
    rule: 'after such a rest what was interrupted comes back held too, though its card lets it be repeated',
    proofs: [[BACKLOG, '%s (interrupted)']],
  },
  {
    rule: 'a heartbeat says how many tasks are held',
    proofs: [
      ['scenarios/presence.test.ts', 'answered with the deadlines and how many tasks are held'],
      [BACKLOG, 'what was queued is held: none starts, health and status say how many'],
      ['hub/client/cli/text.test.ts', 'says how many tasks are held, and the two words for them'],
    ],
  },
  {
    rule: 'one word lets all that is held go or cancels it: `hub task release --all`, `hub task cancel --held`; or one by its id',
    proofs: [
      ['hub/client/cli/held.test.ts', 'task %s %s moves every held task of every page'],
      [BACKLOG, 'what was queued is held: none starts, health and status say how many, and one word lets it go'],
    ],
  },
  {
    rule: 'interrupted tasks are repeated without that word only if their card says `repeatable: true`',
    proofs: [
      [
        'scenarios/restart.test.ts',
        'after a reboot what ran is interrupted, not crashed: repeated at once if its card lets it',
      ],
      ['containers/handed-back.test.ts', 'who is stopped from outside gives the task back'],
    ],
  },
]
