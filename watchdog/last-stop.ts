/**
 * The backup contact's stop with hub and watchdog both dead (fault F12): a process of its own, started by systemd when somebody connects to
 * its port, by sudo, or by the operator's own account. It keeps no card: it reads the watchdog's, judges by the same desk, and goes again.
 *
 * L1. What is still alive is told first: the watchdog's socket, then the hub's. Only then it stops by label itself.
 * L2. An order is left in the home before anything is stopped: whatever starts later obeys it.
 * L3. A configuration that cannot be read keeps nobody from stopping: then the engine's usual socket is taken.
 * L4. Whoever connects keeps it alive, so it trusts nothing it has read before: the card is the one in the file now, and what it has stopped
 *     is past after two and a half minutes, longer than anybody follows a stop. Then the order in the home alone says what holds.
 */
import type { Server } from 'node:http'
import path from 'node:path'
import { createActs } from './act.ts'
import type { Clock } from './clock.ts'
import { type Config, parseConfig } from './config.ts'
import { loadConfig } from './config-file.ts'
import { followContact } from './contact.ts'
import { createEngine } from './engine.ts'
import { type Paths, pathsOf, readInstance } from './home.ts'
import type { HubLine, Lease } from './lease.ts'
import { http } from './node-http.ts'
import { keepPlaces } from './places.ts'
import { createStopDesk } from './stop-desk.ts'
import { isStopPath, serveStop } from './stop-door.ts'
import type { RandomBytes } from './stop-proof.ts'
import { leaveStopOrder, readStopOrder } from './stops.ts'
import { exchange } from './wire.ts'

/** Without a request for so long it ends; the next connection begins it anew. */
const IDLE_MS = 60_000
const ANSWER_MS = 3_000
const STOP_MS = 90_000
/** For so long its own word counts beside the order in the home, which a watchdog that starts takes over. */
const HELD_MS = 150_000
const CONNECTIONS_MAX = 64
const LIMITS = { headersTimeout: 5_000, requestTimeout: 10_000, connectionsCheckingInterval: 1_000 }
/** The hub is asked as the account that it belongs to, which needs no lease. */
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
    log.warn({ reason: (error as Error).message }, 'the configuration cannot be read; the usual one is taken')
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
      // What it came to is for the engine to say.
      return status === 200 ? [] : null
    },
  }
}

/** The watchdog by its socket; true where it has done it. */
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

/** Builds the server; who starts it says where it listens. `onIdle` is called when nobody has asked for a minute. @throws StartError */
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
      log.warn({ reason: (error as Error).message }, 'the order to stay stopped could not be left in the home')
    }
    const isTold = await stopByWatchdog(paths, reason, clock)
    // Also where the watchdog says that it is done: what the engine shows decides.
    const stopped = await acts.stopEverything(NO_LEASE, { by: 'contact', reason })
    stoppedMs = nowMs()
    log.warn({ isTold, ...stopped }, 'stopped by the card')
  }

  const contact = followContact(paths.contact, () => clock.read().wallMs)
  const desk = createStopDesk({
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
      return void serveStop(request, response, options.port, { desk, contact, reach: parseConfig({}).reach, clock })
    response.writeHead(404, { connection: 'close' }).end()
  })
  keepPlaces(server, CONNECTIONS_MAX)
  return server
}
