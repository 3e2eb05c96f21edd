/** The quick check runs the tests near to what was changed, and says how many it leaves out. */
import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { NEAR_MAX, testsOf } from '../../scripts/changed.ts'

const texts = new Map([
  ['test/hub/guard/gate.test.ts', "import { createGate } from '../../../hub/guard/gate.ts'\n// and much more of it"],
  ['test/scenarios/doors.test.ts', "import { createGate } from '../../hub/guard/gate.ts'"],
  ['test/scenarios/events.test.ts', "import { createEvents } from '../../hub/guard/events.ts'"],
  ['test/containers/spy.test.ts', "import { createGate } from '../../hub/guard/gate.ts'"],
  ['test/support/guard-home.ts', "import { createGate } from '../../hub/guard/gate.ts'"],
])

it('takes the test that stands where the file stands, then those that import it, and none that needs an engine', () => {
  expect(testsOf(['hub/guard/gate.ts'], texts)).toEqual({
    tests: ['test/hub/guard/gate.test.ts', 'test/scenarios/doors.test.ts'],
    more: 0,
  })
})

it('takes a test that was changed itself, and nothing where nothing is near', () => {
  expect(testsOf(['test/scenarios/events.test.ts'], texts).tests).toEqual(['test/scenarios/events.test.ts'])
  expect(testsOf(['README.md'], texts)).toEqual({ tests: [], more: 0 })
})

it('never runs more than a few, and says how many are left', () => {
  const many = new Map(
    Array.from({ length: NEAR_MAX + 3 }, (_, at) => [
      `test/hub/base/t${at}.test.ts`,
      "from '../../../hub/base/clock.ts'",
    ]),
  )
  const near = testsOf(['hub/base/clock.ts'], many)
  expect([near.tests.length, near.more]).toEqual([NEAR_MAX, 3])
})

it('is an option of the check, which refuses a step that is not there', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/check.ts', '--quick', '--only', 'nothing-such'], {
    encoding: 'utf8',
  })
  expect([status, stderr]).toEqual([2, expect.stringContaining('no step is named nothing-such')])
})
