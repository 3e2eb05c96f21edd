import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeEach, describe, expect, it } from 'vitest'
import { parseParams } from '../../../../../hub/client/cli/work/submit.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { eventFeed, refusal, TASK_ID, taskView } from '../../../../support/fake-hub.ts'
import { keepArtifacts } from '../../../../support/kept-artifacts.ts'

const CLI = fileURLToPath(new URL('../../../../../hub/client/cli.ts', import.meta.url))
const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')

/** Artifacts the fake hub keeps. */
let store: Map<string, Buffer>

const at = commandHome(() => {
  store = keepArtifacts(at)
  at.hub.on('POST /v1/tasks', () => ({ body: { task: taskView() } }))
})

const submitted = () => at.hub.asked.find((each) => each.method === 'POST' && each.path === '/v1/tasks')
const inputsSent = () =>
  (submitted()?.body as { inputs?: { manifest: string; pack: string } } | undefined)?.inputs ?? {
    manifest: '',
    pack: '',
  }
const ends = (change: Record<string, unknown>) => {
  at.hub.on('GET /v1/tasks/:id', () => ({
    body: { task: taskView({ startedAtMs: 1, endedAtMs: 2001, ...change }), attempts: [] },
  }))
}
const event = (sequence: number, type: string, data: object = {}) => ({
  specversion: '1.0',
  id: String(sequence),
  sequence,
  source: '/hub/x',
  type,
  subject: `task/${TASK_ID}`,
  time: `2026-01-01T00:00:0${sequence}Z`,
  data,
})

describe('hub submit', () => {
  it('sends exactly what was said and prints the task', async () => {
    const args = [
      'submit',
      '--param',
      'words=a b',
      '--param',
      'n:=3',
      'echo',
      '--ttl',
      '10m',
      '--priority',
      '9',
      '--hold',
    ]
    const { code, stdout, stderr } = await at.run(args)
    expect([code, stdout, stderr]).toEqual([0, `${TASK_ID} queued\n`, ''])
    expect(submitted()?.body).toEqual({
      agent: 'echo',
      params: { words: 'a b', n: 3 },
      ttlMs: 600_000,
      priority: 9,
      hold: true,
    })
    expect(submitted()?.headers['idempotency-key']).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('takes capabilities in place of an agent', async () => {
    await at.run(['submit', '--needs', 'read-source,count', '--json'])
    expect(submitted()?.body).toEqual({ needs: ['read-source', 'count'], params: {} })
  })

  it('sends a folder as manifest and pack, and nothing that is there already', async () => {
    const input = path.join(at.home, 'input')
    mkdirSync(path.join(input, 'sub'), { recursive: true })
    writeFileSync(path.join(input, 'a.txt'), 'alpha')
    writeFileSync(path.join(input, 'sub', 'b'), 'beta')
    const first = await at.run(['submit', 'echo', '--input', input])
    expect([first.code, first.stdout]).toEqual([0, `${TASK_ID} queued\n`])
    const inputs = inputsSent()
    expect(store.get(inputs.pack)?.toString()).toBe('alphabeta')
    const manifest = JSON.parse(store.get(inputs.manifest)?.toString() ?? '')
    expect(manifest.files.map((each: { path: string }) => each.path)).toEqual(['a.txt', 'sub/b'])
    const puts = () => at.hub.asked.filter(({ method }) => method === 'PUT').length
    expect(puts()).toBe(2)
    await at.run(['submit', 'echo', '--input', input])
    expect(puts()).toBe(2)
  })

  it.each([
    ['a file', ['--input', 'one.txt'], '', 'one.txt'],
    ['what comes on stdin', ['--input', '-'], 'piped', 'stdin'],
  ])('takes %s as a folder of one file', async (_, flags, stdin, name) => {
    writeFileSync(path.join(at.home, 'one.txt'), 'piped')
    expect((await at.runAsProcess(['submit', 'echo', ...flags], { stdin })).code).toBe(0)
    const inputs = inputsSent()
    expect(store.get(inputs.pack)?.toString()).toBe('piped')
    expect(JSON.parse(store.get(inputs.manifest)?.toString() ?? '').files).toMatchObject([{ path: name, size: 5 }])
  })

  it('fault B6: an input is sent from where it lies, and what comes on stdin from the home; the temporary folder is never written', async () => {
    const none = path.join(at.home, 'no-such-folder')
    writeFileSync(path.join(at.home, 'one.txt'), 'one')
    mkdirSync(path.join(at.home, 'input'))
    writeFileSync(path.join(at.home, 'input', 'a'), Buffer.alloc(300_000, 7))
    for (const [input, stdin] of [
      ['one.txt', ''],
      ['input', ''],
      ['-', 'piped'],
    ] as const) {
      const { code, stderr } = await at.runAsProcess(['submit', 'echo', '--input', input], {
        stdin,
        env: { TMPDIR: none },
      })
      expect(code, stderr).toBe(0)
    }
    expect([...store.values()].map(({ length }) => length)).toContain(300_000)
    expect(existsSync(none)).toBe(false)
    expect(readdirSync(path.join(at.home, 'run')).filter((name) => name.startsWith('input-'))).toEqual([])
  })

  describe('fault C19: an input that holds what should stay here', () => {
    const input = () => path.join(at.home, 'input')
    beforeEach(() => {
      mkdirSync(path.join(input(), '.git'), { recursive: true })
      for (const [name, text] of [
        ['a.txt', 'alpha'],
        ['.env', 'TOKEN=1'],
        ['.gitignore', '*.log\n'],
        ['x.log', 'x'],
      ] as const)
        writeFileSync(path.join(input(), name), text)
    })

    it('--dry-run lists it, without the hub, and sends nothing', async () => {
      await at.closeHub()
      const { code, stdout, stderr } = await at.run(['submit', 'echo', '--input', input(), '--dry-run'])
      expect([code, stderr]).toEqual([0, 'packing the input\n'])
      expect(stdout).toBe(
        `${[
          '       7 B  .env',
          '       6 B  .gitignore',
          '       5 B  a.txt',
          '3 files, 18 B would be sent; nothing was sent',
          '.git: left out, its history stays here: an agent gets only files',
          'x.log: left out, a .gitignore excludes it',
          'looks like a secret, refused without --with-secrets: .env (by its name)',
        ].join('\n')}\n`,
      )
      const json = await at.run(['submit', 'echo', '--input', input(), '--dry-run', '--json'])
      expect(JSON.parse(json.stdout)).toMatchObject({ bytes: 18, secrets: [{ path: '.env', tracked: false }] })
    })

    it('refuses to send it, by name; with --with-secrets it goes and is told', async () => {
      const refused = await at.run(['submit', 'echo', '--input', input()])
      expect([refused.code, at.hub.asked.filter(({ method }) => method === 'PUT'), submitted()]).toEqual([
        2,
        [],
        undefined,
      ])
      expect(refused.stderr).toContain(
        '.env (by its name) looks like a secret, and git does not track it; nothing was sent',
      )
      expect(refused.stderr).toContain('--with-secrets')
      const sent = await at.run(['submit', 'echo', '--input', input(), '--with-secrets'])
      expect([sent.code, sent.stdout]).toEqual([0, `${TASK_ID} queued\n`])
      expect(sent.stderr).toContain('input: .env (by its name): sent, although it looks like a secret')
      expect(store.get(inputsSent().pack)?.toString()).toContain('TOKEN=1')
    })

    it('a file that is named is meant', async () => {
      expect((await at.run(['submit', 'echo', '--input', path.join(input(), '.env')])).code).toBe(0)
    })

    it('--dry-run without an input says so', async () => {
      const { code, stderr } = await at.run(['submit', 'echo', '--dry-run'])
      expect([code, stderr]).toEqual([2, expect.stringContaining('--input is missing')])
    })
  })

  it('fault B6: a file that changes while it is sent is named, and nothing is submitted', async () => {
    const file = path.join(at.home, 'one.txt')
    writeFileSync(file, 'before')
    at.hub.on('HEAD /v1/artifacts/:sha256', () => {
      writeFileSync(file, 'behind')
      return refusal('unknown_artifact', 'not here')
    })
    const { code, stderr } = await at.run(['submit', 'echo', '--input', 'one.txt'])
    expect(stderr).toContain('one.txt changed while it was sent')
    expect([code, submitted()]).toEqual([3, undefined])
  })

  it('fault B6: Ctrl-C leaves nothing of what came on stdin, and what a killed one left goes with the next', async () => {
    const run = path.join(at.home, 'run')
    const left = () => readdirSync(run).filter((name) => name.startsWith('input-'))
    const stale = path.join(run, 'input-2147483646')
    mkdirSync(stale)
    const child = spawn(process.execPath, [CLI, 'submit', 'echo', '--input', '-'], {
      env: { ...process.env, HUB_HOME: at.home },
    })
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
    child.stdin.write('a part of it')
    await expect.poll(() => existsSync(path.join(run, `input-${child.pid}`, 'stdin'))).toBe(true)
    expect(existsSync(stale)).toBe(false)
    child.kill('SIGINT')
    expect(await ended).toBe(130)
    expect(left()).toEqual([])
  })

  it('refuses an empty folder by name, exit 2, and submits nothing', async () => {
    mkdirSync(path.join(at.home, 'empty'))
    const { code, stderr } = await at.run(['submit', 'echo', '--input', 'empty'])
    expect(code).toBe(2)
    expect(stderr).toContain('hub: --input: empty holds no files')
    expect(submitted()).toBeUndefined()
  })

  it('prints the reason and the decision where policy refuses, exit 3', async () => {
    at.hub.on('POST /v1/tasks', () => refusal('policy_denied', 'echo may not be asked for that', { decisionId: 'd-1' }))
    const { code, stderr } = await at.run(['submit', 'echo'])
    expect(code).toBe(3)
    expect(stderr).toContain('hub: echo may not be asked for that (decision d-1)\nnext: Read the decision')
  })
})

describe('hub submit --wait', () => {
  it('shows progress on stderr as it happens, the result on stdout, and ends with 0', async () => {
    let done = false
    at.hub.on('GET /v1/tasks/:id', () => ({
      body: {
        task: done
          ? taskView({ state: 'succeeded', outcome: { outcome: 'succeeded', value: 'said\x1b[2J' } })
          : taskView({ state: 'running' }),
        attempts: [],
      },
    }))
    at.hub.on('GET /v1/events', ({ query }) => {
      expect(query.get('task')).toBe(TASK_ID)
      return {
        raw(response) {
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          const say = (one: object) => response.write(`data: ${JSON.stringify(one)}\n\n`)
          say(event(1, 'hub.task.progress.v1', { text: 'reading', done: 1, total: 2 }))
          setTimeout(() => {
            done = true
            say(event(2, 'hub.task.completed.v1'))
          }, 100)
        },
      }
    })
    const { code, stdout, stderr } = await at.run(['submit', 'echo', '--wait'])
    expect(code).toBe(0)
    expect(stderr).toContain('reading (1 of 2)\n')
    expect(stdout).toMatch(/^state +succeeded$/m)
    expect(stdout).toContain('said\\u001b[2J')
  })

  it.each([
    ['failed', { state: 'failed', error: { code: 'internal', detail: 'it broke' } }, 5, 'failed: it broke (internal)'],
    ['cancelled', { state: 'cancelled', error: { code: 'cancelled', detail: 'by hand' } }, 5, 'cancelled: by hand\n'],
    [
      "failed by its agent's own word",
      { state: 'failed', outcome: { outcome: 'failed', error: 'no rows in the table' } },
      5,
      'failed: no rows in the table\n',
    ],
    [
      'timed_out',
      { state: 'timed_out', error: { code: 'ttl_expired', detail: 'too long' } },
      6,
      'timed out: too long\n',
    ],
    [
      'denied at dispatch',
      { state: 'failed', error: { code: 'policy_denied', detail: 'not at night' } },
      3,
      'not at night',
    ],
  ])('ends with the outcome of a task that %s', async (_, change, exitCode, text) => {
    ends(change)
    const { code, stdout, stderr } = await at.run(['submit', 'echo', '--wait', '--json'])
    expect(code).toBe(exitCode)
    expect(JSON.parse(stdout)).toMatchObject(change)
    expect(stderr).toContain(text)
    expect(stderr).toMatch(/\nnext: /)
  })

  it.each([
    ['agent_unhealthy', 'echo ended', [], 'it logged nothing; fix its program, then `hub agent reset echo`'],
    ['agent_unhealthy', 'echo ended', [{ atMs: 1, level: 'error', text: 'x' }], '`hub task logs '],
    [
      'policy_denied',
      'not yours: add "x" to agents.a.message',
      [],
      'add "x" to agents.a.message, then `hub policy reload`, then `hub task retry',
    ],
    [
      'policy_denied',
      'agent a is not in the policy: add agents.a to policy/data.json',
      [],
      '`hub agent allow a`, then `hub task retry',
    ],
    ['image_missing', 'no image', [], 'Make it: `hub agent build FOLDER`'],
  ])(
    'the reason of %s is the first line, and what comes next never names an empty log (fault C2): %s',
    async (code, detail, lines, next) => {
      ends({ state: 'failed', error: { code, detail } })
      at.hub.on('GET /v1/tasks/:id/logs', () => ({ body: { lines } }))
      at.hub.on('GET /v1/tasks', () => ({ body: { tasks: [taskView({ state: 'failed', error: { code, detail } })] } }))
      const waited = await at.run(['submit', 'echo', '--wait'])
      const shown = await at.run(['task', 'show', TASK_ID])
      const listed = await at.run(['task', 'list'])
      const reason = `${detail} (${code})`
      expect([waited, shown].map(({ stdout }) => stdout.split('\n')[0])).toEqual(Array(2).fill(`failed: ${reason}`))
      expect(listed.stdout.split('\n')[1]).toContain(reason)
      expect(waited.stderr).toContain(`\nnext: ${next}`)
    },
  )

  it('of a task that succeeded and lost an output it says so first, and exits with 0 (fault C29)', async () => {
    const error = 'not stored as outputs: "link" is a link'
    ends({ state: 'succeeded', outcome: { outcome: 'succeeded', value: 1, error } })
    const { code, stdout, stderr } = await at.run(['submit', 'echo', '--wait'])
    expect([code, stdout.split('\n')[0]]).toEqual([0, `succeeded: ${error}`])
    expect(stderr).toContain(error)
  })

  it('says what the task and those below it ask, once, with the words that answer it (fault C1)', async () => {
    const other = TASK_ID.replace(/1$/, '9')
    const asked = (id: string, task: string, root: string, question: string) => ({
      id,
      agent: 'solo',
      task,
      root,
      question,
    })
    let polls = 0
    at.hub.on('GET /v1/tasks/:id', () => {
      polls += 1
      return { body: { task: taskView(polls < 2 ? { state: 'running' } : { state: 'succeeded' }), attempts: [] } }
    })
    at.hub.on('GET /v1/events', () => eventFeed([event(1, 'hub.task.asked.v1')]))
    at.hub.on('GET /v1/approvals', () => ({
      body: {
        approvals: [
          asked(other.replace(/9$/, '3'), other, other, 'not mine'),
          asked(other.replace(/9$/, '2'), other, TASK_ID, 'of a child'),
          asked(other.replace(/9$/, '1'), TASK_ID, TASK_ID, 'my own'),
        ],
      },
    }))
    const { code, stderr } = await at.run(['submit', 'echo', '--wait'])
    expect(code).toBe(0)
    const said = stderr.split('\n').filter((line) => /asks: |answer it: /.test(line))
    expect(said.filter((line) => line.includes('asks'))).toEqual(['solo asks: my own', 'solo asks: of a child'])
    expect(said[1]).toMatch(/^answer it: `hub approve .*` or `hub reject /)
  })

  it('writes the artifacts by name with --out, which alone means waiting', async () => {
    const text = '# report\n'
    store.set(sha256(text), Buffer.from(text))
    ends({ state: 'succeeded', artifacts: [{ name: 'sub/report.md', sha256: sha256(text), size: text.length }] })
    const { code, stderr } = await at.run(['submit', 'echo', '--out', 'out'])
    expect([code, stderr.includes('wrote out/sub/report.md')]).toEqual([0, true])
    expect(readFileSync(path.join(at.home, 'out', 'sub', 'report.md'), 'utf8')).toBe(text)
  })

  it('writes nothing outside --out, whatever an artifact is called (T69)', async () => {
    store.set(sha256('x'), Buffer.from('x'))
    ends({
      state: 'succeeded',
      artifacts: [
        { name: '../evil', sha256: sha256('x'), size: 1 },
        { name: 'good', sha256: sha256('x'), size: 1 },
      ],
    })
    const { code, stdout, stderr } = await at.run(['submit', 'echo', '--out', 'out'])
    expect(code).toBe(3)
    expect(stderr).toContain('not written: artifact "../evil"')
    // The rest is there, and so is the outcome (fault F17).
    expect(stderr).toMatch(/wrote .*good/)
    expect(stdout).toContain('succeeded')
  })
})

describe('hub wait', () => {
  it('waits for the newest task of the operator when none is named', async () => {
    const newest = TASK_ID.replace(/1$/, '2')
    at.hub.on('GET /v1/tasks', () => ({
      body: {
        tasks: [
          taskView(),
          taskView({ id: newest, createdAtMs: 1_700_000_000_001 }),
          taskView({ createdAtMs: 1_800_000_000_000, depth: 1 }),
        ],
        next: null,
      },
    }))
    ends({ state: 'succeeded' })
    expect((await at.run(['wait', '--for', 'task=done'])).code).toBe(0)
    expect(at.hub.asked.some((each) => each.path === `/v1/tasks/${newest}`)).toBe(true)
  })

  it('gives up after --timeout with 6 and leaves the task alone', async () => {
    at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView({ state: 'running' }), attempts: [] } }))
    at.hub.on('GET /v1/events', () => eventFeed([]))
    const { code, stderr } = await at.run(['wait', TASK_ID, '--timeout', '300ms'])
    expect([code, stderr.split('\n')[0]]).toEqual([6, `hub: task ${TASK_ID} has not ended in time; it keeps running`])
    expect(at.hub.asked.every(({ method }) => method === 'GET')).toBe(true)
  })

  it('outlives a hub that is away for a moment', async () => {
    at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView({ state: 'running' }), attempts: [] } }))
    at.hub.on('GET /v1/events', () => eventFeed([]))
    const waiting = at.run(['wait', TASK_ID])
    await expect.poll(() => at.hub.asked.some((each) => each.path === '/v1/events')).toBe(true)
    await at.closeHub()
    await new Promise((resolve) => setTimeout(resolve, 700))
    await at.openHub()
    at.hub.on('GET /v1/events', () => eventFeed([event(1, 'hub.task.completed.v1')]))
    ends({ state: 'succeeded' })
    expect((await waiting).code).toBe(0)
  })
})

describe('hub artifact get', () => {
  it('passes the bytes through unchanged, and a file appears whole or not at all', async () => {
    const bytes = Buffer.from('line\n\x1b[0m')
    store.set(sha256(bytes), bytes)
    expect((await at.run(['artifact', 'get', sha256(bytes)])).stdout).toBe(bytes.toString())
    expect((await at.run(['artifact', 'get', sha256(bytes), '--out', 'file'])).code).toBe(0)
    expect(readFileSync(path.join(at.home, 'file'))).toEqual(bytes)
    store.set(sha256('right'), Buffer.from('wrong'))
    const { code, stderr } = await at.run(['artifact', 'get', sha256('right'), '--out', 'other'])
    expect([code, stderr.includes('their digest differs')]).toEqual([1, true])
    expect(() => readFileSync(path.join(at.home, 'other'))).toThrow('ENOENT')
  })
})

describe('parameters', () => {
  it('are text by = and JSON by :=, the last one counts, and everything may stand behind the first sign', () => {
    expect(parseParams(['a=1', 'b:=[1]', 'url=http://x?y=z', 'a=2', 'empty='])).toEqual({
      a: '2',
      b: [1],
      url: 'http://x?y=z',
      empty: '',
    })
  })
})
