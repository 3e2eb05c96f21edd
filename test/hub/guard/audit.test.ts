import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Checkpoints, createCheckpoints } from '../../../hub/guard/audit/checkpoint.ts'
import { type AuditLog, createAuditLog } from '../../../hub/guard/audit/log.ts'
import { type AuditEntry, type AuditRecord, GENESIS, hashRecord } from '../../../hub/protocol/audit-chain.ts'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../hub/store/migrations.ts'
import { createFakeClock, type FakeClock } from '../../support/fake-clock.ts'

let folder: string
let store: Store
let clock: FakeClock
let audit: AuditLog
let checkpoints: Checkpoints
const { privateKey, publicKey } = generateKeyPairSync('ed25519')

const entry = (number: number): AuditEntry => ({
  principal: 'operator',
  action: 'task.submitted',
  resource: `task:${number}`,
  decisionId: 'd-1',
  policyRevision: 'r-1',
  payloadHash: null,
  outcome: 'ok',
  reason: 'as written',
  effect: '',
})
const append = (number: number) => store.transaction(() => audit.append(entry(number)))
const hashAt = (seq: number) =>
  store.prepare('select hash from audit_record where seq = ?').pluck().get(seq) as string | undefined
const faults = () => ({ chain: audit.verify().fault, signed: checkpoints.verify(hashAt) })

function open(): void {
  audit = createAuditLog({ store, clock })
  checkpoints = createCheckpoints({ store, audit, clock, instance: 'test-hub', privateKey, publicKey })
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-audit-'))
  clock = createFakeClock()
  store = openStore(join(folder, 'hub.db'))
  migrate(store, shippedMigrations(), 1, () => undefined)
  open()
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})

/** Twenty records, signed at 10 and 20; the triggers dropped, as root would. */
function tampered(): void {
  for (let number = 1; number <= 20; number += 1) {
    append(number)
    clock.stepWall(7)
    if (number % 10 === 0) expect(checkpoints.take()).toBe(true)
  }
  expect(faults()).toEqual({ chain: undefined, signed: undefined })
  store.prepare('drop trigger audit_record_is_append_only_update').run()
  store.prepare('drop trigger audit_record_is_append_only_delete').run()
}
const run = (sql: string, ...values: unknown[]) => store.prepare(sql).run(...values)
const rows = () =>
  store
    .prepare(
      `select seq, previous, hash, at_ms as atMs, boot_id as bootId, principal, action, resource, decision_id as decisionId,
       policy_revision as policyRevision, payload_hash as payloadHash, outcome, reason, effect from audit_record order by seq`,
    )
    .all() as AuditRecord[]

/** Rewrites every record from `from` on with hashes that fit. */
function rehash(from: number): void {
  let previous = hashAt(from - 1) ?? GENESIS
  for (const record of rows().filter(({ seq }) => seq >= from)) {
    const hash = hashRecord({ ...record, previous })
    run('update audit_record set previous = ?, hash = ? where seq = ?', previous, hash, record.seq)
    previous = hash
  }
}

describe('a tampered log (T83)', () => {
  beforeEach(tampered)

  it('names the record that was edited [audit-19]', () => {
    run("update audit_record set reason = 'another' where seq = 7")
    expect(faults().chain).toEqual({ seq: 7, reason: 'its content does not match its hash' })
  })

  it('names the record that was deleted [audit-19]', () => {
    run('delete from audit_record where seq = 7')
    expect(faults().chain?.seq).toBe(7)
    run('update audit_record set seq = seq - 1 where seq > 7')
    expect(faults().chain?.seq).toBe(7)
  })

  it('names the record that was inserted [audit-19]', () => {
    for (let seq = 20; seq > 7; seq -= 1) run('update audit_record set seq = seq + 1 where seq = ?', seq)
    const seventh = rows()[6] as AuditRecord
    const forged = { ...seventh, seq: 8, previous: seventh.hash }
    run(
      'insert into audit_record values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ...[8, forged.previous, hashRecord(forged), forged.atMs, forged.bootId, forged.principal, forged.action],
      ...[forged.resource, forged.decisionId, forged.policyRevision, null, 'ok', forged.reason, ''],
    )
    expect(faults().chain).toEqual({ seq: 9, reason: 'it does not name the hash of the record before it' })
  })

  it('names the first of two that were swapped [audit-19]', () => {
    run('update audit_record set seq = 100 where seq = 7')
    run('update audit_record set seq = 7 where seq = 9')
    run('update audit_record set seq = 9 where seq = 100')
    expect(faults().chain?.seq).toBe(7)
  })

  it('whose tail was cut below a signed head fails the checkpoints, though its chain holds [audit-23]', () => {
    run('delete from audit_record where seq > 15')
    open()
    expect(faults()).toEqual({ chain: undefined, signed: 'record 20 is gone' })
  })

  it('that was rewritten with valid hashes fails the checkpoints, though its chain holds [audit-23]', () => {
    run("update audit_record set reason = 'another' where seq = 3")
    rehash(3)
    expect(faults()).toEqual({ chain: undefined, signed: 'record 10 is not the one that was signed' })
  })

  it.each([
    'previous',
    'hash',
    'boot_id',
    'principal',
    'action',
    'resource',
    'decision_id',
    'policy_revision',
    'reason',
  ])('with one byte of %s changed fails at that record', (column) => {
    const text = store.prepare(`select ${column} from audit_record where seq = 12`).pluck().get() as string
    const bent = `${text.slice(0, -1)}${text.endsWith('0') ? '1' : '0'}`
    run(`update audit_record set ${column} = ? where seq = 12`, bent)
    expect(faults().chain?.seq).toBe(12)
  })

  it.each([
    ['at_ms', 1],
    ['payload_hash', 'x'],
    ['outcome', 'failed'],
    ['effect', ' '],
    ['decision_id', null],
  ])('with another %s fails at that record [audit-5]', (column, value) => {
    run(`update audit_record set ${column} = ? where seq = 12`, value)
    expect(faults().chain?.seq).toBe(12)
  })
})

describe('the audit log', () => {
  it('refuses to update or delete a record, and goes on [audit-15]', () => {
    append(1)
    expect(() => run("update audit_record set reason = '' where seq = 1")).toThrow('append-only')
    expect(() => run('delete from audit_record')).toThrow('append-only')
    expect(() => run('update or replace audit_record set seq = 2')).toThrow('append-only')
    append(2)
    expect(audit.verify()).toMatchObject({ size: 2, fault: undefined })
  })

  it('is not to be appended to outside a transaction', () => {
    expect(() => audit.append(entry(1))).toThrow(expect.objectContaining({ code: 'internal' }))
  })

  it('begins at zeros, links each record to the one before and goes on after a restart [audit-5]', () => {
    append(1)
    append(2)
    open()
    append(3)
    const [first, second, third] = rows()
    expect(first?.previous).toBe('0'.repeat(64))
    expect(second?.previous).toBe(first?.hash)
    expect(third?.previous).toBe(second?.hash)
    expect(audit.head()).toEqual({ size: 3, head: third?.hash })
  })

  it('reads its head again after a rollback', () => {
    append(1)
    expect(() =>
      store.transaction(() => {
        audit.append(entry(2))
        throw new Error('no')
      }),
    ).toThrow('no')
    audit.reload()
    expect(audit.head()).toEqual({ size: 1, head: hashAt(1) })
    append(3)
    expect(audit.verify()).toMatchObject({ size: 2, fault: undefined })
  })

  it('verifies over page ends: a fault in the last of 2 001 records is found', () => {
    store.transaction(() => {
      for (let number = 1; number <= 2001; number += 1) audit.append(entry(number))
    })
    expect(audit.verify()).toMatchObject({ size: 2001, fault: undefined })
    store.prepare('drop trigger audit_record_is_append_only_update').run()
    run("update audit_record set reason = 'x' where seq = 2001")
    expect(audit.verify().fault?.seq).toBe(2001)
  })

  it.each(['half \ud800 a pair', 'nul \0 inside', 'line\nbreak', '\u202e', "'; drop table audit_record; --"])(
    'verifies after hostile text was recorded: %j (T29, T30)',
    (text) => {
      store.transaction(() => audit.append({ ...entry(1), resource: text, reason: text, effect: text }))
      append(2)
      expect(audit.verify()).toMatchObject({ size: 2, fault: undefined })
    },
  )

  it('writes buffered records in order and in one piece, chained like the rest, and says their head before [audit-8]', () => {
    append(1)
    for (let number = 2; number <= 4; number += 1) {
      audit.buffer(entry(number), 'stop')
      clock.stepWall(10)
    }
    const told = audit.bufferState()
    expect(told.size).toBe(3)
    audit.flush()
    expect(audit.bufferState()).toEqual({ size: 0, head: null })
    expect(rows().map(({ resource }) => resource)).toEqual(['task:1', 'task:2', 'task:3', 'task:4'])
    expect(audit.head().head).toBe(told.head)
    expect(rows()[3]?.atMs).toBe((rows()[1]?.atMs ?? 0) + 20)
    expect(audit.verify().fault).toBeUndefined()
  })

  it('keeps the buffer when it cannot be written', () => {
    audit.buffer(entry(1), 'stop')
    const head = audit.bufferState().head
    store.prepare('pragma query_only = 1').run()
    expect(() => audit.flush()).toThrow(expect.objectContaining({ code: 'store_unavailable' }))
    expect(audit.bufferState()).toEqual({ size: 1, head })
    store.prepare('pragma query_only = 0').run()
    audit.flush()
    expect(audit.head()).toEqual({ size: 1, head })
  })

  const full = expect.objectContaining({ code: 'audit_unavailable' })
  it('keeps half of the buffer from refusals, refuses the 10 001st record, and has places for stops behind them (S1-18, I6) [audit-9]', () => {
    for (let number = 1; number <= 5000; number += 1) audit.buffer(entry(number), 'refusal')
    expect(() => audit.buffer(entry(5001), 'refusal')).toThrow(full)
    expect(audit.bufferIsFull()).toBe(false)
    for (let number = 5001; number <= 10_000; number += 1) audit.buffer(entry(number), 'effect')
    expect(() => audit.buffer(entry(10_001), 'effect')).toThrow(full)
    expect(audit.bufferIsFull()).toBe(true)
    for (let number = 10_001; number <= 10_256; number += 1) audit.buffer(entry(number), 'stop')
    expect(() => audit.buffer(entry(10_257), 'stop')).toThrow(full)
    expect(audit.bufferState().size).toBe(10_256)
    audit.flush()
    expect([audit.verify().fault, audit.head().size, audit.bufferIsFull()]).toEqual([undefined, 10_256, false])
  })

  it('is full at 8 MiB too, however few records that is [audit-9]', () => {
    const long = { ...entry(1), resource: 'x'.repeat(1024 ** 2) }
    for (let number = 1; number <= 7; number += 1) audit.buffer(long, 'effect')
    expect(() => audit.buffer(long, 'effect')).toThrow(full)
    audit.buffer(entry(2), 'effect')
    expect(audit.bufferState().size).toBe(8)
  })

  it('that cannot append though the store works says so, and until a try of it succeeds (S1-16)', () => {
    store.transaction(() => audit.append(entry(1)))
    expect(audit.fault()).toBeUndefined()
    store.prepare("create trigger broken before insert on audit_record begin select raise(abort, 'broken'); end").run()
    expect(() => store.transaction(() => audit.append(entry(2)))).toThrow(full)
    audit.reload()
    expect(store.failure()).toBeUndefined()
    expect(audit.fault()).toContain('broken')
    expect(audit.fault()).toContain('broken')
    store.prepare('drop trigger broken').run()
    expect(audit.fault()).toBeUndefined()
    expect(audit.head().size).toBe(1)
    store.transaction(() => audit.append(entry(2)))
    expect(audit.verify()).toMatchObject({ size: 2, fault: undefined })
  })

  it('lists newest first, by action and outcome, before a record', () => {
    for (let number = 1; number <= 4; number += 1) append(number)
    store.transaction(() => audit.append({ ...entry(5), action: 'task.shown', outcome: 'refused' }))
    const seqs = (query: Parameters<AuditLog['list']>[0]) => audit.list(query).map(({ seq }) => seq)
    expect(seqs({ limit: 2 })).toEqual([5, 4])
    expect(seqs({ limit: 9, before: 3 })).toEqual([2, 1])
    expect(seqs({ limit: 9, action: 'task.shown' })).toEqual([5])
    expect(seqs({ limit: 9, outcome: 'ok', before: 4 })).toEqual([3, 2, 1])
  })
})

describe('checkpoints', () => {
  it('are taken only when the head moved, link to each other and verify [watch-50, audit-20]', () => {
    expect(checkpoints.take()).toBe(false)
    for (let number = 1; number <= 3; number += 1) {
      append(number)
      expect(checkpoints.take()).toBe(true)
      expect(checkpoints.take()).toBe(false)
    }
    const taken = checkpoints.since(0)
    expect(taken.map(({ size }) => size)).toEqual([1, 2, 3])
    expect(taken[0]?.previous).toBe(GENESIS)
    expect(new Set(taken.map(({ previous }) => previous)).size).toBe(3)
    expect(checkpoints.since(2).map(({ size }) => size)).toEqual([3])
    expect(checkpoints.verify(hashAt)).toBeUndefined()
  })

  it.each(['size', 'head', 'previous', 'instance', 'wallMs', 'bootId', 'signature'] as const)(
    'with another %s fail their verification [watch-50]',
    (field) => {
      append(1)
      checkpoints.take()
      append(2)
      checkpoints.take()
      const document = checkpoints.since(1)[0]
      if (document === undefined) throw new Error('no checkpoint')
      const value = document[field]
      const bent = typeof value === 'number' ? value - 1 : `${value.startsWith('0') ? '1' : '0'}${value.slice(1)}`
      run('update checkpoint set document = ? where size = 2', JSON.stringify({ ...document, [field]: bent }))
      expect(checkpoints.verify(hashAt)).toEqual(expect.stringContaining('checkpoint at'))
    },
  )

  it('of which one was taken away no longer link', () => {
    for (let number = 1; number <= 3; number += 1) {
      append(number)
      checkpoints.take()
    }
    run('delete from checkpoint where size = 2')
    expect(checkpoints.verify(hashAt)).toContain('does not follow')
  })

  it('signed by another key are refused [audit-22]', () => {
    append(1)
    const other = generateKeyPairSync('ed25519')
    createCheckpoints({ store, audit, clock, instance: 'test-hub', ...other }).take()
    expect(checkpoints.verify(hashAt)).toContain('wrong signature')
  })

  it('are handed out 64 at a time', () => {
    for (let number = 1; number <= 70; number += 1) {
      append(number)
      checkpoints.take()
    }
    expect(checkpoints.count()).toBe(70)
    expect(checkpoints.since(0)).toHaveLength(64)
    expect(checkpoints.since(64)).toHaveLength(6)
  })
})
