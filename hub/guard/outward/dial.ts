/**
 * One connection for an agent's request (E2, E3): the name is resolved once, every address is judged, and only judged addresses are tried.
 *
 * D1. One address that is not permitted refuses the whole name: a name that points outside and inside is a trick.
 * D2. What belongs to this hub, its watchdog or its console is never reached, on no interface and not under `local`: an agent would be at the
 *     operator's door. Nor are its doors under the names of a tunnel or proxy, 100.64.0.0/10, and the forms that carry another address within.
 * D3. The next address is tried after 250 ms without an answer, beside the first. The first that connects is used, the others are closed.
 * D4. TLS is always verified against the name; nothing in the environment loosens that.
 */
import { BlockList, connect as connectPlain, isIP, type Socket } from 'node:net'
import os from 'node:os'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { kindForEgress } from '../../base/addresses.ts'
import type { Clock, Timer } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { type Address, inTurn, type Resolve } from './target.ts'

/** How long one address may be silent before the next is tried beside it. */
const NEXT_AFTER_MS = 250

export interface Place {
  /** A name, or an address without brackets. */
  host: string
  port: number
  /** On this machine or its private network, as the operator declared it. */
  local: boolean
}

export interface DialParts {
  clock: Clock
  resolve: Resolve
  /** The ports on which this hub, its watchdog and its console listen now. */
  ownPorts: () => ReadonlySet<number>
  /** Under what a tunnel or proxy brings requests to this hub or its watchdog now, as `host:port`. */
  ownPlaces: () => ReadonlySet<string>
  /** Certificates to trust beside those of the system: for tests. */
  ca?: string
}

export interface Asked {
  place: Place
  /** Speaks TLS to the name of the place; else the bare connection is handed out (CONNECT). */
  secured: boolean
  /** For everything until the connection can be used. */
  connectMs: number
}

/** Throws `forbidden` where nothing may go, and `upstream_failed` where nobody answers. */
export type Dial = (asked: Asked, signal: AbortSignal) => Promise<Socket>

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

const familyOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** Whether packets to this address end on this machine. */
function isThisMachine(address: string): boolean {
  if (loopback.check(address, familyOf(address))) return true
  const own = new BlockList()
  for (const each of Object.values(os.networkInterfaces()).flat())
    if (each !== undefined && !each.address.includes('%')) own.addAddress(each.address, familyOf(each.address))
  return own.check(address, familyOf(address))
}

/** Why no request of an agent may go to this address; undefined if it may. `isOwn` says whether it ends at a door of this hub. Pure. */
export function whyNever(address: string, local: boolean, isOwn: boolean): string | undefined {
  const kind = kindForEgress(address)
  if (kind === 'never') return `its address ${address} is of a kind that is never used`
  if (isOwn) return 'it is an address of this hub itself'
  if (kind === 'public' && local)
    return `its address ${address} is public, and local says it is on this machine or in a private network`
  if (kind === 'private' && !local)
    return `its address ${address} is private; say local: true for this upstream if that is meant`
  return undefined
}

/** Where it failed, in `facts.at` of the error. */
type At = 'name' | 'address' | 'connection' | 'tls' | 'time'
const failed = (why: string, at: At): HubError => new HubError('upstream_failed', why, { facts: { at } })

export function createDial({ clock, resolve, ownPorts, ownPlaces, ca }: DialParts): Dial {
  async function judged({ host, port, local }: Place): Promise<readonly Address[]> {
    if (ownPlaces().has(`${host}:${port}`))
      throw new HubError('forbidden', `nothing is sent to ${host}: it is a name of this hub itself`, {
        facts: { at: 'address' },
      })
    const literal = isIP(host)
    let found: readonly Address[]
    try {
      found = literal === 0 ? await resolve(host) : [{ address: host, family: literal as 4 | 6 }]
    } catch (thrown) {
      throw failed(
        `its name ${host} cannot be resolved: ${(thrown as NodeJS.ErrnoException).code ?? 'no answer'}`,
        'name',
      )
    }
    if (found.length === 0) throw failed(`its name ${host} has no address`, 'name')
    for (const { address } of found) {
      const why = whyNever(address, local, ownPorts().has(port) && isThisMachine(address))
      if (why !== undefined)
        throw new HubError('forbidden', `nothing is sent to ${host}: ${why}`, { facts: { at: 'address' } })
    }
    return inTurn(found)
  }

  return async ({ place, secured, connectMs }, outer) => {
    const ending = new AbortController()
    const end = () => ending.abort()
    outer.addEventListener('abort', end, { once: true })
    if (outer.aborted) end()
    const timer = clock.after(connectMs, end)
    // A resolver cannot be interrupted, so it is abandoned when the time is up.
    const over = new Promise<never>((_, reject) => {
      const late = () => reject(failed(`${place.host} did not answer within ${connectMs / 1000} s`, 'time'))
      if (ending.signal.aborted) late()
      else ending.signal.addEventListener('abort', late, { once: true })
    })
    const whole = judged(place).then(async (addresses) => {
      const socket = await firstOf(addresses, place.port, clock, ending.signal)
      return secured ? secure(socket, place.host, ca, ending.signal) : socket
    })
    // Whoever comes too late is closed.
    whole.then(
      (socket) => ending.signal.aborted && socket.destroy(),
      () => undefined,
    )
    try {
      return await Promise.race([whole, over])
    } finally {
      timer.cancel()
      outer.removeEventListener('abort', end)
      over.catch(() => undefined)
    }
  }
}

/** Connects to the first of these that answers (D3). */
function firstOf(addresses: readonly Address[], port: number, clock: Clock, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const open = new Set<Socket>()
    let next = 0
    let timer: Timer | undefined
    const stop = () => {
      timer?.cancel()
      for (const socket of open) socket.destroy()
      open.clear()
      signal.removeEventListener('abort', stop)
    }
    signal.addEventListener('abort', stop, { once: true })
    const tryNext = (last: Error) => {
      timer?.cancel()
      const address = addresses[next]
      next += 1
      if (signal.aborted) return
      if (address === undefined) {
        if (open.size > 0) return
        stop()
        reject(
          failed(`nobody takes the connection: ${(last as NodeJS.ErrnoException).code ?? last.message}`, 'connection'),
        )
        return
      }
      const socket = connectPlain({ host: address.address, port, family: address.family })
      open.add(socket)
      const lost = (thrown: Error) => {
        open.delete(socket)
        socket.destroy()
        tryNext(thrown)
      }
      socket.once('error', lost)
      socket.once('connect', () => {
        open.delete(socket)
        socket.off('error', lost)
        stop()
        // An address that was not judged can only be a proxy or a fault of ours (E2).
        if (socket.remoteAddress !== address.address) {
          socket.destroy()
          reject(new HubError('forbidden', 'the connection led to another address than the one judged'))
          return
        }
        socket.setNoDelay(true)
        socket.on('error', () => socket.destroy())
        resolve(socket)
      })
      timer = clock.after(NEXT_AFTER_MS, () => tryNext(new Error('no answer')))
    }
    tryNext(new Error('no address'))
  })
}

function secure(socket: Socket, host: string, ca: string | undefined, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = connectTls({
      socket,
      host,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ['http/1.1'],
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      ...(ca === undefined ? {} : { ca }),
    })
    const end = () => secured.destroy()
    signal.addEventListener('abort', end, { once: true })
    const lost = (thrown: Error) => {
      secured.destroy()
      reject(failed(`no TLS with ${host}: ${(thrown as NodeJS.ErrnoException).code ?? thrown.message}`, 'tls'))
    }
    secured.once('error', lost)
    secured.once('close', () => reject(failed(`${host} closed the connection during the TLS handshake`, 'tls')))
    secured.once('secureConnect', () => {
      signal.removeEventListener('abort', end)
      secured.off('error', lost)
      secured.on('error', () => secured.destroy())
      if (secured.alpnProtocol === false || secured.alpnProtocol === 'http/1.1') return resolve(secured)
      secured.destroy()
      reject(failed(`${host} speaks ${secured.alpnProtocol} and no HTTP/1.1`, 'tls'))
    })
  })
}
