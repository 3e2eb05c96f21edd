/** What the watchdog must not know, read from its sources. The layer check looks only at imports. */
import { expect, test } from 'vitest'
import { readTree } from './source.ts'

test('X8: no source of the watchdog knows a database, and each opens only node, pino, nodemailer, the parser of its file and its own files [watch-25]', () => {
  const sources = [...readTree(['watchdog'], ['.ts'])]
  expect(sources.length).toBeGreaterThan(40)
  for (const [path, text] of sources) {
    expect(text, path).not.toMatch(/hub\.db|sqlite|DatabaseSync/i)
    const imported = [...text.matchAll(/\bfrom '([^']+)'|\bimport\('([^']+)'\)|\bimport '([^']+)'/g)].map(
      ([, from, later, bare]) => from ?? later ?? bare ?? '',
    )
    for (const name of imported) expect(name, path).toMatch(/^(node:|\.{1,2}\/|pino$|yaml$|nodemailer)/)
  }
})
