/** What a hostile repository may say in its own configuration, by the real git: nothing of it runs on the operator's machine (S4-9). */
import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findRepository, openWorkTree } from '../../../../hub/client/repository/git.ts'
import { type GitScene, gitScene } from '../../../support/git-scene.ts'

let scene: GitScene
let room: string
let trap: string
beforeEach(() => {
  scene = gitScene()
  scene.commit({ 'read.me': 'one\n' })
  room = mkdtempSync(join(tmpdir(), 'trap-'))
  trap = join(room, 'trapped')
})
afterEach(() => {
  scene.remove()
  rmSync(room, { recursive: true })
})

const config = (rows: Record<string, string>) => {
  for (const [key, value] of Object.entries(rows)) scene.git('config', key, value)
}
/** A filter whose name is these bytes; the work tree holds a change that it would be called for. */
function filterOf(name: Buffer): void {
  scene.write('.gitattributes', Buffer.concat([Buffer.from('* filter='), name, Buffer.from('\n')]))
  scene.commit({})
  const section = Buffer.concat([Buffer.from('[filter "'), name, Buffer.from(`"]\nclean = "touch ${trap}; cat"\n`)])
  appendFileSync(join(scene.dir, '.git/config'), section)
  scene.write('read.me', 'two\n')
}
/** Two branches that need a merge commit; HEAD is on `ours`. */
function diverged(): void {
  scene.git('branch', 'ours')
  scene.commit({ theirs: '1' })
  scene.git('switch', '--quiet', 'ours')
  scene.commit({ ours: '1' })
  config({ 'user.name': 'x', 'user.email': 'x@example.org' })
}
/** A tree is missing, and the repository says that a remote has it. */
function partial(remote: Record<string, string>): void {
  const tree = scene.git('rev-parse', 'HEAD^{tree}')
  config({
    'core.repositoryFormatVersion': '1',
    'extensions.partialClone': 'o',
    'remote.o.promisor': 'true',
    ...remote,
  })
  rmSync(join(scene.dir, '.git/objects', tree.slice(0, 2), tree.slice(2)))
}
/** `main` wants another commit of the submodule than the one that is checked out, whose own configuration is hostile. */
function submodule(): void {
  const other = gitScene()
  other.commit({ '.gitattributes': '* filter=evil\n', file: '1' })
  scene.git('submodule', '--quiet', 'add', other.dir, 'sub')
  scene.commit({})
  scene.git('branch', 'ours')
  const sub = join(scene.dir, 'sub')
  writeFileSync(join(sub, 'file'), '2')
  scene.git('-C', sub, 'commit', '--quiet', '--all', '-m', 'x')
  scene.commit({})
  scene.git('switch', '--quiet', 'ours')
  scene.git('-C', sub, 'checkout', '--quiet', 'HEAD~')
  scene.git('-C', sub, 'config', 'filter.evil.smudge', `touch ${trap}; cat`)
  config({ 'submodule.recurse': 'true' })
  other.remove()
}

const STATUS = ['status', '--porcelain', '--ignore-submodules=all']
const MERGE = ['merge', '--no-edit', '-m', 'x', 'main']
const hostile: [string, () => void, string[]][] = [
  ['a filter whose name holds a line separator of Unicode', () => filterOf(Buffer.from('a\u2028b')), STATUS],
  ['a filter whose name is not UTF-8', () => filterOf(Buffer.from([0x61, 0xff])), STATUS],
  [
    'a path that becomes a program by its configuration',
    () => config({ [`url.ext::touch ${trap} .insteadOf`]: '/', 'protocol.ext.allow': 'always' }),
    ['fetch', '/nowhere', 'main'],
  ],
  [
    'a partial clone whose remote is a program',
    () => partial({ 'remote.o.url': 'ssh://example.org/x', 'core.sshCommand': `touch ${trap};` }),
    STATUS,
  ],
  [
    'a partial clone whose remote is a path',
    () => partial({ 'remote.o.url': '/nowhere', 'remote.o.uploadpack': `touch ${trap};` }),
    STATUS,
  ],
  [
    'a key for signatures that a program tells',
    () => {
      diverged()
      config({ 'commit.gpgSign': 'true', 'gpg.format': 'ssh', 'gpg.ssh.defaultKeyCommand': `touch ${trap}` })
    },
    MERGE,
  ],
  ['a submodule with a configuration of its own', submodule, ['switch', '--quiet', 'main']],
]

describe('a hostile repository', () => {
  test.each(hostile)('runs no program by %s (S4-9)', async (_what, prepare, args) => {
    prepare()
    const tree = openWorkTree(await findRepository(scene.dir, '--repo'))
    await tree.then(
      ({ git }) => git(args),
      (thrown: Error) => expect(thrown.message).toContain('is not UTF-8'),
    )
    expect(existsSync(trap)).toBe(false)
  })
})
