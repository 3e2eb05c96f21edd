/** `hub agent build` with a small engine: what it says, and what is left of it, when it fails, is stopped or is killed; and what is next when it has built. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { join, resolve } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { npmFolder } from '../../../../../scripts/images/npm.ts'
import { membersOf, textOf } from '../../../../../scripts/images/untar.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { CLI } from '../../../../support/fake-hub.ts'
import { MARK, openRegistry } from '../../../../support/npm-registry.ts'

const CACHE = resolve(import.meta.dirname, '../../../../../.cache')
const ID = `sha256:${'1'.repeat(64)}`
const SOURCE = {
  ...{ Id: ID, Os: 'linux', Architecture: process.arch === 'arm64' ? 'arm64' : 'amd64', Config: {} },
  RootFS: { Layers: [`sha256:${'2'.repeat(64)}`] },
}

/** `METHOD path` to what it answers; `hang` is no answer. What is not named is not there. */
const answers = new Map<string, () => unknown>()
let asked: string[] = []
let engine: http.Server
const at = commandHome(() => {
  asked = []
  answers.clear()
  answers.set('GET /version', () => ({ Version: '20.10.24', ApiVersion: '1.41', MinAPIVersion: '1.12' }))
  answers.set('GET /images/own:1/json', () => SOURCE)
  answers.set('POST /containers/create', () => ({ Id: 'c1' }))
  engine = http.createServer((request, response) => {
    const what = `${request.method} ${(request.url ?? '').replace(/^\/v1\.\d+/, '').replace(/\?.*/, '')}`
    asked.push(what)
    if (what === 'POST /images/load') return void take(request).then(() => response.end('{}'))
    request.resume()
    const said = answers.get(what)?.()
    if (said === 'hang') return
    response.statusCode = said === undefined ? 404 : request.method === 'POST' ? 201 : 200
    response.end(said === undefined ? '{}' : JSON.stringify(said))
  })
  const socket = join(at.home, 'engine.sock')
  engine.listen(socket)
  mkdirSync(join(at.home, 'watchdog'), { recursive: true })
  writeFileSync(join(at.home, 'watchdog/config.yaml'), `engine:\n  socket: ${socket}\n`)
  at.hub.on('GET /v1/agents', () => ({ body: { agents: [], problems: [] } }))
})
afterEach(() => {
  engine.closeAllConnections()
  engine.close()
})

/** Takes an archive in, and shows its images from then on. */
async function take(archive: AsyncIterable<Buffer>): Promise<void> {
  const texts = new Map<string, string>()
  for await (const { path, bytes, content } of membersOf(archive))
    if (bytes < 100_000) texts.set(path, await textOf(content))
  const rows = JSON.parse(texts.get('manifest.json') ?? '') as { Config: string; RepoTags: string[] }[]
  for (const { Config, RepoTags } of rows) {
    const made = JSON.parse(texts.get(Config) ?? '') as {
      created: string
      config: object
      rootfs: { diff_ids: string[] }
    }
    const shown = { ...SOURCE, Comment: '', Created: made.created, Config: made.config }
    for (const tag of RepoTags)
      answers.set(`GET /images/${tag}/json`, () => ({ ...shown, RootFS: { Layers: made.rootfs.diff_ids } }))
  }
}

function folder(card: string, files: Record<string, string> = {}): string {
  const made = join(at.home, 'mine')
  mkdirSync(made, { recursive: true })
  const text = `name: mine\ndescription: d\nimage: hub/mine\ndriver: command\nrun: [cat, '{param:task}']\n${card}`
  for (const [name, data] of Object.entries({ 'agent.yaml': text, ...files })) writeFileSync(join(made, name), data)
  return made
}
/** Folders of work whose process has ended; those of other builds that are at work are not ours to see. */
const leftBehind = () =>
  [CACHE, join(CACHE, 'images')]
    .flatMap((place) => (existsSync(place) ? readdirSync(place) : []))
    .filter((name) => {
      const pid = /^(?:stage|from|packages)-\d+-(\d+)-/.exec(name)?.[1]
      return pid !== undefined && !existsSync(`/proc/${pid}`)
    })
const build = (...more: string[]) => at.run(['agent', 'build', 'mine', ...more])

/** Begins a build from `own:1` as a process, and waits until the engine was asked this. */
async function begun(what: string) {
  const child = spawn(process.execPath, [CLI, 'agent', 'build', 'mine', '--from', 'own:1'], {
    ...{ cwd: at.home, env: { PATH: process.env.PATH, HOME: at.home, HUB_HOME: at.home } },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    said += piece
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  while (!asked.includes(what)) await new Promise((resolve) => setTimeout(resolve, 20))
  return { child, ended, said: () => said }
}

test('Ctrl-C in the middle of a build: in plain words, and no folder or container is left', async () => {
  folder('')
  answers.set('HEAD /containers/c1/archive', () => 'hang')
  const { child, ended, said } = await begun('HEAD /containers/c1/archive')
  child.kill('SIGINT')
  expect(await ended).toBe(130)
  expect(said()).toBe(
    'assembling hub/mine\nstopping the build of mine\nthe build of mine was stopped; nothing of it is left, and the agent is as it was\n',
  )
  expect(asked).toContain('DELETE /containers/c1')
  expect(leftBehind()).toEqual([])
})

test('a build whose process is killed says so, and the next one removes what it had begun', async () => {
  folder('')
  answers.set('HEAD /containers/c1/archive', () => 'hang')
  const { ended, said } = await begun('HEAD /containers/c1/archive')
  const [own] = readdirSync(CACHE).filter((name) => {
    const pid = /^stage-\d+-(\d+)-/.exec(name)?.[1]
    return (
      pid !== undefined &&
      existsSync(`/proc/${pid}/cmdline`) &&
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(at.home)
    )
  })
  process.kill(Number(own?.split('-')[2]), 'SIGKILL')
  expect(await ended).toBe(3)
  expect(said()).toMatch(
    /\nhub: mine was not built: its process was killed \(SIGKILL\); what it had begun, the next build removes\nnext: /,
  )
  expect(leftBehind()).toContain(own)
  answers.delete('GET /images/own:1/json')
  const names = own?.replace('stage', '/hub-build')
  answers.set('GET /containers/json', () => [
    { Id: 'c1', Names: [names] },
    // Of the same number, but counted among others.
    { Id: 'c2', Names: [names?.replace(/-\d+-/, '-1-')] },
  ])
  const { stderr } = await build('--from', 'own:1')
  expect(stderr).toContain(
    'hub: mine was not built: the engine has no image own:1; build it first (docker build -t own:1 .)',
  )
  expect(leftBehind()).toEqual([])
  expect(asked.filter((what) => what.startsWith('DELETE /containers'))).toEqual(['DELETE /containers/c1'])
})

test('what is wrong in a folder is said of the folder itself, not of the copy that is read', async () => {
  const made = folder('', { 'image.yaml': 'base: shell\nreason: it needs one\n' })
  expect((await build()).stderr).toContain(
    `hub: mine was not built: ${made}/agent.yaml says shell: false, but its image uses the base shell; make them agree`,
  )
  rmSync(join(made, 'image.yaml'))
  writeFileSync(join(made, 'main.ts'), "import './not-there.ts'\n")
  expect((await build()).stderr).toContain(
    `hub: mine was not built: ${made}/main.ts imports ./not-there.ts, which does not exist`,
  )
  writeFileSync(join(made, 'main.ts'), '')
  writeFileSync(join(made, 'image.yaml'), 'tools: [no-such-tool]\n')
  expect((await build()).stderr).toMatch(/^hub: mine was not built: this machine has no no-such-tool in /m)
})

test.skipIf(npmFolder() === undefined)(
  'a build says which package wanted its install script, and what is really next: what is missing, or a task with its parameters',
  async () => {
    const { worker } = await openRegistry(at.home)
    try {
      folder('', { 'image.yaml': 'packages:\n  npm: [scripted@2.0.0]\n' })
      at.hub.on('POST /v1/agents/reload', () => ({ body: { agents: [], problems: [] } }))
      at.hub.on('GET /v1/agents/:name', () => ({ body: { agent: {}, row: null, lacks: [] } }))
      const data = join(at.home, 'policy/data.json')
      mkdirSync(join(at.home, 'policy'), { recursive: true })
      const row = {
        submit: true,
        capabilities: [],
        ttlMs: 3_600_000,
        message: [],
        delegate: [],
        topics: [],
        secrets: [],
      }
      writeFileSync(data, JSON.stringify({ agents: { mine: row } }))
      const ready = await build()
      expect(ready.stderr).toMatch(/^packages\.npm: scripted@2\.0\.0 wants its install script, which does not run;/m)
      expect(ready.stderr).toMatch(/^next: `hub submit mine --param task="\.\.\."`$/m)
      expect([ready.code, existsSync(join(at.home, MARK))]).toEqual([0, false])
      writeFileSync(data, JSON.stringify({ agents: {} }))
      expect((await build()).stderr).toMatch(/^next: `hub agent allow mine`, then `hub submit mine --param/m)
    } finally {
      vi.unstubAllEnvs()
      await worker.terminate()
    }
  },
)
