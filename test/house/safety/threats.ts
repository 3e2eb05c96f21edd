/** Threats that the rules of safety answer: a row for each id. */
import type { Row } from './row.ts'

const JUDGE = 'watchdog/judge.test.ts'
const TIMELINE = 'watchdog/timeline.test.ts'
const STORY = 'watchdog/story.test.ts'
const OWNERS = 'hub/guard/conditions/owners.test.ts'
const DEGRADED = 'scenarios/degraded.test.ts'
const REAL = 'containers/stops.test.ts'
const LEASE = 'hub/guard/lease.test.ts'
const NONCES = 'hub/guard/identity/nonces.test.ts'

export const threats: readonly Row[] = [
  {
    rule: 'T71 wall clock back: tokens stay dead, nonces stay burned, heartbeats and running containers are unmoved',
    proofs: [
      [DEGRADED, 'a clock stepped back an hour revives no token and prolongs no container'],
      [OWNERS, 'never goes back: a step of an hour raises clock_fault'],
      [NONCES, 'is not put off by a wall clock that was set back or set right (T71)'],
      [JUDGE, 'T71, T72: a wall step of ten years either way'],
      [TIMELINE, 'T95: the same over a restart each hour, a reboot each hour, and both clocks stepping'],
    ],
  },
  {
    rule: 'T72 wall clock forward: no mass purge, no agent killed, renewals refused until it is right or taken',
    proofs: [
      [DEGRADED, 'a clock ten years ahead kills nobody and renews nothing'],
      [NONCES, 'takes nothing early though the wall clock jumps ten years and back'],
      [JUDGE, 'T71, T72: a wall step of ten years either way'],
    ],
  },
  {
    rule: 'T73 suspend: it counts; what ended is ended before any message; contact and stop wait for the wake grace',
    proofs: [
      [DEGRADED, 'after a sleep what ended is ended, and a passed deadline is safe mode, before any message'],
      [JUDGE, 'T73: a deadline that passed asleep is safe mode at once'],
      [JUDGE, 'T73: a suspend counts for the time to live'],
      [TIMELINE, 'T73: what both processes missed asleep is no alarm'],
    ],
  },
  {
    rule: 'T74 reboot with a clock of 1970: no new work until it passes the mark or the operator acts',
    proofs: [
      [DEGRADED, 'a start with the clock below the mark takes no work until the clock passes it (T74)'],
      [OWNERS, 'in another boot with the clock of 1970 nothing is trusted until it passes the mark (T74)'],
      [JUDGE, 'T74: a reboot with a clock of 1970'],
    ],
  },
  {
    rule: 'T75 a stall of the loop is detected and recorded, and deadlines are judged by the time of receipt',
    proofs: [
      [OWNERS, 'a stall of thirty seconds is detected, recorded, forgiven until the next tick'],
      [OWNERS, 'never forgives more than the skew of a signed request'],
    ],
  },
  {
    rule: 'T76 watchdog and hub disagree on the time: durations alone are compared, each by its own boot clock',
    proofs: [
      [LEASE, 'lapses after three intervals by the boot clock, suspend included, and the next one ends that (T76)'],
      [LEASE, 'neither lapses nor lives longer by steps of the wall clock'],
      ['watchdog/judge.test.ts', 'T71, T72: a wall step of ten years either way'],
    ],
  },
  {
    rule: 'T87 hub killed: the watchdog alerts; the hub that comes back takes over, or containers end at their time to live',
    proofs: [
      [REAL, 'T87: with the hub dead the watchdog does it'],
      ['watchdog/process.test.ts', 'from init to exit'],
      ['containers/survivors.test.ts', 'of %s: what ended meanwhile is collected'],
    ],
  },
  {
    rule: 'T88 hub hung: it is seen, alerted and stopped around',
    proofs: [
      [REAL, 'T88, T91: a hub that hangs is an alert'],
      [REAL, 'T88: with the hub hung it is not waited for'],
      ['scenarios/health.test.ts', 'T88: 503 once no round'],
    ],
  },
  {
    rule: 'T89 watchdog killed twenty times, either slot torn: its memory is read back whole, and the hub goes safe meanwhile',
    proofs: [
      ['watchdog/kills.test.ts', 'T89: twenty kills and torn slots later'],
      ['watchdog/state.test.ts', 'T89: a write torn at any byte of either slot'],
      ['scenarios/modes.test.ts', 'when it lapses: submitting is refused'],
    ],
  },
  {
    rule: 'T90 both dead: the shim ends cooperating containers, the host timer the others past their labels',
    proofs: [
      ['containers/survivors.test.ts', 'the shim: hub and watchdog are dead'],
      [REAL, 'T90: with both dead the host timer removes what is past its deadline'],
      ['scripts/systemd.test.ts', '%s with %j: overdue %s'],
    ],
  },
  {
    rule: 'T91 channel cut with both alive: both move toward stop, and a fenced-off watchdog is refused',
    proofs: [
      [REAL, 'a socket that is cut makes the hub safe by itself until it heals (I5)'],
      [REAL, 'T91: a watchdog that was stopped and replaced is fenced off'],
      [STORY, 'T91: the epoch rises with every start'],
      ['hub/work/sandbox/containers.test.ts', 'one that is gone already is done, not failed'],
    ],
  },
  {
    rule: 'T92 forged sign of life, lease or kill: refused by MAC, counter, epoch and instance, and on every other socket',
    proofs: [
      [LEASE, 'that is forged is refused: another key, label, body'],
      [LEASE, 'that is replayed, older in epoch or counter'],
      [LEASE, 'is taken once, and refused when replayed, after a restart too'],
      ['watchdog/lease.test.ts', 'T92: a wrong MAC, a wrong key, a replayed answer'],
      ['hub/edge/watchdog-door.test.ts', 'a wrong, missing, doubled or borrowed MAC'],
      ['watchdog/door.test.ts', 'T92: the socket is 0600'],
      ['watchdog/lease.test.ts', 'a shutdown is believed only with its MAC'],
    ],
  },
  {
    rule: 'T93 the engine hangs, restarts, is slow, answers 500: degraded, retried, alarmed, taken up again',
    proofs: [
      ['containers/engine-faults.test.ts', 'it %s: degraded, nothing new starts'],
      ['containers/engine-killed.test.ts', 'kill -9 of the engine'],
      ['scenarios/engine.test.ts', '%s that does %s makes the hub degraded until it answers again'],
      [STORY, 'T93, T98: a dead engine and a dead mail channel end no round'],
    ],
  },
  {
    rule: 'T94 a container in every state of the engine is handled, none ignored',
    proofs: [
      [JUDGE, 'T94: %s'],
      [JUDGE, 'T94, X9: a container in state %s without a session'],
      ['hub/work/sandbox/containers.test.ts', 'T94: removes one that is %s'],
      ['scenarios/restart.test.ts', 'a %s session whose container is %s is to be: %s (X6)'],
    ],
  },
  {
    rule: 'T95 no operator: reminders, safe mode, stop at their hours over restarts, reboots, suspends and steps of the clock',
    proofs: [
      [TIMELINE, 'S1-26, S1-30, T95: reminders, missed, safe mode'],
      [STORY, 'T95: fifty hours without the operator'],
      ['watchdog/process.test.ts', 'T95, T97: an absence that nobody ends'],
      [TIMELINE, 'S1-25, T95: alone they carry for 7 days'],
    ],
  },
  {
    rule: 'T96 ceilings in code: refused by name',
    proofs: [
      ['watchdog/config.test.ts', 'T96: %j is refused by name'],
      ['hub/work/sandbox/limits.test.ts', 'T96: a card above the ceiling is refused'],
    ],
  },
  {
    rule: 'T97 entry and exit of safe mode: persisted before it takes effect, ended by its own word and credential alone',
    proofs: [
      ['watchdog/conditions.test.ts', 'T97: %s and %s'],
      ['watchdog/conditions.test.ts', 'T97: a condition is on the disk before the lease'],
      ['hub/guard/modes.test.ts', 'is in the store before it takes effect, and read back by the next start'],
      [LEASE, '(%s) is kept and obeyed after a restart, until a newer lease says otherwise'],
    ],
  },
  {
    rule: 'T98 an alert channel is down: retried, told through another, and nothing waits for it',
    proofs: [
      ['hub/guard/alerts/delivery.test.ts', 'is tried with growing pauses; after three failures the other says so'],
      ['watchdog/alert-process.test.ts', 'T98: with a mail server that hangs, rounds go on'],
      ['watchdog/alert-process.test.ts', 'T98: on a disk that is full to the last byte alerts are kept'],
    ],
  },
  {
    rule: 'T100 the audit log is deleted or cut by hand: witness_mismatch, safe mode and alarm at the next start',
    proofs: [
      [JUDGE, 'T100: a linked, longer row is remembered'],
      ['watchdog/witness.test.ts', 'T100: cut by one, by ten or whole'],
      ['scenarios/witness.test.ts', 'a witness mismatch ends only by naming the very head'],
    ],
  },
]
