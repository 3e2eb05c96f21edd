/**
 * Agents in images that are not ours, on the real engine: one laid out like Debian (links in the place of /bin and /lib, an ENV, a /app of its own), and
 * one with a single file and nothing to run. Then what the page of images says of the base coding: what it holds, and what does not work in it.
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FIRST_USER } from '../../hub/work/sandbox/users.ts'
import { assembleImages } from '../../scripts/images/assembly.ts'
import { withImageFrom } from '../../scripts/images/from-image.ts'
import { loadFrom } from '../../scripts/images/from-load.ts'
import { createEngineCalls, createImageEngine } from '../../scripts/images/loading.ts'
import { librariesOf } from '../../scripts/images/machine.ts'
import { fileData, type TarEntry, tarOf } from '../../scripts/images/tar.ts'
import { type ContainerHome, openContainerHome, resultOf } from '../support/container-home.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { load } from '../support/spy-image.ts'
import { tinyProgram } from '../support/tiny-program.ts'

const checkout = resolve(import.meta.dirname, '../..')
const cacheDir = join(checkout, '.cache/images')
const options = { socketPath: ENGINE_SOCKET, deadlineMs: 60_000, loadDeadlineMs: 300_000 }
const engine = createImageEngine(options)
const calls = createEngineCalls(options)

const text = (path: string, data: string, mode = 0o644): TarEntry => ({
  path,
  kind: 'file',
  mode,
  data: Buffer.from(data),
})
const program = (path: string, says: Parameters<typeof tinyProgram>[0]): TarEntry => ({
  ...{ path, kind: 'file', mode: 0o755 },
  data: tinyProgram(says),
})
const link = (path: string, target: string): TarEntry => ({ path, kind: 'link', mode: 0o777, target })

/** A root file system as Debian lays it out, out of this machine's own files. */
function debianLike(): TarEntry[] {
  const programs = ['bash', 'env', 'id', 'cat', 'ls'].map((name) => realpathSync(`/usr/bin/${name}`))
  const libraries = new Set(programs.flatMap(librariesOf))
  const file = (path: string, from: string): TarEntry => ({
    path,
    kind: 'file',
    mode: 0o755,
    data: fileData(realpathSync(from)),
  })
  return [
    ...['bin', 'lib', 'lib64'].map((name) => link(name, `usr/${name}`)),
    ...programs.map((from) => file(`usr/bin/${basename(from)}`, from)),
    ...[...libraries].map((path) => file(path.replace(/^\/(?=lib)/, 'usr/'), path)),
    link('usr/bin/sh', 'bash'),
    text('usr/local/bin/node', '#!/bin/sh\necho the node of the image\n', 0o755),
    text('etc/passwd', 'root:x:0:0:root:/root:/bin/bash\nown:x:1000:1000::/home/own:/bin/bash\n'),
    text('app/package.json', '{"name":"own","type":"commonjs"}'),
    text('app/main.cjs', 'console.log("the program of the image")'),
    text('root/closed', 'only root reads this', 0o600),
    text('data/there', 'in a volume'),
  ]
}

async function importImage(name: string, entries: readonly TarEntry[], changes: readonly string[]): Promise<void> {
  const asked = new URLSearchParams({ fromSrc: '-', repo: name, tag: '1' })
  for (const each of changes) asked.append('changes', each)
  const body = { type: 'application/x-tar' as const, bytes: tarOf(entries) }
  const { status, text: said } = await calls.tell('POST', `/images/create?${asked}`, { deadlineMs: 60_000, body })
  if (status !== 200 || said.includes('"error"')) throw new Error(`${status}: ${said}`)
}

let tree = ''
/** A tree laid out like this repository, with the folder of one agent. */
function folderOf(name: string, files: Record<string, string>): string {
  const folder = `agents/${name}`
  mkdirSync(join(tree, folder), { recursive: true })
  for (const [file, data] of Object.entries(files)) writeFileSync(join(tree, folder, file), data)
  return folder
}
const build = (name: string, from: string, whole: boolean, files: Record<string, string> = {}) => {
  const reference = `hub-test/${name}:latest`
  const folder = folderOf(name, files)
  return withImageFrom(
    { root: tree, cacheDir, folder, reference, from, firstUser: FIRST_USER },
    engine,
    calls,
    (made) => loadFrom(made, engine, calls, { whole, say: () => undefined }).then((loaded) => ({ ...loaded, ...made })),
  )
}
const cardOf = (name: string, run: string[], more: object = {}) => ({
  ...{ name, description: 'Runs in an image of its own', image: `hub-test/${name}`, driver: 'command', run },
  limits: { ttl: '5m', memory: '512MiB' },
  ...more,
})

const SHOW = `id -u; id -un; echo "$WITH $LANG $HOME"; node; cat /app/package.json; cat /data/there; cat /root/closed 2>&1; node_ours=/usr/local/bin/node; $node_ours -p process.version; $node_ours /app/main.cjs`
const CODE = `git init -q r && cd r && git config user.email a@example.org && echo 1 > f && git add f && git commit -qm one && git log --format=%s
printf '#!/bin/sh\\ntouch hooked\\n' > .git/hooks/post-commit; chmod +x .git/hooks/post-commit; git commit -q --allow-empty -m two 2>/dev/null; [ -e hooked ] && echo hooked || echo no-hook
git clone -q . ../s && cd ../s && git log --oneline | grep -c .
printf '#!/bin/sh\\n' > x.sh; chmod +x x.sh; ./x.sh 2>&1 | grep -o 'Permission denied'; sh x.sh && echo read
python3 -c 'import ssl; print(ssl.create_default_context().cert_store_stats()["x509_ca"] > 0)'
python3 -c 'import multiprocessing; multiprocessing.Lock()' 2>&1 | tail -1 | cut -d: -f1
node -e 'require("os").networkInterfaces()' 2>&1 | grep -o 'uv_interface_addresses returned[^(]*' | head -1`

/** What a CLI tries that updates itself: its own program, the place of packages, and the other places that are first on PATH. */
const UPDATE = `for place in "$(command -v git)" /usr/local/lib/node_modules/x /usr/local/bin/git /app/x; do ( : >> "$place" ) 2>&1 | grep -oE 'Read-only file system|Permission denied'; done; git --version | cut -d' ' -f1`
const MUSL = '/lib/ld-musl-x86_64.so.1'

let home: ContainerHome
const made: Record<string, Awaited<ReturnType<typeof build>>> = {}
beforeAll(async () => {
  tree = mkdtempSync(join(tmpdir(), 'oi-'))
  for (const each of ['hub', 'images', 'node_modules']) symlinkSync(join(checkout, each), join(tree, each))
  await importImage('hub-test/like-debian', debianLike(), [
    'ENV WITH=own LANG=de_DE.UTF-8 HOME=/home/own PATH=/usr/bin',
    'VOLUME /data',
    'EXPOSE 80',
  ])
  await importImage('hub-test/one-file', [text('one', 'a file')], [])
  made.debian = await build('own-debian', 'hub-test/like-debian:1', false)
  made.bare = await build('own-bare', 'hub-test/one-file:1', true)
  // Its loader is the only library there, and says of itself that it runs.
  await importImage(
    'hub-test/like-musl',
    [program(MUSL.slice(1), { says: 'by the loader of musl\n' }), program('bin/tool', { loader: MUSL })],
    [],
  )
  if (process.arch === 'x64') made.musl = await build('own-musl', 'hub-test/like-musl:1', false)
  const coder = folderOf('own-coder', {
    'image.yaml': 'base: coding\nreason: it works on a repository\ntools: [python3]\n',
  })
  const images = assembleImages({ root: tree, cacheDir, folders: [coder], prefix: 'hub-test/' })
  await load(images.filter(({ reference }) => reference === 'hub-test/own-coder:latest'))
  home = await openContainerHome({
    cards: [
      cardOf('own-debian', ['bash', '-c', SHOW], { shell: true }),
      cardOf('own-bare', [
        'node',
        '-e',
        'console.log(require("fs").readFileSync("/one", "utf8"), require("os").userInfo().username)',
      ]),
      cardOf('own-coder', ['bash', '-c', CODE], { shell: true }),
      cardOf('own-updates', ['bash', '-c', UPDATE], { shell: true, image: 'hub-test/own-coder' }),
      cardOf('own-musl', ['tool']),
    ],
  })
})
afterAll(async () => {
  await home?.close()
  rmSync(tree, { recursive: true, force: true })
  for (const name of ['own-debian', 'own-bare', 'own-coder', 'own-musl', 'like-debian:1', 'one-file:1', 'like-musl:1'])
    await calls.tell('DELETE', `/images/hub-test/${name}`, { deadlineMs: 60_000 })
})
const linesOf = async (agent: string) =>
  resultOf<{ stdout: string }>(await home.run(agent, {}))
    .stdout.trim()
    .split('\n')

test('an image laid out like Debian is an agent’s: its programs, its ENV, its /app; its user is the session’s, its Node is its own', async () => {
  const [id = '', ...lines] = await linesOf('own-debian')
  expect(Number(id)).toBeGreaterThanOrEqual(FIRST_USER)
  expect(lines).toEqual([
    expect.stringMatching(/^agent\d+$/),
    'own de_DE.UTF-8 /tmp/home',
    'the node of the image',
    '{"name":"own","type":"commonjs"}in a volumecat: /root/closed: Permission denied',
    process.version,
    'the program of the image',
  ])
  expect(made.debian?.source.notes.map((note) => note.split(' ')[0])).toEqual(['ENV', 'VOLUME', 'EXPOSE', 'its'])
})

test('an image with one file, no shell and no C library is one as well, passed on whole: our Node brings what it needs', async () => {
  expect(await linesOf('own-bare')).toEqual([expect.stringMatching(/^a file agent\d+$/)])
  expect(made.bare).toMatchObject({ state: 'built', whole: true })
  // An engine that keeps images in containerd wants every layer of what it loads.
  const { text: info } = await calls.tell('GET', '/info', { deadlineMs: 60_000 })
  const isContainerd = info.includes('io.containerd.snapshotter')
  expect(made.debian).toMatchObject({ state: 'built', whole: isContainerd })
})

test.skipIf(process.arch !== 'x64')(
  'an image of musl is one as well: its program runs by its own loader, our Node by ours, and the build says what differs',
  async () => {
    expect(await linesOf('own-musl')).toEqual(['by the loader of musl'])
    expect(made.musl?.source.notes).toContainEqual(
      expect.stringMatching(/^its C library is musl: its own programs run;/),
    )
  },
)

test('a CLI that updates itself finds no place that it may write, and works on', async () => {
  expect(await linesOf('own-updates')).toEqual(['Permission denied', ...Array(3).fill('Read-only file system'), 'git'])
})

test('the base coding commits, clones and speaks TLS; hooks, programs of the workspace, locks of processes and interfaces are as its page says', async () => {
  expect(await linesOf('own-coder')).toEqual([
    ...['one', 'no-hook', '2', 'Permission denied', 'read', 'True'],
    expect.stringMatching(/^(?:FileNotFoundError|OSError)$/),
    expect.stringMatching(/^uv_interface_addresses returned/),
  ])
})

test('what stands in the way is named: a card that is silent of a shell, a folder of ours that is taken, a link in the place of a folder, an image that is gone', async () => {
  const from = 'hub-test/like-debian:1'
  await expect(build('own-silent', from, false, { 'agent.yaml': 'name: own-silent\n' })).rejects.toThrow(
    /says shell: false, but its image uses hub-test\/like-debian:1, which has \/bin\/sh; make them agree/,
  )
  await expect(build('own-twice', 'hub-test/own-bare', false)).rejects.toThrow(/has a \/app\/hub already/)
  await importImage('hub-test/odd', [link('usr/local', '/private'), text('private/x', '')], [])
  await expect(build('own-odd', 'hub-test/odd:1', false)).rejects.toThrow(
    /\/usr\/local of hub-test\/odd:1 is a link to \/private, and the hub needs a folder there/,
  )
  await calls.tell('DELETE', '/images/hub-test/odd:1', { deadlineMs: 60_000 })
  await expect(build('own-odd', 'hub-test/odd:1', false)).rejects.toThrow(
    /the engine has no image hub-test\/odd:1; build it first/,
  )
})
