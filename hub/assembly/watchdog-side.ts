/** Builds what passes between hub and watchdog: the hub's door for it, the words said to it, and the stop that both have to know of. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import type { Log } from '../base/telemetry.ts'
import { askWatchdog } from '../edge/watchdog-client.ts'
import { createWatchdogDoor } from '../edge/watchdog-door.ts'
import type { HeartbeatSource } from '../guard/identity/credentials.ts'
import { isForged } from '../guard/operator/lease.ts'
import { clearStopOrder } from '../guard/operator/stop-order.ts'
import { createShutdown, type Ending } from '../work/dispatch/shutdown.ts'
import type { Guard } from './guard.ts'
import type { Work } from './work.ts'

/** How long the watchdog keeps silent about a restart or a stop that was announced to it. */
const ANNOUNCE_MS = 300_000
/** The watchdog's door takes 4 KiB at once. */
const FAREWELL_CHECKPOINTS = 5
const FAREWELL_MS = 3000
/** For a watchdog that hangs: a service manager waits for this process meanwhile. */
const LEAVE_MS = 1000

export interface WatchdogSideOptions {
  home: string
  instance: string
  watchdogKey: Buffer
  /** How long sessions may work on when told to finish. */
  shutdownMs: number
}

export function createWatchdogSide(
  options: WatchdogSideOptions,
  outer: { clock: Clock; log: Log; guard: Guard; work: Work; onExit: (how: Ending) => void },
) {
  const { home, instance } = options
  const { clock, log, guard, work, onExit } = outer
  const { gate, modes, audit, checkpoints, lease, meta } = guard
  const { tasks } = work
  const socket = join(home, 'watchdog', 'run', 'watchdog.sock')
  const say = (path: string, body: object) => askWatchdog(socket, path, body)

  const { launcher, runtime, reaper, containers, tellFinish } = work
  const shutdown = createShutdown(
    { waitMs: options.shutdownMs },
    {
      clock,
      log,
      gate,
      modes,
      tasks,
      launcher,
      runtime,
      reaper,
      containers,
      tellFinish,
      sealInbox: work.mailboxes.seal,
      announce: (kind, by) => say('/v1/announce', { kind, forMs: ANNOUNCE_MS, ...(by === undefined ? {} : { by }) }),
      onExit,
    },
  )

  let reported: string | undefined
  let counted = { dispatched: 0, queued: 0 }
  /** As they were last, where the rows cannot be read: a lease says how strict to be, and stands apart from the work. */
  function counts(): typeof counted {
    try {
      counted = { dispatched: Number(meta.get('dispatched_total') ?? 0), queued: work.dispatcher.waiting() }
    } catch (thrown) {
      log.error({ reason: toHubError(thrown).reason }, 'the waiting tasks could not be counted for the watchdog')
    }
    return counted
  }
  /** By what the record holds now; undefined where the store cannot be read. */
  function hashOf(seq: number): string | null | undefined {
    try {
      return audit.provenHash(seq)
    } catch (thrown) {
      log.error({ seq, reason: toHubError(thrown).reason }, 'a record that the watchdog asked for cannot be read')
      return undefined
    }
  }
  const door = createWatchdogDoor({
    key: options.watchdogKey,
    gate,
    lease,
    shutdown,
    holdAll: tasks.holdAll,
    onRefused: (error) => guard.alertWatch.leaseRefused(error.reason, isForged(error)),
    judgeWitness({ witnessSize, witnessHead }) {
      if (witnessSize === 0 || witnessHead === '' || modes.has('witness_mismatch')) return
      const found = hashOf(witnessSize)
      if (found !== undefined && found !== witnessHead)
        modes.raise('witness_mismatch', `record ${witnessSize} is ${found === null ? 'gone' : 'not the one witnessed'}`)
    },
    report: ({ witnessSize, ask }) => {
      const { size, head } = audit.head()
      reported = head
      const buffer = audit.bufferState()
      const stopping = shutdown.progress()
      return {
        instance,
        mode: modes.current(),
        conditions: modes.active().map((condition) => condition.name),
        ...counts(),
        heldSince: null,
        auditSize: size,
        auditHead: head,
        bufferSize: buffer.size,
        bufferHead: buffer.head,
        checkpoints: checkpoints.forWitness(witnessSize),
        // What cannot be read now is left out: that is another fault.
        asked: ask.map((seq) => ({ seq, hash: hashOf(seq) })).filter(({ hash }) => hash !== undefined),
        sessions: work.ledger.list(),
        announced: stopping === undefined ? null : { kind: stopping.exit },
      }
    },
  })

  return {
    door,
    shutdown,
    /** One of the operator's words, about presence or the contact. */
    say,
    status: () => askWatchdog(socket, '/v1/status', undefined, 'GET'),
    testAlerts: () => say('/v1/alert-test', {}),
    /** The log as it was last shown there is the one that the operator accepts. */
    acceptHead: () => say('/v1/accept-head', { head: reported ?? audit.head().head }),
    heartbeat: (note: string | undefined, source: HeartbeatSource) =>
      say('/v1/heartbeat', { source, ...(note === undefined ? {} : { note }) }),
    /** Ends `emergency_stop` where else it is held: the order left in the home, and the watchdog. Throws `timed_out` where that is away. */
    async endEmergency() {
      clearStopOrder(home)
      const { stopId } = (await say('/v1/resume', {})) as { stopId: number }
      lease.resumed(stopId)
    },
    /**
     * A signal, as an upgrade or a service manager sends it, is as `hub restart`: the watchdog is told, and keeps silent for a while.
     * Undefined where a stop is under way: that one ends the process itself, and a signal must not cut it.
     */
    async leave(): Promise<Ending | undefined> {
      if (shutdown.ending() === undefined) {
        const told = say('/v1/announce', { kind: 'restart', forMs: ANNOUNCE_MS })
        await Promise.race([told, clock.sleep(LEAVE_MS)]).catch((thrown) =>
          log.warn({ reason: toHubError(thrown).message }, 'the watchdog was not told of the restart'),
        )
      }
      // A stop that was asked for meanwhile comes before it.
      const how = shutdown.ending() ?? 'restart'
      return how === 'not_yet' ? undefined : how
    },
    /** The last head, signed, while the watchdog is still there to remember it: until the next start nobody else could say that it was more. */
    async farewell() {
      if (guard.store.failure() !== undefined) return
      checkpoints.take()
      const { size, head } = audit.head()
      const tell = async () => {
        for (let seen = lease.witnessSize(); ; ) {
          const next = checkpoints.since(seen).slice(0, FAREWELL_CHECKPOINTS)
          if (next.length === 0) return
          await say('/v1/witness', { auditSize: size, auditHead: head, checkpoints: next })
          seen = next.at(-1)?.size ?? seen
        }
      }
      await Promise.race([tell(), clock.sleep(FAREWELL_MS)]).catch((thrown) =>
        log.warn({ reason: toHubError(thrown).message }, 'the watchdog did not take the last head of the audit log'),
      )
    },
    /** Asks for a lease now; without one it comes within its interval. */
    knock: () => void say('/v1/look', {}).catch(() => undefined),
  }
}
