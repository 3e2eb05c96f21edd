/** The driver `stream-json`: what real CLIs printed, and programs that print other things, as real processes behind the shim (docs/protocol.md 10). */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readEvent } from '../../images/agent/stream-events.ts'
import { createStreamRun } from '../../images/agent/stream-run.ts'
import { createShimBench } from '../support/shim-process.ts'

const FRAMES = join(import.meta.dirname, '../support/frames')
const frames = (file: string) => readFileSync(join(FRAMES, `${file}.jsonl`), 'utf8')

/** What the run is judged to be, and what was shown of it. */
function read(text: string, code: number) {
  const run = createStreamRun()
  const events = text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
  const notes = [...events.flatMap((event) => readEvent(event).flatMap(run.take)), ...run.close()]
  const exit = { kind: 'exited', code } as const
  return { verdict: run.judge(exit, false), value: run.value(exit), reason: run.reason(), notes }
}
const EACH_FAILED = 'the program said that it succeeded, but each of its 2 calls of a tool failed'
const SAYS_FAILED = 'the program says that it failed: '
const NO_END = 'the program ended with exit code 1 and told no end of its work: '
const nothing = (why: string) => ({ kind: 'failed', code: 'nothing_done', why })
const succeeded = { kind: 'succeeded' }
const failed = (why: string) => ({ kind: 'failed', why })

const CASES: [file: string, code: number, verdict: object, text: string, calls: [done: number, failed: number]][] = [
  ['codex-0.171.0/done', 0, succeeded, 'Edited.', [1, 0]],
  ['codex-0.171.0/all-failed', 0, nothing(EACH_FAILED), 'All is well.', [0, 2]],
  ['codex-0.171.0/mixed', 0, succeeded, 'Done.', [1, 1]],
  ['codex-0.171.0/no-tool', 0, succeeded, 'Nothing to do.', [0, 0]],
  // It prints nothing of the call: whether anything was changed is asked of the branch.
  ['codex-0.171.0/own-sandbox', 0, succeeded, 'Done, text.md is edited.', [0, 0]],
  [
    ...(['codex-0.171.0/refused', 1] as const),
    failed(`${SAYS_FAILED}{"error":{"type":"invalid_request_error","message":"scripted 400"}}`),
    ...(['', [0, 0]] as [string, [number, number]]),
  ],
  ['codex-0.171.0/forbidden', 1, failed(expect.stringContaining('scripted 403')), '', [0, 0]],
  ['codex-0.171.0/unfinished', 1, failed(expect.stringContaining('stream disconnected')), '', [0, 0]],
  ['gemini-cli-0.61.0/done', 0, succeeded, 'Edited.', [1, 0]],
  ['gemini-cli-0.61.0/all-failed', 0, nothing(EACH_FAILED), 'All is well.', [0, 2]],
  ['gemini-cli-0.61.0/mixed', 0, succeeded, 'Done.', [1, 1]],
  ['gemini-cli-0.61.0/no-tool', 0, succeeded, 'Nothing to do.', [0, 0]],
  ['gemini-cli-0.61.0/refused', 144, failed(expect.stringContaining('scripted 400')), '', [0, 0]],
  ['gemini-cli-0.61.0/forbidden', 147, failed(expect.stringContaining('scripted 403')), '', [0, 0]],
  ['claude-code-2.1.332/done', 0, succeeded, 'Edited.', [1, 0]],
  ['claude-code-2.1.332/all-failed', 0, nothing(EACH_FAILED), 'All is well.', [0, 2]],
  ['claude-code-2.1.332/mixed', 0, succeeded, 'Done.', [1, 1]],
  ['claude-code-2.1.332/no-tool', 0, succeeded, 'Nothing to do.', [0, 0]],
  // Both say `subtype: success` beside `is_error: true`.
  ['claude-code-2.1.332/refused', 1, failed(`${SAYS_FAILED}API Error: 400 scripted 400`), '', [0, 0]],
  ['claude-code-2.1.332/forbidden', 1, failed(expect.stringContaining('API Error: 403 scripted 403')), '', [0, 0]],
  ['claude-code-2.1.332/unfinished', 1, failed(expect.stringContaining('API Error')), '', [0, 0]],
  [
    'claude-code-2.1.332/max-turns',
    1,
    failed(`${SAYS_FAILED}Reached maximum number of turns (1)`),
    'I look first.',
    [1, 0],
  ],
  ['opencode-1.18.33/done', 0, succeeded, 'Edited.', [1, 0]],
  ['opencode-1.18.33/all-failed', 0, nothing(EACH_FAILED), 'All is well.', [0, 2]],
  ['opencode-1.18.33/mixed', 0, succeeded, 'Done.', [1, 1]],
  ['opencode-1.18.33/no-tool', 0, succeeded, 'Nothing to do.', [0, 0]],
  // It tells no end, only an error.
  ['opencode-1.18.33/refused', 1, failed(`${NO_END}scripted 400`), '', [0, 0]],
  ['opencode-1.18.33/forbidden', 1, failed(`${NO_END}scripted 403`), '', [0, 0]],
]

describe('frames of real CLIs', () => {
  test.each(CASES)('%s with exit code %i', (file, code, verdict, text, [done, failed]) => {
    const ran = read(frames(file), code)
    expect(ran.verdict).toEqual(verdict)
    expect(ran.value).toMatchObject({ text, calls: { done, failed }, exitCode: code })
    expect(ran.value.conversation).toMatch(/^([0-9a-f-]{36}|ses_[0-9A-Za-z]{26})$/)
  })

  test('each recorded file is one of these', () => {
    const recorded = readdirSync(FRAMES, { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('.jsonl') && !name.includes('-acp-'),
    )
    expect(recorded.map((name) => name.slice(0, -6)).sort()).toEqual(CASES.map(([file]) => file).sort())
  })

  test('S4-30: usage is the CLI’s own count of its whole run; what comes from a cache is part of the input', () => {
    const usage = (file: string) => read(frames(file), 0).value.usage
    expect(usage('codex-0.171.0/mixed')).toEqual({ input: 24_000, cached: 9000, output: 300 })
    expect(usage('gemini-cli-0.61.0/mixed')).toEqual({ input: 24_000, cached: 9000, output: 300 })
    expect(usage('claude-code-2.1.332/done')).toEqual({ input: 43_656, cached: 0, output: 17 })
    // The sum of its steps.
    expect(usage('opencode-1.18.33/done')).toEqual({ input: 22_000, cached: 6000, output: 200 })
    expect(usage('codex-0.171.0/forbidden')).toBeUndefined()
  })

  test('S4-20: each recorded end gives its reason, and what told no end has failed', () => {
    const reasons = Object.fromEntries(CASES.map(([file, code]) => [file, read(frames(file), code).reason]))
    const done = ['done', 'all-failed', 'mixed', 'no-tool', 'own-sandbox']
    const expected = Object.keys(reasons).map((file) => {
      const name = file.split('/')[1] ?? ''
      return [file, done.includes(name) ? 'end_turn' : name === 'max-turns' ? 'tool_use' : 'error']
    })
    expect(reasons).toEqual(Object.fromEntries(expected))
  })

  test.each<[event: object, reason: string]>([
    [{ type: 'result', subtype: 'success', stop_reason: 'end_turn' }, 'end_turn'],
    [{ type: 'result', subtype: 'success', stop_reason: 'max_tokens' }, 'max_tokens'],
    [{ type: 'result', subtype: 'success', stop_reason: 'stop_sequence' }, 'stop_sequence'],
    [{ type: 'result', subtype: 'success', stop_reason: 'tool_use' }, 'tool_use'],
    [{ type: 'result', subtype: 'success', stop_reason: 'model_context_window_exceeded' }, 'max_tokens'],
    [{ type: 'result', subtype: 'success', stop_reason: 'refusal' }, 'error'],
    [{ type: 'result', subtype: 'success', stop_reason: 'constructor' }, 'end_turn'],
    [{ type: 'result', subtype: 'success', is_error: true, stop_reason: 'end_turn' }, 'error'],
    [{ type: 'result', status: 'error', error: { type: 'FatalTurnLimitedError', message: 'turns' } }, 'tool_use'],
    [
      { type: 'turn.failed', error: { message: 'Incomplete response returned, reason: max_output_tokens' } },
      'max_tokens',
    ],
    [{ type: 'turn.failed', error: { message: 'Incomplete response returned, reason: content_filter' } }, 'error'],
  ])('S4-20: %j stopped for %s', (event, reason) => {
    expect(read(JSON.stringify(event), 0).reason).toBe(reason)
  })

  test.each(['codex-0.171.0', 'gemini-cli-0.61.0', 'claude-code-2.1.332', 'opencode-1.18.33'])(
    '%s: words and calls are shown in order',
    (cli) => {
      const { notes } = read(frames(`${cli}/done`), 0)
      const shown = notes.filter(({ kind }) => kind !== 'trouble').map(({ kind, text }) => [kind, text])
      expect(shown).toEqual([
        ['word', 'I look first.'],
        ['call', expect.stringContaining('echo seen')],
        ['word', 'Edited.'],
      ])
    },
  )
})

describe('as a process', () => {
  let bench: ReturnType<typeof createShimBench>
  beforeEach(() => {
    bench = createShimBench()
  })
  afterEach(() => bench.close())
  const start = (text: string, task: Record<string, unknown> = {}) =>
    bench.start({ program: { driver: 'stream-json', run: bench.python(text) }, task })
  const END = 'say(type="turn.completed", usage={"input_tokens": 5})'
  const SAID = 'say(type="item.completed", item={"type": "agent_message", "text": "Done."})'

  test('a real run is replayed: its value, its log, its progress; standard input is closed, the parameter is one argument', async () => {
    const run = [
      'sh',
      '-c',
      'cat "$1"; wc -c; printf "%s" "$2" >out/param',
      'cli',
      join(FRAMES, 'codex-0.171.0/done.jsonl'),
    ]
    const program = { driver: 'stream-json' as const, run: [...run, '{param:task}'] }
    const ran = await bench.start({ program, task: { params: { task: '$(touch x) "y"' } } })
    expect(await ran.session.result).toEqual({
      outcome: 'succeeded',
      stopReason: 'end_turn',
      value: {
        text: 'Edited.',
        conversation: '01a23153-739e-7802-8cdf-c7b04070dbcb',
        usage: { input: 16_000, cached: 6000, output: 200 },
        calls: { done: 1, failed: 0 },
        exitCode: 0,
      },
    })
    expect(ran.artifact('param')).toBe('$(touch x) "y"')
    const call = "/bin/sh -lc 'echo seen'"
    expect(ran.logs()).toEqual([expect.stringContaining('Model metadata'), 'I look first.', call, 'Edited.', '0'])
    expect(ran.envelopes('progress').at(-1)?.body).toEqual({ text: call })
  })

  test('S4-6: what the task asks of its model stands in its arguments', async () => {
    const run = [...bench.python(`say(type="message", role="assistant", content=" ".join(sys.argv[1:]))\n${END}`)]
    const program = {
      driver: 'stream-json' as const,
      run: [...run, '{model}', '{system}', '{maxTurns}', '{budgetUsd}'],
    }
    const spec = { model: 'm-1', system: 'Be brief.', maxTurns: 7, budget: 250_000 }
    const ran = await bench.start({ program, task: { spec } })
    expect(await ran.session.result).toMatchObject({ value: { text: 'm-1 Be brief. 7 0.25' } })
    const none = await bench.start({ program, task: { spec: { model: 'm-1' } } })
    expect(await none.session.result).toMatchObject({
      ...{ outcome: 'failed', error: 'this command needs a value for {system}, and its task has none' },
    })
  })

  test('unknown events, events of odd shapes and lines that are none pass', async () => {
    const ran = await start(`
for odd in [{"type": "new.event"}, {"type": "__proto__"}, {"type": "constructor"}, {"type": 7}, {}, [1], None, "x", {"type": "item.completed"},
            {"type": "item.completed", "item": {"type": "later"}}, {"type": "assistant", "message": {"content": [None, 3, {"type": "text"}]}},
            {"type": "user", "message": "hello"}, {"type": "turn.completed", "usage": {"input_tokens": -1, "output_tokens": "many"}}]:
    print(json.dumps(odd), flush=True)
print("a plain line")
sys.stdout.buffer.write(b"\\xff\\xfe not text\\n"); sys.stdout.flush()
${SAID}
${END}`)
    expect(await ran.session.result).toMatchObject({
      outcome: 'succeeded',
      value: { text: 'Done.', usage: { input: 5, cached: 0, output: 0 } },
    })
    expect(ran.logs()).toContain('a plain line')
  })

  test('a line of 10 MB is named and passed over, and the run goes on; where it was the result, the task fails by that name', async () => {
    const ran = await start(`
say(type="item.started", item={"id": "i", "type": "command_execution", "command": "cat big"})
say(type="item.completed", item={"id": "i", "type": "command_execution", "aggregated_output": "x" * 10000000, "exit_code": 0})
${SAID}
${END}`)
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded', value: { text: 'Done.' } })
    expect(ran.logs().join('\n')).toMatch(
      /a line of 100001\d\d bytes is too long to be read: \{"type": "item.completed"/,
    )
    const lost = await start('say(type="result", subtype="success", is_error=False, result="x" * 10000000)')
    expect(await lost.session.result).toMatchObject({
      outcome: 'failed',
      error: expect.stringMatching(/^its result could not be read: it is a line of 100000\d\d bytes$/),
    })
  })

  test('a long last word becomes an artifact, and its beginning stays in the result', async () => {
    const ran = await start('say(type="result", subtype="success", is_error=False, result="word " * 20000)')
    const { value } = (await ran.session.result) as { value: { text: string; whole: object } }
    expect(value.text).toBe(`${'word '.repeat(20_000).slice(0, 8192)}...`)
    expect(value.whole).toEqual({ artifact: 'result.json', bytes: expect.any(Number) })
    expect(JSON.parse(ran.artifact('result.json') ?? '').text).toBe('word '.repeat(20_000))
  })

  test('errors without a finished call of the model count as silence: a few are told at once, the rest with the next sign of work', async () => {
    const ran = await start(`
for n in range(200): say(type="error", message=f"again {n}")
# The other pipe: which of the two is read first is a matter of the machine.
while not os.path.exists("read"): time.sleep(0.01)
print("again on stderr", file=sys.stderr, flush=True)
open("told", "w").close()
while not os.path.exists("go"): time.sleep(0.01)
${SAID}
${END}`)
    await expect.poll(() => ran.logs().length, { interval: 20 }).toBe(5)
    writeFileSync(join(ran.workspace, 'read'), '')
    await expect.poll(() => readdirSync(ran.workspace).includes('told'), { interval: 20 }).toBe(true)
    // What was still under way when the program had written it all would be here now.
    await expect.poll(() => ran.logs()).toEqual([0, 1, 2, 3, 4].map((n) => `again ${n}`))
    writeFileSync(join(ran.workspace, 'go'), '')
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
    expect(ran.logs().at(-1)).toBe('Done.')
    expect(ran.logs()).toContain('again 199')
    expect(ran.logs()).toContainEqual(expect.stringMatching(/^\.\.\. 14\d lines left out \.\.\.$/))
  })

  test('what it says last reaches a busy hub whole, before its result', async () => {
    // Each line takes so long as on a machine that has much other work.
    const pause = new Int32Array(new SharedArrayBuffer(4))
    bench.hooks.judge = (_, { kind }) => {
      if (kind === 'log') Atomics.wait(pause, 0, 0, 40)
      return undefined
    }
    const ran = await start(
      `for n in range(60): say(type="item.completed", item={"type": "agent_message", "text": f"word {n}"})\n${END}`,
    )
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
    expect(ran.logs()).toEqual(Array.from({ length: 60 }, (_, n) => `word ${n}`))
  })

  test.each([
    [
      'an end that says yes and an exit code that says no',
      undefined,
      `${SAID}\n${END}\nsys.exit(4)`,
      /and ended with exit code 4$/,
    ],
    [
      'no end and an exit code',
      undefined,
      'print("half", file=sys.stderr); sys.exit(3)',
      /exit code 3 and told no end of its work$/,
    ],
    ['no output at all and exit code 0', 'nothing_done', 'pass', /exit code 0 and told no end of its work$/],
    ['an end after nothing', 'nothing_done', END, /but it did and said nothing$/],
  ])('S4-36: %s is a failed task, with the code %s', async (_, code, text, error) => {
    const ran = await start(text)
    const result = (await ran.session.result) as { code?: string }
    expect(result).toMatchObject({ outcome: 'failed', error: expect.stringMatching(error) })
    expect(result.code).toBe(code)
    expect(await ran.exit).toBe(0)
  })

  test('a CLI ended by a signal before its end is a crash; one that was stopped keeps what it said, S4-20: and stopped as cancelled', async () => {
    const killed = await start(`${SAID}\nos.kill(os.getpid(), 9)`)
    expect(await killed.exit).toBe(1)
    expect(killed.envelopes('result')).toEqual([])
    const stopped = await start(`${SAID}\ntime.sleep(600)`)
    await expect.poll(() => stopped.logs(), { interval: 20 }).toContain('Done.')
    stopped.session.deliver({ kind: 'cancel', body: {} })
    expect(await stopped.session.result).toMatchObject({
      ...{ outcome: 'failed', stopped: true, stopReason: 'cancelled', value: { text: 'Done.' } },
    })
  })

  test('one that told its end and stays is not waited for until its deadline, and has succeeded', async () => {
    const ran = await start(`${SAID}\n${END}\ntime.sleep(600)`)
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded', value: { text: 'Done.' } })
  })

  test('a program that is not there fails the task and names it', async () => {
    const ran = await bench.start({ program: { driver: 'stream-json', run: ['no-such-program'] } })
    expect(await ran.session.result).toMatchObject({
      outcome: 'failed',
      error: expect.stringContaining('no-such-program'),
    })
  })
})
