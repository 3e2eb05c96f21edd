/**
 * Decides, and writes each decision down once (S1-4). Owns the table `decision`.
 *
 * D1. The memo's key is the very text the rules see, so whatever could change the answer is in it (T23); its entries belong to one loaded
 *     bundle, data and the operator's rules, and fall with them at a reload.
 * D2. Runs inside the caller's open transaction and outside the effect's savepoint: a refusal's row stays though its effect does not.
 *     If that transaction did not commit, its rows are gone: the caller calls `forget()`, and they are asked and written again.
 *     A second, shorter memo comes first, for frozen principals: the same object is the same text. Not writing out the whole authority again
 *     saves a tenth of a message's cost.
 * D3. A verdict that is a fault is never remembered; neither is an input too long to be worth it.
 * D4. Only the digest of a long input is stored, its resource erased (container bodies, lists).
 * D5. While the store cannot be written a new decision's row waits in memory, bounded, and is written before the records that name it.
 * D6. With `late`, only `writeDenied` writes the row of a denial: a caller that is refused again and again must not fill the
 *     disk with it (refusals.ts).
 */
import { sha256Hex } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Spread } from '../../base/meters.ts'
import { newUuid, type Random } from '../../base/random.ts'
import { type Hide, hideUnknown } from '../../base/redaction.ts'
import type { Policy } from './bundle.ts'
import type { PolicyDecision, PolicyInput, Verdict } from './engine.ts'

export type { Principal } from '../principal.ts'
export type { PolicyDecision, PolicyInput } from './engine.ts'

export interface DecisionParts {
  policy: Policy
  database: { prepare(sql: string): { run(...values: (string | number | null)[]): unknown } }
  clock: Clock
  random: Random
  hide?: Hide
  /** Gets how long each question to the rules took that was not remembered. */
  spread?: Spread
}

export interface Decisions {
  /** The verdict on `input`, its row written. Throws only what the store throws. */
  decide(input: PolicyInput, late?: boolean): PolicyDecision
  /** The same with the row kept for `writeWaiting`. Throws `audit_unavailable` when too many wait. */
  decideUnwritten(input: PolicyInput, late?: boolean): PolicyDecision
  /** Writes the row of a `late` denial, once; `unwritten` keeps it for `writeWaiting`. */
  writeDenied(decision: PolicyDecision, unwritten?: boolean): void
  hasWaiting(): boolean
  /** Writes the rows that wait, in the open transaction; once it has committed say `written`. */
  writeWaiting(): void
  written(): void
  /** To be called after a transaction with decisions in it did not commit. */
  forget(): void
}

const PATH = 'hub/admit/decision'
const STORED_INPUT_BYTES_MAX = 4096
const SHORT_ENTRIES_MAX = 256
/** Each of at most some 6 KiB. */
const WAITING_MAX = 1024
const INSERT = `insert into decision (decision_id, timestamp_ms, path, input, input_digest, erased, result, labels, bundles,
  revision, bundle_version) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

/** `labels` go into every row: the instance and whatever else tells hubs apart. */
export function createDecisions(options: { labels: Record<string, string> }, parts: DecisionParts): Decisions {
  const { policy, database, clock, random, hide = hideUnknown().text, spread } = parts
  const insert = database.prepare(INSERT)
  const labels = JSON.stringify(options.labels)
  let bySender = new WeakMap<object, Map<string, PolicyDecision>>()
  let shortOf = policy.active()
  type Values = (string | number | null)[]
  let waiting: Values[] = []
  /** Rows of late denials, empty once written; the answer and its memo share one. */
  const denied = new WeakMap<PolicyDecision, Values>()
  const store = (values: Values) => void insert.run(...values)
  function wait(values: Values): void {
    if (waiting.length >= WAITING_MAX)
      throw new HubError('audit_unavailable', '', { reason: 'too many decisions wait for the store' })
    waiting.push(values)
  }

  /** Of the rules now in force: as it stands in each row. */
  let bundles = { of: undefined as ReturnType<Policy['active']> | undefined, text: '' }
  function bundlesText(active: ReturnType<Policy['active']>): string {
    if (active === bundles.of) return bundles.text
    const { bundle, dataDigest, home } = active
    const text = JSON.stringify({
      hub: { revision: bundle.revision },
      data: { revision: dataDigest },
      ...(home && { home: { revision: home.revision } }),
    })
    bundles = { of: active, text }
    return text
  }

  function rowOf(id: string, atMs: number, input: PolicyInput, inputText: string, verdict: Verdict): Values {
    const active = policy.active()
    const { effect, code, reason, rule, narrow, path } = verdict
    const long = Buffer.byteLength(inputText) > STORED_INPUT_BYTES_MAX
    const { principal, operation, mode } = input
    const brief = JSON.stringify({ operation, mode, principal: { kind: principal.kind, id: principal.id } })
    return [
      id,
      atMs,
      PATH,
      hide(long ? brief.slice(0, STORED_INPUT_BYTES_MAX) : inputText),
      sha256Hex(inputText),
      long ? '["/principal","/resource"]' : '[]',
      hide(JSON.stringify({ effect, code, reason, rule, narrow, path })),
      labels,
      bundlesText(active),
      active.revision,
      active.bundle.version,
    ]
  }

  return {
    decide: (input, late = false) => remembered(input, store, late),
    decideUnwritten: (input, late = false) => remembered(input, wait, late),
    writeDenied(decision, unwritten = false) {
      const values = denied.get(decision)?.splice(0) ?? []
      if (values.length > 0) (unwritten ? wait : store)(values)
    },
    hasWaiting: () => waiting.length > 0,
    writeWaiting: () => waiting.forEach(store),
    written() {
      waiting = []
    },
    forget() {
      policy.active().memo.clear()
      bySender = new WeakMap()
    },
  }

  function remembered(input: PolicyInput, keep: (values: Values) => void, late: boolean): PolicyDecision {
    const short = shortMemo(input.principal)
    const shortKey = short && `${input.operation} ${input.mode} ${JSON.stringify(input.resource)}`
    const seen = shortKey && short?.get(shortKey)
    if (seen) return seen
    const decision = decideWhole(input, keep, late)
    if (shortKey && decision.memoised) short?.set(shortKey, decision)
    return decision
  }

  /** The short memo of a frozen principal under the bundle and data now active, or undefined. */
  function shortMemo(principal: object): Map<string, PolicyDecision> | undefined {
    if (!Object.isFrozen(principal)) return undefined
    const active = policy.active()
    if (active !== shortOf) {
      bySender = new WeakMap()
      shortOf = active
    }
    const known = bySender.get(principal)
    if (known !== undefined && known.size < SHORT_ENTRIES_MAX) return known
    const made = new Map<string, PolicyDecision>()
    bySender.set(principal, made)
    return made
  }

  function decideWhole(input: PolicyInput, keep: (values: Values) => void, late: boolean): PolicyDecision {
    const { engine, memo, revision } = policy.active()
    const inputText = JSON.stringify(input)
    const seen = memo.get(inputText)
    if (seen !== undefined) return seen
    const from = clock.monotonicMs()
    const { effect, code, reason, rule, narrow, path, fault } = engine.evaluate(inputText)
    spread?.add((clock.monotonicMs() - from) / 1000)
    const atMs = clock.wallMs()
    const id = newUuid(random, atMs)
    const answer = {
      effect,
      reason,
      rule,
      ...(code === undefined ? {} : { code }),
      ...(narrow === undefined ? {} : { narrow }),
      ...(path === undefined ? {} : { path }),
    }
    const values = rowOf(id, atMs, input, inputText, { ...answer, fault })
    const isLate = late && effect !== 'allow'
    if (!isLate) keep(values)
    const decision = { id, ...answer, revision }
    const known = Object.freeze({ ...decision, memoised: true })
    const fresh = Object.freeze({ ...decision, memoised: false })
    if (isLate) for (const each of [known, fresh]) denied.set(each, values)
    if (!fault) memo.set(inputText, known)
    return fresh
  }
}

/** One row, as it is shown and replayed. */
export interface StoredDecision {
  id: string
  atMs: number
  /** The question as the rules saw it, or null if it was too long to be kept. */
  input: Record<string, unknown> | null
  result: {
    effect: Verdict['effect']
    reason: string
    rule: string
    code?: string
    narrow?: Verdict['narrow']
    path?: Verdict['path']
  }
  revision: string
}

export interface DecisionReader {
  /** Undefined if there is no such row. */
  show(id: string): StoredDecision | undefined
  /** From the newest on; `before`: the id that the last page ended with. */
  list(limit: number, before?: string): StoredDecision[]
}

export function createDecisionReader(database: {
  prepare(sql: string): { get(...values: unknown[]): unknown; all(...values: unknown[]): unknown[] }
}): DecisionReader {
  const columns = 'decision_id as id, timestamp_ms as atMs, input, erased, result, revision'
  const one = database.prepare(`select ${columns} from decision where decision_id = ?`)
  const page = database.prepare(
    `select ${columns} from decision where decision_id < ? order by decision_id desc limit ?`,
  )
  const read = (row: unknown): StoredDecision => {
    const { input, erased, result, ...rest } = row as Omit<StoredDecision, 'input' | 'result'> &
      Record<'input' | 'erased' | 'result', string>
    const { effect, reason, rule, code, narrow, path } = JSON.parse(result) as StoredDecision['result']
    const given = { effect, reason, rule, ...(code && { code }), ...(narrow && { narrow }), ...(path && { path }) }
    return { ...rest, input: erased === '[]' ? (JSON.parse(input) as Record<string, unknown>) : null, result: given }
  }
  return {
    show(id) {
      const row = one.get(id)
      return row === undefined ? undefined : read(row)
    },
    // Ids are of small letters and digits, so this is after each of them.
    list: (limit, before = 'g') => page.all(before, limit).map(read),
  }
}

/** The newest bundle version this database has decisions of; 0 for none. An older bundle is refused (T21). */
export function newestBundleVersion(database: { prepare(sql: string): { get(): unknown } }): number {
  const row = database.prepare('select max(bundle_version) as newest from decision').get() as { newest: number | null }
  return row.newest ?? 0
}
