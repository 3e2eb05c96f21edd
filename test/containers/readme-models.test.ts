/**
 * README's "A night's work" and "Run a model agent", line by line as they stand there, typed at a terminal in a home below `~`: a real hub, a real
 * watchdog, the real engine, the real Codex; and Gemini CLI in the same home. Only the address of the upstreams is another: a model server of
 * this test, which is `local` because it is on this machine. npm installs both CLIs from what `scripts/cli` has fetched.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseDocument } from 'yaml'
import { imageIdOf, nameImage, removeImage } from '../../hub/client/cli/engine.ts'
import { pathsOf } from '../../hub/client/cli/home.ts'
import { CODING_CLIS, isBelowFloor } from '../../hub/protocol/coding-clis.ts'
import { assembleImages } from '../../scripts/images/assembly.ts'
import { offlineEnv } from '../support/cli-images.ts'
import { type ContainerHome, openContainerHome, type Task, until } from '../support/container-home.ts'
import { runHub } from '../support/fake-hub.ts'
import { freshKey } from '../support/models/agents-home.ts'
import { type Came, type ModelServer, startModelServer } from '../support/models/model-server.ts'
import type { Ask, Turn } from '../support/models/turn.ts'
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

/** A repository whose tests fail until two of its files are mended. */
const PROJECT = {
  'a.txt': 'one\ntwo\n',
  'package.json': '{ "name": "sums", "type": "module", "scripts": { "test": "node --test" } }\n',
  'sum.js': 'export const sum = (list) => list.reduce((all, each) => all - each, 0)\n',
  'mean.js': "import { sum } from './sum.js'\n\nexport const mean = (list) => sum(list) / (list.length + 1)\n",
  'sums.test.js': `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mean } from './mean.js'
import { sum } from './sum.js'

test('adds', () => assert.equal(sum([1, 2]), 3))
test('finds the middle', () => assert.equal(mean([1, 3]), 2))
`,
}
const call = (name: string, input: Record<string, unknown>): Turn => ({ calls: [{ name, input }] })

function gitIn(dir: string, ...words: string[]): string {
  const env = { PATH: process.env.PATH, HOME: '/nonexistent', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' }
  return execFileSync('git', words, { cwd: dir, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
}
function makeProject(dir: string): void {
  mkdirSync(dir)
  for (const [name, text] of Object.entries(PROJECT)) writeFileSync(join(dir, name), text)
  gitIn(dir, 'init', '--quiet', '--initial-branch=main')
  for (const [key, value] of Object.entries({ 'user.name': 'A Person', 'user.email': 'person@example.org' }))
    gitIn(dir, 'config', key, value)
  gitIn(dir, 'add', '--all')
  gitIn(dir, 'commit', '--quiet', '-m', 'As it is')
}
/** Whether the repository's tests pass, in a fresh clone of this branch. */
function passes(dir: string, branch: string): boolean {
  const clone = mkdtempSync(join(person, 'clone-'))
  gitIn(person, 'clone', '--quiet', '--branch', branch, dir, clone)
  const { status } = spawnSync(process.execPath, ['--test'], { cwd: clone, env: { PATH: process.env.PATH } })
  return status === 0
}

let person = ''
let home: ContainerHome
let models: ModelServer
/** What these names mean on this engine before; they mean it again afterwards. */
const standing = new Map<string, string | undefined>()
beforeAll(async () => {
  person = mkdtempSync(join(tmpdir(), 'me-'))
  for (const folder of ['bin', '.hub']) mkdirSync(join(person, folder), { mode: 0o700 })
  for (const name of ['my-project', 'other-project']) makeProject(join(person, name))
  symlinkSync(join(root, 'scripts/hub'), join(person, 'bin', 'hub'))
  models = await startModelServer(({ turn }) => {
    if (turn === 0) return call('read_file', { path: 'a.txt' })
    if (turn === 1) return call('write_artifact', { name: 'table.md', text: TABLE })
    return { text: 'The table is in table.md.' }
  })
  // What README's first command brings: the engine is proven with an image, of an agent that has no part in this.
  const options = { root, cacheDir: `${root}.cache/images`, folders: ['images/assistant'], prefix: 'hub-test/' }
  await load(assembleImages(options))
  const run = ['node', '/app/images/assistant/main.js']
  const other = { name: 'other', description: 'not asked here', image: 'hub-test/assistant', run }
  home = await openContainerHome({ cards: [other], at: join(person, '.hub') })
  for (const name of ['hub/coder', 'hub/gem']) standing.set(name, await imageIdOf(pathsOf(home.home), name))
})
afterAll(async () => {
  for (const [name, id] of standing) {
    await removeImage(pathsOf(home.home), name)
    if (id !== undefined) await nameImage(pathsOf(home.home), id, name)
  }
  await home?.close()
  await models?.[Symbol.asyncDispose]()
  rmSync(person, { recursive: true, force: true })
})

const type = (line: string, answers: Record<string, string> = {}) => {
  const { HUB_HOME: _, FORCE_COLOR: __, ...env } = process.env
  const PATH = `${join(person, 'bin')}:${dirname(process.execPath)}:/usr/bin:/bin`
  return typeLine(line, { env: { ...env, ...offlineEnv('codex', 'gemini'), HOME: person, PATH }, cwd: person, answers })
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
async function leadToTheModelServer(name: string): Promise<void> {
  const file = join(home.home, 'hub.yaml')
  const document = parseDocument(readFileSync(file, 'utf8'))
  document.setIn(['upstreams', name, 'url'], models.url)
  document.setIn(['upstreams', name, 'local'], true)
  writeFileSync(file, document.toString())
  const list = async () =>
    (await home.json<{ upstreams: { name: string; url: string }[] }>('upstream', 'list')).upstreams
  const isThere = (each: { name: string; url: string }) => each.name === name && each.url === models.url
  await until('the hub knows the other address', list, (upstreams) => upstreams.some(isThere))
}

test('README, "Run a model agent": its own lines lead from nothing to a table and what it cost (S1-53)', async () => {
  const lines = linesOf('Run a model agent')
  expect(lines.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual(Object.keys(SHOWN))
  for (const [n, verb] of Object.keys(SHOWN).entries()) {
    const line = lines[n] ?? ''
    const { code, shown } = await type(line, ANSWERS[verb])
    expect([line, code, shown]).toEqual([line, 0, expect.stringMatching(SHOWN[verb] as RegExp)])
    expect(shown).not.toContain(KEY)
    if (verb === 'hub upstream add') await leadToTheModelServer('anthropic')
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

/** What the hub refused outward since it began, in its own words. */
const refusedSoFar = async () =>
  (await home.json<{ reason: string }[]>('audit', 'list', '--action', 'egress.requested', '--outcome', 'refused')).map(
    ({ reason }) => reason,
  )
/** What of the requests since asked a model, and what the hub has refused since. */
async function outwardSince({ came, refused }: { came: number; refused: number }) {
  const all = models.came.slice(came)
  const reasons = await refusedSoFar()
  const asked = all.filter(({ ask }) => ask !== undefined)
  return { all, asked, refused: reasons.slice(0, reasons.length - refused) }
}
const soFar = async () => ({ came: models.came.length, refused: (await refusedSoFar()).length })
/** The version that a CLI says of itself, where it asks its model. */
const versionIn = ({ headers }: Came): string => /\/(\d[\w.]*)/.exec(headers['user-agent'] ?? '')?.[1] ?? ''
const kindsOf = (came: readonly Came[], key: string) => [
  ...new Set(came.map((each) => `${each.url} ${each.headers[key]}`)),
]

const newestTask = async () => (await home.json<Task[]>('task', 'list'))[0] as Task
const ended = (id: string) =>
  until(
    'the task has ended',
    async () => (await home.shown(id)).task,
    ({ state }) => !['queued', 'running'].includes(state),
  )
async function run(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await runHub(home.home, words, { cwd: person, env: offlineEnv('codex', 'gemini') })
  if (code !== 0) throw new Error(`hub ${words.join(' ')}: ${stdout}${stderr}`)
  return stdout
}
/** Grants a line to some host: whatever the CLI asks for elsewhere then comes to the gateway as CONNECT, and is counted there. */
async function withLine(agent: string): Promise<void> {
  const file = join(home.home, 'agents', `${agent}.yaml`)
  const card = parseDocument(readFileSync(file, 'utf8'))
  card.addIn(['may', 'egress'], 'watched.example.org:443')
  writeFileSync(file, card.toString())
  await run('agent', 'reload')
  await run('agent', 'allow', agent, '--yes')
}

let seen: string[] = []
/** What Codex is told to do: it reads both files and sees the tests fail, mends each, and sees the tests pass. */
function codexScript({ turn, results }: Ask): Turn {
  seen.push(...results)
  const does = (cmd: string) => call('exec_command', { cmd })
  const turns = [
    does('cat sum.js mean.js && npm test'),
    does("sed -i 's/all - each/all + each/' sum.js"),
    does("sed -i 's/ (list.length + 1)/ list.length/' mean.js && git commit -qam 'Mend sum and mean'"),
    does('npm test'),
  ]
  return turns[turn] ?? { text: 'The tests pass.' }
}
/** The same by the tools of Gemini CLI. What it edits it does not commit. */
function geminiScript({ turn, results }: Ask): Turn {
  seen.push(...results)
  const mean = PROJECT['mean.js'].replace('(list.length + 1)', 'list.length')
  const turns = [
    call('read_file', { file_path: 'sum.js' }),
    call('run_shell_command', { command: 'cat mean.js && npm test' }),
    call('replace', { file_path: 'sum.js', instruction: 'Add', old_string: 'all - each', new_string: 'all + each' }),
    call('write_file', { file_path: 'mean.js', content: mean }),
    call('run_shell_command', { command: 'npm test' }),
  ]
  return turns[turn] ?? { text: 'The tests pass.' }
}

test('README, "A night\'s work": five lines lead from nothing to a branch of the real Codex whose tests pass (S4-9)', async () => {
  const lines = linesOf("A night's work")
  const upstream = { 'Its name here': '', 'Its address': '', 'The key of openai': KEY, 'Write this?': 'y' }
  const expected: [verb: string, answers: Record<string, string>, shown: RegExp][] = [
    ['hub agent new', { ...upstream, 'write this?': 'y' }, /"egress": \["openai"\][\s\S]*made .*coder/],
    ['hub agent build', {}, /hub\/coder/],
    ['hub submit coder', {}, /[0-9a-f-]{36} queued/],
    ['hub branch diff', {}, /\+.*all \+ each/],
    ['hub branch apply', { '[y/N]': 'y' }, /merged hub\//],
  ]
  expect(lines.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual(expected.map(([verb]) => verb))
  const project = join(person, 'my-project')
  expect(passes(project, 'main')).toBe(false)
  models.script = codexScript
  seen = []
  const before = await soFar()
  for (const [n, [verb, answers, shows]] of expected.entries()) {
    const { code, shown } = await type(lines[n] ?? '', answers)
    expect([lines[n], code, shown]).toEqual([lines[n], 0, expect.stringMatching(shows)])
    expect(shown).not.toContain(KEY)
    if (verb === 'hub agent new') await leadToTheModelServer('openai')
    if (verb === 'hub submit coder') expect(await ended((await newestTask()).id)).toMatchObject({ state: 'succeeded' })
  }
  expect(passes(project, 'main')).toBe(true)
  expect(gitIn(project, 'log', '--format=%s')).toContain('Mend sum and mean')
  expect(seen.join()).toMatch(/fail 2[\s\S]*fail 0/)
  const { asked, refused } = await outwardSince(before)
  expect(kindsOf(asked, 'authorization')).toEqual([`/v1/responses Bearer ${KEY}`])
  expect([asked.length, refused]).toEqual([5, []])
  expect(asked.map(versionIn).filter((version) => isBelowFloor(version, CODING_CLIS.codex))).toEqual([])
})

test('Codex by its recipe asks for nothing but its model, also where there is a line outward', async () => {
  await withLine('coder')
  models.script = () => ({ text: 'Nothing to do.' })
  const before = await soFar()
  expect(await home.run('coder', { task: '--help' }, '--model', 'gpt-5.6-luna')).toMatchObject({
    state: 'succeeded',
    outcome: { value: { text: 'Nothing to do.' } },
  })
  const { asked, refused } = await outwardSince(before)
  expect([refused, asked.map(({ ask }) => [ask?.model, ask?.text])]).toEqual([[], [['gpt-5.6-luna', '--help']]])
})

test('Gemini CLI by its recipe: a repository in and a branch out by its own tools, without a commit of its own, and nothing but its model asked', async () => {
  const project = join(person, 'other-project')
  writeFileSync(join(home.home, 'secrets', 'google-key'), KEY, { mode: 0o600 })
  const where = ['--url', models.url, '--local', '--secret', 'google-key']
  await run('upstream', 'add', 'google', '--kind', 'google', ...where, '--yes')
  const listed = () => home.hub('upstream', 'list')
  await until('the hub knows it', listed, ({ stdout }) => stdout.includes('google'))
  await run('agent', 'new', 'gem', '--lang', 'gemini', '--yes')
  await run('agent', 'build', 'gem')
  await withLine('gem')
  models.script = geminiScript
  seen = []
  const before = await soFar()
  const task = await home.run('gem', { task: '-p: make the tests pass.' }, '--repo', project)
  const value = { text: 'The tests pass.', calls: { done: 5, failed: 0 } }
  expect(task).toMatchObject({ state: 'succeeded', outcome: { value } })
  await run('branch', 'checkout', task.id, '--repo', project, '--as', 'theirs')
  expect([passes(project, 'main'), passes(project, 'theirs')]).toEqual([false, true])
  expect(seen.join()).toMatch(/fail 2[\s\S]*fail 0/)
  const { all, asked, refused } = await outwardSince(before)
  expect(kindsOf(asked, 'x-goog-api-key')).toEqual([
    `/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse ${KEY}`,
  ])
  expect([asked.length, refused]).toEqual([6, []])
  expect(all.every(({ url }) => url.startsWith('/v1beta/models/gemini-2.5-pro:'))).toBe(true)
  // What runs at the provider is not even offered.
  expect(asked[0]?.ask?.tools).not.toEqual(expect.arrayContaining([expect.stringContaining('web')]))
  expect(asked.map(versionIn).filter((version) => isBelowFloor(version, CODING_CLIS.gemini))).toEqual([])
})
