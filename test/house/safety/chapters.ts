/** The chapters of the safety rules, and the names that tests bear in their files. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from '../source.ts'
import { rows as absence } from './absence.ts'
import { rows as alerts } from './alerts.ts'
import { rows as audit } from './audit.ts'
import { rows as clocks } from './clocks.ts'
import { rows as conditions } from './conditions.ts'
import { rows as contact } from './contact.ts'
import { rows as incidents } from './incidents.ts'
import { rows as modes } from './modes.ts'
import { rows as presence } from './presence.ts'
import type { Row } from './row.ts'
import { rows as stops } from './stops.ts'
import { rows as timeline } from './timeline.ts'
import { rows as watchdog } from './watchdog.ts'

export const CHAPTERS: Readonly<Record<string, readonly Row[]>> = {
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

/**
 * The names in a test file: what follows `test(`, `it(`, `describe(` and their `.each(...)(`, as it is spelled there. A test that is always
 * skipped (`.skip`, `.todo`) or expected to fail has none.
 */
export function namesOf(text: string): string[] {
  const call =
    /\b(?:test|it|describe)(?:\.(?:each|for|runIf|skipIf)\b[\s\S]{0,4000}?\)\s*)?\(\s*(['"`])((?:\\.|(?!\1)[\s\S])*)\1\s*,/g
  return [...text.matchAll(call)].map((match) => (match[2] ?? '').replaceAll(/\\(['"`])/g, '$1'))
}
const known = new Map<string, string[]>()
/** The same of a file below `test/`. */
export function testsOf(file: string): string[] {
  const names = known.get(file) ?? namesOf(readFileSync(join(repositoryRoot, 'test', file), 'utf8'))
  known.set(file, names)
  return names
}
