/**
 * README's "Run a model agent", line by line as it stands there, typed at a terminal in a home below `~`: a real hub, a real watchdog, the real
 * engine. Only the address of the upstream is another: a model server of this test, which is `local` because it is on this machine.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseDocument } from 'yaml'
import { assembleImages } from '../../scripts/images/assembly.ts'
import { type ContainerHome, openContainerHome, until } from '../support/container-home.ts'
import { freshKey } from '../support/models/agents-home.ts'
import { type ModelServer, startModelServer } from '../support/models/model-server.ts'
import { load } from '../support/spy-image.ts'
import { typeLine } from '../support/typed-line.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const KEY = freshKey()
const MODEL = 'claude-sonnet-4-5'
const TABLE = '| file | lines |\n| --- | --- |\n| a.txt | 2 |\n'

/** What a section of README types, without the comments of its lines. */
function linesOf(section: string): string[] {
  const text = readFileSync(join(root, 'README.md'), 'utf8').split(`\n## ${section}\n`)[1]?.split('\n## ')[0] ?? ''
  return [...text.matchAll(/^\$ (hub .*?)(?:\s{2,}#.*)?$/gm)].map(([, line = '']) => line)
}

let person = ''
let home: ContainerHome
let models: ModelServer
beforeAll(async () => {
  person = mkdtempSync(join(tmpdir(), 'me-'))
  for (const folder of ['bin', 'my-project', '.hub']) mkdirSync(join(person, folder), { mode: 0o700 })
  writeFileSync(join(person, 'my-project', 'a.txt'), 'one\ntwo\n')
  symlinkSync(join(root, 'scripts/hub'), join(person, 'bin', 'hub'))
  models = await startModelServer(({ turn }) => {
    if (turn === 0) return { calls: [{ name: 'read_file', input: { path: 'a.txt' } }] }
    if (turn === 1) return { calls: [{ name: 'write_artifact', input: { name: 'table.md', text: TABLE } }] }
    return { text: 'The table is in table.md.' }
  })
  // What README's first command brings: the engine is proven with an image, of an agent that has no part in this.
  const options = { root, cacheDir: `${root}.cache/images`, folders: ['images/assistant'], prefix: 'hub-test/' }
  await load(assembleImages(options))
  const run = ['node', '/app/images/assistant/main.js']
  const other = { name: 'other', description: 'not asked here', image: 'hub-test/assistant', run }
  home = await openContainerHome({ cards: [other], at: join(person, '.hub') })
})
afterAll(async () => {
  await home?.close()
  await models?.[Symbol.asyncDispose]()
  rmSync(person, { recursive: true, force: true })
})

const type = (line: string, answers: Record<string, string> = {}) => {
  const { HUB_HOME: _, FORCE_COLOR: __, ...env } = process.env
  const PATH = `${join(person, 'bin')}:${dirname(process.execPath)}:/usr/bin:/bin`
  return typeLine(line, { env: { ...env, HOME: person, PATH }, cwd: person, answers })
}
/** What a person answers, and what each line must have brought. */
const ANSWERS: Readonly<Record<string, Record<string, string>>> = {
  'hub upstream add': { 'Its name here': '', 'Its address': '', 'The key of anthropic': KEY, 'Write this?': 'y' },
  'hub agent allow': { '[y/N]': 'y' },
}
const SHOWN: Readonly<Record<string, RegExp>> = {
  'hub upstream add': /anthropic: \{ kind: anthropic, secret: anthropic-key \}/,
  'hub upstream test': /200[\s\S]*taken|taken[\s\S]*200/,
  'hub agent build': /hub\/assistant/,
  'hub agent allow': /anthropic/,
  'hub submit assistant': /succeeded[\s\S]*The table is in table\.md\./,
  'hub budget show': /USD/,
}

/** The one change: where the upstream is. The hub takes it over by itself. */
async function leadToTheModelServer(): Promise<void> {
  const file = join(home.home, 'hub.yaml')
  const document = parseDocument(readFileSync(file, 'utf8'))
  document.setIn(['upstreams', 'anthropic', 'url'], models.url)
  document.setIn(['upstreams', 'anthropic', 'local'], true)
  writeFileSync(file, document.toString())
  const url = async () =>
    (await home.json<{ upstreams: { url: string }[] }>('upstream', 'list')).upstreams.map((each) => each.url)
  await until('the hub knows the other address', url, ([first]) => first === models.url)
}

test('README, "Run a model agent": its own lines lead from nothing to a table and what it cost (S1-53)', async () => {
  const lines = linesOf('Run a model agent')
  expect(lines.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual(Object.keys(SHOWN))
  for (const [n, verb] of Object.keys(SHOWN).entries()) {
    const line = lines[n] ?? ''
    const { code, shown } = await type(line, ANSWERS[verb])
    expect([line, code, shown]).toEqual([line, 0, expect.stringMatching(SHOWN[verb] as RegExp)])
    expect(shown).not.toContain(KEY)
    if (verb === 'hub upstream add') await leadToTheModelServer()
  }
  expect(readFileSync(join(person, 'out', 'table.md'), 'utf8')).toBe(TABLE)
  // 3 dollars a million in, 15 out.
  const told = models.told.get(MODEL)
  const spent = (told?.input ?? 0) * 3 + (told?.output ?? 0) * 15
  const { accounts } = await home.json<{ accounts: { scope: string; spentUsd: number }[] }>('budget', 'show')
  expect(accounts.find(({ scope }) => scope === 'day')).toMatchObject({ spentUsd: spent })
  expect(spent).toBeGreaterThan(0)
  expect(models.came.filter(({ ask }) => ask !== undefined).map(({ headers }) => headers['x-api-key'])).toEqual([
    KEY,
    KEY,
    KEY,
  ])
})
