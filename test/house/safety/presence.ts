/** 2. Presence: the lease, strong and weak heartbeats. */
import type { Row } from './row.ts'

const LEASE = 'hub/guard/lease.test.ts'
const MODES = 'scenarios/modes.test.ts'
const TIMELINE = 'watchdog/timeline.test.ts'
const DOOR = 'watchdog/door.test.ts'
const BEARERS = 'scenarios/bearers.test.ts'
const HOOK = 'hub/edge/hook.test.ts'
const ANSWER = 'watchdog/heartbeat-answer.test.ts'
const AT_HUB = 'scenarios/presence.test.ts'
const BY_COMMAND = 'hub/client/cli.test.ts'

export const rows: readonly Row[] = [
  {
    rule: 'the watchdog owns the clock of presence and hands the hub a lease every 30 s',
    proofs: [
      ['watchdog/config.test.ts', 'without a file the spans are those of safety.md'],
      ['watchdog/process.test.ts', 'from init to exit: refuses without a state, leases'],
    ],
  },
  {
    rule: 'a lease names epoch, age of the heartbeat, what remains to the deadline and the mode it demands',
    proofs: [
      ['watchdog/lease.test.ts', 'an honest hub is heard; the lease is the document of the contract'],
      [LEASE, 'is understood as the watchdog itself writes it, with every condition it has'],
      [LEASE, 'with a good MAC but a faulty word is refused by name'],
    ],
  },
  {
    rule: 'a lease is authenticated by the key of the two and a counter that only rises',
    proofs: [
      [LEASE, 'that is forged is refused: another key, label, body'],
      [LEASE, 'that is replayed, older in epoch or counter, or another instance its own, is refused'],
      [MODES, 'a lease that is old, of another hub, or signed by nobody is refused'],
    ],
  },
  {
    rule: 'the answer to a lease is believed only with its MAC and the echo of that very lease',
    proofs: [['watchdog/lease.test.ts', 'T92: a wrong MAC, a wrong key, a replayed answer']],
  },
  {
    rule: 'the hub dispatches only on a lease younger than three intervals',
    proofs: [
      [LEASE, 'lapses after three intervals by the boot clock, suspend included'],
      [MODES, 'when it lapses: submitting is refused, queued stays queued'],
      [MODES, 'without one nothing is taken and nothing is started'],
    ],
  },
  {
    rule: 'killing the watchdog does not free the agents: the lease lapses and the hub goes safe by itself',
    proofs: [
      [MODES, 'when it lapses: submitting is refused, queued stays queued'],
      ['containers/stops.test.ts', 'a socket that is cut makes the hub safe by itself until it heals'],
      ['containers/survivors.test.ts', 'the hub: the watchdog is dead'],
    ],
  },
  {
    rule: 'killing the hub does not either: containers end at their time, the watchdog alerts and scans, and at the ceiling stops everything',
    proofs: [
      ['containers/survivors.test.ts', 'the watchdog: the hub is dead'],
      ['watchdog/judge.test.ts', 'S1-22: two misses are none, the third is a finding'],
      ['watchdog/judge.test.ts', 'S1-24: with the hub dead the ledger decides'],
      ['watchdog/story.test.ts', 'T95: with the hub dead from the first hour the timeline runs all the same'],
    ],
  },
  {
    rule: 'strong is a heartbeat by the command on the operator socket',
    proofs: [
      [AT_HUB, 'S1-25: a heartbeat on the operator’s socket is recorded, passed on as strong'],
      [DOOR, 'a heartbeat is strong from cli, api, console and device, weak from a webhook'],
      [BY_COMMAND, 'goes to the hub and answers with the next deadline in local time'],
    ],
  },
  {
    rule: 'strong is a heartbeat straight to the watchdog when the hub is away',
    proofs: [
      [BY_COMMAND, 'goes to the watchdog where the hub is dead, and where its store fails'],
      ['watchdog/process.test.ts', 'T95, T97: a passed deadline demands safe within a round'],
    ],
  },
  {
    rule: 'strong is a heartbeat over the API by an enrolled device with the right `resume`; without that right it is weak',
    proofs: [[BEARERS, 'does what its rights say: view reads, heartbeat with resume is strong, without it weak']],
  },
  {
    rule: 'strong is a heartbeat by the console, with the right to it',
    proofs: [
      [
        'scenarios/console.test.ts',
        'S1-25: its heartbeat is strong, of the source console at the watchdog and in the record',
      ],
      [
        'console/console.test.ts',
        'S1-25: the heartbeat is strong, recorded with its source, ends the safe mode of a missed one',
      ],
    ],
  },
  {
    rule: 'a strong heartbeat begins the timeline anew at any step before the stop',
    proofs: [[TIMELINE, 'S1-25: a strong heartbeat at any step before the stop begins it anew']],
  },
  {
    rule: 'weak is the heartbeat of a webhook: it is given by POST alone, and may say nothing else',
    proofs: [
      [HOOK, 'gives a heartbeat of the source webhook, is recorded'],
      [HOOK, 'never acts by %s'],
      [HOOK, 'is weak by its right alone'],
      [DOOR, 'away and back are strong words with their source'],
    ],
  },
  {
    rule: 'weak ones prolong at most `weakMaxMs` (7 days) past the last strong one',
    proofs: [
      [TIMELINE, 'S1-25, T95: alone they carry for 7 days'],
      [TIMELINE, 'a weak heartbeat moves it to a later day, never to an earlier hour, and never past the 7 days'],
      ['watchdog/presence-laws.test.ts', '%s: no order of events moves safe mode or the stop out of their bounds'],
    ],
  },
  {
    rule: 'in missed-heartbeat safe mode a weak one resumes nothing; the ceiling restarts, still under `weakMaxMs`',
    proofs: [
      [TIMELINE, 'in safe mode one restarts the ceiling and its reminders, resumes nothing'],
      ['watchdog/conditions.test.ts', 'T97: %s and %s'],
    ],
  },
  {
    rule: 'a weak one in safe mode tells the contact that the operator has checked in and there is nothing to do',
    proofs: [['watchdog/contact-story.test.ts', 'a sign of life in safe mode is told to Carl once per step']],
  },
  {
    rule: 'each heartbeat is recorded with its source and audited',
    proofs: [
      [AT_HUB, 'S1-25: a heartbeat on the operator’s socket is recorded'],
      [HOOK, 'gives a heartbeat of the source webhook, is recorded'],
      [BEARERS, 'does what its rights say: view reads, heartbeat with resume is strong'],
      [ANSWER, 'each heartbeat, weak or strong, and each word about an absence stands in the log with its source'],
    ],
  },
  {
    rule: 'the answer to a heartbeat names the next deadline in the zone of the operator',
    proofs: [
      [ANSWER, 'S1-25: each word names the next due, safe mode and the stop, in the zone of the operator'],
      ['hub/client/cli/text.test.ts', 'answers a heartbeat as stack.md says, with what happens without the next one'],
      [HOOK, 'gives a heartbeat of the source webhook, is recorded, and answers when the next is due'],
    ],
  },
  {
    rule: 'a heartbeat counts once it is on disk, and outlives a kill right after its answer',
    proofs: [
      ['watchdog/story.test.ts', 'T89: a heartbeat survives kill -9 right after its answer'],
      [DOOR, 'a heartbeat the disk did not take is answered 503 and not as accepted'],
    ],
  },
  {
    rule: 'an automation token can never hold heartbeat, resume, away, approval, contact or device verbs',
    proofs: [
      [BEARERS, 'can be given nothing of presence, approval, rights or the contact'],
      [BEARERS, 'does what it lists and nothing else, over every operation there is'],
    ],
  },
]
