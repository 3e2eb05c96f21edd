/** 5. Ways to stop: what each stop has in common, and the drill. */
import type { Row } from './row.ts'

const STOPS = 'scenarios/stops.test.ts'
const SHUTDOWN = 'scenarios/shutdown.test.ts'
const ORDER = 'scenarios/stop-order.test.ts'
const REAL = 'containers/stops.test.ts'
const COMMAND = 'hub/client/cli/stop.test.ts'
const STORY = 'watchdog/story.test.ts'
const DRILL = 'scenarios/drill.test.ts'

export const sharedRows: readonly Row[] = [
  {
    rule: 'the presence clock pauses only once the engine confirms that none of our containers is left',
    proofs: [
      ['watchdog/judge.test.ts', 'after an announced stop the clock stands only once the engine confirms'],
      ['watchdog/presence-clock.test.ts', 'a paused clock runs again where the engine still shows a container'],
    ],
  },
  {
    rule: 'order of a stop: the condition is persisted before the watchdog is told and before a container is touched',
    proofs: [
      [ORDER, 'T97: the condition of an emergency is in the store before the watchdog is told'],
      ['watchdog/conditions.test.ts', 'T97: a condition is on the disk before the lease that carries it'],
    ],
  },
  {
    rule: 'order of a stop: the announcement leaves first and is not waited for; every session is told to finish',
    proofs: [[ORDER, 'S0-15: told to the watchdog, told to finish']],
  },
  {
    rule: 'order of a stop: inboxes are closed once everybody was told',
    proofs: [[STOPS, 'inboxes are closed once everybody was told to finish']],
  },
  {
    rule: 'order of a stop: shutdownTimeout is waited, 15 s as shipped, then SIGTERM, 5 s, SIGKILL',
    proofs: [
      [ORDER, 'S0-15: told to the watchdog, told to finish'],
      ['hub/config.test.ts', 'without a file the span of a stop is 15 s'],
      ['hub/work/sandbox/containers.test.ts', 'T60: gives a stubborn one its grace, then kills it'],
    ],
  },
  {
    rule: 'order of a stop: recycled, secrets taken back, tokens ended',
    proofs: [
      ['containers/secrets.test.ts', 'once the hub has ended nothing of it is left in the home'],
      ['scenarios/credentials.test.ts', 'within a second by the event alone'],
      [SHUTDOWN, 'who finishes in time succeeds, who does not is stopped'],
    ],
  },
  {
    rule: 'order of a stop: the log is emptied into the database and the signed head is with the watchdog before the end',
    proofs: [
      [STOPS, 'the signed head reaches the watchdog before the hub is gone'],
      [REAL, 'S0-15: by the hub: all confirmed, nobody alarmed, it stays down, and its log is emptied'],
      [ORDER, 'S0-15: told to the watchdog, told to finish'],
    ],
  },
  {
    rule: 'every stop answers with requested and confirmed for each container: gone, already_gone, or failed with the reason',
    proofs: [
      [SHUTDOWN, 'X2: a container that the engine does not remove is reported as failed, with why'],
      [SHUTDOWN, 'who finishes in time succeeds, who does not is stopped'],
      ['hub/work/sandbox/containers.test.ts', 'one that is gone already is done, not failed'],
      [COMMAND, 'names what is still there and ends with 1'],
    ],
  },
  {
    rule: 'a hub that hangs is not waited for: the watchdog stops by label, and the path that was taken is said',
    proofs: [
      [REAL, 'T88: with the hub hung it is not waited for'],
      [STORY, 'a hub that takes no lease is not waited for'],
    ],
  },
  {
    rule: 'with the hub dead the watchdog does the same by label and says so',
    proofs: [
      [REAL, 'T87: with the hub dead the watchdog does it'],
      [STORY, 'shutdown says by which path'],
    ],
  },
  {
    rule: 'with the watchdog dead or hung the hub stops all the same',
    proofs: [[REAL, 'T89: with the watchdog %s the hub does it']],
  },
  {
    rule: 'with both dead `hub shutdown --emergency` does it from the command, this home alone',
    proofs: [
      [REAL, 'T97: with both dead --emergency does it from the command'],
      [COMMAND, 'stops, kills and removes every container of this home and no other'],
    ],
  },
  {
    rule: 'a stop is idempotent: asked again it answers the same and harms nothing',
    proofs: [
      [STORY, 'shutdown says by which path'],
      [SHUTDOWN, 'who finishes in time succeeds, who does not is stopped'],
      [STOPS, 'a plain stop that is under way is hastened by an emergency, once'],
    ],
  },
  {
    rule: 'a paused or wedged container is not stopped until the engine says that it is gone',
    proofs: [
      [REAL, 'T87: with the hub dead the watchdog does it, a container that is paused included'],
      ['hub/work/sandbox/containers.test.ts', 'never says gone while the engine still shows it'],
      ['watchdog/engine.test.ts', 'gone is said only when inspect says so'],
    ],
  },
  {
    rule: 'a stop works in every mode, with a full disk, with a failing audit log and with rows that cannot be read',
    proofs: [
      ['hub/guard/modes.test.ts', '%s in %s: %s'],
      ['scenarios/degraded.test.ts', 'when the buffer is full too, messages are refused and a stop is not'],
      ['scenarios/disk-faults.test.ts', 'full again, the shutdown and its record are written from the ballast'],
      ['scenarios/stop-wishes.test.ts', 'keeps its word over kill -9'],
      ['scenarios/stop-wishes.test.ts', 'more stops than there is room for hold everything'],
      [STOPS, 'I6: a database whose sessions cannot be read keeps no container'],
    ],
  },
  {
    rule: 'a stop that is under way is not cut by a signal; a second one cuts it',
    proofs: [[SHUTDOWN, 'S0-15: a signal does not cut a stop that is under way']],
  },
  {
    rule: 'a stop waits for no log and fails by none: a full disk, a full pipe, a reader that has gone, a hang-up',
    proofs: [
      ['scenarios/log-faults.test.ts', 'they start, say what they see, stop everything by the hub and by the watchdog'],
      ['scenarios/full-logs.test.ts', 'on a home full to the last byte, its logs too, every way to stop stops'],
      ['scenarios/log-faults.test.ts', 'fault C31: a hang-up ends neither'],
      ['hub/base/log-sink.test.ts', 'fault B1: a disk without room throws nothing'],
    ],
  },
  {
    rule: '`hub session stop --all` and `--agent` stop agents and keep the hub, safe by request',
    proofs: [['hub/client/cli.test.ts', 'session stop --all asks for every page, has nothing new start']],
  },
  {
    rule: 'drill: the kill path is walked on a canary by the hub and by the watchdog, and no other container',
    proofs: [
      [DRILL, 'a good drill stops one canary by each path'],
      [REAL, 'hub drill stops one canary by the hub and one by the watchdog'],
    ],
  },
  {
    rule: 'drill: every channel is tried, and each step fails by its own name',
    proofs: [[DRILL, 'a deaf watchdog, a deaf channel and a missing canary each fail their own step']],
  },
  {
    rule: 'drill: due monthly, and an overdue one is an alert until a good one',
    proofs: [
      [DRILL, 'one is due after a month, with the contact after a quarter'],
      [DRILL, 'an overdue drill is an alert, and a good one ends it'],
    ],
  },
  {
    rule: 'drill: due quarterly with the contact, an alert of its own until a good one with them',
    proofs: [[DRILL, 'a drill with the contact that is overdue is an alert of its own']],
  },
  {
    rule: 'drill with the contact: by day only, and it begins by saying that it is a rehearsal',
    proofs: [
      ['watchdog/alert-test.test.ts', 'the contact gets a test with a code to read out, or a rehearsal that says so'],
      ['watchdog/alert-test.test.ts', 'it is day for Carl'],
    ],
  },
  {
    rule: 'drill: the real mode never changes, and it is skipped with the reason unless it is normal',
    proofs: [[DRILL, 'it is skipped with the reason unless the hub is normal, and changes no mode']],
  },
  {
    rule: 'drill: days since the last good one stand in status and doctor',
    proofs: [
      [DRILL, 'a good drill stops one canary by each path'],
      [DRILL, 'the days since the last good one stand in status and doctor'],
    ],
  },
]
