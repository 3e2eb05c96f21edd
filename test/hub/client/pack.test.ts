import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { leftOutLines } from '../../../hub/client/left-out.ts'
import { secretLook } from '../../../hub/client/pack.ts'
import { type NamedArtifact, unpackArtifacts } from '../../../hub/client/unpack.ts'
import { checkManifest } from '../../../hub/protocol/folder.ts'
import { packFolder } from '../../support/packed-file.ts'

let room = ''
let dir = ''
beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), 'pk-'))
  dir = join(room, 'tree')
  mkdirSync(dir)
})
afterEach(() => rmSync(room, { recursive: true }))

const limits = { bytesMax: 1_000_000, filesMax: 1_000 }
const sha = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex')
const write = (path: string, content: string | Buffer = 'x', root = dir) => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), content)
}
const git = (...args: string[]) => execFileSync('git', ['-C', dir, ...args], { encoding: 'utf8' })
const paths = async () => {
  const packed = await packFolder(dir, limits)
  await packed.remove()
  return packed.manifest.files.map(({ path }) => path)
}
const bytesOf = async function* (bytes: Buffer) {
  for (let at = 0; at < bytes.length; at += 7) yield bytes.subarray(at, at + 7)
}

describe('packFolder', () => {
  test('says of each file how many it has read, of how many (fault C22)', async () => {
    for (const name of ['a', 'b', 'c']) write(name)
    const heard: [number, number][] = []
    await (await packFolder(dir, { ...limits, onFile: (...at) => heard.push(at) })).remove()
    expect(heard).toEqual([
      [0, 3],
      [1, 3],
      [2, 3],
    ])
  })

  test('gives every file back byte for byte, in order of bytes, for any tree (property)', async () => {
    const name = fc.string({
      unit: fc.constantFrom('a', 'B', '-', '.', 'é', '😀', ' ', '|'),
      minLength: 1,
      maxLength: 6,
    })
    const tree = fc.dictionary(
      fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.map((part) => `n${part}`).join('/')),
      fc.uint8Array({ maxLength: 300 }),
      { minKeys: 1, maxKeys: 12 },
    )
    await fc.assert(
      fc.asyncProperty(tree, async (files) => {
        rmSync(dir, { recursive: true })
        mkdirSync(dir)
        const written = new Map<string, Buffer>()
        for (const [path, content] of Object.entries(files)) {
          try {
            write(path, Buffer.from(content))
            written.set(path, Buffer.from(content))
          } catch {} // A file where another needs a directory.
        }
        const packed = await packFolder(dir, limits)
        const pack = readFileSync(packed.pack.file)
        expect(sha(pack)).toBe(packed.pack.sha256)
        expect(sha(packed.manifestBytes)).toBe(packed.manifestSha256)
        const { files: entries } = checkManifest(JSON.parse(packed.manifestBytes.toString()))
        expect(new Set(entries.map(({ path }) => path))).toEqual(new Set(written.keys()))
        for (const { path, offset, size, sha256 } of entries) {
          expect(pack.subarray(offset, offset + size).equals(written.get(path) ?? Buffer.from('?'))).toBe(true)
          expect(sha256).toBe(sha(written.get(path) ?? ''))
        }
        await packed.remove()
      }),
      { numRuns: 60 },
    )
  })

  test('takes exactly what git knows in a work tree: tracked and new, not ignored', async () => {
    git('init', '-q')
    write('.gitignore', 'out/\n*.log\n')
    for (const path of ['a.ts', 'sub/b.ts', 'out/c.js', 'd.log', 'sub/new.txt']) write(path)
    git('add', 'a.ts', 'sub/b.ts')
    const truth = git('ls-files', '--cached', '--others', '--exclude-standard').trim().split('\n').sort()
    expect(truth).toEqual(['.gitignore', 'a.ts', 'sub/b.ts', 'sub/new.txt'])
    expect((await paths()).sort()).toEqual(truth)
  })

  test('walks like git where there is no work tree: nested .gitignore, negation, anchors (compared with git itself)', async () => {
    write('.gitignore', '*.log\n/top\nbuild/\n!keep.log\n')
    write('sub/.gitignore', '!deep.log\nsecret*\n')
    const all = [
      'a.ts',
      'x.log',
      'keep.log',
      'top',
      'sub/top',
      'build/o.js',
      'sub/build/o.js',
      'sub/deep.log',
      'sub/y.log',
    ]
    for (const path of [...all, 'sub/secrets', 'sub/more/secret.txt', 'secret.txt']) write(path)
    const walked = (await paths()).sort()
    git('init', '-q')
    const truth = git('ls-files', '--others', '--exclude-standard').trim().split('\n').sort()
    expect(walked).toEqual(truth)
  })

  test('runs no program that a hostile work tree names in its configuration', async () => {
    git('init', '-q')
    write('a.ts')
    const mark = join(room, 'ran')
    write('../hook.sh', `#!/bin/sh\ntouch ${mark}\n`)
    chmodSync(join(room, 'hook.sh'), 0o755)
    git('config', 'core.fsmonitor', join(room, 'hook.sh'))
    expect(await paths()).toEqual(['a.ts'])
    expect(readdirSync(room)).not.toContain('ran')
  })

  test('leaves out links, pipes and odd names, each with a note', async () => {
    write('a.ts')
    symlinkSync('/etc/passwd', join(dir, 'link'))
    symlinkSync('/etc', join(dir, 'linked'))
    execFileSync('mkfifo', [join(dir, 'pipe')])
    write('new\nline')
    writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0x62, 0xff])]), 'x')
    const packed = await packFolder(dir, limits)
    await packed.remove()
    expect(packed.manifest.files.map(({ path }) => path)).toEqual(['a.ts'])
    const notes = leftOutLines(packed.left).join('\n')
    for (const text of [
      'link, linked: left out, they are symbolic links',
      'pipe: left out, it is not a regular file',
    ]) {
      expect(notes).toContain(text)
    }
    expect(notes).toContain('"new\\nline": left out, its name holds a control character')
    expect(notes).toContain('not valid UTF-8')
  })

  test('fault C19: says of .git, nested repositories, submodules and what a .gitignore excludes that they are left out, and why', async () => {
    git('init', '-q')
    write('.gitignore', 'out/\n*.log\n')
    for (const each of ['a.ts', 'out/b.js', 'c.log', 'nested/x.ts', 'module/y.ts']) write(each)
    const inner = (at: string, ...args: string[]) => execFileSync('git', ['-C', join(dir, at), ...args])
    const author = ['-c', 'user.name=n', '-c', 'user.email=n@x', 'commit', '-qm', 'm', '--allow-empty']
    inner('nested', 'init', '-q')
    inner('module', 'init', '-q')
    inner('module', ...author)
    git('add', 'a.ts', 'module')
    git('update-index', '--add', '--cacheinfo', `160000,${inner('module', 'rev-parse', 'HEAD').toString().trim()},bare`)
    mkdirSync(join(dir, 'bare'))
    const packed = await packFolder(dir, { ...limits, ignored: true })
    await packed.remove()
    expect(packed.manifest.files.map(({ path }) => path)).toEqual(['.gitignore', 'a.ts'])
    expect(leftOutLines(packed.left)).toEqual([
      '.git: left out, its history stays here: an agent gets only files',
      'nested/, module: left out, they are separate git repositories (submodules or nested ones); to send one, submit it separately',
      'c.log, out/: left out, a .gitignore excludes them',
      'bare: left out, it is a submodule that is not checked out here; `git submodule update --init` fetches it',
    ])
    rmSync(join(dir, '.git'), { recursive: true })
    rmSync(join(dir, 'module'), { recursive: true })
    const walked = await packFolder(dir, { ...limits, ignored: true })
    await walked.remove()
    expect(leftOutLines(walked.left).sort()).toEqual([
      'c.log, out/: left out, a .gitignore excludes them',
      'nested/.git: left out, its history stays here: an agent gets only files',
    ])
  })

  test('fault C19: five thousand files that a sparse checkout lacks are one line', async () => {
    git('init', '-q')
    write('a.ts')
    const blob = execFileSync('git', ['-C', dir, 'hash-object', '-w', 'a.ts'], { encoding: 'utf8' }).trim()
    const input = Array.from({ length: 5000 }, (_, at) => `100644 ${blob}\tdeep/f${at}\n`).join('')
    execFileSync('git', ['-C', dir, 'update-index', '--index-info'], { input })
    const packed = await packFolder(dir, { ...limits, filesMax: 10_000 })
    await packed.remove()
    expect(packed.left).toHaveLength(5001)
    expect(leftOutLines(packed.left).slice(1)).toEqual([
      'deep/f0, deep/f1, deep/f10 and 4997 more: left out, git tracks them, but they are not here (a sparse checkout, or deleted)',
    ])
  })

  test('fault C19: names what looks like a secret, and whether git keeps it', async () => {
    git('init', '-q')
    const key = '-----BEGIN OPENSSH PRIVATE KEY-----\nx\n'
    const all = {
      '.env': 'A=1',
      '.env.example': 'A=',
      'kept/.env': 'A=1',
      'deploy.txt': key,
      'source.ts': `const k = '${key}'`,
    }
    for (const [at, content] of Object.entries(all)) write(at, content)
    git('add', 'kept/.env')
    const packed = await packFolder(dir, limits)
    await packed.remove()
    expect(packed.secrets).toEqual([
      { path: '.env', why: 'by its name', tracked: false },
      { path: 'deploy.txt', why: 'it holds a private key', tracked: false },
      { path: 'kept/.env', why: 'by its name', tracked: true },
    ])
  })

  test('refuses what is missing, no directory, empty, or over a limit, by name, and leaves nothing behind', async () => {
    const tmp = join(room, 'tmp')
    mkdirSync(tmp)
    const pack = (at: string, given = {}) => packFolder(at, { ...limits, tmpDir: tmp, ...given })
    await expect(pack(join(room, 'none'))).rejects.toMatchObject({
      code: 'schema_invalid',
      message: expect.stringContaining('ENOENT'),
    })
    await expect(pack(dir)).rejects.toThrow('holds no files')
    write('a', 'x'.repeat(600))
    write('b', 'x'.repeat(600))
    await expect(pack(join(dir, 'a'))).rejects.toMatchObject({ code: 'schema_invalid' })
    await expect(pack(dir, { bytesMax: 1_000 })).rejects.toMatchObject({
      code: 'limit_exceeded',
      message: expect.stringContaining('1000 bytes (reached at b)'),
    })
    await expect(pack(dir, { filesMax: 1 })).rejects.toMatchObject({ code: 'limit_exceeded' })
    expect(readdirSync(tmp)).toEqual([])
  })

  test.skipIf(process.getuid?.() === 0)('names a file that cannot be read', async () => {
    write('locked')
    chmodSync(join(dir, 'locked'), 0)
    await expect(packFolder(dir, limits)).rejects.toThrow('cannot read locked: EACCES')
  })

  test('keeps the mode bits, setuid too', async () => {
    write('run.sh')
    chmodSync(join(dir, 'run.sh'), 0o4755)
    const packed = await packFolder(dir, limits)
    await packed.remove()
    expect(packed.manifest.files[0]?.mode).toBe(0o4755)
  })
})

describe('secretLook', () => {
  const none = Buffer.alloc(0)
  test.each([
    ['.env', true],
    ['a/.env.local', true],
    ['prod.ENV', true],
    ['.env.example', false],
    ['.environment', false],
    ['.ssh/id_ed25519', true],
    ['.ssh/id_ed25519.pub', false],
    ['tls/server.key', true],
    ['keyboard.ts', false],
    ['.docker/config.json', true],
    ['src/config.json', false],
    ['credentials.json', true],
    ['credentials.ts', false],
    ['.npmrc', false],
    ['terraform.tfstate', true],
    ['secrets.yaml', true],
    ['secrets.md', false],
    ['.git-credentials', true],
  ])('fault C19: %s by its name: %s', (name, isSecret) => {
    expect(secretLook(name, none) !== undefined).toBe(isSecret)
  })

  test.each([
    ['cert.pem', '-----BEGIN CERTIFICATE-----\n', undefined],
    ['cert.pem', 'subject=x\n-----BEGIN RSA PRIVATE KEY-----\n', 'it holds a private key'],
    ['notes', ' \n-----BEGIN PRIVATE KEY-----\n', 'it holds a private key'],
    ['notes', 'a key begins with -----BEGIN PRIVATE KEY-----', undefined],
    ['.npmrc', '//r/:_authToken=abc', 'it holds a token'],
    ['.npmrc', 'fund=false', undefined],
  ])('fault C19: %s with %j: %s', (name, start, why) => {
    expect(secretLook(name, Buffer.from(start))).toBe(why)
  })
})

describe('unpackArtifacts', () => {
  const of = (name: string, bytes = 'hello'): NamedArtifact => ({ name, sha256: sha(bytes), size: bytes.length })
  const fetch = () => bytesOf(Buffer.from('hello'))

  test('writes each artifact by its name, whole', async () => {
    const out = join(room, 'out')
    const heard: [number, number][] = []
    const hears = (...at: [number, number]) => heard.push(at)
    expect((await unpackArtifacts(out, [of('report.md'), of('deep/er/x.json')], fetch, hears)).written).toEqual([
      'report.md',
      'deep/er/x.json',
    ])
    expect(heard).toEqual([
      [0, 2],
      [1, 2],
    ])
    expect(readFileSync(join(out, 'deep/er/x.json'), 'utf8')).toBe('hello')
    await unpackArtifacts(out, [of('report.md')], fetch)
    expect(readdirSync(out).sort()).toEqual(['deep', 'report.md'])
  })

  test('fault F17: leaves out every name that leads out or cannot be, and writes the others (T69)', async () => {
    const bad = [
      '../x',
      '/etc/x',
      'a/../../x',
      '..',
      '.',
      './a',
      'a//b',
      'a/',
      '',
      'a\0b',
      'a\nb',
      `${'n'.repeat(256)}`,
      '\ud800',
    ]
    for (const name of bad) {
      const out = join(room, 'never')
      const { written, left } = await unpackArtifacts(out, [of(name), of('good')], fetch)
      // It alone is left out, by name (fault F17), and nothing is written outside.
      expect([written, left], name).toEqual([['good'], [{ name, why: expect.stringMatching(/^its name /) }]])
      expect([readdirSync(out), readdirSync(room).filter((each) => each !== 'tree')], name).toEqual([
        ['good'],
        ['never'],
      ])
      rmSync(out, { recursive: true })
    }
  })

  test('follows no link: one in the way is refused, one at the end is replaced (T69)', async () => {
    const out = join(room, 'out')
    mkdirSync(out)
    write('victim', 'untouched', room)
    symlinkSync(room, join(out, 'sub'))
    await expect(unpackArtifacts(out, [of('sub/victim')], fetch)).rejects.toMatchObject({ code: 'conflict' })
    symlinkSync(join(room, 'victim'), join(out, 'end'))
    await unpackArtifacts(out, [of('end')], fetch)
    expect(readFileSync(join(room, 'victim'), 'utf8')).toBe('untouched')
    expect(readFileSync(join(out, 'end'), 'utf8')).toBe('hello')
  })

  test('keeps nothing of bytes that are not what their digest says', async () => {
    const out = join(room, 'out')
    for (const content of ['hellO', 'hello!', 'hell']) {
      await expect(unpackArtifacts(out, [of('x')], () => bytesOf(Buffer.from(content)))).rejects.toMatchObject({
        code: 'conflict',
      })
    }
    expect(readdirSync(out)).toEqual([])
  })
})
