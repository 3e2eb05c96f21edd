/** Grants of egress (docs/egress.md 2): what each covers, and that two lists together never permit more than either. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { judgeConfig } from '../../../../hub/config.ts'
import { covers, type EgressAsk, grantProblem, grantsShape, narrow } from '../../../../hub/protocol/egress/grants.ts'

const CLASSES = ['metered', 'free', 'read', 'write', 'connect'] as const
const asked = (grant: string): string[] =>
  ['forge', 'npm', 'api.example.org:443', 'forge:read'].flatMap((upstream) =>
    CLASSES.filter((each) => covers(grant, { upstream, class: each })).map((each) => `${upstream} ${each}`),
  )

describe('a grant', () => {
  it.each([
    ['forge', ['forge metered', 'forge free', 'forge read']],
    ['forge:write', ['forge write']],
    ['forge:read', ['forge read']],
    ['api.example.org:443', ['api.example.org:443 connect']],
    ['api.example.org:8443', []],
    ['forge:connect', []],
    ['forge:', []],
    ['forge:read:write', []],
    ['*', []],
    ['', []],
  ])('%j covers %j and nothing else', (grant, what) => expect(asked(grant)).toEqual(what))

  it.each([
    'forge',
    'forge:metered',
    'constructor',
    'a.example:1',
    'xn--mnchen-3ya.example:65535',
    `${'a.'.repeat(125)}de:443`,
  ])('%j is one', (grant) => expect(grantsShape.safeParse([grant]).success).toBe(true))

  it.each(
    [
      ['', 'Forge', 'forge ', 'forge:Read', 'forge:connect', 'forge:*', '*', '*.example.org:443', 'example.org'],
      [
        'example.org:0',
        'example.org:65536',
        'example.org:0443',
        'example.org:443:read',
        'example.org.:443',
        'localhost:80',
      ],
      ['127.0.0.1:443', '[::1]:443', '::1:443', '0x7f.1:443', '2130706433:443', 'a.0x7f:443', 'me@example.org:443'],
      [
        'https://example.org:443',
        'example.org:443/',
        'münchen.example:443',
        '-a.example:443',
        'a-.example:443',
        'a..b:1',
      ],
      [
        '.example.org:443',
        `${'a'.repeat(64)}.org:443`,
        `${'a.'.repeat(130)}de:443`,
        'example.org:443\n',
        'ex_ample.org:1',
      ],
    ].flat(),
  )('%j is none (E3)', (grant) => expect(grantsShape.safeParse([grant]).success).toBe(false))

  it('stands once in its list', () => expect(grantsShape.safeParse(['forge', 'forge']).success).toBe(false))
})

describe('narrowing', () => {
  it.each([
    [['forge', 'forge:read'], ['forge:read'], ['forge:read']],
    [['forge'], ['forge:read', 'forge:free'], ['forge:read', 'forge:free']],
    [['forge:read'], ['forge'], ['forge:read']],
    [['forge:write'], ['forge'], []],
    [['forge'], ['forge:write'], []],
    [['forge', 'forge:write'], ['forge:write', 'npm'], ['forge:write']],
    [['npm', 'a.example:443'], ['a.example:443', 'a.example:8443'], ['a.example:443']],
    [['forge'], ['npm'], []],
  ])('%j by %j leaves %j', (wish, ceiling, left) => expect(narrow(wish, ceiling)).toEqual(left))

  it('permits exactly what both permit, and the same again when it is narrowed again (T42, T45)', () => {
    const grant = fc.constantFrom(
      'forge',
      'forge:read',
      'forge:write',
      'forge:free',
      'npm',
      'npm:read',
      'a.example:443',
    )
    const list = fc.uniqueArray(grant)
    const ask: fc.Arbitrary<EgressAsk> = fc.record({
      upstream: fc.constantFrom('forge', 'npm', 'a.example:443'),
      class: fc.constantFrom(...CLASSES),
    })
    const permits = (grants: readonly string[], what: EgressAsk) => grants.some((each) => covers(each, what))
    fc.assert(
      fc.property(list, list, ask, (wish, ceiling, what) => {
        const left = narrow(wish, ceiling)
        expect(permits(left, what)).toBe(permits(wish, what) && permits(ceiling, what))
        expect(narrow(left, ceiling)).toEqual(left)
        expect(narrow(wish, wish)).toEqual(wish)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('what a grant leads to', () => {
  const declared = `upstreams:
  anthropic: { kind: anthropic, secret: key }
  forge: { kind: git, url: https://git.example.org, repositories: [a/b] }
  npm: { kind: npm, url: https://registry.example.org, files: https://files.example.org }
`
  const upstreams = judgeConfig(declared).config?.upstreams ?? []

  it.each(['anthropic', 'anthropic:free', 'forge:write', 'npm:read', 'other.example.org:443'])(
    '%s leads somewhere',
    (grant) => expect(grantProblem(grant, upstreams)).toBeUndefined(),
  )

  it.each([
    ['antropic', 'no upstream is named antropic: declare it under upstreams in hub.yaml; did you mean anthropic?'],
    ['weather:read', 'no upstream is named weather: declare it under upstreams in hub.yaml'],
    ['anthropic:write', 'the upstream anthropic is of kind anthropic and has no class write; it has metered and free'],
    ['forge:metered', 'the upstream forge is of kind git and has no class metered; it has read and write'],
    [
      'api.anthropic.com:443',
      'is the host of the upstream anthropic: ask for anthropic, so that its list and its limits hold',
    ],
    ['files.example.org:8443', 'is the host of the upstream npm: ask for npm, so that its list and its limits hold'],
  ])('%s leads nowhere: %s (E6)', (grant, why) => expect(grantProblem(grant, upstreams)).toBe(why))
})
