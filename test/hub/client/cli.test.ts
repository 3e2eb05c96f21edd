import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../../hub/base/errors.ts'
import {
  eventFeed,
  type FakeDoor,
  hubSocketOf,
  makeHome,
  modeView,
  openFakeDoor,
  refusal,
  runHub,
  SESSION_ID,
  TASK_ID,
  taskView,
  watchdogSocketOf,
  watchdogView,
} from '../../support/fake-hub.ts'

let home: string
let remove: () => void
let hub: FakeDoor

beforeEach(async () => {
  ;({ home, remove } = makeHome())
  hub = await openFakeDoor(hubSocketOf(home))
})
afterEach(async () => {
  await hub.close()
  remove()
})

const session = {
  id: SESSION_ID,
  agent: 'echo',
  task: TASK_ID,
  attempt: 1,
  state: 'working',
  generation: 1,
  containerId: 'c'.repeat(64),
  exit: null,
  createdAtMs: 1,
  expiresAtMs: 2,
  mailbox: 0,
}
const agent = {
  name: 'echo',
  description: 'says it again',
  image: 'hub/echo',
  imageId: `sha256:${'a'.repeat(64)}`,
  state: 'registered',
  reason: null,
  capabilities: ['echo'],
  driver: 'sdk',
  mode: 'task',
  sessions: 0,
  restarts: 0,
}

describe('the hub command, used wrongly', () => {
  it.each([
    [['nothing-such'], "unknown command 'nothing-such'"],
    [['status', '--bogus'], "unknown option '--bogus'"],
    [['task', 'show'], "missing required argument 'task'"],
    [['task', 'show', 'not-an-id'], '"not-an-id" is not the id of a task, nor 4 or more characters of one'],
    [['approve', 'abc'], '"abc" is not the id of a question, nor 4 or more characters of one'],
    [['task', 'list', '--state', 'asleep'], 'state: '],
    [['task', 'list', '--limit', '101'], '--limit: a whole number from 1 to 100'],
    [['submit'], 'name an agent'],
    [['submit', 'echo', '--ttl', '10'], '--ttl: "10" is not a span'],
    [['submit', 'echo', '--param', 'novalue'], '--param: "novalue" is not k=v'],
    [['submit', 'echo', '--param', 'k:={'], '--param: "{" is not JSON'],
    [['submit', 'echo', '--input', '/nonexistent'], '--input: /nonexistent cannot be read (ENOENT)'],
    [['submit', 'Not A Name'], 'agent: a name is'],
    [['wait', '--for', 'task=gone'], '--for: "task=gone"'],
    [['session', 'stop'], 'name sessions, or say --all'],
    [['shutdown'], 'this asks before it acts'],
  ])('%j exits 2, says why in one line, and sends nothing', async (args, text) => {
    const { code, stdout, stderr } = await runHub(home, args)
    expect(stderr).toContain(`hub: ${text}`)
    expect(stderr).toMatch(/^hub: .*\nnext: .*\n$/)
    expect([code, stdout]).toEqual([2, ''])
    expect(hub.asked.filter(({ path }) => path !== '/v1/agents')).toEqual([])
  })

  it('says that there is no hub and how to make one, exit 4', async () => {
    const missing = path.join(home, 'missing')
    const { code, stderr } = await runHub(home, ['status', '--home', missing])
    expect(stderr).toBe(`hub: no hub at ${missing}: run \`hub init\`\nnext: hub init --home ${missing}\n`)
    expect(code).toBe(4)
  })

  it('fault G9: a home whose instance is gone is a home: a hub that runs on it is stopped, and the start names what is missing', async () => {
    rmSync(path.join(home, 'instance'), { force: true })
    mkdirSync(path.join(home, 'keys'), { recursive: true })
    const { stderr } = await runHub(home, ['shutdown', '--yes'])
    expect(stderr).not.toContain('hub init')
    expect(hub.asked.map(({ path: at }) => at)).toContain('/v1/shutdown')
  })

  it('takes --home before HUB_HOME, wherever it stands', async () => {
    for (const args of [
      ['--home', `${home}/a`, 'status'],
      ['status', '--home', `${home}/a`],
    ]) {
      expect((await runHub(home, args)).stderr).toContain(`no hub at ${home}/a`)
    }
  })

  it('prints help on stdout with exit 0 and names every command of the table', async () => {
    const { code, stdout } = await runHub(home, ['--help'])
    expect(code).toBe(0)
    for (const word of [
      'init',
      'up',
      'down',
      'status',
      'submit',
      'heartbeat',
      'shutdown',
      'doctor',
      'wait',
      'events',
    ]) {
      expect(stdout).toMatch(new RegExp(`^ {2}${word} `, 'm'))
    }
  })
})

describe('a slip of the finger (fault C7, fault C8)', () => {
  it.each([
    [['sumbit'], "unknown command 'sumbit'; did you mean submit?", 'see `hub --help`'],
    [['task', 'shwo'], "unknown command 'shwo'; did you mean show?", 'see `hub task --help`'],
    [['task', 'show', '--jsno'], "unknown option '--jsno'; did you mean --json?", 'see `hub task show --help`'],
    [['submit', 'echo', '--ttll', '3'], "unknown option '--ttll'; did you mean --ttl?", 'see `hub submit --help`'],
    // Nothing is like these.
    [['xylophone'], "unknown command 'xylophone'", 'see `hub --help`'],
    [['status', '--bogus'], "unknown option '--bogus'", 'see `hub status --help`'],
    [['task', 'show'], "missing required argument 'task'", 'see `hub task show --help`'],
    [['submit', 'echo', '--ttl', '10'], '--ttl: "10" is not a span; write 30s, 10m or 2h', 'see `hub submit --help`'],
    [['help', 'taks'], 'there is no command taks; did you mean task?', 'see `hub --help`'],
    [
      ['audit', 'list', '--action', 'task.submited'],
      '--action: no record is called task.submited; did you mean task.submitted?',
      '`hub audit list` shows what they are called, as task.submitted',
    ],
    [
      ['audit', 'list', '--outcome', 'good'],
      '--outcome: good is none of ok, refused, failed',
      'see `hub audit list --help`',
    ],
  ])('%j says what was likely meant, and where its own help is', async (args, text, next) => {
    const { code, stderr } = await runHub(home, args)
    expect([code, stderr]).toEqual([2, `hub: ${text}\nnext: ${next}\n`])
    expect(hub.asked).toEqual([])
  })

  it('an agent that nobody is named is said before anything is sent, with the one that was meant or why its card is not there', async () => {
    const problems = [{ file: 'agents/torn.yaml', line: 3, message: 'unknown key' }]
    hub.on('GET /v1/agents', () => ({ body: { agents: [agent], problems } }))
    hub.on('POST /v1/agents/:name/suspend', () => refusal('unknown_agent', 'no agent is named torn'))
    const of = async (...args: string[]) => (await runHub(home, args)).stderr.split('\n')[0]
    expect(await of('submit', 'ehco', '--input', '-')).toBe('hub: no agent is named ehco; did you mean echo?')
    expect(await of('submit', 'unlike')).toBe('hub: no agent is named unlike')
    expect(await of('agent', 'suspend', 'torn')).toBe(
      'hub: the card of torn did not load: agents/torn.yaml:3: unknown key',
    )
    expect(await of('session', 'stop', '--agent', 'ecko', '--yes')).toBe(
      'hub: no agent is named ecko; did you mean echo?',
    )
    expect(hub.asked.filter(({ method }) => method === 'POST').map((each) => each.path)).toEqual([
      '/v1/agents/torn/suspend',
    ])
  })

  it.each([
    [
      'policy_denied',
      'no: add "x" to agents.a.message in policy/data.json',
      'add "x" to agents.a.message in policy/data.json, then `hub policy reload`',
    ],
    ['conflict', 'it ends only by `hub back`', undefined],
    ['conflict', 'something was first', 'Something else came first; look at the present state and try again.'],
  ] as const)(
    'what to do is what the line above names, never a general word against it: %s, %s',
    async (code, detail, next) => {
      hub.on('POST /v1/mode/resume', () => refusal(code, detail))
      const { stderr } = await runHub(home, ['resume'])
      expect(stderr).toBe(`hub: ${detail}\n${next === undefined ? '' : `next: ${next}\n`}`)
    },
  )

  it('says which hub it is, and help of every command by name', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
    expect(await runHub(home, ['--version'])).toEqual({ code: 0, stdout: `hub ${version}\n`, stderr: '' })
    const { code, stdout } = await runHub(home, ['help', 'task', 'show'])
    expect([code, stdout.split('\n')[0]]).toEqual([0, 'Usage: hub task show [options] <task>'])
    expect((await runHub(home, ['help'])).stdout).toBe((await runHub(home, ['--help'])).stdout)
  })
})

describe('who reads no further (fault C20)', () => {
  const record = (seq: number) => ({
    seq,
    atMs: seq,
    principal: 'operator',
    action: 'task.submitted',
    resource: 'x'.repeat(400),
    decisionId: null,
    payloadHash: null,
    outcome: 'ok',
    reason: null,
    effect: '',
    previous: '',
    hash: '',
  })
  it.each([
    ['audit export', ['audit', 'export'], '| head -c 10', 0, ''],
    ['an artifact', ['artifact', 'get', 'ab'.repeat(32)], '| head -c 10', 0, ''],
    [
      'audit export onto a full disk',
      ['audit', 'export'],
      '> /dev/full',
      1,
      'hub: what this command prints could not be written (ENOSPC)\n',
    ],
    [
      'status onto a full disk',
      ['status'],
      '> /dev/full',
      4,
      'hub: what this command prints could not be written (ENOSPC)\n',
    ],
  ])('%s ends without a fault of its own', async (_, args, redirect, code, said) => {
    // More than a pipe holds, page after page.
    const page = { instance: 'x', publicKey: 'y', size: 1e6, head: 'z', checkpoints: [], next: 1 }
    let asked = 0
    hub.on('GET /v1/audit/export', () => {
      asked += 1
      return { body: { ...page, records: [...Array(1000).keys()].map(record), next: asked < 50 ? asked : null } }
    })
    hub.on('GET /v1/artifacts/:sha256', () => ({ bytes: Buffer.alloc(32 * 1024 ** 2) }))
    const cli = new URL('../../../hub/client/cli.ts', import.meta.url).pathname
    const words = [process.execPath, cli, ...args].map((word) => `'${word}'`).join(' ')
    const child = spawn(
      'bash',
      ['-c', `{ ${words} ; echo $? >&3; } ${redirect} > /dev/null`.replace('/dev/full > /dev/null', '/dev/full')],
      {
        env: { ...process.env, HUB_HOME: home },
        stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      },
    )
    const [errors, exit] = await Promise.all([child.stdio[2], child.stdio[3]].map((stream) => text(stream as Readable)))
    expect([exit?.trim(), errors]).toEqual([String(code), said])
    // It did not go on asking for what nobody reads.
    expect(asked).toBeLessThan(50)
  })

  it('init says in words what it made, and as JSON only when it is asked to', async () => {
    const fresh = path.join(home, 'fresh')
    const words = await runHub(fresh, ['init'], { cwd: home })
    expect([words.code, words.stdout]).toEqual([
      0,
      `${fresh} is a new home: keys, rules, agents, database. Next: hub up\n`,
    ])
    const again = await runHub(fresh, ['init'], { cwd: home })
    expect(again.stdout).toBe(`${fresh} is a home already, and nothing of it was missing. Next: hub up\n`)
    expect(JSON.parse((await runHub(fresh, ['init', '--json'], { cwd: home })).stdout)).toMatchObject({ made: [] })
  })
})

describe('in words (fault C22)', () => {
  it('sessions, agents and records are shown without names of fields, raw JSON or a second zone', async () => {
    const full = {
      ...session,
      detail: '',
      endedAtMs: null,
      waitLeftMs: 60_000,
      authority: { message: ['a', 'b'], secrets: [], ttlMs: 1 },
    }
    const may = { message: ['a'], delegate: [] }
    hub.on('GET /v1/sessions/:id', () => ({ body: { session: full } }))
    hub.on('GET /v1/agents/:name', () => ({
      body: { agent: { ...agent, may, limits: { ttlMs: 3_600_000, memoryBytes: 512 * 1024 ** 2, cpus: 1 } } },
    }))
    const record = {
      seq: 7,
      atMs: Date.UTC(2026, 0, 2, 12),
      principal: 'operator',
      action: 'x',
      resource: `task:${TASK_ID}`,
      outcome: 'ok',
      reason: null,
    }
    hub.on('GET /v1/audit', () => ({ body: { records: [record], next: null } }))
    const shown = await runHub(home, ['session', 'show', SESSION_ID])
    expect(shown.stdout).toMatch(/^may message +a, b$/m)
    expect(shown.stdout).toMatch(/^may wait +1 m for answers of yours$/m)
    const told = await runHub(home, ['agent', 'show', 'echo'])
    expect(told.stdout).toMatch(/^limits +lives 1 h, 512\.0 MiB memory, 1 CPU$/m)
    expect(told.stdout).toMatch(/^wishes message +a$/m)
    for (const { stdout } of [shown, told]) expect(stdout).not.toMatch(/[{}[\]"]|\b\w+(Ms|Id|Bytes)\b/)
    expect((await runHub(home, ['audit', 'list'])).stdout).toMatch(
      /\n7 {4}2026-01-02 13:00:00 CET +operator +x +task:00000001 +ok\n/,
    )
  })

  it.each([
    [1, '1 task is held'],
    [2, '2 tasks are held'],
  ])('%i held: one is one', async (held, text) => {
    hub.on('POST /v1/heartbeat', () => ({ body: { dueAtMs: 1, safeAtMs: 2, stopAtMs: 3, held } }))
    expect((await runHub(home, ['heartbeat'])).stdout).toContain(`\n${text}: `)
  })
})

describe('parts of ids (fault C9)', () => {
  const other = TASK_ID.replace(/1$/, '2')
  const listed = (ids: readonly string[]) =>
    hub.on('GET /v1/tasks', ({ query }) => ({
      body: { tasks: query.get('part') === null ? [] : ids.map((id) => taskView({ id })), next: null },
    }))

  it('an end that only one task has is that task; a whole id is asked for as it is', async () => {
    listed([TASK_ID])
    hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView(), attempts: [] } }))
    expect((await runHub(home, ['task', 'show', '00000001'])).code).toBe(0)
    expect((await runHub(home, ['task', 'show', TASK_ID])).code).toBe(0)
    expect(hub.asked.map((each) => each.path)).toEqual(['/v1/tasks', `/v1/tasks/${TASK_ID}`, `/v1/tasks/${TASK_ID}`])
    expect(hub.asked[0]?.query.get('part')).toBe('00000001')
  })

  it.each([
    ['none', [], 3, 'hub: no task has an id that begins or ends with 018f'],
    ['two', [TASK_ID, other], 2, `hub: 018f begins or ends the id of more than one task: ${TASK_ID}, ${other}`],
  ])('where %s has it, that is said and nothing is stopped', async (_, ids, exit, text) => {
    listed(ids)
    const { code, stderr } = await runHub(home, ['task', 'cancel', '018f'])
    expect([code, stderr.split('\n')[0]]).toEqual([exit, text])
    expect(hub.asked.every(({ method }) => method === 'GET')).toBe(true)
  })

  it('questions and alerts are answered by their ends too', async () => {
    hub.on('GET /v1/approvals', () => ({ body: { approvals: [{ id: TASK_ID }, { id: other }] } }))
    hub.on('GET /v1/alerts', () => ({ body: { alerts: [{ id: other }] } }))
    hub.on('POST /v1/approvals/:id/answer', () => ({
      body: { approval: { id: other, state: 'approved', agent: 'echo' } },
    }))
    hub.on('POST /v1/mode/resume', () => ({ body: { mode: 'normal' } }))
    expect((await runHub(home, ['approve', '00000002'])).stdout).toBe('approved; agent echo has been told\n')
    expect((await runHub(home, ['resume', '--alert', '0000002'])).code).toBe(0)
    expect(hub.asked.filter(({ method }) => method === 'POST').map(({ path, body }) => [path, body])).toEqual([
      [`/v1/approvals/${other}/answer`, { approve: true, text: '' }],
      ['/v1/mode/resume', { alert: other }],
    ])
  })
})

describe('lists that leave nothing out (fault C10)', () => {
  it('artifacts of every task are listed where none is named', async () => {
    const sha256 = 'ab'.repeat(32)
    hub.on('GET /v1/artifacts', () => ({
      body: { artifacts: [{ sha256, size: 3, name: 'x', task: TASK_ID }], next: '25' },
    }))
    const { stdout, stderr } = await runHub(home, ['artifact', 'list', '--limit', '25'])
    expect(stdout).toMatch(/\nabababababab {2}3 B +00000001 +x\n/)
    expect(stderr).toBe('there is more: --cursor 25\n')
  })

  it('alerts of the watchdog stand among those of the hub', async () => {
    const watchdog = await openFakeDoor(watchdogSocketOf(home))
    watchdog.on('GET /v1/status', () => ({
      body: watchdogView({ alerts: [{ finding: 'hub_health', level: 1, forMs: 60_000 }] }),
    }))
    hub.on('GET /v1/alerts', () => ({ body: { alerts: [] } }))
    const { stdout } = await runHub(home, ['alert', 'list'])
    await watchdog.close()
    expect(stdout).toMatch(/\nwatchdog +warning +sent +hub_health +.*\(1 m ago\)/)
  })

  it('records are found by the operation too, as the records call it', async () => {
    hub.on('GET /v1/audit', () => ({ body: { records: [], next: null } }))
    await runHub(home, ['audit', 'list', '--action', 'task.submit'])
    await runHub(home, ['audit', 'list', '--action', 'task.submitted'])
    expect(hub.asked.map(({ query }) => query.get('action'))).toEqual(['task.submitted', 'task.submitted'])
  })

  it('a task that logged nothing says so, and whether more may come', async () => {
    hub.on('GET /v1/tasks/:id/logs', () => ({ body: { lines: [] } }))
    hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView({ state: 'running' }), attempts: [] } }))
    const { stdout, stderr } = await runHub(home, ['task', 'logs', TASK_ID])
    expect([stdout, stderr]).toEqual([
      '',
      `task ${TASK_ID} has logged nothing so far (it is running; --follow waits for more)\n`,
    ])
  })

  it('task logs --follow goes on with what is new, each line once, until the task has ended', async () => {
    let ended = false
    hub.on('GET /v1/tasks/:id/logs', () => ({ body: { lines: [{ atMs: 1000, level: 'info', text: 'first' }] } }))
    hub.on('GET /v1/tasks/:id', () => ({
      body: { task: taskView({ state: ended ? 'succeeded' : 'running' }), attempts: [] },
    }))
    const event = (sequence: number, type: string, data: object) => ({
      sequence,
      type,
      subject: `task:${TASK_ID}`,
      time: new Date(1000 + sequence).toISOString(),
      data,
    })
    hub.on('GET /v1/events', () => {
      ended = true
      return eventFeed([
        event(1, 'hub.task.log.v1', { level: 'info', text: 'first' }),
        event(2, 'hub.task.log.v1', { level: 'warn', text: 'second' }),
        event(3, 'hub.task.completed.v1', {}),
      ])
    })
    const { code, stdout } = await runHub(home, ['task', 'logs', TASK_ID, '--follow'])
    expect([code, stdout.split('\n').map((line) => line.replace(/^\d{4}-01-01 01:00:01 CET /, ''))]).toEqual([
      0,
      ['info  first', 'warn  second', ''],
    ])
  })
})

describe('exit codes of what the hub answers (protocol.md section 7)', () => {
  const rows: [ErrorCode, number][] = [
    ['policy_denied', 3],
    ['unauthenticated', 3],
    ['unknown_task', 3],
    ['mode_safe', 3],
    ['mode_draining', 3],
    ['store_unavailable', 4],
    ['rate_limited', 4],
    ['timed_out', 6],
    ['internal', 1],
    ['profile_mismatch', 1],
  ]
  it.each(rows)('%s ends with %i', async (errorCode, exitCode) => {
    hub.on('GET /v1/tasks/:id', () => refusal(errorCode, 'because of this', { decisionId: 'd-7' }))
    const { code, stdout, stderr } = await runHub(home, ['task', 'show', TASK_ID, '--json'])
    expect(code).toBe(exitCode)
    expect(stderr).toMatch(/^hub: because of this \(decision d-7\)\nnext: .+\n$/)
    expect(JSON.parse(stdout)).toMatchObject({
      code: errorCode,
      detail: 'because of this',
      decisionId: 'd-7',
      exitCode,
    })
  })

  it('a hub that is not there ends with 4', async () => {
    await hub.close()
    const { code, stderr } = await runHub(home, ['task', 'list'])
    expect(stderr).toMatch(/^hub: the hub does not answer \(.*\)\nnext: start it: `hub up`\n$/)
    expect(code).toBe(4)
  })

  it('an answer that is not JSON is a fault, not a crash', async () => {
    hub.on('GET /v1/tasks', () => ({ bytes: Buffer.from('<html>') }))
    const { code, stderr } = await runHub(home, ['task', 'list'])
    expect([code, stderr.split('\n')[0]]).toEqual([1, 'hub: the hub answered something that is not JSON'])
  })
})

const LINE = { atMs: 1, level: 'info', text: 'x' }
describe('every read', () => {
  const reads: [string[], string, unknown, unknown][] = [
    [['task', 'list'], 'GET /v1/tasks', { tasks: [taskView()], next: null }, [taskView()]],
    [
      ['task', 'show', TASK_ID],
      'GET /v1/tasks/:id',
      { task: taskView(), attempts: [] },
      { task: taskView(), attempts: [] },
    ],
    [['task', 'logs', TASK_ID], 'GET /v1/tasks/:id/logs', { lines: [LINE] }, [LINE]],
    [['session', 'list'], 'GET /v1/sessions', { sessions: [session], next: null }, [session]],
    [['session', 'show', SESSION_ID], 'GET /v1/sessions/:id', { session }, { session }],
    [['session', 'logs', SESSION_ID], 'GET /v1/sessions/:id/logs', { text: 'a\nb\n' }, { text: 'a\nb\n' }],
    [['agent', 'list'], 'GET /v1/agents', { agents: [agent], problems: [] }, [agent]],
    [['agent', 'show', 'echo'], 'GET /v1/agents/:name', { agent }, { agent }],
    [['audit', 'list'], 'GET /v1/audit', { records: [], next: null }, []],
    [
      ['audit', 'verify'],
      'GET /v1/audit/verify',
      { ok: true, size: 1, head: 'ff', firstBad: null, checkpoints: 1, witness: null },
      { ok: true, size: 1, head: 'ff', firstBad: null, checkpoints: 1, witness: null },
    ],
    [['policy', 'status'], 'GET /v1/policy', { version: '1', builtins: [] }, { version: '1', builtins: [] }],
    [
      ['doctor'],
      'GET /v1/doctor',
      { checks: [{ name: 'engine', ok: null, detail: 'not asked', mend: null }] },
      [{ name: 'engine', ok: null, detail: 'not asked', mend: null }],
    ],
    [['artifact', 'list'], 'GET /v1/artifacts', { artifacts: [] }, []],
  ]
  it.each(reads)(
    '%j has --json with stable fields and a text without control characters',
    async (args, route, body, shown) => {
      hub.on(route, () => ({ body }))
      const json = await runHub(home, [...args, '--json'])
      expect([json.code, json.stderr]).toEqual([0, ''])
      expect(JSON.parse(json.stdout)).toEqual(shown)
      const text = await runHub(home, args)
      expect([text.code, text.stderr]).toEqual([0, ''])
      expect(text.stdout).not.toContain('\x1b')
    },
  )

  it('prints an empty list as [] and as a sentence', async () => {
    hub.on('GET /v1/tasks', () => ({ body: { tasks: [], next: null } }))
    expect((await runHub(home, ['task', 'list', '--json'])).stdout).toBe('[]\n')
    expect((await runHub(home, ['task', 'list'])).stdout).toMatch(/^no tasks/)
  })

  it('says on stderr where a list goes on, and goes on there', async () => {
    hub.on('GET /v1/tasks', ({ query }) => ({ body: { tasks: [], next: query.get('cursor') === null ? 'c2' : null } }))
    expect((await runHub(home, ['task', 'list', '--json'])).stderr).toBe('there is more: --cursor c2\n')
    const second = await runHub(home, ['task', 'list', '--cursor', 'c2', '--limit', '5', '--state', 'failed'])
    expect(second.stderr).toBe('')
    expect(Object.fromEntries(hub.asked[1]?.query ?? [])).toEqual({ cursor: 'c2', limit: '5', state: 'failed' })
  })

  it('escapes control characters of the hub in text, JSON and errors (T30)', async () => {
    const evil = 'a\x1b[31m\r\n\u202ered\u2028\u009b31m\u{e0001}'
    hub.on('GET /v1/tasks', () => ({ body: { tasks: [taskView({ agent: evil })], next: null } }))
    hub.on('GET /v1/sessions/:id/logs', () => ({ body: { text: evil } }))
    hub.on('POST /v1/mode/resume', () => refusal('conflict', evil))
    const unsafe = /(?!\n)\p{Cc}|[\p{Zl}\p{Cf}]/u
    const table = await runHub(home, ['task', 'list'])
    expect(table.stdout.trimEnd().split('\n')).toHaveLength(2)
    const json = await runHub(home, ['task', 'list', '--json'])
    expect(JSON.parse(json.stdout)[0].agent).toBe(evil)
    const logs = await runHub(home, ['session', 'logs', SESSION_ID])
    const error = await runHub(home, ['resume'])
    expect(error.stderr.split('\n')).toHaveLength(3)
    for (const text of [table.stdout, json.stdout, logs.stdout, error.stderr]) expect(text).not.toMatch(unsafe)
  })

  it('a broken audit chain and a red check end with 1', async () => {
    const verdict = {
      ok: false,
      size: 9,
      head: 'ff',
      firstBad: { seq: 4, reason: 'hash' },
      checkpoints: 1,
      witness: null,
    }
    hub.on('GET /v1/audit/verify', () => ({ body: verdict }))
    hub.on('GET /v1/doctor', () => ({
      body: { checks: [{ name: 'zone', ok: false, detail: 'bad', mend: 'mend it' }] },
    }))
    const audit = await runHub(home, ['audit', 'verify'])
    expect([audit.code, audit.stdout]).toEqual([1, 'BROKEN: first at record 4: hash\n'])
    // Fault F5: what the watchdog says to it counts as much.
    const said = (ok: boolean, witness: object) => ({ body: { ...verdict, ok, firstBad: null, witness } })
    hub.on('GET /v1/audit/verify', () => said(false, { asked: true, size: 7, reason: 'record 7 is gone' }))
    const cut = await runHub(home, ['audit', 'verify'])
    expect([cut.code, cut.stdout]).toEqual([
      1,
      'BROKEN: record 7 is gone: the log is whole by itself, but not the one that was witnessed\nhead ff\n',
    ])
    hub.on('GET /v1/audit/verify', () => said(true, { asked: false, size: null, reason: 'no socket' }))
    const alone = await runHub(home, ['audit', 'verify'])
    expect([alone.code, alone.stdout]).toEqual([4, 'whole: 9 records, 1 signed checkpoints\nhead ff\n'])
    expect(alone.stderr).toContain('the watchdog could not be asked (no socket)')
    hub.on('GET /v1/audit/verify', () => said(true, { asked: true, size: 7, reason: null }))
    const whole = await runHub(home, ['audit', 'verify'])
    expect([whole.code, whole.stdout]).toEqual([
      0,
      'whole: 9 records, 1 signed checkpoints\nhead ff\nthe watchdog has seen the same log\n',
    ])
    const doctor = await runHub(home, ['doctor'])
    expect([doctor.code, doctor.stdout]).toEqual([1, 'FAIL  zone  bad\n      mend it\n'])
  })

  it('follows events over a restart of the hub, and says so (fault C38)', async () => {
    const event = (sequence: number) => ({
      sequence,
      time: `2026-01-01T00:00:0${sequence}Z`,
      type: 'hub.task.queued.v1',
      subject: 'task/1',
      data: {},
    })
    let asked = 0
    hub.on('GET /v1/health', () => ({ body: {} }))
    hub.on('GET /v1/events', () => ({
      raw(response) {
        asked += 1
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(`id: ${asked}\ndata: ${JSON.stringify(event(asked))}\n\n`, () => {
          // The line is cut in the middle, as when a process ends.
          if (asked === 1) response.destroy()
        })
      },
    }))
    const child = runHub(home, ['events', '--follow'], { endAfter: /00:00:02Z/ })
    const { stdout, stderr } = await child
    expect(stdout).toContain('2026-01-01T00:00:01Z 1 task.queued')
    expect(stdout).toContain('2026-01-01T00:00:02Z 2 task.queued')
    expect(stderr).toContain('the hub has ended; waiting for it')
    expect(stderr).toContain('the hub is there again')
    expect(stderr).not.toMatch(/bug|aborted/)
    await hub.close()
    const none = await runHub(home, ['events', '--follow'])
    expect([none.code, none.stderr]).toEqual([4, expect.stringContaining('does not answer')])
    hub = await openFakeDoor(hubSocketOf(home))
  })

  it('shows what the hub remembers of events, as lines or as a list, and ends', async () => {
    const event = { sequence: 4, time: '2026-01-01T00:00:00Z', type: 'hub.task.queued.v1', subject: 'task/1', data: {} }
    hub.on('GET /v1/events', () => eventFeed([event]))
    const text = await runHub(home, ['events', '--since', '3'])
    expect([text.code, text.stdout]).toEqual([0, '2026-01-01T00:00:00Z 4 task.queued task/1 {}\n'])
    expect(hub.asked[0]?.query.get('since')).toBe('3')
    expect(JSON.parse((await runHub(home, ['events', '--json'])).stdout)).toEqual([event])
    // Fault D10: what the hub says is gone is no event, and is told.
    hub.on('GET /v1/events', () => ({
      raw(response) {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write('event: lost\ndata: {"detail":"older events are gone"}\n\n')
        response.write(`id: 4\ndata: ${JSON.stringify(event)}\n\n`)
      },
    }))
    const torn = await runHub(home, ['events', '--since', '1'])
    expect([torn.code, torn.stdout]).toEqual([0, '2026-01-01T00:00:00Z 4 task.queued task/1 {}\n'])
    expect(torn.stderr).toContain('events in between are gone')
  })
})

describe('changes', () => {
  it.each([
    [['task', 'cancel', TASK_ID], 'POST /v1/tasks/:id/cancel', `/v1/tasks/${TASK_ID}/cancel`],
    [['task', 'retry', TASK_ID], 'POST /v1/tasks/:id/retry', `/v1/tasks/${TASK_ID}/retry`],
    [['task', 'release', TASK_ID], 'POST /v1/tasks/:id/release', `/v1/tasks/${TASK_ID}/release`],
    [['session', 'stop', SESSION_ID], 'POST /v1/sessions/:id/stop', `/v1/sessions/${SESSION_ID}/stop`],
    [['agent', 'reset', 'echo'], 'POST /v1/agents/:name/reset', '/v1/agents/echo/reset'],
    [['agent', 'suspend', 'echo'], 'POST /v1/agents/:name/suspend', '/v1/agents/echo/suspend'],
    [['policy', 'reload'], 'POST /v1/policy/reload', '/v1/policy/reload'],
    [['resume'], 'POST /v1/mode/resume', '/v1/mode/resume'],
  ])('%j posts an empty object to its route', async (args, route, where) => {
    hub.on(route, () => ({ body: { task: taskView() } }))
    expect((await runHub(home, args)).code).toBe(0)
    expect(hub.asked.map((each) => [each.path, each.body])).toEqual([[where, {}]])
  })

  it('safe-mode carries its reason', async () => {
    hub.on('POST /v1/mode/safe', () => ({ body: { mode: 'safe' } }))
    const { stdout } = await runHub(home, ['safe-mode', '--reason', 'going out'])
    expect(stdout).toContain('the mode is safe')
    expect(hub.asked[0]?.body).toEqual({ reason: 'going out' })
  })

  it('session stop --all asks for every page, has nothing new start, stops each, and needs --yes without a person', async () => {
    const other = { ...session, id: 'sbbbbbbbbbbbbbbb', agent: 'other' }
    hub.on('GET /v1/sessions', ({ query }) => ({
      body: query.get('cursor') === null ? { sessions: [session], next: 'c2' } : { sessions: [other], next: null },
    }))
    hub.on('POST /v1/sessions/:id/stop', () => ({ body: {} }))
    hub.on('POST /v1/mode/safe', () => ({ body: { mode: 'safe' } }))
    expect((await runHub(home, ['session', 'stop', '--all'])).code).toBe(2)
    expect(hub.asked.every(({ method }) => method === 'GET')).toBe(true)
    expect((await runHub(home, ['session', 'stop', '--all', '--yes'])).code).toBe(0)
    const posts = () => hub.asked.filter(({ method }) => method === 'POST').map((each) => each.path)
    const stopped = () => posts().flatMap((each) => each.match(/sessions\/(\w+)\/stop/)?.slice(1) ?? [])
    expect(posts()[0]).toBe('/v1/mode/safe')
    expect(stopped()).toEqual([session.id, other.id])
  })

  it.each([
    ['all, with nothing that runs', ['--all'], [], [], 'no session to stop'],
    ['one agent, with nothing of it that runs', ['--agent', 'other'], [session], [], 'no session of other to stop'],
    ['one agent', ['--agent', 'echo'], [session], [`/v1/sessions/${SESSION_ID}/stop`], `${SESSION_ID} told to stop`],
  ])('session stop of %s leaves the mode of the hub alone (fault C5)', async (_, args, sessions, posts, said) => {
    hub.on('GET /v1/agents', () => ({ body: { agents: [agent, { ...agent, name: 'other' }], problems: [] } }))
    hub.on('GET /v1/sessions', () => ({ body: { sessions, next: null } }))
    hub.on('POST /v1/sessions/:id/stop', () => ({ body: {} }))
    const { code, stdout } = await runHub(home, ['session', 'stop', ...args, '--yes'])
    expect([code, stdout]).toEqual([0, `${said}\n`])
    expect(hub.asked.filter(({ method }) => method === 'POST').map((each) => each.path)).toEqual(posts)
  })

  it('agent reload names the cards that did not load and ends with 3', async () => {
    const problems = [{ file: 'agents/bad.yaml', line: 3, message: 'unknown key' }]
    hub.on('POST /v1/agents/reload', () => ({ body: { agents: [agent], problems } }))
    const { code, stderr } = await runHub(home, ['agent', 'reload'])
    expect([code, stderr]).toEqual([3, 'not loaded: agents/bad.yaml line 3: unknown key\n'])
  })
})

describe('a socket that somebody else could hold (T34)', () => {
  it.each([
    ['run', 0o710, /run is open to other users \(mode 710\)/],
    ['', 0o750, /the home .* is open to other users \(mode 750\)/],
  ])('is refused where %j has mode %o, before anything is sent', async (folder, mode, text) => {
    chmodSync(path.join(home, folder), mode)
    const { code, stderr } = await runHub(home, ['heartbeat'])
    expect([code, hub.asked.length]).toEqual([3, 0])
    expect(stderr).toMatch(text)
    expect(stderr).toMatch(/next: chmod 700 /)
  })

  it('is refused where its folder is only a link to one', async () => {
    const other = path.join(home, 'elsewhere')
    mkdirSync(other, { mode: 0o700 })
    rmSync(path.join(home, 'run'), { recursive: true })
    symlinkSync(other, path.join(home, 'run'))
    const { code, stderr } = await runHub(home, ['heartbeat'])
    expect([code, stderr.split('\n')[0]]).toEqual([
      3,
      `hub: ${home}/run is not a folder: somebody else could be answering there`,
    ])
  })
})

describe('heartbeat and status', () => {
  const beat = () => {
    const nowMs = Date.now()
    return {
      acceptedAtMs: nowMs,
      dueAtMs: nowMs + 86_340_000,
      safeAtMs: nowMs + 93_600_000,
      stopAtMs: nowMs + 180_000_000,
    }
  }
  let watchdog: FakeDoor
  beforeEach(async () => {
    watchdog = await openFakeDoor(watchdogSocketOf(home))
    watchdog.on('POST /v1/heartbeat', () => ({ body: beat() }))
    watchdog.on('GET /v1/status', () => ({ body: watchdogView() }))
  })
  afterEach(() => watchdog.close())

  it('goes to the hub and answers with the next deadline in local time', async () => {
    hub.on('POST /v1/heartbeat', () => ({ body: beat() }))
    const { code, stdout } = await runHub(home, ['heartbeat', '--note', 'all well'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^accepted; next due [A-Z][a-z]{2} \d\d:\d\d CES?T \(in 23 h 5[89] m\)\n/)
    expect(hub.asked[0]?.body).toEqual({ note: 'all well' })
    expect(watchdog.asked).toEqual([])
  })

  it('goes to the watchdog where the hub is dead, and where its store fails', async () => {
    hub.on('POST /v1/heartbeat', () => refusal('store_unavailable', 'no room'))
    expect((await runHub(home, ['heartbeat'])).code).toBe(0)
    await hub.close()
    const { code, stdout } = await runHub(home, ['heartbeat', '--note', 'n', '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toHaveProperty('dueAtMs')
    expect(watchdog.asked.map(({ body }) => body)).toEqual([
      { note: '', source: 'cli' },
      { note: 'n', source: 'cli' },
    ])
  })

  it('an absence goes to the hub with its instant, to the watchdog where the hub is dead, and a wrong one nowhere', async () => {
    watchdog.on('GET /v1/status', () => ({
      body: watchdogView({ heartbeat: { ...watchdogView().heartbeat, zone: 'Asia/Tokyo' } }),
    }))
    hub.on('POST /v1/away', () => ({ body: { ...beat(), zone: 'Asia/Tokyo', conditions: ['away'] } }))
    const beforeMs = Date.now()
    const first = await runHub(home, ['away', '--until', '3d', '--note', 'sea'])
    expect(first.code).toBe(0)
    expect(first.stdout).toMatch(/^away until .* (GMT\+9|JST) \(in 23 h 5[89] m\): nothing new starts/)
    const { untilMs, ...rest } = (hub.asked[0]?.body ?? { untilMs: Number.NaN }) as { untilMs: number }
    expect(rest).toEqual({ keepWorking: false, note: 'sea' })
    expect(untilMs - beforeMs - 3 * 86_400_000).toBeLessThan(30_000)
    for (const until of ['soon', '2026-02-30', '2020-01-01'])
      expect(await runHub(home, ['away', '--until', until])).toMatchObject({ code: 2 })
    expect((await runHub(home, ['away'])).code).toBe(2)
    expect(hub.asked).toHaveLength(1)

    await hub.close()
    watchdog.on('POST /v1/away', () => ({ status: 409, body: { error: 'an absence lasts at most 21 days' } }))
    const refused = await runHub(home, ['away', '--until', '2w', '--keep-working'])
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining('at most 21 days') })
    watchdog.on('POST /v1/back', () => ({ body: beat() }))
    expect((await runHub(home, ['back'])).code).toBe(0)
    expect(watchdog.asked.filter(({ method }) => method === 'POST').map(({ path, body }) => [path, body])).toEqual([
      ['/v1/away', { note: '', source: 'cli', keepWorking: true, untilMs: expect.any(Number) }],
      ['/v1/back', { note: '', source: 'cli' }],
    ])
  })

  it('`hub up` with both there starts nothing and still tells the watchdog; the stop that holds is named', async () => {
    hub.on('GET /healthz', () => ({ body: { mode: 'safe' } }))
    watchdog.on('POST /v1/up', () => ({ body: { conditions: ['unattended_stop'] } }))
    const { code, stdout, stderr } = await runHub(home, ['up'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/hub: already up.*\nwatchdog: already up/)
    expect(stderr).toContain('the unattended stop holds until your heartbeat: `hub heartbeat`')
    expect(watchdog.asked.filter(({ method }) => method === 'POST').map(({ path }) => path)).toEqual(['/v1/up'])
  })

  it('says that nobody took the heartbeat, exit 4', async () => {
    await hub.close()
    await watchdog.close()
    const { code, stderr } = await runHub(home, ['heartbeat'])
    expect(code).toBe(4)
    expect(stderr).toMatch(/hub: neither the hub nor the watchdog took the heartbeat/)
  })

  it('status shows mode, tasks, lease, watchdog, deadline and that there is nothing to do', async () => {
    hub.on('GET /v1/health', () => ({ body: modeView() }))
    hub.on('GET /v1/tasks', () => ({ body: { tasks: [taskView({ state: 'running' })], next: null } }))
    const { code, stdout } = await runHub(home, ['status'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^mode +normal$/m)
    expect(stdout).toMatch(/^tasks +2 running, 1 queued/m)
    expect(stdout).toMatch(/^lease +1 m 20 s left$/m)
    expect(stdout).toMatch(/^heartbeat +due [A-Z].* CES?T \(in 23 h 53 m\)$/m)
    expect(stdout).toMatch(/^watchdog +well, looked 4 s ago$/m)
    expect(stdout).toMatch(/^next +nothing to do$/m)
    expect(stdout).toContain(TASK_ID.slice(-8))
  })

  it('a question stands in status and in the answer to a heartbeat, with the words that answer it (fault C1)', async () => {
    const question = {
      id: TASK_ID,
      agent: 'solo',
      task: TASK_ID,
      root: TASK_ID,
      question: 'Shall I\x1b[2J?',
      askedAtMs: 1,
    }
    const alert = { id: TASK_ID, cause: `question:${TASK_ID}`, severity: 'warning', raisedAtMs: 1 }
    hub.on('GET /v1/health', () => ({ body: modeView() }))
    hub.on('GET /v1/approvals', () => ({ body: { approvals: [question] } }))
    hub.on('GET /v1/alerts', () => ({ body: { alerts: [alert] } }))
    hub.on('POST /v1/heartbeat', () => ({ body: { dueAtMs: 1, safeAtMs: 2, stopAtMs: 3, questions: [question] } }))
    const status = (await runHub(home, ['status'])).stdout
    expect(status).toMatch(/^asked +solo, .*: Shall I\\u001b\[2J\? \(`hub approve /m)
    expect(status).toMatch(/^next +answer agent solo: `hub approve .*` or `hub reject /m)
    expect(status).not.toContain('alerts')
    const beat = (await runHub(home, ['heartbeat'])).stdout
    expect(beat).toMatch(/\nsolo asks: Shall I\\u001b\[2J\?\nanswer it: `hub approve .*` or `hub reject /)
  })

  it.each([
    ['shutdown', 'operator:1000', 'shut down by you'],
    ['down', 'device:phone', 'taken down by device phone'],
    ['unattended_stop', null, 'stopped, since no heartbeat came'],
    ['SIGTERM', null, 'ended by SIGTERM'],
  ])(
    'status of a hub that ended by %s says who did it, and no fault to look for (fault C16)',
    async (how, by, text) => {
      await hub.close()
      writeFileSync(path.join(home, 'run', 'ended.json'), JSON.stringify({ how, by, atMs: Date.now() - 180_000 }))
      const { code, stdout } = await runHub(home, ['status'])
      expect(code).toBe(4)
      expect(stdout).toMatch(new RegExp(`^hub +${text} .* \\(3 m ago\\)$`, 'm'))
      expect(stdout).toMatch(/^next +nothing runs; start it again: `hub up`$/m)
    },
  )

  it('status works with the hub dead: it shows what the watchdog knows and ends with 4', async () => {
    await hub.close()
    const { code, stdout } = await runHub(home, ['status', '--json'])
    expect(code).toBe(4)
    expect(JSON.parse(stdout)).toMatchObject({ hub: null, watchdog: { demand: 'normal' }, running: [] })
    expect((await runHub(home, ['status'])).stdout).toMatch(/^heartbeat +due /m)
    await watchdog.close()
    expect((await runHub(home, ['status'])).stdout).toMatch(/^watchdog +does not answer \(/m)
  })
})
