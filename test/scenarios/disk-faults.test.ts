/**
 * Faults of the disk made real, against a real hub process: a file system that is full, without inodes or read-only, and calls that fail
 * (T78-T80, T84). After each: a stop works, what was acknowledged stands, nothing stands twice, the chain is whole (I1-I3, I6).
 */

import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAuditLog } from '../../hub/guard/audit/log.ts'
import { OPERATOR } from '../../hub/guard/principal.ts'
import { openStore } from '../../hub/store/database.ts'
import {
  compileShim,
  type Fault,
  type FaultHome,
  initTemplate,
  mountSmall,
  openFaultHome,
} from '../support/fault-home.ts'
import { openGuardHome } from '../support/guard-home.ts'

const EIO = 5
const ENOSPC = 28
const EROFS = 30
let folder: string
let template: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'faults-'))
  template = initTemplate(join(folder, 'template'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const records = async (h: FaultHome, action: string) => {
  const { body } = await h.operator('GET', `/v1/audit?action=${action}&limit=100&outcome=ok`)
  return (body.records as unknown[]).length
}
const verified = async (h: FaultHome) => (await h.operator('GET', '/v1/audit/verify')).body
const isWhole = { ok: true, firstBad: null }

/** Every write that was acknowledged stands, at most the one under way beside them; the stop before it left its record where it could. */
async function afterwards(h: FaultHome, acknowledged: number): Promise<void> {
  expect(await h.start()).toBe('up')
  const found = await records(h, 'agent.reloaded')
  expect([found >= acknowledged, found <= acknowledged + 1]).toEqual([true, true])
  expect(await verified(h)).toMatchObject(isWhole)
  expect((await h.operator('POST', '/v1/shutdown', {})).status).toBe(200)
  expect(await h.ended()).toBe(0)
}

describe('a call that fails', () => {
  const from = (count: number, fault: Omit<Fault, 'nth'>): Fault[] =>
    [...Array(count).keys()].map((nth) => ({ ...fault, nth: nth + 1 }))
  const faults: Fault[] = process.env.HUB_TEST_LONG
    ? [
        ...from(50, { call: 'sync', errno: EIO }),
        ...from(10, { call: 'sync', errno: EIO, armed: true }),
        ...from(10, { call: 'write', errno: EIO, armed: true }),
        ...from(3, { call: 'write', errno: EROFS, armed: true }),
      ]
    : [
        { call: 'sync', nth: 1, errno: EIO },
        { call: 'sync', nth: 1, errno: EIO, armed: true },
        { call: 'write', nth: 2, errno: EROFS, armed: true },
      ]
  test.for(faults)(
    '$call $nth with errno $errno, armed $armed: nothing is written any more, the mode says so, a stop works, a restart is whole (T79, T84) [audit-7]',
    async (fault, { skip }) => {
      const library = compileShim(folder)
      if (library === undefined) return skip('there is no C compiler to make the failing calls with')
      const home = mkdtempSync(join(folder, 'h-'))
      const h = openFaultHome(home, template)
      try {
        const how = await h.start({ ...fault, preload: library })
        let acknowledged = 0
        if (how === 'up') {
          h.arm()
          for (let tries = 0; !h.fired() && tries < 200; tries += 1) if (await h.write()) acknowledged += 1
          expect(h.fired()).toBe(true)
          // SQLite copies its log by itself and tells nobody of a failure; the log holds everything, and is copied again.
          const isQuiet = (await h.write()) && (await h.write())
          if (isQuiet) acknowledged += 2
          else {
            expect(await h.conditions()).toContain('store_failing')
            expect((await h.operator('POST', '/v1/tasks', { agent: 'echo' })).status).toBe(503)
            const written = () => ['hub.db', 'hub.db-wal'].map((name) => statSync(join(home, name)).mtimeMs)
            const before = written()
            expect(await h.write()).toBe(false)
            expect(written()).toEqual(before)
          }
          if (fault.armed) expect(isQuiet).toBe(false)
          expect((await h.operator('POST', '/v1/shutdown', {})).status).toBe(200)
          expect(await h.ended()).toBe(0)
        } else {
          // It failed while the hub started: named, and nothing half made.
          expect([h.fired(), how.code]).toEqual([true, 4])
          expect(how.said).toMatch(/disk|I\/O|database/)
        }
        await afterwards(h, acknowledged)
      } finally {
        h.close()
      }
    },
  )

  test('a write without room is a full disk: the same process goes on when there is room', async ({ skip }) => {
    const library = compileShim(folder)
    if (library === undefined) return skip('there is no C compiler to make the failing calls with')
    const h = openFaultHome(mkdtempSync(join(folder, 'h-')), template)
    try {
      expect(await h.start({ preload: library, call: 'write', nth: 1, errno: ENOSPC, armed: true })).toBe('up')
      h.arm()
      let acknowledged = 0
      for (let tries = 0; !h.fired() && tries < 200; tries += 1) if (await h.write()) acknowledged += 1
      await h.until(async () => h.fired() && !(await h.conditions()).includes('store_failing'), 'it goes on')
      expect(await h.write()).toBe(true)
      expect((await h.operator('POST', '/v1/shutdown', {})).status).toBe(200)
      await h.ended()
      await afterwards(h, acknowledged + 1)
    } finally {
      h.close()
    }
  })
})

describe('a small file system', () => {
  const fill = (home: string): string => {
    const filler = join(home, 'filler')
    for (const bytes of [1024 ** 2, 4096]) {
      try {
        for (;;) writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' })
      } catch {}
    }
    return filler
  }

  test('that is full: degraded, recovers by itself; full again, the shutdown and its record are written from the ballast (T80) [mode-16, stop-50]', async ({
    skip,
  }) => {
    const disk = mountSmall('size=24m')
    if (disk === undefined) return skip('no small file system can be mounted: not root, or not permitted')
    const home = join(disk.folder, 'home')
    mkdirSync(home, { mode: 0o700 })
    const h = openFaultHome(home, template)
    try {
      expect(await h.start()).toBe('up')
      await h.until(() => existsSync(join(home, 'ballast')), 'the ballast is made')
      let acknowledged = 0
      const write = async () => {
        if (await h.write()) acknowledged += 1
      }
      await write()
      const failing = async () => (await h.conditions()).includes('store_failing')
      let filler = fill(home)
      await h.until(async () => {
        await write()
        return failing()
      }, 'the store fails')
      await h.until(async () => (await h.conditions()).includes('disk_low'), 'the disk is seen to be full')
      expect((await h.operator('GET', '/healthz')).status).toBe(200)
      rmSync(filler)
      await h.until(async () => !(await failing()) && !(await h.conditions()).includes('disk_low'), 'it recovers')
      await write()
      filler = fill(home)
      await h.until(async () => {
        await write()
        return failing()
      }, 'the store fails again')
      const stopped = await h.operator('POST', '/v1/shutdown', { reason: 'the disk is full' })
      expect([stopped.status, await h.ended()]).toEqual([200, 0])
      expect(existsSync(join(home, 'ballast'))).toBe(false)
      rmSync(filler)
      expect(await h.start()).toBe('up')
      expect(await records(h, 'hub.shutdown_asked')).toBe(1)
      await h.until(() => existsSync(join(home, 'ballast')), 'the ballast is made again')
      await h.operator('POST', '/v1/shutdown', {})
      await h.ended()
      await afterwards(h, acknowledged)
    } finally {
      h.close()
      disk()
    }
  })

  test('without inodes: degraded, a stop works; read-only: the start refuses by name and makes nothing (T84)', async ({
    skip,
  }) => {
    const disk = mountSmall('size=32m,nr_inodes=160')
    if (disk === undefined) return skip('no small file system can be mounted: not root, or not permitted')
    const home = join(disk.folder, 'home')
    mkdirSync(home, { mode: 0o700 })
    const h = openFaultHome(home, template)
    try {
      expect(await h.start()).toBe('up')
      expect(await h.write()).toBe(true)
      let made = 0
      try {
        for (; ; made += 1) writeFileSync(join(disk.folder, `i${made}`), '')
      } catch {}
      await h.until(async () => (await h.conditions()).includes('disk_low'), 'it is seen')
      expect(await h.write()).toBe(true)
      expect((await h.operator('POST', '/v1/shutdown', {})).status).toBe(200)
      expect(await h.ended()).toBe(0)
      for (let nth = 0; nth < made; nth += 1) rmSync(join(disk.folder, `i${nth}`))

      const before = readdirSync(home).sort()
      spawnSync('mount', ['-o', 'remount,ro', disk.folder])
      const how = await h.start()
      expect(how).toMatchObject({ code: 4, said: expect.stringContaining('mounted read-only') })
      spawnSync('mount', ['-o', 'remount,rw', disk.folder])
      expect(readdirSync(home).sort()).toEqual(before)
      await afterwards(h, 2)
    } finally {
      h.close()
      disk()
    }
  })
})

describe('power that is lost (T78)', () => {
  test('a copy of database and log at each acknowledged step opens whole, with that step; a torn log loses only the end', () => {
    using home = openGuardHome()
    const { gate } = home.guard
    const copies: { at: string; size: number }[] = []
    const copy = (name: string): string => {
      const at = join(folder, `copy-${name}.db`)
      copyFileSync(join(home.folder, 'hub.db'), at)
      copyFileSync(join(home.folder, 'hub.db-wal'), `${at}-wal`)
      return at
    }
    for (let step = 0; step < 40; step += 1) {
      gate.admit({ principal: OPERATOR, operation: 'agent.reload', resource: `step:${step}` }, () => undefined)
      copies.push({ at: copy(String(step)), size: home.guard.audit.head().size })
    }
    const look = (at: string) => {
      const store = openStore(at)
      try {
        return createAuditLog({ store, clock: home.clock }).verify()
      } finally {
        store.close()
      }
    }
    for (const { at, size } of copies) expect(look(at)).toMatchObject({ size, fault: undefined })
    const last = home.guard.audit.head().size
    for (const share of [0.9, 0.5, 0.1, 0]) {
      const at = copy(`torn-${share}`)
      truncateSync(`${at}-wal`, Math.floor(statSync(`${at}-wal`).size * share))
      const { size, fault } = look(at)
      expect([fault, size <= last]).toEqual([undefined, true])
    }
  })
})
