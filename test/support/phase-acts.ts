/** What is done to whom while a phase lasts: each act answers what ends it. A process that was killed is started again by its end. */
import { renameSync } from 'node:fs'
import { join } from 'node:path'
import type { EngineProxy } from './engine-proxy.ts'
import type { PhaseHome } from './phase-home.ts'
import { starveContainer, starveOfDescriptors, starveOfTime } from './starving.ts'

export type Lift = () => void | Promise<void>
/** The container that an act on an agent means. */
export interface Target {
  container: string
  session: string
}
export interface Act {
  victim: 'hub' | 'watchdog' | 'agent' | 'engine' | 'hub-watchdog' | 'hub-engine' | 'watchdog-engine' | 'agent-hub'
  act: 'kill' | 'stop' | 'starve' | 'descriptors' | 'burn' | 'cut'
  how: string
  /** Which of the two cannot do its part meanwhile. */
  disables: readonly ('hub' | 'watchdog' | 'engine')[]
  /** Findings of the watchdog that must come if the act lasts for its rounds, and those that may. */
  must: readonly string[]
  may: readonly string[]
  begin: (home: PhaseHome, target: Target) => Promise<Lift> | Lift
}

type Process = 'hub' | 'watchdog'
const bothLines = (home: PhaseHome) => Object.values(home.lines)

const killed = (who: Process) => async (home: PhaseHome) => {
  await home.trial.kill(who)
  return () => home.trial.start(who)
}
const signalled =
  (who: Process) =>
  ({ trial }: PhaseHome) => {
    const pid = trial.pids[who]
    process.kill(pid, 'SIGSTOP')
    return () => {
      // Whoever stopped everything may have ended it.
      if (trial.isUp(who)) process.kill(pid, 'SIGCONT')
    }
  }
const starved =
  (who: Process, of: typeof starveOfTime) =>
  ({ trial }: PhaseHome) =>
    of(trial.pids[who])
const spoilt =
  (fault: Parameters<EngineProxy['spoil']>[1], which: (home: PhaseHome) => readonly EngineProxy[]) =>
  (home: PhaseHome) => {
    for (const line of which(home)) {
      line.spoil('all', fault)
      for (const stream of ['wait', 'events'] as const) line.closeStreams(stream)
    }
    return () => {
      for (const line of which(home)) line.heal()
    }
  }

/** Processes of a container, as the host counts them; its first one first. */
async function processesOf(home: PhaseHome, container: string): Promise<number[]> {
  const { State } = (await home.engineCall('GET', `/containers/${container}/json`)) as { State: { Pid: number } }
  const top = (await home.engineCall('GET', `/containers/${container}/top?ps_args=-eo%20pid`)) as {
    Processes?: string[][]
  }
  return [State.Pid, ...(top.Processes ?? []).map(([pid]) => Number(pid)).filter((pid) => pid !== State.Pid)]
}

const HUB_GONE = { disables: ['hub'], must: ['hub_health'], may: ['ttl_passed'] } as const
const WATCHDOG_GONE = { disables: ['watchdog'], must: [], may: ['ttl_passed'] } as const
const ENGINE_GONE = {
  disables: ['engine'],
  must: ['engine_unavailable'],
  may: ['ttl_passed', 'stop_unconfirmed'],
} as const
const AGENT = { disables: [], must: [], may: ['ttl_passed'] } as const

export const ACTS: readonly Act[] = [
  { victim: 'hub', act: 'kill', how: 'SIGKILL', ...HUB_GONE, begin: killed('hub') },
  { victim: 'hub', act: 'stop', how: 'SIGSTOP, later SIGCONT', ...HUB_GONE, begin: signalled('hub') },
  {
    victim: 'hub',
    act: 'starve',
    how: 'next to no processor',
    ...HUB_GONE,
    must: [],
    may: ['ttl_passed', 'hub_health'],
    begin: starved('hub', starveOfTime),
  },
  {
    victim: 'hub',
    act: 'descriptors',
    how: 'no descriptor more',
    ...HUB_GONE,
    begin: starved('hub', starveOfDescriptors),
  },
  { victim: 'watchdog', act: 'kill', how: 'SIGKILL', ...WATCHDOG_GONE, begin: killed('watchdog') },
  { victim: 'watchdog', act: 'stop', how: 'SIGSTOP, later SIGCONT', ...WATCHDOG_GONE, begin: signalled('watchdog') },
  {
    victim: 'watchdog',
    act: 'starve',
    how: 'next to no processor',
    ...WATCHDOG_GONE,
    may: ['ttl_passed', 'hub_health', 'engine_unavailable'],
    begin: starved('watchdog', starveOfTime),
  },
  {
    victim: 'watchdog',
    act: 'descriptors',
    how: 'no descriptor more',
    ...WATCHDOG_GONE,
    may: ['ttl_passed', 'hub_health', 'engine_unavailable'],
    begin: starved('watchdog', starveOfDescriptors),
  },
  {
    victim: 'agent',
    act: 'kill',
    how: 'SIGKILL by the engine',
    ...AGENT,
    begin: async ({ trial }, { container }) => {
      await trial.engine.kill(container)
      return () => undefined
    },
  },
  {
    victim: 'agent',
    act: 'stop',
    how: 'paused by the engine',
    ...AGENT,
    begin: async (home, { container }) => {
      await home.engineCall('POST', `/containers/${container}/pause`)
      return async () => void (await home.engineCall('POST', `/containers/${container}/unpause`))
    },
  },
  {
    victim: 'agent',
    act: 'starve',
    how: 'next to no processor for all of it',
    ...AGENT,
    begin: async (home, { container }) => {
      const pids = await processesOf(home, container)
      return starveContainer(pids[0] ?? 0, pids)
    },
  },
  {
    victim: 'agent',
    act: 'burn',
    how: 'busy loops on four threads in it (its task is one)',
    ...AGENT,
    begin: () => () => undefined,
  },
  {
    victim: 'engine',
    act: 'kill',
    how: 'its socket is gone',
    ...ENGINE_GONE,
    begin: async (home) => {
      for (const line of bothLines(home)) await line.down()
      return async () => {
        for (const line of bothLines(home)) await line.up()
      }
    },
  },
  {
    victim: 'engine',
    act: 'stop',
    how: 'it takes calls and answers none',
    ...ENGINE_GONE,
    begin: spoilt({ kind: 'stall', when: 'before' }, bothLines),
  },
  {
    victim: 'engine',
    act: 'starve',
    how: 'each answer takes 14 s',
    ...ENGINE_GONE,
    // More than hub and watchdog wait for one.
    begin: spoilt({ kind: 'slow', ms: 14_000 }, bothLines),
  },
  {
    victim: 'engine',
    act: 'cut',
    how: 'each answer is cut off after it was done',
    ...ENGINE_GONE,
    begin: spoilt({ kind: 'cut', when: 'after' }, bothLines),
  },
  {
    victim: 'hub-watchdog',
    act: 'cut',
    how: 'both sockets moved away',
    ...HUB_GONE,
    disables: [],
    begin: ({ trial }) => {
      const sockets = ['run/watchdog.sock', 'watchdog/run/watchdog.sock'].map((path) => join(trial.home, path))
      for (const path of sockets) renameSync(path, `${path}.cut`)
      return () => {
        for (const path of sockets) {
          try {
            renameSync(`${path}.cut`, path)
          } catch {
            // It has ended meanwhile and taken its socket with it.
          }
        }
      }
    },
  },
  {
    victim: 'hub-engine',
    act: 'cut',
    how: 'the hub reaches no engine',
    disables: ['hub'],
    must: [],
    may: ['ttl_passed'],
    begin: spoilt({ kind: 'cut', when: 'before' }, ({ lines }) => [lines.hub]),
  },
  {
    victim: 'watchdog-engine',
    act: 'cut',
    how: 'the watchdog reaches no engine',
    disables: ['watchdog'],
    must: ['engine_unavailable'],
    may: ['ttl_passed', 'stop_unconfirmed'],
    begin: spoilt({ kind: 'cut', when: 'before' }, ({ lines }) => [lines.watchdog]),
  },
  {
    victim: 'agent-hub',
    act: 'cut',
    how: 'its socket is gone and its connections hang up',
    ...AGENT,
    begin: async (home, { session }) => {
      const line = home.agentLines.get(session)
      if (line === undefined) throw new Error(`session ${session} is not relayed: ${[...home.agentLines.keys()]}`)
      home.lines.hub.judge = undefined
      // One that has not asked for mail yet owes the hub no sign but its renewal, minutes later.
      await line.listens(60_000)
      line.cut()
      return () => undefined
    },
  },
]
