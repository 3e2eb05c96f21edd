/** The bytes under a record's hash, written out by hand: whoever checks an export with other means has to come to the same. */
import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { type AuditRecord, hashRecord } from '../../../hub/protocol/audit-chain.ts'

const RECORD: Omit<AuditRecord, 'hash'> = {
  seq: 7,
  previous: 'a'.repeat(64),
  atMs: 1_764_000_000_000,
  bootId: 'boot-a',
  principal: 'operator',
  action: 'task.submitted',
  resource: 'task:"1"',
  decisionId: 'd-1',
  policyRevision: null,
  payloadHash: 'b'.repeat(64),
  outcome: 'ok',
  reason: 'ü\u2028',
  effect: '',
}

it('a record has this hash, byte for byte: a label, a zero byte, and its thirteen fields in their order as JSON [audit-14]', () => {
  const text = `["7"]`.replace(
    '"7"',
    `7,"${'a'.repeat(64)}",1764000000000,"boot-a","operator","task.submitted","task:\\"1\\"","d-1",null,"${'b'.repeat(64)}","ok","ü\u2028",""`,
  )
  const bytes = Buffer.from(`hub-audit-v1\0${text}`)
  expect(hashRecord(RECORD)).toBe(createHash('sha256').update(bytes).digest('hex'))
})
