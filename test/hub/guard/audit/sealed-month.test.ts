/** A month that has ended: a signed file, a table that is dropped, and the same answers as before (faults B3 and B5, T83). */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '../../../../hub/base/telemetry.ts'
import { nextTurn } from '../../../../hub/base/turn.ts'
import { createDecisionMarks } from '../../../../hub/guard/audit/decision-marks.ts'
import { createSealing } from '../../../../hub/guard/audit/sealing.ts'
import { createAuditSearch } from '../../../../hub/guard/audit/search.ts'
import { walkAudit } from '../../../../hub/guard/audit/walk.ts'
import { type AuditHome, createAuditHome, entry } from '../../../support/audit-home.ts'
import { runHub } from '../../../support/fake-hub.ts'

let log: AuditHome
beforeEach(() => {
  log = createAuditHome()
})
afterEach(() => log[Symbol.dispose]())

describe('fault B3: a sealed month', () => {
  it('is a signed file that zcat shows; its table is dropped whole, and verify, list, search and export give what they gave [audit-16]', async () => {
    log.twoMonths()
    const before = log.everything()
    await log.sealing.round()
    expect(log.states()).toEqual(['2026-10 sealed', '2026-11 open'])
    expect(statSync(log.fileOf('2026-10')).mode & 0o777).toBe(0o600)
    expect(readdirSync(join(log.home, 'audit'))).toEqual(['2026-10.jsonl.gz'])
    const lines = gunzipSync(readFileSync(log.fileOf('2026-10')))
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

    await log.sealing.drop('2026-10')
    expect(log.tables()).toEqual(['audit_record'])
    expect(await log.walk()).toMatchObject({ size: 1579, head: log.audit.head().head, firstBad: null, checkpoints: 17 })
    expect(log.everything()).toEqual(before)
    log.reopen()
    expect(log.everything()).toEqual(before)
    expect(log.audit.verify()).toMatchObject({ size: 1579, fault: undefined })
    expect([log.audit.hashAt(1), log.audit.hashAt(1234)]).toEqual([before.records[0]?.hash, before.records[1233]?.hash])
    expect(log.audit.list({ limit: 3, before: 1236 }).map(({ seq }) => seq)).toEqual([1235, 1234, 1233])
    expect(log.audit.list({ limit: 3, before: 1235 }).map(({ seq }) => seq)).toEqual([1234, 1233, 1232])
    expect((await createAuditSearch(log.audit, nextTurn).ofSession('x', { sinceMs: 0 }, 5)).length).toBe(0)
  })

  it('leaves the table where its file is not whole, whatever byte of it was changed, and where it is gone [audit-16]', async () => {
    log.twoMonths(620, 1)
    await log.sealing.round()
    const whole = readFileSync(log.fileOf('2026-10'))
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
      writeFileSync(log.fileOf('2026-10'), bytes)
      await expect(log.sealing.drop('2026-10'), what).rejects.toThrow('is not whole')
      expect(log.tables(), what).toContain('audit_record_2026_10')
      await log.sealing.round()
      expect(log.states(), what).toContain('2026-10 sealed')
    }
    rmSync(log.fileOf('2026-10'))
    await expect(log.sealing.drop('2026-10')).rejects.toThrow('audit/2026-10.jsonl.gz is not whole: it is gone')
    expect(log.tables()).toContain('audit_record_2026_10')
    await log.sealing.round()
    await log.sealing.drop('2026-10')
    expect(await log.walk()).toMatchObject({ firstBad: null })
    for (const [what, bytes] of cases) {
      writeFileSync(log.fileOf('2026-10'), bytes)
      expect((await log.walk()).firstBad?.reason, what).toContain('audit/2026-10.jsonl.gz')
    }
    rmSync(log.fileOf('2026-10'))
    expect((await log.walk()).firstBad).toMatchObject({ seq: 1 })
    expect(log.checkStart()).toMatchObject({ seq: 1, reason: 'audit/2026-10.jsonl.gz is gone' })
  })

  it('is judged on a machine without a hub, by its own key and its head', async () => {
    log.twoMonths(620, 1)
    await log.sealing.round()
    const [key, elsewhere] = [join(log.home, 'checkpoint.pub'), join(log.home, 'elsewhere')]
    mkdirSync(elsewhere)
    writeFileSync(key, log.publicKey.export({ type: 'spki', format: 'pem' }))
    const verify = (...more: string[]) =>
      runHub(elsewhere, ['audit', 'verify', '--file', log.fileOf('2026-10'), ...more])
    const head = log.audit.hashAt(620) ?? ''
    const found = await verify('--key', key, '--head', head)
    expect([found.code, found.stdout]).toEqual([0, expect.stringContaining('whole: 620 records, 7 signed checkpoints')])
    expect((await verify('--key', key, '--head', log.audit.hashAt(619) ?? '')).code).toBe(1)
    writeFileSync(log.fileOf('2026-10'), readFileSync(log.fileOf('2026-10')).subarray(0, -300))
    expect((await verify('--key', key)).code).not.toBe(0)
  })

  it('is dropped in order, once it is sealed, and never twice', async () => {
    log.twoMonths(2, 2)
    log.at('2026-12-01T00:00:00Z')
    log.append(1)
    await expect(log.sealing.drop('2026-10')).rejects.toThrow('not sealed yet')
    await expect(log.sealing.drop('2026-12')).rejects.toThrow('not sealed yet')
    await expect(log.sealing.drop('1999-01')).rejects.toThrow('no month')
    await log.sealing.round()
    await expect(log.sealing.drop('2026-11')).rejects.toThrow('the audit month before 2026-11')
    await Promise.all([
      log.sealing.drop('2026-10'),
      log.sealing.drop('2026-10'),
      log.sealing.drop('2026-11'),
      log.sealing.round(),
    ])
    expect(log.states()).toEqual(['2026-10 dropped', '2026-11 dropped', '2026-12 open'])
    expect(await log.walk()).toMatchObject({ size: 5, firstBad: null })
  })

  it('is made again after a crash at any of its writes, and what a dropped one left goes at the next round [audit-16]', async () => {
    log.twoMonths(1100, 50)
    const before = log.everything()
    mkdirSync(join(log.home, 'audit'))
    writeFileSync(`${log.fileOf('2026-10')}.part`, 'half')
    log.reopen()
    await log.sealing.round()
    expect(readdirSync(join(log.home, 'audit'))).toEqual(['2026-10.jsonl.gz'])
    // The file has its name, and the row does not say so yet; or it was renamed and torn.
    for (const cut of [0, 3000]) {
      log.store
        .prepare("update audit_month set state = 'ended', signed = null, blocks = null where name = '2026-10'")
        .run()
      truncateSync(log.fileOf('2026-10'), cut === 0 ? statSync(log.fileOf('2026-10')).size : cut)
      log.reopen()
      expect(log.checkStart()).toBeNull()
      await log.sealing.round()
      expect(log.states()).toEqual(['2026-10 sealed', '2026-11 open'])
    }
    // Dropped, and killed before the checkpoints went.
    log.audit.months.drop(log.audit.months.all()[0] as never)
    log.reopen()
    log.checkpoints.forWitness(log.audit.head().size)
    await log.sealing.round()
    expect(log.store.prepare('select count(*) from checkpoint where size <= 1100').pluck().get()).toBe(0)
    expect(log.everything()).toEqual(before)
    expect(await log.walk()).toMatchObject({ size: 1150, firstBad: null })
  })

  it('is taken out of the log in one commit and then emptied some rows a turn, with records between; a kill at any turn leaves what the next round takes away', async () => {
    log.twoMonths(3456, 50)
    const left = () => {
      const table = log.tables().find((name) => String(name).startsWith('audit_dropped'))
      return table === undefined ? 0 : Number(log.store.prepare(`select count(*) from ${table}`).pluck().get())
    }
    await log.sealing.round()
    const before = log.everything()
    const seen: number[] = []
    const killed = new Error('killed')
    /** Ends as by a kill once it was emptied for so many turns. */
    const dropUntil = async (turns: number) => {
      const marks = createDecisionMarks({ store: log.store, audit: log.audit, forgetMemory: log.forgetMemory })
      const turn = async () => {
        await nextTurn()
        if (log.audit.months.all()[0]?.state !== 'dropped') return
        seen.push(left())
        log.store.transaction(() => log.audit.append(entry('task:meanwhile')))
        if (seen.length === turns) throw killed
      }
      const short = createSealing({
        home: log.home,
        audit: log.audit,
        checkpoints: log.checkpoints,
        marks,
        clock: log.clock,
        log: silentLog(),
        turn,
        onUnsealed: log.onUnsealed,
      })
      const act = log.audit.months.all()[0]?.state === 'dropped' ? short.round() : short.drop('2026-10')
      await expect(act).rejects.toBe(killed)
    }
    // Between the commit that drops and the first row that goes.
    log.store.transaction(() => {
      log.audit.months.drop(log.audit.months.all()[0] as never)
      log.audit.append(entry('task:dropping'))
    })
    expect([left(), log.states()]).toEqual([3456, ['2026-10 dropped', '2026-11 open']])
    for (const turns of [1, 2, 3]) {
      log.reopen()
      expect(log.checkStart()).toBeNull()
      await dropUntil(turns)
      expect(await log.walk()).toMatchObject({ size: 3507 + turns, firstBad: null })
      expect(log.everything().records.slice(0, before.records.length)).toEqual(before.records)
    }
    expect(seen).toEqual([2956, 2456, 1956])
    log.reopen()
    await log.sealing.round()
    expect(log.tables()).toEqual(['audit_record'])
    expect(log.everything().records.slice(0, before.records.length)).toEqual(before.records)
    expect(log.audit.list({ limit: 3, before: 3458 }).map(({ seq }) => seq)).toEqual([3457, 3456, 3455])
  })

  it('is not written over by another lineage of the log: that file is kept beside, whole, and nothing else is [audit-16]', async () => {
    log.at('2026-10-30T12:00:00Z')
    log.append(300)
    // The copy before an update; what came after it is in the file alone.
    await log.store.copy(join(log.home, 'older.db'))
    log.append(20, { reason: 'only in the newer one' })
    log.at('2026-11-01T00:00:00Z')
    log.append(1)
    await log.sealing.round()
    const newer = readFileSync(log.fileOf('2026-10'))
    log.reopen(() => {
      renameSync(join(log.home, 'older.db'), join(log.home, 'hub.db'))
      for (const rest of ['hub.db-wal', 'hub.db-shm']) rmSync(join(log.home, rest), { force: true })
    })
    log.append(1)
    await log.sealing.round()
    expect(log.states()).toEqual(['2026-10 sealed', '2026-11 open'])
    const [own, kept, ...others] = readdirSync(join(log.home, 'audit')).sort()
    expect([own, others]).toEqual(['2026-10.jsonl.gz', []])
    expect(kept).toMatch(/^2026-10\.jsonl\.gz\.before-\d+$/)
    const aside = join(log.home, 'audit', String(kept))
    expect(readFileSync(aside).equals(newer)).toBe(true)
    expect(await log.walk()).toMatchObject({ size: 301, firstBad: null })
    writeFileSync(join(log.home, 'checkpoint.pub'), log.publicKey.export({ type: 'spki', format: 'pem' }))
    const found = await runHub(log.home, [
      'audit',
      'verify',
      '--file',
      aside,
      '--key',
      join(log.home, 'checkpoint.pub'),
    ])
    expect([found.code, found.stdout]).toEqual([0, expect.stringContaining('whole: 320 records')])

    // Its own file, as a hub leaves it that is killed before the row says sealed, is made again in its place.
    log.store
      .prepare("update audit_month set state = 'ended', signed = null, blocks = null where name = '2026-10'")
      .run()
    log.reopen()
    await log.clock.advance(5)
    await log.sealing.round()
    expect(readdirSync(join(log.home, 'audit')).sort()).toEqual([own, kept])
    // One that is damaged may be all there is of something.
    log.store
      .prepare("update audit_month set state = 'ended', signed = null, blocks = null where name = '2026-10'")
      .run()
    truncateSync(log.fileOf('2026-10'), 3000)
    log.reopen()
    await log.sealing.round()
    expect(readdirSync(join(log.home, 'audit'))).toHaveLength(3)
    await log.sealing.drop('2026-10')
    expect(await log.walk()).toMatchObject({ firstBad: null })
  })

  it('that cannot be written stays as it is, says why, and is tried again', async () => {
    log.twoMonths(600, 1)
    writeFileSync(join(log.home, 'audit'), 'a file where the folder belongs')
    await log.sealing.round()
    expect(log.seen.unsealed).toMatch(/^2026-10: .*(EEXIST|ENOTDIR)/)
    expect(log.states()).toEqual(['2026-10 ended', '2026-11 open'])
    rmSync(join(log.home, 'audit'))
    await log.sealing.round()
    expect([log.seen.unsealed, ...log.states()]).toEqual([undefined, '2026-10 sealed', '2026-11 open'])
  })

  it('whose file is lost or damaged while its table stands is made again by the next round, and dropped', async () => {
    log.twoMonths(620, 1)
    await log.sealing.round()
    const whole = readFileSync(log.fileOf('2026-10'))
    const damages: [string, () => void][] = [
      ['lost', () => rmSync(log.fileOf('2026-10'))],
      ['cut', () => truncateSync(log.fileOf('2026-10'), 3000)],
    ]
    for (const [what, damage] of damages) {
      damage()
      await log.sealing.round()
      expect(log.states(), what).toEqual(['2026-10 sealed', '2026-11 open'])
      expect(readFileSync(log.fileOf('2026-10')).equals(whole), what).toBe(true)
    }
    // Of the same length: only who reads it finds that.
    writeFileSync(log.fileOf('2026-10'), Buffer.from(whole).fill(0xa5, 5000, 5002))
    await log.sealing.round()
    await expect(log.sealing.drop('2026-10')).rejects.toThrow('is not whole')
    expect(log.states()).toEqual(['2026-10 ended', '2026-11 open'])
    await log.sealing.round()
    await log.sealing.drop('2026-10')
    expect(await log.walk()).toMatchObject({ size: 621, firstBad: null })
  })

  it('that cannot be sealed leaves no file of its name, and is tried in ever fewer rounds', async () => {
    log.twoMonths(620, 1)
    const change = (reason: string) =>
      log.store.prepare('update audit_record_2026_10 set reason = ? where seq = 300').run(reason)
    log.store.prepare('drop trigger audit_record_2026_10_is_append_only_update').run()
    change('x')
    const tries: number[] = []
    for (let round = 1; round <= 200; round += 1) {
      log.seen.unsealed = undefined
      await log.sealing.round()
      if (log.seen.unsealed !== undefined) tries.push(round)
      expect(readdirSync(join(log.home, 'audit'))).toEqual([])
    }
    expect(tries).toEqual([1, 2, 4, 8, 16, 32, 64, 124, 184])
    change(entry('').reason)
    for (let round = 201; round <= 244; round += 1) await log.sealing.round()
    expect([log.seen.unsealed, ...log.states()]).toEqual([undefined, '2026-10 sealed', '2026-11 open'])
  })

  it('is not waited for by a hub that ends: it stays as it is, and nothing is told', async () => {
    log.twoMonths(1100, 1)
    const told: unknown[] = []
    let [turns, endsAt] = [0, 2]
    let ending = new AbortController()
    const turn = async () => {
      turns += 1
      if (turns === endsAt) ending.abort()
    }
    const marks = createDecisionMarks({ store: log.store, audit: log.audit, forgetMemory: log.forgetMemory })
    const parts = {
      home: log.home,
      audit: log.audit,
      checkpoints: log.checkpoints,
      marks,
      clock: log.clock,
      log: silentLog(),
      turn,
    }
    const short = createSealing({ ...parts, onUnsealed: (reason) => told.push(reason) })
    for (endsAt of [1, 3, 7, 10]) {
      ;[turns, ending] = [0, new AbortController()]
      await short.round(ending.signal)
      expect([turns, told]).toEqual([endsAt, []])
      expect(log.states()).toEqual(['2026-10 ended', '2026-11 open'])
      expect(readdirSync(log.home).includes('audit') ? readdirSync(join(log.home, 'audit')) : []).toEqual([])
    }
    await log.sealing.round()
    ;[turns, ending, endsAt] = [0, new AbortController(), 2]
    await short.drop('2026-10', undefined, ending.signal)
    expect([turns, ...log.states()]).toEqual([2, '2026-10 sealed', '2026-11 open'])
    await short.round(ending.signal)
    expect([turns, told]).toEqual([2, []])
  })

  it('keeps every signed head in the table that the witness was not shown yet', async () => {
    log.twoMonths(1100, 50)
    await log.sealing.round()
    log.checkpoints.forWitness(500)
    await log.sealing.drop('2026-10')
    expect(log.checkpoints.since(500).map(({ size }) => size)).toEqual([600, 700, 800, 900, 1000, 1100, 1150])
    log.checkpoints.forWitness(1150)
    await log.sealing.round()
    expect(log.checkpoints.since(0).map(({ size }) => size)).toEqual([1150])
    expect(await log.walk()).toMatchObject({ size: 1150, checkpoints: 12, firstBad: null })
  })

  it('takes along the decisions last named in it, and those that go on being named stay [audit-17]', async () => {
    const decide = (id: string, version: number) =>
      log.store
        .prepare(`insert into decision values (?, 1, 'p', 'in', 'digest', '[]', 'result', 'l', 'b', 'r', ?)`)
        .run(id, version)
    for (const id of ['old', 'still', 'newest']) decide(id, id === 'newest' ? 2 : 1)
    log.at('2026-10-30T12:00:00Z')
    log.append(600, { decisionId: 'old' })
    log.append(1, { decisionId: 'still' })
    log.append(1, { decisionId: 'newest' })
    log.at('2026-11-01T00:00:00Z')
    log.append(3)
    await log.sealing.round()
    log.append(1, { decisionId: 'still' })
    const kept = () => log.store.prepare('select decision_id from decision order by decision_id').pluck().all()
    expect(kept()).toEqual(['newest', 'old', 'still'])
    await log.sealing.drop('2026-10')
    // The newest bundle's stays, or an older bundle would be taken (T21).
    expect(kept()).toEqual(['newest', 'still'])
    expect(log.seen.forgotten).toBe(1)
    const lines = gunzipSync(readFileSync(log.fileOf('2026-10')))
      .toString('utf8')
      .split('\n')
    expect(
      lines.filter((line) => line.includes('"decision":')).map((line) => JSON.parse(line).decision.decision_id),
    ).toEqual(['newest', 'old', 'still'])
    expect(await log.walk()).toMatchObject({ firstBad: null })
  })

  it('is read on in its file by a walk and an export that were under way when its table was dropped [audit-16]', async () => {
    log.twoMonths(1500, 600)
    await log.sealing.round()
    const before = log.everything()
    log.checkpoints.forWitness(log.audit.head().size)
    let turns = 0
    const found = walkAudit({
      ...{ home: log.home, audit: log.audit, checkpoints: log.checkpoints },
      async turn() {
        turns += 1
        if (turns === 2) await log.sealing.drop('2026-10')
        await nextTurn()
      },
    })
    const page = log.audit.page(0, log.audit.head().size)
    expect(await found).toMatchObject({ size: 2100, firstBad: null, checkpoints: 21 })
    expect(log.tables()).toEqual(['audit_record'])
    expect([...page.records, ...log.everything().records.slice(250)]).toEqual(before.records)
  })
})
