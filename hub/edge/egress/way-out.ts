/** Builds what carries a request outward and its answer back: the exchange, the keys, and what masks them. */
import type { Clock } from '../../base/clock.ts'
import type { Redaction } from '../../base/redaction.ts'
import { createExchange } from '../../guard/outward/exchange.ts'
import { systemResolve } from '../../guard/outward/post.ts'
import type { Resolve } from '../../guard/outward/target.ts'
import { createArchives } from '../../work/egress/archives.ts'
import type { Secrets } from '../../work/sandbox/secrets.ts'
import type { Room } from './bodies.ts'
import { createUpstreamKeys } from './keys.ts'
import { createLeakPatterns, type LeakPatterns } from './leak-scan.ts'
import { createSending } from './sending.ts'

export function createWayOut(parts: {
  clock: Clock
  redaction: Pick<Redaction, 'know' | 'known'>
  secrets: Pick<Secrets, 'ofHub'>
  ownPorts: () => ReadonlySet<number>
  ownPlaces: () => ReadonlySet<string>
  resolve?: Resolve | undefined
  ca?: string | undefined
  /** The folder of archives, how much of them is kept, and whether there is room for more. */
  archives: string
  cacheBytes: () => number
  hasRoom: () => boolean
  /** The memory that all bodies share. */
  held: Room
  nowMs: () => number
}) {
  const { clock, redaction, secrets, ownPorts, ownPlaces, resolve = systemResolve, ca } = parts
  const exchange = createExchange({ clock, resolve, ownPorts, ownPlaces, ...(ca === undefined ? {} : { ca }) })
  const keys = createUpstreamKeys({ clock, secretOf: secrets.ofHub, know: redaction.know })
  let made: { of: unknown; patterns: LeakPatterns } | undefined
  function patterns(): LeakPatterns {
    const known = redaction.known()
    if (made?.of !== known)
      made = { of: known, patterns: createLeakPatterns(known.map(([name, value]) => [name, Buffer.from(value)])) }
    return made.patterns
  }
  const { archives: folder, cacheBytes, hasRoom, nowMs, held } = parts
  const archives = createArchives({ folder, bytesMax: cacheBytes, hasRoom, nowMs })
  return { exchange, keys, archives, send: createSending({ clock, exchange, keys, patterns, archives, held }) }
}
