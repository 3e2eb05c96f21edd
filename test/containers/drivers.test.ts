/** Any program is an agent: a shell script, a Python program and a plain command, from submit to result on a real hub and the real engine. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSystemClock } from '../../hub/base/clock.ts'
import { createEngine } from '../../hub/work/sandbox/engine.ts'
import { inNormalMode, submitTo, until } from '../support/container-home.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { runHub } from '../support/fake-hub.ts'

const root = resolve(import.meta.dirname, '../..')

const inspect = (image: string) =>
  new Promise<{ Id?: string; Comment?: string }>((done) => {
    const call = request({ socketPath: ENGINE_SOCKET, path: `/images/${image}/json` }, async (answer) => {
      let text = ''
      for await (const piece of answer) text += piece
      done(answer.statusCode === 200 ? (JSON.parse(text) as { Id: string }) : {})
    })
    call.on('error', () => done({})).end()
  })
const [shell, python] = await Promise.all([inspect('hub/shell:latest'), inspect('hub/python:latest')])

/** Time to live of the one that asks: enough to begin and to ask on a busy machine. */
const ASKER_S = 20
/** What the shipped examples do not show: a plain command, and programs that put the sandbox to the test. */
const CARDS: Record<
  string,
  {
    run: string[]
    driver: string
    image: string
    mode?: string
    restarts?: number
    repeatable?: boolean
    limits?: object
  }
> = {
  asker: {
    driver: 'json-lines',
    image: 'hub/shell',
    limits: { ttl: `${ASKER_S}s`, memory: '256MiB' },
    run: [
      'sh',
      '-c',
      `read -r task; echo '{"op":"ask","id":1,"text":"Shall I go on?"}'; read -r taken; read -r reply; echo '{"op":"result","value":"went on"}'`,
    ],
  },
  chatter: {
    driver: 'json-lines',
    image: 'hub/shell',
    mode: 'chat',
    run: [
      'sh',
      '-c',
      `read -r task; n=0
while read -r line; do case $line in
  *'"op":"prompt"'*) n=$((n+1)); printf '{"op":"turn","text":"%s in %s"}\\n{"op":"turn","stopReason":"end_turn"}\\n' $n $$;;
  *'"op":"shutdown"'*) printf '{"op":"result","value":%s}\\n' $n; exit;;
esac; done`,
    ],
  },
  'plain-command': { driver: 'command', image: 'hub/shell', run: ['sort', '-r', '{input}'] },
  'try-again': { driver: 'command', image: 'hub/shell', restarts: 1, repeatable: true, run: ['sh', '-c', 'exit 75'] },
  'try-once': { driver: 'command', image: 'hub/shell', restarts: 1, run: ['sh', '-c', 'exit 75'] },
  'run-away': {
    driver: 'json-lines',
    image: 'hub/python',
    run: [
      'python3',
      '-c',
      `
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.stdin.readline()
if os.fork() == 0:
    os.setsid()
    while True: time.sleep(0.01)
found = {"uid": os.getuid(), "env": sorted(os.environ), "shell": os.path.exists("/bin/sh")}
try: open("/workspace/x", "w").write("#!/usr/local/bin/python3"); os.chmod("/workspace/x", 0o700); os.execv("/workspace/x", ["x"])
except OSError as error: found["exec"] = error.strerror
print(json.dumps({"op": "result", "value": found}), flush=True)
while True: time.sleep(1)
`,
    ],
  },
}

let home = ''
let input = ''
const children: ChildProcess[] = []

/** Starts a process of the home and waits for its ready line. */
function start(...argv: string[]): Promise<void> {
  const child = spawn(process.execPath, [join(root, argv[0] ?? ''), ...argv.slice(1), '--home', home])
  children.push(child)
  return new Promise((done, fail) => {
    let said = ''
    const take = (text: Buffer) => {
      said += text
      if (said.includes('"ready"')) done()
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('exit', (code) => fail(new Error(`${argv[0]} ended with ${code}: ${said}`)))
  })
}
async function submit(agent: string, ...args: string[]) {
  const { code, stdout } = await submitTo(home, [agent, ...args, '--wait', '--json'])
  return { code, task: JSON.parse(stdout) as Record<string, unknown> & { outcome: { value: unknown } } }
}

beforeAll(async () => {
  if (shell.Id === undefined) return
  home = mkdtempSync(join(tmpdir(), 'dr-'))
  execFileSync(process.execPath, [join(root, 'hub/main.ts'), 'init', '--home', home])
  writeFileSync(
    join(home, 'hub.yaml'),
    `http: { port: 0 }\nmetrics: { port: 0 }\nengine: { socket: ${ENGINE_SOCKET} }\n`,
  )
  writeFileSync(
    join(home, 'watchdog', 'config.json'),
    JSON.stringify({ port: 0, intervalMs: 1000, engineSocket: ENGINE_SOCKET }),
  )
  const dataFile = join(home, 'policy', 'data.json')
  const data = JSON.parse(readFileSync(dataFile, 'utf8')) as { agents: Record<string, object> }
  for (const [name, card] of Object.entries(CARDS)) {
    const rest = { description: 'a test', shell: card.image === 'hub/shell', limits: { ttl: '5m', memory: '256MiB' } }
    writeFileSync(join(home, 'agents', `${name}.yaml`), JSON.stringify({ name, ...rest, ...card }))
    data.agents[name] = { ...data.agents.echo, capabilities: [] }
  }
  writeFileSync(dataFile, JSON.stringify(data))
  input = join(home, 'input')
  mkdirSync(input)
  writeFileSync(join(input, 'words.txt'), 'b two\na one\n')
  await start('hub/main.ts', 'serve')
  await start('watchdog/main.ts')
})
afterAll(async () => {
  if (shell.Id === undefined) return
  await runHub(home, ['down'])
  for (const child of children) child.kill('SIGKILL')
  rmSync(home, { recursive: true, force: true })
})

describe.skipIf(shell.Id === undefined)('any program is an agent', () => {
  test('a shell script counts the words of its input and leaves a file', async () => {
    const out = join(home, 'out')
    const { task } = await submit('shell-wordcount', '--input', input, '--out', out)
    expect((await runHub(home, ['task', 'logs', String(task.id)])).stdout).toContain('words of /workspace/in/words.txt')
    expect(task.outcome.value).toEqual({ exitCode: 0, stdout: '4\n' })
    expect(readFileSync(join(out, 'words.txt'), 'utf8')).toBe('words.txt 4\n')
  })

  test('a plain command that knows nothing of the hub', async () => {
    const { task } = await submit('plain-command', '--input', input)
    expect(task).toMatchObject({ state: 'succeeded', outcome: { value: { exitCode: 0, stdout: 'b two\na one\n' } } })
  })

  test('S4-5: two prompts are two turns of one container and one process, and a close ends its task with success', async () => {
    const { stdout } = await submitTo(home, ['chatter', '--json'])
    const { id } = JSON.parse(stdout) as { id: string }
    const say = (text: string) => runHub(home, ['session', 'say', id, text, '--wait'])
    const [one, two] = [await say('one'), await say('two')]
    expect([one.code, two.code], one.stderr + two.stderr).toEqual([0, 0])
    const [, program] = /^1 in (\d+)\n$/.exec(one.stdout) ?? []
    expect(two.stdout).toBe(`2 in ${program}\n`)
    expect((await runHub(home, ['session', 'close', id])).code).toBe(0)
    const ended = await runHub(home, ['wait', id, '--json'])
    expect(JSON.parse(ended.stdout)).toMatchObject({ state: 'succeeded', attempts: 1, outcome: { value: 2 } })
  })

  test('exit 75 is tried again as often as the card allows, then the task has failed', async () => {
    const { code, task } = await submit('try-again')
    expect(code).not.toBe(0)
    expect(task).toMatchObject({ state: 'failed', attempts: 2, restarts: 1 })
  })

  test('exit 75 of what is not repeatable runs once, whatever it asks for (fault C34)', async () => {
    const { task } = await submit('try-once')
    expect(task).toMatchObject({ state: 'failed', attempts: 1, error: { code: 'not_repeatable' } })
  })

  test('one that asks a person lives on past its time to live while it waits, and its labels say until when at most (fault C1)', async () => {
    const { stdout } = await submitTo(home, ['asker', '--json'])
    const { id } = JSON.parse(stdout) as { id: string }
    const waiting = runHub(home, ['wait', id, '--json'])
    const list = async <Row>(...args: string[]) => JSON.parse((await runHub(home, [...args, '--json'])).stdout) as Row[]
    type Session = { task: string; containerName: string; createdAtMs: number }
    type Ended = { state: string }
    type Question = { id: string; task: string }
    const asked = async () => {
      const question = (await list<Question>('approval', 'list')).find(({ task }) => task === id)
      const { task } = JSON.parse((await runHub(home, ['task', 'show', id, '--json'])).stdout) as { task: Ended }
      if (question === undefined && ['failed', 'timed_out'].includes(task.state))
        throw new Error(`it ended before it asked: ${JSON.stringify(task)}`)
      return question
    }
    const question = (await until('it asks', asked, (found) => found !== undefined)) as Question
    const session = (await list<Session>('session', 'list')).find(({ task }) => task === id)
    const engine = createEngine({ socketPath: ENGINE_SOCKET, callMs: 120_000 }, { clock: createSystemClock() })
    const instance = readFileSync(join(home, 'instance'), 'utf8').trim()
    const found = (await engine.list(instance)).find(({ name }) => name === session?.containerName)
    const wholeMs = Number(found?.labels['hub.expires-at']) - (session?.createdAtMs ?? 0)
    expect(Math.round(wholeMs / 1000)).toBe(ASKER_S + 30 * 60)
    // Past both the hub's and the shim's own time to live.
    const pastMs = (session?.createdAtMs ?? 0) + (ASKER_S + 2) * 1000
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, pastMs - Date.now())))
    // A yes is taken in normal mode alone, which a busy machine leaves for a moment.
    const said = await inNormalMode(() => runHub(home, ['approve', question.id]))
    expect(said.stdout).toBe('approved; agent asker has been told\n')
    const ended = await waiting
    expect(JSON.parse(ended.stdout)).toMatchObject({ state: 'succeeded', outcome: { value: 'went on' } })
    expect(ended.stderr).toContain('asker asks: Shall I go on?')
  })

  test('an image with a shell says so itself, and so does the list of agents', async () => {
    expect(shell.Comment).toBe('exception: shell')
    const { stdout } = await runHub(home, ['agent', 'list', '--json'])
    const agents = JSON.parse(stdout) as { name: string; shell: boolean }[]
    expect(agents.flatMap((each) => (each.shell ? [each.name] : [])).sort()).toEqual([
      ...['asker', 'chatter', 'plain-command', 'shell-wordcount', 'try-again', 'try-once'],
    ])
  })
})

describe.skipIf(python.Id === undefined || shell.Id === undefined)('any Python program is an agent', () => {
  test('a Python program returns its parameters', async () => {
    const { task } = await submit('python-echo', '--param', 'hello=world')
    expect(task).toMatchObject({ state: 'succeeded', outcome: { value: { hello: 'world' } } })
  })

  test('T51, T56, T60: one that ignores SIGTERM and leaves its group ends with its session; it runs as nobody, sees no shell, starts nothing from tmpfs', async () => {
    const { task } = await submit('run-away')
    expect(python.Comment ?? '', 'a newer engine leaves out what is empty').toBe('')
    expect(task).toMatchObject({
      state: 'succeeded',
      outcome: {
        value: {
          uid: expect.toSatisfy((uid: number) => uid >= 60_928 && uid < 61_183),
          env: ['HOME', 'HUB_DEADLINE', 'LANG', 'PATH', 'TMPDIR'],
          shell: false,
          exec: 'Permission denied',
        },
      },
    })
    const running = async () => {
      const { stdout } = await runHub(home, ['session', 'list', '--json'])
      return (JSON.parse(stdout) as { task: string }[]).filter((each) => each.task === task.id).length
    }
    await until('its session is over', running, (count) => count === 0)
  })
})
