/**
 * After a run: whether every proof of the safety rules was really carried out, by what vitest reports of it. That a test of that name stands in
 * a file is shown before (safety.test.ts); here that it ran and passed. What a machine cannot run, it skips, and each such promise is named:
 * nobody shall take a green run for a proof that was not made.
 *
 *   node test/house/proofs.ts REPORT.json...
 */
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { CHAPTERS, testsOf } from './safety/chapters.ts'
import { repositoryRoot } from './source.ts'

interface Report {
  testResults: {
    name: string
    assertionResults: { status: string; title: string; ancestorTitles: string[] }[]
  }[]
}
export interface Promised {
  rule: string
  /** Test file below `test/`. */
  file: string
  /** The whole name of the test as its source spells it. */
  name: string
}
export interface Verdict {
  /** No test of that name ran at all, or one failed. */
  broken: string[]
  /** All of its tests were skipped. */
  skipped: string[]
}

/** A name as its source spells it, against one as it was run: what vitest fills in (`%s`, `$name`) or a template does may be anything. Pure. */
export function isNamed(spelled: string, ran: string): boolean {
  const parts = spelled.split(/%[sdifjoOc#$]|\$\{[^}]*\}|\$[\w.]+/)
  const literal = parts.map((part) => part.replaceAll('%%', '%').replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
  return new RegExp(`^${literal.join('[\\s\\S]*')}$`).test(ran)
}

/** Pure. */
export function judgeProofs(promises: readonly Promised[], reports: readonly Report[]): Verdict {
  const ran = new Map<string, Report['testResults'][number]['assertionResults']>()
  for (const { name, assertionResults } of reports.flatMap(({ testResults }) => testResults)) {
    const file = relative(join(repositoryRoot, 'test'), name)
    ran.set(file, [...(ran.get(file) ?? []), ...assertionResults])
  }
  const verdict: Verdict = { broken: [], skipped: [] }
  for (const { rule, file, name } of promises) {
    // A proof may be a whole group of tests.
    const mine = (ran.get(file) ?? []).filter(({ title, ancestorTitles }) =>
      [title, ...ancestorTitles].some((each) => isNamed(name, each)),
    )
    const counted = (status: string) => mine.filter((each) => each.status === status).length
    const words = `${rule}: ${file}, ${name}`
    if (mine.length === 0) verdict.broken.push(`${words}: it did not run`)
    else if (counted('failed') > 0) verdict.broken.push(`${words}: it failed`)
    else if (counted('passed') === 0) verdict.skipped.push(words)
  }
  return verdict
}

/** Every proof of every chapter, under the name that its test bears in its file. */
export const promisesOf = (chapters = CHAPTERS): Promised[] =>
  Object.values(chapters).flatMap((rows) =>
    rows.flatMap(({ rule, proofs }) =>
      proofs.map(([file, part]) => ({
        rule,
        file,
        name: testsOf(file).find((each) => each.includes(part)) ?? part,
      })),
    ),
  )

if (import.meta.main) {
  const reports = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, 'utf8')) as Report)
  const promises = promisesOf()
  const { broken, skipped } = judgeProofs(promises, reports)
  for (const each of broken) console.log(`not proven: ${each}`)
  for (const each of skipped) console.log(`skipped here: ${each}`)
  const shown = promises.length - broken.length - skipped.length
  const rest = skipped.length === 0 ? '' : `; skipped on this machine: ${skipped.join('; ')}`
  console.log(`note: ${shown} of ${promises.length} proofs of the safety rules ran and passed${rest}`)
  process.exitCode = broken.length > 0 ? 1 : 0
}
