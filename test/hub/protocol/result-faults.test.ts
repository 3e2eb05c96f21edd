/** Faults of programs are codes in one table, and the documents know each of them (S4-36). */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ERRORS } from '../../../hub/base/errors.ts'
import { resultBodyShape } from '../../../hub/protocol/envelope.ts'
import { RESULT_FAULTS } from '../../../hub/protocol/result-faults.ts'

const page = (name: string) => readFileSync(join(import.meta.dirname, '../../../docs', name), 'utf8')

test('S4-36: each code has its meaning and what to do, the documents name it, and a result may carry it and no other', () => {
  const listed = /\*\*Faults are codes\*\*[^:]*: ([^.]*)\./.exec(page('protocol.md'))?.[1] ?? ''
  expect([...listed.matchAll(/`(\w+)`/g)].map(([, code]) => code)).toEqual(RESULT_FAULTS)
  for (const code of RESULT_FAULTS) {
    expect(page('reference/errors.md')).toContain(`| \`${code}\` | refused | 409 |`)
    expect(ERRORS[code].next).not.toBe('')
    expect(resultBodyShape.parse({ outcome: 'failed', code })).toEqual({ outcome: 'failed', code })
  }
  expect(resultBodyShape.safeParse({ outcome: 'failed', code: 'internal' }).success).toBe(false)
})
