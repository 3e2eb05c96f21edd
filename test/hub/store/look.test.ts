/** Fault B2: the start checks what does not grow; the rest is looked through after it, a page a turn (T81). */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { lookThrough } from '../../../hub/store/look.ts'
import { migrate, shippedMigrations } from '../../../hub/store/migrations.ts'

let folder: string
let store: Store
const path = () => join(folder, 'hub.db')
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-look-'))
  store = openStore(path())
  migrate(store, shippedMigrations(), 1, () => undefined)
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})

const decide = (from: number, to: number, bytes: number) =>
  store.transaction(() => {
    const insert = store.prepare(`insert into decision values (?, 1, 'p', ?, 'digest', '[]', 'r', 'l', 'b', 'r', 1)`)
    for (let n = from; n < to; n += 1) insert.run(`d${String(n).padStart(8, '0')}`, 'x'.repeat(bytes))
  })
const alerts = (count: number) =>
  store.transaction(() => {
    const insert = store.prepare(`insert into alert values (?, ?, 'info', 'text', 'sent', 0, null, ?, 2)`)
    for (let n = 0; n < count; n += 1) insert.run(`a${n}`, `cause:${n}`, n)
  })
const look = async () => {
  let turns = 0
  const found = await lookThrough(store, async () => {
    turns += 1
  })
  return { found, turns }
}
const bend = (page: number, at: number) => {
  const file = openSync(path(), 'r+')
  writeSync(file, Buffer.alloc(200, 0xa5), 0, 200, (page - 1) * 4096 + at)
  closeSync(file)
}

describe('fault B2: after a start', () => {
  it('every row that grows with history is looked at, a hundred a turn, and found by its indices [audit-18]', async () => {
    alerts(950)
    decide(0, 450, 10)
    expect(await look()).toEqual({ found: undefined, turns: 15 })
  })

  it('a row that an index does not hold is named', async () => {
    alerts(950)
    store.close()
    // A damage that no page shows: an index that left a row out.
    const file = new Database(path()).unsafeMode(true)
    file.exec('drop index alert_by_raised')
    file.exec('create index alert_by_raised on alert (raised_at_ms) where raised_at_ms <> 700')
    file.pragma('writable_schema = 1')
    file.exec(
      `update sqlite_schema set sql = 'create index alert_by_raised on alert (raised_at_ms)' where name = 'alert_by_raised'`,
    )
    file.close()
    // A file of so few pages is looked through whole at the start; filled up, it is not.
    expect(() => openStore(path())).toThrow('damaged')
    const filler = new Database(path())
    filler.exec('create table filler (bytes blob)')
    filler.prepare('insert into filler values (zeroblob(?))').run(17 * 1024 ** 2)
    filler.close()
    store = openStore(path())
    expect((await look()).found).toBe('a row of alert is missing from its index alert_by_raised')
  })

  it('a start of a large file looks at what is bounded alone; a page of history that is damaged is found by the look [audit-18]', async () => {
    decide(0, 50_000, 300)
    store.checkpoint()
    store.close()
    const pages = readFileSync(path()).length / 4096
    expect(pages * 4096).toBeGreaterThan(16 * 1024 ** 2)
    bend(pages - 100, 0)
    store = openStore(path())
    expect(String((await look()).found)).toContain('malformed')
    store.close()
    // The table of modes is bounded: damaged, it stops the start.
    const whole = readFileSync(path())
    store = openStore(path())
    const root = store.prepare(`select rootpage from sqlite_schema where name = 'condition'`).pluck().get() as number
    store.close()
    bend(root, 0)
    expect(() => openStore(path())).toThrow('damaged')
    expect(readFileSync(path()).length).toBe(whole.length)
    rmSync(path())
    store = openStore(path())
  })
})
