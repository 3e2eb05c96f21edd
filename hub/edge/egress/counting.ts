/** Asks a provider how many tokens the input of a request has, before it is reserved (docs/egress.md 4). It costs nothing, and the agent sees nothing of it. */
import { type HubError, toHubError } from '../../base/errors.ts'
import type { Exchange } from '../../guard/outward/exchange.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import type { CountRequest, JudgedHead } from '../../work/egress/wire/judged.ts'
import { countTold } from '../../work/egress/wire.ts'
import type { UpstreamKeys } from './keys.ts'
import type { SentEnd } from './sending.ts'

/** The agent waits for it. */
const LIMITS = { connectMs: 10_000, firstByteMs: 30_000, idleMs: 10_000, totalMs: 60_000, bytesMax: 64 * 1024 }

export const bytesOfPieces = (pieces: readonly Buffer[]): number => pieces.reduce((sum, { length }) => sum + length, 0)

/** `tokens`: undefined where no answer told them; the bound by bytes decides then. */
export type Counting = (
  upstream: Upstream,
  head: JudgedHead,
  request: CountRequest,
  ended: AbortSignal,
) => Promise<{ tokens: number | undefined; bytesOut: number; sent: SentEnd }>

export function createCounting({ exchange, keys }: { exchange: Exchange; keys: UpstreamKeys }): Counting {
  return async (upstream, head, { path, query, pieces }, ended) => {
    const parts: Buffer[] = []
    let [status, bytesIn] = [0, 0]
    let error: HubError | undefined
    try {
      const key = await keys.headerFor(upstream)
      const answer = await exchange.open(
        {
          ...{ url: new URL(upstream.url), method: 'POST', local: upstream.local, body: pieces, limits: LIMITS },
          target: query === '' ? path : `${path}?${query}`,
          headers: [...head.headers, ...(key === undefined ? [] : [key]), ['accept-encoding', 'identity']],
        },
        ended,
      )
      status = answer.status
      await answer.read((piece) => {
        bytesIn += piece.length
        parts.push(piece)
        return undefined
      })
    } catch (thrown) {
      error = toHubError(thrown)
    }
    return {
      tokens: error === undefined && status === 200 ? countTold(Buffer.concat(parts).toString()) : undefined,
      bytesOut: bytesOfPieces(pieces),
      sent: { status, error, left: false, bytesIn, leaked: new Set(), leaks: 0, call: { kind: 'failed_before' } },
    }
  }
}
