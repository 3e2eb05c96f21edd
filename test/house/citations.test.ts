/** Whatever comments, test names and documents cite exists: a document of this repository, a section or id in it, a rule with its file. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Documents, judgeCitations } from './citations.ts'
import { listFiles, repositoryRoot } from './source.ts'

const read = (path: string) => readFileSync(join(repositoryRoot, path), 'utf8')
const written = /\.(?:ts|js|mjs|md|rego|sh|sql|yaml)$|Dockerfile$|^scripts\/[\w-]+$/
const files = listFiles('').filter((path) => written.test(path))

it('every citation in this repository leads somewhere', () => {
  const documents: Documents = new Map(files.filter((path) => path.endsWith('.md')).map((path) => [path, read(path)]))
  expect(files.length).toBeGreaterThan(500)
  // This file cites things that do not exist, on purpose.
  const others = files.filter((path) => path !== 'test/house/citations.test.ts')
  expect(others.flatMap((path) => judgeCitations(path, read(path), documents))).toEqual([])
})

describe('a citation', () => {
  const documents: Documents = new Map([
    ['docs/safety.md', '## 3. The timeline\n- **time-4** a rule\n| **stop-1** kept | **stop-2** held |'],
    ['docs/threats.md', '| **T60** | a threat |\n| **X14** | elsewhere |\n| **I5** | stricter |'],
    ['docs/requirements.md', '| S1-16 | degraded |'],
    ['hub/README.md', '# The hub'],
  ])
  const judge = (comment: string) => judgeCitations('hub/a/b.ts', `const a = 1 // ${comment}\n`, documents)

  it.each([
    'safety.md section 3',
    'docs/safety.md 4',
    'docs/safety.md 3 and 5',
    '`docs/safety.md` 4',
    'docs/safety.md time-5',
    'docs/design.md',
    'see stop-3',
    'as S1-17 says',
    'fault F3, T61',
    'X15',
    'I7',
    'latches (S3)',
    'as in B2 of the buffer',
  ])('of nothing is found (%#)', (comment) => expect(judge(comment), comment).toHaveLength(1))

  it.each([
    'docs/safety.md 3',
    '`docs/safety.md` 3',
    'docs/safety.md time-4',
    'hub/README.md',
    'S1-16, T60, X14, I5 and stop-2',
    'Faults F3, F5 and C11',
    'database.ts S3',
    'outbox.ts O1, O2 and O3',
    'B1. A rule of this file, and again (B1)',
    'SHA-256, a UUIDv7, RFC 9457',
  ])('that leads somewhere is not (%#)', (comment) => expect(judge(comment), comment).toEqual([]))

  it('is looked for in comments and names of tests, and not in code', () => {
    const judged = (text: string) => judgeCitations('test/a.test.ts', text, documents)
    expect(judged("test('S1-98: of nothing', () => undefined)")).toEqual([
      'test/a.test.ts:2: S1-98 is not in docs/requirements.md',
    ])
    expect(judged("const path = 'docs/safety.md'\nconst T61 = `S1-99`")).toEqual([])
  })
})
