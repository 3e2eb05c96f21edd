/** The doors of people: the operator's socket, and loopback with its plugins (webhook, console, API, stop page). */

import { chmodSync } from 'node:fs'
import type { Server } from 'node:http'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { AlertSettings } from '../../guard/alerts/settings.ts'
import type { Guard } from '../../guard/guard.ts'
import type { ConsoleLinks } from '../../guard/identity/console-links.ts'
import { OPERATOR } from '../../guard/principal.ts'
import type { Work } from '../../work/work.ts'
import type { Health } from '../routes/operator.ts'
import type { Serve } from '../serve.ts'
import { freeSocket, listenOn } from '../unix-socket.ts'
import type { WatchdogLink } from '../watchdog/link.ts'
import { bearerApi } from './bearer-api.ts'
import { consolePage, readConsoleFiles } from './console-page.ts'
import type { ContactEntrance } from './contact.ts'
import { type HttpParts, mountOperations, operationAt } from './http-operations.ts'
import { OPERATOR_LIMITS, prepared } from './listener.ts'
import { createLoopbackHttp, type LoopbackPlugin } from './loopback.ts'
import type { Address, Reach } from './reach.ts'
import { webhook } from './webhook.ts'

/** The operator's socket serves every operation that has a path in the operations table. Whoever reaches it is the operator. */
export function createOperatorHttp(parts: HttpParts): FastifyInstance {
  const heard = new WeakSet<object>()
  const app = prepared(parts, { ...OPERATOR_LIMITS, ...parts.limits }, (request, error) => {
    // The gate records its own refusals (T22). Here is what never reached it: a body, a header, a path.
    if (heard.has(request)) return
    const resource = request.url.slice(0, 200)
    parts.gate.refuse({ principal: OPERATOR, operation: operationAt(request), resource }, error)
  })
  app.addHook('onRequest', async ({ headers }) => {
    // Whoever shows a credential is only what it says. They must not be taken for the account itself (T18).
    if (headers.authorization !== undefined)
      throw new HubError('forbidden', 'whoever uses this socket is the operator; it takes no other credential')
  })
  mountOperations(app, parts, { principalOf: () => OPERATOR, heard: (request) => void heard.add(request) })
  return app
}

/** Opens and closes the listeners of people and of the watchdog: two sockets of the home, and loopback unless it is switched off. */
function createListeners(
  { home }: { home: string },
  parts: { address: Address; operator: FastifyInstance; loopback: FastifyInstance; watchdog: Server },
) {
  const { address, operator, loopback, watchdog } = parts

  return {
    async open() {
      const socket = join(home, 'run', 'operator.sock')
      await freeSocket(socket)
      await operator.listen({ path: socket })
      chmodSync(socket, 0o600)
      const door = join(home, 'run', 'watchdog.sock')
      await freeSocket(door)
      await listenOn(watchdog, door)
      chmodSync(door, 0o600)
      const port = address.port()
      if (port !== 0) {
        await loopback.listen({ host: '127.0.0.1', port }).catch((thrown: NodeJS.ErrnoException) => {
          throw thrown.code === 'EADDRINUSE'
            ? new HubError('conflict', `port ${port} is in use; set http.port in hub.yaml to a free one`)
            : thrown
        })
        address.listensAt((loopback.server.address() as { port: number }).port)
      }
      return { port: address.port(), socket }
    },
    async close() {
      watchdog.close()
      operator.server.closeAllConnections()
      loopback.server.closeAllConnections()
      await Promise.all([operator.close(), loopback.close()])
    },
  }
}

export interface DoorOptions {
  home: string
  reach: Reach
  alerts: Pick<AlertSettings, 'zone'>
  inputBytesMax: number
  /** Whether the work loops do their work. */
  isWorking: () => boolean
}

export function createDoors(
  options: DoorOptions,
  parts: {
    clock: Clock
    log: Log
    guard: Guard
    work: Pick<Work, 'catalogue'>
    address: Address
    links: ConsoleLinks
    watchdog: WatchdogLink
    contact: ContactEntrance
    /** The page of a link that answers one approval. */
    answering: LoopbackPlugin
    health: Health
    serve: Serve
  },
) {
  const { home, reach, alerts, inputBytesMax, isWorking } = options
  const { clock, log, guard, work, address, links, watchdog, contact, answering, health, serve } = parts
  const { gate, events, credentials, host } = guard
  /** Anybody may read it, so it does not say which containers are stuck. */
  const healthz = () => ({ status: isWorking() ? 200 : 503, body: { ...health(), stuck: undefined } })
  const http = { serve, gate, artifacts: work.catalogue.artifacts, events, clock, log, healthz, inputBytesMax }
  const operator = createOperatorHttp(http)
  const hook = webhook({
    ...{ credentials, gate, clock, zone: () => alerts.zone },
    heartbeat: (device) => watchdog.heartbeat(`device ${device}`, 'webhook'),
  })
  const files = readConsoleFiles(log)
  const page = consolePage({ files, links, credentials, gate, clock, nowMs: host.steady.wallMs })
  const loopback = createLoopbackHttp(address.port, {
    ...http,
    reach,
    plugins: [hook, page, bearerApi({ ...http, credentials }), contact.plugin, answering],
    before: contact.refuseElsewhere,
  })
  return { ...createListeners({ home }, { address, operator, loopback, watchdog: watchdog.door }), healthz }
}
