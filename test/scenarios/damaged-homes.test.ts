/**
 * Homes that cannot be started on (fault G2, fault G4, fault G5, fault G7 to fault G10): whatever is missing, damaged or somebody else's, the
 * process ends with one last line that names the reason and the remedy, and the remedies that are one command are tried.
 */
import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { diskWords } from '../../hub/base/disk-words.ts'
import { keepDown, mayStart } from '../../hub/base/stay-down.ts'
import { copyHome, newHome, runVerb, startProcess, withoutEngine } from '../support/home-process.ts'

const root = resolve(import.meta.dirname, '../..')
let folder: string
/** Used once: it has a ledger, so that what is missing in it was lost. */
let template: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dh-'))
  template = newHome(join(folder, 't'))
  expect((await startProcess(template)).isUp).toBe(true)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let nth = 0
const fresh = (): string => {
  nth += 1
  const home = join(folder, `h${nth}`)
  copyHome(template, home)
  return home
}
const remove = (path: string) => rmSync(path, { recursive: true, force: true })
const asFile = (path: string) => {
  remove(path)
  writeFileSync(path, '')
}
const asFolder = (path: string) => {
  remove(path)
  mkdirSync(path, { mode: 0o700 })
}
const foreignKey = (path: string) =>
  writeFileSync(path, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }))
const database = (home: string, text: string | Buffer) => {
  remove(join(home, 'hub.db-wal'))
  writeFileSync(join(home, 'hub.db'), text)
}
const record = (home: string, sql: string) => {
  const opened = new Database(join(home, 'hub.db'))
  opened.exec(sql)
  opened.close()
}

const RENEW = /backups\/\*\/keys.*hub keys renew/
const KEY_BACK = /put it back from a backup \(backups\/\*\/keys\)/
const RESTORE = /hub restore BACKUP --home NEW/

const DAMAGES: [name: string, damage: (home: string) => void, reason: RegExp, remedy: RegExp][] = [
  ['token.key is missing', (h) => remove(`${h}/keys/token.key`), /token\.key is missing/, RENEW],
  ['token.key is empty', (h) => writeFileSync(`${h}/keys/token.key`, ''), /token\.key is not an Ed25519 key/, RENEW],
  ['token.key is of somebody else', (h) => foreignKey(`${h}/keys/token.key`), /but the active one is/, RENEW],
  [
    'what is said of the token keys is damaged',
    (h) => record(h, "update meta set value = replace(value, 'active', 'bctive') where key = 'token_keys'"),
    /of the token keys cannot be read/,
    RENEW,
  ],
  ['watchdog.key is missing', (h) => remove(`${h}/keys/watchdog.key`), /watchdog\.key is missing/, RENEW],
  ['watchdog.key is no key', (h) => writeFileSync(`${h}/keys/watchdog.key`, 'x'), /is not 64 hex/, RENEW],
  ['checkpoint.key is missing', (h) => remove(`${h}/keys/checkpoint.key`), /checkpoint\.key is missing/, KEY_BACK],
  [
    'checkpoint.key is no key',
    (h) => writeFileSync(`${h}/keys/checkpoint.key`, 'x'),
    /is not an Ed25519 key/,
    KEY_BACK,
  ],
  [
    'checkpoint.key is another one',
    (h) => foreignKey(`${h}/keys/checkpoint.key`),
    /not the key that signed this log/,
    KEY_BACK,
  ],
  ['keys/ is missing', (h) => remove(`${h}/keys`), /keys is missing/, KEY_BACK],
  ['keys/ is open to others', (h) => chmodSync(`${h}/keys`, 0o755), /open to others/, /run: chmod go-rwx/],
  ['a key is open to others', (h) => chmodSync(`${h}/keys/token.key`, 0o644), /open to others/, /run: chmod go-rwx/],
  [
    'hub.db is missing',
    (h) => ['hub.db', 'hub.db-wal'].forEach((name) => void remove(`${h}/${name}`)),
    /hub\.db is missing although this hub was used/,
    RESTORE,
  ],
  [
    'hub.db is missing and its log is there',
    (h) => {
      remove(`${h}/hub.db`)
      writeFileSync(`${h}/hub.db-wal`, 'x')
    },
    /hub\.db is missing/,
    /put it back together with the hub\.db-wal/,
  ],
  ['hub.db is empty', (h) => database(h, ''), /hub\.db is empty/, RESTORE],
  ['hub.db is text', (h) => database(h, 'hello\n'.repeat(1000)), /file is not a database/, RESTORE],
  ['hub.db is noise', (h) => database(h, Buffer.alloc(100_000, 7)), /file is not a database/, RESTORE],
  [
    'hub.db is cut',
    (h) => {
      remove(`${h}/hub.db-wal`)
      truncateSync(`${h}/hub.db`, 20_000)
    },
    /malformed|damaged/,
    RESTORE,
  ],
  [
    'hub.db is a folder',
    (h) => asFolder(`${h}/hub.db`),
    /unable to open database file/,
    /move away a folder of that name/,
  ],
  [
    'hub.db is of a newer hub',
    (h) => record(h, "insert into migration values ('9999-later.sql', 1)"),
    /written by a newer hub \(9999-later\.sql\)/,
    /hub undo-update$/,
  ],
  [
    'instance is missing',
    (h) => remove(`${h}/instance`),
    /instance is missing/,
    /write it back: echo [0-9a-f-]{36} > /,
  ],
  [
    'instance is no id',
    (h) => writeFileSync(`${h}/instance`, 'x'),
    /does not hold an instance id/,
    /write it back: echo [0-9a-f-]{36} > /,
  ],
  [
    'instance is of another hub',
    (h) => writeFileSync(`${h}/instance`, '00000000-0000-7000-8000-000000000000'),
    /ledger is of/,
    /write it back: echo/,
  ],
  ['instance is a folder', (h) => asFolder(`${h}/instance`), /cannot be read/, /write it back: echo/],
  [
    'hub.yaml does not parse',
    (h) => writeFileSync(`${h}/hub.yaml`, 'a: ['),
    /hub\.yaml line \d/,
    /correct it \(hub config check shows all of it\)$/,
  ],
  [
    'hub.yaml has an unknown key',
    (h) => writeFileSync(`${h}/hub.yaml`, 'bogus: 1'),
    /line 1, column 1: bogus: there is no such key/,
    /correct it \(hub config check shows all of it\)$/,
  ],
  ['hub.yaml is a folder', (h) => asFolder(`${h}/hub.yaml`), /hub\.yaml/, /move the folder away/],
  ...['artifacts', 'run', 'logs', 'keys', 'policy', 'evidence'].map((name): (typeof DAMAGES)[number] => [
    `${name} is a file`,
    (h) => asFile(`${h}/${name}`),
    /must be a folder/,
    /move away/,
  ]),
  [
    'the ledger is of nobody',
    (h) => writeFileSync(`${h}/ledger.json`, '{}'),
    /ledger .* is damaged/,
    /mv \S+ledger\.json \S+ledger\.json\.damaged/,
  ],
  ['the ledger is a folder', (h) => asFolder(`${h}/ledger.json`), /ledger .* is damaged/, /mv \S+ledger\.json/],
  ['the home is open to others', (h) => chmodSync(h, 0o755), /open to others/, /run: chmod 700/],
  ['the home is a file', (h) => asFile(h), /is not a folder/, /choose another --home/],
  ['the home is not there', remove, /there is no hub at/, /hub init --home/],
  ...['hub.yaml', 'artifacts', 'hub.db'].map((name): (typeof DAMAGES)[number] => [
    `${name} is a link to nothing`,
    (h) => {
      remove(`${h}/${name}`)
      symlinkSync('/elsewhere/unplugged', `${h}/${name}`)
    },
    new RegExp(`${name} is a link to /elsewhere/unplugged, and nothing is there`),
    /bring that back, or remove the link$/,
  ]),
  [
    'a link leads in a circle',
    (h) => {
      remove(`${h}/hub.yaml`)
      symlinkSync('hub.yaml', `${h}/hub.yaml`)
    },
    /hub\.yaml/,
    /./,
  ],
]

describe('a home that does not start ends with reason and remedy in one last line (fault G9)', () => {
  test.each(DAMAGES)('%s', async (_name, damage, reason, remedy) => {
    const home = fresh()
    damage(home)
    const { isUp, code, said, log } = await startProcess(home)
    expect(isUp, log).toBe(false)
    expect(said, log).toHaveLength(1)
    expect(said[0]).toMatch(/^hub: /)
    expect(said[0]).toMatch(reason)
    expect(said[0]).toMatch(remedy)
    expect(said[0]).not.toMatch(/bug|unknown error/i)
    expect([2, 4]).toContain(code)
  })

  test('a full disk is named as one (fault G10)', async (t) => {
    const { mountSmall } = await import('../support/fault-home.ts')
    const disk = mountSmall('size=16m,mode=0700')
    if (disk === undefined) return t.skip('mount is not permitted here')
    try {
      const home = join(disk.folder, 'h')
      copyHome(template, home)
      remove(join(home, 'ballast'))
      try {
        for (;;) appendFileSync(join(disk.folder, 'fill'), Buffer.alloc(4096))
      } catch {
        // Full to the last page.
      }
      const { said, code, log } = await startProcess(home)
      expect([said.length, code], log).toEqual([1, 4])
      expect(said[0]).toMatch(/free (?:some room|space)/)
    } finally {
      disk()
    }
  })

  test('a read-only file system is named as one', async (t) => {
    const { mountImage } = await import('../support/fault-home.ts')
    const disk = mountImage(64 * 1024 ** 2)
    if (disk === undefined) return t.skip('mount is not permitted here')
    try {
      const home = join(disk.folder, 'h')
      copyHome(template, home)
      const { execFileSync } = await import('node:child_process')
      keepDown(home, 'hub')
      execFileSync('mount', ['-o', 'remount,ro', disk.folder])
      // `hub up` takes this file away first, and Node's rmSync has no code for what it meets.
      expect(() => mayStart(home, 'hub')).toThrow(expect.toSatisfy((error) => /read-only/.test(diskWords(error) ?? '')))
      const { said, code } = await startProcess(home)
      expect([said.length, code]).toEqual([1, 4])
      expect(said[0]).toMatch(/mounted read-only; mount it writable/)
    } finally {
      disk()
    }
  })
})

const refusal = (log: string) => log.split('\n').find((each) => each.includes('the rules were refused at the start'))

describe('a home without rules still starts, degraded, and says what fixes it (S1-16, fault D4)', () => {
  test.each<[string, (home: string) => void, RegExp]>([
    [
      'data.json does not parse',
      (h) => writeFileSync(`${h}/policy/data.json`, '{'),
      /line 1, column 2: .*hub policy check/,
    ],
    [
      'data.json is missing',
      (h) => remove(`${h}/policy/data.json`),
      /data\.json cannot be read: it is not there; put it back/,
    ],
    ['policy/ is missing', (h) => remove(`${h}/policy`), /data\.json cannot be read: it is not there; put it back/],
  ])('%s', async (_name, damage, remedy) => {
    const home = fresh()
    record(home, 'delete from policy_file')
    damage(home)
    const { isUp, log } = await startProcess(home)
    expect(isUp, log).toBe(true)
    expect(refusal(log)).toMatch(remedy)
    expect(log).toMatch(/"mode":"degraded","conditions":\[[^\]]*"policy_/)
  })

  test('what was accepted last rules on instead, and what fixes the file is said all the same', async () => {
    const home = fresh()
    remove(`${home}/policy`)
    const { isUp, log } = await startProcess(home)
    expect(isUp, log).toBe(true)
    expect(refusal(log)).toMatch(/data\.json cannot be read: it is not there; put it back/)
    expect(refusal(log)).toContain('"from":"accepted"')
    expect(log).not.toMatch(/"conditions":\[[^\]]*"policy_/)
  })
})

describe('the remedies that are one command', { timeout: 600_000 }, () => {
  test('hub init gives no new id to a home that has lost its own, and says what the old one was (fault G9)', () => {
    const home = fresh()
    const file = join(home, 'instance')
    const id = readFileSync(file, 'utf8').trim()
    remove(file)
    const { code, err } = runVerb('init', home)
    expect([code, err]).toEqual([2, expect.stringContaining(`write it back: echo ${id} > ${file}`)])
    expect(existsSync(file)).toBe(false)
  })

  test('hub keys renew: nothing but open tokens is lost, and it is on record (fault G4)', async () => {
    for (const damage of [
      (h: string) => remove(join(h, 'keys', 'token.key')),
      (h: string) => foreignKey(join(h, 'keys', 'token.key')),
      (h: string) => remove(join(h, 'keys', 'watchdog.key')),
    ]) {
      const home = fresh()
      record(home, "insert into meta values ('epoch', '41') on conflict (key) do update set value = '41'")
      damage(home)
      // `hub init` makes no key in a home with a past, and says what does.
      const init = runVerb('init', home)
      if (!existsSync(join(home, 'keys', 'token.key')))
        expect([init.code, init.err]).toEqual([2, expect.stringContaining('hub keys renew')])
      const { code, out } = runVerb('renew-keys', home)
      expect(code).toBe(0)
      expect((JSON.parse(out) as { renewed: string[] }).renewed).toHaveLength(1)
      expect(JSON.parse(runVerb('renew-keys', home).out)).toMatchObject({ renewed: [] })
      expect((await startProcess(home)).isUp).toBe(true)
      const opened = new Database(join(home, 'hub.db'), { readonly: true })
      expect(opened.prepare("select value from meta where key = 'epoch'").pluck().get()).toBe('42')
      opened.close()
    }
  })

  test('hub keys renew: keys of which the database has no readable row, or no row at all, are made again (fault G4)', async () => {
    const home = fresh()
    record(home, "update meta set value = replace(value, 'active', 'bctive') where key = 'token_keys'")
    expect((await startProcess(home)).isUp).toBe(false)
    expect(JSON.parse(runVerb('renew-keys', home).out)).toMatchObject({ renewed: ['keys/token.key'] })
    expect((await startProcess(home)).isUp).toBe(true)

    const never = newHome(join(folder, 'never'))
    remove(join(never, 'keys', 'token.key'))
    expect(JSON.parse(runVerb('renew-keys', never).out)).toMatchObject({ renewed: ['keys/token.key'] })
    expect((await startProcess(never)).isUp).toBe(true)
  })

  test('hub keys renew leaves a database of an earlier version, and every key, to a start', () => {
    const home = fresh()
    record(home, 'delete from migration where name = (select max(name) from migration)')
    remove(join(home, 'keys', 'watchdog.key'))
    expect(runVerb('renew-keys', home)).toMatchObject({ code: 2, err: expect.stringContaining('run hub up once') })
    expect(existsSync(join(home, 'keys', 'watchdog.key'))).toBe(false)
  })

  test('the commands that repair a home answer in words, and in JSON if asked', () => {
    const home = fresh()
    const at = (place: string, ...words: string[]) =>
      spawnSync(process.execPath, ['hub/client/cli.ts', '--home', place, ...words], { cwd: root, encoding: 'utf8' })
    const hub = (...words: string[]) => at(home, ...words)
    expect(hub('keys', 'renew').stdout).toBe('Every key is valid; nothing was changed.\n')
    remove(join(home, 'keys', 'token.key'))
    expect(hub('keys', 'renew').stdout).toBe('New: keys/token.key. Open tokens are no longer valid. Next: hub up\n')
    expect(JSON.parse(hub('keys', 'renew', '--json').stdout)).toEqual({ home, renewed: [] })
    // A home that is in its place is not made another one by a word that was meant for another.
    const placed = newHome(join(folder, 'placed'))
    expect(at(placed, 'adopt', 'copy').stderr).toMatch(/is where it was made, so there is nothing to adopt/)
  })

  test('hub keys renew makes no new key for the log, and none while a hub runs', async () => {
    const home = fresh()
    remove(join(home, 'keys', 'checkpoint.key'))
    expect(runVerb('renew-keys', home)).toMatchObject({ code: 2, err: expect.stringMatching(KEY_BACK) })
    const held = fresh()
    const lock = new Database(join(held, 'hub.db'))
    lock.pragma('locking_mode = exclusive')
    lock.exec('begin immediate; commit')
    expect(runVerb('renew-keys', held)).toMatchObject({
      code: 4,
      err: expect.stringContaining('another hub is running'),
    })
    lock.close()
  })

  test('hub undo-update: the copy of before is in force, the newer one is kept, everything is held and safe (fault G7)', async () => {
    const home = fresh()
    // As an update leaves it: a copy, and a database with a step this version does not know.
    const copy = new Database(join(home, 'hub.db'))
    copy.prepare('vacuum into ?').run(join(home, 'hub.db.before-1000'))
    copy.close()
    record(home, "insert into migration values ('9999-later.sql', 1)")
    expect((await startProcess(home)).said[0]).toMatch(/hub undo-update$/)
    const { code, out } = runVerb('undo-update', home)
    expect(code).toBe(0)
    const report = JSON.parse(out) as { madeAtMs: number; kept: string; next: string }
    expect(report).toMatchObject({ madeAtMs: 1000, held: 0 })
    expect(existsSync(report.kept)).toBe(true)
    expect(report.next).toContain('--accept-head')
    expect((await startProcess(home)).isUp).toBe(true)
    const opened = new Database(join(home, 'hub.db'), { readonly: true })
    expect(opened.prepare('select name from condition').pluck().all()).toContain('operator_request')
    opened.close()
    // Without a copy there is one other way, and it is named.
    remove(join(home, 'hub.db.before-1000'))
    expect(runVerb('undo-update', home)).toMatchObject({ code: 2, err: expect.stringMatching(RESTORE) })
  })

  test('an update keeps one copy, the newest, and never half of one (fault G7)', async () => {
    const home = fresh()
    writeFileSync(join(home, 'hub.db.before-5'), 'an old one')
    // As of a hub before the step 0015, which then goes in.
    record(home, "delete from migration where name = '0015-room.sql'")
    record(home, 'drop table room_sample')
    const { log } = await startProcess(home)
    const { readdirSync } = await import('node:fs')
    const copies = readdirSync(home).filter((name) => name.startsWith('hub.db.before-'))
    expect(copies, log).toHaveLength(1)
    expect(copies[0]).not.toBe('hub.db.before-5')
  })
})

describe('what is missing and does not keep it from starting is said (fault G10)', () => {
  test('hub.yaml is gone: the defaults are in force, and the start says so', async () => {
    const home = fresh()
    remove(join(home, 'hub.yaml'))
    // The shipped port may be in use here; the line is there all the same.
    const { log } = await startProcess(home)
    expect(log).toMatch(/hub\.yaml is missing: every setting has its default/)
    withoutEngine(home)
    expect((await startProcess(home)).log).not.toMatch(/hub\.yaml is missing/)
  })

  test.each(['token', 'checkpoint'])('%s.pub is lost or stale: the start makes it again from the key', async (name) => {
    const home = fresh()
    const path = join(home, 'keys', `${name}.pub`)
    const before = readFileSync(path, 'utf8')
    for (const damage of [() => remove(path), () => writeFileSync(path, '')]) {
      damage()
      expect((await startProcess(home)).isUp).toBe(true)
      expect(readFileSync(path, 'utf8')).toBe(before)
    }
  })
})
