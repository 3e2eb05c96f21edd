/** 1. Modes: what each lets through, and how a change is told. */
import type { Row } from './row.ts'

const OF_HUB = 'hub/guard/modes.test.ts'
const TABLE = 'hub/guard/mode-table.test.ts'
const DEGRADED = 'scenarios/degraded.test.ts'
const MODES = 'scenarios/modes.test.ts'
const WATCH = 'hub/guard/alerts/mode-watch.test.ts'
const GATE = 'hub/guard/gate.test.ts'
const STOPS = 'scenarios/stops.test.ts'
const inEveryMode = [TABLE, '%s, in every mode'] as const
const onlyInNormal = [TABLE, '%s, only in normal'] as const

export const rows: readonly Row[] = [
  {
    rule: '`new_work` (submit, dispatch, provision, retry, release, a service): in normal alone',
    proofs: [onlyInNormal, [OF_HUB, '%s in %s: %s']],
  },
  {
    rule: '`child_work` (delegate): taken in every mode but draining, started in normal alone',
    proofs: [
      [TABLE, '%s, but not while draining'],
      [DEGRADED, 'a crash restart, a queued task and a delegation wait while degraded'],
      ['hub/client/agent.test.ts', 'waits with a delegation that the hub cannot write down now'],
    ],
  },
  {
    rule: 'new work that is there already (queued, a restart, a service, a delegation) waits while degraded or safe and goes on by itself',
    proofs: [
      [
        MODES,
        'when it lapses: submitting is refused, queued stays queued, running completes, and the next one lets it go on',
      ],
      [MODES, 'while it is lapsed a crashed agent is not restarted'],
      [DEGRADED, 'a crash restart, a queued task and a delegation wait while degraded'],
      ['scenarios/services.test.ts', 'not while the hub is safe; as soon as it is normal'],
    ],
  },
  {
    rule: 'running containers go on to completion or to their time to live while degraded or safe',
    proofs: [
      [MODES, 'when it lapses: submitting is refused, queued stays queued, running completes'],
      ['scenarios/engine.test.ts', 'while it is away, what runs is served and hands in its result'],
      ['scenarios/backlog.test.ts', 'what was queued is held: none starts'],
    ],
  },
  {
    rule: 'running containers are told to finish, then stopped, while draining',
    proofs: [
      ['scenarios/shutdown.test.ts', 'who finishes in time succeeds, who does not is stopped, who will not is killed'],
    ],
  },
  {
    rule: '`own`, the verbs of a session, and routing between open sessions: in every mode, while draining until inboxes close',
    proofs: [
      inEveryMode,
      [DEGRADED, 'two open sessions keep talking, nothing new starts'],
      [STOPS, 'inboxes are closed once everybody was told to finish'],
    ],
  },
  {
    rule: '`mending` (suspend, reload, reset, resume, rotate, the card, doctor, backup): in every mode',
    proofs: [inEveryMode, [OF_HUB, '%s in %s: %s']],
  },
  {
    rule: 'while the store cannot be written a revocation (token, device, session) counts at once, in memory, and a stop with it',
    proofs: [
      ['hub/guard/identity/deny-list.test.ts', 'is denied also while the database cannot be written'],
      ['hub/edge/hook.test.ts', 'is revoked also while the store cannot be written'],
      ['scenarios/revocations.test.ts', 'I6, S1-45: a session is revoked while the store cannot be written'],
    ],
  },
  {
    rule: 'a revocation of the card counts at the watchdog too, whichever of the two heard of it',
    proofs: [['scenarios/contact.test.ts', 'what the watchdog could not be told it is told later']],
  },
  {
    rule: '`approve` (a yes to a question, a new device or token): in normal alone; a no in every mode',
    proofs: [
      onlyInNormal,
      ['scenarios/ask.test.ts', 'a yes widens what runs and is refused while the hub is %s; a no is taken'],
      [TABLE, 'a request that only restricts, in every mode'],
    ],
  },
  {
    rule: '`presence`, `stop`, `read` (heartbeat, stop, shutdown, reads, audit verify): in every mode',
    proofs: [inEveryMode, [GATE, 'is permitted in every mode and asks no policy']],
  },
  {
    rule: '`record`, what the engine or a clock has done already, is written down in every mode',
    proofs: [inEveryMode],
  },
  {
    rule: 'what a mode permits is one table, asked by name',
    proofs: [
      [TABLE, 'no operation stands in the table twice'],
      ['house/safety.test.ts', 'nobody decides by comparing a mode'],
    ],
  },
  {
    rule: 'entering any mode but normal alerts the operator once, leaving it once',
    proofs: [
      [WATCH, 'tells of degraded and of normal again, once each'],
      [WATCH, 'does not tell the same mode again after a restart'],
    ],
  },
  {
    rule: 'changes of the mode are held down 60 s, and more than 3 an hour become one alert; by hand they are no flapping',
    proofs: [
      [WATCH, '%s (S1-19)'],
      [WATCH, 'hears changes between two looks'],
      [WATCH, 'by hand is told, and is no flapping'],
    ],
  },
  {
    rule: 'stop always works: in every mode, with a full disk, a failing audit log, a hub that hangs',
    proofs: [
      [GATE, 'is permitted in every mode and asks no policy'],
      [GATE, 'goes on while the disk is full; its records wait'],
      [GATE, 'goes on when the buffer is full too'],
      ['scenarios/disk-faults.test.ts', 'the shutdown and its record are written from the ballast'],
      ['containers/stops.test.ts', 'T88: with the hub hung it is not waited for'],
    ],
  },
]
