/** What agents say is kept in memory for a while, and never more of it than is stated (fault F6). */
import { expect, test } from 'vitest'
import { HubError } from '../../../hub/base/errors.ts'
import { createEvents, RING_BYTES_MAX } from '../../../hub/guard/events.ts'
import { createJournal, JOURNAL_BYTES_MAX, TASK_BYTES_MAX } from '../../../hub/work/journal.ts'
import { createOutcomes, REMEMBERED_IDS_MAX } from '../../../hub/work/messages/outcomes.ts'
import { createFakeClock } from '../../support/fake-clock.ts'

const TEXT = 'x'.repeat(8192)

test('fault F6: the lines of one task and of all are bounded in bytes; the newest stay, and who was silent longest goes first', () => {
  const journal = createJournal(createFakeClock())
  const charsOf = (task: string) => journal.linesOf(task).reduce((sum, { text }) => sum + text.length, 0)
  for (let nth = 0; nth < 500; nth += 1) journal.log('loud', { level: 'info', text: `${nth} ${TEXT}` })
  expect(charsOf('loud') * 2).toBeLessThanOrEqual(TASK_BYTES_MAX)
  expect(journal.linesOf('loud').at(-1)?.text).toMatch(/^499 /)
  journal.progress('old', { done: 1 })
  journal.log('old', { level: 'info', text: 'mine' })
  const tasks = Array.from({ length: 100 }, (_, nth) => `t${nth}`)
  for (const task of tasks) {
    for (let nth = 0; nth < 40; nth += 1) journal.log(task, { level: 'info', text: TEXT })
    // It goes on speaking.
    journal.log('old', { level: 'info', text: 'mine' })
  }
  expect(tasks.reduce((sum, task) => sum + charsOf(task), 0) * 2).toBeLessThanOrEqual(JOURNAL_BYTES_MAX)
  expect(journal.linesOf('t99')).toHaveLength(31)
  expect(journal.linesOf('loud')).toEqual([])
  expect([journal.linesOf('old').length, journal.progressOf('old')?.done]).toEqual([101, 1])
})

test('fault F6: the ring of events is bounded in bytes, and a late reader hears that some are gone', () => {
  const events = createEvents('test', createFakeClock())
  for (let nth = 0; nth < 4000; nth += 1) events.publish('hub.task.log.v1', 'task:t', { text: TEXT })
  const { events: kept, lost } = events.since(1)
  expect(lost).toBe(true)
  expect(kept.length * 2 * TEXT.length).toBeLessThanOrEqual(RING_BYTES_MAX)
  expect(kept.length).toBeGreaterThan(500)
  expect(kept.at(-1)?.sequence).toBe(4000)
})

test('fault F6: of a refusal its answer is remembered, and nothing that it held beside', () => {
  const outcomes = createOutcomes({ onRollback: () => undefined })
  const thrown = new HubError('policy_denied', 'no'.repeat(10_000), {
    facts: { decisionId: 'd1' },
    cause: new Error('x'),
  })
  outcomes.remember('s', 'id', { ok: false, error: thrown })
  const known = outcomes.recall('s', 'id')
  expect(known?.ok).toBe(false)
  const { error } = known as { error: HubError }
  expect([error.code, error.message.length, error.facts, error.cause]).toEqual([
    'policy_denied',
    500,
    { decisionId: 'd1' },
    undefined,
  ])
  for (let nth = 0; nth <= REMEMBERED_IDS_MAX; nth += 1) outcomes.remember('s', `n${nth}`, { ok: true })
  expect(outcomes.recall('s', 'id')).toBeUndefined()
})
