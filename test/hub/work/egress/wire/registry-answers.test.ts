import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Upstream, UpstreamKind } from '../../../../../hub/protocol/egress/upstreams.ts'
import { isRegistryPage, judgeHead, registryPage } from '../../../../../hub/work/egress/wire.ts'
import { passedIn, refusalIn, upstreamOf } from '../../../../support/wire-requests.ts'

const HOSTS = { url: 'https://registry.example.org/npm', files: 'https://files.example.org' }
const DAY = 86_400_000
const NOW = Date.parse('2026-12-01T00:00:00Z')
const daysAgo = (days: number) => new Date(NOW - days * DAY).toISOString()
const BASE = 'http://127.0.0.1:47080/up/up'

function write(kind: UpstreamKind, text: string, change: Partial<Upstream> = {}, type = 'application/json') {
  const turns = registryPage(upstreamOf(kind, { ...HOSTS, ...change }), type, Buffer.from(text), {
    base: BASE,
    nowMs: NOW,
  })
  for (;;) {
    const turn = turns.next()
    if (turn.done) return turn.value
  }
}
const written = (...args: Parameters<typeof write>) => passedIn(write(...args)).toString()

const version = (name: string) => ({
  name: 'p',
  version: name,
  dist: { tarball: `${HOSTS.url}/p/-/p-${name}.tgz`, integrity: 'sha512-x' },
})
const page = (days: Record<string, number>, tags: Record<string, string>) => ({
  name: 'p',
  'dist-tags': tags,
  versions: Object.fromEntries(Object.keys(days).map((name) => [name, version(name)])),
  time: {
    created: daysAgo(900),
    modified: daysAgo(0),
    ...Object.fromEntries(Object.entries(days).map(([name, ago]) => [name, daysAgo(ago)])),
  },
})

describe('the page of a registry', () => {
  it('leads to this upstream where it led to the registry or its second host, and else stays byte for byte', () => {
    expect(written('npm', `{"dist": {"tarball":"${HOSTS.url}/p/-/p-1.tgz"} ,"n":18446744073709551615}`)).toBe(
      `{"dist": {"tarball":"${BASE}/p/-/p-1.tgz"} ,"n":18446744073709551615}`,
    )
    expect(written('npm', `{"tarball":"${HOSTS.files}/p/-/p-1.tgz"}`)).toBe(`{"tarball":"${BASE}/-files/p/-/p-1.tgz"}`)
    expect(
      written(
        'pypi',
        `<a href="${HOSTS.files}/packages/p-1.whl#sha256=ab">p</a><a href='../../packages/q.whl'>q</a>`,
        {},
        'text/html',
      ),
    ).toBe(`<a href="${BASE}/-files/packages/p-1.whl#sha256=ab">p</a><a href='../../packages/q.whl'>q</a>`)
    const others = [
      '"https://evil.example/p.tgz"',
      `"${HOSTS.url}.evil.example/p.tgz"`,
      `"x ${HOSTS.url}/in a text"`,
      '"https://registry.example.org/other/p.tgz"',
    ]
    for (const other of others) expect(written('npm', `{"tarball":${other}}`)).toBe(`{"tarball":${other}}`)
    const simple = { url: 'https://pypi.org/simple', files: 'https://files.pythonhosted.org' }
    expect(
      written('pypi', '{"url":"https://pypi.org/simple/q/","x":"https://files.pythonhosted.org/a/q.whl"}', simple),
    ).toBe(`{"url":"${BASE}/simple/q/","x":"${BASE}/-files/a/q.whl"}`)
  })

  it('links of its own that were written anew pass as requests, and reach the same files', () => {
    const links = [`${HOSTS.url}/p/-/p-1.0.0.tgz`, `${HOSTS.files}/@s/p/-/p-1.0.0.tgz`]
    for (const link of links) {
      const target = (JSON.parse(written('npm', JSON.stringify({ link }))) as { link: string }).link.slice(BASE.length)
      const head = passedIn(judgeHead(upstreamOf('npm', HOSTS), { method: 'GET', target, headers: [] }))
      expect(
        `${head.host === 'files' ? 'https://files.example.org' : 'https://registry.example.org'}${head.path}`,
      ).toBe(link)
    }
  })

  it('is known by its request: no archive, no other kind, no HEAD', () => {
    const known = (kind: UpstreamKind, method: string, target: string) => {
      const upstream = upstreamOf(kind, { ...HOSTS, allow: ['GET /*'] })
      return isRegistryPage(upstream, passedIn(judgeHead(upstream, { method, target, headers: [] })))
    }
    expect(known('npm', 'GET', '/p')).toBe(true)
    expect(known('npm', 'GET', '/@s%2fp')).toBe(true)
    expect(known('pypi', 'GET', '/simple/p/')).toBe(true)
    expect(known('npm', 'HEAD', '/p')).toBe(false)
    expect(known('npm', 'GET', '/p/-/p-1.tgz')).toBe(false)
    expect(known('pypi', 'GET', '/-files/p-1.whl.metadata')).toBe(false)
    expect(known('http', 'GET', '/p')).toBe(false)
  })
})

describe('the minimum age of a package', () => {
  const minAge = { minAgeMs: 3 * DAY }

  it('leaves out younger versions and their tags; latest names the newest that is left', () => {
    const text = JSON.stringify(
      page(
        { '1.0.0': 300, '1.1.0': 10, '2.0.0-rc.1': 5, '1.2.0': 1 },
        { latest: '1.2.0', next: '2.0.0-rc.1', young: '1.2.0' },
      ),
    )
    const left = JSON.parse(written('npm', text, minAge))
    expect(Object.keys(left.versions)).toEqual(['1.0.0', '1.1.0', '2.0.0-rc.1'])
    expect(Object.keys(left.time)).toEqual(['created', 'modified', '1.0.0', '1.1.0', '2.0.0-rc.1'])
    expect(left['dist-tags']).toEqual({ latest: '1.1.0', next: '2.0.0-rc.1' })
    expect(left.versions['1.1.0'].dist.tarball).toBe(`${BASE}/p/-/p-1.1.0.tgz`)
    const old = page({ '1.0.0': 300, '1.1.0': 10 }, { latest: '1.0.0' })
    expect(JSON.parse(written('npm', JSON.stringify(old), minAge))['dist-tags']).toEqual({ latest: '1.0.0' })
  })

  it('is kept by what is exactly as old, and by nothing that tells no time', () => {
    const whole = page({ '1.0.0': 3, '1.1.0': 2.999 }, { latest: '1.1.0' })
    expect(Object.keys(JSON.parse(written('npm', JSON.stringify(whole), minAge)).versions)).toEqual(['1.0.0'])
    const timeless = { ...whole, time: { '1.0.0': daysAgo(4), '1.1.0': 'long ago' } }
    expect(Object.keys(JSON.parse(written('npm', JSON.stringify(timeless), minAge)).versions)).toEqual(['1.0.0'])
  })

  it('is refused by name where all is younger, or no times are told', () => {
    const young = JSON.stringify(page({ '1.0.0': 1 }, { latest: '1.0.0' }))
    expect(refusalIn(write('npm', young, minAge)).detail).toContain('younger than minAge')
    expect(refusalIn(write('npm', '{"versions":{}}', minAge)).detail).toContain('no times')
    expect(refusalIn(write('pypi', '<a href="x">', minAge, 'text/html')).detail).toContain('no times')
    expect(refusalIn(write('npm', '{"versions":{"1":{}},"versions":{}}', minAge)).detail).toContain('cannot be read')
    const ask = (target: string) => judgeHead(upstreamOf('npm', minAge), { method: 'GET', target, headers: [] })
    for (const target of ['/p/1.0.0', '/@s/p/latest', '/-/package/p/dist-tags'])
      expect(refusalIn(ask(target)).detail).toContain('without a version')
    expect(passedIn(ask('/@s/p')).class).toBe('read')
  })

  it('leaves out younger files of an index', () => {
    const file = (name: string, days: number | undefined) => ({
      filename: name,
      url: `${HOSTS.files}/${name}`,
      ...(days === undefined ? {} : { 'upload-time': daysAgo(days) }),
    })
    const text = JSON.stringify({
      name: 'p',
      files: [file('a.whl', 9), file('b.whl', 1), file('c.whl', undefined), file('d.whl', 4)],
    })
    const left = JSON.parse(written('pypi', text, minAge, 'application/vnd.pypi.simple.v1+json'))
    expect(left.files).toEqual([
      { ...file('a.whl', 9), url: `${BASE}/-files/a.whl` },
      { ...file('d.whl', 4), url: `${BASE}/-files/d.whl` },
    ])
    expect(JSON.parse(written('pypi', '{"projects":[{"name":"p"}]}', minAge)).projects).toHaveLength(1)
    expect(refusalIn(write('pypi', JSON.stringify({ files: [file('b.whl', 1)] }), minAge)).detail).toContain(
      'every file',
    )
  })

  it('leaves a page whose versions are all old enough as it was, and always one that can be parsed', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('1.0.0', '1.0.1', '2.0.0', '3.0.0-b'), fc.integer({ min: 0, max: 6 }), {
          minKeys: 1,
        }),
        fc.constantFrom(undefined, 2),
        (days, indent) => {
          const [names, text] = [
            Object.keys(days),
            JSON.stringify(page(days, { latest: Object.keys(days)[0] ?? '' }), null, indent),
          ]
          const old = names.filter((name) => (days[name] ?? 0) >= 3)
          const judged = write('npm', text, { ...minAge, url: 'https://elsewhere.example.org' })
          if ('code' in judged) {
            expect(old).toEqual([])
            return
          }
          const left = JSON.parse(judged.toString())
          expect(Object.keys(left.versions)).toEqual(old)
          expect(old).toContain(left['dist-tags'].latest)
          if (old.length === names.length) expect(left).toEqual(JSON.parse(text))
        },
      ),
    )
  })
})
