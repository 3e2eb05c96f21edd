/** The tables of the safety rules held against the code they speak of: nothing the code can raise or do is without its row. */
import { expect, test } from 'vitest'
import { ACTIONS } from '../../watchdog/acting.ts'
import { CONDITIONS } from '../../watchdog/conditions.ts'
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
