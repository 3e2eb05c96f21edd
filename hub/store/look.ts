/**
 * The rows that grow with history, looked through a page a turn after the start: each is read whole, and found again by every index it is in.
 * A start looks at the whole of a small file and at the bounded tables of a large one (open-file.ts). Audit records are not among these:
 * walking their chain reads each of them (guard/audit/walk.ts).
 */
import type { Store } from './database.ts'
import { growsWithHistory, isAuditTable } from './open-file.ts'

const ROWS_A_TURN = 100

type Row = Record<string, unknown>
interface IndexShape {
  name: string
  columns: string[]
}

/** The columns a table is walked by: its rowid, or its primary key. */
function keyOf(store: Store, table: string): string[] {
  const { wr } = store.prepare('select wr from pragma_table_list where name = ?').get(table) as { wr: number }
  if (wr === 0) return ['rowid']
  return store.prepare('select name from pragma_table_info(?) where pk > 0 order by pk').pluck().all(table) as string[]
}

/** Partial ones and those over expressions hold what their own words say; they are left out. */
function indicesOf(store: Store, table: string): IndexShape[] {
  const names = store
    .prepare(`select name from pragma_index_list(?) where partial = 0 and origin <> 'pk'`)
    .pluck()
    .all(table) as string[]
  return names
    .map((name) => ({
      name,
      columns: store.prepare('select name from pragma_index_info(?) order by seqno').pluck().all(name) as string[],
    }))
    .filter(({ columns }) => columns.every((column) => column !== null))
}

/** Answers the first damage, or undefined. Rejects only where `turn` does. */
export async function lookThrough(store: Store, turn: () => Promise<void>): Promise<string | undefined> {
  try {
    const tables = store.prepare(`select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'`)
    for (const table of tables.pluck().all() as string[]) {
      if (!growsWithHistory(table) || isAuditTable(table)) continue
      const reason = await lookAtTable(store, table, turn)
      if (reason !== undefined) return reason
    }
    return undefined
  } catch (thrown) {
    if (!String((thrown as { code?: unknown }).code).startsWith('SQLITE_')) throw thrown
    return (thrown as Error).message
  }
}

async function lookAtTable(store: Store, table: string, turn: () => Promise<void>): Promise<string | undefined> {
  const key = keyOf(store, table)
  const indices = indicesOf(store, table)
  const [names, marks] = [key.join(', '), key.map(() => '?').join(', ')]
  const keys = key.map((column, at) => `${column} as key_${at}`).join(', ')
  const first = store.prepare(`select ${keys}, * from ${table} order by ${names} limit ${ROWS_A_TURN}`)
  const next = store.prepare(
    `select ${keys}, * from ${table} where (${names}) > (${marks}) order by ${names} limit ${ROWS_A_TURN}`,
  )
  // By its key too, which ends every entry: otherwise the first of many equal rows would answer for all.
  const finders = indices.map(({ name, columns }) => ({
    name,
    columns,
    find: store.prepare(
      `select 1 from ${table} indexed by ${name} where ${[...columns, ...key].map((column) => `${column} is ?`).join(' and ')}`,
    ),
  }))
  const keyValues = (row: Row) => key.map((_, at) => row[`key_${at}`])
  for (let rows = first.all() as Row[]; rows.length > 0; ) {
    for (const row of rows)
      for (const { name, columns, find } of finders)
        if (find.get(...columns.map((column) => row[column]), ...keyValues(row)) === undefined)
          return `a row of ${table} is missing from its index ${name}`
    await turn()
    rows = next.all(...keyValues(rows.at(-1) as Row)) as Row[]
  }
  return undefined
}
