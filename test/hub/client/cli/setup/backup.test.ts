/** Fault B9: `hub backup --out` where it cannot go: the cause, the folder, nothing left behind. And another's home is not touched. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'

const HUB = fileURLToPath(new URL('../../../../../scripts/hub', import.meta.url))
const isRoot = process.getuid?.() === 0

/** A file system of so many kilobytes, or undefined where nothing may be mounted. */
function smallDisk(kilobytes: number): { path: string; remove(): void } | undefined {
  const path = mkdtempSync(join(tmpdir(), 'sd-'))
  const done = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'tmpfs', path])
  if (done.status !== 0) {
    rmSync(path, { recursive: true })
    return undefined
  }
  const remove = () => {
    execFileSync('umount', [path])
    rmSync(path, { recursive: true })
  }
  return { path, remove }
}

const at = commandHome()

async function backedUpTo(out: string, room = 300_000) {
  const made = join(at.home, 'backups', 'one')
  at.hub.on('POST /v1/backup', () => {
    mkdirSync(made, { recursive: true })
    writeFileSync(join(made, 'hub.db'), Buffer.alloc(room, 1))
    return {
      body: {
        path: made,
        files: 1,
        bytes: room,
        auditSize: 1,
        leftOut: [
          { path: 'policy/x', why: 'a link' },
          { path: 'artifacts/y', why: 'other bytes', damaged: true },
          { path: 'secrets/model-key', why: 'a secret', secret: true },
        ],
      },
    }
  })
  const shown = await at.runAsProcess(['backup', '--out', out])
  return { ...shown, asked: at.hub.asked.length, isLeft: existsSync(made) }
}

test.skipIf(!isRoot)(
  'fault B9: onto a full disk: the cause and the folder; nothing of it stays there nor in the home',
  async (context) => {
    const disk = smallDisk(100)
    if (disk === undefined) return context.skip()
    try {
      const { code, stderr, isLeft } = await backedUpTo(join(disk.path, 'new', 'mine'))
      expect(stderr).toContain(`no backup was made: ${join(disk.path, 'new')}: the disk is full`)
      expect(stderr).not.toContain('bug')
      expect([code, isLeft, readdirSync(disk.path)]).toEqual([4, false, []])
    } finally {
      disk.remove()
    }
  },
)

test('fault B9: into a folder that takes nothing: refused before the hub makes a copy', async () => {
  const { code, stderr, asked } = await backedUpTo('/proc/self/no/such/mine')
  expect(stderr).toMatch(/no backup was made: \/proc\/self\/no\/such: |no backup was made/)
  expect(stderr).not.toContain('bug')
  expect(code).toBe(4)
  expect(asked).toBeLessThanOrEqual(1)
})

test('fault B8: what is not in it is said', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bo-'))
  try {
    const { code, stderr } = await backedUpTo(join(folder, 'mine'))
    expect(stderr).toContain('not in it: policy/x: a link')
    expect(stderr).toContain('damaged: artifacts/y: other bytes')
    expect(stderr).toContain('not in it, because they are secrets: model-key. Keep them elsewhere')
    expect(at.hub.asked.at(-1)?.body).toEqual({})
    const whole = await at.runAsProcess(['backup', '--with-secrets'])
    expect(whole.stderr).toMatch(/^.*copied in plain text: whoever reads this backup can use every key/)
    expect(at.hub.asked.at(-1)?.body).toEqual({ withSecrets: true })
    expect(code).toBe(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.skipIf(!isRoot)("fault B9: another's home is refused and left as it is", () => {
  const { home } = at
  execFileSync('chown', ['-R', '65534', home])
  const before = readdirSync(home).sort()
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => key !== 'NODE_COMPILE_CACHE'))
  const done = spawnSync(HUB, ['status'], { encoding: 'utf8', env: { ...env, HUB_HOME: home } })
  expect(done.stderr).toContain('is not a folder of this user')
  expect(readdirSync(home).sort()).toEqual(before)
})

/** Whether every thread of it has halted. */
const isStopped = (pid = 0) =>
  readdirSync(`/proc/${pid}/task`).every((task) =>
    readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8').includes(') T '),
  )

/** A backup under way, as a process that can be sent a signal. */
function startBackup(...words: string[]) {
  const child = spawn(HUB, ['backup', ...words], { env: { ...process.env, HUB_HOME: at.home } })
  let said = ''
  child.stderr.on('data', (text: Buffer) => {
    said += text
  })
  return { child, said: () => said, ended: new Promise<number | null>((done) => child.once('close', done)) }
}

test.skipIf(!isRoot)(
  'a signal while it is copied to another disk: nothing half made stays there, and the whole one of the hub is named',
  async (context) => {
    const disk = smallDisk(400_000)
    if (disk === undefined) return context.skip()
    const made = join(at.home, 'backups', 'one')
    try {
      at.hub.on('POST /v1/backup', () => {
        mkdirSync(made, { recursive: true })
        for (let part = 0; part < 30; part += 1)
          writeFileSync(join(made, `part-${part}`), Buffer.alloc(8 * 1024 ** 2, 1))
        return { body: { path: made, files: 30, bytes: 1, auditSize: 1, leftOut: [] } }
      })
      // On a busy machine it may be done before this process sees that it has begun: then once more.
      for (;;) {
        const { child, said, ended } = startBackup('--out', join(disk.path, 'mine'))
        while (child.exitCode === null && !existsSync(join(disk.path, 'mine.partial')))
          await new Promise((done) => setTimeout(done, 1))
        child.kill('SIGSTOP')
        await expect.poll(() => child.exitCode !== null || isStopped(child.pid), { interval: 1 }).toBe(true)
        const partial = join(disk.path, 'mine.partial')
        const isDone = !existsSync(partial) || readdirSync(partial).length === 30
        if (!isDone) child.kill('SIGINT')
        child.kill('SIGCONT')
        const code = await ended
        if (isDone) {
          rmSync(join(disk.path, 'mine'), { recursive: true })
          continue
        }
        expect([code, readdirSync(disk.path), existsSync(made)]).toEqual([130, [], true])
        expect(said()).toContain(`the backup in ${made} is complete`)
        return
      }
    } finally {
      disk.remove()
    }
  },
)

test('a signal while the hub makes it: where it will be is said', async () => {
  let isAsked = () => {}
  const asked = new Promise<void>((done) => {
    isAsked = done
  })
  at.hub.on('POST /v1/backup', () => ({ raw: () => isAsked() }))
  const { child, said, ended } = startBackup()
  await asked
  child.kill('SIGTERM')
  expect(await ended).toBe(143)
  expect(said()).toContain('the hub still finishes its backup')
})
