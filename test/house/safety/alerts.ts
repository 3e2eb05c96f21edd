/** 7. Alerts. */
import type { Row } from './row.ts'

const ALERTS = 'hub/guard/alerts/alerts.test.ts'
const DELIVERY = 'hub/guard/alerts/delivery.test.ts'
const CHANNELS = 'hub/guard/alerts/channels.test.ts'
const MODES = 'hub/guard/alerts/mode-watch.test.ts'
const HUB = 'scenarios/alerts.test.ts'
const STORY = 'watchdog/contact-story.test.ts'
const OURS = 'watchdog/delivery.test.ts'
const POSTS = 'watchdog/channels.test.ts'
const PROCESS = 'watchdog/alert-process.test.ts'
const OUTWARD = 'hub/guard/outward.test.ts'

/**
 * The closed list of what may be critical, by kind of cause: the rule's words, the hub's causes, the watchdog's findings. A finding of a
 * container that stays is critical at its second level. `safety-complete.test.ts` holds it against both.
 */
export const CRITICAL: readonly (readonly [word: string, hub: readonly string[], watchdog: readonly string[]])[] = [
  ['the audit chain is broken', ['audit_chain_broken'], []],
  ['the database is damaged', ['database_damaged'], []],
  ['the witness mismatches', ['witness_mismatch'], ['witness_mismatch']],
  ['the profile mismatches after the start', ['profile_mismatch'], []],
  // A hub that does not obey is a stop that nothing confirms.
  ['a kill is not confirmed in 3 rounds', ['kill_unconfirmed'], ['stop_unconfirmed', 'safe_not_obeyed', 'FAULT']],
  // On the list, and raised by nobody: a session has no way out of its container (hub/README.md).
  ['a secret is seen leaving', ['secret_leaving'], []],
  ['a lease, or the answer to one, is forged', ['lease_forged'], ['hub_forged']],
  ['an unknown labelled container returns', ['container_returned'], ['orphan_returns']],
  // What runs is in nobody's hands but the watchdog's then (fault A3).
  ['the engine speaks no API version that is known', ['engine_unsupported'], ['engine_unsupported']],
]

export const rows: readonly Row[] = [
  {
    rule: 'a row first, delivery later: a hub killed between the two tells it after its restart, under the same id',
    proofs: [
      [HUB, 'a hub killed between the row and the delivery tells it after its restart'],
      [OURS, 'kill -9 between raising and delivering'],
    ],
  },
  {
    rule: 'raised once per cause and deduplicated, in the hub and in the watchdog, over kill -9',
    proofs: [
      [ALERTS, 'is raised once while it is open, and resolved once (S1-34)'],
      ['watchdog/once.test.ts', 'X5: faults that come and go for 120 rounds'],
    ],
  },
  {
    rule: 'told again when it grows worse, and not when it grows better',
    proofs: [[ALERTS, 'is told again when its severity rises, and not when it falls']],
  },
  {
    rule: 'retried with back-off, each channel by itself',
    proofs: [
      [DELIVERY, 'is tried with growing pauses; after three failures the other says so'],
      [OURS, 'T98: a refusing channel is asked after 5, 20, 80 s and then every 5 min'],
    ],
  },
  {
    rule: 'given up loudly: another channel says so',
    proofs: [
      [DELIVERY, 'for a night loses nothing: a warning waits 24 h'],
      [DELIVERY, 'is tried with growing pauses; after three failures the other says so'],
      [OURS, 'T98: a loss is a finding until that channel takes a letter'],
    ],
  },
  {
    rule: 'a resolved always follows, once',
    proofs: [
      [DELIVERY, 'reaches every channel once, under an id of its own, and its end follows once'],
      ['watchdog/once.test.ts', 'X5: faults that come and go for 120 rounds'],
    ],
  },
  {
    rule: 'info stands in the report alone',
    proofs: [[DELIVERY, 'of severity info is told nobody, and stands in the list']],
  },
  {
    rule: 'a warning goes by e-mail at once, by push after quiet hours',
    proofs: [
      [DELIVERY, 'let a warning by push wait for their end and nothing else'],
      [OURS, 'what waits for quiet hours goes at their end, critical at once'],
    ],
  },
  {
    rule: 'critical goes by push at once, and the contact is told, by night too',
    proofs: [
      ['watchdog/quiet.test.ts', 'loud channels wait for their end, never for what is critical'],
      [DELIVERY, 'let a warning by push wait for their end and nothing else'],
      [STORY, 'a critical alert does, at once and by night'],
      [STORY, 'a critical alert by which the hub holds safe mode is told to Carl through the watchdog'],
    ],
  },
  {
    rule: 'critical is a closed list: whatever else asks for it is a warning',
    proofs: [
      [ALERTS, 'is one of a closed list: what an agent can provoke is a warning at most'],
      ['house/safety-complete.test.ts', 'what hub and watchdog call critical is the closed list'],
    ],
  },
  {
    rule: 'critical: a broken audit chain',
    proofs: [
      [MODES, 'tells of a forged lease, a broken chain and a mismatch of the witness as critical'],
      [HUB, 'a record that was changed is found by `audit verify`'],
      ['scenarios/nightly.test.ts', '%s is found, told as critical'],
    ],
  },
  {
    rule: 'critical: a mismatch of the witness',
    proofs: [
      [MODES, 'tells of a forged lease, a broken chain and a mismatch of the witness as critical'],
      ['watchdog/judge.test.ts', 'T100: a linked, longer row is remembered'],
    ],
  },
  {
    rule: 'critical: a profile that mismatches after the start',
    proofs: [[HUB, 'a container that is changed while it runs ends its session']],
  },
  {
    rule: 'critical: a kill that is not confirmed in 3 rounds where the engine answers, unless nothing of it runs any more',
    proofs: [
      ['hub/work/dispatch/stubborn.test.ts', 'S1-67: a container that does not go'],
      ['watchdog/judge.test.ts', 'a finding acted on in vain is louder at the third round after, and critical'],
    ],
  },
  {
    rule: 'critical: a forged lease',
    proofs: [
      [HUB, 'a forged lease makes the hub safe until the operator ends that alert'],
      ['watchdog/judge.test.ts', 'T92: a forged answer is a miss and a critical finding at once'],
    ],
  },
  {
    rule: 'critical: an unknown labelled container that returns',
    proofs: [['watchdog/acting.test.ts', 'one that comes back twice within the hour is critical']],
  },
  {
    rule: 'a bad token, a second join, a flood or a denial is contained and a warning at most: no agent stops the hub or wakes the contact',
    proofs: [
      [HUB, 'a second key on its socket is contained and a warning, however often'],
      [HUB, 'bad tokens, a flood and refusals are contained: no alert is more than a warning'],
      [HUB, 'ending without a result as often as its card allows is a warning'],
      [STORY, 'what an agent or a fault of the machine causes never reaches Carl'],
    ],
  },
  {
    rule: 'channels: e-mail by a real SMTP conversation, in both',
    proofs: [
      [CHANNELS, 'arrives through a real SMTP conversation'],
      [POSTS, 'a letter arrives through a real SMTP conversation'],
    ],
  },
  {
    rule: 'channels: webhook, signed by HMAC over id, time and body, in both',
    proofs: [
      [CHANNELS, "brings Alertmanager's shape under CloudEvents headers, signed"],
      [POSTS, 'the webhook carries the shape of Alertmanager 4 and a signature'],
    ],
  },
  {
    rule: 'channels: webhook and push are guarded against reaching inside, in both',
    proofs: [
      ['watchdog/address.test.ts', 'T37: %s reaches nothing'],
      ['watchdog/address.test.ts', 'T37: the name is resolved once'],
      [CHANNELS, 'to this machine is refused unless that host and port are listed as local (T37)'],
      [OUTWARD, '%j is refused, on the allow-list or not, and nothing is heard'],
      [OUTWARD, 'is resolved once: what it means a moment later is not asked (rebinding)'],
    ],
  },
  {
    rule: 'channels: push as ntfy reads it, in both',
    proofs: [
      [CHANNELS, 'is what ntfy takes'],
      [POSTS, 'a push has title, priority and tags as ntfy reads them'],
    ],
  },
  {
    rule: 'channels: a command without a shell, ended with its children at its deadline, in both',
    proofs: [
      [CHANNELS, 'gets its words as they are, the letter on its input'],
      [CHANNELS, 'that does not end is ended at its deadline'],
      [POSTS, 'a command gets its words without a shell'],
    ],
  },
  {
    rule: 'channels: a file that is bounded, in both',
    proofs: [
      [CHANNELS, 'gets a line of JSON for each event, and is put aside at its size'],
      ['watchdog/alert-file.test.ts', 'the alert file is moved aside at its size'],
    ],
  },
  {
    rule: 'without any channel doctor is red, and the start says so',
    proofs: [
      ['hub/edge/watchdog-checks.test.ts', 'no channel is red'],
      [HUB, 'nothing configured is said at the start and by the doctor'],
      [PROCESS, 'with no channel but the file the start says so loudly'],
    ],
  },
  {
    rule: '`hub alert test` proves each channel of both by itself',
    proofs: [
      [HUB, '`alert test` says of each what it answered'],
      [PROCESS, 'alert-test proves mail, webhook, push and command of a real process'],
      ['hub/client/cli/alerts.test.ts', 'prints what each channel answered, of hub and watchdog'],
    ],
  },
  {
    rule: 'hub and watchdog each have channels and an outbox of their own',
    proofs: [
      [PROCESS, 'S1-34, X5: an alert raised while its channel refuses survives kill -9'],
      [DELIVERY, 'survives a restart: what was not told is told then'],
    ],
  },
  {
    rule: 'header values are stripped of control characters and recipients are fixed, in both',
    proofs: [
      [CHANNELS, 'takes nothing of a cause or text into envelope or headers (T38)'],
      [CHANNELS, 'has recipients that are one plain address each, from the configuration alone'],
      [POSTS, 'a letter arrives through a real SMTP conversation, and its subject cannot add a header or a recipient'],
      [POSTS, 'a subject cannot add a header, and the token comes from its variable'],
    ],
  },
  {
    rule: 'text of agents stands in bodies only, and everything is redacted before it is stored',
    proofs: [
      [ALERTS, 'holds no secret, no control character and not more than 4 000 characters (T38)'],
      [CHANNELS, 'takes nothing of a cause or text into envelope or headers (T38)'],
    ],
  },
  {
    rule: 'every message to a person names weekday, date, local time with zone and the distance',
    proofs: [
      [DELIVERY, 'names weekday, date, local time with zone and distance, and the head of the audit log'],
      ['watchdog/contact-letters.test.ts', 'what asks for something says why it came'],
      ['watchdog/letters.test.ts', 'a letter to the operator names weekday, date, local time with zone'],
    ],
  },
  {
    rule: 'stopping is never delayed by a channel that hangs',
    proofs: [
      [PROCESS, 'T98: with a mail server that hangs, rounds go on'],
      [DELIVERY, 'that hangs delays neither another channel nor the end of the hub (T98)'],
      [OURS, 'T98: a channel that hangs for ever delays neither the caller nor another channel'],
    ],
  },
]
