/**
 * Where loopback is reached: its port on this machine, and the names under which a private network, tunnel or proxy brings requests to it
 * (docs/protocol.md 1).
 */
import { parse } from 'yaml'
import { z } from 'zod'
import { watchdogFileOf } from '../../base/watchdog-words.ts'

/** Where the loopback listener is reached on this machine. Known for certain once it listens. */
export interface Address {
  /** 0 while it is switched off. */
  port(): number
  /** What an address there begins with; null while it is off. */
  base(): string | null
  /** It listens there now. */
  listensAt(port: number): void
}

/** `port` as configured: 0 switches the listener off. */
export function createAddress(port: number): Address {
  let now = port
  return {
    port: () => now,
    base: () => (now === 0 ? null : `http://127.0.0.1:${now}`),
    listensAt(found) {
      now = found
    },
  }
}

/** `host` or `host:port`, as a Host header spells it. */
const hostShape = z
  .string()
  .max(255)
  .regex(
    /^[a-z0-9.-]+(:\d{1,5})?$|^\[[0-9a-f:]+\](:\d{1,5})?$/,
    'must be a host name, such as hub.example.net or 10.1.2.3:7300',
  )

export const reachShape = z.strictObject({
  /** What links and codes begin with. */
  publicUrl: z
    .url({ protocol: /^https?$/, error: 'must be an address, such as https://hub.example.net' })
    .max(200)
    .refine((text) => {
      if (!URL.canParse(text)) return true
      const { username, search, hash, pathname } = new URL(text)
      return username === '' && search === '' && hash === '' && pathname === '/'
    }, 'must be a scheme and a host and nothing more, such as https://hub.example.net')
    .transform((text) => (URL.canParse(text) ? new URL(text).origin : text))
    .optional()
    .describe('the address under which your tunnel or proxy reaches the hub; links and codes begin with it'),
  /** Further names that lead here. */
  hosts: z
    .array(hostShape)
    .max(16)
    .default([])
    .describe('further names that lead here, as a request writes them in `Host`'),
  /** The proxy says in X-Forwarded-For who asks. Believed only if this is true. */
  trustedProxy: z.boolean().default(false).describe('true: that proxy says in `X-Forwarded-For` who asks'),
})
export type Reach = z.output<typeof reachShape>

/** Where this hub is reached from outside, as `host:port`; a name without a port stands for those of http and https. Pure. */
export function placesOf({ publicUrl, hosts }: Reach): Set<string> {
  const given = publicUrl === undefined ? hosts : [...hosts, new URL(publicUrl).host]
  return new Set(
    given.flatMap((each) => {
      const [, host = '', port] = /^\[?(.+?)\]?(?::(\d+))?$/.exec(each) ?? []
      return (port === undefined ? ['80', '443'] : [port]).map((one) => `${host}:${one}`)
    }),
  )
}

/** Where the watchdog is reached from outside, as `host:port`, of `reach` in the watchdog's configuration as it stands. A file that cannot be read names none: no watchdog starts with it. */
export function createWatchdogPlaces(home: string): () => ReadonlySet<string> {
  let read: { text: string; places: ReadonlySet<string> } | undefined
  return () => {
    const text = watchdogFileOf(home)?.text ?? ''
    if (read?.text !== text) read = { text, places: placesIn(text) }
    return read.places
  }
}

function placesIn(text: string): ReadonlySet<string> {
  try {
    const { reach } = (parse(text) ?? {}) as { reach?: unknown }
    const found = reachShape.safeParse(reach ?? {})
    return found.success ? placesOf(found.data) : new Set()
  } catch {
    return new Set()
  }
}

export interface Names {
  /** Host headers that lead here. */
  readonly hosts: ReadonlySet<string>
  /** Origins of pages that came from here. */
  readonly origins: ReadonlySet<string>
}

const namesOf = (hosts: readonly string[], schemes: readonly string[]): Names => ({
  hosts: new Set(hosts),
  origins: new Set(hosts.flatMap((host) => schemes.map((scheme) => `${scheme}://${host}`))),
})

/** This machine's own names for a port. */
export const localNames = (port: number): Names => namesOf([`127.0.0.1:${port}`, `localhost:${port}`], ['http'])

/** The names from outside. */
export function reachNames({ publicUrl, hosts }: Reach): Names {
  const named = namesOf(hosts, ['http', 'https'])
  if (publicUrl === undefined) return named
  return { hosts: new Set([new URL(publicUrl).host, ...named.hosts]), origins: new Set([publicUrl, ...named.origins]) }
}
