/** Months of the audit log: tables that end, and one chain over all of them (fault B3, X14). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { tableSql, triggerSql } from '../../../../hub/guard/audit/months.ts'
import { shippedMigrations } from '../../../../hub/store/migrations.ts'
import { type AuditHome, createAuditHome, entry } from '../../../support/audit-home.ts'

let log: AuditHome
beforeEach(() => {
  log = createAuditHome()
})
afterEach(() => log[Symbol.dispose]())

describe('fault B3: a month of the audit log', () => {
  it('has a table of its own, made by its first record; the chain goes on, and no row can be changed or deleted in any [audit-16]', async () => {
    log.twoMonths()
    log.at('2026-12-01T00:00:00Z')
    log.append(1)
    expect(log.tables()).toEqual(['audit_record', 'audit_record_2026_10', 'audit_record_2026_11'])
    expect(log.states()).toEqual(['2026-10 ended', '2026-11 ended', '2026-12 open'])
    for (const table of log.tables()) {
      const sql = log.store.prepare('select sql from sqlite_schema where name = ?').pluck().get(table) as string
      expect(sql.replace(`"${table}"`, String(table)).replace('CREATE TABLE', 'create table')).toBe(
        tableSql(String(table)),
      )
      expect(() => log.store.prepare(`update ${table} set reason = ''`).run()).toThrow('append-only')
      expect(() => log.store.prepare(`delete from ${table}`).run()).toThrow('append-only')
    }
    expect(await log.walk()).toMatchObject({ size: 1580, firstBad: null, checkpoints: 18 })
    expect(log.audit.verify()).toMatchObject({ size: 1580, fault: undefined })
    log.reopen()
    log.append(1)
    expect(log.audit.head().size).toBe(1581)
    expect(await log.walk()).toMatchObject({ size: 1581, firstBad: null })
  })

  it('is made like the table the first migration makes', () => {
    const first = shippedMigrations()[0]?.sql ?? ''
    expect(first).toContain(`${tableSql('audit_record')};`)
    for (const verb of ['update', 'delete']) expect(first).toContain(`${triggerSql('audit_record', verb)};`)
  })

  it('that was begun by a transaction that is undone was never begun', () => {
    log.twoMonths(3, 0)
    expect(() =>
      log.store.transaction(() => {
        log.audit.append(entry('task:x'))
        throw new Error('no')
      }),
    ).toThrow('no')
    log.audit.reload()
    expect(log.tables()).toEqual(['audit_record'])
    expect(log.states()).toEqual(['2026-10 open'])
    log.append(1)
    expect(log.states()).toEqual(['2026-10 ended', '2026-11 open'])
    expect(log.audit.verify()).toMatchObject({ size: 4, fault: undefined })
  })

  it('of a home that had one table for all its time stays as it is, and ends like a month', async () => {
    log.at('2026-07-05T00:00:00Z')
    log.append(700)
    // As the migration leaves such a home: records, and no month yet.
    log.store.prepare('delete from audit_month').run()
    log.reopen()
    expect(log.audit.verify()).toMatchObject({ size: 700, fault: undefined })
    log.at('2026-11-29T00:00:00Z')
    log.append(5)
    expect(log.states()).toEqual(['2026-07 ended', '2026-11 open'])
    await log.sealing.round()
    await log.sealing.drop('2026-07')
    expect(await log.walk()).toMatchObject({ size: 705, firstBad: null })
  })

  it('goes on when the clock is set back by less than a day, and has a number behind its name when it comes again', () => {
    log.twoMonths(2, 2)
    log.at('2026-10-31T23:00:00Z')
    log.append(1)
    expect(log.states()).toEqual(['2026-10 ended', '2026-11 open'])
    log.at('2035-01-01T00:00:00Z')
    log.append(1)
    log.at('2026-11-02T00:00:00Z')
    log.append(1)
    expect(log.states()).toEqual(['2026-10 ended', '2026-11 ended', '2035-01 ended', '2026-11-2 open'])
    expect(log.audit.verify()).toMatchObject({ size: 7, fault: undefined })
  })
})
