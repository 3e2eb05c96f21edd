/**
 * The rows of metered calls: what each may cost at worst, and what it cost (table `egress_reservation`). Only this file writes them.
 *
 * R1. A row moves by the table of states below and in no other way: it is settled once, and after that only corrected by the operator.
 * R2. A row carries a check over its columns. One that is not as it was written counts with the largest amount that it shows, until the operator
 *     says what it cost. If its state is damaged, it counts as under way until the next start settles it.
 */
import { createMachine } from '../../../base/machine.ts'
import { isBag } from '../../../protocol/keys.ts'
import { SURCHARGES, type Surcharge } from '../../../protocol/prices.ts'
import type { Store } from '../../../store/database.ts'
import { checkOf, isTexts, json, oneOf, readRow } from '../../../store/reading.ts'
import { fieldOf, type Payer, type Scope, type Sums } from './accounts.ts'
import type { Asked, Bound, Prefix } from './bounds.ts'
import type { Price } from './prices.ts'
import type { MeteredShape } from './usage-reader.ts'

/**
 * open: under way. measured: by the upstream's own figures. estimated: at the reserve. released: it cost nothing. corrected: the operator said
 * what it cost.
 */
const RESERVATION_STATES = ['open', 'measured', 'estimated', 'released', 'corrected'] as const
export type ReservationState = (typeof RESERVATION_STATES)[number]
export const reservationMachine = createMachine<ReservationState>('reservation', {
  open: ['measured', 'estimated', 'released'],
  measured: ['corrected'],
  estimated: ['corrected'],
  released: ['corrected'],
  corrected: ['corrected'],
})

export interface ReservationRow extends Payer {
  id: string
  state: ReservationState
  upstream: string
  shape: MeteredShape
  model: string
  /** Null where nothing costs money. `heldUses`: how often tools of the provider may run, as reserved. */
  price: (Price & { heldUses: Bound['uses'] }) | null
  priceVersion: string
  surcharges: readonly Surcharge[]
  day: string
  slot: number
  cap: number
  choices: number
  inputBytes: number
  requestHash: string | null
  reservedUsd: number
  reservedInput: number
  reservedOutput: number
  /** What it cost; null while it is open. */
  usd: number | null
  /** Towards tokens in an hour. */
  input: number | null
  wholeInput: number | null
  output: number | null
  /** HTTP status of an answer that cost nothing. */
  status: number | null
  why: string
  atMs: number
  settledAtMs: number | null
  /** What the provider said of its input before it was reserved; null where it was not asked. */
  counted: number | null
  unreadable: string | null
}

export type NewReservation = Omit<
  ReservationRow,
  'state' | 'usd' | 'input' | 'wholeInput' | 'output' | 'status' | 'why' | 'settledAtMs' | 'unreadable'
>
export type Settlement = Pick<ReservationRow, 'usd' | 'input' | 'wholeInput' | 'output' | 'status' | 'why'> & {
  state: Exclude<ReservationState, 'open'>
  settledAtMs: number
}

/** What one model of one upstream cost. */
export interface SpentRow {
  upstream: string
  model: string
  spentUsd: number
  /** The part of it that nobody measured. */
  estimatedUsd: number
  input: number
  output: number
  calls: number
}

export interface Reservations {
  find(id: string): ReservationRow | undefined
  open(): ReservationRow[]
  insert(row: NewReservation): void
  /** Moves a row. Throws `conflict` if the table has no such step. */
  settle(id: string, settlement: Settlement): void
  /** Makes a damaged row whole again by what a person said of it: a column that cannot be read has nothing in it then. */
  repair(row: ReservationRow, settlement: Settlement & { state: 'corrected' }): void
  /** Whether a call of this upstream that was settled since then took more than its count allowed. */
  isUndercounted(upstream: string, sinceMs: number): boolean
  /** The longest of these that was a request of the session to this model of this upstream, with what its input was. */
  prefix(of: Pick<ReservationRow, 'session' | 'upstream' | 'model'>, prefixes: Asked['prefixes']): Prefix | undefined
  /** Statuses and instants of the last settled calls of a session to an upstream, newest first. */
  lastStatuses(session: string, upstream: string, limit: number): { status: number | null; settledAtMs: number }[]
  /** Newest first. */
  ofTask(task: string, limit: number): ReservationRow[]
  /** What was settled on a day, by upstream and model. */
  spentOn(day: string): SpentRow[]
  /** What the rows of one account add up to, damaged ones too (R2). */
  sums(scope: Scope, key: string): Sums
}

const COLUMNS = [
  ...['id', 'state', 'session', 'attempt', 'task', 'root', 'agent', 'upstream', 'shape', 'model', 'price'],
  ...['price_version', 'surcharges', 'day', 'slot', 'cap', 'choices', 'input_bytes', 'request_hash'],
  ...['reserved_usd', 'reserved_input', 'reserved_output', 'why', 'at_ms', 'counted'],
] as const

const amount = {
  read: (value: unknown) => (Number.isSafeInteger(value) && Number(value) >= 0 ? { value } : undefined),
  instead: 0,
}
const READ = {
  // A state that cannot be read counts as under way: whoever settles what is open settles this too.
  state: oneOf(RESERVATION_STATES, 'open'),
  price: json((value) => value === null || isBag(value), null),
  surcharges: json((value) => isTexts(value) && value.every((each) => SURCHARGES.some((known) => known === each)), []),
  reserved_usd: amount,
  reserved_input: amount,
  reserved_output: amount,
}

function rowOf(raw: unknown): ReservationRow {
  const { unreadable, values } = readRow(raw as Record<string, unknown>, READ)
  const row = Object.fromEntries(Object.entries(values).map(([column, value]) => [fieldOf(column), value]))
  return { ...row, unreadable } as unknown as ReservationRow
}

/** Which rows belong to an account, and how its key is said of a row. */
const OF_SCOPE: Readonly<Record<Scope, { where: string; parts: (key: string) => (string | number)[] }>> = {
  session: { where: 'session = ?', parts: (key) => [key] },
  attempt: { where: 'attempt = ?', parts: (key) => [key] },
  task: { where: 'task = ?', parts: (key) => [key] },
  tree: { where: 'root = ?', parts: (key) => [key] },
  agent_day: { where: 'day = ? and agent = ?', parts: (key) => key.split(' ') },
  day: { where: 'day = ?', parts: (key) => [key] },
  slot: { where: 'slot = ? and agent = ?', parts: (key) => [Number(key.split(' ')[1]), key.split(' ')[0] ?? ''] },
}

export function createReservations(store: Store): Reservations {
  const found = store.prepare('select * from egress_reservation where id = ?')
  const unsettled = store.prepare(
    `select * from egress_reservation where id in (select id from egress_reservation indexed by egress_reservation_unsettled
       where state not in ('measured', 'estimated', 'released', 'corrected')) order by id`,
  )
  const insert = store.prepare(
    `insert into egress_reservation (${COLUMNS.join(', ')}, check_sum) values (${COLUMNS.map(() => '?').join(', ')}, ?)`,
  )
  const move = store.prepare(
    `update egress_reservation set state = ?, usd = ?, input = ?, whole_input = ?, output = ?, status = ?, why = ?, settled_at_ms = ? where id = ?`,
  )
  const replace = store.prepare(
    'update egress_reservation set price = ?, surcharges = ?, reserved_usd = ?, reserved_input = ?, reserved_output = ? where id = ?',
  )
  const check = store.prepare('update egress_reservation set check_sum = ? where id = ?')
  const undercounted = store.prepare(
    `select 1 from egress_reservation indexed by egress_reservation_undercounted
     where upstream = ? and settled_at_ms > ? and counted is not null and whole_input > reserved_input limit 1`,
  )
  const requests = store.prepare(
    `select request_hash as hash, max(whole_input) as tokens from egress_reservation indexed by egress_reservation_by_session
     where session = ? and upstream = ? and model = ? and state = 'measured' and request_hash in (select value from json_each(?)) group by 1`,
  )
  const statuses = store.prepare(
    `select status, settled_at_ms as settledAtMs from egress_reservation indexed by egress_reservation_by_session
     where session = ? and upstream = ? and settled_at_ms is not null order by at_ms desc, rowid desc limit ?`,
  )
  const ofTask = store.prepare(
    'select * from egress_reservation indexed by egress_reservation_by_task where task = ? order by at_ms desc, rowid desc limit ?',
  )

  // Its index holds every column, so a day with a hundred thousand calls is added up without a look at their rows.
  const spent = store.prepare(
    `select upstream, model, sum(coalesce(usd, 0)) as spentUsd, sum(case state when 'estimated' then usd else 0 end) as estimatedUsd,
       sum(coalesce(input, 0)) as input, sum(coalesce(output, 0)) as output, count(*) as calls
     from egress_reservation indexed by egress_reservation_by_day where day = ? group by upstream, model`,
  )

  function seal(id: string): void {
    const raw = found.get(id) as Record<string, unknown> | undefined
    if (raw !== undefined) check.run(checkOf(raw), id)
  }
  const write = (id: string, { state, usd, input, wholeInput, output, status, why, settledAtMs }: Settlement) =>
    void move.run(state, usd, input, wholeInput, output, status, why, settledAtMs, id)
  const find = (id: string) => {
    const raw = found.get(id)
    return raw === undefined ? undefined : rowOf(raw)
  }

  return {
    find,
    open: () => unsettled.all().map(rowOf),
    insert(row) {
      const values: Readonly<Record<string, unknown>> = {
        ...row,
        state: 'open',
        price: JSON.stringify(row.price),
        surcharges: JSON.stringify(row.surcharges),
        why: '',
      }
      // In the order of the table: the check is over the row as it is read back, without what is null.
      const raw = Object.fromEntries(COLUMNS.map((column) => [column, values[fieldOf(column)]]))
      insert.run(...Object.values(raw), checkOf(raw))
    },
    settle(id, settlement) {
      const row = find(id)
      if (row === undefined) return
      reservationMachine.require(row.state, settlement.state)
      write(id, settlement)
      // A damaged row keeps its old check, so everybody who reads it later sees the damage.
      if (row.unreadable === null) seal(id)
    },
    repair({ id, price, surcharges, reservedUsd, reservedInput, reservedOutput }, settlement) {
      write(id, settlement)
      replace.run(JSON.stringify(price), JSON.stringify(surcharges), reservedUsd, reservedInput, reservedOutput, id)
      seal(id)
    },
    isUndercounted: (upstream, sinceMs) => undercounted.get(upstream, sinceMs) !== undefined,
    prefix({ session, upstream, model }, prefixes) {
      if (prefixes.length === 0) return undefined
      const hashes = JSON.stringify(prefixes.map(({ hash }) => hash))
      const known = new Map(
        (requests.all(session, upstream, model, hashes) as { hash: string; tokens: number }[]).map(
          ({ hash, tokens }) => [hash, tokens],
        ),
      )
      const found = prefixes.find(({ hash }) => known.has(hash))
      return found && { tokens: known.get(found.hash) ?? 0, restBytes: found.restBytes }
    },
    lastStatuses: (session, upstream, limit) => statuses.all(session, upstream, limit) as never,
    ofTask: (task, limit) => ofTask.all(task, limit).map(rowOf),
    spentOn: (day) => spent.all(day) as SpentRow[],
    sums(scope, key) {
      const { where, parts } = OF_SCOPE[scope]
      const rows = store.prepare(`select * from egress_reservation where ${where}`).all(...parts(key))
      return rows.map(rowOf).reduce<Sums>(addRow, {
        ...{ heldUsd: 0, heldInput: 0, heldOutput: 0, spentUsd: 0, estimatedUsd: 0, input: 0, output: 0, calls: 0 },
      })
    },
  }
}

const positive = (value: unknown): number => (Number.isSafeInteger(value) && Number(value) > 0 ? Number(value) : 0)

function addRow(sums: Sums, row: ReservationRow): Sums {
  const isOpen = row.state === 'open'
  // Of a damaged row the larger figure counts.
  const spent = row.unreadable === null ? (row.usd ?? 0) : Math.max(row.reservedUsd, positive(row.usd))
  return {
    heldUsd: sums.heldUsd + (isOpen ? row.reservedUsd : 0),
    heldInput: sums.heldInput + (isOpen ? row.reservedInput : 0),
    heldOutput: sums.heldOutput + (isOpen ? row.reservedOutput : 0),
    spentUsd: sums.spentUsd + (isOpen ? 0 : spent),
    estimatedUsd: sums.estimatedUsd + (row.state === 'estimated' ? spent : 0),
    input: sums.input + (isOpen ? 0 : positive(row.input)),
    output: sums.output + (isOpen ? 0 : positive(row.output)),
    calls: sums.calls + 1,
  }
}
