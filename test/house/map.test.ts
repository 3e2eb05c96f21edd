import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { judgeMap } from './map.ts'
import { listFiles, repositoryRoot } from './source.ts'

/** Documents that are read when they are there. */
const documents = [
  'README.md',
  'RUNBOOK.md',
  'hub/README.md',
  'watchdog/README.md',
  'policies/README.md',
  'images/README.md',
  'test/support/README.md',
  'CHANGELOG.md',
  ...listFiles('docs').filter((path) => path.endsWith('.md')),
]
/** Documents that have to be there. */
const required: string[] = []

const files = [...listFiles(''), ...listFiles('.ci')]

describe('the documents of this repository', () => {
  it('are all there', () => {
    expect(required.filter((document) => !files.includes(document))).toEqual([])
  })

  it.each(documents.filter((document) => existsSync(join(repositoryRoot, document))))(
    '%s names only what is there',
    (document) => {
      expect(judgeMap(document, readFileSync(join(repositoryRoot, document), 'utf8'), files)).toEqual([])
    },
  )
})

describe('the map check', () => {
  const tree = [
    'README.md',
    'hub/README.md',
    'hub/guard/gate.ts',
    'images/echo/agent.yaml',
    'scripts/test',
    'hub/main.ts',
  ]
  const judge = (text: string, document = 'README.md') => judgeMap(document, text, tree)

  it.each([
    '`hub/guard/gates.ts`',
    '`hub/gard/`',
    '`scripts/tests`',
    '`./scripts/tests`',
    '`gates.ts`',
    '`RUNBOOK.md`',
    '`images/<name>/agent.yml`',
    '`hub/guard/{gate,grant}s.ts`',
    'see [the gate](hub/guard/gates.ts)',
    '```\n./scripts/tests --all\n```',
  ])('finds that %s is not there', (text) => {
    expect(judge(`first line\n${text}`)).toEqual([expect.stringMatching(/^README\.md:[23] names /)])
  })

  it.each(['`guard/gates.ts`', '`../scripts/tests`'])('finds that %s is not there, seen from a folder', (text) => {
    expect(judge(text, 'hub/README.md')).toHaveLength(1)
  })

  it('accepts what is there, from the root, from the folder, by bare name and with placeholders', () => {
    const names = [
      'hub/guard/gate.ts',
      'hub/guard',
      'hub/',
      'gate.ts',
      'images/<name>/agent.yaml',
      'hub/*/gate.ts',
      './scripts/test',
    ]
    expect(judge(names.map((name) => `\`${name}\``).join(' '))).toEqual([])
    expect(judge('`guard/gate.ts` `main.ts` [up](../README.md)', 'hub/README.md')).toEqual([])
  })

  it('takes no command, address, package, action or path outside the repository for one of ours', () => {
    const names = [
      'npm run check',
      '/run/hub/agent.sock',
      '~/.hub/config.yaml',
      'task.submit',
      '@scope/name',
      'https://example.org/hub/x.ts',
    ]
    expect(
      judge([...names, 'hub/admit/decision', 'hub up', 'src/jwt/verify.ts'].map((name) => `\`${name}\``).join('\n')),
    ).toEqual([])
    expect(judge('[site](https://example.org/hub/) [part](#part)')).toEqual([])
  })
})
