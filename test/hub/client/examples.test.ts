import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { testLead, testLeadThatIsRefused, testReader } from './examples/unit-test.ts'

test('the documented unit tests of agents hold', async () => {
  await testReader()
  await testLead()
  await testLeadThatIsRefused()
})

test('every example is used by a documented unit test', () => {
  expect(readdirSync(join(import.meta.dirname, 'examples')).sort()).toEqual(['lead.ts', 'reader.ts', 'unit-test.ts'])
})
