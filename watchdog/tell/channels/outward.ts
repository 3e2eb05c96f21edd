/**
 * One outgoing HTTP(S) request to a host that the configuration names (T37).
 * O1 the name is resolved once, all its addresses must be allowed, and the connection goes only to addresses that were judged: IPv4 and IPv6
 * in turn, four at most, the next only if the one before took no connection (fault C23).
 * O2 no redirect is followed: a server that answers 3xx has not taken the message. O3 only the status counts; the answer's body is never
 * read, so its size does not matter, and a server that keeps sending is cut off. O4 one deadline for all of it.
 */
import { lookup } from 'node:dns/promises'
import type { ClientRequest } from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { readTarget, refusal } from '../../base/address.ts'
import type { Clock } from '../../base/clock.ts'
import { http } from '../../base/node-http.ts'

export interface Outgoing {
  readonly url: string
  readonly local: boolean
  readonly method: 'GET' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly deadlineMs: number
}
/** Addresses of a host name, as the machine's resolver says. */
export type Resolve = (host: string) => Promise<readonly string[]>
/** Rejects unless the target answered 2xx in time. */
export type Outward = (call: Outgoing) => Promise<void>

/** Asks the machine's resolver, hosts file included. */
export const resolveHost: Resolve = async (host) =>
  (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address)

const TRIES_MAX = 4
interface Holder {
  request?: ClientRequest
  over: boolean
}
const HEADER_BYTES_MAX = 16 * 1024

async function pinned(url: URL, local: boolean, resolve: Resolve): Promise<readonly string[]> {
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname
  const addresses = net.isIP(host) === 0 ? await resolve(host) : [host]
  for (const address of addresses) {
    const problem = refusal(address, local)
    if (problem !== null) throw new Error(`${url.host} ${problem}`)
  }
  if (addresses.length === 0) throw new Error(`${url.host} has no address`)
  const isLike = (address: string) => net.isIP(address) === net.isIP(addresses[0] ?? '')
  const [own, other] = [addresses.filter(isLike), addresses.filter((address) => !isLike(address))]
  const turns = own.flatMap((address, at) => [address, ...other.slice(at, at + 1)])
  return [...turns, ...other.slice(own.length)].slice(0, TRIES_MAX)
}

/** Nobody there took the connection. */
class Unconnected extends Error {}

async function sendInTurn(
  addresses: readonly string[],
  url: URL,
  call: Outgoing,
  holder: Holder,
  clock: Clock,
): Promise<void> {
  for (const [at, address] of addresses.entries()) {
    const isLast = at === addresses.length - 1
    const share = call.deadlineMs / (addresses.length + 1)
    const cancel = isLast
      ? undefined
      : clock.after(share, () => holder.request?.destroy(new Error('took no connection')))
    try {
      return await sendTo(address, url, call, holder, () => cancel?.())
    } catch (thrown) {
      if (!(thrown instanceof Unconnected) || isLast || holder.over) throw thrown
    } finally {
      cancel?.()
    }
  }
}

function sendTo(address: string, url: URL, call: Outgoing, holder: Holder, onConnected: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let isConnected = false
    const secure = url.protocol === 'https:'
    const body = Buffer.from(call.body, 'utf8')
    const name = net.isIP(url.hostname) === 0 && !url.hostname.startsWith('[') ? { servername: url.hostname } : {}
    const request = (secure ? https : http).request({
      host: address,
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      method: call.method,
      path: `${url.pathname}${url.search}`,
      agent: false,
      maxHeaderSize: HEADER_BYTES_MAX,
      headers: { ...call.headers, host: url.host, 'content-length': body.length, connection: 'close' },
      ...(secure ? name : {}),
    })
    holder.request = request
    request.on('socket', (socket) =>
      socket.once('connect', () => {
        isConnected = true
        onConnected()
      }),
    )
    request.on('error', (error) => reject(isConnected ? error : new Unconnected(error.message)))
    request.on('response', (response) => {
      response.on('error', () => {})
      const status = response.statusCode ?? 0
      request.destroy()
      if (status >= 200 && status < 300) resolve()
      else if (status >= 300 && status < 400) reject(new Error(`answered ${status}; redirects are not followed`))
      else reject(new Error(`answered ${status}`))
    })
    request.end(body)
  })
}

/** The way out of this process for channels and pings. */
export function createOutward(parts: { clock: Clock; resolve: Resolve }): Outward {
  return (call) =>
    new Promise((resolve, reject) => {
      const url = readTarget(call.url, call.local)
      if (typeof url === 'string') return reject(new Error(`the URL ${url}`))
      const holder: Holder = { over: false }
      const cancel = parts.clock.after(call.deadlineMs, () => {
        holder.over = true
        reject(new Error(`${url.host} did not answer within ${call.deadlineMs} ms`))
        holder.request?.destroy()
      })
      // A hanging resolver is cut off too: what it answers later starts nothing.
      pinned(url, call.local, parts.resolve)
        .then((addresses) => (holder.over ? undefined : sendInTurn(addresses, url, call, holder, parts.clock)))
        .then(resolve, reject)
        .finally(cancel)
    })
}
