/** The driver `acp-v2`: version 2 of the Agent Client Protocol, a draft, with agents that the SDK's own side runs (docs/protocol.md 10). */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createAcpBench, type Driven, type DriveOptions } from '../support/acp-agent.ts'

let bench: ReturnType<typeof createAcpBench>
beforeEach(() => {
  bench = createAcpBench()
})
afterEach(() => bench.close())

const drive = (script: string, options?: DriveOptions) => bench.drive(script, { ...options, draft: true })
async function result(driven: Driven) {
  const ending = await driven.ending
  if (ending.kind === 'crash') throw new Error(`it crashed: ${ending.why}`)
  return ending.result
}
type Heard = { method: string; params: Record<string, unknown> }
const heard = (driven: Driven) => driven.heard().heard as unknown as Heard[]
const said = (driven: Driven, method: string) => heard(driven).filter((message) => message.method === method)
/** The agent takes its prompt, and does this. */
const works = (script: string) => `prompted = () => later(async () => { await state('running'); ${script} })`

describe('a task', () => {
  test('S4-27: version 2 is asked for without files and terminals; the prompt comes after the session, and its end is a state', async () => {
    const driven = drive(
      works(`
await tell('agent_thought', { messageId: 'h', content: [{ type: 'text', text: 'hm' }] })
await words('I '); await words('look.'); await tell('agent_message', { messageId: 'm', content: [{ type: 'text', text: 'I look.' }] })
await tell('tool_call_update', { toolCallId: 't', title: 'ls -l' }); await tell('tool_call_update', { toolCallId: 't', status: 'completed' })
await tell('tool_call_update', { toolCallId: 'c', title: 'sleep' }); await tell('tool_call_update', { toolCallId: 'c', status: 'cancelled' })
await tell('_odd', { x: 1 })
await words('Do', 'n'); await tell('agent_message', { messageId: 'n', content: [{ type: 'text', text: 'Done.' }] }); await idle()`),
    )
    expect(await result(driven)).toEqual({
      outcome: 'succeeded',
      value: { text: 'Done.', conversation: 's-2', calls: { done: 1, failed: 1 }, exitCode: 0 },
    })
    expect(heard(driven).map(({ method }) => method)).toEqual(['initialize', 'session/new', 'session/prompt'])
    expect(heard(driven)[0]?.params).toMatchObject({ protocolVersion: 2, capabilities: {}, info: { name: 'hub' } })
    expect(said(driven, 'session/new')[0]?.params).toMatchObject({ cwd: driven.workspace })
    expect(said(driven, 'session/prompt')[0]?.params.prompt).toEqual([{ type: 'text', text: 'Do it.' }])
    expect(driven.logs).toEqual(['draft 2', 'I look.', 'ls -l', 'sleep', 'failed: sleep', 'Do', 'Done.'])
  })

  const STDIO = {
    type: 'stdio',
    name: 'hub',
    command: '/usr/local/bin/node',
    args: ['/app/images/agent/mcp.js'],
    env: [],
  }
  const HTTP = {
    ...{ type: 'http', name: 'hub', url: 'http://127.0.0.1:47081/mcp' },
    headers: [{ name: 'Authorization', value: 'Bearer secret' }],
  }
  test.each([
    [['stdio', 'http'], '{ stdio: {}, http: {} }', [STDIO], 0],
    [['stdio', 'http'], '{ stdio: null, http: {} }', [HTTP], 0],
    [['http'], '{ stdio: {} }', undefined, 1],
    [['stdio'], 'undefined', undefined, 1],
  ] as const)(
    'where the card says mcp: %j, an agent that takes %s is told of the tools of the hub once',
    async (mcp, takes, told, warned) => {
      const begin = `begin = () => ({ protocolVersion: 2, info: { name: 'draft', version: '2' }, capabilities: { session: { mcp: ${takes} } } })`
      const env = { HUB_MCP_URL: HTTP.url, HUB_MCP_TOKEN: 'secret' }
      const driven = drive(`${begin}\n${works(`await words('ok'); await idle()`)}`, { mcp: [...mcp], env })
      expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
      expect(said(driven, 'session/new')[0]?.params.mcpServers).toEqual(told)
      expect(driven.logs.filter((line) => line.includes('takes no tools by the protocol'))).toHaveLength(warned)
      expect(driven.logs.join()).not.toContain('secret')
    },
  )

  test.each([
    [
      'an end before the answer',
      `prompted = async () => { await state('running'); await words('ok'); await idle(); return { messageId: 'u' } }`,
    ],
    [
      'an end of before that is told again',
      `prompted = () => later(async () => { await idle('refusal'); await state('running'); await words('ok'); await idle() })`,
    ],
    [
      'a question to a person meanwhile',
      works(`await state('requires_action'); await state('running'); await words('ok'); await idle()`),
    ],
  ])('a prompt that is taken and a turn that has ended are two events: %s', async (_, script) => {
    expect(await result(drive(script))).toMatchObject({ outcome: 'succeeded', value: { text: 'ok' } })
  })

  test.each([
    ['max_tokens', 'turn_limited', 'max_tokens'],
    ['max_turn_requests', 'turn_limited', 'tool_use'],
    ['refusal', 'turn_refused', 'error'],
    ['cancelled', 'turn_failed', 'cancelled'],
    ['_new', 'turn_failed', 'error'],
  ])('S4-20: the stop reason %s ends a task as %s', async (reason, code, told) => {
    const driven = drive(works(`await words('ok'); await idle('${reason}')`))
    expect(await result(driven)).toMatchObject({ outcome: 'failed', code, value: { text: 'ok' } })
    await expect.poll(() => driven.hub.result?.stopReason).toBe(told)
  })

  test.each([
    ['nothing_done', works('await idle()'), 'it did and said nothing'],
    [
      'turn_failed',
      works(`await idle('error', { error: { code: -32603, message: 'broke' } })`),
      'turn of the agent failed: broke',
    ],
    ['turn_failed', works(`await state('idle')`), 'without a reason'],
    [
      'prompt_refused',
      `prompted = () => { throw new RequestError(400, 'no model') }`,
      'did not take its prompt: no model',
    ],
    [
      'prompt_refused',
      `prompted = () => { raw({ id: 2, result: {} }); return new Promise(() => {}) }`,
      'not of the protocol',
    ],
    [
      'version_refused',
      `raw({ id: 0, result: { protocolVersion: 1, agentInfo: { name: 'old', version: '1' } } })`,
      'not speak version 2',
    ],
    [
      'version_refused',
      `raw({ id: 0, result: { protocolVersion: 3, info: { name: 'new', version: '1' } } })`,
      'not speak version 2',
    ],
    ['not_ready', `opened = () => { throw new RequestError(-32603, 'no config') }`, 'refused `session/new`: no config'],
    ['login_needed', `opened = () => { throw RequestError.authRequired() }`, 'wants a login'],
    ['ended_early', works('process.exit(0)'), 'exit code 0 before it was done'],
  ])('S4-36: %s: %s', async (code, script, why) => {
    const ended = await result(drive(script, { times: { farewellMs: 300 } }))
    expect([ended.code, ended.error]).toEqual([code, expect.stringContaining(why)])
  })

  test('a key of the environment is the one way to log in', async () => {
    const driven = drive(`
let isIn = false
begin = () => ({ protocolVersion: 2, info: { name: 'draft', version: '2' }, capabilities: { session: {} },
  authMethods: [{ type: 'terminal', methodId: 'api-key-tool', name: 'Tool' }, { type: 'agent', methodId: 'openai-api-key', name: 'Key' }] })
login = () => { isIn = true; return {} }
opened = () => { if (!isIn) throw RequestError.authRequired(); return { sessionId: S } }`)
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
    expect(said(driven, 'auth/login').map(({ params }) => params.methodId)).toEqual(['openai-api-key'])
  })

  test('S4-6: the model is chosen by the protocol before the prompt, and the system prompt stands before it', async () => {
    const option = {
      configId: 'm',
      name: 'Model',
      category: 'model',
      type: 'select',
      currentValue: 'a',
      options: [
        { value: 'a', name: 'A' },
        { value: 'big-1', name: 'B' },
      ],
    }
    const spec = { model: 'big-1', system: 'Be brief.' }
    const driven = drive(`opened = () => ({ sessionId: S, configOptions: [${JSON.stringify(option)}] })`, { spec })
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
    expect(
      heard(driven)
        .slice(2)
        .map(({ method }) => method),
    ).toEqual(['session/set_config_option', 'session/prompt'])
    expect(heard(driven)[2]?.params).toMatchObject({ configId: 'm', type: 'id', value: 'big-1' })
    expect(heard(driven)[3]?.params.prompt).toEqual(['Be brief.', 'Do it.'].map((text) => ({ type: 'text', text })))
    expect(await result(drive('', { spec }))).toMatchObject({ code: 'not_ready' })
  })
})

test('S4-7: each question about a tool or a command is asked of the hub, and gets its own answer', async () => {
  const options = `[{ optionId: 'always', name: 'A', kind: 'allow_always' }, { optionId: 'yes', name: 'Y', kind: 'allow_once' }, { optionId: 'no', name: 'N', kind: 'reject_once' }]`
  const question = (subject: string) =>
    `ask('session/request_permission', { sessionId: S, title: 'May I?', options: ${options}, subject: ${subject} })`
  const driven = drive(
    works(`
const answers = await Promise.all([
  ${question(`{ type: 'tool_call', toolCall: { toolCallId: 't', title: 'rm x', kind: 'delete', rawInput: { command: 'rm x' } } }`)},
  ${question(`{ type: 'command', command: 'make', cwd: '/workspace', toolCallId: 'm' }`)},
  ${question(`{ type: '_other', x: 1 }`)}])
await words('ok'); keep({ answers }); await idle()`),
    { permit: ({ title }) => title === 'make' },
  )
  expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
  const outcomes = (driven.heard().answers as { result: unknown }[]).map((answer) => answer.result)
  expect(outcomes).toEqual(['no', 'yes', 'no'].map((optionId) => ({ outcome: { outcome: 'selected', optionId } })))
  expect(driven.asked).toEqual([
    { tool: 'rm x', kind: 'delete', title: 'rm x', arguments: { command: 'rm x' } },
    { tool: 'make', kind: 'execute', title: 'make', arguments: { command: 'make', cwd: '/workspace' } },
    { tool: 'May I?', kind: 'other', title: 'May I?', arguments: { subject: { type: '_other', x: 1 } } },
  ])
})

test('what version 2 does not have is not offered: files, terminals, forms and unknown requests are answered with -32601', async () => {
  const methods = ['fs/read_text_file', 'fs/write_text_file', 'terminal/create', 'unknown/request']
  const driven = drive(
    works(`
const codes = []
for (const method of ${JSON.stringify(methods)}) codes.push((await ask(method, { sessionId: S, path: '/workspace/x', content: '', command: 'true' })).code)
await words('ok'); keep({ codes }); await idle()`),
  )
  expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
  expect(driven.heard().codes).toEqual(methods.map(() => -32_601))
})

test('S4-5, S4-29: a chat: turn after turn, a cancelled one alone; who works by itself is waited for before the next prompt', async () => {
  const driven = drive(
    `
let turns = 0
prompted = () => { turns += 1; const n = turns; return later(async () => {
  await state('running'); await words('turn ' + n, 'm' + n)
  if (n === 2) return keep({ at: 'half' })
  await idle()
  if (n === 3) { await state('running'); keep({ at: 'alone' }); for (;;) { if (existsSync('../go')) return idle('refusal'); await new Promise((done) => setTimeout(done, 5)) } }
}) }
cancelled = () => { void idle('cancelled') }`,
    { chat: true, params: {} },
  )
  expect(await driven.hub.prompt('a')).toMatchObject({ text: 'turn 1', stopReason: 'end_turn' })
  const half = driven.hub.prompt('b')
  await expect.poll(() => driven.heard().at, { interval: 20 }).toBe('half')
  driven.hub.interrupt()
  expect(await half).toMatchObject({ text: 'turn 2', stopReason: 'cancelled' })
  expect(await driven.hub.prompt('c')).toMatchObject({ text: 'turn 3', stopReason: 'end_turn' })
  await expect.poll(() => driven.heard().at, { interval: 5 }).toBe('alone')
  const last = driven.hub.prompt('d')
  writeFileSync(join(driven.workspace, '../go'), '')
  expect(await last).toMatchObject({ text: 'turn 4', stopReason: 'end_turn' })
  driven.hub.finish()
  expect(await result(driven)).toMatchObject({ outcome: 'succeeded', value: { text: 'turn 4' } })
})
