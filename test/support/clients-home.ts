/** Real clients of git and npm in an image that is assembled here, and what they speak to: a registry of npm, and git's own server. */
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { type Image, imageOf } from '../../scripts/images/archive.ts'
import { assembleImages } from '../../scripts/images/assembly.ts'
import { archOf } from '../../scripts/images/machine.ts'
import { tarOf } from '../../scripts/images/tar.ts'
import { codingLayer } from '../../scripts/images/tools.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The base `shell` with git and npm of this machine. */
export function clientsImage(): Image {
  const options = { root, cacheDir: `${root}.cache/images`, folders: ['images/shell'], prefix: 'hub-test/' }
  const shell = assembleImages(options).find(({ reference }) => reference === 'hub-test/shell:latest')
  if (shell === undefined) throw new Error('images/shell made no image')
  return imageOf('hub-test/clients:latest', [...shell.layers, codingLayer()], archOf(), shell.note)
}

/** Two packages, the first of which needs the second. */
const PACKAGES: Readonly<Record<string, { main: string; needs?: Record<string, string> }>> = {
  one: { main: "module.exports = 'one and ' + require('two')", needs: { two: '^1.0.0' } },
  two: { main: "module.exports = 'two'" },
}

const archives = new Map(
  Object.entries(PACKAGES).map(([name, { main, needs = {} }]) => {
    const manifest = JSON.stringify({ name, version: '1.0.0', main: 'main.js', dependencies: needs })
    const entry = (path: string, text: string) => ({
      ...{ path: `package/${path}`, kind: 'file' as const, mode: 0o644, data: Buffer.from(text) },
    })
    const tar = Buffer.concat([...tarOf([entry('package.json', manifest), entry('main.js', main)])])
    return [name, { bytes: gzipSync(tar), needs }]
  }),
)

function serveNpm(url: string, base: string, response: ServerResponse): void {
  const [, name = '', rest] = /^\/npm\/([a-z]+)(\/-\/.*)?$/.exec(url) ?? []
  const found = archives.get(name)
  if (found === undefined) return void response.writeHead(404).end('{}')
  if (rest !== undefined) return void response.end(found.bytes)
  const integrity = `sha512-${createHash('sha512').update(found.bytes).digest('base64')}`
  const dist = { tarball: `${base}/npm/${name}/-/${name}-1.0.0.tgz`, integrity }
  const version = { name, version: '1.0.0', dependencies: found.needs, dist }
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ name, 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': version } }))
}

/** Git's own program for a web server, by CGI. */
function serveGit(folder: string, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url ?? '', 'http://git')
  const child = spawn('git', ['http-backend'], {
    env: {
      ...{ PATH: '/usr/bin:/bin', GIT_PROJECT_ROOT: folder, GIT_HTTP_EXPORT_ALL: '1', REMOTE_USER: 'hub' },
      ...{ PATH_INFO: pathname.replace(/^\/git/, ''), QUERY_STRING: searchParams.toString() },
      ...{ REQUEST_METHOD: request.method ?? '', CONTENT_TYPE: request.headers['content-type'] ?? '' },
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      ...(request.headers['content-length'] === undefined ? {} : { CONTENT_LENGTH: request.headers['content-length'] }),
    },
  })
  child.stdin.on('error', () => undefined)
  request.pipe(child.stdin)
  const pieces: Buffer[] = []
  child.stdout.on('data', (piece: Buffer) => pieces.push(piece))
  child.once('close', () => {
    const whole = Buffer.concat(pieces)
    const end = whole.indexOf('\r\n\r\n')
    for (const line of whole.toString('latin1', 0, Math.max(end, 0)).split('\r\n')) {
      const [name = '', value = ''] = line.split(': ')
      if (name === 'Status') response.statusCode = Number(value.slice(0, 3))
      else if (name !== '') response.setHeader(name, value)
    }
    response.end(whole.subarray(end + 4))
  })
}

/** Both servers at one address; the repository `me/tool` has one commit on main. */
export async function startForge() {
  const folder = mkdtempSync(join(tmpdir(), 'forge-'))
  const bare = join(folder, 'me', 'tool.git')
  const git = (...args: string[]) =>
    execFileSync('git', args, {
      env: { PATH: '/usr/bin:/bin', HOME: folder, GIT_CONFIG_NOSYSTEM: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    }).toString()
  mkdirSync(bare, { recursive: true })
  git('init', '-q', '--bare', '-b', 'main', bare)
  git('-C', bare, 'config', 'http.receivepack', 'true')
  const first = join(folder, 'first')
  git('init', '-q', '-b', 'main', first)
  writeFileSync(join(first, 'README.md'), 'a tool\n')
  git('-C', first, 'add', '-A')
  git('-C', first, '-c', 'user.name=a', '-c', 'user.email=a@example.org', 'commit', '-qm', 'first')
  git('-C', first, 'push', '-q', bare, 'main')
  /** `METHOD path`, with the key where one came. */
  const came: string[] = []
  const server = createServer((request, response) => {
    const url = request.url ?? ''
    came.push(`${request.method} ${url} ${request.headers.authorization === undefined ? 'no key' : 'key'}`)
    if (url.startsWith('/git/')) serveGit(folder, request, response)
    else serveNpm(url, `http://127.0.0.1:${(server.address() as AddressInfo).port}`, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    came,
    /** Names of branches, each with the subject of its newest commit. */
    branches: () =>
      git('-C', bare, 'for-each-ref', '--format=%(refname:short) %(contents:subject)', 'refs/heads').trim().split('\n'),
    close() {
      server.closeAllConnections()
      server.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
