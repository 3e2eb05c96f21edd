/** The face of `scripts/engine` for engines beside the machine's, and what `scripts/engine-build` takes for one that is built. No engine is started. */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { API_RANGE } from '../../hub/base/engine-versions.ts'

const scripts = resolve(import.meta.dirname, '../../scripts')
const isRoot = process.getuid?.() === 0

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'eb-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function run(program: string, argv: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(join(scripts, program), argv, {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...env },
  })
  return { status, said: stdout.trim(), why: stderr.trim() }
}

describe('fault A3: an engine that answers is judged by the versions that it speaks', () => {
  test.each([
    ['of Docker 20.10', '1.12', '1.41', 0, /an engine answers at .* \(API 1\.41\), nothing to do/],
    ['of Docker 29 that refuses 1.43', '1.44', '1.52', 0, /nothing to do/],
    ['newer than is known here', '1.44', '1.70', 0, /nothing to do/],
    ['too old', '1.12', '1.40', 4, /speaks API 1\.40; Docker 20\.10 \(API 1\.41\) or later is needed/],
    ['too new', '1.60', '1.70', 4, /speaks only API 1\.60 and later, this hub knows up to 1\.56; upgrade the hub/],
  ])('one %s', async (_which, MinAPIVersion, ApiVersion, status, says) => {
    const socket = join(folder, 'e.sock')
    const text = JSON.stringify({ Version: 'x', ApiVersion, MinAPIVersion })
    const server = http.createServer((_request, response) => response.end(text))
    await new Promise<void>((done) => server.listen(socket, done))
    const env = { PATH: process.env.PATH, HUB_ENGINE_SOCKET: socket }
    const up = spawn(join(scripts, 'engine'), ['up'], { env })
    let said = ''
    for (const stream of [up.stdout, up.stderr]) stream.on('data', (part: Buffer) => (said += part))
    const code = await new Promise((done) => up.on('close', done))
    server.close()
    expect([code, said]).toEqual([status, expect.stringMatching(says)])
  })

  test('it knows the versions that the hub, its watchdog and its reaper know', () => {
    const textOf = (file: string) => readFileSync(resolve(scripts, '..', file), 'utf8')
    const known = (file: string, pattern: RegExp) => pattern.exec(textOf(file))?.slice(1)
    const ours = [API_RANGE.oldest, API_RANGE.newest].map((version) => version.replace('1.', ''))
    expect(known('scripts/engine', /^api_oldest=(\d+)\napi_newest=(\d+)$/m)).toEqual(ours)
    expect(known('scripts/systemd/reaper.ts', /KNOWN = \{ oldest: (\d+), newest: (\d+) \}/)).toEqual(ours)
    expect(known('watchdog/observe/engine.ts', /OLDEST = (\d+)\nconst NEWEST = (\d+)/)).toEqual(ours)
  })
})

describe('the names of engines', () => {
  test('each has a socket of its own, on the machine or in a folder', () => {
    expect(run('engine', ['path', '29']).said).toBe('/run/hub-engine-29/engine.sock')
    expect(run('engine', ['path', '29-classic'], { HUB_ENGINE_AT: '/tmp/x' }).said).toBe(
      '/tmp/x/29-classic/run/engine.sock',
    )
    // The socket of the machine's engine is not theirs.
    expect(run('engine', ['path', '29'], { HUB_ENGINE_SOCKET: '/x.sock' }).said).toBe('/run/hub-engine-29/engine.sock')
  })

  test.each([
    ['an engine nobody knows', ['up', '30']],
    ['a store nobody knows', ['up', '26-classic']],
    ['no verb', []],
    ['a path of two', ['path', '29', '29-classic']],
    ['an end without an engine', ['up', '--until', '1']],
    ['an end for what goes down', ['down', '29', '--until', '1']],
  ])('%s: usage, exit 2', (_, argv) => {
    expect(run('engine', argv)).toMatchObject({ status: 2, why: expect.stringMatching(/^usage: scripts\/engine /) })
  })

  test('a folder too deep for the sockets in it is refused by name', () => {
    const at = `/tmp/${'x'.repeat(70)}`
    expect(run('engine', ['up', '29'], { HUB_ENGINE_AT: at })).toMatchObject({
      status: 4,
      why: expect.stringContaining('choose a shorter HUB_ENGINE_AT'),
    })
  })

  test('what does not run is not stopped, and does not answer', () => {
    const env = { HUB_ENGINE_AT: folder }
    expect(run('engine', ['down', '29'], env)).toMatchObject({ status: 0, said: expect.stringContaining('nothing to') })
    expect(run('engine', ['status', '29'], env)).toMatchObject({ status: 1, said: expect.stringContaining(folder) })
  })

  test('an engine on another socket is not taken for the one that is asked for: it is not stopped', () => {
    // As `scripts/engine up` starts one, on the socket x; who comes with the socket y has the same pid file.
    const pidFile = join(folder, 'dockerd.pid')
    const own = ['--host', 'unix:///x', '--data-root', '/d', '--pidfile', pidFile]
    const engine = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)', '--', ...own])
    writeFileSync(pidFile, String(engine.pid))
    try {
      const down = (socket: string) => run('engine', ['down'], { HUB_ENGINE_SOCKET: socket, HUB_ENGINE_RUN: folder })
      expect(down('/y').said).toContain('nothing to stop')
      expect(engine.signalCode).toBeNull()
      expect(() => process.kill(engine.pid ?? 0, 0)).not.toThrow()
    } finally {
      engine.kill('SIGKILL')
    }
  })

  test('a pid that was used again is not taken for an engine', () => {
    const runs = join(folder, '29', 'run')
    mkdirSync(runs, { recursive: true })
    writeFileSync(join(runs, 'dockerd.pid'), String(process.pid))
    expect(run('engine', ['down', '29'], { HUB_ENGINE_AT: folder }).status).toBe(0)
    // This very process was not stopped, and what was left of the engine is gone.
    expect(readdirSync(tmpdir())).not.toContain(folder.split('/').at(-1))
  })
})

describe.skipIf(!isRoot)('what is taken for a built engine', () => {
  const VERSIONS = {
    dockerd: 'Docker version 29.6.0, build library-import',
    containerd: 'containerd github.com/containerd/containerd/v2 2.4.2+unknown',
    runc: 'runc version 1.5.3',
    'containerd-shim-runc-v2': '',
    'docker-init': 'tini version 0.19.0',
  }
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string]
  const TARGET = `29.6.0-moby-v2.0.0-beta.24-containerd-v2.4.2-runc-v1.5.3-${machine}`
  const look = () => run('engine-build', ['--path', '29'], { HUB_ENGINE_CACHE: folder })
  /** As if it had been built, but for what is given. */
  function place(changes: Record<string, string | undefined>, target = join(folder, TARGET)): string {
    mkdirSync(target)
    for (const [program, says] of Object.entries({ ...VERSIONS, ...changes }))
      if (says !== undefined) writeFileSync(join(target, program), `#!/bin/sh\necho '${says}'\n`, { mode: 0o755 })
    return target
  }
  test('a whole one is', () => {
    const target = place({})
    expect(look()).toMatchObject({ status: 0, said: target })
  })

  test.each([
    ['of another version', { dockerd: 'Docker version 28.2.2, build x' }],
    ['with another containerd', { containerd: 'containerd v2 2.4.1' }],
    ['half built', { runc: undefined }],
    ['without a shim', { 'containerd-shim-runc-v2': undefined }],
  ])('one %s is not: it says how to build it', (_, changes) => {
    place(changes)
    expect(look()).toMatchObject({ status: 3, why: expect.stringContaining('scripts/engine-build 29 makes it') })
  })

  test('Docker 26 as well, by its own versions', () => {
    const target = join(folder, `26-debian-trixie-${machine}`)
    place(
      {
        dockerd: 'Docker version 26.1.5+dfsg1, build x',
        containerd: 'containerd github.com/containerd/containerd 1.7.24',
      },
      target,
    )
    const look26 = () => run('engine-build', ['--path', '26'], { HUB_ENGINE_CACHE: folder })
    expect(look26()).toMatchObject({ status: 0, said: target })
    // The one is not taken for the other.
    expect(look().status).toBe(3)
    rmSync(join(target, 'dockerd'))
    expect(look26()).toMatchObject({ status: 3, why: expect.stringContaining('scripts/engine-build 26 makes it') })
  })

  test('one that others may write to is not', () => {
    const target = place({})
    chmodSync(join(target, 'runc'), 0o775)
    expect(look().status).toBe(3)
    chmodSync(join(target, 'runc'), 0o755)
    expect(look().status).toBe(0)
    chmodSync(target, 0o777)
    expect(look().status).toBe(3)
  })

  test('without Go it cannot be had, says so, and leaves nothing that looks like one', () => {
    const tools = ['uname', 'id', 'dirname', 'readlink', 'mkdir', 'flock', 'chmod', 'rm', 'tail', 'env', 'bash', 'tini']
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    for (const tool of tools) writeFileSync(join(bin, tool), `#!/bin/sh\nexec /usr/bin/${tool} "$@"\n`, { mode: 0o755 })
    const cache = join(folder, 'cache')
    const { status, stderr } = spawnSync('/bin/bash', [join(scripts, 'engine-build'), '29'], {
      encoding: 'utf8',
      env: { PATH: bin, HUB_ENGINE_CACHE: cache },
    })
    expect({ status, stderr }).toMatchObject({ status: 3, stderr: expect.stringContaining('there is no Go') })
    expect(readdirSync(cache)).toEqual(['lock'])
  })
})
