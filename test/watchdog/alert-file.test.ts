/** The file that is always written: bounded, whole lines only, and none of them twice after a crash. */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createAlertFile } from '../../watchdog/tell/alert-file.ts'
import { HOSTILE, MOVES_TERMINAL } from '../support/hostile-text.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'af-'))
  file = join(folder, 'alerts.log')
})
afterEach(() => rmSync(folder, { recursive: true }))

test('the alert file is moved aside at its size, over the older one, and never grows past twice that [alert-23]', () => {
  const filler = 'x'.repeat(1024 * 1024)
  const alerts = createAlertFile(file)
  for (let n = 0; n < 20; n += 1) {
    const line = { id: `n${n}`, filler }
    alerts.append([line])
  }
  expect(existsSync(`${file}.1`)).toBe(true)
  expect(existsSync(`${file}.2`)).toBe(false)
  for (const each of [file, `${file}.1`]) expect(statSync(each).size).toBeLessThan(6 * 1024 * 1024)
  expect(readFileSync(file, 'utf8')).toContain('"n19"')
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('after a line that a crash cut a new one begins, and what was written is not written again', () => {
  writeFileSync(file, '{"id":"a","text":"whole"}\n{"id":"b","te')
  const alerts = createAlertFile(file)
  expect(alerts.last.map(({ id }) => id)).toEqual(['a'])
  const lines = [{ id: 'a' }, { id: 'b' }]
  alerts.append(lines)
  expect(readFileSync(file, 'utf8')).toBe('{"id":"a","text":"whole"}\n{"id":"b","te\n{"id":"b"}\n')
  appendFileSync(file, '')
})

test('fault F17: DEL, C1, separators and marks of direction stand as escapes in its lines, and read the same (T30)', () => {
  const text = HOSTILE.join(' ')
  createAlertFile(file).append([{ id: 'a', text } as { id: string }])
  const line = readFileSync(file, 'utf8')
  expect(MOVES_TERMINAL.test(line.trimEnd())).toBe(false)
  expect(JSON.parse(line).text).toBe(text)
})
