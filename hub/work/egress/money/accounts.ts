/**
 * What is spent and reserved, added up (table `egress_account`). Only this file writes it. It says nothing that the rows of the calls do not
 * say; it is there because a day may have a hundred thousand of them, and each call asks for the sum.
 *
 * A1. An account moves in the transaction that moves its reservation, after it, and by the same amount.
 * A2. One whose check does not fit is added up again from the reservations, and the day of the hub from its agents' days, which are few and
 *     outlive the rows of old tasks. A raise that it held is lost with it, so it allows less and not more.
 */
import type { Store } from '../../../store/database.ts'
import { checkOf } from '../../../store/reading.ts'

export type Scope = 'session' | 'attempt' | 'task' | 'tree' | 'agent_day' | 'day' | 'slot'

/** Reserved, spent and counted; `estimatedUsd` is the part of what is spent that nobody measured. */
export interface Sums {
  heldUsd: number
  heldInput: number
  heldOutput: number
  spentUsd: number
  estimatedUsd: number
  input: number
  output: number
  calls: number
}

export interface Account extends Sums {
  scope: Scope
  key: string
  raisedUsd: number
  /** Marks that were told, as bits (budget.ts). */
  told: number
  atMs: number
}

/** Which account: `task` is the task with which it is deleted, null for those of days and minutes. */
export interface AccountRef {
  scope: Scope
  key: string
  task: string | null
}

/** Whose call it is. */
export interface Payer {
  session: string
  attempt: string
  task: string
  /** The task at the root of the tree. */
  root: string
  agent: string
}

/** Every account that a call counts towards. `slot`: the minutes in which it was reserved. */
export function refsOf({ session, attempt, task, root, agent }: Payer, day: string, slot: number): AccountRef[] {
  return [
    { scope: 'session', key: session, task },
    { scope: 'attempt', key: attempt, task },
    { scope: 'task', key: task, task },
    { scope: 'tree', key: root, task: root },
    { scope: 'agent_day', key: `${day} ${agent}`, task: null },
    { scope: 'day', key: day, task: null },
    { scope: 'slot', key: `${agent} ${slot}`, task: null },
  ]
}

/**
 * Changes every account of a call. If its row is damaged, nobody knows whose it was: its accounts, and all that hold something, are added up
 * again. Within a transaction.
 */
export function moveAccounts(
  accounts: Accounts,
  row: Payer & { day: string; slot: number; unreadable: string | null },
  change: Partial<Sums>,
  atMs: number,
): void {
  const refs = refsOf(row, row.day, row.slot)
  if (row.unreadable === null) for (const ref of refs) accounts.add(ref, change, atMs)
  else for (const ref of [...refs, ...accounts.held()]) accounts.mend(ref, atMs)
}

export interface Accounts {
  /** How often any of them was written since the start: what was read before the last time is no longer so. */
  moves(): number
  /** All zero if there is none. */
  get(scope: Scope, key: string): Account
  /** Within a transaction. */
  add(ref: AccountRef, change: Partial<Sums>, atMs: number): Account
  /** Within a transaction: sets what is no sum. */
  set(ref: AccountRef, change: Partial<Pick<Account, 'raisedUsd' | 'told'>>, atMs: number): Account
  /** Adds the account up again from the reservations. Within a transaction. */
  mend(ref: AccountRef, atMs: number): Account
  /** Those that hold something for calls under way. Reads them all. */
  held(): AccountRef[]
  /** Of a scope, by the beginning of their keys, the newest first. */
  list(scope: Scope, begins: string, limit: number): Account[]
  /** Of an agent, in these slots. */
  slots(agent: string, from: number, to: number): Account[]
  /** Deletes those of days and minutes that nobody asks about any more. Within a transaction. */
  forget(before: { slotMs: number; dayMs: number }): void
}

const SUMS = [
  'held_usd',
  'held_input',
  'held_output',
  'spent_usd',
  'estimated_usd',
  'input',
  'output',
  'calls',
] as const
const OTHER = ['raised_usd', 'told', 'at_ms'] as const
const fields = new Map<string, string>()
/** snake_case to camelCase, worked out once for each column. */
export function fieldOf(column: string): string {
  const known = fields.get(column)
  if (known !== undefined) return known
  const made = column.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
  fields.set(column, made)
  return made
}

const nothing = (scope: Scope, key: string): Account => ({
  ...{ scope, key, heldUsd: 0, heldInput: 0, heldOutput: 0, spentUsd: 0, estimatedUsd: 0 },
  ...{ input: 0, output: 0, calls: 0, raisedUsd: 0, told: 0, atMs: 0 },
})

/** `sumsOf`: what the reservations of an account add up to. `onDamaged` hears of each account that had to be added up again. */
export function createAccounts(
  store: Store,
  parts: { sumsOf: (scope: Scope, key: string) => Sums; onDamaged: (scope: Scope, key: string) => void },
): Accounts {
  const { sumsOf, onDamaged } = parts
  const found = store.prepare('select * from egress_account where scope = ? and key = ?')
  // In the order of the table: the check is over the row as it is read back.
  const columns = ['scope', 'key', 'task', ...SUMS, ...OTHER]
  const save = store.prepare(
    `insert or replace into egress_account (${columns.join(', ')}, check_sum) values (${columns.map(() => '?').join(', ')}, ?)`,
  )
  const listed = store.prepare(
    'select * from egress_account where scope = ? and key >= ? and key < ? order by key desc limit ?',
  )
  const inSlots = store.prepare(`select * from egress_account where scope = 'slot' and key >= ? and key <= ?`)
  const held = store.prepare(
    'select scope, key, task from egress_account where held_usd <> 0 or held_input <> 0 or held_output <> 0',
  )
  const forgetSlots = store.prepare(`delete from egress_account where scope = 'slot' and at_ms < ?`)
  const forgetDays = store.prepare(`delete from egress_account where scope in ('day', 'agent_day') and at_ms < ?`)

  const agentsOf = store.prepare(`select * from egress_account where scope = 'agent_day' and key >= ? and key < ?`)

  const isWhole = (raw: Record<string, unknown>): boolean => raw.check_sum === checkOf(raw)
  function read(raw: Record<string, unknown>): Account {
    const scope = raw.scope as Scope
    const key = raw.key as string
    if (isWhole(raw)) {
      const entries = [...SUMS, ...OTHER].map((column) => [fieldOf(column), raw[column]])
      return { scope, key, ...Object.fromEntries(entries) } as Account
    }
    onDamaged(scope, key)
    return { ...nothing(scope, key), ...((scope === 'day' ? sumOfAgents(key) : undefined) ?? sumsOf(scope, key)) }
  }
  /** Undefined if none is there, or one of them is damaged too. */
  function sumOfAgents(day: string): Sums | undefined {
    const agents = agentsOf.all(`${day} `, `${day} \u{10ffff}`) as Record<string, unknown>[]
    if (agents.length === 0 || !agents.every(isWhole)) return undefined
    const sum = (column: (typeof SUMS)[number]) => agents.reduce((all, raw) => all + (raw[column] as number), 0)
    return Object.fromEntries(SUMS.map((column) => [fieldOf(column), sum(column)])) as unknown as Sums
  }
  const rawOf = (scope: Scope, key: string) => found.get(scope, key) as Record<string, unknown> | undefined
  function get(scope: Scope, key: string): Account {
    const raw = rawOf(scope, key)
    return raw === undefined ? nothing(scope, key) : read(raw)
  }
  let moves = 0
  function write({ scope, key, task }: AccountRef, account: Account, atMs: number): Account {
    moves += 1
    const values: Readonly<Record<string, unknown>> = { ...account, scope, key, task, atMs }
    const raw = Object.fromEntries(columns.map((column) => [column, values[fieldOf(column)]]))
    save.run(...Object.values(raw), checkOf(raw))
    return { ...account, atMs }
  }

  return {
    moves: () => moves,
    get,
    add(ref, change, atMs) {
      const raw = rawOf(ref.scope, ref.key)
      const account = raw === undefined ? nothing(ref.scope, ref.key) : read(raw)
      // What was added up again holds the reservation as it is now, with this change.
      if (raw === undefined || isWhole(raw))
        for (const [name, by] of Object.entries(change)) account[name as keyof Sums] += by
      return write(ref, account, atMs)
    },
    set: (ref, change, atMs) => write(ref, { ...get(ref.scope, ref.key), ...change }, atMs),
    mend({ scope, key, task }, atMs) {
      const { raisedUsd, told } = get(scope, key)
      return write({ scope, key, task }, { ...nothing(scope, key), ...sumsOf(scope, key), raisedUsd, told }, atMs)
    },
    held: () => held.all() as AccountRef[],
    list: (scope, begins, limit) =>
      (listed.all(scope, begins, `${begins}\u{10ffff}`, limit) as Record<string, unknown>[]).map(read),
    slots: (agent, from, to) =>
      (inSlots.all(`${agent} ${from}`, `${agent} ${to}`) as Record<string, unknown>[]).map(read),
    forget({ slotMs, dayMs }) {
      forgetSlots.run(slotMs)
      forgetDays.run(dayMs)
    },
  }
}
