/** Which tests belong to the changed files, for the quick check: only near ones, and few enough to wait for. */
import { posix } from 'node:path'

/** Test files that one quick check runs. */
export const NEAR_MAX = 12
/** They need an engine or a browser, or measure: the whole check runs them. */
const SLOW = /^test\/(?:containers|bench|console|storm|support|house)\//

/** `tests`: what to run now. `more`: how many others import what was changed. */
export interface Near {
  tests: string[]
  more: number
}

/**
 * The changed tests, those at the place of a changed file (`hub/guard/gate.ts`: `test/hub/guard/gate.test.ts`), and those that import one, the
 * shortest first. `texts`: every test file by its path from the root.
 */
export function testsOf(changed: readonly string[], texts: ReadonlyMap<string, string>): Near {
  const quick = [...texts.keys()].filter((path) => path.endsWith('.test.ts') && !SLOW.test(path))
  const own = changed.map((path) => `test/${path.replace(/\.ts$/, '.test.ts')}`)
  const isNear = (path: string) => changed.includes(path) || own.includes(path)
  const first = quick.filter(isNear).sort()
  const importing = quick
    .filter((path) => !isNear(path) && importsOf(path, texts.get(path) ?? '').some((each) => changed.includes(each)))
    .sort((a, b) => (texts.get(a)?.length ?? 0) - (texts.get(b)?.length ?? 0))
  const tests = [...first, ...importing].slice(0, NEAR_MAX)
  return { tests, more: first.length + importing.length - tests.length }
}

/** What a test imports by a relative path, as paths from the root. */
function importsOf(path: string, text: string): string[] {
  return [...text.matchAll(/from '(\.[^']+)'/g)].map((match) => posix.join(posix.dirname(path), match[1] ?? ''))
}
