/** 4. The watchdog: its checks. */
import type { Row } from './row.ts'
import { ownRows } from './watchdog-own.ts'

const JUDGE = 'watchdog/judge.test.ts'
const ACTING = 'watchdog/acting.test.ts'
const STORY = 'watchdog/story.test.ts'
const LAYERS = 'house/layers.test.ts'
const SPANS: Row['proofs'][number] = ['watchdog/config.test.ts', 'without a file the spans are those of safety.md']

export const rows: readonly Row[] = [
  ...ownRows,
  {
    rule: 'it is a process of its own with its own configuration, state, channels, outbox and log',
    proofs: [
      ['watchdog/process.test.ts', 'from init to exit'],
      ['watchdog/alert-process.test.ts', 'alert-test proves mail, webhook, push and command of a real process'],
    ],
  },
  {
    rule: 'it shares no code with the hub',
    proofs: [
      [LAYERS, 'point inward only, without a circle'],
      [LAYERS, 'refuses that %s imports outward'],
    ],
  },
  {
    rule: "it never opens the hub's database, and calls the engine over node:http alone",
    proofs: [
      [LAYERS, 'finds a package the watchdog does without'],
      ['house/apart.test.ts', 'X8: no source of the watchdog knows a database'],
    ],
  },
  {
    rule: 'its engine calls are a closed list',
    proofs: [['watchdog/engine.test.ts', 'a call that is not on the closed list is refused before a byte is sent']],
  },
  {
    rule: 'round by round it observes, judges purely and acts; a bad round ends neither it nor the next',
    proofs: [
      [STORY, 'a dead engine and a dead mail channel end no round'],
      [JUDGE, 'S1-22: two misses are none'],
    ],
  },
  {
    rule: 'hub_health: two misses in a row are none, the third is one alert, the fourth the same one, an answer ends it',
    proofs: [[JUDGE, 'S1-22: two misses are none, the third is a finding, the fourth the same one, an answer ends it']],
  },
  { rule: 'misses are 30 s apart and a lease has 5 s', proofs: [SPANS] },
  {
    rule: 'a hub that hangs past the time-out is a miss',
    proofs: [['watchdog/lease.test.ts', 'a hub that refuses, hangs, says too much or is gone is a miss']],
  },
  {
    rule: 'a dead hub is told once, over kill -9 of the watchdog too, and its recovery once',
    proofs: [
      ['watchdog/process.test.ts', 'from init to exit'],
      ['watchdog/once.test.ts', 'X5: faults that come and go for 120 rounds'],
      ['containers/stops.test.ts', 'a hub that hangs is an alert, one that comes back is an all-clear'],
    ],
  },
  {
    rule: 'the start-up grace counts no miss before the first answer, and ends after 60 s',
    proofs: [[JUDGE, 'the start-up grace counts no miss before the first answer, and ends after 60 s']],
  },
  {
    rule: 'an announced restart is no finding for 5 min and one afterwards; an announced stop is none until it is over',
    proofs: [[JUDGE, 'an announced restart is silent for 5 min and then a finding'], SPANS],
  },
  {
    rule: 'missing health removes dispatch: without a lease the hub starts nothing',
    proofs: [
      ['scenarios/modes.test.ts', 'without one nothing is taken and nothing is started'],
      ['scenarios/modes.test.ts', 'when it lapses: submitting is refused'],
    ],
  },
  {
    rule: 'missing health never adds trust: hub_forged (critical) is a miss whose sessions are not believed',
    proofs: [
      [JUDGE, 'T92: a forged answer is a miss and a critical finding at once'],
      ['watchdog/lease.test.ts', 'T92: a wrong MAC, a wrong key, a replayed answer'],
    ],
  },
  {
    rule: 'hub_unreadable: an answer that is proven and not understood is a miss and a warning, louder at the third',
    proofs: [[JUDGE, 'T92: a proven answer that is not understood is a miss and a warning']],
  },
  {
    rule: 'throughput: no dispatch in 6 h while tasks wait is a finding at the millisecond, not before; a dispatch ends it',
    proofs: [[JUDGE, 'S1-23: six hours of waiting without one dispatch is a finding'], SPANS],
  },
  {
    rule: 'throughput is silent in safe and draining mode, with nothing queued and without health',
    proofs: [[JUDGE, 'S1-23: six hours of waiting without one dispatch is a finding']],
  },
  {
    rule: 'throughput counts only tasks that could run: no held one, none of a halted agent, no service',
    proofs: [['scenarios/waiting.test.ts', 'S1-23: what waits for a word']],
  },
  {
    rule: 'orphan: a container of ours in any state, created included, without a live session is one at 60 s, not before, and is removed',
    proofs: [
      [JUDGE, 'T94, X9: a container in state %s without a session is an orphan at 60 s, not before'],
      ['containers/watchdog.test.ts', 'T90, T94: with the hub dead an orphan in state created'],
      SPANS,
    ],
  },
  {
    rule: 'a live session keeps its container, and only the one it names',
    proofs: [[JUDGE, 'a live session keeps its container, and only the container it names']],
  },
  {
    rule: 'with the hub dead the ledger says which sessions live',
    proofs: [
      [JUDGE, 'S1-24: with the hub dead the ledger decides'],
      ['watchdog/lease.test.ts', 'D14: a ledger counts only whole, with its MAC and of this instance'],
    ],
  },
  {
    rule: 'the hub replaces the ledger whole and syncs it at each change of a session',
    proofs: [
      ['hub/work/sandbox/ledger.test.ts', 'what is put is on disk at once'],
      ['hub/work/sandbox/ledger.test.ts', 'a fault %s is said, leaves a whole document on disk'],
      ['hub/work/sandbox/ledger.test.ts', 'what a kill left half made beside it is no ledger'],
    ],
  },
  {
    rule: 'foreign containers are untouched',
    proofs: [
      ['watchdog/engine.test.ts', 'the list asks for our label only'],
      ['containers/watchdog.test.ts', 'live, foreign and unlabelled ones are not'],
    ],
  },
  {
    rule: 'ledger: missing or unreadable is an alert and removes no orphan, while times to live are still enforced',
    proofs: [[JUDGE, 'missing or damaged it kills nothing as an orphan, deadlines still count']],
  },
  {
    rule: 'ttl_passed: a running container goes 15 s past its label of this boot, at the millisecond, whoever else is alive',
    proofs: [
      [JUDGE, 'T94: %s'],
      ['containers/survivors.test.ts', 'the watchdog: the hub is dead, and the same are gone within its grace'],
      SPANS,
    ],
  },
  {
    rule: 'boot_mismatch, deadline_unreadable: a running container without a deadline of this boot is removed; one that does not run is judged by the wall',
    proofs: [[JUDGE, 'T94: %s']],
  },
  {
    rule: 'audit_lost: records that waited for a failing store and were lost with the hub',
    proofs: [['scenarios/buffer-head.test.ts', 'S1-18, fault D1: what waited and was lost with a hub that was killed']],
  },
  {
    rule: 'the witness takes the signed checkpoints since the last one seen and checks signatures and links',
    proofs: [
      [JUDGE, 'T100: a linked, longer row is remembered'],
      ['scenarios/accept-head.test.ts', 'a witness that begins anew is shown the newest checkpoint'],
    ],
  },
  {
    rule: 'each checkpoint signs size, head and the digest of the one before',
    proofs: [
      ['hub/guard/audit.test.ts', 'are taken only when the head moved, link to each other and verify'],
      ['hub/guard/audit.test.ts', 'with another %s fail their verification'],
    ],
  },
  {
    rule: 'what was witnessed is on the disk before it is answered, and outlives kill -9',
    proofs: [
      [STORY, 'the last head of a hub that ends is witnessed'],
      ['watchdog/witness.test.ts', 'X14: what was witnessed is remembered before it is answered'],
    ],
  },
  {
    rule: 'witness_mismatch (critical): a smaller log, another head, a broken link or signature; it sticks and its evidence is kept',
    proofs: [
      [JUDGE, 'a smaller log, another head, a broken link or signature is a sticky mismatch'],
      [STORY, 'one that does not fit is a mismatch, with its evidence kept'],
    ],
  },
  {
    rule: 'witness_unproven: without the public key nothing is remembered, and that is told',
    proofs: [[JUDGE, 'T100: a linked, longer row is remembered']],
  },
  {
    rule: 'a finding acted on that is there after 3 rounds is told again and critical: every action is disabled in turn',
    proofs: [
      [JUDGE, 'a finding acted on in vain is louder at the third round after, and critical'],
      [ACTING, 'X5: %s: two rounds say nothing of it, the third is an alarm, told once'],
      [ACTING, 'X5: the table is walked whole'],
    ],
  },
  {
    rule: 'safe_not_obeyed, stop_unconfirmed (critical), lease_refused: the third round without the action, once; ended by the action alone',
    proofs: [
      [ACTING, 'X5: %s: two rounds say nothing of it'],
      [ACTING, 'X5: once the action happens the alarm is resolved'],
      [ACTING, 'X5: a hub that obeys, also while it drains, raises nothing'],
    ],
  },
  {
    rule: 'the outside is pinged after each round that was judged and is on disk, and after no other',
    proofs: [
      ['watchdog/outside.test.ts', 'a round that was judged and is on disk pings'],
      ['watchdog/alert-test.test.ts', 'the outside is pinged after rounds, not for each of a burst'],
    ],
  },
  {
    rule: 'outside_failing: three failed pings are a finding, one success ends it',
    proofs: [['watchdog/alert-test.test.ts', 'three failures are a finding, one success ends it']],
  },
  {
    rule: 'doctor is amber without an outside',
    proofs: [['hub/edge/watchdog-checks.test.ts', 'no contact and no outside are amber']],
  },
]
