/** The inbox of MCP where its callers leave while an entry comes (docs/agents.md, "MCP"). */
import { expect, test } from 'vitest'
import { createMail } from '../../images/agent/mcp/mail.ts'

test('T103: a caller that is woken and has left wakes the next one: the entry goes to who still waits, once', async () => {
  const mail = createMail({ reply: async () => undefined }, () => undefined)
  const [leaving, staying] = [new AbortController(), new AbortController()]
  const first = mail.take(10, 600_000, leaving.signal)
  const second = mail.take(10, 600_000, staying.signal)
  mail.add({ kind: 'message', body: 1 })
  leaving.abort()
  expect(await first).toEqual({ entries: [], left: 1 })
  // Whoever still sleeps at the end is woken here, and then has come too late.
  const late = setTimeout(() => staying.abort(), 1_000)
  expect(await second).toEqual({ entries: [{ kind: 'message', body: 1 }], left: 0 })
  clearTimeout(late)
  expect(await mail.take(10, 0, staying.signal)).toEqual({ entries: [], left: 0 })
})
