/** What kinds of IP addresses there are, for whatever the hub connects to (T37): one table, from the registries of IANA and what clouds use. Pure. */
import { BlockList, isIP } from 'node:net'

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

const carrier4 = listOf([['100.64.0.0', 10]])
/** The same for what agents reach: addresses that a provider shares between its customers are never used, since a cloud has services there. */
export const kindForEgress = (address: string): AddressKind =>
  isIP(address) === 4 && carrier4.check(address, 'ipv4') ? 'never' : kindOfAddress(address)
