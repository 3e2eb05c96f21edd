import { describe, expect, it } from 'vitest'
import { addCounts, countVitest, failedTests, formatCounts } from '../../scripts/counts.ts'

const file = (status: string, ...tests: string[]) => ({
  status,
  assertionResults: tests.map((each) => ({ status: each })),
})

describe('the count of a run', () => {
  it('counts tests by what became of them', () => {
    const report = {
      testResults: [file('passed', 'passed', 'passed', 'pending'), file('failed', 'failed', 'passed', 'todo')],
    }
    expect(countVitest(report, 1)).toEqual({ passed: 3, failed: 1, skipped: 2 })
  })

  it('counts a file that did not load as a failure, beside the failures of other files', () => {
    expect(countVitest({ testResults: [file('failed'), file('failed', 'failed')] }, 1).failed).toBe(2)
  })

  it('counts a failure when vitest failed without naming one, or left no report', () => {
    expect(countVitest({ testResults: [file('passed', 'passed')] }, 1)).toEqual({ passed: 1, failed: 1, skipped: 0 })
    expect(countVitest(undefined, 1)).toEqual({ passed: 0, failed: 1, skipped: 0 })
  })

  it('is written as one line, with the skipped only where there are any', () => {
    const some = { passed: 2, failed: 0, skipped: 0 }
    expect(formatCounts(some)).toBe('2 passed, 0 failed')
    expect(formatCounts(addCounts(some, { passed: 1, failed: 1, skipped: 1 }))).toBe('3 passed, 1 failed, 1 skipped')
  })
})

it('what failed is named for the end of a run: file, test and why, and a file that did not load', () => {
  const why = (text: string) => ({ status: 'failed', fullName: 'a name', failureMessages: [`${text}\n  at x`] })
  const testResults = [
    { name: '/root/test/a.test.ts', status: 'failed', assertionResults: [why('Error: one'), { status: 'passed' }] },
    { name: '/root/test/b.test.ts', status: 'failed', assertionResults: [], message: 'cannot load\nmore' },
    { name: '/root/test/c.test.ts', status: 'passed', assertionResults: [{ status: 'passed' }] },
  ]
  expect(failedTests({ testResults }, '/root')).toEqual([
    'test/a.test.ts: a name: Error: one',
    'test/b.test.ts: cannot load',
  ])
  expect(failedTests(undefined, '/root')).toEqual([])
})
