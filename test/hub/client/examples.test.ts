import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { testLead, testLeadThatIsRefused, testReader } from './examples/unit-test.ts'

test('the documented unit tests of agents hold', async () => {
  for (const each of [testReader, testLead, testLeadThatIsRefused]) await expect(each()).resolves.toBeUndefined()
})

test('every example is used by a documented unit test', () => {
  expect(readdirSync(join(import.meta.dirname, 'examples')).sort()).toEqual(['lead.ts', 'reader.ts', 'unit-test.ts'])
})
