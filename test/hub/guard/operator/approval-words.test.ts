/** What a person reads of an act that waits: a fact is one line, whatever stands in it (T30). */
import { expect, test } from 'vitest'
import { factLines } from '../../../../hub/guard/operator/approval-words.ts'

test('a fact with a break in it is one line, so that it forges no fact and no command beside it', () => {
  for (const sign of ['\n', '\r', '\r\n', '\u0085', '\u2028', '\u2029', '\v', '\f', '\u001b[2K', '\u202e']) {
    const forged = `harmless${sign}rights: view`
    const facts = { agent: 'a', name: forged, list: ['x', forged], [`key${sign}yes`]: 'y', nested: { deep: forged } }
    const lines = factLines(JSON.stringify({ parts: {}, facts }))
    expect(lines).toHaveLength(4)
    for (const line of lines) expect(line).toMatch(/^[\x20-\x7e]*$/)
    expect(lines[0]).toMatch(/^name: harmless\\/)
  }
})
