/**
 * The life of one container: create -> inspect -> compare -> wait opened -> start (docs/sandbox.md 1), and its end. The caller has written
 * the session into the ledger and made its socket folder before.
 *
 * K1. Nothing is started that differs from what was sent. A warning in the answer to create is a difference.
 * K2. If a step up to and including start fails, no container is left behind. If that cannot be confirmed, the error says so
 *     (`leftBehind`), and the session stays in the ledger.
 * K3. Gone means that the engine no longer knows it when asked by inspect; an answer to remove is not enough. If it is not gone, its
 *     processes are looked at: whether anything of it runs is a separate question.
 */
import type { Clock } from '../../base/clock.ts'
import { type EngineMachine, judgeRemains, processesOf, type Remains, seesAll } from '../../base/container-processes.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../../guard/grant.ts'
import type { SessionLimits } from '../../protocol/agent.ts'
import { compareInspect, type Difference } from './compare.ts'
import { type ContainerFact, type Engine, isDenied, type NextExit, type Removal } from './engine.ts'
import { buildContainer, type CreateBody, containerNameOf, type HostFacts, type SessionFacts } from './profile.ts'
import { differencesBesideSwap, warningsBesideSwap } from './swap.ts'

export interface Exit {
  exitCode: number
  oomKilled: boolean
}

export interface Provisioned {
  containerId: string
  /** When inspect showed no difference, in epoch milliseconds. */
  inspectedAt: number
  start(): Promise<void>
  /** Settles when the container has ended. Rejects if it is gone and nobody knows how it ended. */
  exited: Promise<Exit>
}

export interface Containers {
  /** The body that `provision` will send, for the policy to see. Pure. */
  plan(facts: SessionFacts, limits: SessionLimits): CreateBody
  /** Throws `profile_mismatch` with the differences, `image_missing`, `engine_unavailable`, `engine_refused`. */
  provision(grant: Grant, facts: SessionFacts, limits: SessionLimits): Promise<Provisioned>
  /** Listens again for the exit of a container that an earlier run of the hub started. */
  adopt(containerId: string): Promise<Exit>
  /** Stops it and leaves it there, so that its exit can be read. Throws what the engine says. */
  stop(grant: StopGrant, idOrName: string, options: { graceMs: number }): Promise<void>
  /** Stops, kills, removes and confirms. Does not throw because of the engine: the outcome says what is known. */
  recycle(grant: StopGrant, idOrName: string, options: { graceMs: number }): Promise<RecycleOutcome>
  /** Every container of this instance, in any state. Throws `engine_unavailable` or `engine_refused`. */
  list(): Promise<ContainerFact[]>
  /** Nobody waits any more for an engine that does not answer. */
  close(): void
}

export type RecycleOutcome = Removal

export interface ContainersOptions {
  instance: string
  host: HostFacts
  /** Whether this machine has swap. Without this it counts as having some. */
  hasSwap?: () => boolean
  /** Between two looks at a container whose end is awaited. */
  lookAgainMs?: number
}

/** What is asked of this machine's process table. */
export interface HostProcesses {
  of(containerId: string): number[] | undefined
  seesAll(engine: EngineMachine): boolean
}
const HOST_PROCESSES: HostProcesses = { of: (id) => processesOf(id), seesAll: (engine) => seesAll(engine) }

const CONFIRM_LOOKS = 5
/** Exit code after SIGKILL, whoever sent it. */
const KILLED = 137
const OOM_LATE_MS = 100
/** However long the engine was away, its container is asked about again at most this late once it is back (fault A7). */
const WAIT_AGAIN_MS_MAX = 5000

interface State {
  Running?: unknown
  ExitCode?: unknown
  OOMKilled?: unknown
  Status?: unknown
}

export function createContainers(
  options: ContainersOptions,
  parts: { engine: Engine; log: Log; clock: Clock; processes?: HostProcesses },
): Containers {
  const { engine, log, clock, processes = HOST_PROCESSES } = parts
  const lookAgainMs = options.lookAgainMs ?? 500
  const swap = options.hasSwap ?? (() => true)
  const closed = new AbortController()

  async function stateOf(id: string): Promise<State | undefined> {
    const answer = (await engine.inspect(id)) as { State?: State } | undefined
    return answer === undefined ? undefined : (answer.State ?? {})
  }

  async function exitOf(id: string): Promise<Exit | undefined> {
    const state = await stateOf(id)
    if (state === undefined)
      throw new HubError('unknown_session', 'the container is gone, and its exit code is not known')
    if (state.Status !== 'exited' && state.Status !== 'dead') return undefined
    return { exitCode: Number(state.ExitCode), oomKilled: state.OOMKilled === true }
  }

  /** As far as the engine tells. Rejects only if the container is gone and nobody knows how it ended. */
  const exitIfKnown = (id: string): Promise<Exit | undefined> =>
    exitOf(id).catch((error: unknown) => {
      if (toHubError(error).code === 'unknown_session') throw error
      return undefined
    })

  /** Waits for the exit, whatever happens to the connection. The state that inspect shows is the truth. */
  async function awaitExit(id: string, first: NextExit): Promise<Exit> {
    let wait = first
    for (let faults = 0; ; ) {
      if (closed.signal.aborted) throw new HubError('engine_unavailable', 'nobody waits for it any more')
      try {
        const { statusCode } = await wait.exit
        // Only inspect knows of a kill for memory. If the container is gone already, the code is still true.
        const exit = await exitOf(id).catch(() => undefined)
        if (exit?.exitCode !== KILLED || exit.oomKilled) return exit ?? { exitCode: statusCode, oomKilled: false }
        // The engine hears of a kill for memory beside the exit, and may show it a moment later (seen on a busy machine, T54).
        await clock.sleep(OOM_LATE_MS)
        return (await exitOf(id).catch(() => undefined)) ?? exit
      } catch (error) {
        if (toHubError(error).code === 'unknown_session') throw error
        await clock.sleep(Math.min(lookAgainMs * 2 ** Math.min(faults, 8), WAIT_AGAIN_MS_MAX), closed.signal)
        faults += 1
      }
      wait = engine.waitNextExit(id)
      // Opened before the look, so an exit in between is seen by one of the two.
      const isOpen = await wait.opened.then(
        () => true,
        () => false,
      )
      if (isOpen) faults = 0
      const exit = await exitIfKnown(id)
      if (exit === undefined) continue
      wait.cancel()
      return exit
    }
  }

  async function confirmGone(id: string, looks = CONFIRM_LOOKS): Promise<boolean> {
    for (let look = 0; look < looks; look += 1) {
      if ((await engine.inspect(id)) === undefined) return true
      await clock.sleep(lookAgainMs)
    }
    return false
  }

  /** Removes by force and confirms. Answers what is known. */
  async function removeWhole(idOrName: string): Promise<Removal> {
    const removal = await engine.remove(idOrName)
    let reason = removal.outcome === 'failed' ? removal.reason : 'the engine still shows it'
    const denied = removal.outcome === 'failed' && removal.isRefused ? ({ isRefused: true } as const) : {}
    try {
      // A refused removal is not under way.
      if (await confirmGone(idOrName, denied.isRefused ? 1 : CONFIRM_LOOKS))
        return removal.outcome === 'failed' ? { outcome: 'gone' } : removal
    } catch (error) {
      reason = (error as Error).message
    }
    return { outcome: 'failed', reason, remains: await remainsOf(idOrName), ...denied }
  }

  /** What runs of a container that does not go: by the state that the engine shows, and by the processes of this machine (fault A6). */
  async function remainsOf(idOrName: string): Promise<Remains> {
    try {
      const shown = (await engine.inspect(idOrName)) as { Id?: unknown; State?: State } | undefined
      if (shown === undefined) return { kind: 'nothing' }
      const found = processes.of(String(shown.Id))
      const isWhole = found !== undefined && (found.length > 0 || processes.seesAll(await engine.info()))
      return judgeRemains(String(shown.State?.Status), isWhole ? found : undefined)
    } catch {
      const found = processes.of(idOrName) ?? []
      return found.length > 0 ? { kind: 'processes', pids: found } : { kind: 'unknown' }
    }
  }

  async function rollBack(idOrName: string, thrown: unknown): Promise<never> {
    const error = toHubError(thrown)
    const removal = await removeWhole(idOrName)
    const leftBehind = removal.outcome === 'failed'
    log.warn({ container: idOrName, code: error.code, removal: removal.outcome }, 'container not started')
    throw new HubError(error.code, error.message, {
      reason: error.reason,
      facts: { ...error.facts, leftBehind },
      cause: error,
    })
  }

  async function inspectAndCompare(id: string, body: CreateBody, warnings: string[]): Promise<void> {
    const differences = differencesBesideSwap(compareInspect(body, await engine.inspect(id), id), swap)
    for (const warning of warningsBesideSwap(warnings, swap))
      differences.push({ field: 'Warnings', expected: undefined, found: warning })
    if (differences.length === 0) return
    const fields = differences.map((difference) => difference.field).join(', ')
    throw new HubError('profile_mismatch', `the engine made the container otherwise than it was told: ${fields}`, {
      facts: { differences: differences.map(shortened) },
    })
  }

  return {
    plan: (facts, limits) => buildContainer(facts, limits, options.host),

    async provision(grant, facts, limits) {
      assertGrant(grant, 'session.provision')
      const body = buildContainer(facts, limits, options.host)
      const name = containerNameOf(facts.instance, facts.session)
      const created = await engine.create(name, body).catch((error: unknown) => {
        // If the name was taken, that container is not ours to remove. After any other fault, the engine may still have made ours.
        if (toHubError(error).code === 'conflict') throw error
        return rollBack(name, error)
      })
      const { id, warnings } = created
      let wait: NextExit | undefined
      try {
        await inspectAndCompare(id, body, warnings)
        const inspectedAt = clock.wallMs()
        wait = engine.waitNextExit(id)
        await wait.opened
        const exited = awaitExit(id, wait)
        exited.catch(() => {})
        const start = () => engine.start(id).catch((error: unknown) => rollBack(id, error))
        return { containerId: id, inspectedAt, exited, start }
      } catch (error) {
        wait?.cancel()
        return rollBack(id, error)
      }
    },

    async adopt(containerId) {
      // Looked at first: if it has ended already, no wait for it will be answered.
      const ended = await exitIfKnown(containerId)
      if (ended !== undefined) return ended
      const wait = engine.waitNextExit(containerId)
      await wait.opened.catch(() => {})
      const exit = await exitIfKnown(containerId)
      if (exit === undefined) return awaitExit(containerId, wait)
      wait.cancel()
      return exit
    },

    async stop(grant, idOrName, { graceMs }) {
      assertStopGrant(grant)
      await engine.stop(idOrName, graceMs / 1000)
    },

    async recycle(grant, idOrName, { graceMs }) {
      assertStopGrant(grant)
      let refusal = ''
      let isKillDenied = false
      try {
        await engine.stop(idOrName, graceMs / 1000)
      } catch (error) {
        log.warn({ container: idOrName, reason: (error as Error).message }, 'stop failed, killing')
        await engine.kill(idOrName).catch((thrown: unknown) => {
          refusal = toHubError(thrown).code === 'engine_refused' ? toHubError(thrown).message : ''
          isKillDenied = isDenied(toHubError(thrown))
        })
      }
      const { isRefused, ...removal } = { isRefused: undefined, ...(await removeWhole(idOrName)) }
      // Why it could not be killed says more than why it could not be removed: it still runs.
      if (removal.outcome !== 'failed') return removal
      // Stop, kill and removal were all refused, so none of them is under way (fault A10).
      const denied = isKillDenied && isRefused ? ({ isRefused } as const) : {}
      const isSaid = refusal === '' || removal.reason.includes(refusal)
      return { ...removal, reason: isSaid ? removal.reason : `${refusal}; ${removal.reason}`, ...denied }
    },

    list: () => engine.list(options.instance),
    close: () => closed.abort(),
  }
}

/** A difference in the form that an audit record and a log can hold. */
function shortened({ field, expected, found }: Difference): Difference {
  const short = (value: unknown) => (JSON.stringify(value) ?? 'absent').slice(0, 200)
  return { field, expected: short(expected), found: short(found) }
}
