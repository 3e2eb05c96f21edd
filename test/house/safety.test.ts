/** Every promise of the safety rules has a test that proves it by name, and that test exists. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CONDITIONS as OF_HUB } from '../../hub/guard/modes.ts'
import { OPERATIONS } from '../../hub/protocol/operations.ts'
import { CONDITIONS as OF_WATCHDOG } from '../../watchdog/conditions.ts'
import { rows as absence } from './safety/absence.ts'
import { rows as alerts } from './safety/alerts.ts'
import { rows as audit } from './safety/audit.ts'
import { rows as clocks } from './safety/clocks.ts'
import { rows as conditions } from './safety/conditions.ts'
import { rows as contact } from './safety/contact.ts'
import { rows as incidents } from './safety/incidents.ts'
import { rows as modes } from './safety/modes.ts'
import { rows as presence } from './safety/presence.ts'
import type { Row } from './safety/row.ts'
import { rows as stops } from './safety/stops.ts'
import { rows as timeline } from './safety/timeline.ts'
import { rows as watchdog } from './safety/watchdog.ts'
import { readTree, repositoryRoot, scan } from './source.ts'

const CHAPTERS = {
  conditions,
  modes,
  presence,
  timeline,
  absence,
  watchdog,
  stops,
  contact,
  alerts,
  audit,
  clocks,
  incidents,
}

/** The names of a test file: what follows `test(`, `it(`, `describe(` and their `.each(...)(`, as it is spelled there. */
function namesOf(text: string): string[] {
  const call =
    /\b(?:test|it|describe)(?:\.(?:each|for|runIf|skipIf)\b[\s\S]{0,4000}?\)\s*)?\(\s*(['"`])((?:\\.|(?!\1)[\s\S])*)\1\s*,/g
  return [...text.matchAll(call)].map((match) => (match[2] ?? '').replaceAll(/\\(['"`])/g, '$1'))
}
const known = new Map<string, string[]>()
function testsOf(file: string): string[] {
  const names = known.get(file) ?? namesOf(readFileSync(join(repositoryRoot, 'test', file), 'utf8'))
  known.set(file, names)
  return names
}

describe.each(Object.entries(CHAPTERS) as [string, readonly Row[]][])('safety rules, %s', (_, rows) => {
  test('each has a proof, and each proof is one test that exists under that name', () => {
    for (const { rule, proofs } of rows) {
      expect(proofs.length, rule).toBeGreaterThan(0)
      for (const [file, name] of proofs) {
        expect(
          testsOf(file).filter((each) => each.includes(name)),
          `${rule}: ${file} has one test named so`,
        ).toHaveLength(1)
      }
    }
  })
})

test('no rule stands twice', () => {
  const rules = Object.values(CHAPTERS).flatMap((rows) => rows.map(({ rule }) => rule))
  expect(rules.filter((rule, at) => rules.indexOf(rule) !== at)).toEqual([])
})

describe('what the code has, the rules name', () => {
  const named = (rows: readonly Row[], name: string) => rows.filter(({ rule }) => rule.startsWith(`\`${name}\``))

  test('every condition of hub and watchdog has one row, under its name', () => {
    for (const name of new Set([...Object.keys(OF_HUB), ...Object.keys(OF_WATCHDOG)]))
      expect(named(conditions, name), name).toHaveLength(1)
  })

  test('every class of verbs of the mode table is in a row', () => {
    for (const standing of new Set(Object.values(OPERATIONS).map((row) => row.standing)))
      expect(
        modes.filter(({ rule }) => rule.includes(`\`${standing}\``)),
        standing,
      ).toHaveLength(1)
  })
})

test('nobody decides by comparing a mode: what it permits is asked of the table', () => {
  const asking = /\bcurrent\(\)\s*[!=]==/
  expect(asking.test("if (modes.current() === 'normal') go()")).toBe(true)
  const found = [...readTree(['hub'], ['.ts'])].filter(([, text]) => asking.test(scan(text).code)).map(([path]) => path)
  expect(found).toEqual([])
})
