/** Archives of registries that are kept for all agents: whole, by digest, never with a secret, and never another upstream's (E11, E14). */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  createEgressScene,
  type EgressScene,
  eventually,
  KEY,
  OTHER_SESSION,
  type SceneOptions,
} from '../../../support/egress-scene.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

const digestOf = (algorithm: 'sha512' | 'sha256', bytes: string, form: 'base64' | 'hex') =>
  createHash(algorithm).update(bytes).digest(form)

let folder = ''
let scene: EgressScene
/** What the registry holds, by path; each request it got. */
let archives: Record<string, string> = {}
let got: string[] = []
/** Sends half of an archive and breaks off. */
let cuts = false
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kept-'))
  archives = { '/one/-/one-1.0.0.tgz': 'first archive', '/one/-/one-2.0.0.tgz': 'second archive' }
  got = []
  cuts = false
})
afterEach(async () => {
  await scene.close()
  rmSync(folder, { recursive: true, force: true })
})
const PAGE = '/up/npm/one'
const [FIRST, SECOND] = ['/up/npm/one/-/one-1.0.0.tgz', '/up/npm/one/-/one-2.0.0.tgz']
const kept = () => (existsSync(folder) ? readdirSync(folder) : [])
/** The digest that the page of version n names: that of these bytes. */
const named: Record<string, string> = {}

async function start(options: SceneOptions = {}) {
  for (const name of Object.keys(named)) delete named[name]
  scene = await createEgressScene({
    upstreams: (port) => {
      const url = `http://127.0.0.1:${port}`
      return {
        npm: { kind: 'npm', url, local: true },
        secretly: { kind: 'npm', url, local: true, secret: 'model-key' },
        others: { kind: 'npm', url, local: true, secret: 'other-key' },
        pypi: { kind: 'pypi', url, local: true, files: `http://localhost:${port}` },
      }
    },
    secrets: { 'model-key': KEY, 'other-key': 'another-9a8b7c6d5e4f3a2b1c' },
    archives: folder,
    ...options,
  })
  scene.serve((request, response) => {
    const url = request.url ?? ''
    got.push(url)
    const bytes = archives[url]
    if (bytes !== undefined) {
      response.writeHead(200, { 'content-length': Buffer.byteLength(bytes), etag: '"x"' })
      if (!cuts) return response.end(bytes)
      response.write(bytes.slice(0, 5))
      return setTimeout(() => response.destroy(), 20)
    }
    const host = `http://${url.startsWith('/simple') ? 'localhost' : '127.0.0.1'}:${scene.port}`
    if (url.startsWith('/simple')) {
      const files = Object.entries(archives).map(([path, text]) => ({
        url: `${host}${path}`,
        hashes: { sha256: digestOf('sha256', text, 'hex') },
      }))
      if (request.headers.accept?.includes('json'))
        return response
          .writeHead(200, { 'content-type': 'application/vnd.pypi.simple.v1+json' })
          .end(JSON.stringify({ files }))
      const links = files.map(({ url: link, hashes }) => `<a href="${link}#sha256=${hashes.sha256}">x</a>`)
      return response.writeHead(200, { 'content-type': 'text/html' }).end(links.join('\n'))
    }
    const versions = Object.fromEntries(
      Object.entries(archives).map(([path, text]) => [
        path,
        {
          dist: {
            tarball: `${host}${path}`,
            integrity: `sha1-x sha512-${digestOf('sha512', named[path] ?? text, 'base64')}`,
          },
        },
      ]),
    )
    return response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ name: 'one', versions }))
  })
  return scene
}
/** The answer, once all that follows it is done. */
const ask: EgressScene['ask'] = async (...words) => {
  try {
    return await scene.ask(...words)
  } finally {
    await eventually(() => scene.egress.meters.open === 0)
  }
}
const asked = (path: string) => got.filter((each) => each === path).length
const effects = async () => {
  await eventually(() => scene.records.length > 0)
  scene.egress.closeAll()
  return scene.records.map(({ effect }) => effect).join('\n')
}

describe('an archive of a registry', () => {
  it('is fetched once for all agents, and its record says so', async () => {
    await start()
    await ask(PAGE)
    const first = await ask(FIRST)
    const again = await ask(FIRST, { session: OTHER_SESSION })
    expect([first.text, again.text, again.headers['content-length']]).toEqual(['first archive', 'first archive', '13'])
    expect(asked('/one/-/one-1.0.0.tgz')).toBe(1)
    const hex = digestOf('sha512', 'first archive', 'hex')
    expect(kept()).toEqual([expect.stringMatching(new RegExp(`^[0-9a-f]{32}-sha512-${hex}$`))])
    expect(statSync(join(folder, kept()[0] ?? '')).mode & 0o077).toBe(0)
    expect(scene.egress.archives()).toMatchObject({ archives: 1, bytes: 13, found: 1, kept: 1 })
    // What asks for a part, or whether it changed, is for the registry.
    await ask(FIRST, { headers: { 'if-none-match': '"x"' } })
    await ask(FIRST, { method: 'HEAD' })
    expect(asked('/one/-/one-1.0.0.tgz')).toBe(3)
    expect(await effects()).toMatch(
      /npm read GET 200;.* 13 in; kept for others[\s\S]*npm read GET 200;.* 13 in; cached/,
    )
  })

  it('of an index of Python packages is kept by its sha256, in both forms of the page', async () => {
    archives = { '/p/one-1-py3-none-any.whl': 'wheel one', '/p/two-1-py3-none-any.whl': 'wheel two' }
    await start()
    const [one, two] = ['/up/pypi/-files/p/one-1-py3-none-any.whl', '/up/pypi/-files/p/two-1-py3-none-any.whl']
    await ask('/up/pypi/simple/one/')
    await ask(one)
    await ask('/up/pypi/simple/two/', { headers: { accept: 'application/vnd.pypi.simple.v1+json' } })
    for (const path of [two, one, two]) await ask(path)
    expect([asked('/p/one-1-py3-none-any.whl'), asked('/p/two-1-py3-none-any.whl')]).toEqual([1, 1])
    expect((await ask(one, { headers: { range: 'bytes=0-3' } })).status).toBe(200)
    expect(asked('/p/one-1-py3-none-any.whl')).toBe(2)
  })

  it('is not kept if it is not what its page names, if no page names it, or if it was cut [E11]', async () => {
    await start()
    await ask(FIRST)
    expect(kept()).toEqual([])
    named['/one/-/one-1.0.0.tgz'] = 'what its author published'
    await ask(PAGE)
    expect((await ask(FIRST)).text).toBe('first archive')
    expect(kept()).toEqual([])
    cuts = true
    await expect(ask(SECOND)).rejects.toThrow()
    await eventually(() => kept().length === 0)
    cuts = false
    await ask(SECOND)
    expect(kept()).toHaveLength(1)
    expect(await effects()).toContain('not the archive that its page names, so not kept')
  })

  it('with a secret in it is never kept; one that becomes known later is masked, and the archive goes [E14]', async () => {
    archives['/one/-/one-1.0.0.tgz'] = `key=${KEY}`
    await start()
    await ask('/up/secretly/one')
    expect((await ask('/up/secretly/one/-/one-1.0.0.tgz')).text).toBe(`key=${'*'.repeat(KEY.length)}`)
    expect(kept()).toEqual([])
    // Nobody knows yet that this is one.
    archives['/one/-/one-2.0.0.tgz'] = 'key=another-9a8b7c6d5e4f3a2b1c'
    await ask(PAGE)
    expect((await ask(SECOND)).text).toContain('another-9a8b')
    expect(kept()).toHaveLength(1)
    await ask('/up/others/one')
    expect((await ask(SECOND)).text).toMatch(/^key=\*+$/)
    expect(kept()).toEqual([])
    expect(scene.alerts).toContain('secret_leaving:npm')
  })

  it('is read again before it is given out: a byte that changed on the disk deletes it, and the registry is asked', async () => {
    await start()
    await ask(PAGE)
    await ask(FIRST)
    const file = join(folder, kept()[0] ?? '')
    writeFileSync(file, 'first Archive')
    expect((await ask(FIRST)).text).toBe('first archive')
    expect([asked('/one/-/one-1.0.0.tgz'), readFileSync(file, 'utf8')]).toEqual([2, 'first archive'])
    // Another digest on the page: what is kept is no longer what is asked for.
    archives['/one/-/one-1.0.0.tgz'] = 'published anew'
    await ask(PAGE)
    expect((await ask(FIRST)).text).toBe('published anew')
    expect(kept()).toHaveLength(1)
  })

  it('belongs to one upstream: under another, or another secret, nothing of it is found', async () => {
    await start()
    for (const name of ['npm', 'secretly', 'others']) {
      await ask(`/up/${name}/one`)
      await ask(`/up/${name}/one/-/one-1.0.0.tgz`)
    }
    expect(asked('/one/-/one-1.0.0.tgz')).toBe(3)
    expect(kept()).toHaveLength(3)
  })

  it('that is given out from here says nothing of its registry, which rests after two answers that it broke off [E11]', async () => {
    await start()
    await ask(PAGE)
    await ask(FIRST)
    cuts = true
    for (const path of [SECOND, SECOND]) {
      expect((await ask(FIRST)).text).toBe('first archive')
      await expect(ask(path)).rejects.toThrow()
    }
    expect((await ask(SECOND)).status).toBe(503)
  })

  it('stays over a restart without its page; half-made ones go, and what is not of the hub is not touched', async () => {
    await start()
    await ask(PAGE)
    await ask(FIRST)
    await scene.close()
    writeFileSync(join(folder, '77-1.part'), 'half')
    mkdirSync(join(folder, 'odd'))
    const npm = (port: number) => ({ npm: { kind: 'npm', url: `http://127.0.0.1:${port}`, local: true } })
    const { port } = scene
    got = []
    await start({ upstreams: () => npm(port) })
    expect((await ask(FIRST)).text).toBe('first archive')
    expect([got, kept().length, kept().includes('odd')]).toEqual([[], 2, true])
    await scene.close()
    // At another place it is another upstream.
    await start({ upstreams: npm })
    await ask(FIRST)
    expect(got).toEqual(['/one/-/one-1.0.0.tgz'])
  })
})

describe('how much is kept', () => {
  it('what was not used for longest goes first; a smaller limit counts at once, and 0 keeps none', async () => {
    const clock = createFakeClock()
    let limit = 100
    for (const n of [1, 2, 3, 4, 5, 6]) archives[`/one/-/one-${n}.0.0.tgz`] = `${n}`.repeat(20)
    archives['/one/-/one-9.0.0.tgz'] = '9'.repeat(26)
    await start({ clock, cacheBytes: () => limit })
    await ask(PAGE)
    const fetch = async (n: number) => {
      await clock.advance(1000)
      return ask(`/up/npm/one/-/one-${n}.0.0.tgz`)
    }
    for (const n of [1, 2, 3, 4, 5, 1, 6]) await fetch(n)
    expect(scene.egress.archives()).toMatchObject({ archives: 5, bytes: 100 })
    for (const n of [1, 3]) await fetch(n)
    expect([asked('/one/-/one-1.0.0.tgz'), asked('/one/-/one-3.0.0.tgz')]).toEqual([1, 1])
    await fetch(2)
    expect(asked('/one/-/one-2.0.0.tgz')).toBe(2)
    // More than a quarter of all.
    await fetch(9)
    expect(kept().some((name) => name.endsWith(digestOf('sha512', '9'.repeat(26), 'hex')))).toBe(false)
    limit = 50
    await fetch(2)
    expect(scene.egress.archives().archives).toBe(2)
    limit = 0
    await fetch(2)
    await ask(PAGE)
    expect([kept(), asked('/one/-/one-2.0.0.tgz')]).toEqual([[], 3])
  })

  it('a disk that is low gets no more, and what is there is still given out', async () => {
    let level = 'fine'
    await start({ disk: () => level })
    await ask(PAGE)
    await ask(FIRST)
    level = 'warn'
    for (const path of [SECOND, SECOND, FIRST]) expect((await ask(path)).status).toBe(200)
    expect([asked('/one/-/one-2.0.0.tgz'), asked('/one/-/one-1.0.0.tgz'), kept().length]).toEqual([2, 1, 1])
  })
})
