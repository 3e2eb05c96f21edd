/** Layers that are kept as files do not stay for ever. */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { layerOf } from '../../../scripts/images/archive.ts'
import { cachedLayer, removeUnused } from '../../../scripts/images/layer-cache.ts'

const DAY_MS = 24 * 3_600_000
const NOW_MS = Date.UTC(2026, 11, 1)
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lc-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Layers of ten bytes each, by how many days ago they were needed. */
function keep(days: Record<string, number>) {
  for (const [name, ago] of Object.entries(days)) {
    writeFileSync(join(folder, `${name}.tar`), '0123456789')
    writeFileSync(join(folder, `${name}.tar.sha256`), 'x')
    utimesSync(join(folder, `${name}.tar`), (NOW_MS - ago * DAY_MS) / 1000, (NOW_MS - ago * DAY_MS) / 1000)
  }
}

it('what no build has needed for 30 days goes, with its digest, and is named', () => {
  keep({ 'npm-old': 31, 'pip-new': 29, 'base-now': 0 })
  writeFileSync(join(folder, 'other'), 'not a layer')
  expect(removeUnused(folder, NOW_MS)).toEqual({ names: ['npm-old.tar'], bytes: 10 })
  expect(readdirSync(folder)).toEqual([
    'base-now.tar',
    'base-now.tar.sha256',
    'other',
    'pip-new.tar',
    'pip-new.tar.sha256',
  ])
  expect(removeUnused(join(folder, 'none'), NOW_MS)).toEqual({ names: [], bytes: 0 })
})

it('above the room for all of them those go that were needed least lately, and none of this day', () => {
  keep({ a: 5, b: 20, c: 10, d: 0.5, e: 0 })
  expect(removeUnused(folder, NOW_MS, 30).names).toEqual(['b.tar', 'c.tar'])
  expect(removeUnused(folder, NOW_MS, 0).names).toEqual(['a.tar'])
})

it('one that is needed counts from then on', () => {
  const make = (title: string) => layerOf(title, [{ path: 'x', kind: 'file', mode: 0o444, data: Buffer.from('x') }])
  cachedLayer(folder, 'npm-1', 't', make)
  const file = join(folder, 'npm-1.tar')
  utimesSync(file, 1, 1)
  cachedLayer(folder, 'npm-1', 't', () => {
    throw new Error('made again')
  })
  expect(statSync(file).mtimeMs).toBeGreaterThan(NOW_MS - 3650 * DAY_MS)
  expect(existsSync(`${file}.sha256`)).toBe(true)
})
