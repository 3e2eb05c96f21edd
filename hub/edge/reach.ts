/** The name under which a private network, tunnel or proxy brings requests to loopback (protocol.md section 1). */
import { z } from 'zod'

/** `host` or `host:port`, as a Host header spells it. */
const hostShape = z
  .string()
  .max(255)
  .regex(
    /^[a-z0-9.-]+(:\d{1,5})?$|^\[[0-9a-f:]+\](:\d{1,5})?$/,
    'must be a host name, as hub.example.net or 10.1.2.3:7300',
  )

export const reachShape = z.strictObject({
  /** What links and codes begin with. */
  publicUrl: z
    .url({ protocol: /^https?$/, error: 'must be an address, as https://hub.example.net' })
    .max(200)
    .refine((text) => {
      if (!URL.canParse(text)) return true
      const { username, search, hash, pathname } = new URL(text)
      return username === '' && search === '' && hash === '' && pathname === '/'
    }, 'must be a scheme and a host and nothing more, as https://hub.example.net')
    .transform((text) => (URL.canParse(text) ? new URL(text).origin : text))
    .optional(),
  /** Further names that lead here. */
  hosts: z.array(hostShape).max(16).default([]),
  /** The proxy says by X-Forwarded-For who asks; believed only where this is true. */
  trustedProxy: z.boolean().default(false),
})
export type Reach = z.output<typeof reachShape>

export interface Names {
  /** Host headers that lead here. */
  readonly hosts: ReadonlySet<string>
  /** Origins of pages that came from here. */
  readonly origins: ReadonlySet<string>
}

/** This machine's own names for a port. */
export const localNames = (port: number): Names => namesOf([`127.0.0.1:${port}`, `localhost:${port}`], ['http'])

/** The names from outside. */
export function reachNames({ publicUrl, hosts }: Reach): Names {
  const named = namesOf(hosts, ['http', 'https'])
  if (publicUrl === undefined) return named
  return { hosts: new Set([new URL(publicUrl).host, ...named.hosts]), origins: new Set([publicUrl, ...named.origins]) }
}

const namesOf = (hosts: readonly string[], schemes: readonly string[]): Names => ({
  hosts: new Set(hosts),
  origins: new Set(hosts.flatMap((host) => schemes.map((scheme) => `${scheme}://${host}`))),
})
