/** The past changed under a hub: its whole database from yesterday, or the tail of its log gone. The witness knows better (T82, T83, X14). */
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, test } from 'vitest'
import { canonicalText, sha256Hex } from '../../watchdog/digest.ts'
import { judgeWitness, readCheckpointKey, type Witness } from '../../watchdog/witness.ts'
import { createHarness, type Harness, worker } from '../support/hub-harness.ts'

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
  test('is called by the witness, though the copy verifies by itself, and though it has grown since', async () => {
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

test('the two sides hash and sign a checkpoint alike', async () => {
  await using h = await createHarness({ agents })
  const known = await worked(h)
  const [last] = h.hub.guard.checkpoints.since(0).slice(-1)
  expect(known.digest).toBe(sha256Hex(canonicalText(last)))
  expect(readFileSync(join(h.home, 'keys', 'checkpoint.pub'), 'utf8')).toContain('PUBLIC KEY')
})
