/** 3. The timeline: its steps, quiet hours, waking, planned absence, backlog. */
import type { Row } from './row.ts'

const TIMELINE = 'watchdog/timeline.test.ts'
const JUDGE = 'watchdog/judge.test.ts'
const STORY = 'watchdog/story.test.ts'
const CONTACT = 'watchdog/contact-story.test.ts'
const CONFIG = 'watchdog/config.test.ts'
const QUIET = 'watchdog/quiet.test.ts'
const LAWS = 'watchdog/presence-laws.test.ts'

/** Each step to the millisecond; the whole of it in one walk; the spans of a home without a configuration. */
const atItsInstant = [JUDGE, 'T95: reminders at 18 h and 22 h, missed at 24 h, safe at 26 h, stop 24 h later'] as const
const inOneWalk = [
  TIMELINE,
  'S1-26, S1-30, T95: reminders, missed, safe mode, reminders to both, stop and report',
] as const
const byDefault = [CONFIG, 'without a file the spans are those of safety.md'] as const

export const rows: readonly Row[] = [
  {
    rule: 'every span is configuration, within limits',
    proofs: [byDefault, [CONFIG, 'T96: %j is refused by name'], [CONFIG, 'due times, zones and quiet hours']],
  },
  {
    rule: 'every span persists over restarts, reboots, sleep and steps of the clock',
    proofs: [
      [TIMELINE, 'T95: the same over a restart each hour, a reboot each hour, and both clocks stepping'],
      [STORY, 'T95: fifty hours without the operator, restarted every hour'],
      [LAWS, '%s: no order of events moves safe mode or the stop out of their bounds'],
    ],
  },
  {
    rule: '18 h and 22 h after the last heartbeat: a reminder to the operator',
    proofs: [atItsInstant, inOneWalk, byDefault],
  },
  {
    rule: '24 h after it, if `rolling`: told as missed, two hours of grace begin',
    proofs: [atItsInstant, inOneWalk, byDefault],
  },
  {
    rule: '`daily at HH:MM`: due at the first chosen local time at least 8 h later, over both changes of the clock',
    proofs: [
      [TIMELINE, '%j at %s is due %s: in %d h (%s)'],
      [TIMELINE, 'T95: the whole path from there: reminders 6 h and 2 h before'],
      [TIMELINE, 'the instant once fixed is neither lengthened nor shortened'],
      ['watchdog/local-time.test.ts', 'the next of several times is the first at or after the instant'],
    ],
  },
  { rule: 'a grace of 0 is allowed', proofs: [[TIMELINE, 'a grace of zero: missed and safe mode fall together']] },
  {
    rule: '26 h after it: safe mode; operator and contact are alerted',
    proofs: [
      atItsInstant,
      inOneWalk,
      byDefault,
      [CONTACT, 'S1-29: fifty hours of absence: entry, two reminders and the final report'],
      ['watchdog/process.test.ts', 'T95, T97: a passed deadline demands safe within a round'],
    ],
  },
  {
    rule: '12 h and 22 h after safe mode: a reminder to both',
    proofs: [atItsInstant, inOneWalk, byDefault, [CONTACT, 'S1-29: fifty hours of absence']],
  },
  {
    rule: '24 h after safe mode: the unattended stop; every container is stopped and removed, and confirmed',
    proofs: [
      atItsInstant,
      inOneWalk,
      byDefault,
      [STORY, 'T95: fifty hours without the operator, restarted every hour, end with every container gone'],
      [STORY, 'T95: with the hub dead from the first hour the timeline runs all the same'],
      ['watchdog/conditions.test.ts', 'S1-30, T97: killed in the midst of the stop it is made again'],
    ],
  },
  {
    rule: 'after the stop nothing is dispatched for good, whoever restarts what, and what appears is removed',
    proofs: [
      ['watchdog/conditions.test.ts', 'S1-30, T97: killed in the midst of the stop it is made again'],
      [TIMELINE, 'S1-30, T97: after the stop a heartbeat alone ends the missed one and no more'],
      ['scripts/systemd.test.ts', 'a stop that sticks is not undone by starting it again'],
    ],
  },
  {
    rule: 'the final report goes to both and says what was confirmed; then silence',
    proofs: [
      inOneWalk,
      [CONTACT, 'S1-29: fifty hours of absence'],
      [STORY, 'with the engine silent at the ceiling nobody is told that everything has stopped'],
    ],
  },
  {
    rule: '50 h in all; the README, the status and the answer to a heartbeat say so',
    proofs: [
      [CONFIG, 'the whole way takes fifty hours, and the README says each of its hours'],
      ['watchdog/heartbeat-answer.test.ts', 'S1-25: each word names the next due, safe mode and the stop'],
      ['hub/client/cli/text.test.ts', 'answers a heartbeat as stack.md says, with what happens without the next one'],
      ['hub/client/cli/text.test.ts', 'shows presence in the zone of the operator: due, the path without it'],
    ],
  },
  {
    rule: '`unattendedFrom` moves the start of the ceiling to the last heartbeat; safe mode is entered first all the same',
    proofs: [[TIMELINE, 'unattendedFrom last_heartbeat: the ceiling counts from the last sign']],
  },
  {
    rule: 'quiet hours of operator and contact each have a zone, also over the changes of the clock',
    proofs: [
      [CONFIG, 'due times, zones and quiet hours of the two people are read as written'],
      [QUIET, 'at %s they are %j'],
    ],
  },
  {
    rule: 'a reminder that falls into quiet hours moves to their end if 1 h is left before the deadline, else to 30 min before they begin',
    proofs: [
      [QUIET, 'a reminder in them moves to their end if that is an hour before the deadline'],
      [TIMELINE, 'reminders move to their end where an hour is left, else to half an hour before they begin'],
      [QUIET, 'wherever a reminder falls it is told outside them'],
    ],
  },
  {
    rule: 'e-mail to the contact goes at once; loud channels wait for the end of the contact’s quiet hours when absence is the cause',
    proofs: [
      [
        CONTACT,
        'S1-29: fifty hours of absence: entry, two reminders and the final report by mail at once and by push after',
      ],
    ],
  },
  {
    rule: 'loud channels never wait for a critical alert',
    proofs: [
      [QUIET, 'loud channels wait for their end, never for what is critical'],
      [CONTACT, 'a critical alert does, at once and by night'],
    ],
  },
  {
    rule: 'safe mode and the stop never wait for quiet hours',
    proofs: [[TIMELINE, 'safe mode and the stop never wait, though they fall into them']],
  },
  {
    rule: 'back again: an all-clear to the contact within a minute, and only where something was heard',
    proofs: [
      [CONTACT, 'S1-29: fifty hours of absence'],
      [CONTACT, 'S1-29: an operator who comes back before Carl wakes up'],
      ['watchdog/door.test.ts', 'weak from a webhook, and wakes the next round'],
    ],
  },
  {
    rule: 'calendar jobs tick in UTC; an hour that was missed is skipped; spans are measured by clocks',
    proofs: [
      ['scenarios/nightly.test.ts', 'ticks in UTC whatever the zone of the machine'],
      ['scenarios/nightly.test.ts', 'an hour that passed while the hub was down or the machine slept is skipped'],
      ['scenarios/drill.test.ts', 'one is due after a month, with the contact after a quarter'],
    ],
  },
]
