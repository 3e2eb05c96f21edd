/** From a file to a running agent, in each of the four languages, on a real hub, a real watchdog and the real engine. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { LANGUAGES } from '../../hub/client/cli/agents/new.ts'
import { inNormalMode } from '../support/container-home.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { runHub } from '../support/fake-hub.ts'
import { gitScene } from '../support/git-scene.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Names of this run only, since images are shared by the whole engine. */
const run = `n${randomBytes(3).toString('hex')}`
const nameOf = (what: string) => `${run}-${what}`

let home = ''
let work = ''
const children: ChildProcess[] = []

const engine = (method: string, path: string) =>
  new Promise<number>((resolve) => {
    const call = request({ socketPath: ENGINE_SOCKET, method, path }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode ?? 0))
    })
    call.on('error', () => resolve(0)).end()
  })
/** All containers of the engine whose image is this agent's, running or not. */
const containersOf = (name: string) =>
  new Promise<unknown[]>((resolve, reject) => {
    const filters = encodeURIComponent(JSON.stringify({ ancestor: [`hub/${name}`] }))
    request({ socketPath: ENGINE_SOCKET, path: `/containers/json?all=1&filters=${filters}` }, (answer) => {
      let said = ''
      answer.setEncoding('utf8').on('data', (part: string) => (said += part))
      answer.on('end', () => resolve(JSON.parse(said)))
    })
      .on('error', reject)
      .end()
  })
const here = (await engine('GET', '/_ping')) === 200

/** Starts a process of the home and waits for its ready line. */
function start(...argv: string[]): Promise<void> {
  const child = spawn(process.execPath, [join(root, argv[0] ?? ''), ...argv.slice(1), '--home', home])
  children.push(child)
  return new Promise((resolve, reject) => {
    let said = ''
    const take = (text: Buffer) => {
      said += text
      if (said.includes('"ready"')) resolve()
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('exit', (code) => reject(new Error(`${argv[0]} ended with ${code}: ${said}`)))
  })
}
/** The command, in the folder where the agents' folders are. */
const hub = (...args: string[]) => inNormalMode(() => runHub(home, args, { cwd: work }))
async function done(...args: string[]) {
  const outcome = await hub(...args)
  expect(outcome.code, `hub ${args.join(' ')}: ${outcome.stdout}${outcome.stderr}`).toBe(0)
  return outcome
}
const leftOf = (name: string) => ({
  cards: readdirSync(join(home, 'agents')).filter((file) => file.includes('--dev')),
  grants: readFileSync(join(home, 'policy', 'data.json'), 'utf8').includes(`${name}--dev`),
})
const NOTHING = { cards: [], grants: false }

beforeAll(async () => {
  if (!here) return
  home = mkdtempSync(join(tmpdir(), 'an-'))
  work = mkdtempSync(join(tmpdir(), 'aw-'))
  rmSync(home, { recursive: true })
  await new Promise((resolve) =>
    spawn(process.execPath, [join(root, 'hub/main.ts'), 'init', '--home', home]).on('exit', resolve),
  )
  writeFileSync(
    join(home, 'hub.yaml'),
    `http: { port: 0 }\nmetrics: { port: 0 }\nengine: { socket: ${ENGINE_SOCKET} }\n`,
  )
  writeFileSync(
    join(home, 'watchdog', 'config.json'),
    JSON.stringify({ port: 0, intervalMs: 1000, engineSocket: ENGINE_SOCKET }),
  )
  await start('hub/main.ts', 'serve')
  await start('watchdog/main.ts')
  // The first lease has come: what is watched is begun once, by a command that is not asked again.
  const mode = async () => JSON.parse((await runHub(home, ['status', '--json'])).stdout).hub.mode as string
  await vi.waitFor(async () => expect(await mode()).toBe('normal'), { timeout: 120_000, interval: 200 })
})
afterAll(async () => {
  if (!here) return
  await hub('down')
  for (const child of children) child.kill('SIGKILL')
  for (const what of [...LANGUAGES, 'teller', 'watched', 'coder']) {
    for (const name of [nameOf(what), `${nameOf(what)}--dev`]) await engine('DELETE', `/images/hub/${name}:latest`)
  }
  for (const folder of [home, work]) rmSync(folder, { recursive: true, force: true })
})

describe.skipIf(!here)('from a file to a running agent', () => {
  test.each(LANGUAGES)(
    '%s: new, try, build, allow and submit lead to a result, and try leaves nothing behind',
    async (lang) => {
      const name = nameOf(lang)
      await done('agent', 'new', name, '--lang', lang)
      const tried = await done('agent', 'try', name, '--param', 'name=Ada', '--json')
      expect(JSON.parse(tried.stdout)).toMatchObject({ state: 'succeeded', agent: `${name}--dev` })
      expect(leftOf(name)).toEqual(NOTHING)
      expect((await hub('submit', name)).code).toBe(3)

      expect((await done('agent', 'build', name)).stdout).toMatch(/sha256:[0-9a-f]{64}/)
      expect((await hub('submit', name)).stderr).toContain(`add agents.${name} to policy/data.json`)
      await done('agent', 'allow', name, '--yes')
      const out = join(work, `${name}-out`)
      const { stdout } = await done('submit', name, '--param', 'name=Ada', '--wait', '--out', out, '--json')
      expect(JSON.stringify(JSON.parse(stdout).outcome.value)).toContain('Hello, Ada!')
      expect(readFileSync(join(out, 'greeting.txt'), 'utf8')).toBe('Hello, Ada!\n')
      const { stdout: records } = await done('audit', 'list', '--action', 'policy.reloaded', '--json')
      expect(JSON.parse(records).length).toBeGreaterThan(0)
    },
  )

  test('try shows every denial with the line that mends it, under the name of the agent, and ends with the outcome of the task', async () => {
    const name = nameOf('teller')
    await done('agent', 'new', name, '--lang', 'ts')
    const file = join(work, name, 'work.ts')
    writeFileSync(
      file,
      `import type { HubAgent } from 'hub-sdk/agent.ts'
export function register(hub: HubAgent): void {
  hub.onTask(async () => {
    await hub.log('about to tell')
    await hub.request('agent:echo', 'told', {}, { timeoutMs: 60_000 })
  })
}
`,
    )
    const card = join(work, name, 'agent.yaml')
    const text = readFileSync(card, 'utf8').replace('sends: {}', 'sends: { told: null }')
    writeFileSync(card, text.replace('message: []', 'message: [echo]'))
    const { code, stderr } = await hub('agent', 'try', name)
    expect(stderr).toContain('info  about to tell')
    expect(stderr).toContain(`policy_denied: agent ${name} may not message echo`)
    expect(stderr).toContain(`fix: add "echo" to agents.${name}.message in policy/data.json`)
    expect([code, leftOf(name)]).toEqual([5, NOTHING])
  })

  test('try --watch runs again after a change, says what does not build, and Ctrl-C cancels the task and leaves nothing', async () => {
    const name = nameOf('watched')
    await done('agent', 'new', name, '--lang', 'ts')
    const child = spawn(process.execPath, [join(root, 'hub/client/cli.ts'), 'agent', 'try', name, '--watch'], {
      cwd: work,
      env: { ...process.env, HUB_HOME: home },
    })
    children.push(child)
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (part: string) => (said += part))
    const until = (text: string) => vi.waitFor(() => expect(said).toContain(text), { timeout: 120_000, interval: 100 })
    await until('Hello, world!')
    await until('Ctrl-C ends this')
    said = ''
    appendFileSync(join(work, name, 'main.ts'), "import './missing.ts'\n")
    await until('missing.ts')
    await until('Ctrl-C ends this')
    said = ''
    writeFileSync(
      join(work, name, 'main.ts'),
      "import { connect } from 'hub-sdk/agent.ts'\nconst hub = await connect()\n",
    )
    appendFileSync(join(work, name, 'main.ts'), "hub.onTask(() => (hub.log('sleeping'), new Promise(() => {})))\n")
    await until('info  sleeping')
    expect(leftOf(name).grants).toBe(true)
    child.kill('SIGINT')
    const code = await new Promise((resolve) => child.on('exit', resolve))
    expect(said).toContain('cancelled')
    expect([code, leftOf(name)]).toEqual([130, NOTHING])
    expect(existsSync(join(home, 'agents', `${name}.yaml`))).toBe(false)
  })

  test('a repository goes in, a branch comes out and is applied, and no container is left (S4-9)', async () => {
    const name = nameOf('coder')
    const scene = gitScene()
    const base = scene.commit({ 'sum.txt': '1 + 1 = 3\n' })
    scene.git('config', 'user.name', 'An Operator')
    scene.git('config', 'user.email', 'operator@example.org')
    await done('agent', 'new', name, '--lang', 'shell')
    writeFileSync(
      join(work, name, 'image.yaml'),
      'base: shell\nreason: it is a shell script that calls git\ntools: [git]\n',
    )
    writeFileSync(
      join(work, name, 'main.sh'),
      '#!/bin/sh\nset -eu\nsed -i s/3/2/ sum.txt\ngit commit -qam "Mend the sum"\necho left > left.txt\n',
    )
    await done('agent', 'build', name)
    await done('agent', 'allow', name, '--yes')
    const { stdout } = await done('submit', name, '--repo', scene.dir, '--param', 'name=x', '--wait', '--json')
    const { id } = JSON.parse(stdout) as { id: string }
    const about = async (word: string, ...more: string[]) =>
      (await done('branch', word, id, '--repo', scene.dir, ...more)).stdout
    expect(await about('log')).toContain('Mend the sum')
    expect(await about('diff')).toContain('-1 + 1 = 3\n+1 + 1 = 2\n')
    expect(scene.head()).toBe(base)
    await about('apply', '--yes')
    const files = ['sum.txt', 'left.txt'].map((file) => readFileSync(join(scene.dir, file), 'utf8'))
    expect(files).toEqual(['1 + 1 = 2\n', 'left\n'])
    expect(scene.git('log', '--format=%an', `${base}..`).split('\n')).toEqual([`agent ${name}`, `agent ${name}`])
    await vi.waitFor(async () => expect(await containersOf(name)).toEqual([]), { timeout: 60_000, interval: 200 })
    scene.remove()
  })
})
