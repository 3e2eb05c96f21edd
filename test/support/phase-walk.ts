/** The phases of a hub's life, how each is entered with agents at work, and what must hold in it whoever is killed, stopped, starved or cut. */

import { ACTS, type Act, type Lift, type Target } from './phase-acts.ts'
import { MISSED, type PhaseHome, UNATTENDED } from './phase-home.ts'
import type { TrialHome } from './trial-home.ts'

/** What a phase was entered with. */
export interface Scene {
  target: Target
  /** Told to run until somebody ends it; its container, and how many it took on a busy machine. */
  steady?: { task: string; container: string; runs: number }
  /** Deaf, and over in a few seconds: what must not outlive its time. */
  short?: string
  /** A task that must not start while nothing may. */
  waiting?: string
  /** One that is being started, and ends by itself. */
  third?: string
  lift?: Lift
}
export interface Phase {
  name: 'starting' | 'working' | 'safe' | 'lapsed' | 'stopping' | 'unattended' | 'emergency'
  how: string
  enter: (home: PhaseHome, act: Act) => Promise<Scene>
  /** Findings of the phase itself. */
  may: readonly string[]
  /** An absence that was announced, or the silence after the stop: that the hub is away is no news. */
  silent?: true
  /** What holds it; the hub says so wherever it can be asked. */
  condition?: 'heartbeat_missed' | 'lease_lapsed' | 'unattended_stop' | 'emergency_stop'
}

const SHORT_MS = 15_000
/** Where a phase has to be entered first, which takes a busy machine a while. */
const LATER_MS = 20_000
const runsOf = ({ witness }: TrialHome, task: string) => witness.runs.filter((run) => run.task === task)
const paramsOf = ({ act }: Act, ms: number) => (act === 'burn' ? { what: 'spin', threads: 4, ms } : { what: 'sleep' })

/** A machine so busy that the engine is late for a moment is no part of the trial. */
const submitted = (trial: TrialHome, ...task: Parameters<TrialHome['submit']>) =>
  trial.until(
    'the task is taken',
    () => trial.submit(...task),
    (id) => id !== '',
  )

/** One agent at work; `beside` is another that hears nothing, for so long or until it is removed. */
async function place({ trial }: PhaseHome, act: Act, beside?: 'short' | 'later' | 'deaf'): Promise<Scene> {
  const ttl = beside === 'deaf' ? {} : { ttlMs: beside === 'later' ? LATER_MS : SHORT_MS }
  const deaf = beside && (await submitted(trial, 'trial-child', { what: 'hang' }, ttl))
  const task = await submitted(trial, 'trial', paramsOf(act, 120_000))
  const open = await trial.until(
    'agents at work',
    trial.sessions,
    (sessions) =>
      sessions.some((each) => each.task === task && each.state === 'working') &&
      (deaf === undefined || runsOf(trial, deaf).length > 0),
  )
  const mine = open.find((each) => each.task === task)
  const target = { container: String(mine?.containerId), session: String(mine?.id) }
  return {
    target,
    steady: { task, container: target.container, runs: runsOf(trial, task).length },
    ...(beside === undefined || beside === 'deaf' ? {} : { short: String(deaf) }),
  }
}

const holding = (home: PhaseHome, name: string) =>
  home.trial.until(name, home.conditions, (names) => names.includes(name))

/** A machine so busy that the slot was free before the phase was entered has nothing to show with this task. */
async function stillWaiting({ trial }: PhaseHome, waiting: string): Promise<{ waiting?: string }> {
  return (await trial.task(waiting)).attempts === 0 ? { waiting } : {}
}

/**
 * The hub shows a lease a moment before the watchdog has heard the answer to it; with the next one it has. Until it has heard the hub once, a
 * watchdog that was just started takes its silence for a start, and counts no misses (watchdog/judge/judge.ts).
 */
async function leasedAgain({ trial }: PhaseHome): Promise<void> {
  let before = Number.POSITIVE_INFINITY
  await trial.until(
    'a second lease',
    async () => (await trial.mode()).lease?.remainingMs ?? 0,
    (left) => {
      const isNew = left > before
      before = left
      return isNew
    },
  )
}

/** The hub has ended; it is started again as a service manager would, and answers reads. */
async function stopped(home: PhaseHome, act: Act, name: 'unattended_stop' | 'emergency_stop'): Promise<Scene> {
  const { trial } = home
  await trial.until(
    'all is stopped',
    async () => trial.isUp('hub'),
    (up) => !up,
  )
  await trial.empty()
  await trial.start('hub')
  await holding(home, name)
  // The end of the hub was announced: until the watchdog has heard the new one its silence is no finding.
  await trial.until('a first lease', home.conditions, (names) => !names.includes('lease_pending'))
  if (act.victim !== 'agent') return { target: { container: '', session: '' } }
  // Time for the act, before the watchdog sees it.
  home.lines.watchdog.spoil('list', { kind: 'slow', ms: 2_500 }, 2)
  return { target: { container: await home.stray(), session: '' } }
}

export const PHASES: readonly Phase[] = [
  {
    name: 'starting',
    how: 'one agent at work, a second being started',
    may: [],
    async enter(home, act) {
      const { trial, lines } = home
      const scene = await place(home, act)
      const isOnAgent = act.victim === 'agent' || act.victim === 'agent-hub'
      if (!isOnAgent) lines.hub.spoil('create', { kind: 'slow', ms: 4_000 }, 1)
      const from = lines.hub.calls.length
      // What an act is done to is still there when it is.
      const work = { what: 'work', ms: isOnAgent ? 10_000 : 500, laterMs: 500 }
      const third = await trial.submit('trial', act.act === 'burn' ? paramsOf(act, 3_000) : work)
      if (!isOnAgent) {
        const creating = async () =>
          lines.hub.calls.slice(from).some(({ verb, status }) => verb === 'create' && status === undefined)
        await trial.until('a container is being created', creating, Boolean)
        return { ...scene, third }
      }
      const [run] = await trial.until(
        'a container has started',
        async () => runsOf(trial, third),
        (runs) => runs.length > 0,
      )
      return { ...scene, third, target: { container: String(run?.container), session: String(run?.session) } }
    },
  },
  { name: 'working', how: 'agents at work', may: [], enter: (home, act) => place(home, act, 'short') },
  {
    name: 'safe',
    how: 'the heartbeat was missed',
    may: ['heartbeat_due', 'heartbeat_missed'],
    condition: 'heartbeat_missed',
    async enter(home, act) {
      const scene = await place(home, act, 'later')
      const waiting = await submitted(home.trial, 'trial', { what: 'work' })
      await home.watchdogWith(MISSED)
      await holding(home, 'heartbeat_missed')
      await leasedAgain(home)
      return { ...scene, ...(await stillWaiting(home, waiting)) }
    },
  },
  {
    name: 'lapsed',
    how: 'the lease has lapsed, the watchdog hangs',
    may: [],
    condition: 'lease_lapsed',
    async enter(home, act) {
      const { trial } = home
      const scene = await place(home, act, 'later')
      const waiting = await submitted(trial, 'trial', { what: 'work' })
      process.kill(trial.pids.watchdog, 'SIGSTOP')
      const lift = () => void process.kill(trial.pids.watchdog, 'SIGCONT')
      await holding(home, 'lease_lapsed')
      return { ...scene, lift, ...(await stillWaiting(home, waiting)) }
    },
  },
  {
    name: 'stopping',
    how: 'a shutdown is under way, an agent is deaf',
    may: [],
    silent: true,
    async enter(home, act) {
      const { trial } = home
      const scene = await place(home, act, 'deaf')
      void trial.hub
        .call('hub.shutdown', { reason: 'the test stops it' }, { deadlineMs: 120_000 })
        .catch(() => undefined)
      await holding(home, 'draining')
      return { target: scene.target }
    },
  },
  {
    name: 'unattended',
    how: 'the unattended stop holds, the hub answers reads',
    may: ['heartbeat_due', 'heartbeat_missed', 'unattended_stop', 'unattended_remains'],
    silent: true,
    condition: 'unattended_stop',
    async enter(home, act) {
      await place(home, act)
      await home.watchdogWith(UNATTENDED)
      return stopped(home, act, 'unattended_stop')
    },
  },
  {
    name: 'emergency',
    how: 'an emergency stop holds, the hub answers reads',
    may: [],
    condition: 'emergency_stop',
    async enter(home, act) {
      await place(home, act)
      await home.emergency()
      return stopped(home, act, 'emergency_stop')
    },
  },
]

/** Cells that cannot be, and why. */
const NOT: readonly { victim: Act['victim']; act?: Act['act']; phases: readonly Phase['name'][]; why: string }[] = [
  {
    victim: 'watchdog',
    phases: ['lapsed'],
    why: 'the phase is a watchdog that hangs; the lease lapses by the same act in `working`',
  },
  { victim: 'hub-watchdog', phases: ['lapsed'], why: 'nobody is left at the other end of that line' },
  { victim: 'watchdog-engine', phases: ['lapsed'], why: 'the watchdog hangs and calls no engine' },
  {
    victim: 'agent-hub',
    phases: ['unattended', 'emergency'],
    why: 'no session is left; a container that appears has no line to the hub',
  },
]
/** For the short form: each phase, each victim, and each act that no other test of the short run does. */
const ALWAYS: Readonly<Record<Phase['name'], readonly string[]>> = {
  starting: ['watchdog starve', 'engine cut', 'agent-hub cut'],
  working: ['hub starve', 'engine kill', 'hub-watchdog cut', 'agent burn'],
  safe: ['hub descriptors', 'agent starve'],
  lapsed: ['agent kill'],
  stopping: ['hub kill', 'watchdog kill'],
  unattended: ['agent stop', 'watchdog-engine cut'],
  emergency: ['watchdog descriptors', 'hub-engine cut'],
}

/** Acts of the long form alone, and the file that does the same in the short run. */
export const ELSEWHERE: Readonly<Record<string, string>> = {
  'hub stop': 'hung-or-cut.test.ts',
  'watchdog stop': 'hung-or-cut.test.ts',
  'engine stop': 'engine-faults.test.ts',
  'engine starve': 'stop-engine.test.ts',
}

export interface Cell {
  /** Part of the short form. */
  always: boolean
  act: Act
  phase: Phase
  /** Why there is no such cell. */
  not: string | undefined
}
export const CELLS: readonly Cell[] = PHASES.flatMap((phase) =>
  ACTS.map((act) => ({
    act,
    phase,
    always: ALWAYS[phase.name].includes(`${act.victim} ${act.act}`),
    not: NOT.find(({ victim, phases }) => victim === act.victim && phases.includes(phase.name))?.why,
  })),
)
