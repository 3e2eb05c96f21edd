import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { assertVersion } from '../../../hub/store/open-file.ts'

let folder: string
const path = () => join(folder, 'hub.db')
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-store-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const refusal = (code: string, text: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(text) })

function withTable(file = path()): Store {
  const store = openStore(file)
  store.prepare('create table if not exists item (name text primary key, bytes blob) strict').run()
  return store
}
const put = (store: Store, name: string, bytes: Buffer | null = null) =>
  store.prepare('insert into item values (?, ?)').run(name, bytes)
const names = (store: Store) => store.prepare('select name from item order by name').pluck().all()

describe('opening the store', () => {
  it('has set every pragma, read back by another hand', () => {
    const store = openStore(path())
    const pragma = (name: string) => store.prepare(`pragma ${name}`).pluck().get()
    expect(pragma('journal_mode')).toBe('wal')
    expect(pragma('synchronous')).toBe(2)
    expect(pragma('foreign_keys')).toBe(1)
    expect(pragma('trusted_schema')).toBe(0)
    expect(pragma('cell_size_check')).toBe(1)
    expect(pragma('mmap_size')).toBe(0)
    expect(pragma('locking_mode')).toBe('exclusive')
    expect(pragma('wal_autocheckpoint')).toBe(128)
    store.close()
  })

  it('refuses a second opener of the same file by name, in this process and in another, and takes one after close (X8)', () => {
    const store = withTable()
    put(store, 'mine')
    expect(() => openStore(path())).toThrow(refusal('conflict', path()))
    const module = new URL('../../../hub/store/database.ts', import.meta.url).href
    const script = `import { openStore } from '${module}'\ntry { openStore(process.argv[1]) } catch (e) { console.log(e.code, e.message) }`
    const other = () => spawnSync(process.execPath, ['--input-type=module', '-e', script, path()], { encoding: 'utf8' })
    expect(other().stdout).toContain('conflict another hub is running on')
    expect(names(store)).toEqual(['mine'])
    store.close()
    expect(other().stdout).toBe('')
    const again = openStore(path())
    expect(names(again)).toEqual(['mine'])
    again.close()
  })

  it.each(['3.51.2', '3.50.9', '3.7.0', '2.99.99', '3.51'])('refuses SQLite %s (X8)', (version) => {
    expect(() => assertVersion(version)).toThrow(refusal('store_unavailable', version))
  })
  it.each(['3.51.3', '3.51.10', '3.52.0', '4.0.0'])('takes SQLite %s', (version) => {
    expect(() => assertVersion(version)).not.toThrow()
  })

  it('refuses an empty file, a foreign file and a folder: never a silent empty start (T81)', () => {
    writeFileSync(path(), '')
    expect(() => openStore(path())).toThrow(refusal('store_unavailable', 'is empty'))
    expect(statSync(path()).size).toBe(0)
    writeFileSync(path(), 'not a database at all '.repeat(500))
    expect(() => openStore(path())).toThrow(refusal('store_unavailable', 'not a database'))
    expect(() => openStore(folder)).toThrow(refusal('store_unavailable', folder))
  })

  it('refuses a database with any of its pages overwritten (T81)', () => {
    const store = withTable()
    store.transaction(() => {
      for (let row = 0; row < 200; row += 1) put(store, `row-${row}`, Buffer.alloc(300, row))
    })
    store.checkpoint()
    store.close()
    const whole = readFileSync(path())
    const pages = whole.length / 4096
    expect(pages).toBeGreaterThan(10)
    for (let page = 0; page < pages; page += 1) {
      const bent = Buffer.from(whole)
      bent.fill(0xa5, page * 4096, page * 4096 + 200)
      writeFileSync(path(), bent)
      expect(() => openStore(path()), `page ${page + 1}`).toThrow(refusal('store_unavailable', ''))
    }
    writeFileSync(path(), whole)
    openStore(path()).close()
  })
})

describe('a transaction', () => {
  it('commits when it returns and leaves nothing when it throws', () => {
    const store = withTable()
    expect(store.transaction(() => put(store, 'a').changes)).toBe(1)
    expect(() =>
      store.transaction(() => {
        put(store, 'b')
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(names(store)).toEqual(['a'])
    expect(store.inTransaction).toBe(false)
    store.close()
  })

  it('inside another, and a savepoint outside of any, are our bugs', () => {
    const store = withTable()
    expect(() => store.transaction(() => store.transaction(() => 1))).toThrow(refusal('internal', ''))
    expect(() => store.savepoint(() => 1)).toThrow(refusal('internal', ''))
    store.close()
  })

  it('keeps what stands around a savepoint that was undone', () => {
    const store = withTable()
    store.transaction(() => {
      put(store, 'before')
      expect(() =>
        store.savepoint(() => {
          put(store, 'inside')
          throw new Error('no')
        }),
      ).toThrow('no')
      store.savepoint(() => put(store, 'second'))
    })
    expect(names(store)).toEqual(['before', 'second'])
    store.close()
  })

  it('runs what waits for the commit after it, in order, and forgets what waited on something undone', () => {
    const store = withTable()
    const heard: string[] = []
    const hear = (text: string) => store.afterCommit(() => heard.push(`${text}:${store.inTransaction}`))
    store.transaction(() => {
      hear('one')
      expect(() =>
        store.savepoint(() => {
          hear('undone')
          throw new Error('no')
        }),
      ).toThrow()
      store.savepoint(() => hear('two'))
      expect(heard).toEqual([])
    })
    expect(heard).toEqual(['one:false', 'two:false'])
    expect(() =>
      store.transaction(() => {
        hear('rolled back')
        throw new Error('no')
      }),
    ).toThrow()
    store.transaction(() => undefined)
    expect(heard).toHaveLength(2)
    hear('outside')
    expect(heard[2]).toBe('outside:false')
    store.close()
  })

  it('undoes in memory what was changed ahead of the commit, newest first, and only what was undone', () => {
    const store = withTable()
    const heard: string[] = []
    expect(() =>
      store.transaction(() => {
        store.onRollback(() => heard.push('outer'))
        expect(() =>
          store.savepoint(() => {
            store.onRollback(() => heard.push('inner'))
            store.onRollback(() => heard.push('inner, later'))
            throw new Error('no')
          }),
        ).toThrow()
        expect(heard).toEqual(['inner, later', 'inner'])
        throw new Error('no')
      }),
    ).toThrow()
    expect(heard).toEqual(['inner, later', 'inner', 'outer'])
    store.transaction(() => store.onRollback(() => heard.push('never')))
    expect(heard).toHaveLength(3)
    store.close()
  })

  it('refuses a text where an instant belongs (X7)', () => {
    const store = openStore(path())
    store.prepare('create table event (at_ms integer not null) strict').run()
    expect(() => store.prepare('insert into event values (?)').run('2026-01-05 09:00')).toThrow('cannot store TEXT')
    store.close()
  })
})

describe('work beside the store', () => {
  it('does what waits for the commit when it returns, undoes in memory when it throws, and can write nothing (S1-18)', () => {
    const store = withTable()
    const heard: string[] = []
    const work = (text: string, fault?: Error) =>
      store.unwritten(() => {
        store.afterCommit(() => heard.push(`${text} done`))
        store.onRollback(() => heard.push(`${text} undone`))
        store.savepoint(() => store.onRollback(() => heard.push(`${text}, inside, undone`)))
        if (fault !== undefined) throw fault
        heard.push(text)
        return text
      })
    expect(work('one')).toBe('one')
    expect(() => work('two', new Error('no'))).toThrow('no')
    expect(heard).toEqual(['one', 'one done', 'two, inside, undone', 'two undone'])
    expect(() => store.unwritten(() => put(store, 'a'))).toThrow('readonly')
    expect(() => store.unwritten(() => store.transaction(() => 1))).toThrow(refusal('store_unavailable', ''))
    expect(() => store.unwritten(() => store.unwritten(() => 1))).toThrow(refusal('internal', ''))
    store.transaction(() => put(store, 'b'))
    expect(names(store)).toEqual(['b'])
    store.close()
  })
})

describe('a write that fails', () => {
  it('is told at once, when the transaction is undone, and so is what a statement outside of one threw (S1-16)', () => {
    const store = withTable()
    const heard: string[] = []
    store.onFailure(({ reason, latched }) => heard.push(`${reason.slice(0, 14)} ${latched} ${store.inTransaction}`))
    store.prepare(`pragma max_page_count = ${store.prepare('pragma page_count').pluck().get()}`).get()
    expect(() => store.transaction(() => put(store, 'big', Buffer.alloc(100_000)))).toThrow(
      refusal('store_unavailable', ''),
    )
    expect(heard).toEqual(['SQLITE_FULL: d false false'])
    expect(store.heard(new Error('another'))).toBe(false)
    expect(store.heard(Object.assign(new Error('x'), { code: 'SQLITE_IOERR_READ' }))).toBe(true)
    expect(heard[1]).toBe('SQLITE_IOERR_R true false')
    expect(store.failure()?.latched).toBe(true)
    expect(() => store.transaction(() => 1)).toThrow(refusal('store_unavailable', 'restart'))
    store.close()
  })

  it('for lack of room does not latch: reads go on, and writing too as soon as there is room (T80)', () => {
    const store = withTable()
    const pages = store.prepare('pragma page_count').pluck().get()
    store.prepare(`pragma max_page_count = ${pages}`).get()
    const big = () => store.transaction(() => put(store, 'big', Buffer.alloc(100_000)))
    expect(big).toThrow(refusal('store_unavailable', ''))
    expect(store.failure()).toEqual({
      code: 'SQLITE_FULL',
      reason: expect.stringContaining('SQLITE_FULL'),
      latched: false,
    })
    expect(names(store)).toEqual([])
    store.prepare('pragma max_page_count = 100000').get()
    big()
    expect(store.failure()).toBeUndefined()
    expect(names(store)).toEqual(['big'])
    store.close()
  })

  const mounted = () => {
    const made = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', folder])
    return made.status === 0
  }
  it.skipIf(process.getuid?.() !== 0)('on a really full file system recovers when room is made (T80)', ({ skip }) => {
    if (!mounted()) return skip('this machine mounts no tmpfs')
    try {
      const store = withTable()
      const ballast = join(folder, 'ballast')
      writeFileSync(ballast, Buffer.alloc(200_000))
      let stored = 0
      const write = () => store.transaction(() => put(store, `row-${stored}`, Buffer.alloc(8000)))
      expect(() => {
        for (; stored < 200; stored += 1) write()
      }).toThrow(refusal('store_unavailable', ''))
      expect(store.failure()?.latched).toBe(false)
      expect(names(store)).toHaveLength(stored)
      rmSync(ballast)
      write()
      expect(store.failure()).toBeUndefined()
      store.close()
      const again = openStore(path())
      expect(names(again)).toHaveLength(stored + 1)
      again.close()
    } finally {
      // Lazily: a test that failed half-way still holds the file.
      execFileSync('umount', ['-l', folder])
    }
  })

  it('because the file is damaged latches: nothing is written again by this process, not even outside a transaction (T79)', () => {
    const store = withTable()
    store.transaction(() => {
      for (let row = 0; row < 2000; row += 1) put(store, `row-${row}`, Buffer.alloc(1000, row))
    })
    store.checkpoint()
    store.close()
    const damaged = openStore(path())
    damaged.prepare('create table other (x)').run()
    damaged.checkpoint()
    damaged.prepare('pragma cache_size = 1').run()
    damaged.prepare('pragma shrink_memory').run()
    const whole = readFileSync(path())
    const file = openSync(path(), 'r+')
    for (let at = 4096; at < whole.length - 4096; at += 4096) writeSync(file, Buffer.alloc(64, 0xa5), 0, 64, at)
    expect(() => damaged.transaction(() => put(damaged, 'one-more'))).toThrow(refusal('store_unavailable', ''))
    const failure = damaged.failure()
    expect(failure?.latched).toBe(true)
    expect(failure?.reason).toMatch(/^SQLITE_(CORRUPT|NOTADB|IOERR)/)

    // The file is whole again, but what this process holds of it cannot be trusted.
    writeSync(file, whole, 0, whole.length, 0)
    closeSync(file)
    let ran = false
    expect(() =>
      damaged.transaction(() => {
        ran = true
      }),
    ).toThrow(refusal('store_unavailable', 'restart'))
    expect(ran).toBe(false)
    expect(damaged.failure()).toEqual(failure)
    expect(() => damaged.prepare('insert into other values (1)').run()).toThrow('readonly')
    expect(() => damaged.checkpoint()).toThrow(refusal('store_unavailable', ''))
    damaged.close()
    const again = openStore(path())
    expect(names(again)).toHaveLength(2000)
    again.close()
  })
})
