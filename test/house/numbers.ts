/**
 * The house in numbers, for CHANGELOG: `node test/house/numbers.ts`. Nothing is judged here.
 *
 * Neighbours are what shape.ts says. The fan-out of a file is how many files of its own
 * process, `base` aside, it loads at run time.
 */
import { dirname, posix } from 'node:path'
import { judgeLayers, readImports } from './layers.ts'
import { neighboursOf } from './shape.ts'
import { readTree, type Tree } from './source.ts'

const SHOWN = 3

const linesOf = (text: string): number => text.replace(/\n$/, '').split('\n').length
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0

function measure(name: string, tree: Tree): void {
  const importers = new Map<string, Set<string>>()
  const fanOut = new Map<string, number>()
  for (const [path, text] of tree) {
    const found = readImports(path, text).filter(({ specifier }) => specifier.startsWith('.'))
    const targets = found.map((each) => ({ ...each, to: posix.join(dirname(path), each.specifier) }))
    for (const { to } of targets) importers.set(to, (importers.get(to) ?? new Set()).add(path))
    const loaded = targets.filter(({ to, typeOnly }) => !typeOnly && !/^(?:hub|watchdog)\/base\//.test(to))
    fanOut.set(path, new Set(loaded.map(({ to }) => to)).size)
  }
  const only = [...tree.keys()].filter((path) => importers.get(path)?.size === 1)
  const widest = [...fanOut].sort((a, b) => b[1] - a[1]).slice(0, SHOWN)
  console.log(
    `${name}: ${tree.size} files, median ${median([...tree.values()].map(linesOf))} lines, one importer ${only.length}, of them neighbours ${neighboursOf(tree).length}`,
  )
  console.log(`  widest: ${widest.map(([path, count]) => `${path} ${count}`).join(', ')}`)
}

measure('hub', readTree(['hub'], ['.ts']))
measure('watchdog', readTree(['watchdog'], ['.ts']))
console.log(
  `findings of the layers (circles, upward arrows): ${judgeLayers(readTree(['hub', 'watchdog', 'images'], ['.ts', '.js', '.mjs'])).length}`,
)
const house = [...readTree(['test/house'], ['.ts']).values()].map(linesOf)
console.log(`test/house: ${house.reduce((sum, each) => sum + each, 0)} lines`)
