/**
 * Every promise of the safety rules has a test that proves it by name, and that test exists and is not put aside. That it ran and
 * passed is shown after the run (proofs.ts, a step of the gate). That it asserts, and turns red when the code breaks, nothing here shows: it is
 * shown once, by hand, when a promise is made.
 */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CONDITIONS as OF_HUB } from '../../hub/guard/modes.ts'
import { OPERATIONS } from '../../hub/protocol/operations.ts'
import { CONDITIONS as OF_WATCHDOG } from '../../watchdog/conditions.ts'
import { isNamed, judgeProofs, promisesOf } from './proofs.ts'
import { CHAPTERS, namesOf, testsOf } from './safety/chapters.ts'
import type { Row } from './safety/row.ts'
import { readTree, repositoryRoot, scan } from './source.ts'

const { conditions = [], modes = [] } = CHAPTERS

describe.each(Object.entries(CHAPTERS))('safety rules, %s', (_, rows) => {
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

test('a test that is put aside, or expected to fail, is no proof', () => {
  const put = ['it.skip', 'test.todo', 'describe.skip', 'test.fails', 'test.skip.each([1])']
  for (const word of put) expect(namesOf(`${word}('a name', () => undefined)`), word).toEqual([])
  for (const word of ['it', 'test', 'describe', 'test.skipIf(a)', 'it.each([1])', 'describe.runIf(b)'])
    expect(namesOf(`${word}('a name', () => undefined)`), word).toEqual(['a name'])
})

describe('after a run', () => {
  const ran = (file: string, ...tests: [title: string, status: string, group?: string][]) => ({
    testResults: [
      {
        name: join(repositoryRoot, 'test', file),
        assertionResults: tests.map(([title, status, group]) => ({
          title,
          status,
          ancestorTitles: group ? [group] : [],
        })),
      },
    ],
  })
  const promise = (file: string, name: string) => ({ rule: 'a rule', file, name })

  test('a proof counts where it ran and passed; one that vanished or failed does not, one that was skipped is named', () => {
    const reports = [
      ran('a.test.ts', ['stops %s', 'passed'], ['in degraded: submit', 'passed'], ['in safe: submit', 'failed']),
      ran('b.test.ts', ['first', 'skipped', 'a group'], ['second', 'passed', 'a group'], ['never', 'skipped']),
    ]
    expect(judgeProofs([promise('a.test.ts', 'stops %%s'), promise('b.test.ts', 'a group')], reports)).toEqual({
      broken: [],
      skipped: [],
    })
    const { broken, skipped } = judgeProofs(
      [
        promise('a.test.ts', 'in %s: %s'),
        promise('a.test.ts', 'stops'),
        promise('b.test.ts', 'stops %%s'),
        promise('b.test.ts', 'never'),
      ],
      reports,
    )
    expect(broken.map((each) => each.replace('a rule: ', ''))).toEqual([
      'a.test.ts, in %s: %s: it failed',
      'a.test.ts, stops: it did not run',
      'b.test.ts, stops %%s: it did not run',
    ])
    expect(skipped).toEqual(['a rule: b.test.ts, never'])
  })

  test('a name is found again after vitest has filled it in, and no other name is taken for it', () => {
    expect(isNamed('%s in %s: %s', 'task.submit in safe: mode_safe')).toBe(true)
    expect(isNamed('of $name (T1.2)', 'of echo (T1.2)')).toBe(true)
    expect(isNamed(['with $', '{count} readers'].join(''), 'with 3 readers')).toBe(true)
    expect(isNamed('of (T1.2)', 'of (T1x2)')).toBe(false)
    expect(isNamed('stops', 'stops everything')).toBe(false)
  })

  test('every promise is looked for under the whole name of its test', () => {
    const promises = promisesOf()
    expect(promises.length).toBeGreaterThan(200)
    for (const { file, name } of promises) expect(testsOf(file), file).toContain(name)
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
