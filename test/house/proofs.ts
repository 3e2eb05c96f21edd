/**
 * Every rule of docs/safety.md and every threat and incident of docs/threats.md has an id, and the id stands in the name of each test that
 * proves it: a rule's in square brackets at the end (`[watch-28, stop-3]`), a threat's anywhere (`T37`). As a program, after a run: whether at
 * least one test of each id ran and passed, by what vitest reports. What a machine cannot run it skips, and each such id is named, so that
 * a green run is not mistaken for a proof.
 *
 *   node test/house/proofs.ts REPORT.json...
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from './source.ts'

export interface Report {
  testResults: { assertionResults: { status: string; title: string; ancestorTitles: string[] }[] }[]
}

const RULE = /(?:cond|mode|presence|time|away|watch|stop|contact|alert|audit|clock|flag|ask)-\d+/
const BRACKETS = new RegExp(String.raw`\[(${RULE.source}(?:, ${RULE.source})*)\]$`)

export const SAFETY = readFileSync(join(repositoryRoot, 'docs/safety.md'), 'utf8')
export const THREATS = readFileSync(join(repositoryRoot, 'docs/threats.md'), 'utf8')

/** The ids that a document gives, each in bold at its rule; in order, so that one that is given twice is seen. Pure. */
export const givenBy = (document: string): string[] =>
  [...document.matchAll(/\*\*([a-z]+-\d+|[TXE]\d+)\*\*/g)].map(([, id = '']) => id)

/** The ids in the name of a test. Pure. */
export const idsOf = (name: string): string[] => [
  ...(BRACKETS.exec(name)?.[1]?.split(', ') ?? []),
  ...(name.match(/(?<![\w-])[TXE]\d{1,3}\b(?!-)/g) ?? []),
]

/** The result of each id: `broken` if none of its tests ran or one failed, `skipped` if this machine ran none of them. Pure. */
export function judgeProofs(ids: readonly string[], reports: readonly Report[]) {
  const ran = new Map<string, Set<string>>()
  for (const { assertionResults } of reports.flatMap(({ testResults }) => testResults))
    for (const { title, ancestorTitles, status } of assertionResults)
      for (const id of [title, ...ancestorTitles].flatMap(idsOf)) ran.set(id, (ran.get(id) ?? new Set()).add(status))
  const came = (id: string) => ran.get(id) ?? new Set()
  return {
    broken: ids.filter((id) => came(id).size === 0 || came(id).has('failed')),
    skipped: ids.filter((id) => came(id).size > 0 && !came(id).has('failed') && !came(id).has('passed')),
  }
}

if (import.meta.main) {
  const reports = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, 'utf8')) as Report)
  const ids = [...givenBy(SAFETY), ...givenBy(THREATS)]
  const { broken, skipped } = judgeProofs(ids, reports)
  for (const id of broken) console.log(`not proven: ${id}: no test of it ran, or one failed`)
  const shown = ids.length - broken.length - skipped.length
  const rest = skipped.length === 0 ? '' : `; skipped on this machine: ${skipped.join(', ')}`
  console.log(`note: ${shown} of ${ids.length} rules and threats were proven by a test that ran and passed${rest}`)
  process.exitCode = broken.length > 0 ? 1 : 0
}
