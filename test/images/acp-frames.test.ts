/** The driver `acp` on what a real agent wrote (test/support/frames/README.md), and the real one beside the model server in `test:long`. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CODING_CLIS } from '../../hub/protocol/coding-clis.ts'
import { createAcpBench } from '../support/acp-agent.ts'
import { startModelServer } from '../support/models/model-server.ts'

const FRAMES = join(import.meta.dirname, '../support/frames/gemini-cli-acp-0.61.0')
let bench: ReturnType<typeof createAcpBench>
beforeEach(() => {
  bench = createAcpBench()
})
afterEach(() => bench.close())

/** Writes what was recorded; an answer waits for its question, and a question of its own for its answer. */
const REPLAY = `
for line in open(sys.argv[1]):
    line = line.rstrip("\\n").replace("/workspace", os.getcwd()); m = json.loads(line)
    while "method" not in m and not any(h.get("method") and h.get("id") == m["id"] for h in heard): take()
    raw(line)
    if m.get("id") == 1 and "method" not in m: prompt()
    if "method" in m and "id" in m: answer(m["id"])
keep(); stay()`

const [done, failed] = [
  { outcome: 'succeeded' },
  (code: string, error: string) => ({ outcome: 'failed', code, error: expect.stringContaining(error) }),
]
const CASES: [name: string, result: object, text: string, calls: [number, number], log: string[]][] = [
  ['done', done, 'Edited.', [1, 0], ['I look first.', 'echo seen', 'Edited.']],
  // It calls a command that failed a success here, and tells nothing else of it: the branch of a repository tells.
  ['all-failed', done, 'All is well.', [2, 0], ['exit 3', 'false', 'All is well.']],
  ['no-tool', done, 'Nothing to do.', [0, 0], ['Nothing to do.']],
  ['refused', failed('prompt_refused', 'scripted 400'), '', [0, 0], []],
  ['forbidden', failed('prompt_refused', 'scripted 403'), '', [0, 0], []],
  ['asks', done, 'Made.', [1, 0], ['I make it.', 'touch made', 'Made.']],
  ['denied', done, 'Not made.', [0, 0], ['I make it.', 'touch made', 'not allowed: touch made: ', 'Not made.']],
  ['writes', done, 'Written.', [1, 0], ['Writing to a.txt', 'Written.']],
]

describe('frames of Gemini CLI 0.61.0', () => {
  test.each(CASES)('%s', async (name, result, text, [ok, bad], log) => {
    const driven = bench.drive(REPLAY, { more: [join(FRAMES, `${name}.jsonl`)], permit: () => name !== 'denied' })
    const ending = await driven.ending
    expect(ending).toMatchObject({
      kind: 'result',
      result: { ...result, value: { text, calls: { done: ok, failed: bad } } },
    })
    expect(driven.logs).toEqual(['gemini-cli 0.61.0', ...log])
    if (name === 'writes') expect(readFileSync(join(driven.workspace, 'a.txt'), 'utf8')).toBe('hello\n')
    if (name === 'asks') expect(driven.asked).toMatchObject([{ tool: 'touch made', kind: 'execute' }])
    if (name === 'done')
      expect(ending).toMatchObject({ result: { value: { usage: { input: 23_923, cached: 0, output: 16 } } } })
  })

  test('each recorded file is one of these', () => {
    expect(readdirSync(FRAMES).sort()).toEqual(CASES.map(([name]) => `${name}.jsonl`).sort())
  })
})

const CLI = join(
  import.meta.dirname,
  '../../.tools',
  `gemini-${CODING_CLIS.gemini.version}`,
  'node_modules/@google/gemini-cli/bundle/gemini.js',
)

describe.runIf(process.env.HUB_TEST_LONG === '1' && existsSync(CLI))('the real Gemini CLI', () => {
  test('asks before it runs a command, writes a file through its client, and ends', async () => {
    let [asked, workspace] = [0, '']
    await using server = await startModelServer(() => {
      asked += 1
      const write = { name: 'write_file', input: { file_path: join(workspace, 'a.txt'), content: 'hello\n' } }
      const shell = { name: 'run_shell_command', input: { command: 'touch made', description: 'make' } }
      return [{ calls: [write] }, { calls: [shell] }, { text: 'Made both.' }][asked - 1] ?? { text: 'More?' }
    })
    const driven = bench.drive('', {
      permit: ({ kind }) => kind === 'execute' || kind === 'edit',
      run(place) {
        workspace = place
        return [process.execPath, CLI, '--acp', '-m', 'gemini-2.5-flash']
      },
      env: {
        GEMINI_API_KEY: 'none',
        GOOGLE_GEMINI_BASE_URL: server.url,
        GEMINI_CLI_NO_RELAUNCH: 'true',
        GEMINI_TELEMETRY_ENABLED: 'false',
      },
    })
    expect(await driven.ending).toMatchObject({
      result: { outcome: 'succeeded', value: { text: 'Made both.', calls: { done: 2 } } },
    })
    expect(readdirSync(driven.workspace).sort()).toEqual(['a.txt', 'made', 'out'])
    expect(driven.asked.map(({ kind }) => kind)).toContain('execute')
  })
})
