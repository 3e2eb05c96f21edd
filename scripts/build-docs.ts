/**
 * Makes the reference pages from the code: `docs/reference/`.
 *
 *   node scripts/build-docs.ts           writes them
 *   node scripts/build-docs.ts --check   writes nothing; ends with 1 and names each page that differs from the code
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { makePages } from './docs/pages.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'docs/reference')
const { values } = parseArgs({ options: { check: { type: 'boolean' } } })

mkdirSync(folder, { recursive: true })
const pages = makePages(root)
const found = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]))
const other = [...new Set([...pages.keys(), ...found.keys()])].filter((name) => pages.get(name) !== found.get(name))
if (values.check === true) {
  for (const name of other)
    console.error(`docs/reference/${name} differs from the code; run: node scripts/build-docs.ts`)
  process.exitCode = other.length > 0 ? 1 : 0
} else {
  for (const name of other) {
    const text = pages.get(name)
    if (text === undefined) rmSync(join(folder, name))
    else writeFileSync(join(folder, name), text)
  }
  console.log(`${pages.size} pages, ${other.length} written`)
}
