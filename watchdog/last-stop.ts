/**
 * The backup contact's stop with hub and watchdog both dead (fault F12): a process of its own, started by systemd when somebody connects to
 * its port, by sudo, or by the operator's own account. It keeps no card: it reads the watchdog's, judges it by the same code, and ends again.
 *
 * L1. It first tells whatever is still alive: the watchdog's socket, then the hub's. Only then it stops by label itself.
 * L2. It leaves an order in the home before anything is stopped: whatever starts later obeys it.
 * L3. A configuration that cannot be read does not prevent a stop: then the engine's usual socket is used.
 * L4. Connections can keep it alive, so it trusts nothing that it read before: the card is the one in the file now, and its own stop
 *     counts for two and a half minutes, longer than anybody follows a stop. After that only the order in the home counts.
 */
import type { Server } from 'node:http'
import path from 'node:path'
import { createActs } from './act/act.ts'
import { leaveStopOrder, readStopOrder } from './act/stop-order.ts'
import type { Clock } from './base/clock.ts'
import { type Paths, pathsOf, readInstance } from './base/home.ts'
import { http } from './base/node-http.ts'
import { exchange } from './base/wire.ts'
import { type Config, parseConfig } from './config/config.ts'
import { loadConfig } from './config/file.ts'
import { keepPlaces } from './door/connections.ts'
import { followContact } from './door/contact-card.ts'
import { createContactStop } from './door/contact-stop.ts'
import { isStopPath, serveStop } from './door/stop-door.ts'
import type { RandomBytes } from './door/stop-proof.ts'
import type { Lease } from './judge/lease.ts'
import { createEngine } from './observe/engine.ts'
import type { HubLine } from './observe/hub-line.ts'

/** Without a request for this long it ends; the next connection starts it again. */
const IDLE_MS = 60_000
const ANSWER_MS = 3_000
const STOP_MS = 90_000
/** How long its own stop counts besides the order in the home, which a starting watchdog takes over. */
const HELD_MS = 150_000
const CONNECTIONS_MAX = 64
const LIMITS = { headersTimeout: 5_000, requestTimeout: 10_000, connectionsCheckingInterval: 1_000 }
/** It asks the hub as the owner of the home, which needs no lease. */
const NO_LEASE: Lease = {
  ...{ epoch: 0, bootId: '', intervalMs: 0, heartbeatAgeMs: 0, deadlineInMs: 0, demand: 'safe', conditions: [] },
  ...{ witnessSize: 0, witnessHead: '', ask: [], awayInMs: null, stopId: 0 },
}

export interface LastStopLog {
  warn(fields: object, text: string): void
}

async function configOf(paths: Paths, log: LastStopLog): Promise<Config> {
  try {
    return (await loadConfig(paths.own)).config
  } catch (error) {
    log.warn({ reason: (error as Error).message }, 'the configuration cannot be read; the defaults are used')
    return parseConfig({})
  }
}

/** The hub by its operator's socket, as `hub shutdown` asks it. */
function hubBySocket(socketPath: string, clock: Clock): HubLine {
  const ask = (method: 'GET' | 'POST', at: string, body: object | undefined, deadlineMs: number) =>
    exchange(clock, {
      ...{ socketPath, method, path: at, deadlineMs, bytesMax: 4e6 },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  return {
    async lease() {
      try {
        await ask('GET', '/v1/mode', undefined, ANSWER_MS)
        return { kind: 'refused', reason: 'it answers' }
      } catch (error) {
        return { kind: 'silent', reason: (error as Error).message }
      }
    },
    async shutdown(_epoch, { reason }, deadlineMs) {
      const body = { exit: 'shutdown', drain: false, emergency: true, reason }
      const { status } = await ask('POST', '/v1/shutdown', body, deadlineMs)
      // The engine says what came of it.
      return status === 200 ? [] : null
    },
  }
}

/** Asks the watchdog by its socket; true if it did it. */
async function stopByWatchdog({ socket }: Paths, reason: string, clock: Clock): Promise<boolean> {
  const call = { socketPath: socket, bytesMax: 4e6 }
  try {
    await exchange(clock, { ...call, method: 'GET', path: '/v1/status', deadlineMs: ANSWER_MS })
    const body = JSON.stringify({ by: 'contact', reason })
    const said = await exchange(clock, { ...call, method: 'POST', path: '/v1/shutdown', body, deadlineMs: STOP_MS })
    return said.status === 200
  } catch {
    return false
  }
}

/** Builds the server; the caller says where it listens. `onIdle` is called when nobody has asked for a minute. @throws StartError */
export async function createLastStop(
  options: { home: string; port: number },
  parts: { clock: Clock; log: LastStopLog; random: RandomBytes; onIdle: () => void },
): Promise<Server> {
  const { clock, log, random } = parts
  const paths = pathsOf(options.home)
  const config = await configOf(paths, log)
  const instance = readInstance(paths.instance)
  const engine = createEngine({ socketPath: config.engineSocket, instance, timeoutMs: config.engineTimeoutMs }, clock)
  const hub = hubBySocket(path.join(options.home, 'run', 'operator.sock'), clock)
  const acts = createActs(config, { clock, engine, hub })
  let stoppedMs = Number.NEGATIVE_INFINITY
  const nowMs = () => clock.read().monotonicMs

  async function stop(reason: string): Promise<void> {
    stoppedMs = nowMs()
    try {
      leaveStopOrder(paths.stopOrder, { by: 'contact', reason })
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'could not record in the home that everything should stay stopped')
    }
    const isTold = await stopByWatchdog(paths, reason, clock)
    // Even if the watchdog says that it is done: what the engine shows decides.
    const stopped = await acts.stopEverything(NO_LEASE, { by: 'contact', reason })
    stoppedMs = nowMs()
    log.warn({ isTold, ...stopped }, 'stopped by the card')
  }

  const contact = followContact(paths.contact, () => clock.read().wallMs)
  const contactStop = createContactStop({
    ...{ instance, random, contact, clock, log, stop },
    isHeld: () => nowMs() - stoppedMs < HELD_MS || readStopOrder(paths.stopOrder) !== null,
    count: async () => (await engine.list()).length,
  })

  let open = 0
  let cancel = clock.after(IDLE_MS, parts.onIdle)
  const server = http.createServer(LIMITS, (request, response) => {
    cancel()
    open += 1
    response.once('close', () => {
      open -= 1
      if (open === 0) cancel = clock.after(IDLE_MS, () => (acts.progress() === null ? parts.onIdle() : undefined))
    })
    const isSpoken = request.httpVersion === '1.1' || request.httpVersion === '1.0'
    if (isSpoken && isStopPath(request.url ?? ''))
      return void serveStop(request, response, options.port, {
        contactStop,
        contact,
        reach: parseConfig({}).reach,
        clock,
      })
    response.writeHead(404, { connection: 'close' }).end()
  })
  keepPlaces(server, CONNECTIONS_MAX)
  return server
}
