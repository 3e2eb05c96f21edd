/** The tables of the safety rules held against the code they speak of: nothing the code can raise or do is without its row. */
import { expect, test } from 'vitest'
import { CRITICAL_KINDS } from '../../hub/guard/alerts/alert.ts'
import { ACTIONS } from '../../watchdog/acting.ts'
import { CONDITIONS } from '../../watchdog/conditions.ts'
import { CRITICAL } from './safety/alerts.ts'
import { rows as incidents } from './safety/incidents.ts'
import { CELLS, TABLE, WAYS } from './safety/stops.ts'
import { rows as watchdog } from './safety/watchdog.ts'
import { readTree } from './source.ts'

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

test('every finding that the watchdog can raise has a row that names it', () => {
  const findings = [...findingsOf()].filter((name) => !NO_FINDINGS.has(name))
  expect(findings.length).toBeGreaterThan(30)
  for (const known of ['hub_health', 'orphan', 'throughput', 'witness_mismatch', 'state_failing', 'contact_guessing'])
    expect(findings).toContain(known)
  const named = new Set(watchdog.flatMap(({ rule }) => rule.match(/\b[a-z]+(?:_[a-z]+)*\b/g) ?? []))
  expect(findings.filter((name) => !named.has(name))).toEqual([])
})

test('every condition that the watchdog holds has a row that names it', () => {
  const words = watchdog.map(({ rule }) => rule).join(' ')
  for (const name of Object.keys(CONDITIONS)) expect(words, name).toContain(name)
})

test('every way of stopping has its five cells, each with a proof', () => {
  expect(Object.keys(TABLE)).toEqual([...WAYS])
  for (const way of WAYS) {
    expect(Object.keys(TABLE[way]), way).toEqual([...CELLS])
    for (const cell of CELLS) expect(TABLE[way][cell][1].length, `${way}, ${cell}`).toBeGreaterThan(0)
  }
})

test('what hub and watchdog call critical is the closed list, and everything on it is there', () => {
  const listed = (column: 1 | 2) => CRITICAL.flatMap((row) => row[column]).sort()
  expect([...CRITICAL_KINDS].sort()).toEqual(listed(1))
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
    ...[...text.matchAll(/\breturn \[\{ id, level: 2, severity: 'critical'/g)].map(() => 'FAULT'),
  ])
  const actions = Object.entries(ACTIONS).flatMap(([name, { severity }]) => (severity === 'critical' ? [name] : []))
  expect([...new Set([...ofWatchdog, ...actions])].sort()).toEqual(listed(2))
})

test('every threat and incident that these rules answer has its row', () => {
  const span = (letter: string, from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, at) => `${letter}${from + at}`)
  const ids = [...span('T', 71, 76), ...span('T', 87, 98), 'T100', ...span('X', 1, 14)]
  expect(incidents.map(({ rule }) => rule.split(' ')[0])).toEqual(ids)
})
