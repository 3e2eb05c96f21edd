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

  it('say what an image holds because its card asked; nothing where that is nothing', () => {
    const rows = [[], ['mcp']].map((additions, nth) => ({ id: idOf(nth), name: 'n', additions }))
    noteImageBuilds(home, rows, 1)
    expect(readImageBuilds(home)).toEqual([
      { id: idOf(0), name: 'n', atMs: 1 },
      { id: idOf(1), name: 'n', atMs: 1, additions: ['mcp'] },
    ])
    // Whose list cannot be read is no build of ours.
    writeFileSync(file(), JSON.stringify([{ id: idOf(1), name: 'n', atMs: 1, additions: 'mcp' }]))
    expect(readImageBuilds(home)).toEqual([])
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
  expect(provenanceOf(id, { builtOn: () => (built ? null : undefined), isSigned: () => signed })).toBe(found)
})

describe('S1-56: an image made from somebody else’s', () => {
  const [own, between, theirs] = [idOf(1), idOf(2), idOf(3)]
  const builtOn = (id: string) =>
    new Map([
      [own, between],
      [between, theirs],
    ]).get(id)

  it('is proven only if that one is: an assembly on top proves nothing of what is below', () => {
    expect(provenanceOf(own, { builtOn, isSigned: () => false })).toBeUndefined()
    expect(provenanceOf(own, { builtOn, isSigned: (id) => id === theirs })).toBe('built')
    expect(provenanceOf(own, { builtOn: (id) => (id === theirs ? null : builtOn(id)), isSigned: () => false })).toBe(
      'built',
    )
    expect(provenanceOf(own, { builtOn: () => own, isSigned: () => false }), 'a circle').toBeUndefined()
  })

  it('is kept with what it stands on; a row that names no image there counts as none', () => {
    const from = { id: theirs, name: 'own:1', digests: ['own@sha256:abc'] }
    noteImageBuilds(
      home,
      [
        { id: own, name: 'hub/a', from },
        { id: between, name: 'hub/b' },
      ],
      1,
    )
    expect(readImageBuilds(home)[0]).toEqual({ id: own, name: 'hub/a', atMs: 1, from })
    writeFileSync(file(), JSON.stringify([{ id: own, name: 'hub/a', atMs: 1, from: { id: 'latest' } }]))
    expect(readImageBuilds(home)).toEqual([])
  })
})
