/** Programs that know no SDK, as real processes behind the shim: what the drivers promise, and what hostile programs try (docs/protocol.md 10). */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { STOP_GRACE_MS } from '../../hub/protocol/stop-grace.ts'
import { GRACE } from '../../images/agent/ending.ts'
import { createShimBench, isAlive } from '../support/shim-process.ts'

let bench: ReturnType<typeof createShimBench>
beforeEach(() => {
  bench = createShimBench()
})
afterEach(() => bench.close())

const jsonLines = (text: string, options: Record<string, unknown> = {}) =>
  bench.start({ program: { driver: 'json-lines', run: bench.python(text), ...options } })
const command = (run: string[], task: Record<string, unknown> = {}) =>
  bench.start({ program: { driver: 'command', run }, task })
const value = async ({ session }: Awaited<ReturnType<typeof command>>) => {
  const { outcome, error, value } = await session.result
  expect(error).toBeUndefined()
  expect(outcome).toBe('succeeded')
  return value as Record<string, unknown>
}
const until = (holds: () => boolean) => expect.poll(holds, { interval: 20 }).toBe(true)
/** What is logged at most, however much is written: what may go at once, one each 50 ms, and the lines that are kept to the end. */
async function logsMost(run: () => Promise<unknown>): Promise<number> {
  const begunAt = performance.now()
  await run()
  return 50 + (performance.now() - begunAt) / 50 + 200 + 10
}

describe('json-lines', () => {
  test('hands over the task, and the surroundings of section 10 and nothing of the shim', async () => {
    const text = `say(op="result", id="r", value={"task": hear(), "env": dict(os.environ), "cwd": os.getcwd(),
      "file": json.load(open("task.json"))["params"], "group": os.getpgrp() == os.getpid()})`
    const ran = await bench.start({
      program: { driver: 'json-lines', run: bench.python(text), env: { WORD: 'card', LANG: 'C' } },
      task: { params: { n: 1 } },
    })
    const { task, env, cwd, file, group } = await value(ran)
    expect(Object.keys(task as object)).toEqual(['op', 'task', 'attempt', 'params', 'deadlineMs'])
    expect(task).toMatchObject({ op: 'task', task: ran.session.task.task, attempt: 1, params: { n: 1 } })
    const { LC_CTYPE: _, ...rest } = env as Record<string, string>
    expect(rest).toEqual({
      HOME: join(ran.workspace, 'home'),
      PATH: process.env.PATH,
      LANG: 'C',
      TMPDIR: '/tmp',
      WORD: 'card',
      HUB_DEADLINE: String((task as { deadlineMs: number }).deadlineMs),
    })
    expect([cwd, file, group]).toEqual([ran.workspace, { n: 1 }, true])
    expect(await ran.exit).toBe(0)
  })

  test('carries out every operation in order and answers each under its id; a refusal has code and hint', async () => {
    bench.hooks.judge = (_, { to }) => (to === 'agent:denied' ? { code: 'policy_denied' } : undefined)
    bench.hooks.onAccepted = (session, { kind, id, body }) => {
      const answer = { request: { pong: 1 }, delegate: { task: 't', outcome: 'succeeded', artifacts: [] } }[
        kind as string
      ]
      if (answer !== undefined && body.quiet !== true) {
        session.deliver({ kind: 'reply', correlationId: id, body: { ...answer, asked: body } })
      }
    }
    const ran = await jsonLines(`
hear()
say(op="progress", id=1, text="half", done=1, total=2)
say(op="log", id=2, text="a line", level="warn")
say(op="send", id=3, to="agent:reader", type="x.y", body={"quiet": True})
say(op="publish", id=4, topic="news", type="x.y", body={"b": 1})
say(op="subscribe", id=5, topic="news")
say(op="request", id=6, to="agent:reader", type="x.y", body={"n": 7})
say(op="delegate", id=7, agent="reader", params={"p": 1})
say(op="send", id=8, to="agent:denied", type="x.y")
heard = []
while len([h for h in heard if h.get("id") in range(1, 9)]) < 10: heard.append(hear())
say(op="result", id=9, value=heard)`)
    const heard = (await value(ran)) as unknown as {
      op: string
      id: number
      body?: unknown
      code?: string
      hint?: string
    }[]
    const oks = heard.filter(({ op }) => op === 'ok').map(({ id }) => id)
    expect(oks).toEqual([1, 2, 3, 4, 5, 6, 7])
    const replies = heard.filter(({ op }) => op === 'reply')
    expect(replies).toMatchObject([
      { id: 6, body: { pong: 1, asked: { n: 7 } } },
      { id: 7, body: { outcome: 'succeeded', asked: { agent: 'reader', params: { p: 1 } } } },
    ])
    expect(heard.find(({ op }) => op === 'error')).toMatchObject({
      id: 8,
      code: 'policy_denied',
      hint: expect.stringContaining('data.json'),
    })
    const kinds = ran.session.seen.flatMap(({ envelope }) => (envelope ? [envelope.kind] : []))
    expect(kinds.filter((kind) => !['progress', 'log'].includes(kind))).toEqual([
      'request',
      'event',
      'request',
      'delegate',
      'request',
      'result',
    ])
    expect(ran.envelopes('log')[0]?.body).toEqual({ level: 'warn', text: 'a line' })
    expect(ran.envelopes('progress')[0]?.body).toEqual({ text: 'half', done: 1, total: 2 })
  })

  test('S4-7: asks whether a tool may be used, goes on talking, and hears ok and then the answer to that one (fault F13)', async () => {
    let asked = ''
    bench.hooks.onAccepted = (session, { kind, id }) => {
      if (kind === 'permit') asked = id
      if (kind !== 'log') return
      session.deliver({ kind: 'message', messageKind: 'event', type: 'x.y', body: { approved: false } })
      session.deliver({ kind: 'reply', correlationId: id, body: { approved: false, text: 'of another' } })
      session.deliver({ kind: 'reply', correlationId: asked, body: { approved: true, text: 'go on' } })
    }
    const ran = await jsonLines(`
hear()
say(op="permit", id="p", tool="Bash", kind="execute", title="npm test", arguments={"command": "npm test"})
say(op="log", id=2, text="meanwhile")
heard = []
while not any(h.get("op") == "reply" for h in heard): heard.append(hear())
say(op="result", value=heard)`)
    const heard = (await value(ran)) as unknown as { op: string; id?: unknown; body?: unknown }[]
    expect(heard.filter(({ id }) => id === 'p')).toEqual([
      { op: 'ok', id: 'p' },
      { op: 'reply', id: 'p', body: { allowed: true, reason: 'go on' } },
    ])
    expect(ran.envelopes('permit').map(({ body }) => body)).toEqual([
      { tool: 'Bash', kind: 'execute', title: 'npm test', arguments: { command: 'npm test' } },
    ])
  })

  test('S1-63: sets the class of messages and outputs; of an output the strictest counts, whatever the order', async () => {
    const ran = await jsonLines(`
hear()
say(op="publish", id=1, topic="news", type="x.y", dataClass="internal")
say(op="send", id=2, to="agent:reader", type="x.y", dataClass="restricted")
say(op="publish", id=3, topic="news", type="x.y")
for name in ["a.txt", "sub/b.txt", "sub/c.txt"]:
    os.makedirs(os.path.dirname("out/" + name), exist_ok=True)
    open("out/" + name, "w").write(name)
say(op="classify", id=4, path="sub", dataClass="confidential")
say(op="classify", id=5, path="sub/b.txt", dataClass="public")
say(op="classify", id=6, path=".", dataClass="internal")
say(op="classify", id=7, path="a.txt", dataClass="secret")
say(op="classify", id=8, path="../a.txt", dataClass="public")
heard = [hear() for _ in range(8)]
say(op="result", id="r", value=heard)`)
    const heard = (await value(ran)) as unknown as { op: string; id: number; code?: string; hint?: string }[]
    expect(heard.slice(0, 6).map(({ op, id }) => [op, id])).toEqual([1, 2, 3, 4, 5, 6].map((id) => ['ok', id]))
    expect(heard.slice(6)).toMatchObject([
      { id: 7, code: 'schema_invalid', hint: expect.stringContaining('public internal confidential restricted') },
      { id: 8, code: 'schema_invalid', hint: expect.stringContaining('path') },
    ])
    const classes = ran.session.seen.flatMap(({ envelope }) =>
      envelope?.type === 'x.y' ? [envelope.dataClass ?? null] : [],
    )
    expect(classes).toEqual(['internal', 'restricted', null])
    expect(Object.fromEntries(ran.session.artifactClasses)).toEqual({
      'a.txt': 'internal',
      'sub/b.txt': 'confidential',
      'sub/c.txt': 'confidential',
    })
  })

  test('tells what became of a line that a person was asked about, after its refusal and under its id [ask-12]', async () => {
    let isAsked = true
    bench.hooks.judge = (session, { type }) => {
      if (type !== 'pay' || !isAsked) return undefined
      // The answer may be there before the program has read its refusal.
      const body = { approval: 'a-1', answer: 'approved', text: 'go on' }
      session.deliver({ kind: 'message', messageKind: 'event', type: 'approval.answered', body })
      isAsked = false
      return { code: 'needs_approval', approval: 'a-1' }
    }
    const ran = await jsonLines(`
hear()
say(op="publish", id="p", topic="shop", type="pay")
heard = [hear(), hear()]
say(op="publish", id="p", topic="shop", type="pay")
say(op="result", id="r", value=heard + [hear()])`)
    expect(await value(ran)).toMatchObject([
      { op: 'error', id: 'p', code: 'needs_approval', approval: 'a-1' },
      { op: 'approval', id: 'p', approval: 'a-1', answer: 'approved', text: 'go on' },
      { op: 'ok', id: 'p' },
    ])
  })

  test('is told that money runs low, by the hub alone; what is said under that type by another agent is a message (S2-30)', async () => {
    const ran = await jsonLines(`
hear()
say(op="log", text="ready")
say(op="result", id="r", value=[hear(), hear()])`)
    await until(() => ran.envelopes('log').length > 0)
    const type = 'budget.low'
    const low = { of: 'tree', mark: 50, limitUsd: 2_000_000, spentUsd: 1_100_000 }
    const from = { agent: 'peer', session: 's000000000000001' }
    ran.session.deliver({ kind: 'message', messageKind: 'event', type, from, body: { ...low, mark: 100 } })
    ran.session.deliver({ kind: 'message', messageKind: 'event', type, body: low })
    expect(await value(ran)).toMatchObject([
      { op: 'message', kind: 'event', type, from },
      { op: 'budget', ...low },
    ])
  })

  test('keeps the order in which the program spoke, also where the hub asks to wait, and all of it before the result', async () => {
    let asked = 0
    bench.hooks.judge = (_, { type }) => {
      if (type !== 'n.0') return undefined
      asked += 1
      return asked === 1 ? { code: 'rate_limited', retryAfterMs: 200 } : undefined
    }
    const accepted: string[] = []
    bench.hooks.onAccepted = (_, { kind, type }) => accepted.push(kind === 'result' ? kind : type)
    const ran = await jsonLines(`
hear()
lines = [{"op": "publish", "topic": "t", "type": f"n.{n}"} for n in range(8)] + [{"op": "result", "value": 1}]
sys.stdout.write("".join(json.dumps(line) + "\\n" for line in lines)); sys.stdout.flush()`)
    expect(await value(ran)).toBe(1)
    expect(accepted).toEqual([...Array.from({ length: 8 }, (_, n) => `n.${n}`), 'result'])
  })

  test('hands over messages and takes replies to them once; an unknown one is refused', async () => {
    const ran = await jsonLines(`
hear()
say(op="log", text="ready")
m = hear()
say(op="reply", id=1, correlationId=m["id"], body={"echo": m["body"]})
say(op="reply", id=2, correlationId=m["id"], body={})
say(op="reply", id=3, correlationId="unknown", body={})
answers = [hear() for _ in range(3)]
say(op="result", value=[m, answers])`)
    await until(() => ran.envelopes('log').length > 0)
    const from = { agent: 'lead', session: ran.session.session }
    ran.session.deliver({
      kind: 'message',
      messageKind: 'request',
      type: 'ping.it',
      from,
      id: crypto.randomUUID(),
      body: { a: 1 },
    })
    const [message, answers] = (await value(ran)) as unknown as [Record<string, unknown>, unknown[]]
    expect(message).toMatchObject({ op: 'message', kind: 'request', type: 'ping.it', from, body: { a: 1 } })
    expect(answers).toMatchObject([
      { op: 'ok', id: 1 },
      { op: 'error', id: 2, code: 'already_resolved' },
      { op: 'error', id: 3, code: 'already_resolved' },
    ])
    expect(ran.envelopes('reply')).toMatchObject([{ correlationId: message.id, body: { echo: { a: 1 } } }])
  })

  test('a failed result keeps its value; files in out become artifacts before it', async () => {
    const ran = await jsonLines(`
hear()
open("out/a.txt", "w").write("made")
say(op="result", id=1, outcome="failed", error="not today", value={"half": 1})`)
    expect(await ran.session.result).toEqual({ outcome: 'failed', error: 'not today', value: { half: 1 } })
    expect(ran.artifact('a.txt')).toBe('made')
    expect(ran.session.seen.at(-1)?.envelope?.kind).toBe('result')
    expect(await ran.exit).toBe(0)
  })

  test.each([
    ['a number that is none', `out(b'{"op":"result","value":NaN}')`, 'not a JSON text'],
    ['a whole number that no double holds', `out(b'{"op":"result","value":9007199254740993}')`, /integer|number/],
    ['a forbidden key', `out(b'{"op":"result","value":{"__proto__":1}}')`, /__proto__|key/],
    ['a byte order mark', `out(b'\\xef\\xbb\\xbf{"op":"result","value":1}')`, 'byte order mark'],
    ['Latin-1', `out(b'{"op":"result","value":"\\xe9"}')`, 'not valid UTF-8'],
    ['an outcome that is none', `out(b'{"op":"result","outcome":"done"}')`, 'succeeded or failed'],
    ['half a surrogate', `out(b'{"op":"result","value":"\\\\ud800"}')`, /./],
    [
      'more than is kept of a line',
      `out(b'{"op":"result","value":"' + b'x' * (5 * 1024 ** 2) + b'"}')`,
      'a line of 5242906 bytes',
    ],
  ])('a result with %s fails the task with that reason, in one run (fault C34)', async (_, text, why) => {
    const ran = await jsonLines(
      `out = lambda raw: (sys.stdout.buffer.write(raw + b"\\n"), sys.stdout.flush())\nhear()\n${text}`,
    )
    const { outcome, error } = await ran.session.result
    expect([outcome, await ran.exit]).toEqual(['failed', 0])
    expect(error).toMatch(why)
  })

  test('a result that is longer than a line becomes an artifact, and the task succeeds (fault C27)', async () => {
    const ran = await jsonLines('hear()\nsay(op="result", value={"rows": ["x" * 100] * 2000})')
    const bytes = JSON.stringify({ rows: Array(2000).fill('x'.repeat(100)) }).length
    expect(await value(ran)).toEqual({ artifact: 'result.json', bytes })
    expect(JSON.parse(ran.artifact('result.json') ?? '')).toEqual({ rows: Array(2000).fill('x'.repeat(100)) })
  })

  test('an exit without a result is a crash: code 1, no result, and the log says why', async () => {
    const ran = await jsonLines('hear(); print("bye", file=sys.stderr); sys.exit(4)')
    expect(await ran.exit).toBe(1)
    expect(ran.envelopes('result')).toEqual([])
    expect(ran.logs()).toEqual(expect.arrayContaining(['bye', 'the program ended without a result (exit code 4)']))
  })

  test('S4-6: the first line holds what the task asks of its model, and nothing where it asks nothing', async () => {
    const text = 'say(op="result", value=hear())'
    const spec = { model: 'm-1', system: 'Be brief.', maxTurns: 7, budget: 5 }
    const told = await bench.start({ program: { driver: 'json-lines', run: bench.python(text) }, task: { spec } })
    expect(await told.session.result).toMatchObject({ value: { op: 'task', spec } })
    const plain = await jsonLines(text)
    expect(await plain.session.result).not.toHaveProperty('value.spec')
  })

  test('S4-20: a result says why its model stopped, by one of six words', async () => {
    const ran = await jsonLines(`
hear()
say(op="result", id=1, value=1, stopReason="tired")
refused = hear()
say(op="result", id=2, value=refused["hint"], stopReason="max_tokens")`)
    expect(await ran.session.result).toEqual({
      outcome: 'succeeded',
      stopReason: 'max_tokens',
      value: expect.stringContaining(
        'stopReason: one of end_turn max_tokens tool_use stop_sequence cancelled error',
      ) as string,
    })
  })

  test('a cancelled program is told, and what it still reports is the value of the stopped task', async () => {
    const ran = await jsonLines(`
hear()
say(op="log", text="ready")
end = hear()
say(op="result", value=end)`)
    await until(() => ran.envelopes('log').length > 0)
    ran.session.deliver({ kind: 'cancel', body: {} })
    expect(await ran.session.result).toMatchObject({ outcome: 'failed', value: { op: 'shutdown', graceMs: 2500 } })
    expect(await ran.exit).toBe(0)
  })
})

describe('a hostile json-lines program', () => {
  test('prints garbage: each line is answered as an error or logged, the shim lives, and a result still counts', async () => {
    const ran = await jsonLines(`
hear()
out = sys.stdout.buffer
for bad in [b"\\xff\\xfe\\x00", b"not json", b"[1]", b"{}", b'{"op":"fly","id":1}', b'{"op":"log","id":2,"text":"a","text":"b"}',
            b'{"op":"log","id":3,"text":"' + b"x" * 70000 + b'"}', b'{"op":"send","id":4,"to":"nobody","type":"NOT A TYPE"}',
            b"[" * 60000]:
    out.write(bad + b"\\n"); out.flush()
errors = [hear() for _ in range(9)]
say(op="result", id=5, value=errors)`)
    const errors = (await value(ran)) as unknown as { op: string; id: number | null; code: string }[]
    expect(errors.map(({ op }) => op)).toEqual(Array(9).fill('error'))
    expect(errors.map(({ id, code }) => `${id} ${code}`)).toEqual([
      ...['null schema_invalid', 'null schema_invalid', 'null schema_invalid', 'null unknown_operation'],
      ...['1 unknown_operation', 'null schema_invalid', 'null too_large', '4 schema_invalid', 'null schema_invalid'],
    ])
    expect(await ran.exit).toBe(0)
  })

  test('floods stdout and never reads stdin: it is read no faster than it is used, and its result still counts', async () => {
    const ran = await jsonLines(`
hear()
for _ in range(200): sys.stdout.write("garbage " * 8000 + "\\n")
sys.stdout.write("x" * 20_000_000 + "\\n")
for _ in range(20000): sys.stdout.write('{"op":"nothing"}\\n')
sys.stdout.flush()
say(op="result", value="done")`)
    const most = await logsMost(async () => expect(await value(ran)).toBe('done'))
    expect(ran.envelopes('log').length).toBeLessThan(most)
    expect(await ran.exit).toBe(0)
  })

  test('never reads its messages: they are refused to their senders, and the shim stays small', async () => {
    const ran = await jsonLines(`
hear()
say(op="log", text="ready")
while not os.path.exists("go"): time.sleep(0.02)
say(op="result", value="done")`)
    await until(() => ran.envelopes('log').length > 0)
    const from = { agent: 'lead', session: ran.session.session }
    const body = { text: 'y'.repeat(20_000) }
    for (let sent = 0; sent < 150; sent += 1) {
      ran.session.deliver({ kind: 'message', messageKind: 'request', type: 'a', from, id: crypto.randomUUID(), body })
    }
    await until(() => ran.envelopes('reply').length > 50)
    expect(ran.envelopes('reply')[0]?.body.error).toContain('does not read')
    writeFileSync(join(ran.workspace, 'go'), '')
    expect(await value(ran)).toBe('done')
  })

  test('wants answers and never reads them: it waits for itself, until the deadline ends it', async () => {
    const text = 'hear()\nwhile True: say(op="progress", id="x" * 60, text="y" * 900, done=1, total=2)'
    const ran = await bench.start({ program: { driver: 'json-lines', run: bench.python(text) }, ttlMs: 3_000 })
    expect(await ran.session.result).toMatchObject({
      outcome: 'failed',
      error: expect.stringContaining('time to live'),
    })
    expect(await ran.exit).toBe(0)
  })

  test('gives its result twice: the first counts, the second is refused', async () => {
    const ran = await jsonLines(`
hear()
sys.stdout.write('{"op":"result","id":1,"value":"first"}\\n{"op":"result","id":2,"value":"second"}\\n'); sys.stdout.flush()
open("out/answers", "w").write(sys.stdin.read())`)
    expect(await value(ran)).toBe('first')
    const answers = (ran.artifact('answers') ?? '')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object)
    expect(answers).toMatchObject([
      { op: 'ok', id: 1 },
      { op: 'error', id: 2, code: 'already_resolved' },
      { op: 'shutdown' },
    ])
    expect(ran.envelopes('result')).toHaveLength(1)
  })

  test('forks and exits: what it left in its group is killed, and its open pipe delays nothing', async () => {
    const ran = await jsonLines(`
hear()
pid = os.fork()
if pid == 0: time.sleep(600); os._exit(0)
say(op="result", value=pid)
os._exit(0)`)
    const startedAt = performance.now()
    const pid = (await value(ran)) as unknown as number
    // Far less than the child would hold it for, and far more than a busy machine needs.
    expect(performance.now() - startedAt).toBeLessThan(120_000)
    expect(await ran.exit).toBe(0)
    // It was killed; the system may take a moment to bury it, and here nobody waits for that.
    await expect.poll(() => isAlive(pid)).toBe(false)
  })

  test('leaves its group and keeps writing: the session ends all the same', async () => {
    const ran = await jsonLines(`
hear()
pid = os.fork()
if pid == 0:
    os.setsid()
    while True: os.write(1, b"still here\\n"); time.sleep(0.01)
say(op="result", value=pid)
os._exit(0)`)
    const pid = (await value(ran)) as unknown as number
    expect(await ran.exit).toBe(0)
    // In a container the end of the shim is the end of everything; here it stays for us.
    if (isAlive(pid)) process.kill(pid, 'SIGKILL')
  })

  test('T60: ignores SIGTERM, and so do its children: all are killed, and a partial result arrives within the grace', async () => {
    const ran = await jsonLines(`
signal.signal(signal.SIGTERM, signal.SIG_IGN)
hear()
child = subprocess.Popen([sys.executable, "-c", "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
say(op="log", text=f"{os.getpid()} {child.pid}")
time.sleep(600)`)
    await until(() => ran.envelopes('log').length > 0)
    const pids = (ran.logs()[0] ?? '').split(' ').map(Number)
    expect(pids.map(isAlive)).toEqual([true, true])
    const askedAt = performance.now()
    ran.child.kill('SIGTERM')
    expect(await ran.exit).toBe(0)
    // The timers leave a quarter of the grace; how long a machine takes for the rest is no matter of the shim.
    expect(GRACE.ms * GRACE.kill).toBeLessThanOrEqual(0.75 * STOP_GRACE_MS)
    expect(performance.now() - askedAt).toBeLessThan(3 * STOP_GRACE_MS)
    expect((await ran.session.result).outcome).toBe('failed')
    // They were killed; the system may take a moment to bury them.
    await expect.poll(() => pids.map(isAlive)).toEqual([false, false])
  })

  test('T57: floods stderr: the log is bounded, keeps its end, and says what is missing', async () => {
    const ran = await jsonLines(`
hear()
for n in range(50000): print("noise", n, file=sys.stderr)
sys.stderr.flush()
say(op="result", value="done")`)
    const most = await logsMost(async () => expect(await value(ran)).toBe('done'))
    expect(ran.logs().length).toBeLessThan(most)
    expect(ran.logs().at(-1)).toBe('noise 49999')
    expect(ran.logs().some((line) => /\d+ lines left out/.test(line))).toBe(true)
  })

  test.each(['json-lines', 'command'] as const)(
    'a program that is not there fails the %s task and names it',
    async (driver) => {
      const ran = await bench.start({ program: { driver, run: ['no-such-program'] } })
      expect(await ran.session.result).toMatchObject({
        outcome: 'failed',
        error: expect.stringContaining('no-such-program'),
      })
      expect(await ran.exit).toBe(0)
    },
  )
})

describe('command', () => {
  test('a plain command: {input} is the one file of its input, its standard output the result', async () => {
    const inputs = await bench.inputs({ 'a file.txt': 'one two three\n' })
    const ran = await command(['wc', '-w', '{input}'], { inputs })
    expect(await value(ran)).toEqual({ exitCode: 0, stdout: `3 ${ran.workspace}/in/a file.txt\n` })
    expect(await ran.exit).toBe(0)
  })

  test('a folder stays a folder, with its modes, and without setuid', async () => {
    const inputs = await bench.inputs({ 'sub/a': '1', b: '2' })
    const ran = await command(['find', '{input}', '-type', 'f', '-perm', '-u=r'], { inputs })
    expect(
      String((await value(ran)).stdout)
        .trim()
        .split('\n')
        .sort(),
    ).toEqual([`${ran.workspace}/in/b`, `${ran.workspace}/in/sub/a`])
  })

  test('X12: a parameter is one element of argv, whatever it holds: no shell reads it', async () => {
    const hostile = '; touch pwned $(touch pwned) `touch pwned` {input}\n"\' *'
    const ran = await command(['printf', '[%s]', 'x={param:text}', '{param:n}'], { params: { text: hostile, n: 3 } })
    expect((await value(ran)).stdout).toBe(`[x=${hostile}][3]`)
    expect(() => readFileSync(join(ran.workspace, 'pwned'))).toThrow('ENOENT')
  })

  test('an input that no argument names goes to standard input, as fast as it is read', async () => {
    const inputs = await bench.inputs({ 'big.txt': 'x'.repeat(5_000_000) })
    expect((await value(await command(bench.shell('sleep 0.2; wc -c'), { inputs }))).stdout).toBe('5000000\n')
    const closed = await command(bench.shell('exec <&-; echo fine'), { inputs })
    expect((await value(closed)).stdout).toBe('fine\n')
  })

  test('a shell script: out becomes artifacts, stderr and stdout the log', async () => {
    const ran = await command(bench.shell('mkdir out/d; echo made >out/d/x; echo to-err >&2; echo to-out'))
    expect(await value(ran)).toEqual({ exitCode: 0, stdout: 'to-out\n' })
    expect(ran.artifact('d/x')).toBe('made\n')
    expect(ran.logs().sort()).toEqual(['to-err', 'to-out'])
  })

  test('exit 75 asks for another try: the shim crashes, nothing is posted', async () => {
    const ran = await command(bench.shell('exit 75'))
    expect(await ran.exit).toBe(1)
    expect(ran.envelopes('result')).toEqual([])
  })

  test('a command ended by a signal of its own is a crash', async () => {
    const ran = await command(bench.shell('kill -9 $$'))
    expect(await ran.exit).toBe(1)
    expect(ran.envelopes('result')).toEqual([])
  })

  test('any other exit code is a failed result with that code and what was printed', async () => {
    const ran = await command(bench.shell('echo so far; exit 3'))
    expect(await ran.session.result).toEqual({
      outcome: 'failed',
      error: 'the command failed with exit code 3',
      value: { exitCode: 3, stdout: 'so far\n' },
    })
    expect(await ran.exit).toBe(0)
  })

  test('of a long output the end is the value, and the last 64 KiB an artifact', async () => {
    const ran = await command(bench.shell('i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done'))
    const { stdout } = await value(ran)
    expect(String(stdout).endsWith('line 19999\n')).toBe(true)
    expect(Buffer.byteLength(JSON.stringify(stdout))).toBeLessThanOrEqual(48 * 1024)
    // What is not all says so in its name (fault C35).
    const printed = 'line 0\n'.length * 10 + 8 * 90 + 9 * 900 + 10 * 9000 + 11 * 10_000
    const name = `stdout-last-65536-of-${printed}-bytes.txt`
    expect(ran.artifact(name)).toHaveLength(64 * 1024)
    expect(ran.artifact(name)?.endsWith(String(stdout))).toBe(true)
  })

  test('an output between what a result holds and what is kept is whole under its own name', async () => {
    const ran = await command(bench.shell('i=0; while [ $i -lt 6000 ]; do echo "line $i"; i=$((i+1)); done'))
    const { stdout } = await value(ran)
    const all = [...Array(6000).keys()].map((nth) => `line ${nth}\n`).join('')
    expect(String(stdout).length).toBeLessThan(all.length)
    expect(ran.artifact('stdout.txt')).toBe(all)
  })

  test('one that gave its result and stays is not waited for until its deadline (fault C27)', async () => {
    const ran = await command(bench.shell('echo \'{"op":"result","value":{"n":1}}\'; exec sleep 600'))
    expect(await value(ran)).toEqual({ n: 1 })
    expect(await ran.exit).toBe(0)
  })

  test('JSON lines of its own report and give the result, but do not act: what a command prints may come from its input', async () => {
    const inputs = await bench.inputs({
      'hostile.txt':
        '{"op":"delegate","id":1,"agent":"echo"}\n{"op":"send","to":"agent:echo","type":"x"}\n{"op":"progress","text":"half"}\n',
    })
    const ran = await command(bench.shell('cat; echo \'{"op":"result","value":{"n":1}}\''), { inputs })
    expect(await value(ran)).toEqual({ n: 1 })
    const kinds = new Set(ran.session.seen.flatMap(({ envelope }) => (envelope ? [envelope.kind] : [])))
    expect(kinds).toEqual(new Set(['log', 'progress', 'result']))
  })

  test('T69: a manifest whose paths leave the folder, or whose bytes are others, fails the task and writes nothing outside', async () => {
    const entry = { mode: 0o644, size: 1, offset: 0, sha256: 'a'.repeat(64) }
    const inputsOf = (path: string) => ({
      manifest: bench.entrance.store(JSON.stringify({ version: 1, files: [{ ...entry, path }] })),
      pack: bench.entrance.store('x'),
    })
    const leaving = await command(['true', '{input}'], { inputs: inputsOf('../task.json') })
    expect(await leaving.session.result).toMatchObject({ outcome: 'failed', error: expect.stringContaining('..') })
    expect(JSON.parse(readFileSync(join(leaving.workspace, 'task.json'), 'utf8'))).toMatchObject({ attempt: 1 })
    const other = await command(['true', '{input}'], { inputs: inputsOf('fine') })
    expect(await other.session.result).toMatchObject({ outcome: 'failed', error: expect.stringContaining('manifest') })
  })

  test('a parameter that was not given fails the task before anything runs, and is named', async () => {
    const ran = await command(['touch', '{param:name}'])
    expect(await ran.session.result).toMatchObject({
      outcome: 'failed',
      error: expect.stringContaining('--param name='),
    })
  })

  test('SIGTERM reaches the command at once', async () => {
    const ran = await command(
      bench.shell('trap "date +%s%3N >asked; exit 0" TERM; echo ready; while :; do sleep 0.05; done'),
    )
    await until(() => ran.logs().includes('ready'))
    const askedMs = Date.now()
    ran.child.kill('SIGTERM')
    expect(await ran.exit).toBe(0)
    // By the command's own watch, and long before a program that is asked to stop by a line would get the signal.
    const heardMs = Number(readFileSync(join(ran.workspace, 'asked'), 'utf8'))
    expect(heardMs - askedMs).toBeLessThan(STOP_GRACE_MS * GRACE.term)
    expect(await ran.session.result).toMatchObject({ outcome: 'failed', error: expect.stringContaining('stopped') })
  })
})
