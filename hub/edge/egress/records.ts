/**
 * What is written down and counted (S0-12) of each request: upstream, class, method, status, bytes, and what it cost; never a path, a query or a body.
 *
 * W1. A metered call or a write has its record when it is admitted, so that it survives a kill, and one at its end.
 * W2. What only reads has one, at its end. Those of one session, upstream and outcome within a second share it, with their count.
 */
import type { Clock, Timer } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import { createTally } from '../../base/meters.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { EgressClass } from '../../protocol/egress/upstreams.ts'

const SHARED_FOR_MS = 1000
const EGRESS_ENDS = ['answered', 'refused', 'failed', 'left'] as const
const SETTLER = hubPrincipal('egress')

export interface Ended {
  session: string
  /** Its name, or `host:port`. */
  upstream: string
  class: EgressClass
  method: string
  /** Of the upstream; 0 if it did not answer. */
  status: number
  /** Why it ended before its end; empty if it did not. */
  why: string
  bytesOut: number
  bytesIn: number
  /** How often a secret was masked in the answer. */
  leaks: number
  /** Of an archive of a registry: it came from this hub, it is kept here now, or it is not what its page names. */
  archive?: ArchiveEnd | undefined
}
export type ArchiveEnd = 'found' | 'kept' | 'differs'
const ARCHIVE_WORDS: Readonly<Record<ArchiveEnd, string>> = {
  found: 'cached',
  kept: 'kept for others',
  differs: 'not the archive that its page names, so not kept',
}

export interface EgressRecords {
  /** Writes it at once. `settle` runs in its transaction and gives further words. False while the store fails: the caller tries again. */
  now(ended: Ended, settle: (grant: Grant) => string): boolean
  /** Writes it within a second, together with others that are like it. */
  soon(ended: Ended): void
  /** Writes what waits. */
  flush(): void
}

const words = (
  { upstream, class: kind, method, status, why, bytesOut, bytesIn, leaks, archive }: Ended,
  count: number,
): string =>
  [
    `${upstream} ${kind} ${method} ${status}`,
    ...(count === 1 ? [] : [`${count} requests`]),
    `${bytesOut} bytes out, ${bytesIn} in`,
    ...(archive === undefined ? [] : [ARCHIVE_WORDS[archive]]),
    ...(leaks === 0 ? [] : [`a secret masked ${leaks} times`]),
    ...(why === '' ? [] : [why]),
  ].join('; ')

export function createEgressRecords(parts: {
  gate: Gate
  clock: Clock
  log: Log
  /** Runs in the transaction of each record. */
  alongside: (session: string) => void
}): EgressRecords {
  const { gate, clock, log } = parts
  const waiting = new Map<string, { sum: Ended; count: number }>()
  let timer: Timer | undefined

  function write(ended: Ended, count: number, settle: (grant: Grant) => string): boolean {
    try {
      gate.admit({ principal: SETTLER, operation: 'egress.settle', resource: `session:${ended.session}` }, (grant) => {
        const more = settle(grant)
        parts.alongside(ended.session)
        return { auditEffect: more === '' ? words(ended, count) : `${words(ended, count)}; ${more}` }
      })
      return true
    } catch (thrown) {
      const error = toHubError(thrown)
      log.error(
        { session: ended.session, upstream: ended.upstream, reason: error.reason },
        'the end of a request outward was not recorded',
      )
      return false
    }
  }

  function flush(): void {
    timer?.cancel()
    timer = undefined
    for (const [key, { sum, count }] of waiting) if (write(sum, count, () => '')) waiting.delete(key)
    if (waiting.size > 0) timer = clock.after(SHARED_FOR_MS, flush)
  }

  return {
    now: (ended, settle) => write(ended, 1, settle),
    soon(ended) {
      const { session, upstream, method, status, why, archive } = ended
      const key = [session, upstream, ended.class, method, status, why, archive].join('\0')
      const known = waiting.get(key)
      if (known === undefined) waiting.set(key, { sum: { ...ended }, count: 1 })
      else {
        known.count += 1
        known.sum.bytesIn += ended.bytesIn
        known.sum.bytesOut += ended.bytesOut
        known.sum.leaks += ended.leaks
      }
      timer ??= clock.after(SHARED_FOR_MS, flush)
    },
    flush,
  }
}

export const createEgressMeters = () => ({
  /** By how they ended. */
  requests: createTally(EGRESS_ENDS),
  /** Connections that were turned away because their session had as many as it may. */
  turnedAway: 0,
  /** Of bodies. */
  bytesOut: 0,
  bytesIn: 0,
  /** How often a secret was masked in an answer. */
  leaks: 0,
  /** Requests and lines under way now. */
  open: 0,
})
export type EgressMeters = ReturnType<typeof createEgressMeters>
