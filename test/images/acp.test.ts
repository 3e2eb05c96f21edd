/** The driver `acp`: scripted agents of the Agent Client Protocol as real processes, good ones and hostile ones (docs/protocol.md 10). */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createAcpBench, type Driven, type DriveOptions } from '../support/acp-agent.ts'
import { isAlive } from '../support/shim-process.ts'

let bench: ReturnType<typeof createAcpBench>
beforeEach(() => {
  bench = createAcpBench()
})
afterEach(() => bench.close())

const drive = (script: string, options?: DriveOptions) => bench.drive(script, options)
/** The result of a run that came to one. */
async function result(driven: Driven) {
  const ending = await driven.ending
  if (ending.kind === 'crash') throw new Error(`it crashed: ${ending.why}`)
  return ending.result
}
type Heard = {
  id?: unknown
  method?: string
  params?: Record<string, unknown>
  result?: unknown
  error?: { code: number; message: string }
}
const heard = (driven: Driven) => driven.heard().heard as Heard[]
const said = (driven: Driven, method: string) => heard(driven).filter((message) => message.method === method)
/** What it was answered, by the id of its request. */
const answers = (driven: Driven) =>
  Object.fromEntries(
    heard(driven).flatMap(({ id, method, result, error }) =>
      method === undefined ? [[String(id), error?.code ?? result]] : [],
    ),
  )
const OK = 'ready(); prompt(); words("ok"); '
const END = '; end(); keep(); stay()'

describe('a task', () => {
  test('S4-27: the session is opened in its place, its prompt comes after that, and what came of it is the result', async () => {
    const driven = drive(`
ready(); time.sleep(0.05)
assert not waiting, "early"
keep(first=prompt())
update("agent_thought_chunk", content={"type": "text", "text": "hm"})
words("I "); words("look."); tool("t", "pending", title="ls -l"); tool("t", "completed")
words("Done.")
end(usage={"inputTokens": 20, "outputTokens": 3, "totalTokens": 23, "cachedReadTokens": 5})
keep(); stay()`)
    expect(await result(driven)).toEqual({
      outcome: 'succeeded',
      value: {
        text: 'Done.',
        conversation: 's-1',
        usage: { input: 20, cached: 5, output: 3 },
        calls: { done: 1, failed: 0 },
        exitCode: 0,
      },
    })
    expect(heard(driven).map(({ method }) => method)).toEqual(['initialize', 'session/new', 'session/prompt'])
    expect(said(driven, 'session/new')[0]?.params).toEqual({ cwd: driven.workspace, mcpServers: [] })
    expect(said(driven, 'session/prompt')[0]?.params).toEqual({
      sessionId: 's-1',
      prompt: [{ type: 'text', text: 'Do it.' }],
    })
    expect(driven.logs).toEqual(['scripted 1', 'I look.', 'ls -l', 'Done.'])
    expect(driven.hub.progressed.map(({ text }) => text)).toContain('ls -l')
  })

  const STDIO = { name: 'hub', command: 'node', args: ['/app/images/agent/mcp.js'], env: [] }
  const HTTP = {
    ...{ type: 'http', name: 'hub', url: 'http://127.0.0.1:47081/mcp' },
    headers: [{ name: 'Authorization', value: 'Bearer secret' }],
  }
  const TAKES_HTTP = 'agentCapabilities={"mcpCapabilities": {"http": True}}'
  test.each([
    [['stdio'], '', [STDIO], 0],
    [['stdio', 'http'], TAKES_HTTP, [STDIO], 0],
    [['http'], TAKES_HTTP, [HTTP], 0],
    [['http'], '', [], 1],
  ] as const)(
    'where the card says mcp: %j, an agent that says %j is told of the tools of the hub once',
    async (mcp, says, told, warned) => {
      const driven = drive(`ready(${says}); prompt(); words("ok")${END}`, {
        mcp: [...mcp],
        env: { HUB_MCP_URL: HTTP.url, HUB_MCP_TOKEN: 'secret' },
      })
      await result(driven)
      expect(said(driven, 'session/new')[0]?.params).toEqual({ cwd: driven.workspace, mcpServers: told })
      expect(driven.logs.filter((line) => line.includes('takes no tools over HTTP'))).toHaveLength(warned)
      expect(driven.logs.join()).not.toContain('secret')
    },
  )

  test('the input is named to the agent where no word of `run` names it; without a task nothing is started', async () => {
    const driven = drive('ready(); prompt(); words("ok"); end(); keep(); stay()', { input: '/workspace/in/a b.txt' })
    await result(driven)
    expect(said(driven, 'session/prompt')[0]?.params?.prompt).toEqual([
      { type: 'text', text: 'Do it.' },
      { type: 'resource_link', uri: 'file:///workspace/in/a%20b.txt', name: 'a b.txt' },
    ])
    await expect(drive('', { params: {} }).ending).rejects.toThrow('hub submit --param task=TEXT')
  })

  test.each([
    ['max_tokens', 'turn_limited', 'max_tokens'],
    ['max_turn_requests', 'turn_limited', 'tool_use'],
    ['refusal', 'turn_refused', 'error'],
    ['cancelled', 'turn_failed', 'cancelled'],
    ['a new one', 'turn_failed', 'error'],
  ])('S4-20: the stop reason %s ends a task as %s', async (reason, code, told) => {
    const driven = drive(`${OK}end(${JSON.stringify(reason)}); keep(); stay()`)
    expect(await result(driven)).toMatchObject({ outcome: 'failed', code, value: { text: 'ok' } })
    await expect.poll(() => driven.hub.result?.stopReason).toBe(told)
  })

  test.each([
    ['nothing_done', 'ready(); prompt(); end(); stay()', 'it did and said nothing'],
    [
      'nothing_done',
      'ready(); prompt(); tool("t", "pending"); tool("t", "failed"); words("All is well."); end(); stay()',
      'each of its 1 calls',
    ],
    [
      'not_ready',
      'm = take(); send(id=m["id"], error={"code": -32603, "message": "no config"}); stay()',
      'refused `initialize`: no config',
    ],
    [
      'not_ready',
      'm = take(); send(id=m["id"], result={"protocolVersion": 1}); m = take(); send(id=m["id"], result={}); stay()',
      'without an id',
    ],
    [
      'not_ready',
      'm = take(); send(id=m["id"], result={"protocolVersion": 1}); m = take(); send(id=m["id"], result={"sessionId": "a\\u202eb\\u001b[2J"}); stay()',
      'an id that holds what cannot be shown: a\\u202eb\\u001b[2J',
    ],
    ['version_refused', 'ready(version=2); stay()', 'speaks version 2'],
    ['version_refused', 'm = take(); send(id=m["id"], result=None); stay()', 'speaks version none'],
    [
      'login_needed',
      'm = take(); send(id=m["id"], result={"protocolVersion": 1, "authMethods": [{"id": "browser"}]}); m = take(); send(id=m["id"], error={"code": -32000, "message": "log in"}); stay()',
      '(browser): log in',
    ],
    [
      'prompt_refused',
      'ready(); prompt(); send(id=P["id"], error={"code": 400, "message": "no model", "data": {"details": "403"}}); stay()',
      'did not take its prompt: no model: 403',
    ],
    [
      'turn_failed',
      `${OK}send(id=P["id"], error={"code": -32603, "message": "broke"}); stay()`,
      'turn of the agent failed: broke',
    ],
    ['turn_failed', `${OK}send(id=P["id"], result={}); stay()`, 'without a reason'],
    ['ended_early', `${OK}sys.exit(0)`, 'exit code 0 before it was done'],
    ['ended_early', 'sys.exit(3)', 'exit code 3 before it was done'],
    ['not_ready', 'S = "x" * 600; ready(); stay()', 'an id of 600 characters'],
    ['ended_early', 'ready(); os.close(1); stay()', 'closed its output'],
  ])('S4-36: %s: %s', async (code, script, why) => {
    const ended = await result(drive(script, { times: { farewellMs: 300 } }))
    expect([ended.code, ended.error]).toEqual([code, expect.stringContaining(why)])
  })

  test('S4-36: a program that cannot be started is a failure with its own code; one that a signal ends is a crash', async () => {
    expect(await result(drive('', { run: () => ['/no/such/program'] }))).toMatchObject({
      outcome: 'failed',
      code: 'not_started',
    })
    expect(await drive(`${OK}os.kill(os.getpid(), signal.SIGKILL)`).ending).toEqual({
      kind: 'crash',
      why: 'the program was ended by SIGKILL',
    })
  })

  test('a key of the environment is the one way to log in', async () => {
    const driven = drive(`
m = take(); send(id=m["id"], result={"protocolVersion": 1, "authMethods": [{"id": "browser"}, {"id": "openai-api-key"}]})
m = take(); send(id=m["id"], error={"code": -32000, "message": "log in"})
m = take(); assert m["params"] == {"methodId": "openai-api-key"}; send(id=m["id"], result={})
m = take(); send(id=m["id"], result={"sessionId": S}); prompt(); words("in"); end(); keep(); stay()`)
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded', value: { text: 'in' } })
  })

  test('S4-6: the model is chosen by the protocol where it can be, the system prompt stands before the first prompt', async () => {
    const select = [{ id: 'm', name: 'Model', category: 'model', type: 'select', currentValue: 'a', options: [] }]
    const choose = (session: object, method: string) =>
      drive(
        `ready(session=${JSON.stringify(session)}); m = until("${method}"); send(id=m["id"], result={}); prompt(); words("ok")${END}`,
        {
          spec: { model: 'big-1', system: 'Be brief.' },
        },
      )
    const driven = choose({ configOptions: select }, 'session/set_config_option')
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
    expect(said(driven, 'session/set_config_option')[0]?.params).toEqual({
      sessionId: 's-1',
      configId: 'm',
      value: 'big-1',
    })
    expect(said(driven, 'session/prompt')[0]?.params?.prompt).toEqual([
      { type: 'text', text: 'Be brief.' },
      { type: 'text', text: 'Do it.' },
    ])
    const older = choose({ models: { currentModelId: 'a', availableModels: [] } }, 'session/set_model')
    await result(older)
    expect(said(older, 'session/set_model')[0]?.params).toEqual({ sessionId: 's-1', modelId: 'big-1' })
    expect(await result(drive('ready(); stay()', { spec: { model: 'big-1' } }))).toMatchObject({
      code: 'not_ready',
      error: expect.stringContaining('name big-1 in `run`'),
    })
    const named = { spec: { model: 'big-1' }, more: ['{model}'] }
    expect(await result(drive(`${OK}assert sys.argv[1] == "big-1"${END}`, named))).toMatchObject({
      outcome: 'succeeded',
    })
  })

  test('an agent that goes on after its end is ended, and so is what it left behind', async () => {
    const driven = drive(
      `${OK}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"]); keep(pids=[os.getpid(), child.pid])
end(); time.sleep(600)`,
      { times: { farewellMs: 20, killMs: 20 } },
    )
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded', value: { text: 'ok' } })
    // The kernel ends what was killed a moment after the signal.
    await expect.poll(() => (driven.heard().pids as number[]).some(isAlive)).toBe(false)
  })
})

describe('permission', () => {
  const ASK =
    'ask("p", "session/request_permission", toolCall={"toolCallId": "t", "title": "rm x", "kind": "delete", "rawInput": {"command": "rm x"}}, options=OPTIONS)'

  test('S4-7: the hub is asked; only an option that was offered is chosen, and a yes is for this once', async () => {
    const driven = drive(`${OK}${ASK}; ${ASK.replace('"p"', '"q"')}${END}`, { permit: () => driven.asked.length === 1 })
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
    expect(driven.asked[0]).toEqual({ tool: 'rm x', kind: 'delete', title: 'rm x', arguments: { command: 'rm x' } })
    expect(answers(driven)).toMatchObject({
      p: { outcome: { outcome: 'selected', optionId: 'yes' } },
      q: { outcome: { outcome: 'selected', optionId: 'no' } },
    })
    expect(driven.logs).toContainEqual(expect.stringMatching(/^not allowed: rm x/))
    // It told of the tool by its question alone.
    expect(driven.hub.progressed.map(({ text }) => text)).toContain('rm x')
  })

  test('fault F13: while an answer is awaited, other frames and answers to other questions are no answer; each question gets its own', async () => {
    const yes = Promise.withResolvers<boolean>()
    const options = { permit: ({ title }: { title?: string }) => (title === 'first' ? yes.promise : false) }
    const driven = drive(
      `${OK}
for id, title in (("a", "first"), ("b", "second")):
    send(id=id, method="session/request_permission", params={"sessionId": S, "toolCall": {"toolCallId": id, "title": title}, "options": OPTIONS})
words("meanwhile"); tool("c", "pending"); tool("c", "completed")
send(id="a-other", result={"outcome": {"outcome": "selected", "optionId": "yes"}})
send(id=99, error={"code": -32000, "message": "no"})
send(id=0, result={"protocolVersion": 1}); raw("not a message"); send(method="session/update", params={}); send(method="x/y")
assert answer("b")["result"]["outcome"]["optionId"] == "no"
words("b is answered"); tool("d", "pending")
keep(first=answer("a"))${END}`,
      options,
    )
    await expect.poll(() => driven.logs.join(), { interval: 20 }).toContain('b is answered')
    yes.resolve(true)
    await result(driven)
    expect(answers(driven).a).toEqual({ outcome: { outcome: 'selected', optionId: 'yes' } })
    for (const id of ['"a-other"', '99', '0'])
      expect(driven.logs).toContainEqual(`it answered ${id}, which waits for no answer`)
  })

  test('S4-29: a question of a turn that is cancelled is answered as cancelled and taken back; one outside of a turn is answered as cancelled too', async () => {
    const driven = drive(
      `
ready(); assert ${ASK}["result"] == {"outcome": {"outcome": "cancelled"}}
prompt(); words("asking")
got = ${ASK.replace('"p"', '"q"')}; until("session/cancel"); end("cancelled"); keep(got=got); stay()`,
      {
        permit: () => new Promise(() => {}),
      },
    )
    await expect.poll(() => driven.asked.length, { interval: 20 }).toBe(1)
    driven.hub.cancel()
    await result(driven)
    expect(answers(driven)).toMatchObject({
      p: { outcome: { outcome: 'cancelled' } },
      q: { outcome: { outcome: 'cancelled' } },
    })
    expect(driven.hub.sent.filter(({ kind }) => kind === 'permit').map(({ body }) => Object.keys(body))).toEqual([
      ['tool', 'kind', 'title', 'arguments'],
      ['withdraw'],
    ])
  })

  test('a session that the agent began by itself asks as its own does; its words are not the last ones', async () => {
    const driven = drive(
      `${OK}
update("agent_message_chunk", session="child", content={"type": "text", "text": "of the child"})
send(id="p", method="session/request_permission", params={"sessionId": "child", "toolCall": {"toolCallId": "t"}, "options": OPTIONS}); answer("p")${END}`,
      {
        permit: () => true,
      },
    )
    expect(await result(driven)).toMatchObject({ value: { text: 'ok' } })
    expect(answers(driven).p).toEqual({ outcome: { outcome: 'selected', optionId: 'yes' } })
    expect(driven.asked[0]).toMatchObject({ tool: 'a tool', kind: 'other' })
    expect(driven.logs.filter((line) => line === 'it works in a session of its own: child')).toHaveLength(1)
  })
})

describe('what an agent asks of its client', () => {
  test('S4-39: files and terminals are the workspace’s, and what is outside gives one error', async () => {
    const driven = drive(`
import pathlib
here = ready()["cwd"]; prompt()
ask("w", "fs/write_text_file", path=here + "/src/new.txt", content="hello\\n")
ask("r", "fs/read_text_file", path=here + "/src/new.txt")
for id, path in (("o1", "/etc/passwd"), ("o2", "/etc/no-such")): ask(id, "fs/read_text_file", path=path)
t = ask("t", "terminal/create", command="cat src/new.txt; exit 4")["result"]["terminalId"]
ask("e", "terminal/wait_for_exit", terminalId=t); ask("u", "terminal/output", terminalId=t)
ask("k", "terminal/kill", terminalId=t); ask("l", "terminal/release", terminalId=t); ask("n", "terminal/output", terminalId=t)
s = ask("s", "terminal/create", command="sleep", args=["600"]); keep()
words("done")${END}`)
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
    const outside = heard(driven).filter(({ id }) => id === 'o1' || id === 'o2')
    expect(outside.map(({ error }) => error?.message.replace(/\/etc\/.*/, 'PATH'))).toEqual(
      Array(2).fill('Resource not found: PATH'),
    )
    expect(answers(driven)).toMatchObject({
      ...{ w: {}, r: { content: 'hello\n' }, o1: -32_002, o2: -32_002, k: {}, l: {}, n: -32_002 },
      e: { exitCode: 4, signal: null },
      u: { output: 'hello\n', truncated: false, exitStatus: { exitCode: 4, signal: null } },
    })
    expect(readFileSync(join(driven.workspace, 'src/new.txt'), 'utf8')).toBe('hello\n')
  })

  test('every request is answered: an unknown one with -32601, a wrong one with -32602, one that is none with -32600', async () => {
    const driven = drive(`${OK}
ask(1, "_vendor/thing"); ask("two", "fs/rename"); ask(3, "fs/read_text_file", path=7); ask(4, "elicitation/create", message="?")
send(id="dup", method="terminal/wait_for_exit", params={"sessionId": S, "terminalId": "none"}); answer("dup")
raw('{"jsonrpc": "1.0", "id": 5, "method": "fs/read_text_file"}'); answer(5)
raw('[{"jsonrpc": "2.0", "id": 6, "method": "x"}]'); answer(None)
raw('{"jsonrpc": "2.0", "id": '); answer(None)
raw('{"jsonrpc": "2.0", "id": {"a": 1}, "method": "x"}'); answer(None)
send(method="unknown/notification", params={"x": 1}); send(method="$/cancel_request", params={"requestId": 77})${END}`)
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
    expect(answers(driven)).toMatchObject({
      1: -32_601,
      two: -32_601,
      3: -32_602,
      4: -32_601,
      dup: -32_002,
      5: -32_600,
    })
    expect(
      heard(driven).flatMap(({ id, method, error }) => (id === null && method === undefined ? [error?.code] : [])),
    ).toEqual([-32_600, -32_700, -32_600])
  })

  test('an id that is in use, one request too many and a line of 10 MB are refused by name, and the run goes on', async () => {
    const driven = drive(`${OK}
t = ask("t", "terminal/create", command="echo $$; exec sleep 600")["result"]["terminalId"]
pid = ""
while pid == "": pid = ask("pid", "terminal/output", terminalId=t)["result"]["output"]
wait = lambda id: send(id=id, method="terminal/wait_for_exit", params={"sessionId": S, "terminalId": t})
wait("w"); wait("w"); assert answer("w")["error"]["code"] == -32600
for n in range(40): wait(1000 + n)
for n in range(31, 40): assert answer(1000 + n)["error"]["code"] == -32029, n
send(id="long", method="fs/write_text_file", params={"sessionId": S, "path": "/x", "content": "x" * 10_000_000})
assert answer("long")["error"]["code"] == -32600
update("agent_message_chunk", content={"type": "text", "text": "y" * 10_000_000})
os.kill(int(pid), signal.SIGKILL); assert answer("w")["result"]["signal"] == "SIGKILL"; words(" and on")${END}`)
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded', value: { text: 'ok and on' } })
    expect(driven.logs).toContainEqual('it asked again by the id "w", whose answer is not given yet')
    expect(driven.logs.filter((line) => /bytes is too long to be read/.test(line))).toHaveLength(2)
  })

  test('an answer that is too long to be read is a failure, and does not hang', async () => {
    const driven = drive(
      'ready(); prompt(); raw(\'{"jsonrpc":"2.0","id":2,"result":{"stopReason":"end_turn","x":"\' + "x" * 10_000_000 + \'"}}\'); stay()',
    )
    expect(await result(driven)).toMatchObject({
      outcome: 'failed',
      code: 'prompt_refused',
      error: expect.stringContaining('too long to be read'),
    })
  })

  test('unknown events, events of odd shapes and lines that are none pass', async () => {
    const driven = drive(`${OK}
for odd in [None, 7, [], {}, {"sessionUpdate": "new"}, {"sessionUpdate": "__proto__"}, {"sessionUpdate": "agent_message_chunk"},
            {"sessionUpdate": "tool_call"}, {"sessionUpdate": "tool_call", "toolCallId": 7, "status": "failed"},
            {"sessionUpdate": "tool_call_update", "toolCallId": "x", "status": "later", "content": "none"}, {"sessionUpdate": "plan", "entries": 3}]:
    send(method="session/update", params={"sessionId": S, "update": odd})
send(method="session/update"); raw("a plain line"); raw("17"); raw('"text"')
sys.stdout.buffer.write(b"\\xff\\xfe\\n"); sys.stdout.flush()${END}`)
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded', value: { text: 'ok' } })
    expect(driven.logs).toContain('a plain line')
  })
})

describe('being stopped', () => {
  test('S4-29: a task that is cancelled tells its agent, which answers; what it said so far is kept', async () => {
    const driven = drive(`${OK}keep(); until("session/cancel"); words(", stopped"); end("cancelled"); keep(); stay()`)
    await expect.poll(() => existsSync(join(driven.workspace, '../heard.json')), { interval: 20 }).toBe(true)
    driven.hub.cancel()
    expect(await result(driven)).toMatchObject({ value: { text: 'ok, stopped' } })
    await expect.poll(() => driven.hub.result).toMatchObject({ stopped: true, stopReason: 'cancelled' })
  })

  test('S4-29: an agent that does not hear the cancel of its turn is ended: SIGTERM, then SIGKILL, with all it began', async () => {
    const driven = drive(
      `
signal.signal(signal.SIGTERM, signal.SIG_IGN)
${OK}child = subprocess.Popen(["sleep", "600"]); keep(pids=[os.getpid(), child.pid]); time.sleep(600)`,
      {
        chat: true,
        params: {},
        times: { cancelMs: 20, killMs: 20 },
      },
    )
    const turn = driven.hub.prompt('Hello')
    await expect.poll(() => driven.heard().pids, { interval: 20 }).toBeDefined()
    driven.hub.interrupt()
    expect(await turn).toMatchObject({ stopReason: 'cancelled' })
    expect(await driven.ending).toEqual({ kind: 'crash', why: 'the program was ended by SIGKILL' })
    expect((driven.heard().pids as number[]).some(isAlive)).toBe(false)
  })

  test('an agent that never says that it is ready', async () => {
    const driven = drive('stay()', { times: { readyMs: 50 } })
    expect(await result(driven)).toMatchObject({
      code: 'not_ready',
      error: expect.stringContaining('did not answer `initialize` within'),
    })
  })
})

describe('a chat', () => {
  test('S4-5, S4-32: turn after turn in one session; a cancelled one keeps its text, a failed one ends itself alone, closing is success', async () => {
    const driven = drive(
      `ready()
prompt(); words("Hello. "); tool("t", "pending", title="ls"); tool("t", "completed"); words("One."); end(usage={"inputTokens": 5, "outputTokens": 1})
prompt(); words("Half"); keep(at="half"); until("session/cancel"); end("cancelled")
prompt(); send(id=P["id"], error={"code": 1, "message": "no model"})
prompt(); words("Cut"); end("max_tokens")
prompt(); words("Last."); end(usage={"inputTokens": 7, "outputTokens": 2}); keep(); stay()`,
      { chat: true, params: {} },
    )
    expect(await driven.hub.prompt('a')).toEqual({
      text: 'Hello. One.',
      tools: [{ name: 'ls' }],
      stopReason: 'end_turn',
    })
    const half = driven.hub.prompt('b')
    await expect.poll(() => driven.heard().at, { interval: 20 }).toBe('half')
    driven.hub.interrupt()
    expect(await half).toMatchObject({ text: 'Half', stopReason: 'cancelled' })
    expect(await driven.hub.prompt('c')).toMatchObject({
      stopReason: 'error',
      error: expect.stringContaining('no model'),
    })
    expect(await driven.hub.prompt('d')).toMatchObject({ text: 'Cut', stopReason: 'max_tokens' })
    expect(await driven.hub.prompt('e')).toMatchObject({ text: 'Last.', stopReason: 'end_turn' })
    driven.hub.finish()
    expect(await result(driven)).toMatchObject({
      outcome: 'succeeded',
      value: { text: 'Last.', usage: { input: 12, output: 3 } },
    })
    expect(said(driven, 'session/prompt').map(({ params }) => params?.prompt)).toEqual(
      ['a', 'b', 'c', 'd', 'e'].map((text) => [{ type: 'text', text }]),
    )
  })

  test('S4-29: a question of a turn that a person interrupts is taken back, and the session goes on', async () => {
    const driven = drive(
      `
ready(); prompt()
send(id="p", method="session/request_permission", params={"sessionId": S, "toolCall": {"toolCallId": "t", "title": "rm x"}, "options": OPTIONS})
got = answer("p"); until("session/cancel"); end("cancelled"); keep(got=got); stay()`,
      { chat: true, params: {}, permit: () => new Promise(() => {}) },
    )
    const turn = driven.hub.prompt('one')
    await expect.poll(() => driven.asked.length, { interval: 20 }).toBe(1)
    driven.hub.interrupt()
    expect(await turn).toMatchObject({ stopReason: 'cancelled' })
    // Before the end of the session, which would take it back too.
    const sent = driven.hub.sent.filter(({ kind }) => kind === 'permit')
    expect(sent.map(({ body }) => Object.keys(body)[0])).toEqual(['tool', 'withdraw'])
    driven.hub.finish()
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded' })
    expect(answers(driven).p).toEqual({ outcome: { outcome: 'cancelled' } })
  })

  test('a note to a task at work is its next turn; the task ends after it', async () => {
    const driven = drive(`${OK}keep()
while not os.path.exists("../go"): time.sleep(0.01)
end(); prompt(); words("noted"); end(); keep(); stay()`)
    await expect.poll(() => existsSync(join(driven.workspace, '../heard.json')), { interval: 20 }).toBe(true)
    const note = driven.hub.prompt('Also this.')
    writeFileSync(join(driven.workspace, '../go'), '')
    expect(await note).toMatchObject({ text: 'noted', stopReason: 'end_turn' })
    expect(await result(driven)).toMatchObject({ outcome: 'succeeded', value: { text: 'noted' } })
  })
})
