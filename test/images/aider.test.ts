/**
 * The program of the recipe `aider`, as it is copied. aider itself is started in the long run (`test/containers/recipes.test.ts`); here
 * a package of the same name stands for it, with the names and the order of calls of 0.86.2, and does what a line of the task says.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readEvent } from '../../images/agent/stream-events.ts'
import { createStreamRun } from '../../images/agent/stream-run.ts'
import { PYTHON } from '../support/shim-process.ts'

const PROGRAM = resolve(import.meta.dirname, '../../hub/client/templates/aider/main.py')
const PACKAGE: Record<string, string> = {
  'aider_chat-0.86.2.dist-info/METADATA': 'Metadata-Version: 2.1\nName: aider-chat\nVersion: 0.86.2\n',
  'aider/__init__.py': '',
  'aider/models.py': `
class Manager:
    content = None
model_info_manager = Manager()
class Model:
    def __init__(self, name, weak_model, editor_model):
        assert name == weak_model == "openai/m-1" and editor_model is False
`,
  'aider/repomap.py': 'class RepoMap:\n    pass\n',
  'aider/io.py': `
class InputOutput:
    def __init__(self, pretty, yes, fancy_input):
        assert yes is True
    def tool_error(self, message="", strip=True):
        print(message)
`,
  'aider/coders.py': `
class Refused(Exception):
    pass
class Used:
    prompt_tokens, completion_tokens = 100, 7
    prompt_tokens_details = None
class Chunk:
    usage = Used()
class Commands:
    def cmd_test(self, command):
        return "" if command == "good" else "I ran this command: " + command
class Coder:
    num_exhausted_context_windows, reflected_message, partial_response_content = 0, None, ""
    @classmethod
    def create(cls, io, test_cmd, auto_commits, detect_urls, suggest_shell_commands, **more):
        assert (auto_commits, detect_urls, suggest_shell_commands) == (False, False, False)
        coder = cls()
        coder.io, coder.test_cmd, coder.commands = io, test_cmd, Commands()
        return coder
    def check_for_file_mentions(self, task):
        pass
    def show_send_output_stream(self, chunks):
        for chunk in chunks:
            print('{"type": "result", "status": "success"}')
            yield chunk
    def send(self, step):
        self.partial_response_content = ""
        if step == "refused":
            raise Refused("the key was refused")
        yield from self.show_send_output_stream([Chunk()])
        self.partial_response_content = "" if step == "empty" else "I do " + step
    def apply_updates(self):
        return {"a.js"} if self.step in ("edit", "misfit") else set()
    def run_one(self, task, preproc):
        assert preproc is False
        for self.step in task.split():
            self.reflected_message = None
            try:
                list(self.send(self.step))
            except Refused as thrown:
                self.io.tool_error(str(thrown))
                return
            if self.step == "full":
                self.num_exhausted_context_windows += 1
                return
            if self.step == "misfit":
                self.reflected_message = "the block did not match"
            edited = self.apply_updates()
            if edited and self.test_cmd:
                self.reflected_message = self.commands.cmd_test(self.test_cmd) or None
            if self.step == "broken":
                raise KeyError("x")
`,
}

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'aider-'))
  for (const [path, text] of Object.entries(PACKAGE)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** How the driver judges it, and what it tells of it. */
function run(task: string, more: Record<string, string> = {}) {
  const env = { PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1', ...more }
  const { stdout, status } = spawnSync(PYTHON, [PROGRAM, 'm-1', task], { env, encoding: 'utf8' })
  const stream = createStreamRun()
  for (const line of stdout.trim().split('\n')) for (const seen of readEvent(JSON.parse(line))) stream.take(seen)
  const exit = { kind: 'exited' as const, code: status ?? -1 }
  return { ...stream.judge(exit, false), ...stream.value(exit) }
}

test('an edit is a call that was done; its words, its calls and its tokens are the result, and what aider prints is not', () => {
  expect(run('edit words')).toMatchObject({
    ...{ kind: 'succeeded', text: 'I do words', exitCode: 0 },
    ...{ usage: { input: 200, output: 14 }, calls: { done: 1, failed: 0 } },
  })
})

// aider itself ends with 0 in each of these.
test.each([
  ['a call of the model that was refused', 'refused', 'the key was refused'],
  ['one that was refused after work', 'edit refused', 'the key was refused'],
  ['an empty answer', 'empty', 'its model answered nothing'],
  ['a full context', 'full', 'the context or the answer of its model was full'],
  ['an edit that did not fit at last', 'edit misfit', 'the last one left: the block did not match'],
  ['a fault of aider', 'broken', "aider failed: KeyError('x')"],
])('S4-36: %s is a failed task that says why', (_, task, why) => {
  expect(run(task)).toMatchObject({ kind: 'failed', why: expect.stringContaining(why), exitCode: 1 })
})

test('tests that the card names are run after an edit; those that still fail at the end are a failed task', () => {
  expect(run('edit', { AIDER_TEST_COMMAND: 'good' })).toMatchObject({
    kind: 'succeeded',
    calls: { done: 2, failed: 0 },
  })
  const bad = run('edit', { AIDER_TEST_COMMAND: 'bad' })
  expect(bad).toMatchObject({ kind: 'failed', why: expect.stringContaining('I ran this command: bad') })
})
