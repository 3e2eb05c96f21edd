/** `hub submit --repo` where git or the machine is not as it should be: too old, too large, no room, ended half way (S4-9). A git in front of the real one plays it. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gitFault } from '../../../../../hub/base/git-version.ts'
import { createGitCheck } from '../../../../../hub/edge/doctor/host.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { CLI } from '../../../../support/fake-hub.ts'
import { type GitScene, gitScene } from '../../../../support/git-scene.ts'

const REAL = process.env.PATH ?? ''
let scene: GitScene
let front: string
const at = commandHome(() => {
  at.hub.on('GET /v1/agents', () => ({ body: { agents: [], problems: [] } }))
})
beforeEach(() => {
  scene = gitScene()
  scene.commit({ 'read.me': 'one\n' })
  front = mkdtempSync(join(tmpdir(), 'front-'))
})
afterEach(() => {
  process.env.PATH = REAL
  scene.remove()
  rmSync(front, { recursive: true })
})

/** Shell lines in front of the real git; `$*` is what it was called with. Each call is noted. */
function inFront(lines: string): string {
  const path = `${front}:${REAL}`
  writeFileSync(
    join(front, 'git'),
    `#!/bin/sh\necho "$*" >> ${front}/calls\ncase "$*" in\n${lines}\nesac\nPATH=${REAL} exec git "$@"\n`,
    { mode: 0o755 },
  )
  process.env.PATH = path
  return path
}
const submit = (...more: string[]) => at.run(['submit', '--needs', 'code', '--repo', scene.dir, ...more])
const leftInHome = () => readdirSync(join(at.home, 'run')).filter((name) => name.startsWith('input-'))
const calls = () => readFileSync(join(front, 'calls'), 'utf8')

it.each([
  ['git version 2.39.5', undefined],
  ['git version 2.38.0.windows.1', undefined],
  ['git version 3.0.1 (Apple Git-200)', undefined],
  ['git version 2.37.7', 'it is version 2.37, and 2.38 is needed'],
  ['git version 1.99', 'it is version 1.99, and 2.38 is needed'],
  ['hello', 'it does not say which version it is; 2.38 is needed'],
])('%s: %s', async (said, fault) => {
  expect(gitFault(said)).toBe(fault)
  expect(await createGitCheck(async () => said)()).toMatchObject([
    { name: 'git', ok: fault === undefined ? true : null },
  ])
})

it('doctor says that git is not installed, and that the hub itself does without', async () => {
  const [row] = await createGitCheck(() => Promise.reject(new Error('ENOENT')))()
  expect(row).toMatchObject({ ok: null, detail: 'it is not installed: hub submit --repo and hub branch are refused' })
})

describe('hub submit --repo', () => {
  it('refuses a git that is too old before it does anything', async () => {
    inFront('--version) echo "git version 2.30.2"; exit 0;;')
    const { code, stderr } = await submit()
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining('git cannot be used: it is version 2.30, and 2.38 is needed'),
    ])
    expect(calls()).toBe('--version\n')
  })

  it('refuses a history above 256 MiB before a bundle of it is made', async () => {
    inFront('*--disk-usage*) echo 300000000; exit 0;;')
    const { code, stderr } = await submit()
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/is 286\.1 MiB or more; at most 256(\.0)? MiB can be sent, and no bundle was made/),
    ])
    expect(calls()).not.toContain('bundle create')
    expect([at.posted(), leftInHome()]).toEqual([[], []])
  })

  it('says that the disk is full where git finds no room, and leaves nothing behind', async () => {
    inFront('*"bundle create"*) echo "fatal: write error: No space left on device" >&2; exit 128;;')
    const { code, stderr } = await submit()
    expect(code).toBe(4)
    expect(stderr).toContain('the disk is full; free some room, then try again')
    expect([at.posted(), leftInHome()]).toEqual([[], []])
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('%s meanwhile leaves no folder and no git behind', async (signal) => {
    const PATH = inFront(`*"bundle create"*) echo $$ > ${front}/pid; exec sleep 600;;`)
    const env = { PATH, HOME: at.home, HUB_HOME: at.home }
    const child = spawn(process.execPath, [CLI, 'submit', '--needs', 'code', '--repo', scene.dir], {
      env,
      stdio: 'ignore',
    })
    const ended = new Promise((resolve) => child.on('close', resolve))
    const pid = () => (existsSync(join(front, 'pid')) ? Number(readFileSync(join(front, 'pid'), 'utf8')) : 0)
    while (pid() === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(leftInHome()).toHaveLength(1)
    child.kill(signal)
    expect(await ended).toBe(130)
    expect(leftInHome()).toEqual([])
    const isAlive = () => existsSync(`/proc/${pid()}`) && !/\) Z /.test(readFileSync(`/proc/${pid()}/stat`, 'utf8'))
    while (isAlive()) await new Promise((resolve) => setTimeout(resolve, 20))
  })

  it.skipIf(process.env.HUB_TEST_LONG === undefined)('takes a repository of 100 000 files', async () => {
    const rows = Array.from({ length: 100_000 }, (_, at) => {
      const text = String(at)
      return `M 100644 inline d${at % 500}/f${at}.txt\ndata ${text.length}\n${text}\n`
    })
    const head = 'commit refs/heads/many\ncommitter a <a@b> 1 +0000\ndata 1\nx\n'
    execFileSync('git', ['fast-import', '--quiet'], { cwd: scene.dir, input: head + rows.join('') })
    const { code, stdout } = await submit('--base', 'many', '--dry-run')
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^100000 files and 1 commit, [\d.]+ MiB up to /)])
  })
})
