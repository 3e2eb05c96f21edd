/**
 * How many refusals of one principal get a record of their own (fault F2, T47, T65): a caller that is refused as fast as it can ask must not
 * fill the disk. Pure bookkeeping in memory; gate.ts writes the records.
 *
 * B1. A kind is an operation with a code. Within a minute the first 10 of each kind get a record, and 30 of all kinds together. The first
 *     of each kind always gets one, for up to 100 kinds, so that a flood of one kind hides no other.
 * B2. Further ones are counted by kind, and at the end of the minute one record says how many. Only a kill loses counts.
 * B3. Only refusals are summed, and only those of agents, devices and tokens. What is admitted, and what the operator is refused, gets a
 *     record each time.
 * B4. An agent's session that is refused 300 times or more in each of five minutes in a row does so on purpose: it is reported, once.
 * B5. So is one that is denied, for lack of a right, 1 000 times within a minute or at 32 recipients within an hour: a working agent never
 *     does that, a spreading one does (fault F16, T47). Refusals because it is too fast or too much do not count here.
 * B6. After the first minute of 300 refusals it is named, while it may still go on.
 */
import type { HubError } from '../base/errors.ts'
import type { Tally } from '../base/meters.ts'
import type { Log } from '../base/telemetry.ts'
import type { AuditEntry } from '../protocol/audit-chain.ts'
import { OPERATIONS, type OperationName } from '../protocol/operations.ts'
import type { Call } from './checks.ts'
import type { Events } from './events.ts'
import { type Principal, principalText } from './principal.ts'

/**
 * The recipient of a message to one; none for a broadcast. Named by its agent, so that tries at many sessions of one agent count as one
 * recipient.
 */
export function recipientOf({ operation, resource, facts }: Call): string | undefined {
  if (operation !== 'message.send' || facts === undefined || facts.kind === 'broadcast') return undefined
  const { agent } = (facts.to ?? {}) as { agent?: string }
  return agent === undefined ? resource : `agent:${agent}`
}

export const WINDOW_MS = 60_000
export const OWN_PER_KIND_MAX = 10
export const OWN_MAX = 30
export const KINDS_OWN_MAX = 100
export const EXCESS_PER_WINDOW = 300
export const EXCESS_WINDOWS = 5
export const DENIALS_PER_WINDOW = 1000
export const RECIPIENTS_DENIED_MAX = 32
/** How long they are remembered, counted from the first. */
export const RECIPIENTS_FOR_MS = 3_600_000
/** Refusals for lack of a right. */
const DENIALS: ReadonlySet<HubError['code']> = new Set([
  'policy_denied',
  'forbidden',
  'unauthenticated',
  'nonce_used',
  'delegation_wider',
  'delegation_cycle',
])
/** A sum names this many kinds: first the rarest of `NAMED_FIRST`, then the most frequent; the rest together. */
const KINDS_NAMED_MAX = 12
const NAMED_FIRST = /^(secret\.get|artifact\.[a-z]+|session\.[a-z]+) /
const SUMMED: ReadonlySet<Principal['kind']> = new Set(['agent', 'device', 'automation'])

/** Refusals that were counted, for their summed record. */
export interface RefusalSum {
  readonly key: string
  readonly entry: AuditEntry
  readonly count: number
}

export interface Refusals {
  /** Counts one. True if it gets a record of its own. `undo` takes it back, for a transaction that did not commit. */
  take(
    principal: Principal,
    operation: OperationName,
    error: Pick<HubError, 'code'>,
    /** The recipient of a message to one. */
    recipient?: string,
  ): { isOwn: boolean; undo: () => void }
  /** Counts one that never gets a record of its own. */
  count(principal: Principal, operation: OperationName, error: Pick<HubError, 'code'>): void
  /** What is counted and not written yet, of past minutes; with `all`, of the current one too. */
  due(all?: boolean): RefusalSum[]
  /** The sum is in the log, or in the buffer before it. */
  written(sum: RefusalSum): void
  /** Sessions of agents that have to be stopped (B4, B5), each once, and what they did. */
  excessive(): { session: string; why: string }[]
  /** Sessions of agents that were refused very often in the last minute (B6), each once. */
  noisy(): { session: string; agent: string; refused: number }[]
}

interface Account {
  readonly principal: string
  readonly session: string | undefined
  readonly agent: string
  fromMs: number
  own: number
  total: number
  ownOf: Map<string, number>
  counted: Map<string, number>
  /** Of minutes that have ended. */
  waiting: Map<string, number>
  minutesInARow: number
  isTold: boolean
  /** In this minute (B5). */
  denials: number
  denied: Set<string>
  /** When the first of `denied` was. */
  deniedFromMs: number
  /** Of the last whole minute, until it is told (B6). */
  noise: number
  isNamed: boolean
}

const add = (counts: Map<string, number>, kind: string, by: number) => {
  const now = (counts.get(kind) ?? 0) + by
  if (now > 0) counts.set(kind, now)
  else counts.delete(kind)
}
const sumOf = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((sum, one) => sum + one, 0)

/** What one record says of many. Pure. */
export function sumText(counts: ReadonlyMap<string, number>): string {
  const all = [...counts].sort(([, a], [, b]) => b - a)
  const isFirst = ([kind]: readonly [string, number]) => NAMED_FIRST.test(kind)
  const ranked = [...all.filter(isFirst).reverse(), ...all.filter((each) => !isFirst(each))]
  const named = ranked.slice(0, KINDS_NAMED_MAX).map(([kind, count]) => `${count} ${kind}`)
  const rest = sumOf(new Map(ranked.slice(KINDS_NAMED_MAX)))
  const words = rest === 0 ? named : [...named, `${rest} of other kinds`]
  return `summed: ${sumOf(counts)} more refusals: ${words.join(', ')}`
}

/** `tally` counts each refusal by its code, whoever was refused. */
export function createRefusals(nowMs: () => number, tally?: Tally<HubError['code']>): Refusals {
  const accounts = new Map<string, Account>()

  function accountOf(principal: Principal): Account {
    const key = principalText(principal)
    const known = accounts.get(key)
    if (known !== undefined) {
      if (nowMs() - known.fromMs >= WINDOW_MS) roll(known)
      return known
    }
    const made: Account = {
      principal: key,
      session: principal.kind === 'agent' ? principal.session : undefined,
      agent: principal.agent ?? '',
      fromMs: nowMs(),
      own: 0,
      total: 0,
      ownOf: new Map(),
      counted: new Map(),
      waiting: new Map(),
      minutesInARow: 0,
      isTold: false,
      denials: 0,
      denied: new Set(),
      deniedFromMs: nowMs(),
      noise: 0,
      isNamed: false,
    }
    accounts.set(key, made)
    return made
  }

  /** The minute has ended. */
  function roll(account: Account): void {
    for (const [kind, count] of account.counted) add(account.waiting, kind, count)
    const isNext = nowMs() - account.fromMs < 2 * WINDOW_MS
    const goesOn = account.total >= EXCESS_PER_WINDOW
    account.minutesInARow = goesOn ? (isNext ? account.minutesInARow : 0) + 1 : 0
    if (goesOn) account.noise = account.total
    Object.assign(account, { fromMs: nowMs(), own: 0, total: 0, ownOf: new Map(), counted: new Map() })
    // A session that must be stopped is reported even if the minute has ended since.
    if (reasonOf(account) !== undefined) return
    account.denials = 0
    if (!remembers(account)) account.denied = new Set()
  }

  function remembers({ denied, deniedFromMs }: Account) {
    return denied.size > 0 && nowMs() - deniedFromMs < RECIPIENTS_FOR_MS
  }

  function reasonOf({ minutesInARow, denials, denied }: Account): string | undefined {
    if (denied.size >= RECIPIENTS_DENIED_MAX)
      return `it tried ${denied.size} recipients within an hour that it may not write to`
    if (denials >= DENIALS_PER_WINDOW) return `it was denied ${denials} times within a minute for lack of a right`
    return minutesInARow >= EXCESS_WINDOWS
      ? `${EXCESS_PER_WINDOW} refusals or more a minute, for ${EXCESS_WINDOWS} minutes in a row`
      : undefined
  }

  return {
    take(principal, operation, { code }, recipient) {
      tally?.add(code)
      if (!SUMMED.has(principal.kind)) return { isOwn: true, undo: () => undefined }
      const account = accountOf(principal)
      const kind = `${operation} ${code}`
      const { ownOf, counted } = account
      const before = ownOf.get(kind) ?? 0
      const isOwn = before === 0 ? ownOf.size < KINDS_OWN_MAX : account.own < OWN_MAX && before < OWN_PER_KIND_MAX
      const step = (by: 1 | -1) => {
        account.total += by
        if (isOwn) account.own += by
        add(isOwn ? ownOf : counted, kind, by)
        if (DENIALS.has(code)) account.denials += by
      }
      if (DENIALS.has(code) && recipient !== undefined && account.denied.size < RECIPIENTS_DENIED_MAX) {
        if (account.denied.size === 0) account.deniedFromMs = nowMs()
        account.denied.add(recipient)
      }
      step(1)
      // A later minute has its own counts, and past minutes are not counted down.
      return { isOwn, undo: () => void (account.ownOf === ownOf && step(-1)) }
    },
    count(principal, operation, { code }) {
      tally?.add(code)
      if (!SUMMED.has(principal.kind)) return
      const account = accountOf(principal)
      account.total += 1
      add(account.counted, `${operation} ${code}`, 1)
    },
    due(all = false) {
      const sums: RefusalSum[] = []
      for (const [key, account] of accounts) {
        const isOver = nowMs() - account.fromMs >= WINDOW_MS
        if (isOver || all) {
          const isIdle = account.total === 0
          if (isOver) roll(account)
          else {
            for (const [kind, count] of account.counted) add(account.waiting, kind, count)
            account.counted = new Map()
          }
          // A caller without a refusal for a whole minute begins again, except for its denied recipients.
          if (isIdle && account.waiting.size === 0 && !remembers(account)) accounts.delete(key)
        }
        if (account.waiting.size === 0) continue
        const reason = sumText(account.waiting)
        sums.push({ key, entry: sumEntry(account, reason), count: sumOf(account.waiting) })
      }
      return sums
    },
    written({ key, count }) {
      const account = accounts.get(key)
      // Nothing is counted in between, because the sum is taken and written in one turn.
      if (account !== undefined && sumOf(account.waiting) === count) account.waiting = new Map()
    },
    excessive() {
      const found = new Map<string, string>()
      for (const account of accounts.values()) {
        const why = account.session === undefined || account.isTold ? undefined : reasonOf(account)
        if (account.session === undefined || why === undefined) continue
        account.isTold = true
        if (!found.has(account.session)) found.set(account.session, why)
      }
      return [...found].map(([session, why]) => ({ session, why }))
    },
    noisy() {
      const found: { session: string; agent: string; refused: number }[] = []
      for (const account of accounts.values()) {
        const { session, agent, noise, isNamed } = account
        account.noise = 0
        if (session === undefined || noise === 0 || isNamed) continue
        account.isNamed = true
        found.push({ session, agent, refused: noise })
      }
      return found
    },
  }
}

function sumEntry({ principal, session }: Account, reason: string): AuditEntry {
  return {
    principal,
    action: 'gate.refused',
    resource: session === undefined ? '' : `session:${session}`,
    decisionId: null,
    policyRevision: null,
    payloadHash: null,
    outcome: 'refused',
    reason,
    effect: '',
  }
}

/** The line of the log, and the event for who watches the agent, of each refusal that is a record of its own. */
export function tellRefused(call: Call, error: HubError, { log, events }: { log: Log; events: Events }): void {
  const { principal, resource, operation } = call
  const { code, reason } = error
  const action = OPERATIONS[operation].audit
  log.warn({ principal: principalText(principal), action, resource, code, reason }, 'refused')
  if (principal.kind === 'agent')
    events.publish('hub.message.refused.v1', `session:${principal.session}`, {
      operation,
      resource,
      code,
      detail: error.message,
    })
}
