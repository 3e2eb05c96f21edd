/** 1. Modes: each condition, what raises a mode, what ends it, who is told. */
import type { Row } from './row.ts'

const OF_HUB = 'hub/guard/modes.test.ts'
const LEASE = 'hub/guard/lease.test.ts'
const OWNERS = 'hub/guard/conditions/owners.test.ts'
const DEGRADED = 'scenarios/degraded.test.ts'
const MODES = 'scenarios/modes.test.ts'
const CANARY = 'scenarios/canary.test.ts'
const CANARY_IMAGES = 'scenarios/canary-images.test.ts'
const WATCH = 'hub/guard/alerts/mode-watch.test.ts'
const GATE = 'hub/guard/gate.test.ts'
const HELD = 'watchdog/conditions.test.ts'
const TOLD = 'watchdog/contact-told.test.ts'
const STOPS = 'scenarios/stops.test.ts'
/** Its mode and whether it sticks at the hub; which condition is meant stands in the table of that test. */
const isOfMode = [OF_HUB, 'under %s alone is the written one'] as const
/** What ends it, against every word, credential, restart and clock. */
const isEndedBy = [HELD, 'T97: %s and %s'] as const
const isTold = [TOLD, '%s: the contact is told once, as the table says, or never'] as const
const isToldByWatchdog = [TOLD, '%s: the contact is told, or not, as its row says'] as const

export const rows: readonly Row[] = [
  {
    rule: 'a mode is computed, never set: the strictest of the conditions that hold; the end of one is the end of no other',
    proofs: [isOfMode, [OF_HUB, 'under %s and %s is the stricter of both'], [HELD, 'T97: all five at once']],
  },
  {
    rule: 'each condition has one owner that raises and clears it: no other passes in or out by a lease',
    proofs: [[LEASE, 'raises nothing but what is its own']],
  },
  {
    rule: 'a condition has a name, a since and a reason, those of its beginning',
    proofs: [[OF_HUB, 'keeps since when it stands and says what is the matter now']],
  },
  {
    rule: '`store_failing`: degraded until the store can be written; after an I/O error until a restart; the contact is not told',
    proofs: [
      isOfMode,
      isTold,
      [DEGRADED, 'two open sessions keep talking, nothing new starts, stop works; with room again all is recorded'],
      [DEGRADED, 'an I/O error ends writing for good'],
    ],
  },
  {
    rule: '`engine_disk_low`: degraded until there is room where the engine keeps its data; the contact is not told',
    proofs: [isOfMode, isTold, [OWNERS, 'is told of by the marks of the home, in bytes and in inodes']],
  },
  {
    rule: '`disk_low`: degraded until there is room; the contact is not told',
    proofs: [
      isOfMode,
      isTold,
      [OWNERS, 'alerts once for each level, raises and clears disk_low'],
      [DEGRADED, 'warns at ten percent, takes no new task at five'],
    ],
  },
  {
    rule: '`audit_failing`: degraded until a record can be written; the contact is not told',
    proofs: [isOfMode, isTold, [DEGRADED, 'name each fault and what mends it']],
  },
  {
    rule: '`policy_unavailable`: degraded until the rules load and answer; the contact is not told',
    proofs: [
      isOfMode,
      isTold,
      [OWNERS, 'an answer that was none stops nobody else'],
      [DEGRADED, 'name each fault and what mends it'],
    ],
  },
  {
    rule: '`engine_unavailable`: degraded from two bad looks in a row to two good ones, not by a start that fails; the contact is not told',
    proofs: [
      isOfMode,
      isTold,
      ['scenarios/engine.test.ts', 'makes the hub degraded until it answers again, by itself'],
      ['scenarios/engine.test.ts', 'a list that fails every second time changes no mode'],
      ['scenarios/engine.test.ts', 'one that answers 500 to everything is unwell'],
      ['hub/guard/conditions/engine-health.test.ts', 'changes only after two looks in a row that say the other'],
    ],
  },
  {
    rule: '`loop_failing`: degraded until a round of that loop ends well; the contact is not told',
    proofs: [isOfMode, isTold, ['scenarios/damaged-rows.test.ts', 'three failures of a loop in a row are a condition']],
  },
  {
    rule: '`engine_unfit`: degraded until a canary session passes on the engine; the contact is not told',
    proofs: [
      isOfMode,
      isTold,
      [CANARY, 'while it fails nothing is dispatched'],
      [CANARY, 'a changed engine is proven before the next dispatch, and what runs is kept'],
      [CANARY_IMAGES, 'an image that ends before it has joined holds up no other agent'],
      [CANARY_IMAGES, 'a second image that fails in the same way is held against the engine'],
      [CANARY_IMAGES, 'the image of an agent that was suspended is never run'],
    ],
  },
  {
    rule: '`loop_lagging`: degraded until ten ticks came in time; the contact is not told',
    proofs: [isOfMode, isTold, [OWNERS, 'a stall of thirty seconds is detected']],
  },
  {
    rule: '`clock_fault`: degraded until the clock is right or the operator takes it as it is; the contact is not told',
    proofs: [
      isOfMode,
      isTold,
      [OWNERS, 'never goes back: a step of an hour raises clock_fault'],
      [OWNERS, 'is taken as it is by the operator'],
      [DEGRADED, 'a start with the clock below the mark takes no work'],
    ],
  },
  {
    rule: '`lease_pending`: degraded after start and resume until the first lease; an alert after 5 min; the contact is not told',
    proofs: [
      isOfMode,
      isTold,
      [LEASE, 'is what the hub waits for after its start'],
      [MODES, 'without one nothing is taken and nothing is started'],
      [DEGRADED, 'a minute of sleep ends nobody and holds new work until the next lease'],
      [WATCH, 'waits five minutes for the first lease and ten for a lapsed one'],
    ],
  },
  {
    rule: '`lease_lapsed`: safe until the next valid lease; an alert after 10 min; the contact is not told',
    proofs: [
      isOfMode,
      isTold,
      [LEASE, 'lapses after three intervals by the boot clock'],
      [LEASE, 'safe without a reason this hub knows is safe all the same'],
      [MODES, 'when it lapses: submitting is refused'],
      [WATCH, 'waits five minutes for the first lease and ten for a lapsed one'],
    ],
  },
  {
    rule: '`heartbeat_missed`: safe and sticky until a strong heartbeat; the contact is told',
    proofs: [isOfMode, isEndedBy, isToldByWatchdog, [LEASE, '(%s) is kept and obeyed after a restart']],
  },
  {
    rule: '`unattended_stop`: safe and sticky until `hub up` and then a strong heartbeat; the contact gets the final report',
    proofs: [
      isOfMode,
      isEndedBy,
      isToldByWatchdog,
      [LEASE, '(%s) is kept and obeyed after a restart'],
      ['watchdog/process.test.ts', 'T95, T97: an absence that nobody ends, over kill -9 at each step'],
      ['watchdog/contact-story.test.ts', 'S1-29: fifty hours of absence'],
    ],
  },
  {
    rule: '`away`, a condition of its own: safe and sticky until `hub back`, or its end and a strong heartbeat; the contact gets a short note',
    proofs: [
      isOfMode,
      isEndedBy,
      isToldByWatchdog,
      [LEASE, '(away) names the end of the absence'],
      ['watchdog/absence.test.ts', 'a strong heartbeat from the road does not end it, at its end it does'],
    ],
  },
  {
    rule: '`emergency_stop`: safe and sticky until `hub resume`, which a heartbeat is not; to the contact the page confirms it',
    proofs: [
      isOfMode,
      isEndedBy,
      isToldByWatchdog,
      [LEASE, '(emergency_stop) is sticky here'],
      [STOPS, 'T97: a stop by --emergency waits for no result'],
      ['scenarios/contact.test.ts', 'S1-31: the card stops everything by POST and once'],
    ],
  },
  {
    rule: '`operator_request` (`hub safe-mode`): safe and sticky until `hub resume`; the contact gets a short note, once in 6 h',
    proofs: [
      isOfMode,
      isTold,
      [MODES, 'safe mode asked for survives a restart and leases, and ends by resume alone'],
      [TOLD, 'a rest by the operator’s hand is one note in six hours'],
      ['watchdog/contact-letters.test.ts', 'the messages in %s, word for word'],
    ],
  },
  {
    rule: '`critical_alert`: safe and sticky until `hub resume --alert ID`; the contact is told',
    proofs: [
      isOfMode,
      isTold,
      ['scenarios/alerts.test.ts', 'a forged lease makes the hub safe until the operator ends that alert by its id'],
      ['scenarios/alerts.test.ts', 'holds over a restart'],
    ],
  },
  {
    rule: '`witness_mismatch`: safe and sticky at both until `hub resume --accept-head HASH`; the contact is told',
    proofs: [
      isOfMode,
      isEndedBy,
      isToldByWatchdog,
      [LEASE, '(witness_mismatch) is sticky here'],
      [
        'scenarios/accept-head.test.ts',
        'the very head that was shown is accepted although the log went on; no hash of another record is',
      ],
    ],
  },
  {
    rule: '`draining`: draining from the word to stop to the end of the shutdown; the contact is not told',
    proofs: [
      isOfMode,
      isTold,
      ['scenarios/shutdown.test.ts', 'who finishes in time succeeds, who does not is stopped'],
    ],
  },
  {
    rule: 'what is sticky is persisted before it takes effect, at the hub and at the watchdog; where it cannot be, it takes effect all the same',
    proofs: [
      [OF_HUB, 'is in the store before it takes effect'],
      [OF_HUB, 'takes effect though the store cannot be written'],
      [HELD, 'T97: a condition is on the disk before the lease that carries it'],
    ],
  },
  {
    rule: 'what is sticky survives restarts, reboots and every step of a clock, and its end counts only once that is on disk',
    proofs: [
      isEndedBy,
      [OF_HUB, 'ends only when its end is committed'],
      [OF_HUB, 'that cannot be ended in the store does not end'],
      [HELD, 'a heartbeat the disk did not take ends nothing'],
    ],
  },
  {
    rule: 'what is sticky is never ended by a webhook, an agent or the contact',
    proofs: [
      isEndedBy,
      [GATE, 'asks reach first: a wrong kind of principal'],
      ['house/pins.test.ts', 'of every operation, with audit kind, standing, reach and path'],
      ['scenarios/bearers.test.ts', 'does what its rights say: view reads, heartbeat with resume is strong'],
    ],
  },
  {
    rule: 'what sticks because of absence is the state of the watchdog, carried in each lease; the hub keeps the last demand and obeys it',
    proofs: [
      [LEASE, '(%s) is kept and obeyed after a restart'],
      [LEASE, 'is understood as the watchdog itself writes it'],
      [MODES, 'what the watchdog demands is obeyed over a restart until it demands otherwise'],
    ],
  },
  {
    rule: 'a heartbeat given straight to the watchdog ends the safe mode of the hub too',
    proofs: [
      [
        'watchdog/process.test.ts',
        'T95, T97: a passed deadline demands safe within a round, sticks over kill -9, and one',
      ],
      [MODES, 'what the watchdog demands is obeyed over a restart until it demands otherwise'],
    ],
  },
  {
    rule: '`hub init` writes the first heartbeat',
    proofs: [
      ['watchdog/process.test.ts', 'from init to exit: refuses without a state, leases with the first heartbeat'],
    ],
  },
]
