/** Builds the doctor of a running hub: every row that it can judge from within. */
import { release } from 'node:os'
import { readArrivals } from '../base/arrivals.ts'
import type { Clock } from '../base/clock.ts'
import type { AlertSettings } from '../guard/alerts/settings.ts'
import type { Guard } from '../guard/guard.ts'
import type { Archives } from '../work/egress/archives.ts'
import type { Engine } from '../work/sandbox/engine.ts'
import type { Secrets } from '../work/sandbox/secrets.ts'
import type { Work } from '../work/work.ts'
import { channelChecks, createWatchdogChecks } from './doctor/channels.ts'
import { createDoctor } from './doctor/doctor.ts'
import { createEngineChecks, createRuntimeCheck, createUsersCheck } from './doctor/engine.ts'
import { forwardChecks } from './doctor/forwarding.ts'
import { createGitCheck, createHostChecks, growthCheck } from './doctor/host.ts'
import { createPortChecks, type MetricsPort, portOwners } from './doctor/ports.ts'
import { createProcessCheck, createUnitsCheck } from './doctor/process.ts'
import { priceChecks, upstreamChecks } from './doctor/upstreams.ts'
import type { HubDrill } from './drill.ts'
import type { EgressMeters } from './egress/records.ts'
import { SESSION_CONNECTIONS_MAX } from './egress/server.ts'
import type { ContactEntrance } from './people/contact.ts'
import type { Address } from './people/reach.ts'
import { type UpstreamParts, viewUpstreams } from './routes/upstreams.ts'
import type { WatchdogLink } from './watchdog/link.ts'

export interface HubDoctorOptions {
  home: string
  alerts: AlertSettings
  /** Where the range of sessions' users begins. */
  firstUser: number
  /** The environment with which this process was started (fault F20). */
  environment: NodeJS.ProcessEnv
}

export function createHubDoctor(
  options: HubDoctorOptions,
  parts: {
    clock: Clock
    engine: Engine
    guard: Guard
    work: Pick<Work, 'catalogue' | 'containment' | 'runtime' | 'upkeep'>
    secrets: Secrets
    address: Address
    watchdog: WatchdogLink
    contact: ContactEntrance
    drill: HubDrill
    metrics: MetricsPort
    declared: UpstreamParts
    egressMeters: EgressMeters
    archives: Archives['view']
  },
) {
  const { home, alerts, firstUser, environment } = options
  const {
    clock,
    engine,
    guard,
    work,
    secrets,
    address,
    watchdog,
    contact,
    drill,
    metrics,
    declared,
    egressMeters,
    archives,
  } = parts
  const { store, audit, policy, modes, lease, host, alertDelivery, alertRows, forwarder } = guard
  return createDoctor({
    ...{ registry: work.catalogue.registry, modes, lease, secrets },
    host: createHostChecks({ home, store, audit, policy, modes, ...host }),
    engine: createEngineChecks(engine, { kernel: release(), node: process.version }),
    more: [
      createRuntimeCheck(work.runtime),
      createUsersCheck(firstUser, work.containment.usersWatch.look),
      createPortChecks(() => portOwners(home, { port: address.port(), isUp: true, metrics }, watchdog.status)),
      createUnitsCheck({ home }),
      createGitCheck(),
      createProcessCheck({ home, env: environment }),
      drill.checks,
      createWatchdogChecks(watchdog.status),
      contact.checks,
      async () => [growthCheck(work.upkeep.size.view())],
      async () => channelChecks(alerts, alertDelivery.states(), alertRows, clock.wallMs(), readArrivals(home)),
      async () => {
        const { upstreams } = viewUpstreams(declared)
        const prices = declared.money.prices()
        return [
          ...priceChecks(upstreams, prices, clock.wallMs()),
          ...upstreamChecks(upstreams, egressMeters, SESSION_CONNECTIONS_MAX, archives(), prices.fault === null),
        ]
      },
      async () => forwardChecks(forwarder.states()),
    ],
  })
}
