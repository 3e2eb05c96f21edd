/**
 * The rules' own tests would notice if a condition were lost (T20). Each mutant lacks one line, or one condition behind `if`, and `opa test`
 * must fail on it. A mutant that no longer compiles proves nothing and is not counted. Short form: a sample; HUB_TEST_LONG=1: all.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../../..', import.meta.url))
const policies = join(root, 'policies')
const long = process.env.HUB_TEST_LONG === '1'
const found = spawnSync(join(root, 'scripts/opa'), ['--path'], { encoding: 'utf8' })
const opa = found.status === 0 ? found.stdout.trim() : undefined

interface Mutant {
  file: string
  row: number
  line: string
  text: string
}

function mutantsOf(file: string): Mutant[] {
  const lines = readFileSync(join(policies, file), 'utf8').split('\n')
  const mutants: Mutant[] = []
  const add = (row: number, replacement: string[]) =>
    mutants.push({
      file,
      row: row + 1,
      line: lines[row] ?? '',
      text: lines.toSpliced(row, 1, ...replacement).join('\n'),
    })
  for (const [row, line] of lines.entries()) {
    if (/^\t+[^\s#}\])]/.test(line)) add(row, [])
    const condition = /^(\S.*) if [^{]+$/.exec(line)
    if (condition?.[1] !== undefined && !line.startsWith('#')) add(row, [condition[1]])
  }
  return mutants
}

const rules = readdirSync(policies).filter((name) => name.endsWith('.rego') && !name.endsWith('_test.rego'))
const all = rules.flatMap(mutantsOf)
// Every seventeenth: a few of each file.
const chosen = long ? all : all.filter((_, place) => place % 17 === 3)

/** True when the rules' tests noticed; undefined when the mutant does not compile. */
function noticed(folder: string, mutant: Mutant): boolean | undefined {
  const path = join(folder, mutant.file)
  const original = readFileSync(path)
  writeFileSync(path, mutant.text)
  // The tests beside the file first: they nearly always notice, and the others take most of the time. Two minutes, because opa's own five
  // seconds a test would call a busy machine a noticed mutant. opa test answers 2 for failing tests and 1 for rules it cannot compile.
  const ask = (...only: string[]) => spawnSync(opa ?? '', ['test', '--timeout', '2m', ...only, folder]).status
  const beside = ask('--run', `^data\\.hub\\.${mutant.file.replace('.rego', '_test')}\\.`)
  const status = beside === 0 ? ask() : beside
  writeFileSync(path, original)
  return status === 1 ? undefined : status !== 0
}

test.skipIf(opa === undefined)(
  'T20: deleting any condition of the rules breaks a test of theirs',
  { timeout: 600_000 },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'hub-mutants-'))
    try {
      for (const name of readdirSync(policies).filter((file) => file.endsWith('.rego')))
        cpSync(join(policies, name), join(folder, name))
      expect(spawnSync(opa ?? '', ['test', '--timeout', '2m', folder]).status).toBe(0)
      const outcomes = chosen.map((mutant) => ({ mutant, noticed: noticed(folder, mutant) }))
      const survivors = outcomes.filter((outcome) => outcome.noticed === false)
      expect(survivors.map(({ mutant }) => `${mutant.file}:${mutant.row} ${mutant.line.trim()}`)).toEqual([])
      expect(outcomes.filter((outcome) => outcome.noticed === true).length).toBeGreaterThan(chosen.length / 2)
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
