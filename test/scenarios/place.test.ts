/** Fault B4: a home that was copied or moved does not start, neither its hub nor its watchdog, until the operator says which it is. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { judgePlace, type Place, placeOf, requirePlace, watchPlace } from '../../hub/home/place.ts'
import { misplaced } from '../../watchdog/base/home-place.ts'

const MAIN = fileURLToPath(new URL('../../hub/main.ts', import.meta.url))
const WATCHDOG = fileURLToPath(new URL('../../watchdog/main.ts', import.meta.url))

let folder: string
let home: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'p-'))
  home = join(folder, 'home')
  const made = spawnSync(process.execPath, [MAIN, 'init', '--home', home], { encoding: 'utf8' })
  expect(made.status, made.stderr).toBe(0)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const copied = (name: string): string => {
  const place = join(folder, name)
  execFileSync('cp', ['-a', home, place])
  return place
}
const run = (script: string, ...words: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...words], {
    encoding: 'utf8',
    timeout: 120_000,
  })
  return { status, stdout, last: stderr.trimEnd().split('\n').at(-1) ?? '' }
}
const bootId = () => (JSON.parse(readFileSync(join(home, 'place'), 'utf8')) as Place).bootId
const adopt = (place: string, as: string) => run(MAIN, 'adopt', '--home', place, '--as', as)
const REMEDY = /if the old home is gone: hub --home \S+ adopt moved; to keep both: hub --home \S+ adopt copy/

describe('fault B4: how a home is elsewhere than it says', () => {
  const kept: Place = { version: 1, machine: 'a', path: '/h', inode: '7', device: '1', bootId: 'b' }
  test.each<[string, Partial<Place>, RegExp | undefined]>([
    ['nothing changed', {}, undefined],
    ['another machine', { machine: 'b' }, /another machine/],
    ['no machine id any more', { machine: null }, undefined],
    ['another path', { path: '/i' }, /made at \/h/],
    ['another folder at this path', { inode: '8' }, /not the folder that was made here/],
    ['another file system in one boot', { device: '2' }, /another file system/],
    ['another number of the file system after a reboot', { device: '2', bootId: 'c' }, undefined],
  ])('%s', (_name, change, words) => {
    const why = judgePlace(kept, { ...kept, ...change })
    if (words === undefined) expect(why).toBeUndefined()
    else expect(why).toMatch(words)
  })

  test('one made without a machine id is judged by path and inode alone', () => {
    expect(judgePlace({ ...kept, machine: null }, kept)).toBeUndefined()
    const none = join(folder, 'no-machine-id')
    expect(placeOf(home, 'x', [none]).machine).toBeNull()
    writeFileSync(none, 'not an id\n')
    expect(placeOf(home, 'x', [none]).machine).toBeNull()
    writeFileSync(none, `${'0'.repeat(32)}\n`)
    expect(placeOf(home, 'x', [none]).machine).toMatch(/^[0-9a-f]{32}$/)
  })

  test('hub and watchdog judge alike, each by its own code', () => {
    const place = copied('alike')
    expect(misplaced(home, bootId())).toBeNull()
    expect(misplaced(place, bootId())).toContain(`made at ${home}`)
    expect(() => requirePlace(home, bootId())).not.toThrow()
    expect(() => requirePlace(place, bootId())).toThrow(`made at ${home}`)
    for (const text of ['', '{', '{"version":1}']) {
      writeFileSync(join(place, 'place'), text)
      expect(() => requirePlace(place, bootId()), text).toThrow()
      expect(misplaced(place, bootId()), text).not.toBeNull()
    }
    rmSync(join(place, 'place'))
    expect(misplaced(place, bootId())).toBeNull()
    requirePlace(place, bootId())
    expect(JSON.parse(readFileSync(join(place, 'place'), 'utf8'))).toMatchObject({ path: place })
  })

  test('while the hub runs: the home is moved away, or another folder stands in its place', () => {
    const place = join(folder, 'running')
    mkdirSync(place)
    const look = watchPlace(place)
    expect(look()).toBeUndefined()
    renameSync(place, `${place}.away`)
    expect(look()).toContain('is no longer there')
    mkdirSync(place)
    expect(look()).toContain('another folder is in the place of the home')
  })
})

describe('fault B4: a copy', () => {
  test('starts neither hub nor watchdog, nor is it initialised again, with reason and remedy in one last line', () => {
    const place = copied('copy')
    const hub = run(MAIN, 'serve', '--home', place)
    expect([hub.status, hub.last]).toEqual([2, expect.stringMatching(REMEDY)])
    expect(hub.last).toContain(`hub: ${place} is a copy, or was moved: it was made at ${home}; `)
    const watchdog = run(WATCHDOG, '--home', place)
    expect([watchdog.status, watchdog.last]).toEqual([1, expect.stringMatching(REMEDY)])
    expect(run(MAIN, 'init', '--home', place).last).toMatch(REMEDY)
  })

  test('adopted as a copy it is another hub: safe, its tasks held, a new witness; the other stays what it is', () => {
    const place = copied('another')
    const database = new Database(join(place, 'hub.db'))
    const row = `insert into task (id, state, needs, params, priority, held, depth, chain, requested_by, created_at_ms)
      values ('t', 'queued', '[]', '{}', 5, 0, 0, '[]', 'operator', 0)`
    database.prepare(row).run()
    database.close()
    writeFileSync(join(place, 'ledger.json'), '{}')
    const witness = readFileSync(join(place, 'watchdog', 'state'))
    const done = adopt(place, 'copy')
    expect(done.status, done.last).toBe(0)
    const report = JSON.parse(done.stdout) as { instance: string; formerInstance: string; held: number }
    const instance = (of: string) => readFileSync(join(of, 'instance'), 'utf8').trim()
    expect([instance(place), instance(home), report.held]).toEqual([report.instance, report.formerInstance, 1])
    expect(report.instance).not.toBe(report.formerInstance)
    expect(existsSync(join(place, 'ledger.json'))).toBe(false)
    expect(readFileSync(join(place, 'watchdog', 'state')).equals(witness)).toBe(false)
    const copy = new Database(join(place, 'hub.db'), { readonly: true })
    expect(copy.prepare('select name from condition').pluck().all()).toEqual(['operator_request'])
    expect(copy.prepare('select held from task').pluck().get()).toBe(1)
    expect(copy.prepare('select action, effect from audit_record order by seq desc limit 1').get()).toEqual({
      action: 'hub.copied',
      effect: `instance:${report.instance}`,
    })
    copy.close()
    requirePlace(place, bootId())
    expect(misplaced(place, bootId())).toBeNull()
  })

  test('adopted as moved it is the hub it was, and the move is in its log', () => {
    const place = copied('moved')
    const done = adopt(place, 'moved')
    expect(done.status, done.last).toBe(0)
    expect(readFileSync(join(place, 'instance'), 'utf8')).toBe(readFileSync(join(home, 'instance'), 'utf8'))
    const copy = new Database(join(place, 'hub.db'), { readonly: true })
    expect(copy.prepare('select name from condition').pluck().all()).toEqual([])
    expect(copy.prepare('select action, reason from audit_record order by seq desc limit 1').get()).toEqual({
      action: 'hub.moved',
      reason: `to ${place}`,
    })
    copy.close()
    requirePlace(place, bootId())
  })

  test('adopted as a copy and cut short before its id is written, it still passes for a whole home and is adopted again', () => {
    const place = copied('cut')
    const id = readFileSync(join(place, 'instance'), 'utf8')
    // What cannot be removed ends it there.
    mkdirSync(join(place, 'ledger.json'))
    expect(adopt(place, 'copy').status).not.toBe(0)
    rmSync(join(place, 'ledger.json'), { recursive: true })
    writeFileSync(join(place, 'ledger.json'), JSON.stringify({ instance: id.trim() }))
    expect(readFileSync(join(place, 'instance'), 'utf8')).toBe(id)
    expect(adopt(place, 'copy').status).toBe(0)
    expect(existsSync(join(place, 'ledger.json'))).toBe(false)
  })

  test('is not adopted while a hub runs on it, nor as anything else', () => {
    const place = copied('busy')
    const holds = new Database(join(place, 'hub.db'))
    holds.pragma('locking_mode = exclusive')
    holds.exec('begin exclusive')
    const refused = adopt(place, 'copy')
    expect([refused.status, refused.last]).toEqual([4, expect.stringContaining('another hub is running')])
    holds.close()
    expect(adopt(place, 'mine').status).toBe(2)
  })
})
