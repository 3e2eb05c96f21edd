/** A repository in, a branch out: the shim with the real git, against the stand-in of the entrance (S4-9). */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { JoinAnswer } from '../../hub/client/agent/contract.ts'
import { bundleRepository } from '../../hub/client/repository/bundle.ts'
import { BUNDLE_NAME } from '../../hub/protocol/task-spec.ts'
import { openRepository } from '../../images/agent/repository.ts'
import { ANY_SIZE, type GitScene, gitScene } from '../support/git-scene.ts'
import { createShimBench } from '../support/shim-process.ts'

let bench: ReturnType<typeof createShimBench>
let scene: GitScene
beforeEach(() => {
  bench = createShimBench()
  scene = gitScene()
  scene.commit({ 'read.me': 'one\n', 'src/sum.txt': '1 + 1 = 3\n' })
})
afterEach(async () => {
  await bench.close()
  scene.remove()
})

/** The bundle that `hub submit --repo` makes of the scene. */
async function bundled(spoil = (bytes: Buffer) => bytes) {
  const room = mkdtempSync(join(tmpdir(), 'bundle-'))
  const file = join(room, BUNDLE_NAME)
  const { base } = await bundleRepository(scene.dir, 'HEAD', join(room, 'mirror'), file, ANY_SIZE)
  return { base, bundle: spoil(readFileSync(file)).toString('latin1') }
}

async function run(
  text: string,
  { change = true, spoil = (bytes: Buffer) => bytes, base = '', driver = 'command', tooLarge = /^$/ } = {},
) {
  const made = await bundled(spoil)
  const inputs = await bench.inputs({ [BUNDLE_NAME]: Buffer.from(made.bundle, 'latin1') })
  const spec = { repository: { base: base || made.base, from: 'HEAD', change } }
  const line = driver === 'command' ? bench.shell(text) : bench.python(text)
  const ran = await bench.start({
    program: { driver: driver as 'command', run: line },
    task: { inputs, spec },
    tooLarge,
  })
  return { ...ran, result: await ran.session.result, branch: `hub/${ran.session.session}` }
}
/** What came back, fetched into the scene: the files of the branch, and its commits. */
function fetched({ artifact, session, branch }: Awaited<ReturnType<typeof run>>) {
  const digest = session.artifactNames.get(`${session.session}.bundle`)
  if (digest === undefined) throw new Error('no bundle came back')
  const file = join(mkdtempSync(join(tmpdir(), 'back-')), 'b.bundle')
  writeFileSync(file, bench.entrance.blobs.get(digest) ?? '')
  scene.git('fetch', '--quiet', file, `${branch}:${branch}`)
  return {
    show: (name: string) => scene.git('show', `${branch}:${name}`),
    subjects: scene.git('log', '--format=%s', `main..${branch}`).split('\n'),
    patch: artifact(`${session.session}.patch`),
  }
}

describe('a repository', () => {
  test('is the place where the program begins; its commits come back as a bundle and a patch (S4-9)', async () => {
    const ran = await run(
      'pwd; git branch --show-current; sed -i "s/3/2/" src/sum.txt && git commit -qam "Mend the sum" && git log -1 --format="%an %ae"',
    )
    expect(ran.result).toMatchObject({ outcome: 'succeeded', value: { exitCode: 0 } })
    const [folder, branch, who] = String((ran.result.value as { stdout: string }).stdout).split('\n')
    expect([folder, branch]).toEqual([join(ran.workspace, 'repo'), ran.branch])
    expect(who).toBe(`agent ${ran.session.agent} ${ran.session.agent}@hub.invalid`)
    const back = fetched(ran)
    expect(back.subjects).toEqual(['Mend the sum'])
    expect(back.show('src/sum.txt')).toBe('1 + 1 = 2')
    expect(back.patch).toContain('+1 + 1 = 2')
  })

  test.each([
    ['fails', 'echo new > new.txt; exit 3', 'failed'],
    [
      'leaves a lock and a merge half done',
      'echo new > new.txt; touch .git/index.lock; echo x > .git/MERGE_HEAD',
      'succeeded',
    ],
    [
      'works on a branch of its own',
      'git switch -qc mine; echo new > new.txt; git add .; git commit -qm Mine',
      'succeeded',
    ],
  ])('of a program that %s comes back all the same, with what it did not commit', async (_what, text, outcome) => {
    const ran = await run(text)
    expect(ran.result.outcome).toBe(outcome)
    expect(fetched(ran).show('new.txt')).toBe('new')
  })

  test('comes back although git cannot take all that lies in it, and the result says what is lost', async () => {
    const ran = await run('echo 1 > a.txt; git add .; git commit -qm Mine; git init -q nested; echo 2 > z.txt')
    expect(ran.result.error).toMatch(/not all .* could be committed: .*nested/)
    expect([fetched(ran).show('a.txt'), fetched(ran).show('z.txt')]).toEqual(['1', '2'])
  })

  test('that names its objects by sha256 comes back as one', async () => {
    scene.remove()
    scene = gitScene('sha256')
    scene.commit({ 'read.me': 'one\n' })
    const ran = await run('echo new > new.txt')
    expect(ran.result.outcome).toBe('succeeded')
    expect(fetched(ran).show('new.txt')).toBe('new')
  })

  test('of a program that crashes comes back too', async () => {
    const ran = await bench.start({
      program: { driver: 'json-lines', run: bench.shell('echo new > new.txt; kill -9 $$') },
      task: await (async () => {
        const { base, bundle } = await bundled()
        const inputs = await bench.inputs({ [BUNDLE_NAME]: Buffer.from(bundle, 'latin1') })
        return { inputs, spec: { repository: { base, from: 'HEAD', change: true } } }
      })(),
    })
    expect(await ran.exit).toBe(1)
    expect([...ran.session.artifactNames.keys()].sort()).toEqual([
      `${ran.session.session}.bundle`,
      `${ran.session.session}.patch`,
    ])
  })

  test('that is as it was where a change was asked for is no success: nothing_done (S4-36)', async () => {
    const nothing = await run('true')
    expect(nothing.result).toMatchObject({ outcome: 'failed', code: 'nothing_done' })
    const reader = await run('true', { change: false })
    expect([reader.result.outcome, reader.result.code]).toEqual(['succeeded', undefined])
    const failed = await run('exit 1')
    expect([failed.result.outcome, failed.result.code]).toEqual(['failed', undefined])
  })

  test.each([
    [
      'is cut',
      { spoil: (bytes: Buffer) => bytes.subarray(0, bytes.length - 40) },
      /could not be opened: git fetch failed/,
    ],
    ['is none', { spoil: () => Buffer.from('no bundle\n') }, /could not be opened: git fetch failed/],
    ['holds another commit', { base: '0'.repeat(40) }, /the bundle holds commit/],
  ])('whose bundle %s starts no program', async (_what, options, says) => {
    const ran = await run('touch started', options)
    expect(ran.result).toMatchObject({ outcome: 'failed', error: expect.stringMatching(says) })
  })

  test.each([
    ['removed .git', 'rm -rf .git', /removed \/workspace\/repo\/.git/],
    [
      'began a history of its own',
      'git checkout -q --orphan other; git commit -qm Other',
      /does not stand on the commit/,
    ],
  ])('of an agent that %s does not come back, and the result says so', async (_what, text, says) => {
    const ran = await run(text)
    expect(ran.result).toMatchObject({ outcome: 'failed', code: 'branch_lost' })
    expect(ran.result.error).toMatch(says)
    expect(ran.session.artifactNames.size).toBe(0)
  })

  test('whose branch is larger than an artifact may be is no success: its task fails as branch_lost, and its patch and files come all the same (S4-9)', async () => {
    const text = 'echo new > new.txt; echo note > ../out/note.txt'
    const ran = await run(text, { tooLarge: /\.bundle$/ })
    expect(ran.result).toMatchObject({ outcome: 'failed', code: 'branch_lost', value: { exitCode: 0 } })
    expect(ran.result.error).toMatch(new RegExp(`not stored as outputs: "${ran.session.session}\\.bundle": `))
    expect([...ran.session.artifactNames.keys()].sort()).toEqual(['note.txt', `${ran.session.session}.patch`])
    // One that was asked for no change has lost nothing that it was asked for.
    expect((await run(text, { tooLarge: /\.bundle$/, change: false })).result).toMatchObject({
      ...{ outcome: 'succeeded', error: expect.stringContaining('.bundle') },
    })
  })

  test('with submodules, LFS pointers, hooks, attributes that run filters and odd names goes in and comes back, and nothing of it runs', async () => {
    const trap = join(bench.dir, 'trapped')
    const odd = ['-rf', 'a\nb', '"q" $(x)', 'é \u202e', Buffer.from([0x61, 0xff]).toString('latin1')]
    scene.git('update-index', '--add', '--cacheinfo', `160000,${scene.head()},vendor/lib`)
    scene.write('.gitmodules', `[submodule "lib"]\n\tpath = vendor/lib\n\turl = ext::touch ${trap}\n`)
    scene.write('.gitattributes', '*.bin filter=lfs diff=lfs merge=lfs\n*.txt filter=evil\n')
    scene.write('big.bin', 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n')
    scene.write('.githooks/post-checkout', `#!/bin/sh\ntouch ${trap}\n`, 0o755)
    scene.git('config', 'core.hooksPath', '.githooks')
    scene.git('config', 'filter.evil.smudge', `touch ${trap}; cat`)
    for (const name of odd) scene.write(name, 'odd\n')
    scene.git('add', '--all', '--', '.', ':!vendor')
    scene.git('commit', '--quiet', '-m', 'Odd')
    const ran = await run('cat big.bin; for f in ./*; do [ -f "$f" ] && echo x >> "$f"; done; true')
    expect(ran.result).toMatchObject({ outcome: 'succeeded' })
    expect(String((ran.result.value as { stdout: string }).stdout)).toContain('version https://git-lfs')
    const back = fetched(ran)
    for (const name of odd) expect(back.show(name)).toBe('odd\nx')
    expect(scene.git('ls-tree', ran.branch, 'vendor/lib')).toMatch(/^160000 commit /)
    expect(existsSync(trap)).toBe(false)
  })

  test('needs git in the image', async () => {
    const made = await bundled()
    const inputs = await bench.inputs({ [BUNDLE_NAME]: Buffer.from(made.bundle, 'latin1') })
    const spec = { repository: { base: made.base, from: 'HEAD', change: true } }
    const ran = await bench.start(
      { program: { driver: 'command', run: ['/bin/true'] }, task: { inputs, spec } },
      { PATH: '/nonexistent' },
    )
    expect((await ran.session.result).error).toContain('has no git: write `tools: [git]`')
  })

  test('is saved while the agent is at work, twice at once, and nothing that the agent sees of it changes', async () => {
    const workspace = mkdtempSync(join(tmpdir(), 'at-work-'))
    mkdirSync(join(workspace, 'out'))
    const bundle = join(workspace, BUNDLE_NAME)
    const { base } = await bundleRepository(scene.dir, 'HEAD', join(workspace, 'mirror'), bundle, ANY_SIZE)
    const joined = { session: 'saaaaaaaaaaaaaaa', agent: 'coder' } as JoinAnswer
    const place = { bundle, workspace, home: workspace }
    const { folder, save } = await openRepository({ joined }, { base, from: 'HEAD', change: true }, place)
    writeFileSync(join(folder, 'read.me'), 'half done\n')
    writeFileSync(join(folder, 'new.txt'), 'new\n')
    const seen = () =>
      [['status', '--porcelain'], ['show-ref'], ['symbolic-ref', 'HEAD'], ['rev-parse', 'HEAD']].map((args) =>
        scene.git('-C', folder, ...args),
      )
    const before = seen()
    expect(await Promise.all([save(), save()])).toEqual([{ commits: 1 }, { commits: 1 }])
    expect(seen()).toEqual(before)
    scene.git('fetch', '--quiet', join(workspace, 'out', `${joined.session}.bundle`), `hub/${joined.session}:kept`)
    expect(scene.git('show', 'kept:read.me')).toBe('half done')
  })

  test('is saved with what was changed since it was cloned or saved, whatever the agent told git of it', async () => {
    const workspace = mkdtempSync(join(tmpdir(), 'at-work-'))
    mkdirSync(join(workspace, 'out'))
    const bundle = join(workspace, BUNDLE_NAME)
    const { base } = await bundleRepository(scene.dir, 'HEAD', join(workspace, 'mirror'), bundle, ANY_SIZE)
    const joined = { session: 'saaaaaaaaaaaaaaa', agent: 'coder' } as JoinAnswer
    const place = { bundle, workspace, home: workspace }
    const { folder, save } = await openRepository({ joined }, { base, from: 'HEAD', change: true }, place)
    scene.git('-C', folder, 'config', 'core.ignoreStat', 'true')
    // Of the same size, and changed in the same second: git has to look into the file.
    for (const text of ['1 + 1 = 2\n', '1 + 1 = 4\n', '1 + 1 = 3\n', '2 + 2 = 4\n']) {
      writeFileSync(join(folder, 'src/sum.txt'), text)
      // The third is what was sent: nothing was changed.
      expect(await save()).toEqual({ commits: text === '1 + 1 = 3\n' ? 0 : 1 })
      scene.git('fetch', '--quiet', join(workspace, 'out', `${joined.session}.bundle`), `+hub/${joined.session}:kept`)
      if (text !== '1 + 1 = 3\n') expect(scene.git('show', 'kept:src/sum.txt')).toBe(text.trim())
    }
    writeFileSync(join(folder, '.git/hub-index'), 'no index')
    expect(await save()).toEqual({ commits: 1 })
  })
})
