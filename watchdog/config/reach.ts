/** `reach` of the configuration: the names under which a tunnel or proxy brings requests to the loopback listener, only for `/stop`. */
import { isRow, onlyKeys, refuse, text } from './fields.ts'

export interface Reach {
  /** `https://stop.example.net`, or null. */
  readonly publicUrl: string | null
  readonly hosts: readonly string[]
  /** The proxy names the caller in X-Forwarded-For. */
  readonly trustedProxy: boolean
}

const HOST = /^[a-z0-9.-]+(:\d{1,5})?$|^\[[0-9a-f:]+\](:\d{1,5})?$/
const HOSTS_MAX = 16

function publicUrlOf(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : null
  const isPlain = url !== null && url.username + url.search + url.hash === '' && url.pathname === '/'
  if (!isPlain || !/^https?:$/.test(url.protocol))
    refuse('reach.publicUrl', 'must be a scheme and a host and nothing more, such as https://stop.example.net')
  return url.origin
}

/** @throws KeyFault */
export function reachOf(value: unknown): Reach {
  if (value === undefined) return { publicUrl: null, hosts: [], trustedProxy: false }
  if (!isRow(value)) refuse('reach', 'must be a map of keys')
  onlyKeys(value, ['publicUrl', 'hosts', 'trustedProxy'], 'reach.')
  const hosts = value.hosts === undefined ? [] : value.hosts
  if (
    !Array.isArray(hosts) ||
    hosts.length > HOSTS_MAX ||
    !hosts.every((one) => typeof one === 'string' && HOST.test(one))
  )
    refuse('reach.hosts', `must list up to ${HOSTS_MAX} host names, such as stop.example.net or 10.1.2.3:7301`)
  const trustedProxy = value.trustedProxy === undefined ? false : value.trustedProxy
  if (typeof trustedProxy !== 'boolean') refuse('reach.trustedProxy', 'must be true or false')
  return {
    publicUrl: value.publicUrl === undefined ? null : publicUrlOf(text(value, 'publicUrl', undefined, 'reach.')),
    hosts,
    trustedProxy,
  }
}

export interface Names {
  readonly hosts: ReadonlySet<string>
  readonly origins: ReadonlySet<string>
}

/** Every Host and Origin that leads to the stop page, for the port in use. */
export function stopNames(reach: Reach, port: number): Names {
  const own = [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]
  const outside = reach.publicUrl === null ? [] : [new URL(reach.publicUrl).host]
  return {
    hosts: new Set([...own, ...reach.hosts, ...outside]),
    origins: new Set([
      ...own.map((host) => `http://${host}`),
      ...reach.hosts.flatMap((host) => [`http://${host}`, `https://${host}`]),
      ...(reach.publicUrl === null ? [] : [reach.publicUrl]),
      // From a browser that hides its origin; the card's words are what counts.
      'null',
    ]),
  }
}
