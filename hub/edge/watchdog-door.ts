/**
 * The hub's door for the watchdog, `run/watchdog.sock`: leases and the shutdown it asks for, MAC'd over raw bytes (protocol.md section 1).
 * A lease that says what the last one said changes nothing and leaves no record; a change of what is demanded, and every refusal, does.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { HubError, toHubError } from '../base/errors.ts'
import { http } from '../base/node-http.ts'
import type { Gate } from '../guard/gate.ts'
import type { Grant, StopGrant } from '../guard/grant.ts'
import { type Lease, type LeaseWord, macOf } from '../guard/operator/lease.ts'
import { WATCHDOG } from '../guard/principal.ts'
import type { OperationName } from '../protocol/operations.ts'
import type { StopRequest } from '../work/dispatch/shutdown.ts'
import { readBody, requireContentType, requireVersion, sendProblem } from './http-answers.ts'
import { keepPlaces } from './places.ts'

const BYTES_MAX = 65_536
const CONNECTIONS_MAX = 8

/** Refusals that only the door itself makes, and so records. */
const BEFORE_THE_GATE: ReadonlySet<string> = new Set([
  'unauthenticated',
  'schema_invalid',
  'unknown_operation',
  'too_large',
])

export interface WatchdogDoorParts {
  key: Buffer
  gate: Gate
  lease: Lease
  /** What a lease is answered with, apart from its echo. */
  report: (word: LeaseWord) => Record<string, unknown>
  /** Before the lease counts: holds what the watchdog has witnessed against the log. */
  judgeWitness: (word: LeaseWord) => void
  shutdown: (grant: StopGrant, request: StopRequest) => Promise<unknown>
  /** Hears of a word that was not the watchdog's, or not a new one. */
  onRefused?: (error: HubError) => void
  /** Holds every unfinished task. */
  holdAll: (grant: Grant) => number
}

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
        // A lease stands also while the store cannot record it: it only tells how strict to be.
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
