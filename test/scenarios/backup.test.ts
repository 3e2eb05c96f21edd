/** A backup of a hub that runs, and what becomes of it when it is put back (T86, X8), on real files and the real database. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import { afterEach, describe, expect, test } from 'vitest'
import { type RestoreReport, restoreHome } from '../../hub/assembly/restore.ts'
import { createSystemClock } from '../../hub/base/clock.ts'
import { systemRandom } from '../../hub/base/random.ts'
import { backupHandlers } from '../../hub/edge/routes/backup.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const MAIN = fileURLToPath(new URL('../../hub/main.ts', import.meta.url))
const folders: string[] = []
const scratch = () => {
  const made = mkdtempSync(join(tmpdir(), 'b-'))
  folders.push(made)
  return made
}
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

const agents = { echo: { script: worker(() => 'done') }, patient: { script: puppet } }

async function backedUp(h: Harness): Promise<string> {
  writeFileSync(join(h.home, 'instance'), '0f0e0d0c-0000-4000-8000-000000000001\n')
  const { status, body } = await h.operator('POST', '/v1/backup', {})
  expect(status, JSON.stringify(body)).toBe(200)
  return String(body.path)
}
const put = (from: string, home = join(scratch(), 'home')): Promise<RestoreReport> =>
  restoreHome({ from, home }, { clock: createSystemClock(), random: systemRandom, initWatchdog: () => undefined })

describe('a backup', () => {
  test('is a consistent copy of a hub at work, private, and in the audit log', async () => {
    await using h = await createHarness({ agents })
    const done = await h.submit('echo')
    await h.ended(done)
    await h.bring('patient')
    const path = await backedUp(h)
    expect(h.audit().at(-1)).toMatchObject({ action: 'backup.made', outcome: 'ok', principal: 'operator' })
    expect((statSync(path).mode & 0o077) | (statSync(join(path, 'keys')).mode & 0o077)).toBe(0)
    const copy = new Database(join(path, 'hub.db'), { readonly: true })
    expect(copy.pragma('integrity_check', { simple: true })).toBe('ok')
    expect(copy.prepare('select state from task where id = ?').pluck().get(done)).toBe('succeeded')
    copy.close()
    expect(readdirSync(path)).not.toContain('run')
    expect(existsSync(`${path}.partial`)).toBe(false)
  })
})

test('one backup at a time; one whose record could not be committed does not stand in the way of the next', async () => {
  let finish: () => void = () => undefined
  const made = { path: '', files: 0, bytes: 0, auditSize: 0, auditHead: '' }
  const makeBackup = () => new Promise<typeof made>((resolve) => (finish = () => resolve(made)))
  const run = backupHandlers({ makeBackup })['backup.run'] as unknown as { effect(): void; after(): Promise<unknown> }
  run.effect()
  expect(() => run.effect()).not.toThrow()
  const first = run.after()
  expect(() => run.effect()).toThrow(/wait for it/)
  finish()
  await first
  expect(() => run.effect()).not.toThrow()
})

describe('T86: a backup that is put back', () => {
  test('is another instance, safe by the operator, with every unfinished task held and the restore in its log', async () => {
    await using h = await createHarness({ agents })
    await h.submit('echo', {}, { hold: true })
    const [atWork] = await h.bring('patient')
    const queued = await h.submit('patient')
    const path = await backedUp(h)
    const report = await put(path)
    expect(report.formerInstance).toBe('0f0e0d0c-0000-4000-8000-000000000001')
    expect(report.instance).not.toBe(report.formerInstance)
    expect(readFileSync(join(report.home, 'instance'), 'utf8').trim()).toBe(report.instance)
    const copy = new Database(join(report.home, 'hub.db'), { readonly: true })
    expect(copy.prepare('select name, reason from condition').all()).toEqual([
      { name: 'operator_request', reason: expect.stringContaining('restored from the backup of 20') },
    ])
    expect(copy.prepare("select count(*) from task where state = 'queued' and held = 0").pluck().get()).toBe(0)
    expect(copy.prepare('select id from task where id = ?').pluck().get(queued)).toBe(queued)
    const worked = copy.prepare('select state, held from task where id = ?').get(atWork.joined?.task.task)
    expect(worked, 'what was at work comes back held as well').toEqual({ state: 'running', held: 1 })
    const last = copy.prepare('select * from audit_record order by seq desc limit 1').get()
    expect(last).toMatchObject({ action: 'hub.restored', effect: `instance:${report.instance}` })
    copy.close()
  })

  test('X8: it never goes over a home, live or not', async () => {
    await using h = await createHarness({ agents })
    const path = await backedUp(h)
    await expect(put(path, h.home)).rejects.toMatchObject({ code: 'conflict' })
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
    // One that came there while the backup was copied is no more in its way than one of before.
    const home = join(scratch(), 'home')
    const meanwhile = () => {
      mkdirSync(home)
      writeFileSync(join(home, 'instance'), 'mine')
    }
    const outer = { clock: createSystemClock(), random: systemRandom, initWatchdog: meanwhile }
    await expect(restoreHome({ from: path, home }, outer)).rejects.toMatchObject({ code: 'conflict' })
    expect(readFileSync(join(home, 'instance'), 'utf8')).toBe('mine')
  })

  test('is refused by the name of the file when a byte of it changed, is missing, or would lie elsewhere; and nothing is made', async () => {
    await using h = await createHarness({ agents })
    const path = await backedUp(h)
    const home = join(scratch(), 'home')
    const manifest = readFileSync(join(path, 'backup.json'), 'utf8')
    const cases: [string, () => void][] = [
      ['policy/data.json is not the file', () => writeFileSync(join(path, 'policy/data.json'), '{}')],
      ['policy/data.json is missing', () => rmSync(join(path, 'policy/data.json'))],
      [
        'is no path of a home',
        () => writeFileSync(join(path, 'backup.json'), manifest.replace('"policy/data.json"', '"../data.json"')),
      ],
      ['another version', () => writeFileSync(join(path, 'backup.json'), '{"version":2}')],
      ['cannot be read', () => rmSync(join(path, 'backup.json'))],
    ]
    for (const [words, spoil] of cases) {
      spoil()
      await expect(put(path, home), words).rejects.toThrow(words)
      expect([existsSync(home), existsSync(`${home}.restoring`)], words).toEqual([false, false])
    }
  })

  test('starts, verifies, starts nothing before `hub resume`, and refuses what was signed for the former instance', async () => {
    await using h = await createHarness({ agents })
    const path = await backedUp(h)
    const home = join(scratch(), 'home')
    const made = spawnSync(process.execPath, [MAIN, 'restore', '--from', path, '--home', home], { encoding: 'utf8' })
    expect(made.status, made.stderr).toBe(0)
    const { instance, revokeAnew } = JSON.parse(made.stdout) as RestoreReport
    expect(revokeAnew).toEqual(['hub device list', 'hub token list', 'hub contact card'])
    expect(made.stderr).toContain('what was revoked after the backup is in force again')
    for (const words of revokeAnew) expect(made.stderr).toContain(`\`${words}\``)
    expect(existsSync(join(home, 'watchdog', 'state'))).toBe(true)
    await using again = await createHarness({ agents, home, instance })
    expect((await again.operator('POST', '/v1/tasks', { agent: 'echo' })).body).toMatchObject({ code: 'mode_safe' })
    expect((await again.operator('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true })
    // The witness of the new instance is shown no checkpoint of the former one.
    const shown = again.hub.guard.checkpoints.since(0).map((checkpoint) => checkpoint.instance)
    expect(new Set(shown)).toEqual(new Set(shown.length === 0 ? [] : [instance]))
    expect(await again.lease({ instance: h.instance })).toBe(401)
    expect((await again.operator('POST', '/v1/mode/resume', {})).status).toBe(200)
    const id = await again.submit('echo')
    await again.ended(id)
  })
})
