/** Incidents of other systems that the rules of safety answer, a row for each id; the threats stand in threats.ts. */
import type { Row } from './row.ts'
import { threats } from './threats.ts'

const JUDGE = 'watchdog/judge.test.ts'
const REAL = 'containers/stops.test.ts'
const NONCES = 'hub/guard/identity/nonces.test.ts'

const incidents: readonly Row[] = [
  {
    rule: 'X1 a stop returns only with what enforces it read back: no labelled container left, or what remains and non-zero',
    proofs: [
      [REAL, 'S0-15: by the hub'],
      [REAL, 'T88: with the hub hung it is not waited for'],
      [REAL, 'T87: with the hub dead the watchdog does it'],
      ['hub/client/cli/stop.test.ts', 'X1: asks the engine itself at the end'],
      ['scenarios/canary.test.ts', 'X1: a stop whose engine does not answer whether it made it says so'],
      ['hub/client/cli/stop.test.ts', 'names what is still there and ends with 1'],
    ],
  },
  {
    rule: 'X2 every stop has an outcome for each container, failed with the reason, alerted and tried again',
    proofs: [
      ['scenarios/shutdown.test.ts', 'X2: a container that the engine does not remove is reported as failed'],
      ['hub/work/dispatch/stubborn.test.ts', 'S1-67: a container that does not go'],
      ['scenarios/engine.test.ts', '%s that fails is tried again until the container is gone'],
    ],
  },
  {
    rule: 'X3 a full nonce store refuses and never puts out a live one; both ends of the window are exact',
    proofs: [
      [NONCES, 'is refused when the table is full, and none is ever put out for it (T15, X3)'],
      [NONCES, 'is kept to the last millisecond of its window'],
    ],
  },
  {
    rule: 'X4 what a predecessor left kills and alarms nobody within the grace',
    proofs: [['watchdog/predecessors.test.ts', 'X4: with a state and a ledger of a month ago']],
  },
  {
    rule: 'X5 a finding without its action is an alarm: each action disabled in turn',
    proofs: [
      ['watchdog/acting.test.ts', 'X5: %s: two rounds say nothing of it'],
      ['watchdog/acting.test.ts', 'X5: the table is walked whole'],
    ],
  },
  {
    rule: 'X6 queued is never lost, the engine beats memory, a process is its number and its home, zombies are dead',
    proofs: [
      ['scenarios/restart.test.ts', 'a %s session whose container is %s is to be: %s (X6)'],
      ['hub/client/cli/processes.test.ts', 'never takes a number in an old pid file for its own process'],
      ['hub/client/cli/process-identity.test.ts', 'X6: a process is known by its number and its home'],
    ],
  },
  {
    rule: 'X7 stored times are whole milliseconds; a text where an instant belongs is refused; no zone of the machine decides',
    proofs: [
      ['hub/store/database.test.ts', 'refuses a text where an instant belongs (X7)'],
      ['hub/client/cli/when.test.ts', '%s is %s: %s'],
      ['watchdog/zones.test.ts', 'X7: due times, quiet hours, words and --until'],
    ],
  },
  {
    rule: 'X8 SQLite is pinned above the damage, one process opens the file, restore never goes over a home',
    proofs: [
      ['hub/store/database.test.ts', 'refuses SQLite %s (X8)'],
      ['hub/store/database.test.ts', 'refuses a second opener of the same file by name'],
      ['house/apart.test.ts', 'X8: no source of the watchdog knows a database'],
      ['scenarios/backup.test.ts', 'X8: it never goes over a home, live or not'],
    ],
  },
  {
    rule: 'X9 every sweep covers all states, created included',
    proofs: [
      [JUDGE, 'T94, X9: a container in state %s without a session'],
      ['watchdog/engine.test.ts', 'the list asks for our label only, in every state'],
      ['scenarios/engine.test.ts', 'a labelled one that is %s goes once it is 60 s old'],
      ['containers/watchdog.test.ts', 'T90, T94: with the hub dead an orphan in state created'],
    ],
  },
  {
    rule: 'X10 silence on a question denies, and ends in a defined state with its reason',
    proofs: [['scenarios/ask.test.ts', 'silence never answers: a question ends as expired']],
  },
  {
    rule: 'X11 settling is not bound to the request: a client that leaves at any step changes no final state',
    proofs: [
      ['scenarios/disconnect.test.ts', 'X11: a client that disconnects'],
      ['scenarios/disconnect.test.ts', 'while a shutdown is under way does not end it'],
    ],
  },
  {
    rule: 'X12 the text of a command is no boundary, the container is',
    proofs: [
      ['containers/spy.test.ts', 'T51, T58, T59, T64: files, devices, programs'],
      ['images/lines.test.ts', 'a value stays inside its element of argv and is not read again'],
    ],
  },
  {
    rule: 'X13 the watchdog is enabled at boot on its own; without it nothing is dispatched, with it the hub goes on by itself',
    proofs: [
      ['scripts/systemd.test.ts', 'X13, S1-30: the watchdog is enabled on its own'],
      ['scenarios/modes.test.ts', 'without one nothing is taken and nothing is started'],
      ['hub/edge/doctor-units.test.ts', 'X13: a watchdog that is not enabled at boot is red'],
    ],
  },
  {
    rule: 'X14 size and head live outside the log: cut by one, by ten, whole, it fails beside the witness',
    proofs: [
      ['watchdog/witness.test.ts', 'T100: cut by one, by ten or whole'],
      ['hub/guard/audit.test.ts', 'whose tail was cut below a signed head fails the checkpoints'],
      ['scenarios/audit-export.test.ts', 'X14: a tail that was cut is found'],
    ],
  },
]

export const rows: readonly Row[] = [...threats, ...incidents]
