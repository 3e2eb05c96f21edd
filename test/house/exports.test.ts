/**
 * What a file exports, another file of ours takes: an export that nobody imports is code that nobody misses, or a name that looks public and is not.
 * Types are left out: an exported function may name one that nobody else has to. A test is no use of its own, so what only tests import must be
 * used in its own file too, or its comment says that it is for tests.
 */
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readTree, scan, type Tree } from './source.ts'

const FOLDERS = ['hub', 'watchdog', 'images', 'scripts']
const EXPORTED = /^export (?:async )?(?:function\*?|const|let|class) (\w+)/gm
const NAMED = /(?:import|export)\s+(?:type\s+)?\{([^}]*)\}\s+from\s+'(\.[^']+)'/g
/** Whoever takes the whole file may take any name of it. */
const WHOLE = /(?:import\s+\*\s+as\s+\w+\s+from\s+|export\s+\*\s+from\s+|import\()\s*'(\.[^']+)'/g

/** Of each file, which names others take: `*` stands for all of them. */
function takenNames(tree: Tree): Map<string, Set<string>> {
  const taken = new Map<string, Set<string>>()
  for (const [path, text] of tree) {
    const take = (file: string, name: string) => {
      const target = join(dirname(path), file)
      taken.set(target, (taken.get(target) ?? new Set()).add(name))
    }
    for (const [, names = '', file = ''] of text.matchAll(NAMED))
      for (const name of names.split(','))
        take(
          file,
          name
            .trim()
            .replace(/^type /, '')
            .split(' as ')[0] ?? '',
        )
    for (const [, file = ''] of text.matchAll(WHOLE)) take(file, '*')
  }
  return taken
}

function unusedExports(code: Tree, tests: Tree): string[] {
  const [ours, theirs] = [takenNames(code), takenNames(tests)]
  const isTaken = (by: Map<string, Set<string>>, path: string, name: string) =>
    by.get(path)?.has(name) === true || by.get(path)?.has('*') === true
  return [...code].flatMap(([path, text]) => {
    const words = scan(text).code
    return [...text.matchAll(EXPORTED)].flatMap(({ 1: name = '', index }) => {
      if (isTaken(ours, path, name)) return []
      if (!isTaken(theirs, path, name)) return [`${path}: nothing imports ${name}`]
      const isUsedHere = words.split(new RegExp(`\\b${name}\\b`)).length > 2
      const comment = text.slice(0, index).split('\n').at(-2) ?? ''
      return isUsedHere || /\b[Tt]ests?\b/.test(comment) ? [] : [`${path}: only tests use ${name}`]
    })
  })
}

const files = (all: Record<string, string>): Tree => new Map(Object.entries(all))

describe('an export', () => {
  it('is imported by another file of ours', () => {
    const code = readTree(FOLDERS, ['.ts', '.js'])
    expect(code.size).toBeGreaterThan(300)
    expect(unusedExports(code, readTree(['test'], ['.ts']))).toEqual([])
  })

  it('that nobody takes is found; one that is taken by name, as a whole or again by export is not', () => {
    const made = { 'hub/a.ts': 'export const one = 1\nexport function two() {}\n' }
    expect(unusedExports(files(made), files({}))).toEqual([
      'hub/a.ts: nothing imports one',
      'hub/a.ts: nothing imports two',
    ])
    for (const text of ["import { one, type two } from './a.ts'", "import * as a from './a.ts'", "import('./a.ts')"])
      expect(unusedExports(files({ ...made, 'hub/b.ts': text }), files({}))).toEqual([])
    expect(unusedExports(files({ ...made, 'hub/b.ts': "export { one } from './a.ts'" }), files({}))).toEqual([
      'hub/a.ts: nothing imports two',
    ])
  })

  it('that only tests take is used in its own file, or says that it is for tests', () => {
    const test = files({ 'test/a.test.ts': "import { one } from '../hub/a.ts'" })
    expect(unusedExports(files({ 'hub/a.ts': 'export const one = 1\n' }), test)).toEqual([
      'hub/a.ts: only tests use one',
    ])
    expect(unusedExports(files({ 'hub/a.ts': 'export const one = 1\nuse(one)\n' }), test)).toEqual([])
    expect(unusedExports(files({ 'hub/a.ts': '/** For tests. */\nexport const one = 1\n' }), test)).toEqual([])
  })
})
