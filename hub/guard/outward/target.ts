/**
 * Where a message of the hub may go (T37): allow-list of host and port, resolved once, every address judged, and only these are used.
 *
 * O1. Only https, or http to a host that is listed as local; no user in the address.
 * O2. If any address of a name is not permitted, the whole name is refused: a name that points outside and inside is a trick.
 */
import { isIP } from 'node:net'
import { kindOfAddress } from '../../base/addresses.ts'
import { HubError } from '../../base/errors.ts'

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
