/** The past changed under a hub: its whole database from yesterday, or the tail of its log gone. The witness knows better (T82, T83, X14). */
import { createPrivateKey, sign } from 'node:crypto'
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, test } from 'vitest'
import { COLUMNS } from '../../hub/guard/audit/reader.ts'
import { type AuditRecord, hashRecord } from '../../hub/protocol/audit-chain.ts'
import { canonicalText, sha256Hex } from '../../watchdog/base/digest.ts'
import { judgeWitness, type Witness } from '../../watchdog/judge/witness.ts'
import { readCheckpointKey } from '../../watchdog/observe/observe.ts'
import { createHarness, type Harness, worker } from '../support/hub-harness.ts'
import { openRealWatch } from '../support/real-watch.ts'

const agents = { echo: { script: worker(() => 'done') } }

/** What the real watchdog makes of what this hub shows, beginning with what it knows. */
function witnessed(h: Harness, known: Witness | null) {
  const { audit, checkpoints } = h.hub.guard
  const { size, head } = audit.head()
  const key = readCheckpointKey(join(h.home, 'keys', 'checkpoint.pub'))
  const shown = { auditSize: size, auditHead: head, checkpoints: checkpoints.since(known?.size ?? 0) }
  return judgeWitness(known, shown, h.instance, key)
}
async function worked(h: Harness): Promise<Witness> {
  await h.ended(await h.submit('echo'))
  await h.quiet()
  h.hub.guard.checkpoints.take()
  const word = witnessed(h, null)
  if (word.kind !== 'accepted' || word.witness === null) throw new Error(`not witnessed: ${JSON.stringify(word)}`)
  return word.witness
}
/** The database file as it lies on disk after a stop, write-ahead log emptied. */
const database = (h: Harness) => join(h.home, 'hub.db')

describe('T82: a database rolled back to an older copy', () => {
  test('is found by the witness, although the copy verifies by itself and has grown since', async () => {
    await using h = await createHarness({ agents })
    await worked(h)
    await h.stop()
    copyFileSync(database(h), join(h.home, 'older.db'))
    await h.start()
    const known = await worked(h)
    await h.stop()
    copyFileSync(join(h.home, 'older.db'), database(h))
    for (const left of ['-wal', '-shm']) rmSync(`${database(h)}${left}`, { force: true })
    await h.start()
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
    expect(witnessed(h, known)).toMatchObject({ kind: 'mismatch', reason: expect.stringContaining('were witnessed') })
    while (h.hub.guard.audit.head().size <= known.size) await worked(h).catch(() => undefined)
    expect(witnessed(h, known).kind).toBe('mismatch')
  })
})

describe('X14: a bare chain verifies clean after its tail was cut', () => {
  test.each([1, 10, Number.POSITIVE_INFINITY])(
    '%d records cut: `hub audit verify` and the witness both say so',
    async (cut) => {
      await using h = await createHarness({ agents })
      const known = await worked(h)
      await h.stop()
      const file = new Database(database(h))
      const size = file.prepare('select max(seq) from audit_record').pluck().get() as number
      file.exec('drop trigger audit_record_is_append_only_delete')
      file.prepare('delete from audit_record where seq > ?').run(Math.max(0, size - cut))
      file.close()
      await h.start(false)
      const { body } = await h.operator('GET', '/v1/audit/verify')
      expect(body.ok).toBe(false)
      expect(witnessed(h, known).kind).toBe('mismatch')
    },
  )

  test('with the checkpoints cut to fit the log verifies by itself, and only the witness still knows', async () => {
    await using h = await createHarness({ agents })
    await worked(h)
    const known = await worked(h)
    await h.stop()
    const file = new Database(database(h))
    file.exec('drop trigger audit_record_is_append_only_delete')
    const kept = file.prepare('select min(size) from checkpoint').pluck().get() as number
    file.prepare('delete from checkpoint where size > ?').run(kept)
    file.prepare('delete from audit_record where seq > ?').run(kept)
    file.close()
    await h.start(false)
    expect((await h.operator('GET', '/v1/audit/verify')).body.ok).toBe(true)
    expect(witnessed(h, known).kind).toBe('mismatch')
  })
})

/** Changes one record and computes the whole chain after it again, as somebody who can write the database would. */
function rewrite(h: Harness, more: (file: Database.Database) => void = () => undefined): void {
  const file = new Database(database(h))
  for (const verb of ['update', 'delete']) file.exec(`drop trigger audit_record_is_append_only_${verb}`)
  const rows = file.prepare(`select ${COLUMNS} from audit_record order by seq`).all() as AuditRecord[]
  let previous = rows[0]?.hash ?? ''
  const put = file.prepare('update audit_record set previous = ?, hash = ?, reason = ? where seq = ?')
  for (const row of rows.slice(1)) {
    const reason = row.seq === 2 ? 'never happened' : row.reason
    const hash = hashRecord({ ...row, previous, reason })
    put.run(previous, hash, reason, row.seq)
    previous = hash
  }
  more(file)
  file.close()
}
/** Signs every checkpoint again with the hub's own key: only somebody who saw the earlier log can tell. */
function signAgain(h: Harness, file: Database.Database): void {
  const key = createPrivateKey(readFileSync(join(h.home, 'keys', 'checkpoint.key')))
  let previous = '0'.repeat(64)
  for (const { size, document } of file.prepare('select size, document from checkpoint order by size').all() as {
    size: number
    document: string
  }[]) {
    const head = file.prepare('select hash from audit_record where seq = ?').pluck().get(size) as string
    const { signature: _, ...unsigned } = { ...JSON.parse(document), head, previous }
    const signature = sign(null, Buffer.from(`hub-checkpoint-v1\n${canonicalText(unsigned)}`), key).toString(
      'base64url',
    )
    const text = canonicalText({ ...unsigned, signature })
    file
      .prepare('update checkpoint set head = ?, previous = ?, document = ? where size = ?')
      .run(head, previous, text, size)
    previous = sha256Hex(text)
  }
}

describe('fault F5: a rewritten past', () => {
  test('the whole log rewritten with its checkpoints left in place: the start sees it, and so does the watchdog, before anything is dispatched [audit-12]', async () => {
    await using h = await createHarness({ agents })
    await worked(h)
    const w = await openRealWatch(h)
    try {
      expect(await w.round()).toEqual([])
      await h.stop()
      rewrite(h)
      await h.start(false)
      expect(h.hub.guard.alerts.isOpen('audit_chain_broken'), 'the start').toBe(true)
      expect(await w.round(), 'the watchdog').toContain('witness_mismatch')
      expect(h.hub.guard.modes.has('witness_mismatch')).toBe(true)
      const { body } = await h.operator('GET', '/v1/audit/verify')
      expect(body).toMatchObject({
        ok: false,
        witness: { asked: true, reason: expect.stringContaining('not the one') },
      })
    } finally {
      w.close()
    }
  })

  test('signed again with the key of the hub it is whole by itself: the first lease makes the hub safe, `audit verify` and the look after a start say so [audit-12]', async () => {
    await using h = await createHarness({ agents })
    await worked(h)
    const w = await openRealWatch(h)
    try {
      await w.round()
      await h.stop()
      rewrite(h, (file) => signAgain(h, file))
      await h.start(false)
      await h.pumped(h.hub.looked())
      // The look after the start has asked the witness, with no lease yet.
      expect(h.hub.guard.alerts.isOpen('audit_chain_broken')).toBe(false)
      expect(h.hub.guard.modes.has('witness_mismatch')).toBe(true)
      h.hub.guard.modes.clear('witness_mismatch')
      const { body } = await h.operator('GET', '/v1/audit/verify')
      expect(body).toMatchObject({ ok: false, firstBad: null, witness: { asked: true } })
      h.hub.guard.modes.clear('witness_mismatch')
      expect(await w.round()).toContain('witness_mismatch')
      expect(h.hub.guard.modes.has('witness_mismatch')).toBe(true)
    } finally {
      w.close()
    }
  })

  test('with no watchdog there `audit verify` says that it was not asked; rolled back beside it, what is gone is named', async () => {
    await using h = await createHarness({ agents })
    await worked(h)
    expect((await h.operator('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true, witness: { asked: false } })
    await h.stop()
    copyFileSync(database(h), join(h.home, 'older.db'))
    await h.start()
    await worked(h)
    const w = await openRealWatch(h)
    try {
      await w.round()
      await h.stop()
      copyFileSync(join(h.home, 'older.db'), database(h))
      for (const left of ['-wal', '-shm']) rmSync(`${database(h)}${left}`, { force: true })
      await h.start(false)
      const { body } = await h.operator('GET', '/v1/audit/verify')
      expect(body).toMatchObject({
        ok: false,
        firstBad: null,
        witness: { reason: expect.stringMatching(/^record \d+ is gone$/) },
      })
    } finally {
      w.close()
    }
  })
})

test('the two sides hash and sign a checkpoint alike', async () => {
  await using h = await createHarness({ agents })
  const known = await worked(h)
  const [last] = h.hub.guard.checkpoints.since(0).slice(-1)
  expect(known.digest).toBe(sha256Hex(canonicalText(last)))
  expect(readFileSync(join(h.home, 'keys', 'checkpoint.pub'), 'utf8')).toContain('PUBLIC KEY')
})
