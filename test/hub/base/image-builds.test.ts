/** Which images were built here, and what counts as provenance (S1-56). */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { noteImageBuilds, readImageBuilds } from '../../../hub/base/image-builds.ts'
import { provenanceOf } from '../../../hub/work/sandbox/provenance.ts'

const idOf = (nth: number) => `sha256:${nth.toString(16).padStart(64, '0')}`
let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'ib-'))
  writeFileSync(join(home, 'instance'), '')
})
afterEach(() => rmSync(home, { recursive: true }))
const file = () => join(home, 'image-builds.json')

describe('S1-56: the builds of a home', () => {
  it('are kept by id, each once with its newest time, for the owner alone', () => {
    expect(readImageBuilds(home)).toEqual([])
    expect(
      noteImageBuilds(
        home,
        [
          { id: idOf(1), name: 'hub/a' },
          { id: idOf(2), name: 'hub/b' },
        ],
        10,
      ),
    ).toBe(true)
    noteImageBuilds(home, [{ id: idOf(1), name: 'hub/a' }], 20)
    expect(readImageBuilds(home)).toEqual([
      { id: idOf(2), name: 'hub/b', atMs: 10 },
      { id: idOf(1), name: 'hub/a', atMs: 20 },
    ])
    expect(statSync(file()).mode & 0o777).toBe(0o600)
  })

  it('are at most a thousand; the oldest go first', () => {
    const many = Array.from({ length: 1001 }, (_, nth) => ({ id: idOf(nth), name: 'n' }))
    noteImageBuilds(home, many, 1)
    expect([readImageBuilds(home).length, readImageBuilds(home)[0]?.id]).toEqual([1000, idOf(1)])
  })

  it('are not written where there is no home yet', () => {
    rmSync(join(home, 'instance'))
    expect(noteImageBuilds(home, [{ id: idOf(1), name: 'n' }], 1)).toBe(false)
    expect(existsSync(file())).toBe(false)
  })

  it.each(['', '{', 'null', '{"id":1}', '[1,null,{"id":"latest","name":"n","atMs":1}]', `"${'x'.repeat(2_000_000)}"`])(
    'nothing counts as built because of a file that says %.20s',
    (text) => {
      writeFileSync(file(), text)
      expect(readImageBuilds(home)).toEqual([])
      noteImageBuilds(home, [{ id: idOf(1), name: 'n' }], 1)
      expect(JSON.parse(readFileSync(file(), 'utf8'))).toHaveLength(1)
    },
  )
})

it.each([
  [undefined, true, true, undefined],
  [idOf(1), true, true, 'built'],
  [idOf(1), true, false, 'built'],
  [idOf(1), false, true, 'signed'],
  [idOf(1), false, false, undefined],
])('S1-56: the provenance of %s, built here: %s, signature passed: %s, is %s', (id, built, signed, found) => {
  expect(provenanceOf(id, { isBuilt: () => built, isSigned: () => signed })).toBe(found)
})
