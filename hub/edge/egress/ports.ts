/** What the way of one request needs of others: the judges of its words, and who keeps its money. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Grant } from '../../guard/grant.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import type { JudgedBody, JudgedHead } from '../../work/egress/wire/judged.ts'
import type { AgentCaller } from '../agents/requests.ts'

/** One request of a session, and what ends it. */
export interface EgressExchange {
  session: string
  request: IncomingMessage
  response: ServerResponse
  /** Aborts when the session ends. */
  ended: AbortSignal
}

/** A metered call that was admitted: what it may cost is set aside, and is settled once. */
export interface Reserved {
  id: string
  /** Tokens that the answer may have. */
  cap: number
}

/** What became of a metered call. `lost`: nobody knows what it cost. `failed_before`: it cost nothing. */
export type CallEnd = { kind: 'lost' } | { kind: 'failed_before' } | { kind: 'answered'; outcome: unknown }

export interface UsageReading {
  take(piece: Buffer): void
  end(): unknown
}

/** A request whose head and body were judged. */
export interface Metered {
  head: JudgedHead
  body: JudgedBody
}

/** Counts what such a request costs, before and after. */
export interface Meter {
  /** In the transaction that admits it. `wait`: it would fit but for what is under way. */
  reserve(
    grant: Grant,
    caller: AgentCaller,
    upstream: Upstream,
    judged: Metered,
  ): Reserved | { wait: (signal: AbortSignal) => Promise<void> }
  reader(judged: Metered, contentType: string | undefined): UsageReading
  /** In the transaction that records its end. Answers words for the record. */
  settle(grant: Grant, id: string, end: CallEnd): string
  /** Until when this upstream's quota is used up, if it is. */
  pausedUntilMs(upstream: Upstream): number | undefined
  /** Looks at a 429; answers whether the quota is used up. */
  saw429(upstream: Upstream, rawHeaders: readonly string[], body: Buffer): boolean
}
