/** 5. Ways to stop: each way by its five cells. What every stop has in common stands in stops-shared.ts. */
import type { Row } from './row.ts'
import { sharedRows } from './stops-shared.ts'

export const WAYS = [
  'hub restart',
  'SIGTERM, systemctl stop',
  'hub down',
  'hub shutdown',
  "the contact's stop, --emergency",
  'unattended stop',
  'a crash, a power cut',
] as const
export const CELLS = ['containers', 'tasks', 'watchdog', 'clock', 'next boot'] as const
type Cell = readonly [word: string, proofs: Row['proofs']]

const STOPS = 'scenarios/stops.test.ts'
const SHUTDOWN = 'scenarios/shutdown.test.ts'
const REAL = 'containers/stops.test.ts'
const SYSTEMD = 'scripts/systemd.test.ts'
const SIGNALS = 'scenarios/signals.test.ts'
const SIGNAL = 'S0-15: a signal is as `hub restart`'
const STORY = 'watchdog/story.test.ts'
const CLOCK: Row['proofs'] = [['watchdog/presence-clock.test.ts', 'S1-30: after %s the clock of presence']]
const DRAINED: Row['proofs'] = [
  [SHUTDOWN, 'who finishes in time succeeds, who does not is stopped'],
  ['scenarios/stop-order.test.ts', 'S0-15: told to the watchdog'],
]
const HELD: Row['proofs'] = [
  [STOPS, '(%s) holds what only waited too'],
  [SHUTDOWN, 'who finishes in time succeeds, who does not is stopped'],
]

export const TABLE: Readonly<Record<(typeof WAYS)[number], Readonly<Record<(typeof CELLS)[number], Cell>>>> = {
  'hub restart': {
    containers: ['are kept', [[SHUTDOWN, 'restart leaves the containers']]],
    tasks: [
      'are re-adopted, and none is held',
      [
        [SHUTDOWN, 'restart leaves the containers'],
        [STOPS, 'restart holds nothing'],
        ['scenarios/restart.test.ts', 'what runs is taken over on its socket and finishes'],
      ],
    ],
    watchdog: [
      'is told, silent for 5 min and not ended',
      [
        ['hub/client/cli/stop-order.test.ts', '`hub restart` announces a restart'],
        ['watchdog/judge.test.ts', 'an announced restart is silent for 5 min and then a finding'],
        ['hub/client/cli/processes.test.ts', 'makes the hub anew and leaves the watchdog as it is'],
      ],
    ],
    clock: ['runs', CLOCK],
    'next boot': [
      'starts',
      [
        ['hub/client/cli/processes.test.ts', 'makes the hub anew'],
        [SYSTEMD, 'X13, S1-30'],
      ],
    ],
  },
  'SIGTERM, systemctl stop': {
    containers: ['are kept, as by `hub restart`: an upgrade sends the same', [[SHUTDOWN, SIGNAL]]],
    tasks: ['are re-adopted, and none is held', [[SHUTDOWN, SIGNAL]]],
    watchdog: [
      'is told by the hub, silent for 5 min and not ended; a signal of its own ends it alone',
      [
        [SHUTDOWN, SIGNAL],
        [SIGNALS, 'SIGTERM to the hub is as `hub restart`'],
        [SIGNALS, 'SIGTERM to the watchdog ends it with 0'],
      ],
    ],
    clock: [
      'runs, whichever of the two it was sent to',
      [
        ...CLOCK,
        [SIGNALS, 'SIGTERM to the hub is as `hub restart`'],
        [SIGNALS, 'SIGTERM to the watchdog ends it with 0'],
      ],
    ],
    'next boot': [
      'starts',
      [
        [SIGNALS, 'SIGTERM to the hub is as `hub restart`'],
        [SIGNALS, 'SIGTERM to the watchdog ends it with 0'],
        [SYSTEMD, 'X13, S1-30'],
      ],
    ],
  },
  'hub down': {
    containers: ['are drained for 15 s', [...DRAINED, [REAL, 'hub down: both ended']]],
    tasks: ['are held', HELD],
    watchdog: [
      'stops last',
      [['hub/client/cli/stop-order.test.ts', '`hub down` tells the watchdog first and ends it']],
    ],
    clock: [
      'is paused, and nobody is alarmed days later',
      [...CLOCK, ['watchdog/process.test.ts', '`hub down`: announced, hub gone, exit']],
    ],
    'next boot': [
      'stays down',
      [
        [REAL, 'hub down: both ended'],
        [SYSTEMD, 'X13, S1-30'],
      ],
    ],
  },
  'hub shutdown': {
    containers: [
      'are drained for 15 s, with --drain to their time to live',
      [...DRAINED, ['containers/stop-drain.test.ts', 'S0-15: --drain waits to the TTL']],
    ],
    tasks: ['are held', [...HELD, ['containers/stop-drain.test.ts', 'S0-15: --drain waits to the TTL']]],
    watchdog: ['runs, and was told', [[REAL, 'S0-15: by the hub']]],
    clock: ['is paused', [...CLOCK, [REAL, 'S0-15: by the hub']]],
    'next boot': [
      'is down until `hub up`',
      [
        [REAL, 'S0-15: by the hub'],
        [SYSTEMD, 'X13, S1-30'],
        ['hub/client/cli/processes.test.ts', 'takes away what kept them down'],
      ],
    ],
  },
  "the contact's stop, --emergency": {
    containers: [
      'are stopped at once, without waiting for results',
      [
        [STOPS, 'T97: a stop by --emergency waits for no result'],
        ['scenarios/contact.test.ts', 'S1-31: the card stops everything by POST and once'],
      ],
    ],
    tasks: ['are held, repeatable or not', [[STOPS, 'T97: a stop by --emergency waits for no result']]],
    watchdog: [
      'runs, holds emergency_stop and removes what appears',
      [[STORY, 'T97: what the contact or --emergency stopped is in every lease']],
    ],
    clock: ['is paused, though the hub answers reads', CLOCK],
    'next boot': [
      'answers reads, and emergency_stop holds until `hub resume`',
      [
        ['scenarios/contact.test.ts', 'S1-31: the stop holds over a restart, answers reads'],
        [STOPS, 'T97: a stop by --emergency waits for no result'],
        [REAL, 'by the hub with --emergency: the process ends with a code of its own'],
      ],
    ],
  },
  'unattended stop': {
    containers: [
      'are stopped',
      [
        [STORY, 'T95: fifty hours without the operator'],
        ['watchdog/process.test.ts', 'T95, T97: an absence that nobody ends'],
      ],
    ],
    tasks: ['are held', [[STOPS, '%s: what was at work and what waited comes back held']]],
    watchdog: [
      'runs, for orphans and times to live alone',
      [['watchdog/presence-clock.test.ts', 'S1-30: after the unattended stop no deadline runs']],
    ],
    clock: [
      'is paused: no deadline runs until `hub up` and a heartbeat',
      [['watchdog/timeline.test.ts', 'S1-30, T97: after the stop a heartbeat alone ends the missed one']],
    ],
    'next boot': [
      'answers reads, and unattended_stop holds',
      [
        ['scenarios/stops.test.ts', 'S1-30: a hub that starts after the unattended stop'],
        ['watchdog/conditions.test.ts', 'S1-30, T97: killed in the midst of the stop'],
        [SYSTEMD, 'X13, S1-30'],
      ],
    ],
  },
  'a crash, a power cut': {
    containers: [
      'run to their time to live',
      [
        ['containers/survivors.test.ts', 'of %s: what ended meanwhile is collected'],
        ['containers/survivors.test.ts', 'the shim: hub and watchdog are dead'],
      ],
    ],
    tasks: [
      'are recovered',
      [
        ['containers/survivors.test.ts', 'of %s: what ended meanwhile is collected'],
        ['scenarios/restart.test.ts', 'after a reboot what ran is interrupted, not crashed'],
      ],
    ],
    watchdog: ['starts at boot', [[SYSTEMD, 'X13, S1-30']]],
    clock: ['runs', [...CLOCK, ['watchdog/judge.test.ts', 'T95: reboots every hour']]],
    'next boot': [
      'starts, and waits for a lease',
      [
        [SYSTEMD, 'X13, S1-30'],
        ['scenarios/modes.test.ts', 'without one nothing is taken and nothing is started'],
        ['hub/guard/lease.test.ts', 'is what the hub waits for after its start'],
      ],
    ],
  },
}

const cells: readonly Row[] = WAYS.flatMap((way) =>
  CELLS.map((cell) => {
    const [word, proofs] = TABLE[way][cell]
    return { rule: `${way}, ${cell}: ${word}`, proofs }
  }),
)

export const rows: readonly Row[] = [...cells, ...sharedRows]
