/** Fault C22: 20 000 small files are packed and written without a word no longer. */
import { expect, test } from 'vitest'
import { createProgress } from '../../../../hub/client/cli/progress.ts'
import type { Terminal } from '../../../../hub/client/cli/terminal.ts'

const FILES = 20_000

/** Packs so many files, each in so many milliseconds of a clock that is handed in. */
function walk(of: { json?: boolean; renews?: boolean; eachMs: number; files?: number }): string[] {
  const said: string[] = []
  const terminal: Pick<Terminal, 'live' | 'renews'> = { live: (text) => said.push(text), renews: of.renews === true }
  let nowMs = 0
  const progress = createProgress(
    { json: of.json === true, terminal: terminal as Terminal },
    'packing the input',
    () => nowMs,
  )
  const files = of.files ?? FILES
  for (let done = 1; done <= files; done += 1) {
    nowMs += of.eachMs
    progress(done, files)
  }
  return said
}

test('elsewhere than on a terminal a line every 5 s, and none for what is done before', () => {
  const said = walk({ eachMs: 1 })
  expect(said).toEqual([5_000, 10_000, 15_000, 20_000].map((at) => `packing the input: ${at} of 20000 files`))
  expect(walk({ eachMs: 1, files: 4_999 })).toEqual([])
})

test('on a terminal the line is renewed ten times a second', () => {
  const said = walk({ eachMs: 1, renews: true, files: 1_000 })
  expect(said).toHaveLength(10)
  expect(said.at(-1)).toBe('packing the input: 1000 of 1000 files')
})

test('with --json nothing is said', () => {
  expect(walk({ eachMs: 10, json: true })).toEqual([])
  expect(walk({ eachMs: 10, json: true, renews: true })).toEqual([])
})
