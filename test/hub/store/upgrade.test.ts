/** Fault B2: a start that has to copy a large database says how far it is, and is given the time it needs; a cut copy leaves nothing half made (T85). */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { silentLog } from '../../../hub/base/telemetry.ts'
import { startProcess } from '../../../hub/client/cli/processes.ts'
import { openStore } from '../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../hub/store/migrations.ts'
import { openUpToDate, type Progress } from '../../../hub/store/upgrade.ts'
import { createFakeClock } from '../../support/fake-clock.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'hub-upgrade-'))
})
afterEach(() => rmSync(home, { recursive: true }))

const clock = createFakeClock()
const open = async () => {
  const said: Progress[] = []
  const store = await openUpToDate(home, { clock, log: silentLog(), onProgress: (progress) => said.push(progress) })
  const steps = store.prepare('select count(*) from migration').pluck().get()
  store.close()
  return { said, steps }
}
const copies = () => readdirSync(home).filter((name) => /before-\d+$/.test(name))

it('a database of an earlier hub is copied in turns, each told, before its schema changes; one that is up to date is not [audit-18]', async () => {
  const all = shippedMigrations()
  const store = openStore(join(home, 'hub.db'))
  migrate(store, all.slice(0, 5), 1, () => undefined)
  store.transaction(() => store.prepare('insert into meta values (?, ?)').run('instance', 'x'.repeat(5 * 1024 ** 2)))
  store.close()
  writeFileSync(join(home, 'hub.db.copying'), 'of a start that was cut')
  const { said, steps } = await open()
  expect(steps).toBe(all.length)
  expect(said.length).toBeGreaterThan(3)
  expect(said.at(-1)).toMatchObject({ what: 'copying the database before its schema changes' })
  for (const [at, { done }] of said.entries()) expect(done).toBeGreaterThan(said[at - 1]?.done ?? -1)
  expect(copies()).toEqual([`hub.db.before-${clock.wallMs()}`])
  const copy = new Database(join(home, copies()[0] ?? ''), { readonly: true })
  expect(copy.prepare('select count(*) from migration').pluck().get()).toBe(5)
  copy.close()
  expect((await open()).said).toEqual([])
  expect(copies()).toHaveLength(1)
})

it('an update that breaks off leaves the database and the way back of before, and takes its own copy away (fault G7)', async () => {
  const all = shippedMigrations()
  const store = openStore(join(home, 'hub.db'))
  const before = all.filter(({ name }) => name < '0015')
  migrate(store, before, 1, () => undefined)
  // 0015 goes in, 0016 does not: a column of it is there already.
  store.transaction(() => store.prepare('alter table task add column check_sum text').run())
  store.close()
  writeFileSync(join(home, 'hub.db.before-5'), 'the way back of the last update')
  for (let start = 0; start < 2; start += 1) {
    await expect(open()).rejects.toThrow('check_sum')
    expect(copies()).toEqual(['hub.db.before-5'])
  }
  const left = new Database(join(home, 'hub.db'), { readonly: true })
  expect(left.prepare('select count(*) from migration').pluck().get()).toBe(before.length)
  left.close()
})

it('a home that never ran gets its schema from the hub, without a copy', async () => {
  const store = await openUpToDate(home, { clock, log: silentLog(), onProgress: () => undefined })
  expect(migrate(store, shippedMigrations(), 1, () => undefined)).toHaveLength(shippedMigrations().length)
  store.close()
  expect(copies()).toEqual([])
})

/** Five times what a process of the test takes from one word to the next, and more than a slow machine takes to start it. */
const READY_MS = 5_000
const script = (body: string) => ['-e', `const say = (o) => console.log(JSON.stringify(o)); ${body}`, home]
const start = (body: string) => {
  const notes: string[] = []
  const program = { name: 'hub', argv: script(body), log: join(home, 'logs', 'hub.log') }
  const options = { home, cache: join(home, 'cache'), readyMs: READY_MS, note: (text: string) => void notes.push(text) }
  return { notes, started: startProcess(program, options) }
}

it('`hub up` counts from the last word of progress: what goes on is waited for, and shown [audit-18]', async () => {
  const { notes, started } = start(
    `let n = 0; const going = setInterval(() => { say({ starting: 'copying', done: ++n, of: 10 }); if (n === 10) { clearInterval(going); say({ ready: true }); setTimeout(() => {}, 60_000) } }, ${READY_MS / 5})`,
  )
  const { pid } = await started
  process.kill(pid, 'SIGKILL')
  expect(notes.join('\n')).toMatch(/starting the hub \.\.\. \d+ s: copying, \d+ %/)
})

it('and what does not go on is ended', async () => {
  const { started } = start(`say({ starting: 'copying', done: 1, of: 10 }); setTimeout(() => {}, 60_000)`)
  await expect(started).rejects.toThrow('it was not ready within 5 s')
})
