/** What every command does alike: exit codes, JSON beside text, nothing of a hub that moves a terminal, no socket of somebody else. */
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../../hub/base/errors.ts'
import { agentRow, commandHome, sessionRow } from '../../support/command-home.ts'
import { refusal, SESSION_ID, TASK_ID, taskView } from '../../support/fake-hub.ts'

const at = commandHome()

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
      'hub: could not write the output (ENOSPC)\n',
    ],
    ['status onto a full disk', ['status'], '> /dev/full', 4, 'hub: could not write the output (ENOSPC)\n'],
  ])('%s ends without a fault of its own', async (_, args, redirect, code, said) => {
    // More than a pipe holds, page after page.
    const page = { instance: 'x', publicKey: 'y', size: 1e6, head: 'z', checkpoints: [], next: 1 }
    let asked = 0
    at.hub.on('GET /v1/audit/export', () => {
      asked += 1
      return { body: { ...page, records: [...Array(1000).keys()].map(record), next: asked < 50 ? asked : null } }
    })
    at.hub.on('GET /v1/artifacts/:sha256', () => ({ bytes: Buffer.alloc(32 * 1024 ** 2) }))
    const cli = new URL('../../../hub/client/cli.ts', import.meta.url).pathname
    const words = [process.execPath, cli, ...args].map((word) => `'${word}'`).join(' ')
    const child = spawn(
      'bash',
      ['-c', `{ ${words} ; echo $? >&3; } ${redirect} > /dev/null`.replace('/dev/full > /dev/null', '/dev/full')],
      {
        env: { ...process.env, HUB_HOME: at.home },
        stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      },
    )
    const [errors, exit] = await Promise.all([child.stdio[2], child.stdio[3]].map((stream) => text(stream as Readable)))
    expect([exit?.trim(), errors]).toEqual([String(code), said])
    // It did not go on asking for what nobody reads.
    expect(asked).toBeLessThan(50)
  })
})

describe('in words (fault C22)', () => {
  it('sessions, agents and records are shown without names of fields, raw JSON or a second zone', async () => {
    const full = {
      ...sessionRow,
      detail: '',
      endedAtMs: null,
      waitLeftMs: 60_000,
      authority: { message: ['a', 'b'], secrets: [], ttlMs: 1 },
    }
    const may = { message: ['a'], delegate: [] }
    at.hub.on('GET /v1/sessions/:id', () => ({ body: { session: full } }))
    at.hub.on('GET /v1/agents/:name', () => ({
      body: { agent: { ...agentRow, may, limits: { ttlMs: 3_600_000, memoryBytes: 512 * 1024 ** 2, cpus: 1 } } },
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
    at.hub.on('GET /v1/audit', () => ({ body: { records: [record], next: null } }))
    const shown = await at.run(['session', 'show', SESSION_ID])
    expect(shown.stdout).toMatch(/^may message +a, b$/m)
    expect(shown.stdout).toMatch(/^may wait +1 m for your answers$/m)
    const told = await at.run(['agent', 'show', 'echo'])
    expect(told.stdout).toMatch(/^limits +lives 1 h, 512\.0 MiB memory, 1 CPU$/m)
    expect(told.stdout).toMatch(/^asks for message +a$/m)
    for (const { stdout } of [shown, told]) expect(stdout).not.toMatch(/[{}[\]"]|\b\w+(Ms|Id|Bytes)\b/)
    expect((await at.run(['audit', 'list'])).stdout).toMatch(
      /\n7 {4}2026-01-02 13:00:00 CET +operator +x +task:00000001 +ok\n/,
    )
  })
})

describe('exit codes of what the hub answers (docs/protocol.md 7)', () => {
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
    at.hub.on('GET /v1/tasks/:id', () => refusal(errorCode, 'because of this', { decisionId: 'd-7' }))
    const { code, stdout, stderr } = await at.run(['task', 'show', TASK_ID, '--json'])
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
    await at.closeHub()
    const { code, stderr } = await at.run(['task', 'list'])
    expect(stderr).toMatch(/^hub: the hub does not answer \(.*\)\nnext: start it: `hub up`\n$/)
    expect(code).toBe(4)
  })

  it('an answer that is not JSON is a fault, not a crash', async () => {
    at.hub.on('GET /v1/tasks', () => ({ bytes: Buffer.from('<html>') }))
    const { code, stderr } = await at.run(['task', 'list'])
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
    [['session', 'list'], 'GET /v1/sessions', { sessions: [sessionRow], next: null }, [sessionRow]],
    [['session', 'show', SESSION_ID], 'GET /v1/sessions/:id', { session: sessionRow }, { session: sessionRow }],
    [['session', 'logs', SESSION_ID], 'GET /v1/sessions/:id/logs', { text: 'a\nb\n' }, { text: 'a\nb\n' }],
    [['agent', 'list'], 'GET /v1/agents', { agents: [agentRow], problems: [] }, [agentRow]],
    [['agent', 'show', 'echo'], 'GET /v1/agents/:name', { agent: agentRow }, { agent: agentRow }],
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
      at.hub.on(route, () => ({ body }))
      const json = await at.run([...args, '--json'])
      expect([json.code, json.stderr]).toEqual([0, ''])
      expect(JSON.parse(json.stdout)).toEqual(shown)
      const text = await at.run(args)
      expect([text.code, text.stderr]).toEqual([0, ''])
      expect(text.stdout).not.toContain('\x1b')
    },
  )

  it('prints an empty list as [] and as a sentence', async () => {
    at.hub.on('GET /v1/tasks', () => ({ body: { tasks: [], next: null } }))
    expect((await at.run(['task', 'list', '--json'])).stdout).toBe('[]\n')
    expect((await at.run(['task', 'list'])).stdout).toMatch(/^no tasks/)
  })

  it('says on stderr where a list goes on, and goes on there', async () => {
    at.hub.on('GET /v1/tasks', ({ query }) => ({
      body: { tasks: [], next: query.get('cursor') === null ? 'c2' : null },
    }))
    expect((await at.run(['task', 'list', '--json'])).stderr).toBe(
      'there is more: the same command with --cursor c2 shows what follows\n',
    )
    const second = await at.run(['task', 'list', '--cursor', 'c2', '--limit', '5', '--state', 'failed'])
    expect(second.stderr).toBe('')
    expect(Object.fromEntries(at.hub.asked[1]?.query ?? [])).toEqual({ cursor: 'c2', limit: '5', state: 'failed' })
  })

  it('escapes control characters of the hub in text, JSON and errors (T30)', async () => {
    const evil = 'a\x1b[31m\r\n\u202ered\u2028\u009b31m\u{e0001}'
    at.hub.on('GET /v1/tasks', () => ({ body: { tasks: [taskView({ agent: evil })], next: null } }))
    at.hub.on('GET /v1/sessions/:id/logs', () => ({ body: { text: evil } }))
    at.hub.on('POST /v1/mode/resume', () => refusal('conflict', evil))
    const unsafe = /(?!\n)\p{Cc}|[\p{Zl}\p{Cf}]/u
    const table = await at.run(['task', 'list'])
    expect(table.stdout.trimEnd().split('\n')).toHaveLength(2)
    const json = await at.run(['task', 'list', '--json'])
    expect(JSON.parse(json.stdout)[0].agent).toBe(evil)
    const logs = await at.run(['session', 'logs', SESSION_ID])
    const error = await at.run(['resume'])
    expect(error.stderr.split('\n')).toHaveLength(3)
    for (const text of [table.stdout, json.stdout, logs.stdout, error.stderr]) expect(text).not.toMatch(unsafe)
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
    at.hub.on(route, () => ({ body: { task: taskView(), agent: { sessions: 0 } } }))
    expect((await at.run(args)).code).toBe(0)
    expect(at.hub.asked.map((each) => [each.path, each.body])).toEqual([[where, {}]])
  })
})

describe('a socket that somebody else could hold (T34)', () => {
  it.each([
    ['run', 0o710, /run is open to other users \(mode 710\)/],
    ['', 0o750, /the home .* is open to other users \(mode 750\)/],
  ])('is refused where %j has mode %o, before anything is sent', async (folder, mode, text) => {
    chmodSync(path.join(at.home, folder), mode)
    const { code, stderr } = await at.run(['heartbeat'])
    expect([code, at.hub.asked.length]).toEqual([3, 0])
    expect(stderr).toMatch(text)
    expect(stderr).toMatch(/next: chmod 700 /)
  })

  it('is refused where its folder is only a link to one', async () => {
    const other = path.join(at.home, 'elsewhere')
    mkdirSync(other, { mode: 0o700 })
    rmSync(path.join(at.home, 'run'), { recursive: true })
    symlinkSync(other, path.join(at.home, 'run'))
    const { code, stderr } = await at.run(['heartbeat'])
    expect([code, stderr.split('\n')[0]]).toEqual([
      3,
      `hub: ${at.home}/run is not a folder: somebody else could be answering there`,
    ])
  })
})
