/** The outbox on a real disk: what was put is there after kill -9, whatever was torn; nothing grows; damage costs what it hit. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { SLOT_BYTES } from '../../watchdog/base/slot.ts'
import { OUTBOX_SLOTS, openOutbox } from '../../watchdog/tell/outbox.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})
function place(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'wd-outbox-'))
  folders.push(folder)
  return path.join(folder, 'outbox')
}
const texts = (box: ReturnType<typeof openOutbox<string>>) => box.list().map(({ value }) => value)

test('what was put and not removed is there again, in order, without a close: kill -9 loses none', () => {
  const file = place()
  const box = openOutbox<string>(file, 1)
  for (const text of ['a', 'b', 'c']) expect(box.put(text)).toBe(true)
  box.remove(box.list()[1]?.seq ?? 0)
  const after = openOutbox<string>(file, 2)
  expect(texts(after)).toEqual(['a', 'c'])
  after.put('d')
  expect(texts(openOutbox<string>(file, 3))).toEqual(['a', 'c', 'd'])
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('it is bounded and never grows: the last place taken, the next is refused, and the file measures and fills what it did at first', () => {
  const file = place()
  const box = openOutbox<string>(file, 1)
  const before = statSync(file)
  for (let count = 0; count < OUTBOX_SLOTS; count += 1) expect(box.put('x'.repeat(3000))).toBe(true)
  expect(box.put('one more')).toBe(false)
  expect(statSync(file)).toMatchObject({ size: OUTBOX_SLOTS * SLOT_BYTES, blocks: before.blocks })
  box.remove(box.list()[0]?.seq ?? 0)
  expect(() => box.put('y'.repeat(SLOT_BYTES))).toThrow(/too many for a slot/)
  expect(box.put('room again')).toBe(true)
  expect(box.list()).toHaveLength(OUTBOX_SLOTS)
})

test('a torn, foreign or overwritten slot costs that message alone; a copy is kept once and the next opening is clean', () => {
  const file = place()
  const box = openOutbox<string>(file, 1)
  for (const text of ['a', 'b', 'c']) box.put(text)
  const bytes = readFileSync(file)
  bytes.fill(7, SLOT_BYTES + 49, SLOT_BYTES + 50)
  bytes.write('nonsense', 9 * SLOT_BYTES)
  writeFileSync(file, bytes)
  const damaged = openOutbox<string>(file, 42)
  expect(texts(damaged)).toEqual(['a', 'c'])
  expect(damaged.damage).toMatch(/2 of 256 places .* 2 messages were read; a copy is kept in .*corrupt-42/)
  expect(readFileSync(`${file}.corrupt-42`)).toEqual(bytes)
  const again = openOutbox<string>(file, 43)
  expect({ damage: again.damage, texts: texts(again) }).toEqual({ damage: null, texts: ['a', 'c'] })
})

test.each([
  ['emptied', 0],
  ['cut in the middle of a slot', SLOT_BYTES + 100],
])('a file that was %s is mended, with what was left of it', (_name, size) => {
  const file = place()
  const box = openOutbox<string>(file, 1)
  for (const text of ['a', 'b', 'c']) box.put(text)
  truncateSync(file, size)
  const cut = openOutbox<string>(file, 42)
  expect(texts(cut)).toEqual(size === 0 ? [] : ['a'])
  expect(cut.damage).toMatch(/were damaged/)
  cut.put('d')
  expect(statSync(file).size).toBe(OUTBOX_SLOTS * SLOT_BYTES)
  expect(texts(openOutbox<string>(file, 43))).toEqual(size === 0 ? ['d'] : ['a', 'd'])
})

test('a disk that takes nothing keeps messages in memory and says so; once it takes them they are on it [watch-16]', () => {
  const file = path.join(place(), 'not-there', 'outbox')
  const box = openOutbox<string>(file, 1)
  expect(box.put('a')).toBe(true)
  expect(box.fault()).toMatch(/ENOENT/)
  expect(texts(box)).toEqual(['a'])
  mkdirSync(path.dirname(file), { recursive: true })
  box.flush()
  expect(box.fault()).toBeNull()
  expect(texts(openOutbox<string>(file, 2))).toEqual(['a'])
  expect(readdirSync(path.dirname(file))).toEqual(['outbox'])
})
