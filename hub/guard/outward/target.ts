/**
 * Where a message of the hub may go (T37): allow-list of host and port, resolved once, every address judged, and only these are used.
 *
 * O1. Only https, or http to a host that is listed as local; no user in the address.
 * O2. If any address of a name is not permitted, the whole name is refused: a name that points outside and inside is a trick.
 */
import { BlockList, isIP } from 'node:net'
import { HubError } from '../../base/errors.ts'

/** What kind of address an IP address is. An address that is not known to be public is not public. `private`: only if the operator listed exactly this host and port as local. `never`: not even then. */
export type AddressKind = 'public' | 'private' | 'never'

const listOf = (subnets: readonly [string, number][]): BlockList => {
  const list = new BlockList()
  for (const [net, prefix] of subnets) list.addSubnet(net, prefix, net.includes(':') ? 'ipv6' : 'ipv4')
  return list
}

/** Metadata services, link-local, multicast, documentation, and forms that carry another address within. */
const NEVER_4: readonly [string, number][] = [
  ['0.0.0.0', 8],
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
]
const PRIVATE_4: readonly [string, number][] = [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
]
const NEVER_6: readonly [string, number][] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
  ['fd00:ec2::', 32],
  ['fd20:ce::', 32],
]
const PRIVATE_6: readonly [string, number][] = [
  ['::1', 128],
  ['fc00::', 7],
]
const never4 = listOf(NEVER_4)
const private4 = listOf(PRIVATE_4)
const never6 = listOf(NEVER_6)
const private6 = listOf(PRIVATE_6)
/** All that is handed out as global unicast; mapped, translated and link-local addresses are outside of it. */
const global6 = listOf([['2000::', 3]])

export function kindOfAddress(address: string): AddressKind {
  const family = isIP(address)
  if (family === 4) {
    if (never4.check(address, 'ipv4')) return 'never'
    return private4.check(address, 'ipv4') ? 'private' : 'public'
  }
  if (family !== 6 || address.includes('%') || never6.check(address, 'ipv6')) return 'never'
  if (private6.check(address, 'ipv6')) return 'private'
  return global6.check(address, 'ipv6') ? 'public' : 'never'
}

const URL_LENGTH_MAX = 2000

export interface Rules {
  /** `host:port`, as `hostPortOf` writes it. */
  allow: ReadonlySet<string>
  /** Of those, the ones on this machine or its private network, listed by the operator. */
  local: ReadonlySet<string>
}
export interface Address {
  address: string
  family: 4 | 6
}
/** All addresses of a name; rejects when it has none. */
export type Resolve = (host: string) => Promise<readonly Address[]>

export interface Target {
  url: URL
  /** All of them judged, in the order in which they are tried. */
  addresses: readonly Address[]
}

const refused = (why: string): HubError => new HubError('forbidden', `nothing is sent there: ${why}`)

/** The address without its brackets: what a resolver takes. */
const hostOf = (url: URL): string => url.hostname.replace(/^\[(.*)\]$/, '$1')

export function hostPortOf(url: URL): string {
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
  return `${url.hostname}:${port}`
}

/** The URL of a text, by O1 and the allow-list. Throws `forbidden`. Pure. */
export function judgeUrl(text: string, { allow, local }: Rules): URL {
  if (text.length > URL_LENGTH_MAX || !URL.canParse(text)) throw refused('it is not an address')
  // One parser corrects these silently, and another reads them differently.
  if (/[\s\\\p{Cc}\p{Cf}]/u.test(text)) throw refused('it holds spaces, backslashes or control characters')
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refused('only http and https are allowed')
  if (url.username !== '' || url.password !== '') throw refused('the address contains a user')
  if (!allow.has(hostPortOf(url))) throw refused('this host and port are not on the list')
  if (url.protocol === 'http:' && !local.has(hostPortOf(url)))
    throw refused('http is for hosts listed as local; use https')
  return url
}

/** No more are tried, because they share one deadline. */
const TRIES_MAX = 4

/** In the resolver's order, IPv4 and IPv6 in turn: if one of them leads nowhere, half of the tries use the other (fault C23). Pure. */
export function inTurn(found: readonly Address[]): readonly Address[] {
  const [first] = found
  const own = found.filter(({ family }) => family === first?.family)
  const other = found.filter(({ family }) => family !== first?.family)
  return own
    .flatMap((address, at) => [address, ...other.slice(at, at + 1)])
    .concat(other.slice(own.length))
    .slice(0, TRIES_MAX)
}

/** Resolves it once and answers the addresses to connect to. Throws `forbidden`, or `timed_out` where the name has no address. */
export async function judgeTarget(text: string, rules: Rules, resolve: Resolve): Promise<Target> {
  const url = judgeUrl(text, rules)
  const host = hostOf(url)
  const literal = isIP(host)
  const found: readonly Address[] = literal === 0 ? await resolve(host) : [{ address: host, family: literal as 4 | 6 }]
  if (found.length === 0) throw new HubError('timed_out', 'its name has no address')
  const isLocal = rules.local.has(hostPortOf(url))
  for (const { address } of found) {
    const kind = kindOfAddress(address)
    if (kind === 'never' || (kind === 'private' && !isLocal))
      throw refused(
        kind === 'never'
          ? 'its address is of a kind that is never used'
          : 'its address is private; list its host and port as local if that is meant',
      )
  }
  return { url, addresses: inTurn(found) }
}
