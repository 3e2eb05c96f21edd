/**
 * Which addresses an outgoing request may reach (T37). Pure: what a name resolves to is handed in as text.
 * A1 `never` is refused whatever the configuration says: link-local and so every metadata service, multicast, reserved, unspecified.
 * A2 `local` (this machine, private networks) must be allowed by the author of the URL. A3 an IPv4 address is judged as
 * itself in every IPv6 form (mapped, compatible, NAT64, 6to4), so that none is a way around.
 */
import net from 'node:net'

export type Reach = 'public' | 'local' | 'never'

/** The first match counts. Prefix bits, then what it is. */
const V4: readonly (readonly [string, number, Reach])[] = [
  ['100.100.100.200', 32, 'never'],
  ['169.254.0.0', 16, 'never'],
  ['0.0.0.0', 8, 'never'],
  ['192.0.0.0', 24, 'never'],
  ['192.0.2.0', 24, 'never'],
  ['192.88.99.0', 24, 'never'],
  ['198.51.100.0', 24, 'never'],
  ['203.0.113.0', 24, 'never'],
  ['224.0.0.0', 3, 'never'],
  ['127.0.0.0', 8, 'local'],
  ['10.0.0.0', 8, 'local'],
  ['172.16.0.0', 12, 'local'],
  ['192.168.0.0', 16, 'local'],
  ['100.64.0.0', 10, 'local'],
  ['198.18.0.0', 15, 'local'],
]
const V6: readonly (readonly [string, number, Reach])[] = [
  ['::1', 128, 'local'],
  ['fd00:ec2::254', 128, 'never'],
  ['fd20:ce::254', 128, 'never'],
  ['fc00::', 7, 'local'],
  ['2001::', 23, 'never'],
  ['2001:db8::', 32, 'never'],
  ['2000::', 3, 'public'],
]
/** The place of an IPv4 address inside an IPv6 one: prefix, bits, byte offset. */
const DRESSES: readonly (readonly [string, number, number])[] = [
  ['::ffff:0:0', 96, 12],
  ['::ffff:0:0:0', 96, 12],
  ['64:ff9b::', 96, 12],
  ['2002::', 16, 2],
]

const v4Bytes = (text: string): number[] => text.split('.').map(Number)

function v6Bytes(text: string): number[] {
  // The URL parser writes any spelling, an embedded dotted quad too, as lower-case groups.
  const plain = new URL(`http://[${text}]/`).hostname.slice(1, -1)
  const [head = '', tail] = plain.split('::')
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)))
  const [left, right] = [groups(head), groups(tail ?? '')]
  const words = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right]
  return words.flatMap((word) => [word >> 8, word & 255])
}

function inside(bytes: readonly number[], prefix: readonly number[], bits: number): boolean {
  for (let at = 0; at < bits; at += 1) {
    const mask = 128 >> (at % 8)
    if (((bytes[at >> 3] ?? 0) & mask) !== ((prefix[at >> 3] ?? 0) & mask)) return false
  }
  return true
}

const reachOfV4 = (bytes: readonly number[]): Reach =>
  V4.find(([prefix, bits]) => inside(bytes, v4Bytes(prefix), bits))?.[2] ?? 'public'

/** What an address literal is; anything that is not an address is `never`. */
export function reachOf(address: string): Reach {
  if (net.isIPv4(address)) return reachOfV4(v4Bytes(address))
  if (!net.isIPv6(address) || address.includes('%')) return 'never'
  const bytes = v6Bytes(address)
  for (const [prefix, bits, offset] of DRESSES) {
    if (inside(bytes, v6Bytes(prefix), bits)) return reachOfV4(bytes.slice(offset, offset + 4))
  }
  return V6.find(([prefix, bits]) => inside(bytes, v6Bytes(prefix), bits))?.[2] ?? 'never'
}

/**
 * Reads the URL of a channel. Only https, or http where `local` names the target on purpose; no user part, no fragment.
 * @returns the URL, or what is wrong with it.
 */
export function readTarget(text: string, local: boolean): URL | string {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return 'is not a URL'
  }
  if (url.protocol !== 'https:' && !(local && url.protocol === 'http:')) {
    return 'must be https, or http to what is listed under local'
  }
  if (url.username !== '' || url.password !== '') return 'must not contain a user or a password'
  if (url.hash !== '') return 'must not contain a fragment'
  if (url.hostname === '' || url.port === '0') return 'must name a host and a port'
  const literal = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname
  if (net.isIP(literal) !== 0) {
    const problem = refusal(literal, local)
    if (problem !== null) return problem
  }
  return url
}

/** Why an address may not be reached; null if it may. */
export function refusal(address: string, local: boolean): string | null {
  const reach = reachOf(address)
  if (reach === 'never') return `leads to ${address}, which is never reached from here`
  if (reach === 'local' && !local)
    return `leads to ${address}, inside this machine or network; list it under local to allow it`
  return null
}
