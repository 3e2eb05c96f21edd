/** The edge ring: every way in, over the same operations. Built in the order in which the parts need each other. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import { watchdogPortOf } from '../base/watchdog-words.ts'
import type { AlertSettings } from '../guard/alerts/settings.ts'
import type { Guard } from '../guard/guard.ts'
import { createConsoleLinks } from '../guard/identity/console-links.ts'
import type { Answer } from '../protocol/answers.ts'
import type { Upstream } from '../protocol/egress/upstreams.ts'
import type { Ending } from '../work/dispatch/shutdown.ts'
import type { Hook } from '../work/messages/hooks.ts'
import type { Engine } from '../work/sandbox/engine.ts'
import type { Secrets } from '../work/sandbox/secrets.ts'
import type { Work } from '../work/work.ts'
import { createAgentEntrance } from './agents/entrance.ts'
import type { AgentSockets } from './agents/socket.ts'
import type { MetricsPort } from './doctor/ports.ts'
import { createHubDrill } from './drill.ts'
import { createEgress, type Egress } from './egress-entrance.ts'
import { createHubDoctor } from './hub-doctor.ts'
import { hubHandlers } from './hub-handlers.ts'
import { keepingHandlers } from './keeping-handlers.ts'
import { answerLink } from './people/answer-link.ts'
import { createContactEntrance } from './people/contact.ts'
import { createDoors } from './people/doors.ts'
import { createAddress, createWatchdogPlaces, placesOf, type Reach } from './people/reach.ts'
import { createHealth } from './routes/operator.ts'
import type { UpstreamParts } from './routes/upstreams.ts'
import { createServe } from './serve.ts'
import { createWatchdogLink } from './watchdog/link.ts'
import { workHandlers } from './work-handlers.ts'

export interface EntranceOptions {
  home: string
  instance: string
  version: string
  /** Of the loopback listener; 0 switches it off. */
  httpPort: number
  /** The names under which loopback is reached from outside. */
  reach: Reach
  alerts: AlertSettings
  artifactBytesMax: number
  inputBytesMax: number
  /** How long sessions may go on when told to finish. */
  shutdownMs: number
  /** Where the range of sessions' users begins. */
  firstUser: number
  watchdogKey: Buffer
  hooks: readonly Hook[]
  upstreams: readonly Upstream[]
  /** Whether running sessions reach anything while the hub is in safe mode. */
  egressInSafe: boolean
  egressTaskBytes: number
  egressCacheBytes: number
  environment: NodeJS.ProcessEnv
  isWorking: () => boolean
}

export interface EntranceOuter {
  clock: Clock
  random: Random
  log: Log
  engine: Engine
  guard: Guard
  work: Work
  secrets: Secrets
  /** The configuration in force, and what the file says otherwise. */
  config: () => Answer<'config.show'>
  onExit: (how: Ending) => void
  metrics: MetricsPort
}

/** A session's two sockets as one entrance. */
const withEgress = (agents: AgentSockets, egress: Egress): AgentSockets => ({
  ...agents,
  async open(session) {
    await agents.open(session)
    await egress.open(session)
  },
  close(session) {
    egress.close(session)
    agents.close(session)
  },
  cut(session) {
    egress.close(session)
    agents.cut(session)
  },
})

const grantsOf = (rows: Readonly<Record<string, { egress?: readonly string[] | undefined }>>) =>
  Object.fromEntries(Object.entries(rows).map(([agent, { egress }]) => [agent, egress ?? []]))

export function createEntrances(options: EntranceOptions, outer: EntranceOuter) {
  const { home, instance, version, reach } = options
  const { clock, random, log, guard, work } = outer
  const { gate, modes, audit, lease, meta } = guard
  const { tasks, upkeep } = work

  const address = createAddress(options.httpPort)
  const { agents, frames, sumRefusals } = createAgentEntrance(options, outer)
  const watchdogPlaces = createWatchdogPlaces(home)
  const egress = createEgress(options, {
    ...outer,
    archivesFolder: join(home, 'cache', 'archives'),
    ownPorts: () => new Set([address.port(), outer.metrics.port, watchdogPortOf(home)]),
    ownPlaces: () => new Set([...placesOf(reach), ...watchdogPlaces()]),
    acted: work.supervision.vitals.acted,
  })
  work.supervision.vitals.callsOf(egress.isBusy)
  const watchdog = createWatchdogLink(options, outer)
  const { shutdown, say } = watchdog
  const contact = createContactEntrance(
    { reach, port: address.port, instance },
    { clock, random, log, guard, tasks, shutdown, ask: say },
  )
  watchdog.onExit(contact.contactStop.seen)
  const drill = createHubDrill({ ...outer, say })
  const health = createHealth({
    ...{ instance, version, clock, modes, tasks, audit, lease, meta },
    onShown: guard.shownHeads.note,
    forwarding: guard.forwarder.states,
    stopping: shutdown.progress,
    drill: drill.view,
    homeSize: upkeep.size.view,
    stuck: work.supervision.reaper.stuck,
    canary: work.runtime.view,
  })
  const links = createConsoleLinks({ clock, random })
  const parts = { ...outer, address, watchdog, contact, drill, health, links, cutFrames: frames.close }
  const declared: UpstreamParts = {
    ...{ registry: work.catalogue.registry, secrets: outer.secrets, money: work.money },
    ...{ upstreams: () => options.upstreams, restsUntilMs: egress.restsUntilMs, trying: egress.trying },
    granted: () => grantsOf(guard.policy.active().data?.agents ?? {}),
  }
  const doctor = createHubDoctor(options, {
    ...parts,
    declared,
    egressMeters: egress.meters,
    archives: egress.archives,
  })
  const learnSecrets = () => void outer.secrets.learn()
  const serve = createServe({
    gate,
    redaction: guard.redaction,
    learnSecrets,
    tracer: work.supervision.traces?.tracer,
    handlers: {
      ...workHandlers(parts),
      ...keepingHandlers({ home, publicUrl: reach.publicUrl }, { ...parts, proposals: egress.proposals }),
      ...hubHandlers({ ...parts, doctor, declared }),
    },
  })
  const answering = answerLink({ ...guard, clock, random, settle: work.settleApproval, learnSecrets })
  const doors = createDoors(options, { ...parts, serve, answering })
  const { publicUrl } = reach
  if (publicUrl !== undefined)
    guard.alertDelivery.linkBy((cause) => {
      const secret = guard.approvals.linkOf(cause)
      return secret === undefined ? undefined : `${publicUrl}/approve/${secret}`
    })

  return {
    agents: withEgress(agents, egress),
    egressMeters: egress.meters,
    open: doors.open,
    knock: watchdog.knock,
    healthz: doors.healthz,
    sumRefusals,
    remindOfDrill: drill.remind,
    farewell: watchdog.farewell,
    leave: watchdog.leave,
    /** Tells the watchdog what it does not know of the contact's card. */
    tellContact: () => void (guard.contact.untold() !== undefined && contact.news()),
    async close() {
      egress.closeAll()
      agents.closeAll()
      await doors.close()
    },
  }
}

export type Entrances = ReturnType<typeof createEntrances>
