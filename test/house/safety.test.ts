/** Every promise of the safety rules has a test that proves it by name, and that test exists. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { rows as alerts } from './safety/alerts.ts'
import { rows as audit } from './safety/audit.ts'
import { rows as clocks } from './safety/clocks.ts'
import { rows as contact } from './safety/contact.ts'
import { rows as incidents } from './safety/incidents.ts'
import { rows as modes } from './safety/modes.ts'
import { rows as presence } from './safety/presence.ts'
import type { Row } from './safety/row.ts'
import { rows as stops } from './safety/stops.ts'
import { rows as timeline } from './safety/timeline.ts'
import { rows as watchdog } from './safety/watchdog.ts'
import { repositoryRoot } from './source.ts'

const CHAPTERS = { modes, presence, timeline, watchdog, stops, contact, alerts, audit, clocks, incidents }

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
