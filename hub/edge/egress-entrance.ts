/** Builds the way outward: one more socket for each session that may reach something, and what its requests pass. */
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import type { Log } from '../base/telemetry.ts'
import type { Guard } from '../guard/guard.ts'
import { refusalOf } from '../guard/modes.ts'
import type { Resolve } from '../guard/outward/target.ts'
import type { Upstream } from '../protocol/egress/upstreams.ts'
import type { KeptSums } from '../work/egress/outflow.ts'
import { createProposals, type Proposals } from '../work/egress/proposals.ts'
import type { Secrets } from '../work/sandbox/secrets.ts'
import type { Work } from '../work/work.ts'
import { type AgentCaller, callerOf } from './agents/requests.ts'
import { createHeld } from './egress/bodies.ts'
import { createLines } from './egress/lines.ts'
import { createMetering, EGRESS_ALERT_LASTS_MS } from './egress/metering.ts'
import { createPipeline } from './egress/pipeline.ts'
import type { CallEnd, Meter, Reserved } from './egress/ports.ts'
import { createEgressMeters, createEgressRecords, type Ended } from './egress/records.ts'
import type { SentEnd } from './egress/sending.ts'
import { createSentBytes } from './egress/sent-bytes.ts'
import { createEgressSocket } from './egress/server.ts'
import { createStanding } from './egress/standing.ts'
import { createWayOut } from './egress/way-out.ts'

const SETTLE_AGAIN_MS = 10_000

export interface EgressOptions {
  upstreams: readonly Upstream[]
  /** Whether running sessions reach anything while the hub is in safe mode. */
  egressInSafe: boolean
  /** Bytes that a submitted task and everything below it may send outward. */
  egressTaskBytes: number
  /** How much of archives of registries is kept; 0 keeps none. */
  egressCacheBytes: number
}

export interface EgressOuter {
  clock: Clock
  log: Log
  guard: Pick<Guard, 'gate' | 'alerts' | 'modes' | 'redaction' | 'events' | 'store' | 'host' | 'policy'>
  work: {
    tasks: Pick<Work['tasks'], 'session' | 'standing' | 'rootOf'>
    containment: { sockets: Pick<Work['containment']['sockets'], 'egressPathOf' | 'open'> }
    money: Work['money']
  }
  secrets: Pick<Secrets, 'ofHub'>
  /** Ports on which this hub, its watchdog and its console listen now. */
  ownPorts: () => ReadonlySet<number>
  /** Where this hub and its watchdog are reached from outside now, as `host:port`. */
  ownPlaces: () => ReadonlySet<string>
  /** Who counts money; the account of the work ring without it. */
  meter?: Meter
  proposals?: Proposals
  /** A call of a model was answered: a sign that its session works. */
  acted?: (session: string) => void
  /** Where archives of registries are kept. */
  archivesFolder: string
  /** Where the bytes of each task are added up; the store without it. */
  sums?: KeptSums
  /** For tests: names and certificates of their upstreams. */
  resolve?: Resolve | undefined
  ca?: string | undefined
}

export function createEgress(options: EgressOptions, outer: EgressOuter) {
  const { clock, log, guard, work } = outer
  const { gate, alerts, modes, redaction } = guard
  const { tasks, containment } = work
  const proposals =
    outer.proposals ??
    createProposals({
      ...{ store: guard.store, gate, clock, nowMs: guard.host.steady.wallMs },
      grantsOf(agent) {
        const rows = guard.policy.active().data?.agents ?? {}
        return Object.hasOwn(rows, agent) ? (rows[agent]?.egress ?? []) : []
      },
    })
  const propose = proposals.note
  const meter = outer.meter ?? createMetering({ money: work.money, alerts })
  const meters = createEgressMeters()
  const standing = createStanding(clock, meter.keyRefusals)
  const sent = createSentBytes({
    ...{ tasks, alerts, store: guard.store, sums: outer.sums },
    limit: () => options.egressTaskBytes,
  })
  const records = createEgressRecords({ gate, clock, log, alongside: sent.keep })
  const held = createHeld()
  const { exchange, keys, send, archives } = createWayOut({
    ...{ ...outer, redaction, held, nowMs: clock.wallMs },
    archives: outer.archivesFolder,
    cacheBytes: () => options.egressCacheBytes,
    hasRoom: () => guard.host.disk.last().level === 'fine',
  })

  function caller(session: string): AgentCaller {
    const row = tasks.session(session)
    if (row === undefined) throw new HubError('unauthenticated', 'the session has ended')
    return callerOf(row, tasks)
  }
  const heldBack = () =>
    !options.egressInSafe && refusalOf(modes.current()) === 'mode_safe'
      ? new HubError('mode_safe', 'the hub is in safe mode, and egress.inSafe is false: nothing goes outward')
      : undefined

  function count(ended: Ended, left: boolean): void {
    meters.bytesIn += ended.bytesIn
    meters.bytesOut += ended.bytesOut
    meters.leaks += ended.leaks
    meters.requests.add(left ? 'left' : ended.why === '' ? 'answered' : 'failed')
  }
  const agentOf = (session: string) => tasks.session(session)?.agent ?? 'unknown'

  function told(ended: Ended, sent: SentEnd | undefined, metered?: { upstream: Upstream; reserved: Reserved }): void {
    const { session, upstream } = ended
    count(ended, sent?.left === true)
    if (sent !== undefined) remember(ended, sent)
    const call = sent?.call ?? { kind: 'failed_before' as const }
    if (metered !== undefined) settle(ended, metered, call)
    else if (ended.class === 'write') records.now(ended, () => '')
    else records.soon(ended)
    if (sent === undefined || sent.leaks === 0) return
    const names = [...sent.leaked].join(', ')
    alerts.raise(
      `secret_leaving:${upstream}`,
      'warning',
      `The upstream ${upstream} sent the value of the secret ${names} back to session ${session} of agent ${agentOf(session)}. It was masked. Ask why the upstream knows it there, and replace the secret if others can read its answers.`,
      EGRESS_ALERT_LASTS_MS,
    )
  }

  /** Tries again while the store fails; what is open at the end of this process settles at the next start. */
  function settle(ended: Ended, metered: { upstream: Upstream; reserved: Reserved }, call: CallEnd): void {
    const { upstream, reserved } = metered
    if (!records.now(ended, (grant) => meter.settle(grant, upstream, reserved.id, call)))
      clock.after(SETTLE_AGAIN_MS, () => settle(ended, metered, call))
  }

  function remember({ session, upstream, status, archive }: Ended, { error, left, call }: SentEnd): void {
    if (status > 0 && archive !== 'found' && standing.answered(session, upstream, status))
      alerts.raise(
        `upstream_refuses:${upstream}`,
        'warning',
        `The upstream ${upstream} refused the key of this hub again and again (${status}), last for session ${session}, which leaves it alone for ten minutes. Look at its secret in HOME/secrets; \`hub upstream test ${upstream}\` tries it.`,
        EGRESS_ALERT_LASTS_MS,
      )
    if (error === undefined) {
      // What came from here says nothing of the upstream, and what costs nothing says nothing of the answers that cost.
      if (archive !== 'found') standing.whole(upstream)
      if (call.kind === 'answered') {
        standing.stayed(session)
        if (status < 400) outer.acted?.(session)
      }
    } else if (error.facts.by === 'upstream' && status > 0) standing.cut(upstream)
    if (left && call.kind === 'lost' && standing.left(session))
      alerts.raise(
        `egress_stopped:${agentOf(session)}`,
        'warning',
        `Session ${session} of agent ${agentOf(session)} left three answers in a row before their end, each at its full reserve. It reaches nothing more until it ends.`,
        EGRESS_ALERT_LASTS_MS,
      )
  }

  function onForeign({ session }: AgentCaller, upstream: string): void {
    alerts.raise(
      `placeholder_foreign:${session.agent}`,
      'warning',
      `Session ${session.id} of agent ${session.agent} sent the placeholder of another upstream or session to ${upstream}. It opens nothing; look at what the agent runs.`,
      EGRESS_ALERT_LASTS_MS,
    )
  }

  const serve = createPipeline({
    ...{ gate, clock, standing, meter, heldBack, propose, held, sends: sent.count },
    send,
    outward: { exchange, keys },
    upstream: (name) => options.upstreams.find((each) => each.name === name),
    callerOf: caller,
    refused: () => meters.requests.add('refused'),
    onForeign,
    ended: told,
  })
  const connect = createLines({
    ...{ gate, clock, standing, heldBack, propose, onForeign, sends: sent.count },
    dial: exchange.dial,
    upstreams: () => options.upstreams,
    callerOf: caller,
    refused: () => meters.requests.add('refused'),
    ended(ended) {
      count(ended, false)
      records.now(ended, () => '')
    },
  })
  const socket = createEgressSocket({
    ...{ clock, log, serve, connect, meters, forget: standing.forget },
    pathOf: containment.sockets.egressPathOf,
    opened: (session) => containment.sockets.open(session, 'egress'),
    malformed(session, error) {
      const { principal } = caller(session)
      gate.refuse({ principal, operation: 'egress.request', resource: `session:${session}` }, error)
    },
  })

  // What is under way ends with the mode, if the configuration says so.
  const deaf = guard.events.subscribe(({ type }) => {
    if (type === 'hub.mode.changed.v1' && heldBack() !== undefined) socket.cutAll()
  })

  return {
    meters,
    proposals,
    restsUntilMs: standing.restsUntilMs,
    /** For a try by the operator, on the way that requests of agents take. */
    trying: { clock, exchange, keys },
    archives: archives.view,
    /** Opens the second socket of a session that may reach something; nothing for another. */
    async open(session: string): Promise<void> {
      if ((tasks.session(session)?.authority.egress.length ?? 0) === 0) return
      standing.begin(session)
      await socket.open(session)
    },
    close: socket.close,
    isBusy: socket.isBusy,
    closeAll() {
      deaf()
      socket.closeAll()
      records.flush()
      exchange.close()
    },
  }
}

export type Egress = ReturnType<typeof createEgress>
