/** `hub submit --repo` and `hub branch`: the real git on both sides, a hub that answers from a table, and hostile repositories (S4-9). */
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BUNDLE_NAME } from '../../../../../hub/protocol/task-spec.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { SESSION_ID, TASK_ID, taskView } from '../../../../support/fake-hub.ts'
import { type GitScene, gitScene } from '../../../../support/git-scene.ts'
import { keepArtifacts } from '../../../../support/kept-artifacts.ts'

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex')
const BRANCH = `hub/${SESSION_ID}`

let store: Map<string, Buffer>
let scene: GitScene
const at = commandHome(() => {
  store = keepArtifacts(at)
  at.hub.on('POST /v1/tasks', () => ({ body: { task: taskView() } }))
  at.hub.on('GET /v1/agents', () => ({ body: { agents: [], problems: [] } }))
})
beforeEach(() => {
  scene = gitScene()
  scene.commit(
    { 'read.me': 'one\ntwo\nthree\n', 'package.json': '{"name":"x","scripts":{"test":"node t.js"}}' },
    'First',
  )
})
afterEach(() => scene.remove())

const submit = (...more: string[]) => at.run(['submit', '--needs', 'code', '--repo', scene.dir, ...more])
const sentBody = () => at.hub.asked.find(({ method, path }) => method === 'POST' && path === '/v1/tasks')?.body
const leftInHome = () => readdirSync(join(at.home, 'run')).filter((name) => name.startsWith('input-'))

describe('hub submit --repo', () => {
  it('sends every commit up to the base in one bundle, and says which commit that is', async () => {
    const base = scene.commit({ 'more.txt': 'x' }, 'Second')
    expect(await submit('--base', 'main', '--no-change')).toMatchObject({ code: 0 })
    const { inputs, spec } = sentBody() as { inputs: { manifest: string; pack: string }; spec: unknown }
    expect(spec).toEqual({ repository: { base, from: 'main', change: false } })
    const manifest = JSON.parse(String(store.get(inputs.manifest))) as { files: { path: string }[] }
    expect(manifest.files.map(({ path }) => path)).toEqual([BUNDLE_NAME])
    const file = join(mkdtempSync(join(tmpdir(), 'sent-')), 'b')
    writeFileSync(file, store.get(inputs.pack) ?? '')
    expect(scene.git('bundle', 'list-heads', file)).toBe(`${base} refs/heads/base`)
    expect(leftInHome()).toEqual([])
  })

  it('sends nothing of a repository that holds what looks like a secret, now or in its history, unless told to', async () => {
    scene.commit({ '.env': 'KEY=1', 'deploy.txt': '-----BEGIN RSA PRIVATE KEY-----\nx\n' }, 'Secrets')
    scene.git('rm', '--quiet', '.env')
    scene.commit({}, 'Gone')
    const refused = await submit()
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain('deploy.txt (it holds a private key): looks like a secret')
    expect(refused.stderr).toContain('.env: looks like a secret, in earlier commits')
    expect(refused.stderr).toContain('add --include-secrets')
    expect([at.posted(), store.size]).toEqual([[], 0])
    expect((await submit('--include-secrets')).code).toBe(0)
    expect(sentBody()).toMatchObject({ spec: { repository: { change: true } } })
  })

  it('--dry-run says what would go and what stays, and sends nothing', async () => {
    scene.commit({ 'big.bin': 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n' }, 'Pointer')
    scene.git('update-index', '--add', '--cacheinfo', `160000,${scene.head()},vendor/lib`)
    scene.git('commit', '--quiet', '-m', 'Submodule')
    scene.write('read.me', 'changed')
    scene.write('odd \u202e name.txt', 'new')
    const { code, stdout } = await submit('--dry-run')
    expect(code).toBe(0)
    expect(stdout).toContain('3 files and 3 commits')
    expect(stdout).toContain(
      'vendor/lib: left out, because a repository inside a repository (a submodule) is one of its own',
    )
    expect(stdout).toContain('big.bin: sent as LFS pointers')
    expect(stdout).toMatch(/read\.me.*not sent, because it is not committed/)
    expect(stdout).not.toContain('\u202e')
    expect([at.posted(), store.size, leftInHome()]).toEqual([[], 0, []])
    const json = JSON.parse((await submit('--dry-run', '--json')).stdout) as Record<string, unknown>
    expect(json).toMatchObject({ commits: 3, files: 3, submodules: ['vendor/lib'], pointers: ['big.bin'], secrets: [] })
  })

  it('runs nothing that the repository itself names: hooks, filters, monitors [a hostile .git/config]', async () => {
    const trap = join(at.home, 'trapped')
    const program = `touch ${trap}; cat`
    scene.write('.gitattributes', '* filter=evil diff=evil merge=evil\n')
    scene.commit({}, 'Attributes')
    for (const [key, value] of [
      ['core.fsmonitor', program],
      ['filter.evil.clean', program],
      ['filter.evil.smudge', program],
      ['diff.evil.textconv', program],
      ['diff.external', program],
      ['merge.evil.driver', program],
      ['core.alternateRefsCommand', program],
      ['core.pager', program],
      ['gpg.program', program],
      ['log.showSignature', 'true'],
    ] as const)
      scene.git('config', key, value)
    scene.write('read.me', 'changed')
    for (const hook of ['reference-transaction', 'post-checkout', 'pre-commit', 'post-merge', 'fsmonitor-watchman'])
      scene.write(`.git/hooks/${hook}`, `#!/bin/sh\n${program}\n`, 0o755)
    expect((await submit()).code).toBe(0)
    expect(existsSync(trap)).toBe(false)
  })

  const refusedBy: [string, (dir: string) => string[], RegExp][] = [
    ['no repository', () => ['--repo', mkdtempSync(join(tmpdir(), 'plain-'))], /is not a git repository/],
    ['no commit of that name', (dir) => ['--repo', dir, '--base', 'nowhere'], /has no commit "nowhere"/],
    ['an option for a name', (dir) => ['--repo', dir, '--base', '--all'], /has no commit "--all"|argument missing/],
    ['two inputs', (dir) => ['--repo', dir, '--input', dir], /a task has one input/],
    ['a base of nothing', () => ['--base', 'main'], /add --repo DIR/],
  ]
  it.each(refusedBy)('refuses %s by name', async (_what, args, says) => {
    const { code, stderr } = await at.run(['submit', '--needs', 'code', ...args(scene.dir)])
    expect([code, at.posted()]).toEqual([2, []])
    expect(stderr).toMatch(says)
  })

  it('refuses a shallow clone, and a repository without a commit', async () => {
    scene.commit({ 'a.txt': '1' })
    const shallow = mkdtempSync(join(tmpdir(), 'shallow-'))
    scene.git('clone', '--quiet', '--depth', '1', `file://${scene.dir}`, shallow)
    expect((await at.run(['submit', '--needs', 'code', '--repo', shallow])).stderr).toContain('git fetch --unshallow')
    const empty = gitScene()
    expect((await at.run(['submit', '--needs', 'code', '--repo', empty.dir])).stderr).toContain('has no commit yet')
    empty.remove()
  })
})

/** An agent's work on the scene's base: a clone of its own, whose branch comes back as the task's artifact. */
function returns(work: (agent: GitScene) => void, spoil = (bytes: Buffer) => bytes, refs = [`refs/heads/${BRANCH}`]) {
  const base = scene.head()
  const agent = gitScene()
  agent.git('fetch', '--quiet', scene.dir, 'main')
  agent.git('checkout', '--quiet', '-B', BRANCH, 'FETCH_HEAD')
  work(agent)
  const file = join(mkdtempSync(join(tmpdir(), 'back-')), 'b')
  agent.git('bundle', 'create', '--quiet', file, ...refs, `^${base}`)
  const bytes = spoil(readFileSync(file))
  const artifact = { name: `${SESSION_ID}.bundle`, sha256: sha256(bytes), size: bytes.length }
  store.set(artifact.sha256, bytes)
  const spec = { repository: { base, from: 'HEAD', change: true } }
  const task = taskView({ state: 'succeeded', spec, artifacts: [artifact], startedAtMs: 1, endedAtMs: 2 })
  at.hub.on('GET /v1/tasks/:id', () => ({ body: { task, attempts: [] } }))
  const tip = agent.head()
  agent.remove()
  return { base, tip }
}
const branch = (word: string, ...more: string[]) => at.run(['branch', word, TASK_ID, '--repo', scene.dir, ...more])
const untouched = (head: string) =>
  expect([scene.head(), scene.git('status', '--porcelain'), scene.git('branch', '--list', 'hub/*')]).toEqual([
    head,
    '',
    '',
  ])

describe('hub branch', () => {
  it('log and diff show commits and files, and first of all what can act without being called', async () => {
    returns((agent) => {
      agent.commit({ 'read.me': 'one\n2\nthree\n' }, 'Mend \u001b[31mit')
      agent.commit(
        {
          '.GitHub/Workflows/ci.yml': 'on: push',
          '.husky/pre-commit': 'x',
          'sub/Makefile': 'all:',
          '.envrc': 'x',
          '.vscode/tasks.json': '{}',
          '.claude/settings.json': '{}',
          '.mcp.json': '{}',
          'package.json': '{"name":"x","scripts":{"test":"curl evil"}}',
        },
        'Helpers',
      )
      symlinkSync('../../etc/passwd', join(agent.dir, 'link'))
      agent.commit({}, 'Link')
    })
    const { code, stdout } = await branch('log')
    expect(code).toBe(0)
    expect(stdout.indexOf('9 changed files can act')).toBe(0)
    for (const name of [
      '.GitHub/Workflows/ci.yml',
      '.husky/pre-commit',
      'sub/Makefile',
      '.envrc',
      '.vscode/tasks.json',
    ])
      expect(stdout).toContain(`  ${name}: `)
    expect(stdout).toContain('link: is a link that leads out of the repository')
    expect(stdout).toContain('package.json: its scripts run')
    expect(stdout).toContain('Mend \\u001b[31mit')
    const diff = await branch('diff')
    expect(diff.stdout.indexOf('9 changed files can act')).toBe(0)
    expect(diff.stdout).toContain('-two\n+2\n')
    const json = JSON.parse((await branch('log', '--json')).stdout) as {
      commits: object[]
      files: object[]
      risky: object[]
    }
    expect([json.commits.length, json.files.length, json.risky.length]).toEqual([3, 10, 9])
    expect(scene.git('branch', '--list', 'hub/*')).toBe('')
  })

  it('checkout makes the branch and switches to it; a branch of that name that stands elsewhere is left alone', async () => {
    const { tip } = returns((agent) => agent.commit({ 'read.me': 'x' }))
    scene.git('branch', BRANCH)
    const refused = await branch('checkout')
    expect(refused.code).toBe(3)
    expect(refused.stderr).toContain('exists already, at another commit')
    expect((await branch('checkout', '--as', 'look')).code).toBe(0)
    expect([scene.git('branch', '--show-current'), scene.head()]).toEqual(['look', tip])
    expect((await branch('checkout', '--as', 'look')).code).toBe(0)
  })

  it.each(['@{-1}', '@', 'HEAD', '-x', 'refs/heads/x', 'a..b', 'x.lock', 'a'.repeat(40)])(
    'checkout --as %s is refused by name: git reads it as something else',
    async (name) => {
      returns((agent) => agent.commit({ 'read.me': 'x' }))
      scene.git('switch', '--quiet', '-c', 'other')
      scene.git('switch', '--quiet', 'main')
      const { code, stderr } = await branch('checkout', `--as=${name}`)
      expect([code, stderr]).toEqual([
        2,
        expect.stringContaining(`--as: ${JSON.stringify(name)} is no name for a branch`),
      ])
      expect(scene.git('branch', '--show-current')).toBe('main')
    },
  )

  it('names a repository inside the repository, whose files did not come along', async () => {
    returns((agent) => {
      agent.git('update-index', '--add', '--cacheinfo', `160000,${agent.head()},vendor/lib`)
      agent.git('commit', '--quiet', '-m', 'Nested')
    })
    expect((await branch('log')).stdout).toContain(
      'vendor/lib: is a repository of its own: its files did not come along',
    )
  })

  it('apply merges it, once, and asks before', async () => {
    const { tip } = returns((agent) => agent.commit({ 'read.me': 'one\n2\nthree\n' }))
    const base = scene.head()
    expect((await branch('apply')).stderr).toContain('add --yes')
    untouched(base)
    expect((await branch('apply', '--yes')).code).toBe(0)
    expect(scene.head()).toBe(tip)
    expect((await branch('apply', '--yes')).stdout).toContain('is in here already')
  })

  it('apply shows conflicts before anything is touched, and refuses a work tree with changes', async () => {
    returns((agent) => agent.commit({ 'read.me': 'theirs\n' }))
    const head = scene.commit({ 'read.me': 'ours\n' })
    const { code, stdout, stderr } = await branch('apply', '--yes')
    expect(code).toBe(3)
    expect(stdout).toContain('conflict: read.me')
    expect(stderr).toContain('nothing was touched')
    untouched(head)
    scene.write('read.me', 'not committed\n')
    expect((await branch('checkout')).stderr).toContain('changes that are not committed')
    expect(scene.head()).toBe(head)
  })

  const mine = '.env'
  it.each([
    ['a file that git ignores', () => scene.write(mine, 'KEY=mine\n'), mine],
    ['a folder that git ignores', () => scene.write('build/out/x', 'mine\n'), 'build'],
    ['a file where the branch wants a folder', () => scene.write('folder', 'mine\n'), 'folder'],
  ])('overwrites no file that git does not track: %s', async (_what, prepare, names) => {
    const base = scene.commit({ '.gitignore': '.env\nbuild\nfolder\n' })
    returns((agent) => {
      for (const file of [mine, 'build', 'folder/x']) agent.write(file, 'theirs\n')
      agent.git('add', '--force', ...(names === 'folder' ? ['folder/x'] : [names]))
      agent.git('commit', '--quiet', '-m', 'x')
    })
    prepare()
    for (const args of [['checkout'], ['apply', '--yes']]) {
      const { code, stderr } = await branch(args[0] ?? '', ...args.slice(1))
      expect([code, stderr]).toEqual([3, expect.stringContaining('would be overwritten')])
      untouched(base)
    }
  })

  it('leaves a merge that is half done alone, and merges into no detached HEAD', async () => {
    const base = scene.head()
    returns((agent) => agent.commit({ 'read.me': 'x' }))
    const other = scene.commit({ other: '1' })
    scene.git('reset', '--quiet', '--hard', base)
    scene.git('merge', '--quiet', '--no-commit', '--no-ff', '-s', 'ours', other)
    const refused = await branch('apply', '--yes')
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('a merge is half done')])
    expect(scene.git('rev-parse', 'MERGE_HEAD')).toBe(other)
    scene.git('merge', '--abort')
    scene.git('checkout', '--quiet', '--detach')
    expect((await branch('apply', '--yes')).stderr).toContain('is on no branch')
    untouched(base)
  })

  it('runs nothing that the repository or the branch names [a hostile branch]', async () => {
    const trap = join(at.home, 'trapped')
    const program = `touch ${trap}; cat`
    returns((agent) => {
      agent.write('.husky/post-checkout', `#!/bin/sh\n${program}\n`, 0o755)
      agent.write('.husky/post-merge', `#!/bin/sh\n${program}\n`, 0o755)
      agent.commit({ '.gitattributes': '* filter=evil merge=evil diff=evil\n', 'new.txt': 'x' })
    })
    scene.commit({ 'ours.txt': 'x' }, 'Ours')
    for (const [key, value] of [
      ['filter.evil.clean', program],
      ['filter.evil.smudge', program],
      ['merge.evil.driver', program],
      ['diff.evil.textconv', program],
      ['core.hooksPath', '.husky'],
      ['core.fsmonitor', program],
      ['gpg.program', program],
      ['commit.gpgsign', 'true'],
      [`url.ext::sh -c touch% ${trap}% .insteadOf`, '/'],
      ['protocol.ext.allow', 'always'],
      ['branch.main.mergeOptions', '-S --squash'],
      ['user.name', 'x'],
      ['user.email', 'x@example.org'],
    ] as const)
      scene.git('config', key, value)
    for (const word of ['log', 'diff']) expect((await branch(word)).code).toBe(0)
    const applied = await branch('apply', '--yes')
    expect(applied.code).toBe(0)
    expect(applied.stderr).toContain('filter.evil.smudge')
    expect(scene.git('show', '--no-patch', '--format=%P').split(' ')).toHaveLength(2)
    expect((await branch('checkout')).code).toBe(0)
    expect(existsSync(trap)).toBe(false)
  })

  it('a repository whose configuration moves its work tree is not touched', async () => {
    returns((agent) => agent.commit({ 'read.me': 'x' }))
    scene.git('config', 'core.worktree', at.home)
    expect((await branch('apply', '--yes')).stderr).toContain('core.worktree')
    expect(existsSync(join(at.home, 'read.me'))).toBe(false)
  })

  const spoiled: [string, Parameters<typeof returns>, RegExp][] = [
    [
      'is cut',
      [(agent) => agent.commit({ a: '1' }), (bytes) => bytes.subarray(0, bytes.length - 30)],
      /git does not take its objects/,
    ],
    ['is none', [(agent) => agent.commit({ a: '1' }), () => Buffer.from('x\n\ny')], /it is not a git bundle/],
    [
      'holds other branches',
      [
        (agent) => {
          agent.commit({ a: '1' })
          agent.git('branch', 'main')
        },
        (bytes) => bytes,
        [`refs/heads/${BRANCH}`, 'refs/heads/main'],
      ],
      /it holds other refs/,
    ],
    ['becomes larger than memory', [(agent) => agent.commit({ a: '1' }), swollen], /attempting to allocate/],
    [
      'holds a file that only hostile repositories hold',
      [
        (agent) => {
          const blob = agent.git('hash-object', '-w', 'read.me')
          const commit = agent.git('commit-tree', '-p', 'HEAD', '-m', 'x', evilTree(agent, blob))
          agent.git('update-ref', `refs/heads/${BRANCH}`, commit)
        },
      ],
      /git does not take its objects/,
    ],
  ]
  it.each(spoiled)('refuses a bundle that %s, and touches nothing', async (_what, args, says) => {
    returns(...args)
    const head = scene.head()
    const { code, stderr } = await branch('checkout')
    expect(code).toBe(3)
    expect(stderr).toMatch(says)
    untouched(head)
  })

  it('without a task takes the one submitted last with this repository, and says which', async () => {
    const { base } = returns((agent) => agent.commit({ a: '1' }, 'Mine'))
    const spec = (commit: string) => ({ repository: { base: commit, from: 'HEAD', change: true } })
    const tasks = [
      taskView({ id: `${TASK_ID.slice(0, -1)}2`, spec: spec('0'.repeat(40)), createdAtMs: 9 }),
      taskView({ id: `${TASK_ID.slice(0, -1)}3`, createdAtMs: 8 }),
      taskView({ id: `${TASK_ID.slice(0, -1)}4`, spec: spec(base), createdAtMs: 7, depth: 1 }),
      taskView({ spec: spec(base), createdAtMs: 6 }),
      taskView({ id: `${TASK_ID.slice(0, -1)}5`, spec: spec(base), createdAtMs: 5 }),
    ]
    at.hub.on('GET /v1/tasks', () => ({ body: { tasks, next: null } }))
    const said = await at.run(['branch', 'log', '--repo', scene.dir])
    expect([said.code, said.stdout]).toEqual([0, expect.stringContaining('Mine')])
    expect(said.stderr).toContain('task 00000001 of echo, submitted')
    const asked = at.hub.asked.filter(({ path }) => /^\/v1\/tasks\/./.test(path)).map(({ path }) => path)
    expect(asked).toEqual([`/v1/tasks/${TASK_ID}`])
    at.hub.on('GET /v1/tasks', () => ({ body: { tasks: tasks.slice(0, 3), next: null } }))
    const none = await at.run(['branch', 'log', '--repo', scene.dir])
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('no task works on')])
  })

  it('says what is missing: a branch, a repository, the commit that was sent', async () => {
    at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView(), attempts: [] } }))
    expect((await branch('log')).stderr).toContain('works on no repository')
    const spec = { repository: { base: scene.head(), from: 'HEAD', change: true } }
    at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView({ state: 'failed', spec }), attempts: [] } }))
    expect((await branch('log')).stderr).toContain('is failed and has left no branch')
    returns((agent) => agent.commit({ a: '1' }))
    const other = gitScene()
    other.commit({ a: '1' })
    expect((await at.run(['branch', 'log', TASK_ID, '--repo', other.dir])).stderr).toContain('does not hold the commit')
    other.remove()
  })
})

/** A tree with an entry `.git`, which git itself never writes. */
function evilTree(agent: GitScene, blob: string): string {
  const entry = Buffer.concat([Buffer.from('100644 .git\0'), Buffer.from(blob, 'hex')])
  const file = join(mkdtempSync(join(tmpdir(), 'tree-')), 't')
  writeFileSync(file, entry)
  return agent.git('hash-object', '-w', '--literally', '-t', 'tree', file)
}

/** The bundle's head before a pack of two objects: 16 MiB of zeros, and a delta that copies them 80 times. */
function swollen(bytes: Buffer): Buffer {
  const number = (value: number, first: number, bits: number) => {
    const out = [first | (value % 2 ** bits)]
    for (let rest = Math.floor(value / 2 ** bits); rest > 0; rest = Math.floor(rest / 128)) {
      out[out.length - 1] = (out.at(-1) ?? 0) | 0x80
      out.push(rest % 128)
    }
    return Buffer.from(out)
  }
  const copied = 0xffffff
  const zeros = Buffer.alloc(copied)
  const copies = Buffer.concat(Array.from({ length: 80 }, () => Buffer.from([0xf0, 0xff, 0xff, 0xff])))
  const delta = Buffer.concat([number(copied, 0, 7), number(80 * copied, 0, 7), copies])
  const id = createHash('sha1').update(`blob ${copied}\0`).update(zeros).digest()
  const head = Buffer.from('PACK\0\0\0\x02\0\0\0\x02', 'latin1')
  const one = [number(copied, 0x30, 4), deflateSync(zeros)]
  const pack = Buffer.concat([head, ...one, number(delta.length, 0x70, 4), id, deflateSync(delta)])
  const end = createHash('sha1').update(pack).digest()
  return Buffer.concat([bytes.subarray(0, bytes.indexOf('\n\n') + 2), pack, end])
}
