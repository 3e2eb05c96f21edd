/** What the way of one request needs of others: the judges of its words, and who keeps its money. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Grant } from '../../guard/grant.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import type { JudgedBody, JudgedHead } from '../../work/egress/wire/judged.ts'
import type { AgentCaller } from '../agents/requests.ts'
import type { KeyRefusals } from './standing.ts'

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

/** Sees an answer pass; at its end it says what it cost, for `settle` alone. */
export interface UsageReader {
  take(piece: Buffer): void
  end(): unknown
}

/** An answer that is an error, as far as it was read. */
export interface ErrorAnswer {
  status: number
  rawHeaders: readonly string[]
  body: Buffer
}

/** What became of a metered call. `lost`: nobody knows what it cost. `failed_before`: it cost nothing. */
export type CallEnd =
  | { kind: 'lost' }
  | { kind: 'failed_before'; answer?: ErrorAnswer }
  | { kind: 'answered'; outcome: unknown }

/** A request whose head and body were judged. */
export interface Metered {
  head: JudgedHead
  body: JudgedBody
  /** Tokens of its input, if the provider was asked. */
  counted?: number
}

/** Counts what such a request costs, before and after. */
export interface Meter {
  /** Runs `admit` at this call's turn; it hands the gate's effect to `reserve`. Throws what refuses the call. */
  atTurn(
    caller: AgentCaller,
    upstream: Upstream,
    metered: Metered,
    admit: (reserve: (grant: Grant) => Reserved) => Reserved,
    signal: AbortSignal,
  ): Promise<Reserved>
  /** Only what its input may be at worst stands in the way: the provider can say better. */
  needsCount(caller: AgentCaller, upstream: Upstream, metered: Metered): boolean
  reader(metered: Metered, contentType: string | undefined): UsageReader
  /** In the transaction that records its end. Answers words for the record. */
  settle(grant: Grant, upstream: Upstream, id: string, end: CallEnd): string
  /** How many refusals of a key stop a session, and those before this start. */
  keyRefusals: KeyRefusals
  /** Until when this upstream's quota is used up, in words too, if it is. `looks`: once the time is over, the first who asks is the one that looks. */
  paused(upstream: Upstream, looks: boolean): { untilMs: number; text: string } | undefined
}
