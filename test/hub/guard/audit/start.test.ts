/** What a start looks at of a log that may be years long. */
import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuditLog } from '../../../../hub/guard/audit/log.ts'
import { checkStart } from '../../../../hub/guard/audit/walk.ts'
import { type AuditHome, createAuditHome, entry } from '../../../support/audit-home.ts'

let log: AuditHome
beforeEach(() => {
  log = createAuditHome()
})
afterEach(() => log[Symbol.dispose]())

describe('fault B2: what a start looks at', () => {
  const tamper = (sql: string) => {
    log.store.prepare('drop trigger audit_record_is_append_only_update').run()
    log.store.prepare('drop trigger audit_record_is_append_only_delete').run()
    log.store.prepare(sql).run()
  }
  it('is the newest signed head and what follows it, however long the log [audit-18]', () => {
    log.append(3000)
    let looks = 0
    const look: AuditLog['look'] = (at) => {
      looks += 1
      return log.audit.look(at)
    }
    const counted = { ...log.audit, look }
    log.store.transaction(() => {
      for (let n = 0; n < 600; n += 1) log.audit.append(entry('unsigned'))
    })
    expect(checkStart({ audit: counted, checkpoints: log.checkpoints, bytesOf: log.bytesOf, pick: () => 0 })).toBeNull()
    expect(looks).toBe(3)
  })
  it.each([
    ['a signed record that was changed', "update audit_record set hash = 'x' where seq = 300", 300],
    ['a record since that was changed', "update audit_record set reason = 'x' where seq = 310", 310],
    ['one that is missing', 'delete from audit_record where seq = 305', 305],
    ['a cut tail', 'delete from audit_record where seq > 290', 300],
  ])('names %s', (_what, sql, seq) => {
    log.append(300)
    log.store.transaction(() => {
      for (let n = 0; n < 20; n += 1) log.audit.append(entry('unsigned'))
    })
    tamper(sql)
    log.reopen()
    expect(log.checkStart()).toMatchObject({ seq })
  })
})

describe('fault F5: of the past a start looks at another sample every time', () => {
  const rewrite = (sql: string) => {
    for (const { name } of triggers()) log.store.prepare(`drop trigger ${name}`).run()
    log.store.prepare(sql).run()
    log.reopen()
  }
  const triggers = () =>
    log.store.prepare("select name from sqlite_master where type = 'trigger'").all() as { name: string }[]

  it('a small log is looked at whole: a record changed long ago is named, wherever it is', () => {
    log.append(2000)
    for (const seq of [1, 777, 1999]) {
      const reason = log.everything().records[seq - 1]?.reason ?? ''
      rewrite(`update audit_record set reason = 'other' where seq = ${seq}`)
      expect(log.checkStart(), String(seq)).toMatchObject({ seq })
      log.store.prepare('update audit_record set reason = ? where seq = ?').run(reason, seq)
    }
    log.reopen()
    expect(log.checkStart()).toBeNull()
  })

  it('of a long one eight pages, however long, each at a place of its eighth; the place is handed in [audit-12]', () => {
    log.append(16_000)
    rewrite("update audit_record set reason = 'other' where seq = 5000")
    let pages = 0
    const page: AuditLog['page'] = (after, upTo) => {
      pages += 1
      return log.audit.page(after, upTo)
    }
    const belows: number[] = []
    const pick = (below: number) => {
      belows.push(below)
      return 0
    }
    expect(
      checkStart({ audit: { ...log.audit, page }, checkpoints: log.checkpoints, bytesOf: log.bytesOf, pick }),
    ).toBeNull()
    expect([pages, new Set(belows)]).toEqual([8, new Set([1751])])
    // The third eighth begins behind record 4000.
    expect(log.checkStart(() => 900)).toMatchObject({ seq: 5000 })
  })

  it('a head that was signed over another past is named, although the chain was worked out anew', () => {
    log.append(2000)
    const signed = log.checkpoints.between(0, 1000)
    expect(signed.length).toBeGreaterThan(1)
    const { size } = JSON.parse(signed[1] ?? '{}') as { size: number }
    rewrite(`update checkpoint set document = replace(document, '"head":"', '"head":"0') where size = ${size}`)
    expect(log.checkStart()).toMatchObject({ seq: size })
  })

  it('a dropped month is looked at in its file', async () => {
    log.twoMonths(2000, 100)
    await log.sealing.round()
    await log.sealing.drop('2026-10')
    expect(log.checkStart()).toBeNull()
    const bytes = readFileSync(log.fileOf('2026-10'))
    bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] ?? 0) ^ 0xff
    writeFileSync(log.fileOf('2026-10'), bytes)
    log.reopen()
    expect(log.checkStart()?.reason).toMatch(/cannot be read|does not|other/)
  })
})
