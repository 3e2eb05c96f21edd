/** Definitions: what a sound one becomes, and every fault of another with its line and the word that is wrong. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalText, digestOf } from '../../../hub/base/canonical.ts'
import { judgeDefinition, paramsOf, readDefinition } from '../../../hub/protocol/definition.ts'
import { faultText } from '../../../hub/protocol/judging.ts'
import type { StepCard } from '../../../hub/protocol/runs/tiers.ts'

const EXAMPLE = `definition: tested-change
description: Change a repository, test it, publish the branch after a look.
params:
  goal: { type: text }
  base: { type: text, default: main }
inputs: folder
limits: { time: 2h, tasks: 12, usd: 3 }
overlap: queue
key: "{{ params.base }}"
onFailure: pause
steps:
  - id: edit
    agent: coder
    params: { ask: "On {{ params.base }}: {{ params.goal }}" }
    tier: write
    timeout: 30m
    onUnknown: ask
    fallback: [coder-small]
  - id: test
    kind: test
    after: [edit]
    agent: coder
    run: [npm, test]
    retry: { max: 2, delay: 2s, repair: { agent: coder, params: { ask: "Make it pass: {{ error }}" } } }
    checkpoint: { ask: "Publish {{ steps.edit.value.branch }}?", timeout: 24h, onTimeout: abort }
  - id: publish
    agent: forge
    after: [test]
    params: { branch: "{{ steps.edit.value.branch }}" }
    tier: external
output: { branch: "{{ steps.edit.value.branch }}" }
`

const card = (name: string, more: Partial<StepCard> = {}): [string, StepCard] => [
  name,
  { name, shell: false, repeatable: false, capabilities: [], may: { egress: [] }, ...more },
]

/** The faults as a person reads them. */
const faultsOf = (text: string, cards?: [string, StepCard][]) =>
  judgeDefinition(text, cards && { cards: new Map(cards) }).faults.map(faultText)

const HEAD = 'definition: one\ndescription: One of a test.\n'
/** Steps from line 4 on. */
const withSteps = (steps: string, more = '') => `${HEAD}steps:\n${steps}\n${more}`

describe('a definition', () => {
  it('becomes a plan with every default in it (S3-11, S3-51)', () => {
    const { plan } = readDefinition(EXAMPLE)
    expect(plan).toMatchObject({
      definition: 'tested-change',
      onFailure: 'pause',
      limits: { timeMs: 7_200_000, tasks: 12, usdMicro: 3_000_000 },
      output: { branch: '{{ steps.edit.value.branch }}' },
    })
    expect(plan.steps.map(({ id }) => id)).toEqual(['edit', 'test', 'publish'])
    expect(plan.steps[0]).toMatchObject({
      kind: 'agent',
      after: [],
      tier: 'write',
      timeoutMs: 1_800_000,
      onUnknown: 'ask',
      retry: { max: 0 },
      fallback: ['coder-small'],
    })
    expect(plan.steps[1]).toMatchObject({
      tier: 'execute',
      after: [{ step: 'edit', of: 'completed' }],
      retry: { max: 2, delayMs: 2000, repair: { agent: 'coder' } },
      checkpoint: { timeoutMs: 86_400_000, onTimeout: 'abort' },
    })
    expect(plan.steps[2]).toMatchObject({ tier: 'external', onUnknown: 'ask' })
    for (const [written, usdMicro] of [
      ['0.25', 250_000],
      ['3 USD', 3_000_000],
      ['0', 0],
    ])
      expect(readDefinition(EXAMPLE.replace('usd: 3', `usd: ${written}`)).plan.limits.usdMicro).toBe(usdMicro)
    const bare = readDefinition(withSteps('  - { id: a, agent: x }')).plan
    expect(bare).toMatchObject({ limits: { timeMs: 86_400_000, tasks: 3 }, onFailure: undefined })
    expect(bare.steps[0]).toMatchObject({ tier: 'read', onUnknown: 'ask', join: 'all', optional: false, params: {} })
  })

  it('becomes a plan that is the same after it was stored, with the same digest for the same text (S3-12)', () => {
    const { plan } = readDefinition(EXAMPLE)
    const stored: unknown = JSON.parse(canonicalText(plan))
    expect(stored).toEqual(plan)
    expect(digestOf('plan', stored)).toBe(digestOf('plan', readDefinition(EXAMPLE).plan))
  })

  it('has its steps in one order, however they are written: what they need first, then by id (S2-35)', () => {
    const plain = ['{ id: d, agent: x, after: [b, c] }', '{ id: c, agent: x, after: [a.ended] }']
    const lines = [...plain, '{ id: b, agent: x, after: [a] }', '{ id: a, agent: x }', '{ id: e, agent: x }']
    fc.assert(
      fc.property(fc.shuffledSubarray(lines, { minLength: 5, maxLength: 5 }), (shuffled) => {
        const { plan } = readDefinition(withSteps(shuffled.map((each) => `  - ${each}`).join('\n')))
        expect(plan.steps.map(({ id }) => id)).toEqual(['a', 'b', 'c', 'd', 'e'])
      }),
      { numRuns: 20 },
    )
  })

  it('says what of another step is waited for (S2-34)', () => {
    const { plan } = readDefinition(
      withSteps(
        '  - { id: a, agent: x }\n  - { id: b, agent: x }\n  - { id: c, agent: x, after: { any: [a.failed, b.ended] } }',
      ),
    )
    expect(plan.steps[2]).toMatchObject({
      join: 'any',
      after: [
        { step: 'a', of: 'failed' },
        { step: 'b', of: 'ended' },
      ],
    })
  })

  it('takes what kind and cards imply as its tier, and a rerun only where nothing can have been changed (S2-26)', () => {
    const steps = [
      'a, agent: x',
      'b, agent: out',
      'c, agent: sh',
      'd, agent: x, kind: implement',
      'e, agent: x, tier: external',
    ]
    const text = withSteps(steps.map((each) => `  - { id: ${each} }`).join('\n'))
    const cards = [
      card('x', { repeatable: true }),
      card('out', { repeatable: true, may: { egress: ['forge', 'forge:write'] } }),
      card('sh', { shell: true }),
    ]
    const { plan } = readDefinition(text, { cards: new Map(cards) })
    expect(plan.steps.map(({ tier, onUnknown }) => `${tier} ${onUnknown}`)).toEqual([
      'read rerun',
      'external ask',
      'execute ask',
      'write ask',
      'external ask',
    ])
    const lines = [card('x', { may: { egress: ['api.example.org:443'] } })]
    expect(readDefinition(withSteps('  - { id: a, agent: x }'), { cards: new Map(lines) }).plan.steps[0]?.tier).toBe(
      'external',
    )
  })

  it('of two hundred steps, each of which waits for all before it, is judged; one more step is refused', () => {
    const steps = (count: number, isJoined = true) =>
      Array.from({ length: count }, (_, at) => {
        const before = Array.from({ length: isJoined ? at : 0 }, (__, each) => `s${each}`)
        return `  - { id: s${at}, agent: x, after: [${before.join(', ')}] }`
      }).join('\n')
    expect(readDefinition(withSteps(steps(200))).plan.steps).toHaveLength(200)
    expect(faultsOf(withSteps(steps(201, false)))).toEqual([
      expect.stringMatching(/^line 4, column 3: steps: must have at most 200 entries/),
    ])
  })
})

const ONE = '  - { id: a, agent: x }'
/** What is wrong, the text from its first line on, the line, and what is said. */
const FAULTS: [string, string, number, RegExp][] = [
  ['no YAML', `${HEAD}steps: [`, 3, /bracket/],
  ['no steps', HEAD, 1, /steps: is missing/],
  ['an empty list of steps', `${HEAD}steps: []`, 3, /at least 1 entry/],
  [
    'a key that is not there',
    withSteps(`${ONE}\n    aftr: [b]`.replace(' }\n', '\n').replace('{ id', 'id').replace(', agent', '\n    agent')),
    6,
    /steps\[0\]\.aftr: there is no such key; did you mean after\?/,
  ],
  [
    'a key of a later version',
    withSteps('  - id: a\n    agent: x\n    cache: { ttl: 10m }'),
    6,
    /cache: a cache of results comes with a later version; take it out/,
  ],
  [
    'a plan that changes',
    withSteps(ONE, 'replan: true'),
    5,
    /replan: a plan that changes while it runs comes with a later version/,
  ],
  [
    'a kind of a later version',
    withSteps('  - id: a\n    kind: shell'),
    5,
    /kind: shell is a kind that this version cannot run yet; there are agent, /,
  ],
  [
    'a kind that nobody knows',
    withSteps('  - id: a\n    kind: tset\n    agent: x'),
    5,
    /there is no kind tset; there are .*; did you mean test\?/,
  ],
  ['a condition', withSteps('  - id: a\n    kind: condition'), 5, /there is no kind condition/],
  ['a name that is none', withSteps('  - id: A b\n    agent: x'), 4, /id: .*a-z, 0-9 and -/],
  ['an id that is there twice', withSteps(`${ONE}\n${ONE}`), 5, /steps\[1\]\.id: a is the id of another step already/],
  ['a step that nobody does', withSteps('  - id: a'), 4, /a names no agent: say agent, or in needs/],
  ['both an agent and needs', withSteps('  - id: a\n    agent: x\n    needs: [y]'), 6, /needs: is there beside agent/],
  [
    'a command without a place to run',
    withSteps('  - id: a\n    kind: test\n    run: [npm, test]'),
    4,
    /a names no agent: its image is what the command runs in/,
  ],
  [
    'a test without a command',
    withSteps('  - id: a\n    kind: test\n    agent: x'),
    4,
    /a is of kind test and has no run/,
  ],
  [
    'a command with parameters',
    withSteps('  - id: a\n    kind: test\n    agent: x\n    run: [npm]\n    params: { b: c }'),
    8,
    /a step of kind test has no params/,
  ],
  [
    'an agent with a command',
    withSteps('  - id: a\n    agent: x\n    run: [npm]'),
    6,
    /a step of kind agent has no run/,
  ],
  ['a text that is empty', withSteps('  - id: a\n    kind: plan-text\n    text: " "'), 6, /text: is empty/],
  [
    'a word for a shell',
    withSteps('  - id: a\n    kind: execute\n    agent: x\n    run: [ls, "|", wc]'),
    7,
    /run\[1\]: \| is a word for a shell/,
  ],
  [
    'a definition that runs itself',
    withSteps('  - id: a\n    kind: subrun\n    definition: one'),
    6,
    /one is this definition: it would never end/,
  ],
  [
    'ifMissing beside an agent',
    withSteps('  - id: a\n    agent: x\n    ifMissing: noop'),
    6,
    /ifMissing: counts only for a step that names needs/,
  ],
  [
    'a fallback that is the agent',
    withSteps('  - id: a\n    agent: x\n    fallback: [y, x]'),
    6,
    /fallback\[1\]: x has tried it already/,
  ],
  [
    'a step that waits for itself',
    withSteps('  - id: a\n    agent: x\n    after: [a]'),
    6,
    /after\[0\]: a cannot wait for itself/,
  ],
  [
    'a step that is not there',
    withSteps(`  - { id: edit, agent: x }\n  - id: b\n    agent: x\n    after: [edti]`),
    7,
    /after\[0\]: no step is named edti; did you mean edit\?/,
  ],
  [
    'the same step twice',
    withSteps(`${ONE}\n  - id: b\n    agent: x\n    after: [a, a]`),
    7,
    /after\[1\]: a is there twice/,
  ],
  [
    'an end that is none',
    withSteps(`${ONE}\n  - id: b\n    agent: x\n    after: [a.faild]`),
    7,
    /a\.faild: what is waited for .* \.failed or \.ended; did you mean failed\?/,
  ],
  [
    'any that is no list',
    withSteps(`${ONE}\n  - id: b\n    agent: x\n    after: { any: a }`),
    7,
    /must be a list of steps, or a map with the one key any/,
  ],
  [
    'another word for any',
    withSteps(`${ONE}\n  - id: b\n    agent: x\n    after: { some: [a] }`),
    7,
    /must be a list of steps, or a map with the one key any/,
  ],
  [
    'a circle',
    withSteps(
      '  - { id: c, agent: x, after: [a] }\n  - { id: b, agent: x, after: [c] }\n  - { id: a, agent: x, after: [b] }',
    ),
    6,
    /steps\[2\]\.after: steps wait for each other in a circle: a waits for b, b waits for c, c waits for a/,
  ],
  [
    'a circle of any',
    withSteps('  - { id: a, agent: x, after: { any: [b.failed] } }\n  - { id: b, agent: x, after: [a] }'),
    4,
    /a waits for b, b waits for a/,
  ],
  [
    'too few tries',
    withSteps(`${ONE}\n  - { id: b, agent: x }`, 'limits: { tasks: 1 }'),
    6,
    /limits\.tasks: is 1, and there are 2 steps/,
  ],
  ['too many tries', withSteps(ONE, 'limits: { tasks: 601 }'), 5, /limits\.tasks: must be at most 600, and is 601/],
  [
    'a span without a unit',
    withSteps(ONE, 'limits: { time: 7200 }'),
    5,
    /limits\.time: must be a whole number above 0 with a unit/,
  ],
  ['a time that is too long', withSteps(ONE, 'limits: { time: 31d }'), 5, /limits\.time: is 744h, at most 720h/],
  ['money that is none', withSteps(ONE, 'limits: { usd: much }'), 5, /limits\.usd: must be an amount in US dollars/],
  ['a try that is too long', withSteps('  - id: a\n    agent: x\n    timeout: 25h'), 6, /timeout: is 25h, at most 24h/],
  [
    'a delay that is too short',
    withSteps('  - id: a\n    agent: x\n    retry: { max: 1, delay: 100ms }'),
    6,
    /retry\.delay: must be at least 250ms/,
  ],
  [
    'retries without a number',
    withSteps('  - id: a\n    agent: x\n    retry: { delay: 1s }'),
    6,
    /retry\.max: is missing/,
  ],
  ['a key without overlap', withSteps(ONE, 'key: a'), 5, /key: counts only with overlap/],
  ['another overlap', withSteps(ONE, 'overlap: skip'), 5, /overlap: must be one of queue, refuse, replace/],
  [
    'a rerun of what reaches outside',
    withSteps('  - id: a\n    agent: x\n    tier: external\n    onUnknown: rerun'),
    7,
    /onUnknown: is rerun, and the tier is external: .* say ask or fail/,
  ],
  [
    'a yes by silence',
    withSteps('  - id: a\n    agent: x\n    checkpoint: { ask: ok, onTimeout: approve }'),
    6,
    /checkpoint\.onTimeout: must be one of abort, notify, defer/,
  ],
  [
    'a tier that lowers',
    withSteps('  - id: a\n    kind: test\n    agent: x\n    run: [npm]\n    tier: read'),
    8,
    /tier: is read, and a step of kind test does, which is execute: a tier is never lowered/,
  ],
  [
    'a parameter of another type',
    `definition: one\ndescription: d\nparams:\n  a: { type: number, default: two }\nsteps:\n${ONE}`,
    4,
    /params\.a\.default: must be of type number, and is text/,
  ],
  [
    'a default that is no choice',
    `definition: one\ndescription: d\nparams:\n  a: { type: text, default: mian, choices: [main] }\nsteps:\n${ONE}`,
    4,
    /must be one of main; did you mean main\?/,
  ],
  [
    'choices of a list',
    `definition: one\ndescription: d\nparams:\n  a: { type: list, choices: [main] }\nsteps:\n${ONE}`,
    4,
    /choices are of a text or a number/,
  ],
  [
    'another type',
    `definition: one\ndescription: d\nparams:\n  a: { type: string }\nsteps:\n${ONE}`,
    4,
    /params\.a\.type: must be one of text, number, boolean, list, map/,
  ],
  [
    'a name of a parameter',
    `definition: one\ndescription: d\nparams:\n  1a: { type: text }\nsteps:\n${ONE}`,
    4,
    /a parameter begins with a letter/,
  ],
  [
    'a template that reads its own step',
    withSteps('  - id: a\n    agent: x\n    params:\n      b: "{{ steps.a.value }}"'),
    7,
    /params\.b: \{\{ steps\.a\.value \}\}: a cannot read itself/,
  ],
  [
    'a template that reads a sister',
    withSteps(`${ONE}\n  - id: b\n    agent: x\n    params: { c: "{{ steps.a.value }}" }`),
    7,
    /b does not wait for a; add a to its after/,
  ],
  [
    'a template of a step that is not there',
    withSteps(
      `  - { id: edit, agent: x }\n  - id: b\n    agent: x\n    after: [edit]\n    params: { c: "{{ steps.edti.value }}" }`,
    ),
    8,
    /no step is named edti; did you mean edit\?/,
  ],
  [
    'a template of a parameter that is not there',
    `definition: one\ndescription: d\nparams:\n  goal: { type: text }\nsteps:\n  - id: a\n    agent: x\n    params: { c: [1, { d: "do {{ params.gaol }}" }] }`,
    8,
    /params\.c\[1\]\.d: \{\{ params\.gaol \}\}: there is no parameter gaol; did you mean goal\?/,
  ],
  [
    'the value of a step that must have failed',
    withSteps(`${ONE}\n  - id: b\n    agent: x\n    after: [a.failed]\n    params: { c: "{{ steps.a.value }}" }`),
    8,
    /b runs only if a failed, and then it has no value; read steps\.a\.error/,
  ],
  [
    'code in a template',
    withSteps('  - id: a\n    agent: x\n    params: { c: "{{ 1 + 1 }}" }'),
    6,
    /\{\{ 1 \+ 1 \}\} is no path/,
  ],
  [
    'a template that is not closed',
    withSteps('  - id: a\n    agent: x\n    params: { c: "{{ params.b" }'),
    6,
    /is not closed/,
  ],
  [
    'another root',
    withSteps('  - id: a\n    agent: x\n    params: { c: "{{ step.a.value }}" }'),
    6,
    /begins with step; a path begins with params or steps; did you mean steps\?/,
  ],
  [
    'another word of a step',
    withSteps(`${ONE}\n  - id: b\n    agent: x\n    after: [a]\n    params: { c: "{{ steps.a.vlaue }}" }`),
    8,
    /a step has value, state and error, and no vlaue; did you mean value\?/,
  ],
  [
    'a template in a key',
    withSteps('  - id: a\n    agent: x\n    params: { "{{ params.b }}": c }'),
    6,
    /a template cannot stand in a key/,
  ],
  [
    'error outside of a repair',
    withSteps('  - id: a\n    agent: x\n    params: { c: "{{ error }}" }'),
    6,
    /is there only in retry\.repair\.params/,
  ],
  [
    'a step in the key',
    withSteps(ONE, 'overlap: queue\nkey: "{{ steps.a.value }}"'),
    6,
    /key: .* here only parameters can be read/,
  ],
  [
    'a template within a word',
    withSteps('  - id: a\n    kind: execute\n    agent: x\n    run: [npm, "--x={{ params.b }}"]'),
    7,
    /run\[1\]: a template must be one whole word of the command/,
  ],
  [
    'a template as the program',
    withSteps('  - id: a\n    kind: execute\n    agent: x\n    run: ["{{ params.b }}"]'),
    7,
    /run\[0\]: the first word of a command is a program/,
  ],
  ['an output of nobody', withSteps(ONE, 'output: { b: "{{ steps.b.value }}" }'), 5, /output\.b: .*no step is named b/],
]

describe('a definition is refused with its line and its word (S3-11, S3-52): ', () => {
  it.each(FAULTS)('%s', (_, text, line, message) => {
    const found = faultsOf(text)
    expect(
      found.filter((each) => message.test(each)),
      found.join('\n'),
    ).toHaveLength(1)
    expect(found.find((each) => message.test(each))).toMatch(new RegExp(`^line ${line}, `))
  })

  it('one that is too large', () => {
    expect(faultsOf(`${EXAMPLE}# ${'x'.repeat(256 * 1024)}`)).toEqual(['line 1, column 1: it is larger than 256 KiB'])
  })

  it('a key that the programming language has, wherever it stands', () => {
    const text = `definition: one\ndescription: d\nparams:\n  __proto__: { type: text }\nsteps:\n  - id: a\n    agent: x\n    params:\n      b: [{ __proto__: c }]`
    expect(faultsOf(text)).toEqual([
      'line 4, column 3: params.__proto__: is a word of the programming language',
      'line 9, column 13: steps[0].params.b[0].__proto__: is a word of the programming language',
    ])
  })

  it('by what the cards say: an agent that is not there, a tier that is too low, needs that nobody has', () => {
    const cards = [card('coder', { may: { egress: ['forge:write'] }, capabilities: ['code'] })]
    const refused = (step: string) => faultsOf(withSteps(`  - id: a\n    ${step}`), cards).join()
    expect(refused('agent: codr')).toMatch(
      /^line 5, column 12: steps\[0\]\.agent: no agent is named codr; did you mean coder\?/,
    )
    expect(refused('agent: coder\n    tier: write')).toMatch(
      /^line 6, .*tier: is write, and the card of coder asks to reach outside \(may\.egress: forge:write\), which is external/,
    )
    expect(refused('needs: [code, paint]')).toMatch(
      /^line 5, .*no agent can do all of it: code, paint; ifMissing: noop/,
    )
    expect(refused('needs: [code, paint]\n    ifMissing: noop')).toBe('')
    expect(refused('agent: coder\n    onUnknown: rerun')).toMatch(
      /^line 6, .*onUnknown: is rerun, and the tier is external/,
    )
  })

  it('and whatever is in the text, judging it ends without a fault of ours', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), fc.nat(EXAMPLE.length), (text, at) => {
        const { definition, faults } = judgeDefinition(EXAMPLE.slice(0, at) + text + EXAMPLE.slice(at))
        expect(definition === undefined).toBe(faults.length > 0)
      }),
      { numRuns: 60 },
    )
  })
})

describe('the parameters of a run (S3-51)', () => {
  const { definition } = readDefinition(EXAMPLE)
  it('are what was given, and the defaults', () => {
    expect(paramsOf(definition, { goal: 'x' })).toEqual({ goal: 'x', base: 'main' })
    expect(paramsOf(definition, { goal: 'x', base: 'y' })).toEqual({ goal: 'x', base: 'y' })
  })
  it.each([
    [{}, /the parameter goal is missing: --param goal=VALUE/],
    [{ goal: 1 }, /goal must be of type text, and is number/],
    [{ goal: null }, /goal must be of type text, and is nothing/],
    [{ goal: 'x', bsae: 'y' }, /there is no parameter bsae; did you mean base\?/],
    [{ goal: 'x', constructor: 'y' }, /there is no parameter constructor/],
  ])('%j is refused by name', (given, message) => {
    expect(() => paramsOf(definition, given)).toThrow(message)
  })
})
