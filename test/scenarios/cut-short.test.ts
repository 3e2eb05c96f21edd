/**
 * `init`, `keys rotate`, `backup`, `restore`, the loading of images, sealing and dropping a month of the audit log, and `prune`, cut at every call that writes (T77, fault G2): whatever is left, the next start understands it.
 * In `scripts/test` a few calls of each, the first and the last among them; with HUB_TEST_LONG=1 every one.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openState } from '../../watchdog/act/state-file.ts'
import { callsToCut, compileCutShim, runCut } from '../support/cut-short.ts'
import { compileShim } from '../support/fault-home.ts'
import { copyHome, withoutEngine } from '../support/home-process.ts'
import { ask } from '../support/hub-harness.ts'
import { makeSmallNode, openSmallEngine, smallCache, smallSocket } from '../support/small-image.ts'

const root = resolve(import.meta.dirname, '../..')
const LONG_MS = 1_800_000
let folder: string
let shim: string | undefined
let template: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-'))
  shim = compileCutShim(folder)
  template = join(folder, 'template')
  run('init', template)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = (verb: string, home: string, ...more: string[]) =>
  JSON.parse(
    execFileSync(process.execPath, [join(root, 'hub/main.ts'), verb, ...more, '--home', home], {
      stdio: 'pipe',
    }).toString(),
  ) as {
    made: string[]
    held: number
  }

/** The hub comes up on it, with no engine and no port; answers what it said where it does not. */
function start(home: string): Promise<string> {
  writeFileSync(
    join(home, 'hub.yaml'),
    JSON.stringify({ http: { port: 0 }, metrics: { port: 0 }, engine: { socket: join(home, 'none.sock') } }),
  )
  const child = spawn(process.execPath, [join(root, 'hub/main.ts'), 'serve', '--home', home])
  let said = ''
  return new Promise((done) => {
    const take = (text: Buffer) => {
      said += text
      if (said.includes('"ready":true')) child.kill('SIGKILL')
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.once('close', () => done(said.includes('"ready":true') ? 'up' : said))
  })
}

/** Runs it whole once to count its calls, then cuts it at each; `make` prepares a fresh place, `judge` says whether what is left is understood. */
async function cutEach(
  few: number,
  scene: {
    make: (at: number) => { argv: string[]; under: string; arm?: string; onReady?: (stop: () => void) => Promise<void> }
    judge: (at: number) => Promise<void>
  },
): Promise<number> {
  const first = scene.make(0)
  const whole = await runCut(first.argv, { shim: shim ?? '', at: 0, ...first })
  expect(whole.code, whole.said).toBe(0)
  expect(whole.calls).toBeGreaterThan(5)
  let cuts = 0
  for (const at of callsToCut(whole.calls, few)) {
    const made = scene.make(at)
    const cut = await runCut(made.argv, { shim: shim ?? '', at, ...made })
    if (cut.isCut) cuts += 1
    else expect([cut.code, cut.calls < at], cut.said).toEqual([0, true])
    await scene.judge(at)
  }
  // A program does not write exactly the same each time; nearly all of its calls are hit.
  expect(cuts).toBeGreaterThanOrEqual(Math.floor(0.7 * callsToCut(whole.calls, few).length))
  return cuts
}

test('hub init cut at any call that writes is finished by hub init, and the hub starts (fault G2, fault G9)', {
  timeout: LONG_MS,
}, async (t) => {
  if (shim === undefined) return t.skip('no C compiler')
  const home = join(folder, 'i')
  await cutEach(5, {
    make() {
      rmSync(home, { recursive: true, force: true })
      return { argv: ['hub/main.ts', 'init', '--home', home], under: home }
    },
    async judge(at) {
      run('init', home)
      expect(run('init', home).made, `${at}`).toEqual([])
      expect(await start(home), `${at}`).toBe('up')
      const state = openState(join(home, 'watchdog', 'state'), 0)
      state.close()
      expect(state.found, `${at}`).not.toBeNull()
      // Nothing half made is left, and no second identity.
      for (const name of ['.', 'keys', 'policy', 'agents'])
        expect(readdirSync(join(home, name)).filter((file) => /\.new$|\.making/.test(file))).toEqual([])
    },
  })
})

test('a key rotation cut at any call that writes leaves one key or the other, and the hub starts (fault G2, T14)', {
  timeout: LONG_MS,
}, async (t) => {
  if (shim === undefined) return t.skip('no C compiler')
  const [home, arm] = [join(folder, 'r'), join(folder, 'r.arm')]
  await cutEach(4, {
    make() {
      for (const path of [home, arm]) rmSync(path, { recursive: true, force: true })
      copyHome(template, home)
      return { argv: ['test/support/cut-program.ts', 'rotate', home, arm], under: home, arm }
    },
    async judge(at) {
      expect(await start(home), `${at}`).toBe('up')
      const names = readdirSync(join(home, 'keys'))
      expect(
        names.filter((name) => name.includes('next')),
        `${at}`,
      ).toEqual([])
    },
  })
})

test('a backup cut at any call that writes leaves no half one with the name of a whole (fault G2, T86)', {
  timeout: LONG_MS,
}, async (t) => {
  if (shim === undefined) return t.skip('no C compiler')
  const [home, arm] = [join(folder, 'b'), join(folder, 'b.arm')]
  await cutEach(4, {
    make() {
      for (const path of [home, arm]) rmSync(path, { recursive: true, force: true })
      copyHome(template, home)
      return { argv: ['test/support/cut-program.ts', 'backup', home, arm], under: home, arm }
    },
    async judge(at) {
      const backups = join(home, 'backups')
      const named = existsSync(backups) ? readdirSync(backups).filter((name) => !name.endsWith('.partial')) : []
      for (const name of named) {
        const back = join(folder, 'b.back')
        rmSync(back, { recursive: true, force: true })
        expect(run('restore', back, '--from', join(backups, name)).held, `${at}`).toBe(0)
      }
      expect(await start(home), `${at}`).toBe('up')
      // It holds keys: what was broken off is gone with the next start.
      expect(existsSync(backups) ? readdirSync(backups).filter((name) => name.endsWith('.partial')) : []).toEqual([])
    },
  })
})

test('a restore cut at any call that writes is done again, and the hub starts (fault G2, T86)', {
  timeout: LONG_MS,
}, async (t) => {
  if (shim === undefined) return t.skip('no C compiler')
  const [source, home, arm] = [join(folder, 's'), join(folder, 'h'), join(folder, 's.arm')]
  copyHome(template, source)
  execFileSync(process.execPath, ['test/support/cut-program.ts', 'backup', source, arm], { cwd: root })
  const from = join(source, 'backups', readdirSync(join(source, 'backups'))[0] ?? '')
  await cutEach(4, {
    make() {
      for (const path of [home, `${home}.restoring`]) rmSync(path, { recursive: true, force: true })
      mkdirSync(folder, { recursive: true })
      return { argv: ['hub/main.ts', 'restore', '--from', from, '--home', home], under: home }
    },
    async judge(at) {
      if (!existsSync(home)) run('restore', home, '--from', from)
      expect(existsSync(`${home}.restoring`), `${at}`).toBe(false)
      expect(await start(home), `${at}`).toBe('up')
    },
  })
})

test('a restore on a disk that does not take a file or a folder makes no home of it (fault G2, T86)', {
  timeout: LONG_MS,
}, (t) => {
  const preload = compileShim(folder)
  if (preload === undefined) return t.skip('no C compiler')
  const [source, home] = [join(folder, 'fs'), join(folder, 'fh')]
  copyHome(template, source)
  execFileSync(process.execPath, ['test/support/cut-program.ts', 'backup', source], { cwd: root })
  const from = join(source, 'backups', readdirSync(join(source, 'backups'))[0] ?? '')
  const argv = ['hub/main.ts', 'restore', '--from', from, '--home', home]
  for (const path of ['/policy/data.json', '/secrets']) {
    const fault = { FAULT_FILE: `${home}.restoring${path}`, FAULT_CALL: 'sync', FAULT_NTH: '1', FAULT_ERRNO: '5' }
    const done = spawnSync(process.execPath, argv, {
      cwd: root,
      env: { ...process.env, LD_PRELOAD: preload, ...fault },
      encoding: 'utf8',
    })
    expect(done.status, `${path}: ${done.stdout}`).not.toBe(0)
    expect([existsSync(home), existsSync(`${home}.restoring`)], path).toEqual([false, false])
  }
  expect(run('restore', home, '--from', from).held).toBe(0)
})

test.for([
  ['file of its cache', (home: string) => smallCache(home), 4],
  ['piece of the archive', () => 'socket:', 6],
] as const)(
  'the loading of images cut at any %s that it writes leaves what the next load understands (fault G2)',
  {
    timeout: LONG_MS,
  },
  async ([, under, few], t) => {
    if (shim === undefined) return t.skip('no C compiler')
    const home = mkdtempSync(join(folder, 'im-'))
    makeSmallNode(home)
    const { server, held, settled } = openSmallEngine()
    await new Promise<void>((done) => server.listen(smallSocket(home), done))
    const arm = join(home, 'arm')
    const argv = ['test/support/cut-program.ts', 'images', home, arm]
    let torn = 0
    try {
      await cutEach(few, {
        make() {
          for (const path of [smallCache(home), arm]) rmSync(path, { recursive: true, force: true })
          delete held.shown
          return { argv, under: under(home), arm }
        },
        async judge(at) {
          await settled()
          const left = held.shown?.RootFS.Layers
          const done = await runCut(argv, { shim: shim ?? '', at: 0, under: 'nothing' })
          expect(done.code, `${at}: ${done.said}`).toBe(0)
          expect(held.shown?.RootFS.Layers, `${at}`).toHaveLength(2)
          if (left !== undefined && left.join() !== held.shown?.RootFS.Layers.join()) torn += 1
          expect(
            readdirSync(smallCache(home)).filter((name) => name.endsWith('.new')),
            `${at}`,
          ).toEqual([])
          expect(readdirSync(smallCache(home)), `${at}`).toHaveLength(2)
          // What stands there is believed: nothing is loaded twice.
          const { loads } = held
          expect((await runCut(argv, { shim: shim ?? '', at: 0, under: 'nothing' })).code, `${at}`).toBe(0)
          expect(held.loads, `${at}`).toBe(loads)
        },
      })
      if (under(home) === 'socket:') expect(torn, 'some archives broke off half-way').toBeGreaterThan(0)
    } finally {
      server.close()
      server.closeAllConnections()
    }
  },
)

test('sealing and dropping a month of the audit log cut at any call that writes loses no record (fault G2, fault B3)', {
  timeout: LONG_MS,
}, async (t) => {
  if (shim === undefined) return t.skip('no C compiler')
  const [source, home, arm] = [join(folder, 'm'), join(folder, 'n'), join(folder, 'm.arm')]
  copyHome(template, source)
  execFileSync(process.execPath, ['test/support/cut-program.ts', 'past', source], { cwd: root })
  await cutEach(5, {
    make() {
      for (const path of [home, arm]) rmSync(path, { recursive: true, force: true })
      copyHome(source, home)
      return { argv: ['test/support/cut-program.ts', 'seal', home, arm], under: home, arm }
    },
    async judge(at) {
      const said = execFileSync(process.execPath, ['test/support/cut-program.ts', 'finish', home], { cwd: root })
      const found = JSON.parse(said.toString()) as { states: string[]; left: []; firstBad: unknown }
      expect(found.left, `${at}`).toEqual([])
      expect(found.firstBad, `${at}: ${said}`).toBeNull()
      expect(found.states.slice(0, -1), `${at}`).toEqual(found.states.slice(0, -1).map(() => 'dropped'))
      expect(found.states.length, `${at}`).toBeGreaterThan(1)
      expect(
        readdirSync(join(home, 'audit')).filter((name) => !name.endsWith('.jsonl.gz')),
        `${at}`,
      ).toEqual([])
      expect(await start(home), `${at}`).toBe('up')
    },
  })
})

test('a prune cut at any call that writes leaves rows and files that fit, and is done again (fault G2, fault B3)', {
  timeout: LONG_MS,
}, async (t) => {
  if (shim === undefined) return t.skip('no C compiler')
  const [home, arm] = [join(folder, 'p'), join(folder, 'p.arm')]
  const DONE = 12
  const prune = () => ask(join(home, 'run', 'operator.sock'), 'POST', '/v1/retention/prune', {}, {})
  /** As tasks that ended and left an artifact each, long ago. */
  const fill = () => {
    const opened = new Database(join(home, 'hub.db'))
    const old = Date.now() - 90 * 86_400_000
    for (let at = 0; at < DONE; at += 1) {
      const [task, text] = [randomUUID(), `left by ${at}`]
      const sha256 = createHash('sha256').update(text).digest('hex')
      mkdirSync(join(home, 'artifacts', sha256.slice(0, 2)), { recursive: true, mode: 0o700 })
      writeFileSync(join(home, 'artifacts', sha256.slice(0, 2), sha256), text, { mode: 0o600 })
      opened
        .prepare(
          `insert into task (id, state, agent, needs, params, priority, held, depth, chain, requested_by, created_at_ms, ended_at_ms)
             values (?, 'succeeded', 'echo', '[]', '{}', 0, 0, 0, '["echo"]', 'operator', ?, ?)`,
        )
        .run(task, old, old)
      opened
        .prepare('insert into artifact (task, name, sha256, size, created_at_ms) values (?, ?, ?, ?, ?)')
        .run(task, 'x', sha256, text.length, old)
    }
    opened.close()
  }
  await cutEach(5, {
    make() {
      for (const path of [home, arm]) rmSync(path, { recursive: true, force: true })
      copyHome(template, home)
      withoutEngine(home)
      fill()
      return {
        argv: ['hub/main.ts', 'serve', '--home', home],
        under: home,
        arm,
        // The hub that is cut is asked by its own socket; what it was cut in the middle of has no answer.
        async onReady(stop: () => void) {
          writeFileSync(arm, '')
          await prune().catch(() => undefined)
          stop()
        },
      }
    },
    async judge(at) {
      const opened = new Database(join(home, 'hub.db'))
      const files = new Set(
        readdirSync(join(home, 'artifacts'), { recursive: true }).map((name) => `${name}`.split('/').at(-1)),
      )
      const named = opened.prepare('select sha256 from artifact').pluck().all() as string[]
      opened.close()
      expect(
        named.filter((sha256) => !files.has(sha256)),
        `${at}: a row without its file`,
      ).toEqual([])
      expect(await start(home), `${at}`).toBe('up')
    },
  })
})
