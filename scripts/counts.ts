/** The result of a run of checks, in tests, or in steps that are not tests. */
export type Counts = { passed: number; failed: number; skipped: number }

/** The sum of two counts. */
export function addCounts(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped }
}

/** The line that scripts/test ends with: `N passed, N failed`, and `, N skipped` where there are any. */
export function formatCounts(counts: Counts): string {
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  return `${counts.passed} passed, ${counts.failed} failed${skipped}`
}

/**
 * Counts the tests of vitest's JSON report. Never reports less failure than vitest's exit code: a file that did not
 * load, an error outside any test and a missing report count as one failed test each.
 */
export function countVitest(report: unknown, exitCode: number): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 }
  for (const file of listOf(report, 'testResults')) {
    const tests = listOf(file, 'assertionResults')
    for (const test of tests) {
      const status = fieldOf(test, 'status')
      if (status === 'passed') counts.passed += 1
      else if (status === 'failed') counts.failed += 1
      else counts.skipped += 1
    }
    const told = tests.some((test) => fieldOf(test, 'status') === 'failed')
    if (fieldOf(file, 'status') === 'failed' && !told) counts.failed += 1
  }
  if (exitCode !== 0 && counts.failed === 0) counts.failed = 1
  return counts
}

/** What failed in vitest's JSON report, for the end of a long run: file, test and the first line of why, one string each. */
export function failedTests(report: unknown, root: string): string[] {
  return listOf(report, 'testResults').flatMap((file) => {
    const path = String(fieldOf(file, 'name')).replace(`${root}/`, '')
    const tests = listOf(file, 'assertionResults').filter((test) => fieldOf(test, 'status') === 'failed')
    if (tests.length === 0)
      return fieldOf(file, 'status') === 'failed' ? [`${path}: ${firstLine(fieldOf(file, 'message'))}`] : []
    return tests.map(
      (test) => `${path}: ${String(fieldOf(test, 'fullName'))}: ${firstLine(listOf(test, 'failureMessages')[0])}`,
    )
  })
}

function firstLine(text: unknown): string {
  return String(text ?? '').split('\n', 1)[0] ?? ''
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
}

function listOf(value: unknown, key: string): unknown[] {
  const list = fieldOf(value, key)
  return Array.isArray(list) ? list : []
}
