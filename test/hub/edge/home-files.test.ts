/** T35: what stands in a home is its owner's alone, after init and after a run, and no secret stands anywhere but in its own place. */
import { execFileSync, spawn } from 'node:child_process'
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { createHarness, puppet } from '../../support/hub-harness.ts'

const MAIN = fileURLToPath(new URL('../../../hub/main.ts', import.meta.url))
const SESSION_LEAF = /^run\/s\/s[a-z2-7]{15}$/

interface Found {
  path: string
  kind: 'folder' | 'file' | 'socket' | 'other'
  mode: string
}
function walk(home: string): Found[] {
  const below = (folder: string): Found[] =>
    readdirSync(folder).flatMap((name) => {
      const path = join(folder, name)
      const stat = lstatSync(path)
      const kind = stat.isDirectory() ? 'folder' : stat.isFile() ? 'file' : stat.isSocket() ? 'socket' : 'other'
      const found: Found = { path: relative(home, path), kind, mode: (stat.mode & 0o777).toString(8) }
      return [found, ...(kind === 'folder' ? below(path) : [])]
    })
  return [{ path: '', kind: 'folder', mode: (lstatSync(home).mode & 0o777).toString(8) }, ...below(home)]
}
/** What git writes below `.git` has modes of its own, some stricter: of those only that nobody else gets in is asked. */
const wrongModes = (home: string): Found[] =>
  walk(home).filter(({ path, kind, mode }) => {
    if (kind === 'other') return true
    if (SESSION_LEAF.test(path)) return mode !== '711'
    if (path.endsWith('/hub.sock')) return mode !== '666' || kind !== 'socket'
    if (path.includes('.git/')) return (Number.parseInt(mode, 8) & 0o077) !== 0
    return mode !== (kind === 'folder' ? '700' : '600')
  })
const textOf = (home: string, except: RegExp) =>
  walk(home)
    .filter(({ path, kind }) => kind === 'file' && !except.test(path))
    .map(({ path }) => ({ path, text: readFileSync(join(home, path), 'latin1') }))

test('after `init` and while the process serves, whatever umask it was started under', async () => {
  const home = join(mkdtempSync(join(tmpdir(), 'hub-')), 'home')
  const umask = process.umask(0o000)
  try {
    execFileSync(process.execPath, [MAIN, 'init', '--home', home], { stdio: 'ignore' })
    expect(wrongModes(home)).toEqual([])
    expect(walk(home).length).toBeGreaterThan(20)
    writeFileSync(
      join(home, 'hub.yaml'),
      JSON.stringify({
        logLevel: 'trace',
        http: { port: 0 },
        metrics: { port: 0 },
        engine: { socket: join(home, 'no-engine.sock') },
      }),
      { mode: 0o600 },
    )
    const hub = spawn(process.execPath, [MAIN, 'serve', '--home', home], { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    hub.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    const ended = new Promise((resolve) => hub.once('close', resolve))
    await new Promise<void>((resolve, reject) => {
      hub.stdout.once('data', () => resolve())
      hub.once('exit', () => reject(new Error(said)))
    })
    const found = walk(home)
    expect(wrongModes(home)).toEqual([])
    for (const path of ['run/operator.sock', 'run/watchdog.sock', 'hub.db', 'hub.db-wal', 'ledger.json'])
      expect(
        found.map((each) => each.path),
        path,
      ).toContain(path)
    hub.kill('SIGTERM')
    await ended
    expect(wrongModes(home)).toEqual([])
    // What `hub status` then says of its end (fault C16).
    expect(JSON.parse(readFileSync(join(home, 'run/ended.json'), 'utf8'))).toMatchObject({ how: 'SIGTERM', by: null })
    const secrets = keyTexts(home)
    const lines = said.trimEnd().split('\n')
    expect(lines.length).toBeGreaterThan(2)
    for (const line of lines) {
      expect(typeof JSON.parse(line)).toBe('object')
      for (const secret of secrets) expect(line).not.toContain(secret)
    }
  } finally {
    process.umask(umask)
    rmSync(join(home, '..'), { recursive: true, force: true })
  }
})

/** The secret halves, as they would show in a text. */
function keyTexts(home: string): string[] {
  const pem = (name: string) => readFileSync(join(home, 'keys', `${name}.key`), 'utf8').split('\n')[1] ?? ''
  return [pem('token'), pem('checkpoint'), readFileSync(join(home, 'keys', 'watchdog.key'), 'utf8').trim()]
}

test('after a run with sessions, messages and artifacts: modes hold, tokens, keys and message bodies stand nowhere [audit-6]', async () => {
  const umask = process.umask(0o077)
  try {
    const messages = { sends: { work: null }, receives: { work: null } }
    const agents = {
      one: { script: puppet, card: { messages, may: { message: ['two'] } } },
      two: { script: puppet, card: { messages } },
    }
    await using h = await createHarness({ agents })
    const [one] = await h.bring('one')
    await h.bring('two')
    const canary = 'canary-5d1f90'
    await h.pumped(one.say({ kind: 'request', to: 'agent:two', type: 'work', body: { secret: canary } }))
    await h.pumped(one.put('out.txt', 'what everybody may see'))
    await h.pumped(one.ask({ method: 'GET', path: '/v1/artifacts', token: `${one.token}x` }))
    await h.pumped(one.ask({ method: 'POST', path: '/v1/send', body: { id: canary } }))
    const early = one.token
    await h.pumped(one.renew())
    expect(wrongModes(h.home)).toEqual([])
    expect(walk(h.home).filter(({ path }) => path.endsWith('/hub.sock'))).toHaveLength(2)

    const seed = String(one.privateKey.export({ format: 'jwk' }).d)
    const hidden = [canary, early, one.token, seed, ...keyTexts(h.home)]
    const outside = [
      ...textOf(h.home, /^keys\//),
      { path: 'the log', text: JSON.stringify(h.complaints) },
      { path: 'the events', text: JSON.stringify(h.events()) },
      { path: 'the audit log', text: JSON.stringify(h.audit()) },
    ]
    // The search itself works: a thing that is meant to be there is found.
    expect(outside.some(({ text }) => text.includes('what everybody may see'))).toBe(true)
    for (const { path, text } of outside)
      for (const [at, secret] of hidden.entries()) expect(text.includes(secret), `${at} in ${path}`).toBe(false)

    for (const container of h.engine.containers.values()) container.exit(0)
    await h.quiet()
    expect(wrongModes(h.home)).toEqual([])
    expect(walk(h.home).some(({ path }) => SESSION_LEAF.test(path))).toBe(false)
  } finally {
    process.umask(umask)
  }
})
