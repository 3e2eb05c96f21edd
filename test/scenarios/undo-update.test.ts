/** Fault G7: the way back after an update gives back a database, and to nobody who was shut out since his rights. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { undoUpdate } from '../../hub/home/undo-update.ts'
import { openStore } from '../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../hub/store/migrations.ts'
import { openFile } from '../../hub/store/open-file.ts'
import { createFakeClock } from '../support/fake-clock.ts'

/** What is looked at just before a file gets another name. */
let look: () => void = () => undefined
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>()
  const looked =
    <Args extends unknown[], Result>(act: (...args: Args) => Result) =>
    (...args: Args) => {
      look()
      return act(...args)
    }
  return { ...fs, renameSync: looked(fs.renameSync), linkSync: looked(fs.linkSync) }
})

const MAIN = fileURLToPath(new URL('../../hub/main.ts', import.meta.url))
const BEFORE = `
  insert into credential (name, kind, scope, secret_hash, created_at_ms, expires_at_ms, used_at_ms, revoked_at_ms)
    values ('phone', 'app', '[]', 'h1', 1, null, null, null), ('ci', 'token', '[]', 'h2', 1, null, null, null),
    ('pad', 'app', '[]', 'h3', 1, null, null, null), ('kept', 'app', '[]', 'h4', 1, null, null, null);
  insert into contact_card (digest, name, operator, made_at_ms) values ('c1', 'n', 'o', 1);
  insert into agent values ('bad', 'registered', '', 0), ('good', 'registered', '', 0), ('ill', 'suspended', 'before', 0);
  insert into artifact (task, name, sha256, size, session, created_at_ms) values
    ('t', 'one', 's1', 1, 's', 1), ('t', 'two', 's2', 1, 's', 1)`
const SINCE = `
  update credential set revoked_at_ms = 7 where name in ('phone', 'ci');
  insert or replace into credential (name, kind, scope, secret_hash, created_at_ms, expires_at_ms, used_at_ms, revoked_at_ms)
    values ('pad', 'app', '["view"]', 'h5', 2, null, null, null);
  update contact_card set revoked_at_ms = 8;
  insert into contact_card (digest, name, operator, made_at_ms) values ('c2', 'n', 'o', 1);
  insert or replace into agent values ('bad', 'suspended', 'it lied', 0), ('ill', 'registered', '', 0), ('new', 'suspended', 'x', 0);
  insert into halted_agent values ('good', 9, 'too often');
  update artifact set quarantined_at_ms = 10 where name = 'one';
  insert into denied_token values ('j', 11);
  insert into nonce values ('webhook', 'n', 12);
  insert into condition values ('witness_mismatch', 13, 'two logs'), ('critical_alert', 13, 'a'), ('of_a_later_hub', 13, 'x');
  insert into alert values ('a', 'escape', 'critical', 'it broke out', 'sent', 1, null, 13, null);
  insert into migration values ('9999-later.sql', 1);
  alter table agent add column mood text;
  create table later (x integer)`

let home: string
const clock = createFakeClock()
const path = () => join(home, 'hub.db')
function change(sql: string): void {
  const database = new Database(path())
  database.exec(sql)
  database.close()
}
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'hub-undo-'))
  const store = openStore(path())
  migrate(store, shippedMigrations(), 1, () => undefined)
  store.close()
  change(BEFORE)
  change(`vacuum into '${join(home, 'hub.db.before-1000')}'`)
  change(SINCE)
})
afterEach(() => {
  look = () => undefined
  rmSync(home, { recursive: true })
})
const rows = (sql: string) => {
  const database = new Database(path(), { readonly: true })
  const found = database.prepare(sql).raw().all()
  database.close()
  return found
}

describe('hub undo-update', () => {
  test('carries over what only restricts, and nothing that permits; the record says how much', () => {
    const report = undoUpdate({ home }, clock)
    expect(rows('select name, secret_hash, revoked_at_ms from credential order by name')).toEqual([
      ['ci', 'h2', 7],
      ['kept', 'h4', null],
      ['pad', 'h3', clock.wallMs()],
      ['phone', 'h1', 7],
    ])
    expect(rows('select digest, revoked_at_ms from contact_card')).toEqual([['c1', 8]])
    expect(rows('select name, state, reason from agent order by name')).toEqual([
      ['bad', 'suspended', 'it lied'],
      ['good', 'registered', ''],
      ['ill', 'suspended', 'before'],
      ['new', 'suspended', 'x'],
    ])
    expect(rows('select agent from halted_agent')).toEqual([['good']])
    expect(rows('select name, quarantined_at_ms from artifact order by name')).toEqual([
      ['one', 10],
      ['two', null],
    ])
    expect(rows('select * from denied_token')).toEqual([['j', 11]])
    expect(rows('select * from nonce')).toEqual([['webhook', 'n', 12]])
    expect(rows('select name from condition order by name')).toEqual([['operator_request'], ['witness_mismatch']])
    expect(rows('select id, severity, holds from alert')).toEqual([['a', 'critical', 1]])
    expect(report).toMatchObject({
      revokeAnew: [],
      carried: { 'devices and tokens': 3, 'contact cards': 1, agents: 2 },
    })
    expect(rows('select effect from audit_record')).toEqual([
      [expect.stringContaining('as strict as since: devices and tokens 3, contact cards 1, agents 2, halted agents 1')],
    ])
  })

  test('names what it cannot read in the newer database, as a restore does', () => {
    change('alter table credential rename column revoked_at_ms to ended_at_ms; drop table contact_card')
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'undo-update', '--home', home], {
      encoding: 'utf8',
    })
    expect(status, stderr).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      revokeAnew: ['hub device list', 'hub token list', 'hub contact card'],
      carried: { agents: 2 },
    })
    expect(stderr).toContain(
      'look through it and revoke it again: `hub device list`, `hub token list`, `hub contact card`',
    )
  })

  test('keeps everybody out until the older database stands in its place, and leaves no log of the other there', () => {
    const met: string[] = []
    look = () => {
      if (!existsSync(`${path()}.making`)) return
      try {
        openFile(path()).close()
        met.push('open')
      } catch (thrown) {
        met.push((thrown as { code: string }).code)
      }
    }
    const { kept } = undoUpdate({ home }, clock)
    expect(met).toEqual(['conflict', 'conflict'])
    expect(readdirSync(home).sort()).toEqual(['hub.db', `hub.db.after-${clock.wallMs()}`, 'hub.db.before-1000'])
    const newer = new Database(kept, { readonly: true })
    expect(newer.prepare('select count(*) from later').pluck().get()).toBe(0)
    newer.close()
    expect(rows("select name from migration where name like '9999%'")).toEqual([])
  })

  test('is refused while a hub runs, and takes nothing away then', () => {
    const running = openFile(path())
    running.exec('begin immediate; commit')
    expect(() => undoUpdate({ home }, clock)).toThrow(expect.objectContaining({ code: 'conflict' }))
    running.close()
    expect(readdirSync(home).filter((name) => name.includes('after') || name.includes('making'))).toEqual([])
  })
})
