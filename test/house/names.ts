/** The names that tests bear in their files, as they are spelled there. Pure. */

/**
 * What follows `test(`, `it(`, `describe(` and their `.each(...)(`. A test that is always skipped (`.skip`, `.todo`) or expected to fail has
 * no name here: it proves nothing.
 */
export function namesOf(text: string): string[] {
  const call =
    /\b(?:test|it|describe)(?:\.(?:each|for|runIf|skipIf)\b[\s\S]{0,4000}?\)\s*)?\(\s*(['"`])((?:\\.|(?!\1)[\s\S])*)\1\s*,/g
  return [...text.matchAll(call)].map((match) => (match[2] ?? '').replaceAll(/\\(['"`])/g, '$1'))
}
