/**
 * Compares the rules of docs/safety.md and the threats of docs/threats.md with the names of the tests and with the code. Whether the tests
 * ran and passed is checked after the run (proofs.ts, a step of the gate). Nothing here shows that a test turns red when the code breaks:
 * that is tried once, by hand, when a rule is made.
 */
import { basename } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CRITICAL_KINDS } from '../../hub/guard/alerts/kinds.ts'
import { CONDITIONS as OF_HUB } from '../../hub/guard/modes.ts'
import { OPERATIONS } from '../../hub/protocol/operations.ts'
import { CONDITIONS as OF_WATCHDOG } from '../../watchdog/judge/conditions.ts'
import { ACTIONS } from '../../watchdog/judge/undone.ts'
import { namesOf } from './names.ts'
import { givenBy, idsOf, judgeProofs, SAFETY, THREATS } from './proofs.ts'
import { readTree, scan } from './source.ts'

/** Of each test file, the ids in its names. */
const named = [...readTree(['test'], ['.test.ts'])].map(
  ([path, text]) => [path, new Set(namesOf(text).flatMap(idsOf))] as const,
)
const given = [...givenBy(SAFETY), ...givenBy(THREATS)]
const section = (number: number) => SAFETY.split(/^## /m).find((part) => part.startsWith(`${number}. `)) ?? ''
const rowsOf = (text: string) => text.split('\n').filter((line) => line.startsWith('|'))

describe('ids', () => {
  test('every id is in the name of a test, every id in a name is given, and none is given twice', () => {
    const inNames = new Set(named.flatMap(([, ids]) => [...ids]))
    expect(given.filter((id) => !inNames.has(id))).toEqual([])
    expect([...inNames].filter((id) => !given.includes(id))).toEqual([])
    expect(given.filter((id, at) => given.indexOf(id) !== at)).toEqual([])
  })

  test('every threat and every incident has its row, and the files it names hold a test of it', () => {
    const span = (letter: string, most: number) => Array.from({ length: most }, (_, at) => `${letter}${at + 1}`)
    const isEgress = (id: string) => id.startsWith('E')
    expect(givenBy(THREATS).filter((id) => !isEgress(id))).toEqual([...span('T', 104), ...span('X', 14)])
    const egress = givenBy(THREATS).filter(isEgress)
    expect(egress).toEqual(span('E', 23).filter((id) => egress.includes(id)))
    for (const row of rowsOf(THREATS)) {
      const [, id, , , , files] = row.split('|').map((cell) => cell.trim().replaceAll('**', ''))
      if (id === undefined || !/^[TXE]\d/.test(id)) continue
      const proving = named.flatMap(([path, ids]) => (ids.has(id) ? [basename(path)] : []))
      expect(proving, id).toEqual(expect.arrayContaining(files?.replaceAll('`', '').split(' ') ?? []))
    }
  })

  test('are read out of names: those of rules at the end in brackets, those of threats anywhere', () => {
    expect(idsOf('T71, X9: it stops (S1-16) [stop-3, watch-28]')).toEqual(['stop-3', 'watch-28', 'T71', 'X9'])
    expect(idsOf('%s [stop-3] and more, stop-4, UTF8, 2026-11-29T20, T1-2')).toEqual([])
  })

  test('after a run: proven where a test ran and passed, broken where none ran or one failed, skipped where none could run', () => {
    const ran = (...tests: [title: string, status: string, group?: string][]) => ({
      testResults: [
        {
          assertionResults: tests.map(([title, status, group]) => ({
            title,
            status,
            ancestorTitles: group ? [group] : [],
          })),
        },
      ],
    })
    const reports = [
      ran(['is told [stop-1, stop-2]', 'passed'], ['in safe [stop-2]', 'failed']),
      ran(['first', 'skipped', 'T60: a group'], ['second', 'passed', 'T60: a group'], ['never [stop-3]', 'skipped']),
    ]
    expect(judgeProofs(['stop-1', 'stop-2', 'stop-3', 'stop-4', 'T60'], reports)).toEqual({
      broken: ['stop-2', 'stop-4'],
      skipped: ['stop-3'],
    })
  })

  test('of a test that is put aside, or expected to fail, count for nothing', () => {
    for (const word of ['it.skip', 'test.todo', 'describe.skip', 'test.fails', 'test.skip.each([1])'])
      expect(namesOf(`${word}('a name', () => undefined)`), word).toEqual([])
    for (const word of ['it', 'test', 'describe', 'test.skipIf(a)', 'it.each([1])', 'describe.runIf(b)'])
      expect(namesOf(`${word}('a name', () => undefined)`), word).toEqual(['a name'])
  })
})

describe('what the code has, the rules name', () => {
  test('every condition of hub and watchdog has one row of section 1', () => {
    for (const name of new Set([...Object.keys(OF_HUB), ...Object.keys(OF_WATCHDOG)]))
      expect(
        rowsOf(section(1)).filter((row) => /^\| \*\*cond-\d+\*\* \| `(\w+)`/.exec(row)?.[1] === name),
        name,
      ).toHaveLength(1)
  })

  test('every standing of an operation is in one rule of section 1', () => {
    const rules = section(1)
      .split('\n')
      .filter((line) => line.startsWith('- **mode-'))
    for (const standing of new Set(Object.values(OPERATIONS).map((row) => row.standing)))
      expect(
        rules.filter((rule) => rule.includes(`\`${standing}\``)),
        standing,
      ).toHaveLength(1)
  })

  test('every finding and every condition of the watchdog is named in section 4', () => {
    const findings = [...findingsOf()].filter((name) => !NO_FINDINGS.has(name))
    expect(findings.length).toBeGreaterThan(30)
    for (const known of ['hub_health', 'orphan', 'throughput', 'witness_mismatch', 'state_failing', 'contact_guessing'])
      expect(findings).toContain(known)
    const words = new Set(section(4).match(/\b[a-z]+(?:_[a-z]+)*\b/g))
    expect([...findings, ...Object.keys(OF_WATCHDOG)].filter((name) => !words.has(name))).toEqual([])
  })

  test('every way of stopping has a row with its five cells, each a rule', () => {
    const ways = rowsOf(section(5)).slice(2)
    expect(ways.map((row) => row.split('|')[1]?.trim())).toEqual([
      '`hub restart`',
      'SIGTERM, `systemctl stop`, an upgrade',
      '`hub down`',
      '`hub shutdown`',
      "the contact's stop, `--emergency`",
      'the unattended stop',
      'a crash, a power cut',
    ])
    for (const row of ways) expect(givenBy(row), row).toHaveLength(5)
  })

  test('what hub and watchdog call critical is the closed list of section 7, and everything on it is there', () => {
    const listed = (column: 2 | 3) =>
      rowsOf(section(7))
        .flatMap((row) => row.split('|')[column]?.match(/`\w+`|each fault of a container/g) ?? [])
        .map((kind) => kind.replaceAll('`', ''))
        .sort()
    expect([...CRITICAL_KINDS].sort()).toEqual(listed(2))
    // Where the hub raises one, by what its sources say: each cause must be of a kind on the list, or it would be told as a warning.
    const raised = [...readTree(['hub'], ['.ts'])].flatMap(([, text]) =>
      [...text.matchAll(/\.raise\(\s*[`']([a-z_]+)[:`'][^)]{0,120}?'critical'/g)].map(([, kind]) => kind ?? ''),
    )
    expect(raised.length).toBeGreaterThan(3)
    for (const kind of raised) expect(CRITICAL_KINDS.has(kind), kind).toBe(true)
    const ofWatchdog = sources.flatMap(([, text]) => [
      ...[...text.matchAll(/\bid: '([a-z_]+)', level: \d, severity: 'critical'/g)].map(([, name]) => name ?? ''),
      ...[...text.matchAll(/\balarm\(\s*'([a-z_]+)'/g)].map(([, name]) => name ?? ''),
      // One finding for all containers of a fault, whichever it is.
      ...[...text.matchAll(/\breturn \[\{ id, level: 2, severity: 'critical'/g)].map(() => 'each fault of a container'),
    ])
    const actions = Object.entries(ACTIONS).flatMap(([name, { severity }]) => (severity === 'critical' ? [name] : []))
    expect([...new Set([...ofWatchdog, ...actions])].sort()).toEqual(listed(3))
  })
})

const sources = [...readTree(['watchdog'], ['.ts'])]

/** Names of findings as the sources of the watchdog write them: by `id:`, as rows of a table, and in pairs of name and text. */
function findingsOf(): Set<string> {
  const text = sources.map(([, each]) => each).join('\n')
  const spelled = [
    ...text.matchAll(/\bid: '([a-z_]+)'/g),
    ...text.matchAll(/\b(?:warn|alarm)\(\s*'([a-z_]+)'/g),
    ...text.matchAll(/\[\s*'([a-z]+_[a-z_]+)',\s*[`'"]/g),
  ].map(([, name]) => name ?? '')
  const faults = /const WORDS[^{]*= \{([^}]*)\}/.exec(text)?.[1] ?? ''
  const removed = [...faults.matchAll(/^ {2}([a-z_]+):/gm)].map(([, name = '']) =>
    name.endsWith('_stop') ? name.replace('stop', 'remains') : name,
  )
  return new Set([...spelled, ...removed, ...Object.keys(ACTIONS)])
}
/** Words in the same spelling that are no findings: a letter, and lines of the status. */
const NO_FINDINGS = new Set(['all_clear', 'no_channel', 'no_contact', 'no_outside'])

test('nobody decides by comparing a mode: what it permits is asked of the table [mode-13]', () => {
  const asking = /\bcurrent\(\)\s*[!=]==/
  expect(asking.test("if (modes.current() === 'normal') go()")).toBe(true)
  const found = [...readTree(['hub'], ['.ts'])].filter(([, text]) => asking.test(scan(text).code)).map(([path]) => path)
  expect(found).toEqual([])
})
