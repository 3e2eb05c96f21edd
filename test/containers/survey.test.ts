/** The survey on this very repository, on a real hub, a real watchdog and the real engine; its truth is known by other means. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hubDoor } from '../../hub/client/cli/home.ts'
import { createConnection } from '../../hub/client/connection.ts'
import { hasEnded, openContainerHome, type Session, type Task, until } from '../support/container-home.ts'

const root = resolve(import.meta.dirname, '../..')
type Home = Awaited<ReturnType<typeof openContainerHome>>
interface Row {
  action: string
  outcome: string
  reason: string
  principal: string
}
let home: Home
let out = ''

beforeAll(async () => {
  home = await openContainerHome({ cards: [] })
  out = mkdtempSync(join(tmpdir(), 'survey-'))
})
afterAll(async () => {
  await home.close()
  rmSync(out, { recursive: true, force: true })
})

const files = () =>
  execFileSync('git', ['-C', root, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    encoding: 'utf8',
  })
    .split('\0')
    .filter((path) => path !== '')

test('a survey of this repository counts what git and wc count, by at least three containers that talked through the hub', async () => {
  const { stdout, stderr, code } = await home.submit('survey-lead', '--input', root, '--out', out, '--json')
  expect(code, stderr).toBe(0)
  const task = JSON.parse(stdout) as Task & { children: number }
  expect(task.children).toBeGreaterThanOrEqual(2)
  const report = JSON.parse(readFileSync(join(out, 'report.json'), 'utf8')) as {
    totals?: { files: number; lines: number }
  } & Record<string, unknown>
  const totals = (report.totals ?? report) as { files: number; lines: number }
  const paths = files()
  const lines = paths.reduce(
    (sum, path) => sum + readFileSync(join(root, path)).filter((byte) => byte === 10).length,
    0,
  )
  expect(totals.files).toBe(paths.length)
  expect(totals.lines).toBe(lines)
  const sessions = await home.json<(Session & { agent: string; containerId: string })[]>(
    'session',
    'list',
    '--all',
    '--limit',
    '100',
  )
  expect(new Set(sessions.map(({ containerId }) => containerId)).size).toBeGreaterThanOrEqual(3)
})

test('the message one reader may not send is in the audit, refused, with its reason', async () => {
  const rows = await home.json<Row[]>('audit', 'list', '--action', 'message.sent', '--outcome', 'refused')
  expect(rows[0]?.principal).toMatch(/^agent:survey-reader\//)
  expect(rows[0]?.reason).toContain('agent survey-reader may not message echo')
})

test('kill -9 of the hub while a task runs: the hub that comes after takes the container over, and the task ends once', async () => {
  const { id } = await home.json<Task>('submit', 'survey-lead', '--input', root)
  type Shown = { task: Task; attempts: { session: string; state: string }[] }
  const shown = () => home.json<Shown>('task', 'show', id)
  // Over the socket itself: a command would take so long that it is over before it was seen.
  const hub = createConnection(hubDoor(home.home))
  const look = async () => {
    const { sessions } = await hub.call('session.list', { limit: 100 })
    const { state } = (await hub.call('task.show', { id })).task
    if (state !== 'queued' && state !== 'running') throw new Error(`it is ${state} before the hub is killed`)
    return sessions.find((each) => each.task === id && each.state === 'working')
  }
  const before = await until('it is at work', look, (found) => found !== undefined)
  const container = before?.containerId ?? ''
  expect(container).not.toBe('')
  process.kill(home.hubPid, 'SIGKILL')
  // Nobody but the engine holds it now.
  expect((await home.engine.list(home.instance)).find(({ id: each }) => each === container)?.state).toBe('running')
  const second = await home.startHub()
  try {
    const { code } = (await home.hub('wait', id, '--for', 'task=done', '--timeout', '240s')) as { code: number }
    expect(code).toBe(0)
    // Its agent is repeatable: begun again it would have succeeded too, in its second attempt and in another container.
    const { task, attempts } = await shown()
    expect([task.state, attempts.map(({ session, state }) => [session, state])]).toEqual([
      'succeeded',
      [[before?.id, 'settled']],
    ])
    expect(await home.session(String(before?.id))).toMatchObject({ containerId: container, exit: 'done' })
    const results = await home.json<(Row & { resource: string })[]>(
      'audit',
      'list',
      '--action',
      'task.result_given',
      '--limit',
      '100',
    )
    expect(results.filter(({ resource, outcome }) => resource === `task:${id}` && outcome === 'ok')).toHaveLength(1)
    expect(((await home.hub('audit', 'verify')) as { code: number }).code).toBe(0)
    expect(((await home.hub('shutdown', '--yes')) as { code: number }).code).toBe(0)
    expect(await home.engine.list(home.instance)).toEqual([])
  } finally {
    // It has the database for itself until it has ended.
    await until('it has ended', () => hasEnded(second), Boolean)
  }
})

test('the audit chain fails when one byte of one record is changed [audit-19]', async () => {
  const database = new Database(join(home.home, 'hub.db'))
  database.exec('drop trigger audit_record_is_append_only_update')
  database.prepare(`update audit_record set reason = reason || '.' where seq = 5`).run()
  database.close()
  await home.startHub()
  const verdict = (await home.hub('audit', 'verify')) as { code: number; stdout: string }
  expect(verdict.code).toBe(1)
  expect(verdict.stdout).toContain('record 5')
})
