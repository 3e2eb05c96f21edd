/** Fault B3: `retention:` of hub.yaml is strict, and nothing in it can mean "delete everything". */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readConfig } from '../../../../hub/config.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cf-'))
})
afterEach(() => rmSync(folder, { recursive: true }))
const read = (text: string) => {
  writeFileSync(join(folder, 'hub.yaml'), text)
  return readConfig(join(folder, 'hub.yaml')).retention
}
const DAY_MS = 86_400_000

describe('fault B3: retention', () => {
  it('has its defaults: tasks, artifacts, alerts and the months of the audit log 30 days, evidence 90, logs 200 MiB', () => {
    const month = 30 * DAY_MS
    expect(read('')).toEqual({
      tasks: month,
      artifacts: month,
      alerts: month,
      evidence: 90 * DAY_MS,
      audit: month,
      logs: 200 * 1024 ** 2,
    })
  })

  it('takes spans, sizes and forever', () => {
    expect(read('retention: { tasks: 7d, artifacts: forever, evidence: 1d, logs: 1GiB }')).toMatchObject({
      tasks: 7 * DAY_MS,
      artifacts: Number.POSITIVE_INFINITY,
      evidence: DAY_MS,
      logs: 1024 ** 3,
    })
  })

  it.each(['0', '0d', '-1', '-30d', '"0"', '0.0', '00h', '"-0 d"'])(
    'refuses %s: it would delete everything',
    (value) => {
      expect(() => read(`retention:\n  tasks: ${value}`)).toThrow(
        /line 2, column \d+: retention\.tasks: .* would delete everything at once; give a span of at least 1d, or forever/,
      )
    },
  )

  it.each([
    ['tasks: 30', /30 is not a span; give a span of at least 1d, or forever/],
    ['tasks: 23h', /23h is too little; give a span of at least 1d, or forever/],
    ['tasks: never', /"never" is not a span/],
    ['tasks: null', /null is not a span/],
    ['logs: 0B', /0B would delete everything at once; give a size of at least 1MiB, or forever/],
    ['logs: 10KiB', /10KiB is too little/],
    ['logs: 30d', /"30d" is not a size/],
    ['task: 30d', /retention\.task: there is no such key; did you mean tasks\?/],
    ['messages: 30d', /retention\.messages: there is no such key;? /],
  ])('refuses %s, naming line and key', (line, words) => {
    expect(() => read(`retention:\n  ${line}`)).toThrow(words)
    expect(() => read(`retention:\n  ${line}`)).toThrow(/hub\.yaml line 2, column \d+: retention/)
  })
})
