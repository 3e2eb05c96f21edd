/** A backup of a running hub, and what becomes of it when it is restored (T86, X8), on real files and the real database. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import { afterEach, describe, expect, test } from 'vitest'
import { createSystemClock } from '../../hub/base/clock.ts'
import { systemRandom } from '../../hub/base/random.ts'
import { backupHandlers } from '../../hub/edge/routes/backup.ts'
import { backupHome } from '../../hub/home/backup.ts'
import { checkCopy } from '../../hub/home/copy-check.ts'
import { type RestoreReport, restoreHome } from '../../hub/home/restore.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const CLI = fileURLToPath(new URL('../../hub/client/cli.ts', import.meta.url))
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
const KEY = 'canary-5f0c1d9a77e2b41c'
function keepSecret(h: Harness, name = 'model-key') {
  mkdirSync(join(h.home, 'secrets'), { mode: 0o700, recursive: true })
  writeFileSync(join(h.home, 'secrets', name), KEY, { mode: 0o600 })
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

describe('S1-53: secrets and backups', () => {
  const holds = (folder: string) =>
    readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => {
      const path = join(entry.parentPath, entry.name)
      return entry.isFile() && readFileSync(path).includes(KEY) ? [path.slice(folder.length + 1)] : []
    })

  test('no backup holds one unless it is asked for; each that is left out is named there, and after a restore with the words to set it', async () => {
    await using h = await createHarness({ agents })
    keepSecret(h)
    symlinkSync('/etc/hostname', join(h.home, 'secrets', 'behind-a-link'))
    const path = await backedUp(h)
    expect(holds(path)).toEqual([])
    const left = { path: 'secrets/model-key', why: 'a secret: set it again after a restore', secret: true }
    expect(JSON.parse(readFileSync(join(path, 'backup.json'), 'utf8')).leftOut).toContainEqual(left)
    const home = join(scratch(), 'home')
    const words = spawnSync(process.execPath, [CLI, 'restore', path, '--home', home], { encoding: 'utf8' })
    const [, run = ''] = /left out the secret model-key\. Set it: (\(.*?\)) and paste it/.exec(words.stdout) ?? []
    expect(words.stdout).not.toContain('behind-a-link')
    // The words work as they are printed.
    spawnSync('/bin/sh', ['-c', run], { input: KEY })
    const made = join(home, 'secrets', 'model-key')
    expect([readFileSync(made, 'utf8'), statSync(made).mode & 0o777]).toEqual([KEY, 0o600])

    const whole = (await h.operator('POST', '/v1/backup', { withSecrets: true })).body
    expect(holds(String(whole.path))).toEqual(['secrets/model-key'])
    expect(
      h
        .audit()
        .filter(({ action }) => action === 'backup.made')
        .map(({ effect }) => effect),
    ).toEqual(['', 'with secrets'])
    const again = await put(String(whole.path))
    expect([again.setAnew, holds(again.home)]).toEqual([[], ['secrets/model-key']])
  })

  test('nor is one that a link elsewhere in the home leads to, by file or by folder, also where secrets/ itself is a link', async () => {
    await using h = await createHarness({ agents })
    keepSecret(h)
    const place = join(scratch(), 'secrets')
    cpSync(join(h.home, 'secrets'), place, { recursive: true })
    mkdirSync(join(h.home, 'definitions'), { recursive: true })
    symlinkSync(join(h.home, 'secrets', 'model-key'), join(h.home, 'definitions', 'key'))
    const first = await backedUp(h)
    expect(holds(first)).toEqual([])
    const { leftOut } = JSON.parse(readFileSync(join(first, 'backup.json'), 'utf8'))
    expect(leftOut).toContainEqual({ path: 'definitions/key', why: 'a link to a secret' })
    rmSync(join(h.home, 'secrets'), { recursive: true })
    symlinkSync(place, join(h.home, 'secrets'))
    symlinkSync(place, join(h.home, 'definitions', 'all'))
    expect(holds(await backedUp(h))).toEqual([])
  })

  test('what a manifest says of secrets is judged before the home is made, and the words to set one work in any home', async () => {
    await using h = await createHarness({ agents })
    keepSecret(h)
    const path = await backedUp(h)
    const manifest = JSON.parse(readFileSync(join(path, 'backup.json'), 'utf8'))
    const putChanged = (change: object, home?: string) => {
      writeFileSync(join(path, 'backup.json'), JSON.stringify({ ...manifest, ...change }))
      return put(path, home)
    }
    for (const leftOut of [{}, 'secrets/x', [null], [{ path: 7, secret: true }]])
      await expect(putChanged({ leftOut })).rejects.toMatchObject({ code: 'config_invalid' })
    for (const change of [{ files: { ...manifest.files, keys: null } }, { madeAtMs: 'today' }, { madeAtMs: 9e99 }])
      await expect(putChanged(change)).rejects.toMatchObject({ code: 'config_invalid' })
    const other = { path: 'elsewhere/model-key', why: '', secret: true }
    expect((await putChanged({ leftOut: [other] })).setAnew).toEqual([])
    const home = join(scratch(), "my home's $(copy)")
    const [{ words = '' } = {}] = (await putChanged({}, home)).setAnew
    spawnSync('/bin/sh', ['-c', words.replace(/ and paste it.*$/, '')], { input: KEY })
    expect(readFileSync(join(home, 'secrets', 'model-key'), 'utf8')).toBe(KEY)
  })

  test("the watchdog's settings are in it, in both of their forms, and its state is not", async () => {
    await using h = await createHarness({ agents })
    mkdirSync(join(h.home, 'watchdog'), { recursive: true })
    for (const name of ['config.yaml', 'config.json', 'contact.json', 'state'])
      writeFileSync(join(h.home, 'watchdog', name), '{}')
    expect(readdirSync(join(await backedUp(h), 'watchdog')).sort()).toEqual([
      'config.json',
      'config.yaml',
      'contact.json',
    ])
  })
})

describe('fault B8: symbolic links in a home', () => {
  const moved = (h: Harness, name: string): string => {
    const place = join(scratch(), name)
    cpSync(join(h.home, name), place, { recursive: true })
    rmSync(join(h.home, name), { recursive: true })
    symlinkSync(place, join(h.home, name))
    return place
  }

  test('policy/, artifacts/ and hub.yaml are followed, so what is put back starts and reads as what was copied', async () => {
    await using h = await createHarness({ agents })
    // A port of its own: the second hub reads this file.
    const settings = 'logLevel: warn\nhttp: { port: 0 }\nmetrics: { port: 0 }\n'
    writeFileSync(join(h.home, 'hub.yaml'), settings)
    const bytes = 'what it left'
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    mkdirSync(join(h.home, 'artifacts', sha256.slice(0, 2)), { recursive: true })
    writeFileSync(join(h.home, 'artifacts', sha256.slice(0, 2), sha256), bytes)
    const row = "insert into artifact (task, name, sha256, size, created_at_ms) values ('operator', 'x', ?, ?, 0)"
    h.hub.guard.store.transaction(() => h.hub.guard.store.prepare(row).run(sha256, bytes.length))
    for (const name of ['policy', 'artifacts', 'hub.yaml']) moved(h, name)
    writeFileSync(join(h.home, 'instance'), '0f0e0d0c-0000-4000-8000-000000000001\n')
    const { status, body } = await h.operator('POST', '/v1/backup', {})
    expect([status, body.leftOut]).toEqual([200, []])
    const { home, instance } = await put(String(body.path))
    for (const name of ['policy', 'artifacts', 'hub.yaml'])
      expect(lstatSync(join(home, name)).isSymbolicLink(), name).toBe(false)
    expect(readFileSync(join(home, 'hub.yaml'), 'utf8')).toBe(settings)
    await using again = await createHarness({ agents, home, instance })
    await again.hub.work.catalogue.artifacts.verify(sha256)
    expect(again.hub.guard.alerts.isOpen(`artifact_corrupt:${sha256}`)).toBe(false)
  })

  test('what cannot be copied is named: a link to nowhere, one in a circle, a secret behind one, a file that is gone', async () => {
    await using h = await createHarness({ agents })
    const gone = 'ab'.repeat(32)
    const row = "insert into artifact (task, name, sha256, size, created_at_ms) values ('operator', 'x', ?, 3, 0)"
    h.hub.guard.store.transaction(() => h.hub.guard.store.prepare(row).run(gone))
    symlinkSync('/nowhere/at/all', join(h.home, 'policy', 'rules.rego'))
    const outside = scratch()
    symlinkSync(outside, join(outside, 'round'))
    symlinkSync(outside, join(h.home, 'policy', 'far'))
    symlinkSync('..', join(h.home, 'policy', 'up'))
    mkdirSync(join(h.home, 'secrets'))
    symlinkSync('/etc/hostname', join(h.home, 'secrets', 'api-key'))
    const { body } = await h.operator('POST', '/v1/backup', {})
    const said = (body.leftOut as { path: string; why: string }[]).map(({ path, why }) => `${path}: ${why}`)
    expect(said).toEqual([
      'secrets/api-key: a link: the hub reads no secret through one',
      'policy/far/round: a link that leads back to a folder that contains it',
      'policy/rules.rego: a link that leads nowhere (ENOENT)',
      'policy/up: a link to a folder of the home itself, or around it',
      `artifacts/ab/${gone}: missing in the home`,
    ])
  })
})

describe('fault B8: a backup that could not be restored is not kept', () => {
  const judged = async (verdict: object) => {
    const home = scratch()
    writeFileSync(join(home, 'instance'), 'i')
    const to = join(scratch(), 'b')
    const making = backupHome({
      ...{ home, to, nowMs: 0, audit: { size: 1, head: 'h' } },
      copyDatabase: async (path) => writeFileSync(path, 'rows'),
      checkCopy: async () => ({ integrity: 'ok', hasHead: true, artifacts: [], ...verdict }),
    })
    const why = await making.then(
      () => 'made',
      (error: Error) => error.message,
    )
    expect([existsSync(to), existsSync(`${to}.partial`)]).toEqual([why === 'made', false])
    return why
  }
  test('its database is damaged, or ends before the audit log did; then nothing is left of it', async () => {
    expect(await judged({})).toBe('made')
    expect(await judged({ integrity: 'row 7 missing' })).toContain('the copied database is damaged (row 7 missing)')
    expect(await judged({ hasHead: false })).toContain('ends before the audit log did')
  })
  test('the copy is really opened: a file that is no database, and a head that is not in it', async () => {
    await using h = await createHarness({ agents })
    const path = join(scratch(), 'hub.db')
    await h.hub.guard.store.copy(path)
    const { size, head } = h.hub.guard.audit.head()
    expect(await checkCopy(path, { size, head })).toMatchObject({ integrity: 'ok', hasHead: true, artifacts: [] })
    expect(await checkCopy(path, { size: size + 1, head })).toMatchObject({ hasHead: false })
    expect(readdirSync(join(path, '..'))).toEqual(['hub.db'])
    writeFileSync(path, 'no database')
    await expect(checkCopy(path, { size, head })).rejects.toThrow()
  })
})

test('fault B3: nothing is pruned while a backup is made', async () => {
  await using h = await createHarness({ agents })
  const backup = h.operator('POST', '/v1/backup', {})
  await h.until(() => existsSync(join(h.home, 'backups')), 'it began', 0)
  const during = (await h.operator('POST', '/v1/retention/prune', {})).body
  expect((await backup).status).toBe(200)
  expect(during).toMatchObject({ code: 'conflict', detail: expect.stringContaining('a backup is under way') })
  expect((await h.operator('POST', '/v1/retention/prune', {})).status).toBe(200)
})

test('one backup at a time; one whose record could not be committed does not stand in the way of the next', async () => {
  let finish: () => void = () => undefined
  const made = { path: '', files: 0, bytes: 0, auditSize: 0, auditHead: '', leftOut: [] }
  const makeBackup = () => new Promise<typeof made>((resolve) => (finish = () => resolve(made)))
  const run = backupHandlers({ makeBackup })['backup.run'] as unknown as {
    effect(grant: undefined, request: object, context: object): void
    after(result: undefined, request: object): Promise<unknown>
  }
  const begin = () => run.effect(undefined, { withSecrets: false }, { principal: { kind: 'operator' } })
  begin()
  expect(begin).not.toThrow()
  const first = run.after(undefined, {})
  expect(begin).toThrow(/wait for it/)
  finish()
  await first
  expect(begin).not.toThrow()
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
        'is not a path of a home',
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

  test('fault C20: the command says in words what it made, and the same as JSON only when it is asked to', async () => {
    await using h = await createHarness({ agents })
    const path = await backedUp(h)
    const restore = (home: string, ...more: string[]) => {
      const argv = [CLI, 'restore', path, '--home', home, ...more]
      return spawnSync(process.execPath, argv, { encoding: 'utf8', env: { ...process.env, TZ: 'Europe/Berlin' } })
    }
    const [home, other] = [join(scratch(), 'home'), join(scratch(), 'home')]
    const json = JSON.parse(restore(other, '--json').stdout) as RestoreReport
    const words = restore(home)
    expect(words.status, words.stderr).toBe(0)
    const lines = words.stdout.trimEnd().split('\n')
    expect(lines).toEqual([
      expect.stringMatching(
        /^\S+\/home is the backup of \w{3} .+ CES?T \(.+\), as another hub \(instance [0-9a-f-]{36}\)\.$/,
      ),
      expect.stringMatching(
        /^Audit log: \d+ records?, head [0-9a-f]{16}\. Tasks held: \d+\. It starts in safe mode\.$/,
      ),
      `This hub does not own the containers of the earlier instance ${json.formerInstance}. Next: hub --home ${home} up`,
    ])
    expect(json).toMatchObject({
      formerInstance: expect.any(String),
      madeAtMs: expect.any(Number),
      held: expect.any(Number),
    })
    const again = restore(home)
    expect([again.status === 0, again.stdout]).toEqual([false, ''])
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
