/** 4. The watchdog: what it says of itself, and how the two processes hold each other. */
import type { Row } from './row.ts'

const JUDGE = 'watchdog/judge.test.ts'
const ACTING = 'watchdog/acting.test.ts'
const CHANNELS = 'watchdog/delivery.test.ts'
const SYSTEMD = 'scripts/systemd.test.ts'

export const ownRows: readonly Row[] = [
  {
    rule: 'heartbeat_due, heartbeat_missed, unattended_stop: told at each step, the stop when it has ended',
    proofs: [
      [
        JUDGE,
        'T95: reminders at 18 h and 22 h, missed at 24 h, safe at 26 h, stop 24 h later, each to the millisecond',
      ],
      ['watchdog/story.test.ts', 'T95: fifty hours without the operator'],
    ],
  },
  {
    rule: 'unattended_remains, emergency_remains: what appears after a stop is removed, told, and critical after 3 rounds',
    proofs: [
      [ACTING, 'X5: %s: two rounds say nothing of it'],
      ['watchdog/story.test.ts', 'T95: fifty hours without the operator'],
      ['watchdog/story.test.ts', 'T97: what the contact or --emergency stopped is in every lease'],
    ],
  },
  {
    rule: 'away: a planned absence is shown while it runs',
    proofs: [['watchdog/absence.test.ts', 'is quiet: one note, nothing new starts']],
  },
  {
    rule: 'emergency_stop: told while it holds, ended by the operator alone',
    proofs: [['watchdog/story.test.ts', 'T97: what the contact or --emergency stopped is in every lease']],
  },
  {
    rule: 'orphan_returns (critical): orphans that were removed come back at three times within an hour',
    proofs: [[ACTING, 'one that comes back twice within the hour is critical']],
  },
  {
    rule: 'engine_unsupported: an engine with which no API version can be agreed is told as critical by both, and stops go through all the same',
    proofs: [
      ['watchdog/engine.test.ts', 'fault A3: an engine that tells %s is still listed and stopped'],
      [
        JUDGE,
        'fault A3: an engine without a version in common is critical, and over with the first that is understood',
      ],
      ['scenarios/engine.test.ts', 'fault A3: an engine with which no API version can be agreed is a critical alert'],
    ],
  },
  {
    rule: 'engine_unavailable: the second round without an answer is a finding, two good ones end it, and nothing is judged meanwhile',
    proofs: [
      [JUDGE, 'an engine that does not answer is a finding at the second round and nothing is judged'],
      [JUDGE, 'fault A11: an engine that fails every second round is no finding'],
    ],
  },
  {
    rule: 'the lease has a loop of its own: a round that the engine holds up does not let it lapse',
    proofs: [['watchdog/lease-loop.test.ts', 'fault A11: while a round waits for the engine leases go on']],
  },
  {
    rule: 'the loop of the lease does not speak for rounds that are stuck: without a round or an act the hub goes safe',
    proofs: [['watchdog/lease-loop.test.ts', 'a round that stands still for ever sends no lease']],
  },
  {
    rule: 'clock_fault: a wall clock that went back is told, and moves no deadline',
    proofs: [
      [JUDGE, 'T71, T72: a wall step of ten years either way'],
      [JUDGE, 'T74: a reboot with a clock of 1970'],
    ],
  },
  {
    rule: 'state_lost: both halves of its memory broken is safe mode, said, and a copy is kept',
    proofs: [
      ['watchdog/process.test.ts', 'a state corrupt in both slots starts safe, says so, and keeps a copy'],
      ['watchdog/state.test.ts', 'T89: a write torn at any byte of either slot'],
    ],
  },
  {
    rule: 'state_failing: a state that cannot be written is told, and nothing is called accepted that is not on disk',
    proofs: [
      ['watchdog/outside.test.ts', 'a round that was judged and is on disk pings'],
      ['watchdog/door.test.ts', 'a heartbeat the disk did not take is answered 503 and not as accepted'],
    ],
  },
  {
    rule: 'channel_failing, messages_lost: a channel that refuses and a message that is given up are told through another',
    proofs: [
      ['watchdog/story.test.ts', 'T93, T98: a dead engine and a dead mail channel end no round'],
      [CHANNELS, 'T98: a loss is a finding until that channel takes a letter'],
    ],
  },
  {
    rule: 'contact_unreachable: a contact whom no channel reaches is told to the operator',
    proofs: [['watchdog/contact-story.test.ts', 'T98: while no channel of Carl takes the message, Olga is told so']],
  },
  {
    rule: 'contact_damaged, contact_guessing: a card that cannot be read and words that are tried are told to the operator',
    proofs: [
      ['watchdog/stop-page.test.ts', 'a card that could not be read is told to the operator'],
      ['watchdog/stop-page.test.ts', 'five hundred of them are counted and not listed'],
    ],
  },
  {
    rule: 'outbox_failing, outbox_damaged: messages that cannot be kept, and those that were damaged, are told',
    proofs: [
      ['watchdog/outbox.test.ts', 'a disk that takes nothing keeps messages in memory and says so'],
      ['watchdog/alert-process.test.ts', 'a damaged outbox costs what was damaged'],
      ['watchdog/outside.test.ts', 'an outbox that cannot be written, or was damaged, is a finding'],
    ],
  },
  {
    rule: 'the hub in turn alerts when leases stop',
    proofs: [
      ['hub/guard/alerts/mode-watch.test.ts', 'waits five minutes for the first lease and ten for a lapsed one'],
      ['hub/guard/lease.test.ts', 'lapses after three intervals by the boot clock'],
    ],
  },
  {
    rule: 'units start both at boot after Docker and time sync, and restart both',
    proofs: [[SYSTEMD, 'X13, S1-30: the watchdog is enabled on its own and never given up']],
  },
  {
    rule: '`hub up` alone starts two detached processes, and says that nothing restarts them and no boot starts them',
    proofs: [
      ['hub/client/cli/processes.test.ts', 'starts both, waits for their ready lines'],
      ['hub/client/cli/processes.test.ts', 'starts the units and no process beside them'],
    ],
  },
  {
    rule: 'the service manager hears alive at most every 20 s, from rounds that ended and never beside one that hangs',
    proofs: [['watchdog/notify.test.ts', 'the service manager hears ready, alive at most every 20 s']],
  },
  {
    rule: "the watchdog's own health is 200 while rounds end in time, else 503",
    proofs: [['watchdog/door.test.ts', 'health is 200 while rounds end in time, else 503']],
  },
  {
    rule: '/healthz answers 200 while a round of each work loop ended within 15 s, whatever the mode, else 503',
    proofs: [
      ['scenarios/health.test.ts', 'T88: 503 once no round'],
      ['scenarios/degraded.test.ts', 'an I/O error ends writing for good'],
    ],
  },
]
