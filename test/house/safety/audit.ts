/** 8. Audit and its witness. */
import type { Row } from './row.ts'

const AUDIT = 'hub/guard/audit.test.ts'
const WISHES = 'scenarios/stop-wishes.test.ts'
const REFUSALS = 'hub/guard/refusals.test.ts'
const GATE = 'hub/guard/gate.test.ts'
const EXPORT = 'scenarios/audit-export.test.ts'
const MONTHS = 'hub/guard/audit-months.test.ts'
const LOOK = 'hub/store/look.test.ts'
const JUDGE = 'watchdog/judge.test.ts'
const STOPS = 'scenarios/stops.test.ts'

export const rows: readonly Row[] = [
  {
    rule: 'every decision, effect and refusal is one record',
    proofs: [
      [GATE, 'every effect has exactly one record, and its decision stands'],
      [GATE, 'as %s leaves exactly one record with the true reason, and no effect'],
      [GATE, 'has the effect before the record, and both in one transaction'],
    ],
  },
  {
    rule: 'refusals of an agent, device or token beyond ten of a kind and thirty in all within a minute are one record with their counts; the first of each kind and what is admitted never are',
    proofs: [
      [
        REFUSALS,
        'fault F2: denials beyond the first of a minute write neither record nor decision, and one record sums them',
      ],
      [REFUSALS, 'fault F2: an hour of refusals as fast as they come stays below 20 MiB, counted all'],
      [REFUSALS, 'T65: the first of a kind is a record of its own behind any flood of others'],
      [REFUSALS, 'T65: a sum names what reaches for secrets, artifacts and sessions first'],
      [REFUSALS, 'what is admitted is a record each time'],
      [REFUSALS, 'what the operator is refused is a record each time'],
      ['scenarios/refusals.test.ts', 'fault F2: what an agent is refused beyond the first few'],
    ],
  },
  {
    rule: 'a session that is refused on and on is stopped, its operator warned, and the mode stays',
    proofs: [['scenarios/refusals.test.ts', 'fault F2, T47: refused some hundred times a minute']],
  },
  {
    rule: 'a read leaves no record unless it discloses the content of work, and one that is refused does',
    proofs: [
      [GATE, 'leaves no record, unless it discloses the content of work'],
      [GATE, 'that is refused does'],
    ],
  },
  {
    rule: 'a record holds index, previous hash, instant, boot, principal, action, resource, decision, policy digest, payload hash, outcome',
    proofs: [
      [AUDIT, 'with another %s fails at that record'],
      [AUDIT, 'begins at zeros, links each record to the one before'],
      [EXPORT, 'an export holds every record and every signed head'],
    ],
  },
  {
    rule: 'a record never holds a payload, only its hash',
    proofs: [
      ['hub/edge/home-files.test.ts', 'tokens, keys and message bodies stand nowhere'],
      ['scenarios/contact.test.ts', 'the words stand nowhere: not in the log'],
    ],
  },
  {
    rule: 'no effect without a committed record',
    proofs: [
      [GATE, 'is never recorded as a refusal: nothing is committed'],
      [GATE, 'is nothing at all after a store error'],
      ['scenarios/disk-faults.test.ts', '$call $nth with errno $errno'],
    ],
  },
  {
    rule: 'exception: routing between open sessions while the store fails goes on, not durable, and is recorded in order afterwards',
    proofs: [
      ['scenarios/degraded.test.ts', 'two open sessions keep talking, nothing new starts, stop works'],
      ['scenarios/frames.test.ts', 'the store fails at the first of five frames: all are passed on once, not durable'],
      [AUDIT, 'writes buffered records in order and in one piece'],
    ],
  },
  {
    rule: 'exception: the buffer of it is bounded, and full it refuses messages but no stop',
    proofs: [
      [AUDIT, 'keeps half of the buffer from refusals, refuses the 10 001st record'],
      [AUDIT, 'is full at 8 MiB too'],
      ['scenarios/degraded.test.ts', 'when the buffer is full too, messages are refused and a stop is not'],
    ],
  },
  {
    rule: 'exception: the head of the buffer goes to the watchdog with each answer to a lease',
    proofs: [['scenarios/buffer-head.test.ts', 'D3: while the store fails the watchdog remembers what waits']],
  },
  {
    rule: 'exception: what waited and was lost is told by the watchdog, as `audit_lost`',
    proofs: [['scenarios/buffer-head.test.ts', 'S1-18, fault D1: what waited and was lost with a hub that was killed']],
  },
  {
    rule: 'a rewritten past is found by start, watchdog and looks, with the witness asked (fault F5)',
    proofs: [
      ['scenarios/rollback.test.ts', 'the whole log rewritten with its checkpoints left in place'],
      ['scenarios/rollback.test.ts', 'signed anew with the key of the hub it is whole by itself'],
      ['hub/guard/audit-months.test.ts', 'of a long one eight pages, however long'],
      ['scenarios/audit-start.test.ts', 'fault C28: a machine that sleeps through each night'],
    ],
  },
  {
    rule: 'exception: stopping is never refused for want of a record',
    proofs: [
      [GATE, 'goes on when the buffer is full too'],
      [GATE, 'goes on while the disk is full; its records wait'],
      [WISHES, 'each stop is recorded once'],
      ['scenarios/bearers.test.ts', 'I6: an app that may stop is heard on its first word while the store'],
    ],
  },
  {
    rule: 'the hash is over canonical bytes with a domain label',
    proofs: [
      ['hub/base/canonical.test.ts', 'covers its label, so that one kind never stands for another'],
      ['hub/protocol/audit-chain.test.ts', 'a record has this hash, byte for byte'],
    ],
  },
  {
    rule: 'the log is append-only by triggers',
    proofs: [[AUDIT, 'refuses to update or delete a record, and goes on']],
  },
  {
    rule: 'each month has a table of its own; ended, it becomes a signed file, read back twice, before the whole table is dropped',
    proofs: [
      [MONTHS, 'has a table of its own, made by its first record; the chain goes on'],
      ['scenarios/audit-months.test.ts', 'leaves the database with a record, and never while an export is under way'],
      [MONTHS, 'is a signed file that zcat shows; its table is dropped whole'],
      [MONTHS, 'leaves the table where its file is not whole, whatever byte of it was changed'],
      [MONTHS, 'is made again after a crash at any of its writes'],
      [MONTHS, 'is not written over by another lineage of the log'],
      [MONTHS, 'is read on in its file by a walk and an export that were under way when its table was dropped'],
    ],
  },
  {
    rule: 'decisions go with the sealed month of the last record that names them, but for the newest bundle',
    proofs: [[MONTHS, 'takes along the decisions last named in it, and those that go on being named stay']],
  },
  {
    rule: 'a start checks the newest signed head and what follows it, the rest right after it, in turns',
    proofs: [
      [MONTHS, 'is the newest signed head and what follows it, however long the log'],
      [MONTHS, 'a walk lets others in after every 250 records'],
      [
        'scenarios/audit-start.test.ts',
        'a tail that was cut below the newest signed head is found before anything begins',
      ],
      ['scenarios/audit-start.test.ts', 'a record changed long ago is found right after the start'],
      [LOOK, 'every row that grows with history is looked at, a hundred a turn'],
      [LOOK, 'a start of a large file looks at what is bounded alone'],
      ['hub/assembly/upgrade.test.ts', '`hub up` counts from the last word of progress'],
      ['hub/assembly/upgrade.test.ts', 'a database of an earlier hub is copied in turns, each told'],
    ],
  },
  {
    rule: 'a record that was edited, deleted, inserted or moved is named',
    proofs: [
      [AUDIT, 'names the record that was edited'],
      [AUDIT, 'names the record that was deleted'],
      [AUDIT, 'names the record that was inserted'],
      [AUDIT, 'names the first of two that were swapped'],
      ['containers/survey.test.ts', 'the audit chain fails when one byte of one record is changed'],
    ],
  },
  {
    rule: 'a signed head every 2 s of activity, and none without',
    proofs: [
      ['scenarios/checkpoints.test.ts', 'two seconds of activity are signed, two of rest are not'],
      [AUDIT, 'are taken only when the head moved, link to each other and verify'],
    ],
  },
  {
    rule: 'a signed head at shutdown',
    proofs: [[STOPS, 'the signed head reaches the watchdog before the hub is gone, however it ends (T100)']],
  },
  {
    rule: 'the key of the signed heads is one that the message path does not use',
    proofs: [
      [AUDIT, 'signed by another key are refused'],
      ['scenarios/checkpoints.test.ts', 'the key of the signed heads signs no token, and is not rotated with theirs'],
    ],
  },
  {
    rule: 'the watchdog is the witness: a log that was cut or rewritten along with its hashes fails beside it',
    proofs: [
      [AUDIT, 'whose tail was cut below a signed head fails the checkpoints'],
      [AUDIT, 'that was rewritten with valid hashes fails the checkpoints'],
      [JUDGE, 'T100: a linked, longer row is remembered'],
      ['watchdog/witness.test.ts', 'T100: cut by one, by ten or whole'],
    ],
  },
  {
    rule: 'the head is in alert mails',
    proofs: [
      ['hub/guard/alerts/channels.test.ts', 'with the head of the audit log in it'],
      ['hub/guard/alerts/delivery.test.ts', 'names weekday, date, local time with zone and distance, and the head'],
    ],
  },
  {
    rule: 'the head is in `hub status`',
    proofs: [['hub/client/cli/status-head.test.ts', 'status shows how long the audit log is, and its head']],
  },
  {
    rule: '`hub audit export` writes every record and every signed head as JSON lines',
    proofs: [[EXPORT, 'an export holds every record and every signed head, private to its owner']],
  },
  {
    rule: '`hub audit verify --file` judges an export without the hub: changes, gaps, additions, moves, foreign signatures',
    proofs: [
      [EXPORT, 'is whole on a machine without a hub'],
      [EXPORT, 'T83: a record that was changed, taken out, put in, moved or given another field'],
      [EXPORT, 'a signed head that was changed, taken out, moved or made with another key'],
      [EXPORT, 'what is no export is refused by name'],
    ],
  },
  {
    rule: 'stated limit: root rewrites hub and witness together; a head kept elsewhere reveals it',
    proofs: [
      [EXPORT, 'X14: a tail that was cut is found, with a header that was changed along by the head kept elsewhere'],
    ],
  },
  {
    rule: 'the whole log is looked through once a night, a page a turn',
    proofs: [
      ['scenarios/nightly.test.ts', 'more than a thousand records are looked through a page a turn'],
      ['scenarios/nightly.test.ts', '%s is found, told as critical'],
    ],
  },
]
