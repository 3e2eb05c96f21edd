/** `hub agent new --lang RECIPE`: what a recipe makes, what it writes after one yes, and what it refuses before anything is written. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { planGrant } from '../../../../../hub/client/cli/agents/grants.ts'
import { withNight } from '../../../../../hub/client/cli/agents/recipes/plan.ts'
import { NIGHT } from '../../../../../hub/client/cli/agents/recipes/recipe.ts'
import { RECIPES } from '../../../../../hub/client/cli/agents/recipes.ts'
import { configOf } from '../../../../../hub/config.ts'
import { limitsOfCard } from '../../../../../hub/config-limits.ts'
import { floorNotes, isBelowFloor, packagesOf } from '../../../../../hub/protocol/coding-clis.ts'
import { imageRecipeShape } from '../../../../../hub/protocol/image-recipe.ts'
import { readCard } from '../../../../../hub/work/card-reading.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { refusal, writeRules } from '../../../../support/fake-hub.ts'

const root = fileURLToPath(new URL('../../../../..', import.meta.url))
const MIB = 1024 ** 2
const NAMES = Object.keys(RECIPES)
const UPSTREAMS = Object.fromEntries(NAMES.map((lang) => [lang, RECIPES[lang]?.kind ?? '']))
const CONFIG =
  '# mine\nupstreams:\n  openai: { kind: openai, secret: k } # at work\n  google: { kind: google, secret: k }\n  anthropic: { kind: anthropic, secret: k }\n'

const at = commandHome(({ home, hub }) => {
  writeFileSync(join(home, 'hub.yaml'), CONFIG)
  writeRules(home)
  hub.on('GET /v1/policy', () => ({ body: {} }))
  hub.on('POST /v1/policy/reload', () => ({ body: {} }))
  const upstreams = [...new Set(Object.values(UPSTREAMS))].map((kind) => ({ name: kind, kind }))
  hub.on('GET /v1/upstreams', () => ({ body: { day: '2026-12-01', upstreams } }))
  hub.on('GET /v1/upstreams/:name/price', () => ({ body: { price: {} } }))
})
const config = () => readFileSync(join(at.home, 'hub.yaml'), 'utf8')
const data = () => readFileSync(join(at.home, 'policy', 'data.json'), 'utf8')
const make = (lang: string, ...more: string[]) => at.run(['agent', 'new', 'coder', '--lang', lang, ...more])
/** Nothing was written anywhere. */
const expectNothing = () => {
  expect([config(), data(), existsSync(join(at.home, 'coder'))]).toEqual([CONFIG, '{ "agents": {} }\n', false])
  expect(at.posted()).toEqual([])
}

describe.each(NAMES)('the recipe %s', (lang) => {
  const folder = () => join(at.home, 'coder')
  const recipe = RECIPES[lang]
  const isForRepositories = recipe?.works === 'repository'

  test('makes a folder that hub and assembly take, and after one yes limits, budget and row of a night', async () => {
    const { code, stderr, stdout } = await make(lang, '--yes')
    expect([code, stderr]).toEqual([0, expect.stringContaining(`memory: ${recipe?.limits.memory}`)])
    expect(stdout).toContain('next: `hub agent build coder`')
    const { card } = readCard(join(folder(), 'agent.yaml'))
    const upstream = UPSTREAMS[lang]
    expect(card).toMatchObject({ name: 'coder', image: 'hub/coder', may: { egress: [upstream] }, repeatable: false })
    if (isForRepositories) expect(card.run.join(' ')).toContain('{param:task}')
    // What hub.yaml now allows is what the card asks for, and nobody else got more.
    const now = configOf(config(), 'hub.yaml')
    const night = {
      ttlMs: 8 * 3_600_000,
      ...(isForRepositories
        ? { memoryBytes: 4096 * MIB, workspaceBytes: 2048 * MIB, openFiles: 2048, pids: 512 }
        : { memoryBytes: 512 * MIB }),
    }
    expect(limitsOfCard(now, card)).toMatchObject(night)
    expect(() => limitsOfCard(now, { ...card, name: 'other' })).toThrow('hub.yaml allows')
    expect(config()).toContain('# at work')
    const row = JSON.parse(data()).agents.coder
    expect(row).toMatchObject({ egress: [upstream], submit: true, ttlMs: night.ttlMs, delegate: [] })
    expect(row).not.toHaveProperty('relax')
    expect(row.budget).toMatchObject({ call: { tokens: 400_000 }, attempt: { calls: 2000 }, tree: { usd: '10 USD' } })
    expect(at.posted()).toEqual(['/v1/policy/reload'])
    // `hub agent allow` finds nothing that is missing.
    expect(planGrant(card, row).changed).toBe(false)
    const image = imageRecipeShape.parse(parse(readFileSync(join(folder(), 'image.yaml'), 'utf8')))
    const cli = recipe?.cli
    expect(image.base).toBe(isForRepositories ? 'coding' : 'python')
    expect(image.packages).toEqual(cli === undefined ? undefined : { [cli.registry]: packagesOf(cli) })
    for (const file of readdirSync(folder()))
      expect(readFileSync(join(folder(), file), 'utf8')).not.toMatch(/undefined|__/)
    // Each command that its page names is there.
    const named = readFileSync(join(folder(), 'README.md'), 'utf8').matchAll(/^ {4}(hub (?:submit|[a-z]+ [a-z]+))/gm)
    for (const [, command = ''] of named)
      expect((await at.run([...command.split(' ').slice(1), '--help'])).stdout).toMatch(`Usage: ${command} `)
  })

  test('each model that it calls has a shipped price, also those that it calls beside its own', () => {
    const { models } = parse(readFileSync(join(root, 'policies', 'prices.yaml'), 'utf8')) as { models: object }
    const { model = '', helpers = [] } = RECIPES[lang] ?? {}
    expect(Object.keys(models)).toEqual(expect.arrayContaining([model, ...helpers]))
  })
})

/** The words that go on with a conversation, as docs/agents.md has them. */
const WORDS: Readonly<Record<string, string>> = {
  codex: ' exec resume --last --json ',
  gemini: ' --resume=latest --prompt=',
  'claude-code': ' --continue -- ',
}
const GOES_ON = 'You were interrupted, and your files are as at first. Go on with your task.'

describe('a conversation that goes on (--resume, D-R3)', () => {
  const cardText = () => readFileSync(join(at.home, 'coder', 'agent.yaml'), 'utf8')

  test.each(Object.keys(WORDS))(
    '%s: the card says its words, the row grants it, and both are as before without the flag',
    async (lang) => {
      const before = await make(lang, '--yes')
      const plain = { text: cardText(), row: JSON.parse(data()).agents.coder }
      expect([before.code, before.stderr]).toEqual([0, expect.not.stringContaining('transcripts')])
      for (const word of ['transcripts', 'resume', 'repeatable', '{earlier}']) expect(plain.text).not.toContain(word)
      rmSync(join(at.home, 'coder'), { recursive: true })
      writeFileSync(join(at.home, 'policy', 'data.json'), '{ "agents": {} }\n')
      const { code, stderr } = await make(lang, '--resume', '--yes')
      expect([code, stderr]).toEqual([0, expect.stringContaining(`unmasked in ${join(at.home, 'transcripts')} until`)])
      const { card } = readCard(join(at.home, 'coder', 'agent.yaml'))
      const words = card.resume ?? []
      expect(card).toMatchObject({ transcripts: true, repeatable: true, driver: 'stream-json' })
      expect(words.join(' ')).toContain(WORDS[lang])
      expect(words.at(-1)).toMatch(new RegExp(`(?:^|=)${GOES_ON}$`))
      expect(words.join(' ')).not.toContain('{param:task}')
      expect(card.run.join(' ')).toContain('{param:task}{earlier}')
      // All else of `resume` is as in `run`, and all else of the card is as without the flag.
      expect(
        card.run.filter((word) => !words.includes(word) && !word.includes('{param:task}') && word !== '--'),
      ).toEqual([])
      const { resume: _, transcripts: __, ...rest } = parse(cardText())
      const run = card.run.map((word) => word.replace('{earlier}', ''))
      expect({ ...rest, run, repeatable: undefined }).toEqual({ ...parse(plain.text), repeatable: undefined })
      const row = JSON.parse(data()).agents.coder
      expect(row).toEqual({ ...plain.row, transcripts: true })
      expect(planGrant(card, row).changed).toBe(false)
      expect(readFileSync(join(at.home, 'coder', 'README.md'), 'utf8')).toContain('unmasked in the home of the hub')
    },
  )

  test('before the yes it says where the conversations will lie, and that a task begins again by itself', async () => {
    const { code, stderr } = await make('codex', '--resume')
    for (const text of [
      'for the next start of the same task and nobody else',
      '"transcripts": true',
      'repeatable: true starts a task again',
    ])
      expect(stderr).toContain(text)
    expect(code).toBe(2)
    expectNothing()
  })

  test.each(NAMES.filter((lang) => WORDS[lang] === undefined))('%s is refused by name', async (lang) => {
    const { code, stderr } = await make(lang, '--resume', '--yes')
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(`--resume is not for ${lang}: the hub keeps no conversation of`),
    ])
    expect(stderr).toContain('choose codex, gemini, claude-code')
    expectNothing()
  })
})

describe('before anything is written', () => {
  test('without a yes all of it is shown and nothing is done', async () => {
    const { code, stderr } = await make('codex')
    for (const text of ['agent.yaml', 'hub.yaml', '    coder: { ttl: 8h', 'data.json', '"tree":{'])
      expect(stderr).toContain(text)
    expect([code, stderr]).toEqual([2, expect.stringContaining('add --yes')])
    expectNothing()
  })

  test('a model without a price at its upstream is named, helpers too, with the command that mends it (S2-31)', async () => {
    at.hub.on('GET /v1/upstreams/:name/price', ({ query }) =>
      query.get('model') === 'gemini-2.5-pro' ? { body: { price: {} } } : refusal('model_unknown', 'no price'),
    )
    const one = await make('gemini', '--yes')
    expect([one.code, one.stderr]).toEqual([
      3,
      expect.stringContaining('gemini-2.5-flash has no price at the upstream google'),
    ])
    expect(one.stderr).toContain('hub upstream price google gemini-2.5-flash --input')
    const two = await make('gemini', '--model', 'mine', '--yes')
    expect(two.stderr).toContain('mine, gemini-2.5-flash have no price')
    expectNothing()
  })

  test.each([
    ['no upstream of its kind', [], [], 'needs an upstream of kind openai, and hub.yaml declares none', 3],
    [
      'several',
      [
        ['a', 'openai'],
        ['b', 'openai'],
      ],
      [],
      'several upstreams of kind openai: a, b',
      2,
    ],
    [
      'one of another kind',
      [['a', 'google']],
      ['--upstream', 'a'],
      'a is of kind google, and Codex speaks to kind openai',
      2,
    ],
    ['one that is not there', [['a', 'openai']], ['--upstream', 'b'], 'declares no b', 3],
  ] as [string, [string, string][], string[], string, number][])(
    'the upstream: %s',
    async (_, declared, words, text, code) => {
      const upstreams = declared.map(([name, kind]) => ({ name, kind }))
      at.hub.on('GET /v1/upstreams', () => ({ body: { day: '2026-12-01', upstreams } }))
      const said = await make('codex', '--yes', ...words)
      expect([said.code, said.stderr]).toEqual([code, expect.stringContaining(text)])
      expectNothing()
    },
  )

  test('the one that is named is taken, and the model that is named', async () => {
    const upstreams = ['a', 'b'].map((name) => ({ name, kind: 'openai' }))
    at.hub.on('GET /v1/upstreams', () => ({ body: { day: '2026-12-01', upstreams } }))
    expect((await make('codex', '--upstream', 'b', '--model', 'gpt-5.6-luna', '--yes')).code).toBe(0)
    const { run, defaults } = readCard(join(at.home, 'coder', 'agent.yaml')).card
    expect([run.join(' '), defaults]).toEqual([expect.stringContaining('--model={model} '), { model: 'gpt-5.6-luna' }])
    expect(run.join(' ')).toContain('/up/b/v1')
  })

  test('a word that is no recipe is refused with those that there are', async () => {
    const { code, stderr } = await make('cursor', '--yes')
    expect([code, stderr]).toEqual([2, expect.stringContaining('--lang must be one of ts, python')])
    for (const lang of NAMES) expect(stderr).toContain(lang)
    expectNothing()
  })

  test('words of recipes are refused for a template', async () => {
    const { code, stderr } = await make('ts', '--model', 'x')
    expect([code, stderr]).toEqual([2, expect.stringContaining('--model is only for recipes: codex, gemini')])
    expect((await make('ts', '--resume')).stderr).toContain('--resume is only for recipes')
    expectNothing()
  })
})

test('what the hub refuses is taken back: folder, hub.yaml and rules are as before', async () => {
  at.hub.on('POST /v1/policy/reload', () => refusal('policy_unavailable', 'sample "x" must be denied'))
  const { code, stderr } = await make('codex', '--yes')
  expect([code, stderr]).toEqual([4, expect.stringContaining('sample "x" must be denied')])
  expect([config(), data(), existsSync(join(at.home, 'coder'))]).toEqual([CONFIG, '{ "agents": {} }\n', false])
})

test('limits that allow more already, and a budget that somebody wrote, stay', async () => {
  const own = `${CONFIG}limits:\n  agents:\n    coder: { memory: 6GiB, pids: 64 } # mine too\n`
  const { after, limits } = withNight(own, 'coder', NIGHT)
  expect(limits).toMatchObject({ memory: '6GiB', pids: 512, ttl: '8h' })
  expect(withNight(after, 'coder', NIGHT).after).toBe(after)
  writeFileSync(
    join(at.home, 'policy', 'data.json'),
    '{ "agents": { "coder": { "budget": { "tree": { "usd": "1 USD" } } } } }\n',
  )
  await make('codex', '--yes')
  expect(JSON.parse(data()).agents.coder).toMatchObject({ budget: { tree: { usd: '1 USD' } }, egress: ['openai'] })
})

test('a version below the floor of its CLI is named, by its numbers; what is no version counts as older (S4-34)', () => {
  const floor = { floor: '0.61.0' }
  for (const version of ['0.61.0', '0.61.1', '0.100.0', '1.0.0', '0.61.0-linux-x64'])
    expect(isBelowFloor(version, floor)).toBe(false)
  for (const version of ['0.60.9', '0.9.99', '0', '', 'latest']) expect(isBelowFloor(version, floor)).toBe(true)
  for (const cli of Object.values(RECIPES).flatMap((recipe) => recipe.cli ?? [])) {
    const built = (version: string) =>
      `${cli.registry}:${cli.package}${cli.registry === 'npm' ? '@' : '=='}${version} sha512-x`
    expect(floorNotes([built(cli.version), built(cli.floor), 'npm:ws@0.0.1 sha512-x', 'odd'])).toEqual([])
    expect(floorNotes([built('0.0.1')])).toEqual([expect.stringContaining(`0.0.1 is older than ${cli.floor}`)])
  }
})
