/**
 * Coding CLIs of others as they are, in sessions of the real engine, against a scripted model server: an agent of the driver `acp`, a conversation that goes
 * on in the next start, and the hub's tools. The small agent of the SDK in every run, Gemini CLI and Claude Code in the long one (HUB_TEST_LONG=1).
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ContainerHome, openContainerHome, type Session, type Task, until } from '../support/container-home.ts'
import { freshKey } from '../support/models/agents-home.ts'
import { type ModelServer, startModelServer } from '../support/models/model-server.ts'
import type { Ask, Turn } from '../support/models/turn.ts'
import * as clis from '../support/real-clis.ts'
import { load } from '../support/spy-image.ts'

const isLong = process.env.HUB_TEST_LONG === '1'
const IMAGE = 'hub-test/real-clis'
const UP = 'http://127.0.0.1:47080/up'
const NODE = ['node', '--max-old-space-size=512', clis.GEMINI, '--approval-mode=yolo', '--model=gemini-2.5-pro']
const limits = { ttl: '20m', memory: '1GiB' }

const geminiCard = (name: string, settings: string, more: object) => ({
  ...{ name, description: 'a coding agent', image: IMAGE, shell: true, limits, may: { egress: ['google'] } },
  env: {
    ...{ GOOGLE_GEMINI_BASE_URL: `${UP}/google`, GEMINI_CLI_NO_RELAUNCH: 'true', GEMINI_CLI_TRUST_WORKSPACE: 'true' },
    GEMINI_CLI_SYSTEM_SETTINGS_PATH: settings,
  },
  ...more,
})
/** What both are told: the words of docs/agents.md. */
const RESUMES = { driver: 'stream-json', transcripts: true, repeatable: true, mcp: ['stdio'] }
const CLAUDE = [
  ...[clis.CLAUDE, '-p', '--output-format=stream-json', '--verbose', '--dangerously-skip-permissions'],
  ...['--model=claude-sonnet-5', '--disallowedTools=WebSearch,WebFetch', `--mcp-config=${clis.CLAUDE_TOOLS}`],
]
const CARDS = [
  {
    ...{ name: 'small', description: 'an agent of the SDK', image: IMAGE, shell: true, driver: 'acp', mode: 'chat' },
    ...{ run: ['node', clis.SMALL_AGENT], permissions: 'allow', limits: { ttl: '20m', memory: '256MiB' } },
  },
  geminiCard('gemini-acp', clis.SETTINGS, {
    driver: 'acp',
    mcp: ['stdio'],
    permissions: 'allow',
    run: [...NODE, '--acp'],
  }),
  geminiCard('gemini', clis.SETTINGS_WITH_TOOLS, {
    ...RESUMES,
    run: [...NODE, '-o', 'stream-json', '--prompt={param:task}{earlier}'],
    resume: [...NODE, '-o', 'stream-json', '--resume=latest', '--prompt=Go on'],
  }),
  {
    ...{ name: 'claude', description: 'a coding agent', image: IMAGE, shell: true, may: { egress: ['anthropic'] } },
    env: {
      ...{ ANTHROPIC_BASE_URL: `${UP}/anthropic`, DISABLE_UPDATES: '1', CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1' },
      // Else the tools of a server are offered only to a model that has searched for them.
      ENABLE_TOOL_SEARCH: 'false',
    },
    ...{ ...RESUMES, limits },
    run: [...CLAUDE, '--', '{param:task}{earlier}'],
    resume: [...CLAUDE, '--continue', '--', 'Go on'],
  },
]

let home: ContainerHome
let models: ModelServer
beforeAll(async () => {
  await load([clis.realClisImage(`${IMAGE}:latest`, { real: isLong })])
  models = await startModelServer()
  const at = { url: models.url, local: true, secret: 'model-key' }
  home = await openContainerHome({
    cards: CARDS,
    rows: { gemini: { transcripts: true }, claude: { transcripts: true, budget: { call: { tokens: 400_000 } } } },
    config: {
      limits: {
        agents: Object.fromEntries(['gemini-acp', 'gemini', 'claude'].map((name) => [name, { memory: '1GiB' }])),
      },
      upstreams: { google: { kind: 'google', ...at }, anthropic: { kind: 'anthropic', ...at } },
    },
  })
  mkdirSync(join(home.home, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(home.home, 'secrets', 'model-key'), freshKey(), { mode: 0o600 })
})
afterAll(async () => {
  await home?.close()
  await models?.[Symbol.asyncDispose]()
})

const call = (name: string, input: Record<string, unknown>): Turn => ({ calls: [{ name, input }] })
/** The one tool whose name ends so, as this CLI calls it. */
const named = ({ tools }: Ask, end: string) => tools.find((name) => name.endsWith(end)) ?? `no tool ${end}`

test('S4-27, S4-39: a chat with an agent of acp: two prompts, files in the workspace alone, one error outside, and its question answered by its card', async () => {
  const { id } = await home.json<Task>('submit', 'small')
  const say = async (text: string) => {
    const { code, stdout, stderr } = await home.hub('session', 'say', id, text, '--wait')
    expect(code, stderr).toBe(0)
    return JSON.parse(stdout) as [number, unknown]
  }
  const [first, files] = (await say('files')) as [number, Record<string, unknown>[]]
  expect([first, files.slice(0, 2)]).toEqual([1, [{}, { content: 'made' }]])
  const paths = /(?:\/(?:etc|tmp)\/|file:)[^"]*/g
  const [there, absent, written] = files.slice(2).map((answer) => JSON.stringify(answer).replaceAll(paths, 'PATH'))
  expect(there).toMatch(/"code":-\d+/)
  expect([absent, written]).toEqual([there, there])
  expect(await say('may')).toEqual([2, { outcome: 'selected', optionId: 'once' }])
  expect((await home.hub('session', 'close', id)).code).toBe(0)
  const ended = await home.json<Task>('wait', id)
  expect(ended).toMatchObject({ state: 'succeeded', attempts: 1 })
  const { task } = await home.shown(id)
  expect(task.artifacts).toMatchObject([{ name: 'made.md', size: 4 }])
})

test.runIf(isLong)(
  'the real Gemini CLI by acp: it writes a file through its client and uses the tools of the hub, of which session/new told it',
  async () => {
    models.script = (ask) =>
      [
        call(named(ask, '_progress'), { text: 'by acp' }),
        call('write_file', { file_path: '/workspace/out/made.md', content: 'made' }),
      ][ask.turn] ?? { text: 'It is made.' }
    const task = await home.run('gemini-acp', { task: 'Make it' })
    expect(task).toMatchObject({
      state: 'succeeded',
      outcome: { value: { text: 'It is made.', calls: { done: 2, failed: 0 } } },
    })
    expect(task).toMatchObject({ artifacts: [{ name: 'made.md', size: 4 }] })
    await recorded('gemini-acp', 'task.progressed')
  },
)

/** A record of this act of this agent; what it does of its own task leaves one too. */
async function recorded(agent: string, action: string) {
  const records = () => home.json<{ principal: string; outcome: string }[]>('audit', 'list', '--action', action)
  await until(`${agent} left a record of ${action}`, records, (all) =>
    all.some(({ principal, outcome }) => principal.startsWith(`agent:${agent}/`) && outcome === 'ok'),
  )
}

/** Ends the program of a session with SIGKILL, wherever it is. */
async function kill(agent: string, program: string): Promise<void> {
  const sessions = await home.json<Session[]>('session', 'list')
  const { containerId = '' } = sessions.find((session) => session.agent === agent) ?? {}
  const table = await home.engine.top(containerId)
  const [pid, words] = ['PID', 'CMD'].map((title) => table?.titles.indexOf(title) ?? -1) as [number, number]
  const found = (table?.processes ?? []).filter((row) => row[words]?.includes(program))
  expect(found).not.toEqual([])
  for (const row of found) process.kill(Number(row[pid]), 'SIGKILL')
}

const REAL = [
  { agent: 'gemini', program: clis.GEMINI },
  { agent: 'claude', program: clis.CLAUDE },
]
describe.runIf(isLong).each(REAL)('the real $agent', ({ agent, program }) => {
  test('goes on in the next start of its task, whose request holds the first turn, and uses the tools of the hub by the words of docs/agents.md', async () => {
    const asked: string[] = []
    models.script = async (ask) => {
      asked.push(JSON.stringify(ask.body))
      const note = call(named(ask, '_artifact_write'), { name: 'note.md', text: 'noted' })
      if (asked.length === 1) return { ...note, text: 'I looked at it.' }
      // It falls in the middle of its turn.
      if (asked.length === 2) await kill(agent, program)
      return { text: 'Done.' }
    }
    const task = await home.run(agent, { task: 'Remember the word heliotrope' })
    expect(task, JSON.stringify(task)).toMatchObject({
      state: 'succeeded',
      attempts: 2,
      artifacts: [{ name: 'note.md', size: 5 }],
    })
    expect(asked).toHaveLength(3)
    for (const words of ['Remember the word heliotrope', 'I looked at it.', 'note.md', 'Go on'])
      expect(asked[2]).toContain(words)
    await recorded(agent, 'transcript.kept')
    await recorded(agent, 'transcript.handed')
  })
})
