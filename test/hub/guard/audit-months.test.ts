/** Months of the audit log: tables that end, signed files, tables that are dropped, and one chain over all of it (faults B3 and B5, T83, X14). */
import { generateKeyPairSync } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '../../../hub/base/telemetry.ts'
import { nextTurn } from '../../../hub/base/turn.ts'
import { type Checkpoints, createCheckpoints } from '../../../hub/guard/audit/checkpoint.ts'
import { createDecisionMarks } from '../../../hub/guard/audit/decision-marks.ts'
import { type AuditLog, createAuditLog } from '../../../hub/guard/audit/log.ts'
import { tableSql, triggerSql } from '../../../hub/guard/audit/months.ts'
import { SEARCH_RECORDS } from '../../../hub/guard/audit/reader.ts'
import { type AuditSealing, createSealing } from '../../../hub/guard/audit/sealing.ts'
import { createAuditSearch } from '../../../hub/guard/audit/search.ts'
import { segmentBytes, segmentPath } from '../../../hub/guard/audit/segment-file.ts'
import { createAuditVerifier } from '../../../hub/guard/audit/verifier.ts'
import { checkStart as checkedAtStart, walkAudit } from '../../../hub/guard/audit/walk.ts'
import type { AuditEntry } from '../../../hub/protocol/audit-chain.ts'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../hub/store/migrations.ts'
import { createFakeClock, type FakeClock } from '../../support/fake-clock.ts'
import { runHub } from '../../support/fake-hub.ts'

let home: string
let store: Store
let clock: FakeClock
let audit: AuditLog
let checkpoints: Checkpoints
let sealing: AuditSealing
let forgotten: number
let unsealed: string | undefined
const onUnsealed = (reason: string | undefined) => {
  unsealed = reason
}
const forgetMemory = () => {
  forgotten += 1
}
const { privateKey, publicKey } = generateKeyPairSync('ed25519')

const entry = (resource: string): AuditEntry => ({
  principal: 'operator',
  action: 'task.submitted',
  resource,
  decisionId: null,
  policyRevision: 'r-1',
  payloadHash: null,
  outcome: 'ok',
  reason: 'as written \u2028 ü',
  effect: '',
})
/** So many records, every hundredth signed, and the last. */
function append(count: number, more: Partial<AuditEntry> = {}): void {
  for (let left = count; left > 0; ) {
    const now = Math.min(100, left)
    store.transaction(() => {
      for (let n = 0; n < now; n += 1) audit.append({ ...entry(`task:${audit.head().size + 1}`), ...more })
    })
    checkpoints.take()
    left -= now
  }
}
function open(): void {
  audit = createAuditLog({ store, clock, home })
  checkpoints = createCheckpoints({ store, audit, clock, instance: 'test-hub', privateKey, publicKey })
  forgotten = 0
  const marks = createDecisionMarks({ store, audit, forgetMemory })
  sealing = createSealing({ home, audit, checkpoints, marks, clock, log: silentLog(), turn: nextTurn, onUnsealed })
}
function reopen(): void {
  store.close()
  store = openStore(join(home, 'hub.db'))
  open()
}
const walk = () => walkAudit({ home, audit, checkpoints, turn: nextTurn })
const tables = () =>
  store
    .prepare("select name from sqlite_schema where type = 'table' and name like 'audit_%' order by name")
    .pluck()
    .all()
    .filter((name) => /^audit_(record|dropped)/.test(String(name)))
const states = () => audit.months.all().map(({ name, state }) => `${name} ${state}`)
const everything = () => {
  const records = []
  const signed = []
  for (let at = 0; at < audit.head().size; ) {
    const page = audit.page(at, audit.head().size)
    records.push(...page.records)
    const to = page.records.at(-1)?.seq ?? Number.POSITIVE_INFINITY
    signed.push(...(page.checkpoints ?? checkpoints.between(at, to)))
    at = to
  }
  return { records, signed }
}
const fileOf = (name: string) => segmentPath(home, name)
const at = (iso: string) => clock.stepWall(Date.parse(iso) - clock.wallMs())
/** Two months, of which the first has ended. */
function twoMonths(first = 1234, second = 345): void {
  at('2026-10-30T12:00:00Z')
  append(first)
  at('2026-11-01T00:00:00Z')
  append(second)
}

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'hub-months-'))
  clock = createFakeClock()
  store = openStore(join(home, 'hub.db'))
  migrate(store, shippedMigrations(), 1, () => undefined)
  open()
})
afterEach(() => {
  store.close()
  rmSync(home, { recursive: true })
})

describe('fault B3: a month of the audit log', () => {
  it('has a table of its own, made by its first record; the chain goes on, and no row can be changed or deleted in any', async () => {
    twoMonths()
    at('2026-12-01T00:00:00Z')
    append(1)
    expect(tables()).toEqual(['audit_record', 'audit_record_2026_10', 'audit_record_2026_11'])
    expect(states()).toEqual(['2026-10 ended', '2026-11 ended', '2026-12 open'])
    for (const table of tables()) {
      const sql = store.prepare('select sql from sqlite_schema where name = ?').pluck().get(table) as string
      expect(sql.replace(`"${table}"`, String(table)).replace('CREATE TABLE', 'create table')).toBe(
        tableSql(String(table)),
      )
      expect(() => store.prepare(`update ${table} set reason = ''`).run()).toThrow('append-only')
      expect(() => store.prepare(`delete from ${table}`).run()).toThrow('append-only')
    }
    expect(await walk()).toMatchObject({ size: 1580, firstBad: null, checkpoints: 18 })
    expect(audit.verify()).toMatchObject({ size: 1580, fault: undefined })
    reopen()
    append(1)
    expect(audit.head().size).toBe(1581)
    expect(await walk()).toMatchObject({ size: 1581, firstBad: null })
  })

  it('is made like the table the first migration makes', () => {
    const first = shippedMigrations()[0]?.sql ?? ''
    expect(first).toContain(`${tableSql('audit_record')};`)
    for (const verb of ['update', 'delete']) expect(first).toContain(`${triggerSql('audit_record', verb)};`)
  })

  it('that was begun by a transaction that is undone was never begun', () => {
    twoMonths(3, 0)
    expect(() =>
      store.transaction(() => {
        audit.append(entry('task:x'))
        throw new Error('no')
      }),
    ).toThrow('no')
    audit.reload()
    expect(tables()).toEqual(['audit_record'])
    expect(states()).toEqual(['2026-10 open'])
    append(1)
    expect(states()).toEqual(['2026-10 ended', '2026-11 open'])
    expect(audit.verify()).toMatchObject({ size: 4, fault: undefined })
  })

  it('of a home that had one table for all its time stays as it is, and ends like a month', async () => {
    at('2026-07-05T00:00:00Z')
    append(700)
    // As the migration leaves such a home: records, and no month yet.
    store.prepare('delete from audit_month').run()
    reopen()
    expect(audit.verify()).toMatchObject({ size: 700, fault: undefined })
    at('2026-11-29T00:00:00Z')
    append(5)
    expect(states()).toEqual(['2026-07 ended', '2026-11 open'])
    await sealing.round()
    await sealing.drop('2026-07')
    expect(await walk()).toMatchObject({ size: 705, firstBad: null })
  })

  it('goes on when the clock is set back by less than a day, and has a number behind its name when it comes again', () => {
    twoMonths(2, 2)
    at('2026-10-31T23:00:00Z')
    append(1)
    expect(states()).toEqual(['2026-10 ended', '2026-11 open'])
    at('2035-01-01T00:00:00Z')
    append(1)
    at('2026-11-02T00:00:00Z')
    append(1)
    expect(states()).toEqual(['2026-10 ended', '2026-11 ended', '2035-01 ended', '2026-11-2 open'])
    expect(audit.verify()).toMatchObject({ size: 7, fault: undefined })
  })
})

describe('fault B3: a sealed month', () => {
  it('is a signed file that zcat shows; its table is dropped whole, and verify, list, search and export give what they gave', async () => {
    twoMonths()
    const before = everything()
    await sealing.round()
    expect(states()).toEqual(['2026-10 sealed', '2026-11 open'])
    expect(statSync(fileOf('2026-10')).mode & 0o777).toBe(0o600)
    expect(readdirSync(join(home, 'audit'))).toEqual(['2026-10.jsonl.gz'])
    const lines = gunzipSync(readFileSync(fileOf('2026-10')))
      .toString('utf8')
      .trimEnd()
      .split('\n')
    expect(lines.filter((line) => line.includes('"seq":'))).toHaveLength(1234)
    expect(JSON.parse(lines.at(-1) ?? '').seal).toMatchObject({
      name: '2026-10',
      first: 1,
      last: 1234,
      checkpoints: 13,
    })

    await sealing.drop('2026-10')
    expect(tables()).toEqual(['audit_record'])
    expect(await walk()).toMatchObject({ size: 1579, head: audit.head().head, firstBad: null, checkpoints: 17 })
    expect(everything()).toEqual(before)
    reopen()
    expect(everything()).toEqual(before)
    expect(audit.verify()).toMatchObject({ size: 1579, fault: undefined })
    expect([audit.hashAt(1), audit.hashAt(1234)]).toEqual([before.records[0]?.hash, before.records[1233]?.hash])
    expect(audit.list({ limit: 3, before: 1236 }).map(({ seq }) => seq)).toEqual([1235, 1234, 1233])
    expect(audit.list({ limit: 3, before: 1235 }).map(({ seq }) => seq)).toEqual([1234, 1233, 1232])
    expect((await createAuditSearch(audit, nextTurn).ofSession('x', 0, 5)).length).toBe(0)
  })

  it('leaves the table where its file is not whole, whatever byte of it was changed, and where it is gone', async () => {
    twoMonths(620, 1)
    await sealing.round()
    const whole = readFileSync(fileOf('2026-10'))
    const lines = gunzipSync(whole).toString('utf8')
    const bent = (text: string) => gzipSync(text)
    const cases: [string, Buffer][] = [
      ['a record', bent(lines.replace('"seq":7}', '"seq":7,"approved":1}'))],
      ['a hash', bent(lines.replace(/"hash":"../, '"hash":"zz'))],
      ['a checkpoint', bent(lines.replace(/"wallMs":\d/, '"wallMs":9'))],
      ['the seal', bent(lines.replace(/"sealedAtMs":\d/, '"sealedAtMs":9'))],
      ['a cut tail', bent(lines.slice(0, -200))],
      ['what follows', bent(`${lines}{}\n`)],
      ['a byte of gzip', Buffer.from(whole).fill(0xa5, 5000, 5002)],
      ['nothing', Buffer.alloc(0)],
    ]
    for (const [what, bytes] of cases) {
      writeFileSync(fileOf('2026-10'), bytes)
      await expect(sealing.drop('2026-10'), what).rejects.toThrow('is not whole')
      expect(tables(), what).toContain('audit_record_2026_10')
      await sealing.round()
      expect(states(), what).toContain('2026-10 sealed')
    }
    rmSync(fileOf('2026-10'))
    await expect(sealing.drop('2026-10')).rejects.toThrow('audit/2026-10.jsonl.gz is not whole: it is gone')
    expect(tables()).toContain('audit_record_2026_10')
    await sealing.round()
    await sealing.drop('2026-10')
    expect(await walk()).toMatchObject({ firstBad: null })
    for (const [what, bytes] of cases) {
      writeFileSync(fileOf('2026-10'), bytes)
      expect((await walk()).firstBad?.reason, what).toContain('audit/2026-10.jsonl.gz')
    }
    rmSync(fileOf('2026-10'))
    expect((await walk()).firstBad).toMatchObject({ seq: 1 })
    expect(checkStart()).toMatchObject({ seq: 1, reason: 'audit/2026-10.jsonl.gz is gone' })
  })

  it('is judged on a machine without a hub, by its own key and its head', async () => {
    twoMonths(620, 1)
    await sealing.round()
    const [key, elsewhere] = [join(home, 'checkpoint.pub'), join(home, 'elsewhere')]
    mkdirSync(elsewhere)
    writeFileSync(key, publicKey.export({ type: 'spki', format: 'pem' }))
    const verify = (...more: string[]) => runHub(elsewhere, ['audit', 'verify', '--file', fileOf('2026-10'), ...more])
    const head = audit.hashAt(620) ?? ''
    const found = await verify('--key', key, '--head', head)
    expect([found.code, found.stdout]).toEqual([0, expect.stringContaining('whole: 620 records, 7 signed checkpoints')])
    expect((await verify('--key', key, '--head', audit.hashAt(619) ?? '')).code).toBe(1)
    writeFileSync(fileOf('2026-10'), readFileSync(fileOf('2026-10')).subarray(0, -300))
    expect((await verify('--key', key)).code).not.toBe(0)
  })

  it('is dropped in order, once it is sealed, and never twice', async () => {
    twoMonths(2, 2)
    at('2026-12-01T00:00:00Z')
    append(1)
    await expect(sealing.drop('2026-10')).rejects.toThrow('not sealed yet')
    await expect(sealing.drop('2026-12')).rejects.toThrow('not sealed yet')
    await expect(sealing.drop('1999-01')).rejects.toThrow('no month')
    await sealing.round()
    await expect(sealing.drop('2026-11')).rejects.toThrow('the audit month before 2026-11')
    await Promise.all([sealing.drop('2026-10'), sealing.drop('2026-10'), sealing.drop('2026-11'), sealing.round()])
    expect(states()).toEqual(['2026-10 dropped', '2026-11 dropped', '2026-12 open'])
    expect(await walk()).toMatchObject({ size: 5, firstBad: null })
  })

  it('is made again after a crash at any of its writes, and what a dropped one left goes at the next round', async () => {
    twoMonths(1100, 50)
    const before = everything()
    mkdirSync(join(home, 'audit'))
    writeFileSync(`${fileOf('2026-10')}.part`, 'half')
    reopen()
    await sealing.round()
    expect(readdirSync(join(home, 'audit'))).toEqual(['2026-10.jsonl.gz'])
    // The file has its name, and the row does not say so yet; or it was renamed and torn.
    for (const cut of [0, 3000]) {
      store.prepare("update audit_month set state = 'ended', signed = null, blocks = null where name = '2026-10'").run()
      truncateSync(fileOf('2026-10'), cut === 0 ? statSync(fileOf('2026-10')).size : cut)
      reopen()
      expect(checkStart()).toBeNull()
      await sealing.round()
      expect(states()).toEqual(['2026-10 sealed', '2026-11 open'])
    }
    // Dropped, and killed before the checkpoints went.
    audit.months.drop(audit.months.all()[0] as never)
    reopen()
    checkpoints.forWitness(audit.head().size)
    await sealing.round()
    expect(store.prepare('select count(*) from checkpoint where size <= 1100').pluck().get()).toBe(0)
    expect(everything()).toEqual(before)
    expect(await walk()).toMatchObject({ size: 1150, firstBad: null })
  })

  it('is taken out of the log in one commit and then emptied some rows a turn, with records between; a kill at any turn leaves what the next round takes away', async () => {
    twoMonths(3456, 50)
    const left = () => {
      const table = tables().find((name) => String(name).startsWith('audit_dropped'))
      return table === undefined ? 0 : Number(store.prepare(`select count(*) from ${table}`).pluck().get())
    }
    await sealing.round()
    const before = everything()
    const seen: number[] = []
    const killed = new Error('killed')
    /** Ends as by a kill once it was emptied for so many turns. */
    const dropUntil = async (turns: number) => {
      const marks = createDecisionMarks({ store, audit, forgetMemory })
      const turn = async () => {
        await nextTurn()
        if (audit.months.all()[0]?.state !== 'dropped') return
        seen.push(left())
        store.transaction(() => audit.append(entry('task:meanwhile')))
        if (seen.length === turns) throw killed
      }
      const short = createSealing({ home, audit, checkpoints, marks, clock, log: silentLog(), turn, onUnsealed })
      const act = audit.months.all()[0]?.state === 'dropped' ? short.round() : short.drop('2026-10')
      await expect(act).rejects.toBe(killed)
    }
    // Between the commit that drops and the first row that goes.
    store.transaction(() => {
      audit.months.drop(audit.months.all()[0] as never)
      audit.append(entry('task:dropping'))
    })
    expect([left(), states()]).toEqual([3456, ['2026-10 dropped', '2026-11 open']])
    for (const turns of [1, 2, 3]) {
      reopen()
      expect(checkStart()).toBeNull()
      await dropUntil(turns)
      expect(await walk()).toMatchObject({ size: 3507 + turns, firstBad: null })
      expect(everything().records.slice(0, before.records.length)).toEqual(before.records)
    }
    expect(seen).toEqual([2956, 2456, 1956])
    reopen()
    await sealing.round()
    expect(tables()).toEqual(['audit_record'])
    expect(everything().records.slice(0, before.records.length)).toEqual(before.records)
    expect(audit.list({ limit: 3, before: 3458 }).map(({ seq }) => seq)).toEqual([3457, 3456, 3455])
  })

  it('is not written over by another lineage of the log: that file is kept beside, whole, and nothing else is', async () => {
    at('2026-10-30T12:00:00Z')
    append(300)
    // The copy before an update; what came after it is in the file alone.
    await store.copy(join(home, 'older.db'))
    append(20, { reason: 'only in the newer one' })
    at('2026-11-01T00:00:00Z')
    append(1)
    await sealing.round()
    const newer = readFileSync(fileOf('2026-10'))
    store.close()
    renameSync(join(home, 'older.db'), join(home, 'hub.db'))
    for (const rest of ['hub.db-wal', 'hub.db-shm']) rmSync(join(home, rest), { force: true })
    store = openStore(join(home, 'hub.db'))
    open()
    append(1)
    await sealing.round()
    expect(states()).toEqual(['2026-10 sealed', '2026-11 open'])
    const [own, kept, ...others] = readdirSync(join(home, 'audit')).sort()
    expect([own, others]).toEqual(['2026-10.jsonl.gz', []])
    expect(kept).toMatch(/^2026-10\.jsonl\.gz\.before-\d+$/)
    const aside = join(home, 'audit', String(kept))
    expect(readFileSync(aside).equals(newer)).toBe(true)
    expect(await walk()).toMatchObject({ size: 301, firstBad: null })
    writeFileSync(join(home, 'checkpoint.pub'), publicKey.export({ type: 'spki', format: 'pem' }))
    const found = await runHub(home, ['audit', 'verify', '--file', aside, '--key', join(home, 'checkpoint.pub')])
    expect([found.code, found.stdout]).toEqual([0, expect.stringContaining('whole: 320 records')])

    // Its own file, as a hub leaves it that is killed before the row says sealed, is made again in its place.
    store.prepare("update audit_month set state = 'ended', signed = null, blocks = null where name = '2026-10'").run()
    reopen()
    await clock.advance(5)
    await sealing.round()
    expect(readdirSync(join(home, 'audit')).sort()).toEqual([own, kept])
    // One that is damaged may be all there is of something.
    store.prepare("update audit_month set state = 'ended', signed = null, blocks = null where name = '2026-10'").run()
    truncateSync(fileOf('2026-10'), 3000)
    reopen()
    await sealing.round()
    expect(readdirSync(join(home, 'audit'))).toHaveLength(3)
    await sealing.drop('2026-10')
    expect(await walk()).toMatchObject({ firstBad: null })
  })

  it('that cannot be written stays as it is, says why, and is tried again', async () => {
    twoMonths(600, 1)
    writeFileSync(join(home, 'audit'), 'a file where the folder belongs')
    await sealing.round()
    expect(unsealed).toMatch(/^2026-10: .*(EEXIST|ENOTDIR)/)
    expect(states()).toEqual(['2026-10 ended', '2026-11 open'])
    rmSync(join(home, 'audit'))
    await sealing.round()
    expect([unsealed, ...states()]).toEqual([undefined, '2026-10 sealed', '2026-11 open'])
  })

  it('whose file is lost or damaged while its table stands is made again by the next round, and dropped', async () => {
    twoMonths(620, 1)
    await sealing.round()
    const whole = readFileSync(fileOf('2026-10'))
    const damages: [string, () => void][] = [
      ['lost', () => rmSync(fileOf('2026-10'))],
      ['cut', () => truncateSync(fileOf('2026-10'), 3000)],
    ]
    for (const [what, damage] of damages) {
      damage()
      await sealing.round()
      expect(states(), what).toEqual(['2026-10 sealed', '2026-11 open'])
      expect(readFileSync(fileOf('2026-10')).equals(whole), what).toBe(true)
    }
    // Of the same length: only who reads it finds that.
    writeFileSync(fileOf('2026-10'), Buffer.from(whole).fill(0xa5, 5000, 5002))
    await sealing.round()
    await expect(sealing.drop('2026-10')).rejects.toThrow('is not whole')
    expect(states()).toEqual(['2026-10 ended', '2026-11 open'])
    await sealing.round()
    await sealing.drop('2026-10')
    expect(await walk()).toMatchObject({ size: 621, firstBad: null })
  })

  it('that cannot be sealed leaves no file of its name, and is tried in ever fewer rounds', async () => {
    twoMonths(620, 1)
    const change = (reason: string) =>
      store.prepare('update audit_record_2026_10 set reason = ? where seq = 300').run(reason)
    store.prepare('drop trigger audit_record_2026_10_is_append_only_update').run()
    change('x')
    const tries: number[] = []
    for (let round = 1; round <= 200; round += 1) {
      unsealed = undefined
      await sealing.round()
      if (unsealed !== undefined) tries.push(round)
      expect(readdirSync(join(home, 'audit'))).toEqual([])
    }
    expect(tries).toEqual([1, 2, 4, 8, 16, 32, 64, 124, 184])
    change(entry('').reason)
    for (let round = 201; round <= 244; round += 1) await sealing.round()
    expect([unsealed, ...states()]).toEqual([undefined, '2026-10 sealed', '2026-11 open'])
  })

  it('is not waited for by a hub that ends: it stays as it is, and nothing is told', async () => {
    twoMonths(1100, 1)
    const told: unknown[] = []
    let [turns, endsAt] = [0, 2]
    let ending = new AbortController()
    const turn = async () => {
      turns += 1
      if (turns === endsAt) ending.abort()
    }
    const marks = createDecisionMarks({ store, audit, forgetMemory })
    const parts = { home, audit, checkpoints, marks, clock, log: silentLog(), turn }
    const short = createSealing({ ...parts, onUnsealed: (reason) => told.push(reason) })
    for (endsAt of [1, 3, 7, 10]) {
      ;[turns, ending] = [0, new AbortController()]
      await short.round(ending.signal)
      expect([turns, told]).toEqual([endsAt, []])
      expect(states()).toEqual(['2026-10 ended', '2026-11 open'])
      expect(readdirSync(home).includes('audit') ? readdirSync(join(home, 'audit')) : []).toEqual([])
    }
    await sealing.round()
    ;[turns, ending, endsAt] = [0, new AbortController(), 2]
    await short.drop('2026-10', undefined, ending.signal)
    expect([turns, ...states()]).toEqual([2, '2026-10 sealed', '2026-11 open'])
    await short.round(ending.signal)
    expect([turns, told]).toEqual([2, []])
  })

  it('keeps every signed head in the table that the witness was not shown yet', async () => {
    twoMonths(1100, 50)
    await sealing.round()
    checkpoints.forWitness(500)
    await sealing.drop('2026-10')
    expect(checkpoints.since(500).map(({ size }) => size)).toEqual([600, 700, 800, 900, 1000, 1100, 1150])
    checkpoints.forWitness(1150)
    await sealing.round()
    expect(checkpoints.since(0).map(({ size }) => size)).toEqual([1150])
    expect(await walk()).toMatchObject({ size: 1150, checkpoints: 12, firstBad: null })
  })

  it('takes along the decisions last named in it, and those that go on being named stay', async () => {
    const decide = (id: string, version: number) =>
      store
        .prepare(`insert into decision values (?, 1, 'p', 'in', 'digest', '[]', 'result', 'l', 'b', 'r', ?)`)
        .run(id, version)
    for (const id of ['old', 'still', 'newest']) decide(id, id === 'newest' ? 2 : 1)
    at('2026-10-30T12:00:00Z')
    append(600, { decisionId: 'old' })
    append(1, { decisionId: 'still' })
    append(1, { decisionId: 'newest' })
    at('2026-11-01T00:00:00Z')
    append(3)
    await sealing.round()
    append(1, { decisionId: 'still' })
    const kept = () => store.prepare('select decision_id from decision order by decision_id').pluck().all()
    expect(kept()).toEqual(['newest', 'old', 'still'])
    await sealing.drop('2026-10')
    // The newest bundle's stays, or an older bundle would be taken (T21).
    expect(kept()).toEqual(['newest', 'still'])
    expect(forgotten).toBe(1)
    const lines = gunzipSync(readFileSync(fileOf('2026-10')))
      .toString('utf8')
      .split('\n')
    expect(
      lines.filter((line) => line.includes('"decision":')).map((line) => JSON.parse(line).decision.decision_id),
    ).toEqual(['newest', 'old', 'still'])
    expect(await walk()).toMatchObject({ firstBad: null })
  })

  it('is read on in its file by a walk and an export that were under way when its table was dropped', async () => {
    twoMonths(1500, 600)
    await sealing.round()
    const before = everything()
    checkpoints.forWitness(audit.head().size)
    let turns = 0
    const found = walkAudit({
      ...{ home, audit, checkpoints },
      async turn() {
        turns += 1
        if (turns === 2) await sealing.drop('2026-10')
        await nextTurn()
      },
    })
    const page = audit.page(0, audit.head().size)
    expect(await found).toMatchObject({ size: 2100, firstBad: null, checkpoints: 21 })
    expect(tables()).toEqual(['audit_record'])
    expect([...page.records, ...everything().records.slice(250)]).toEqual(before.records)
  })
})

const bytesOf = (name: string) => segmentBytes(fileOf(name))
/** `pick`: where in each eighth a start looks. */
const checkStart = (pick: (below: number) => number = () => 0) => checkedAtStart({ audit, checkpoints, bytesOf, pick })

describe('fault B2: what a start looks at', () => {
  const tamper = (sql: string) => {
    store.prepare('drop trigger audit_record_is_append_only_update').run()
    store.prepare('drop trigger audit_record_is_append_only_delete').run()
    store.prepare(sql).run()
  }
  it('is the newest signed head and what follows it, however long the log', () => {
    append(3000)
    let looks = 0
    const look: AuditLog['look'] = (at) => {
      looks += 1
      return audit.look(at)
    }
    const counted = { ...audit, look }
    store.transaction(() => {
      for (let n = 0; n < 600; n += 1) audit.append(entry('unsigned'))
    })
    expect(checkedAtStart({ audit: counted, checkpoints, bytesOf, pick: () => 0 })).toBeNull()
    expect(looks).toBe(3)
  })
  it.each([
    ['a signed record that was changed', "update audit_record set hash = 'x' where seq = 300", 300],
    ['a record since that was changed', "update audit_record set reason = 'x' where seq = 310", 310],
    ['one that is missing', 'delete from audit_record where seq = 305', 305],
    ['a cut tail', 'delete from audit_record where seq > 290', 300],
  ])('names %s', (_what, sql, seq) => {
    append(300)
    store.transaction(() => {
      for (let n = 0; n < 20; n += 1) audit.append(entry('unsigned'))
    })
    tamper(sql)
    reopen()
    expect(checkStart()).toMatchObject({ seq })
  })
})

/** No watchdog: what these walks find is the log's own. */
const ALONE = {
  askWitness: async () => ({ kind: 'away', reason: 'none' }) as const,
  onMismatch: () => undefined,
  onLooked: () => undefined,
}

describe('fault F5: of the past a start looks at another sample every time', () => {
  const rewrite = (sql: string) => {
    for (const { name } of triggers()) store.prepare(`drop trigger ${name}`).run()
    store.prepare(sql).run()
    reopen()
  }
  const triggers = () =>
    store.prepare("select name from sqlite_master where type = 'trigger'").all() as { name: string }[]

  it('a small log is looked at whole: a record changed long ago is named, wherever it is', () => {
    append(2000)
    for (const seq of [1, 777, 1999]) {
      const reason = everything().records[seq - 1]?.reason ?? ''
      rewrite(`update audit_record set reason = 'other' where seq = ${seq}`)
      expect(checkStart(), String(seq)).toMatchObject({ seq })
      store.prepare('update audit_record set reason = ? where seq = ?').run(reason, seq)
    }
    reopen()
    expect(checkStart()).toBeNull()
  })

  it('of a long one eight pages, however long, each at a place of its eighth; the place is handed in', () => {
    append(16_000)
    rewrite("update audit_record set reason = 'other' where seq = 5000")
    let pages = 0
    const page: AuditLog['page'] = (after, upTo) => {
      pages += 1
      return audit.page(after, upTo)
    }
    const belows: number[] = []
    const pick = (below: number) => {
      belows.push(below)
      return 0
    }
    expect(checkedAtStart({ audit: { ...audit, page }, checkpoints, bytesOf, pick })).toBeNull()
    expect([pages, new Set(belows)]).toEqual([8, new Set([1751])])
    // The third eighth begins behind record 4000.
    expect(checkStart(() => 900)).toMatchObject({ seq: 5000 })
  })

  it('a head that was signed over another past is named, although the chain was worked out anew', () => {
    append(2000)
    const signed = checkpoints.between(0, 1000)
    expect(signed.length).toBeGreaterThan(1)
    const { size } = JSON.parse(signed[1] ?? '{}') as { size: number }
    rewrite(`update checkpoint set document = replace(document, '"head":"', '"head":"0') where size = ${size}`)
    expect(checkStart()).toMatchObject({ seq: size })
  })

  it('a dropped month is looked at in its file', async () => {
    twoMonths(2000, 100)
    await sealing.round()
    await sealing.drop('2026-10')
    expect(checkStart()).toBeNull()
    const bytes = readFileSync(fileOf('2026-10'))
    bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] ?? 0) ^ 0xff
    writeFileSync(fileOf('2026-10'), bytes)
    reopen()
    expect(checkStart()?.reason).toMatch(/cannot be read|does not|other/)
  })
})

describe('fault B5: the log is read in turns', () => {
  it('a walk lets others in after every 250 records, and ends when it is told to', async () => {
    append(2500)
    let turns = 0
    const turn = async () => {
      turns += 1
    }
    expect(await walkAudit({ home, audit, checkpoints, turn })).toMatchObject({ size: 2500, firstBad: null })
    expect(turns).toBeGreaterThanOrEqual(9)
    const ending = new AbortController()
    const ended = walkAudit({ home, audit, checkpoints, turn: async () => ending.abort(), signal: ending.signal })
    await expect(ended).rejects.toThrow('aborted')
  })

  it('a search looks back through a bounded number of records, and says how far it came', () => {
    store.transaction(() => audit.append({ ...entry('first'), action: 'hub.made' }))
    append(SEARCH_RECORDS + 500)
    const first = audit.search({ limit: 5, action: 'hub.made' })
    expect(first).toEqual({ records: [], searchedTo: 502 })
    const second = audit.search({ limit: 5, action: 'hub.made', before: first.searchedTo })
    expect(second.records.map(({ seq }) => seq)).toEqual([1])
    expect(second.searchedTo).toBe(1)
  })

  it('who asks while a walk is under way hears of one that began later; who names a span hears how far it is', async () => {
    append(1500)
    const heard: unknown[] = []
    const verifier = createAuditVerifier({
      walk: { home, audit, checkpoints },
      turn: nextTurn,
      clock: { sleep: nextTurn, monotonicMs: clock.monotonicMs },
      onVerdict: (firstBad) => heard.push(firstBad),
      ...ALONE,
    })
    const first = verifier.verify()
    await nextTurn()
    store.prepare('drop trigger audit_record_is_append_only_update').run()
    store.prepare("update audit_record set reason = 'x' where seq = 1").run()
    const [second, third] = [verifier.verify(), verifier.verify()]
    expect((await first).firstBad).toBeNull()
    expect((await second).firstBad?.seq).toBe(1)
    expect(await third).toBe(await second)
    expect(heard).toEqual([null, expect.objectContaining({ seq: 1 })])
    store.prepare('update audit_record set reason = ? where seq = 1').run(entry('').reason)
    const under = await verifier.verifyWithin(1)
    expect(under).toMatchObject({ of: 1500 })
    let found: object = under
    while (!('firstBad' in found)) found = await verifier.verifyWithin(1)
    expect(found).toMatchObject({ firstBad: null, size: 1500 })
  })

  it('what nobody heard is told for ten seconds to who asks again, and never to who asks later', async () => {
    append(1500)
    let ended = 0
    const verifier = createAuditVerifier({
      walk: { home, audit, checkpoints },
      turn: nextTurn,
      clock: { sleep: nextTurn, monotonicMs: clock.monotonicMs },
      onVerdict: () => {
        ended += 1
      },
      ...ALONE,
    })
    /** Asks, hears how far it is, and goes away. */
    const leave = async () => {
      const before = ended
      expect(await verifier.verifyWithin(1)).toMatchObject({ of: 1500 })
      while (ended === before) await nextTurn()
      await nextTurn()
    }
    await leave()
    clock.jump(9_000)
    expect(await verifier.verifyWithin(1)).toMatchObject({ firstBad: null })
    expect(ended).toBe(1)
    await leave()
    clock.jump(10_001)
    store.prepare('drop trigger audit_record_is_append_only_update').run()
    store.prepare("update audit_record set reason = 'x' where seq = 1").run()
    let found: object = await verifier.verifyWithin(1)
    while (!('firstBad' in found)) found = await verifier.verifyWithin(1)
    expect(found).toMatchObject({ firstBad: { seq: 1 } })
    expect(ended).toBe(3)
  })
})
