import { describe, expect, it } from 'vitest'
import { riskyOf } from '../../../../hub/client/repository/risky.ts'

const found = async (path: string, base?: string, branch = 'x', mode = '100644') =>
  (await riskyOf([{ path, mode }], async (asked) => asked.map(({ side }) => (side === 'base' ? base : branch)))).map(
    ({ what }) => what,
  )
const pack = (more: object) => JSON.stringify({ name: 'x', version: '1.0.0', ...more })

describe('what acts by itself where a branch is taken (S4-9)', () => {
  it.each([
    ['.github/workflows/ci.yml', 'runs at the forge'],
    ['.GitLab-CI.yml', 'runs at the forge'],
    ['.husky/pre-commit', 'runs when you commit'],
    ['sub/Makefile', 'runs when you build'],
    ['app/build.gradle.kts', 'runs when you build or test'],
    ['.cargo/config.toml', 'runs when you build or test'],
    ['shell.nix', 'runs when you build or test'],
    ['conftest.py', 'runs when you build or test'],
    ['Dockerfile.dev', 'runs when you build or start it'],
    ['.devcontainer/devcontainer.json', 'runs when an editor opens the folder'],
    ['.envrc', 'runs when you enter the folder'],
    ['.vscode/tasks.json', 'is read by your editor or debugger'],
    ['sub/.gdbinit', 'is read by your editor or debugger'],
    ['.claude/settings.json', 'is obeyed by your own agents'],
    ['docs/AGENTS.md', 'is obeyed by your own agents'],
    ['.aider.conf.yml', 'is obeyed by your own agents'],
    ['.npmrc', 'changes what your installer does'],
    ['requirements-dev.txt', 'names what your installer fetches'],
    ['Cargo.toml', 'names what your installer fetches'],
    ['.gitattributes', 'changes what git itself does'],
  ])('%s: %s', async (path, what) => {
    expect(await found(path)).toEqual([what])
    expect(await found(path, 'x', 'y', '000000')).toEqual([])
  })

  it.each([
    'src/main.ts',
    'README.md',
    'my-makefile.txt',
    'builder.py',
    'package-lock.json',
    'workspaces.md',
    'src/build/x.ts',
  ])('%s is an ordinary file', async (path) => expect(await found(path)).toEqual([]))

  it('a package.json counts where its scripts or what it fetches differ, and where it cannot be read', async () => {
    expect(await found('package.json', pack({}), pack({ version: '2.0.0' }))).toEqual([])
    expect(await found('package.json', pack({}), pack({ scripts: { test: 'x' } }))).toEqual([
      'its scripts run when you install, build or test',
    ])
    expect(await found('a/package.json', pack({}), pack({ dependencies: { y: '1' } }))).toEqual([
      'names what your installer fetches',
    ])
    expect(await found('package.json', undefined, pack({}))).toEqual([])
    expect(await found('package.json', pack({}), '{')).toHaveLength(1)
  })

  it.each([
    ['link', '/etc/passwd', 1],
    ['a/link', '../../x', 1],
    ['a/link', '../b', 0],
    ['a/b/link', '../../c/../d', 0],
  ])('a link %s to %s leads out: %i', async (path, target, count) => {
    expect(await found(path, undefined, target, '120000')).toHaveLength(count)
  })
})
