/** Builds what passes between hub and watchdog: the hub's door for it, the calls to it, and the stop that both must know of. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import { newNonce, type Random } from '../../base/random.ts'
import type { Log } from '../../base/telemetry.ts'
import { askWatchdog } from '../../base/watchdog-client.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Grant, StopGrant } from '../../guard/grant.ts'
import type { Guard } from '../../guard/guard.ts'
import type { HeartbeatSource } from '../../guard/identity/credentials.ts'
import { ForgedWord, type Lease, type LeaseWord, macOf } from '../../guard/operator/lease.ts'
import { clearStopOrder } from '../../guard/operator/stop-order.ts'
import { WATCHDOG } from '../../guard/principal.ts'
import type { OperationName } from '../../protocol/operations.ts'
import type { StopRequest } from '../../work/dispatch/shutdown.ts'
import { createShutdown, type Ending } from '../../work/dispatch/shutdown.ts'
import type { Work } from '../../work/work.ts'
import { readBody, requireContentType, requireVersion, sendProblem } from '../http-answers.ts'
import { keepPlaces } from '../places.ts'

/** How long the watchdog stays silent about an announced restart or stop. */
const ANNOUNCE_MS = 300_000
/** The watchdog's door takes 4 KiB at once. */
const FAREWELL_CHECKPOINTS = 5
const FAREWELL_MS = 3000
/** For a watchdog that hangs: a service manager waits for this process meanwhile. */
const LEAVE_MS = 1000

export interface WatchdogLinkOptions {
  home: string
  instance: string
  watchdogKey: Buffer
  /** How long sessions may go on when told to finish. */
  shutdownMs: number
}

type LinkWork = Pick<Work, 'containment' | 'distrust' | 'messaging' | 'runtime' | 'supervision' | 'tasks'>

export function createWatchdogLink(
  options: WatchdogLinkOptions,
  outer: { clock: Clock; random: Random; log: Log; guard: Guard; work: LinkWork; onExit: (how: Ending) => void },
) {
  const { home, instance } = options
  const { clock, log, guard, work, onExit } = outer
  const { gate, modes, audit, checkpoints, lease, meta } = guard
  const { tasks, runtime } = work
  const socket = join(home, 'watchdog', 'run', 'watchdog.sock')
  const say = (path: string, body: object) => askWatchdog(socket, path, body)
  /** By which the watchdog tells this process from the one before it: what that one announced is over. */
  const run = newNonce(outer.random)

  const { launcher, reaper } = work.supervision
  const { custody } = work.distrust
  const { containers } = work.containment
  const { tellFinish } = work.messaging
  let beforeExit: () => Promise<void> = async () => undefined
  const shutdown = createShutdown(
    {
      get waitMs() {
        return options.shutdownMs
      },
    },
    {
      clock,
      log,
      store: guard.store,
      gate,
      modes,
      tasks,
      launcher,
      runtime,
      reaper,
      custody,
      containers,
      tellFinish,
      sealInbox: work.messaging.mailboxes.seal,
      tracer: work.supervision.traces?.tracer,
      announce: (kind, by) => say('/v1/announce', { kind, forMs: ANNOUNCE_MS, ...(by === undefined ? {} : { by }) }),
      onExit: (how) => void beforeExit().then(() => onExit(how)),
    },
  )

  let reported: string | undefined
  let counted = { dispatched: 0, queued: 0 }
  /** The last known counts if the rows cannot be read: a lease says how strict to be, and does not depend on the work. */
  function counts(): typeof counted {
    try {
      counted = { dispatched: Number(meta.get('dispatched_total') ?? 0), queued: work.supervision.dispatcher.waiting() }
    } catch (thrown) {
      log.error({ reason: toHubError(thrown).reason }, 'the waiting tasks could not be counted for the watchdog')
    }
    return counted
  }
  /** By what the record holds now; undefined if the store cannot be read. */
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
    onRefused: (error) => guard.alertWatch.leaseRefused(error.reason, error instanceof ForgedWord),
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
        run,
        mode: modes.current(),
        conditions: modes.active().map((condition) => condition.name),
        ...counts(),
        auditSize: size,
        auditHead: head,
        bufferSize: buffer.size,
        bufferHead: buffer.head,
        checkpoints: checkpoints.forWitness(witnessSize),
        // What cannot be read now is left out: that is another fault.
        asked: ask.map((seq) => ({ seq, hash: hashOf(seq) })).filter(({ hash }) => hash !== undefined),
        sessions: work.containment.ledger.list(),
        announced: stopping === undefined ? null : { kind: stopping.exit },
      }
    },
  })

  return {
    door,
    shutdown,
    /** What the end of the process waits for, once a stop is done; one step. */
    onExit(step: () => Promise<void>) {
      beforeExit = step
    },
    /** Passes one of the operator's requests to the watchdog, about presence or the contact. */
    say,
    status: () => askWatchdog(socket, '/v1/status', undefined, 'GET'),
    testAlerts: () => say('/v1/alert-test', {}),
    /** The operator accepts the log as it was last shown there. */
    acceptHead: () => say('/v1/accept-head', { head: reported ?? audit.head().head }),
    heartbeat: (note: string | undefined, source: HeartbeatSource) =>
      say('/v1/heartbeat', { source, ...(note === undefined ? {} : { note }) }),
    /** Ends `emergency_stop` where else it is kept: the order in the home, and the watchdog. Throws `timed_out` if that does not answer. */
    async endEmergency() {
      clearStopOrder(home)
      const { stopId } = (await say('/v1/resume', {})) as { stopId: number }
      lease.resumed(stopId)
    },
    /**
     * A signal, as an upgrade or a service manager sends it, works like `hub restart`: the watchdog is told, and stays silent for a while.
     * Undefined if a stop is under way: that stop ends the process itself, and a signal must not cut it off.
     */
    async leave(): Promise<Ending | undefined> {
      if (shutdown.ending() === undefined) {
        const told = say('/v1/announce', { kind: 'restart', forMs: ANNOUNCE_MS })
        await Promise.race([told, clock.sleep(LEAVE_MS)]).catch((thrown) =>
          log.warn({ reason: toHubError(thrown).message }, 'the watchdog was not told of the restart'),
        )
      }
      // A stop that was asked for meanwhile comes first.
      const how = shutdown.ending() ?? 'restart'
      return how === 'not_yet' ? undefined : how
    },
    /** Tells the watchdog the last head, signed, while it still answers. Until the next start nobody else could say that the log was longer. */
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
    /** Asks for a lease now. Without it one comes within the interval. */
    knock: () => void say('/v1/look', {}).catch(() => undefined),
  }
}

export type WatchdogLink = ReturnType<typeof createWatchdogLink>

const BYTES_MAX = 65_536
const CONNECTIONS_MAX = 8

/** Refusals that only the door itself makes, and therefore records. */
const BEFORE_THE_GATE: ReadonlySet<string> = new Set([
  'unauthenticated',
  'schema_invalid',
  'unknown_operation',
  'too_large',
])

interface WatchdogDoorParts {
  key: Buffer
  gate: Gate
  lease: Lease
  /** What a lease is answered with, apart from its echo. */
  report: (word: LeaseWord) => Record<string, unknown>
  /** Before the lease counts: compares what the watchdog has witnessed with the log. */
  judgeWitness: (word: LeaseWord) => void
  shutdown: (grant: StopGrant, request: StopRequest) => Promise<unknown>
  /** Hears of a message that was not the watchdog's, or not a new one. */
  onRefused?: (error: HubError) => void
  /** Holds every unfinished task. */
  holdAll: (grant: Grant) => number
}

/**
 * The hub's door for the watchdog, `run/watchdog.sock`: leases and the shutdown it asks for, with a MAC over the raw bytes
 * (docs/protocol.md 1). A lease that says the same as the last one changes nothing and leaves no record. A changed demand and every refusal
 * are recorded.
 */
export function createWatchdogDoor(parts: WatchdogDoorParts): Server {
  const { key, gate, lease, report, judgeWitness, shutdown, onRefused, holdAll } = parts
  let lastDemand = ''

  const call = (operation: OperationName) => ({ principal: WATCHDOG, operation, resource: 'hub' })

  function answer(response: ServerResponse, label: string, body: unknown): void {
    const text = JSON.stringify(body)
    response.writeHead(200, { 'content-type': 'application/json', 'hub-mac': macOf(key, label, text) })
    response.end(text)
  }

  function takeLease(body: Buffer, mac: string, response: ServerResponse): void {
    const word = lease.accept(body, mac)
    judgeWitness(word)
    const demand = JSON.stringify([word.demand, word.conditions])
    const stop = lease.unheldStop()
    if (demand !== lastDemand || stop !== undefined) {
      try {
        gate.admit({ ...call('lease.renew'), facts: { demand: word.demand } }, (grant) => {
          if (stop === undefined) return undefined
          const held = holdAll(grant)
          lease.stopHeld(stop)
          return { auditEffect: `${held} tasks are held: everything was stopped` }
        })
        lastDemand = demand
      } catch (thrown) {
        // A lease counts even if the store cannot record it: it only says how strict to be.
        if (toHubError(thrown).code !== 'store_unavailable') throw thrown
      }
    }
    const { epoch, counter } = word
    answer(response, 'hub-lease-answer-v1', { version: 1, epoch, counter, ...report(word) })
  }

  async function takeShutdown(body: Buffer, mac: string, response: ServerResponse): Promise<void> {
    const { by, reason } = lease.acceptStop(body, mac)
    const wish = { drain: false, emergency: by === 'contact' || by === 'emergency', exit: 'shutdown', reason }
    const grant = gate.admitStop({ ...call('hub.shutdown'), wish }, (proof) => proof)
    const request = {
      drain: false,
      reason: `asked for by the watchdog: ${reason || by}`,
      exit: 'shutdown',
      by,
    } as const
    answer(response, 'hub-shutdown-answer-v1', await shutdown(grant, request))
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const operation = request.url === '/v1/shutdown' ? 'hub.shutdown' : 'lease.renew'
    try {
      requireVersion(request)
      requireContentType(request, 'application/json')
      const mac = request.headers['hub-mac']
      const body = await readBody(request, BYTES_MAX)
      if (request.method !== 'POST' || typeof mac !== 'string')
        throw new HubError('unauthenticated', '', { reason: 'no MAC' })
      if (request.url === '/v1/lease') takeLease(body, mac, response)
      else if (request.url === '/v1/shutdown') await takeShutdown(body, mac, response)
      else throw new HubError('unknown_operation')
    } catch (thrown) {
      const error = toHubError(thrown)
      if (BEFORE_THE_GATE.has(error.code)) gate.refuse(call(operation), error)
      if (error.code === 'unauthenticated') onRefused?.(error)
      sendProblem(response, error)
    }
  }

  const server = http.createServer(
    { requestTimeout: 30_000, headersTimeout: 5000, connectionsCheckingInterval: 1000 },
    (request, response) => void serve(request, response).catch(() => response.destroy()),
  )
  keepPlaces(server, CONNECTIONS_MAX)
  return server
}
