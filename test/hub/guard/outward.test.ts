/** What the hub sends outward (T37): a table of addresses against a real listener that must not hear of any of them. */
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { kindOfAddress } from '../../../hub/base/addresses.ts'
import { createSystemClock } from '../../../hub/base/clock.ts'
import { createPostOutward, OUTWARD_MS } from '../../../hub/guard/outward/post.ts'
import { type Address, hostPortOf, inTurn, judgeUrl, type Rules } from '../../../hub/guard/outward/target.ts'
import { createFakeClock } from '../../support/fake-clock.ts'

let server: Server
let port: number
let hits: string[] = []
let answer: (url: string) => { status: number; headers?: Record<string, string>; body?: string } | 'hang'
beforeAll(async () => {
  server = createServer((request, response) => {
    hits.push(`${request.method} ${request.url}`)
    const said = answer(request.url ?? '')
    if (said === 'hang') return
    response.writeHead(said.status, said.headers ?? {})
    response.end(said.body ?? '')
  })
  // Every address of this machine, both families.
  await new Promise<void>((resolve) => server.listen({ host: '::', port: 0, ipv6Only: false }, resolve))
  port = (server.address() as { port: number }).port
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
afterEach(() => {
  hits = []
})
answer = () => ({ status: 200, body: 'taken' })

const never = new AbortController().signal
const clock = createSystemClock()
const names = (map: Record<string, string[]>) => async (host: string) =>
  (map[host] ?? []).map((address): Address => ({ address, family: address.includes(':') ? 6 : 4 }))
const post = (url: string, rules: Partial<Rules>, resolve = names({})) =>
  createPostOutward({ clock, resolve })(
    {
      url,
      rules: { allow: new Set(), local: new Set(), ...rules },
      headers: { 'content-type': 'text/plain' },
      body: 'x',
    },
    never,
  )

/** `P` stands for the listener's port. With each, whether its host and port are on the allow-list, which helps none of them. */
const FORMS: readonly string[] = [
  'http://127.0.0.1:P/',
  'https://127.0.0.1:P/',
  'http://127.1:P/',
  'http://127.0.1:P/',
  'http://0x7f000001:P/',
  'http://0x7f.0.0.1:P/',
  'http://0177.0.0.1:P/',
  'http://017700000001:P/',
  'http://2130706433:P/',
  'http://127.0.0.1.:P/',
  'http://127.127.127.127:P/',
  'http://0.0.0.0:P/',
  'http://0:P/',
  'http://[::]:P/',
  'http://[::1]:P/',
  'http://[0:0:0:0:0:0:0:1]:P/',
  'http://[::ffff:127.0.0.1]:P/',
  'http://[::ffff:7f00:1]:P/',
  'http://[0:0:0:0:0:ffff:127.0.0.1]:P/',
  'http://[::127.0.0.1]:P/',
  'http://[64:ff9b::7f00:1]:P/',
  'http://[2002:7f00:1::]:P/',
  'http://[2001::7f00:1]:P/',
  'http://[fe80::1]:P/',
  'http://[fc00::1]:P/',
  'http://[fd00:ec2::254]:P/',
  'http://[ff02::1]:P/',
  'http://10.0.0.1:P/',
  'http://172.16.0.1:P/',
  'http://192.168.0.1:P/',
  'http://100.64.0.1:P/',
  'http://100.100.100.200:P/',
  'http://169.254.169.254:P/latest/meta-data/',
  'http://168.63.129.16:P/',
  'http://0xa9fea9fe:P/',
  'http://2852039166:P/',
  'http://224.0.0.1:P/',
  'http://255.255.255.255:P/',
  'http://localhost:P/',
  'http://LOCALHOST:P/',
  'http://localhost.:P/',
  'http://loopback.example:P/',
  'http://both.example:P/',
  'http://mapped.example:P/',
  'http://metadata.google.internal:P/',
  'http://①②⑦.⓪.⓪.①:P/',
  'http://127。0。0。1:P/',
  'http://127.0.0.1%2e:P/',
  'http://%31%32%37.0.0.1:P/',
  'http://user@127.0.0.1:P/',
  'http://user:secret@127.0.0.1:P/',
  'http://good.example@127.0.0.1:P/',
  'http://good.example:443@127.0.0.1:P/',
  'http://good.example%00@127.0.0.1:P/',
  'http://127.0.0.1:P\\@good.example/',
  'http:\\\\127.0.0.1:P/',
  'http:127.0.0.1:P/',
  ' http://127.0.0.1:P/',
  'ht\ntp://127.0.0.1:P/',
  'http://127.0.0.1\t:P/',
  'http://127.0.0.1:P#@good.example/',
  '//127.0.0.1:P/',
  'ftp://127.0.0.1:P/',
  'file:///etc/passwd',
  'gopher://127.0.0.1:P/_x',
  'data:text/plain,x',
  'javascript:alert(1)',
  'ws://127.0.0.1:P/',
  'unix:/var/run/docker.sock',
  'http+unix://%2Fvar%2Frun%2Fdocker.sock/',
  `http://127.0.0.1:P/${'a'.repeat(3000)}`,
  'http://',
  '',
]
const RESOLVES = names({
  localhost: ['127.0.0.1', '::1'],
  'localhost.': ['127.0.0.1'],
  'loopback.example': ['127.0.0.1'],
  'both.example': ['8.8.8.8', '127.0.0.1'],
  'mapped.example': ['::ffff:127.0.0.1'],
  'metadata.google.internal': ['169.254.169.254'],
})

describe('an address that leads inside (T37)', () => {
  it.each(FORMS)('%j is refused, on the allow-list or not, and nothing is heard [alert-20]', async (form) => {
    const url = form.replace('P', String(port))
    await expect(post(url, {}, RESOLVES)).rejects.toMatchObject({ code: 'forbidden' })
    const listed = URL.canParse(url) ? [hostPortOf(new URL(url))] : []
    await expect(post(url, { allow: new Set([...listed, `good.example:${port}`]) }, RESOLVES)).rejects.toMatchObject({
      code: 'forbidden',
    })
    // Judged by its address alone: the same over TLS, where the scheme is no reason.
    const secured = url.replace(/^http:/, 'https:')
    await expect(post(secured, { allow: new Set(listed) }, RESOLVES)).rejects.toMatchObject({ code: 'forbidden' })
    expect(hits).toEqual([])
  })

  it('would have been heard: the listener is there', async () => {
    await new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () =>
        socket.end('GET /there HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'),
      )
      socket.on('close', () => resolve()).resume()
    })
    expect(hits).toEqual(['GET /there'])
  })
})

describe('a host that the operator lists as local', () => {
  const rules = () => ({ allow: new Set([`127.0.0.1:${port}`]), local: new Set([`127.0.0.1:${port}`]) })

  it('is reached, at exactly that host and port', async () => {
    expect(await post(`http://127.0.0.1:${port}/hook`, rules())).toEqual({ status: 200, text: 'taken' })
    expect(hits).toEqual(['POST /hook'])
    for (const other of [`http://127.0.0.1:${port + 1}/`, `http://localhost:${port}/`, `http://[::1]:${port}/`])
      await expect(post(other, rules(), RESOLVES)).rejects.toMatchObject({ code: 'forbidden' })
    expect(hits).toHaveLength(1)
  })

  it('is never one of link-local, metadata or multicast, listed or not', async () => {
    for (const host of ['169.254.169.254', '[fe80::1]', '224.0.0.1', '0.0.0.0', '[::ffff:127.0.0.1]']) {
      const listed = new Set([hostPortOf(new URL(`http://${host}:${port}/`))])
      await expect(post(`http://${host}:${port}/`, { allow: listed, local: listed })).rejects.toMatchObject({
        code: 'forbidden',
      })
    }
    expect(hits).toEqual([])
  })
})

describe('a name', () => {
  const local = (host: string) => ({ allow: new Set([`${host}:${port}`]), local: new Set([`${host}:${port}`]) })

  it('is resolved once: what it means a moment later is not asked (rebinding) [alert-20]', async () => {
    const asked: string[] = []
    const rebinding = async (host: string): Promise<Address[]> => {
      asked.push(host)
      return [{ address: asked.length === 1 ? '127.0.0.1' : '169.254.169.254', family: 4 }]
    }
    expect((await post(`http://rebind.example:${port}/`, local('rebind.example'), rebinding)).status).toBe(200)
    expect(asked).toEqual(['rebind.example'])
  })

  it('of which any address is not permitted is refused whole', async () => {
    const both = names({ 'x.example': ['127.0.0.1', '169.254.169.254'] })
    await expect(post(`http://x.example:${port}/`, local('x.example'), both)).rejects.toMatchObject({
      code: 'forbidden',
    })
    expect(hits).toEqual([])
  })

  it('of which one address leads nowhere is tried at the next, each of them judged, and by one that took it no further (fault C23)', async () => {
    answer = () => ({ status: 200, body: 'taken' })
    // A machine's own addresses of 127.0.0.0/8 that nobody listens on refuse at once; the listener is on the second.
    const single = createServer((request, response) => {
      hits.push(`${request.method} ${request.url}`)
      if (request.url === '/cut') request.socket.destroy()
      else response.end('by the second')
    })
    await new Promise<void>((resolve) => single.listen(0, '127.0.0.3', resolve))
    const at = (single.address() as { port: number }).port
    const there = { allow: new Set([`two.example:${at}`]), local: new Set([`two.example:${at}`]) }
    const two = (...found: string[]) => names({ 'two.example': found })
    try {
      expect((await post(`http://two.example:${at}/a`, there, two('::1', '127.0.0.2', '127.0.0.3'))).text).toBe(
        'by the second',
      )
      expect(hits).toEqual(['POST /a'])
      await expect(post(`http://two.example:${at}/b`, there, two('127.0.0.2', '127.0.0.4'))).rejects.toThrow(
        'ECONNREFUSED',
      )
      await expect(
        post(`http://two.example:${at}/c`, there, two('127.0.0.2', '169.254.169.254', '127.0.0.3')),
      ).rejects.toMatchObject({ code: 'forbidden' })
      expect(hits).toHaveLength(1)
      // It broke off after it had taken the connection: nobody knows whether it has the message, so no other address gets it.
      await expect(post(`http://two.example:${at}/cut`, there, two('127.0.0.3', '127.0.0.2'))).rejects.toThrow(
        'hang up',
      )
    } finally {
      single.close()
    }
    // What answers, even badly, has had it: no second address gets it too.
    answer = () => ({ status: 302, headers: { location: '/' } })
    const local = { allow: new Set([`x.example:${port}`]), local: new Set([`x.example:${port}`]) }
    hits = []
    await expect(
      post(`http://x.example:${port}/d`, local, names({ 'x.example': ['127.0.0.1', '127.0.0.2'] })),
    ).rejects.toThrow(/redirects/)
    expect(hits).toEqual(['POST /d'])
  })

  it('is tried by both families in turn, at four addresses at most', () => {
    const of = (...found: string[]) =>
      inTurn(found.map((address): Address => ({ address, family: address.includes(':') ? 6 : 4 }))).map(
        ({ address }) => address,
      )
    expect(of('::1', '::2', '::3', '1.1.1.1', '2.2.2.2')).toEqual(['::1', '1.1.1.1', '::2', '2.2.2.2'])
    expect(of('1.1.1.1', '::1', '::2')).toEqual(['1.1.1.1', '::1', '::2'])
    expect(of('1.1.1.1')).toEqual(['1.1.1.1'])
  })

  it('without an address is said to have none', async () => {
    await expect(post('https://gone.example/', { allow: new Set(['gone.example:443']) })).rejects.toThrow(/no address/)
  })
})

describe('what answers', () => {
  const local = () => ({ allow: new Set([`127.0.0.1:${port}`]), local: new Set([`127.0.0.1:${port}`]) })

  it.each([301, 302, 303, 307, 308])('with a redirect (%i) is not followed', async (status) => {
    answer = (url) =>
      url === '/to' ? { status: 200 } : { status, headers: { location: `http://127.0.0.1:${port}/to` } }
    await expect(post(`http://127.0.0.1:${port}/from`, local())).rejects.toThrow(/redirects are not followed/)
    expect(hits).toEqual(['POST /from'])
  })

  it('with more than 64 KiB is cut', async () => {
    answer = () => ({ status: 200, body: 'x'.repeat(70_000) })
    await expect(post(`http://127.0.0.1:${port}/`, local())).rejects.toThrow(/over 65536 bytes/)
  })

  it('not at all has five seconds, the resolving of its name among them', async () => {
    answer = () => 'hang'
    const fake = createFakeClock()
    const slow = createPostOutward({ clock: fake, resolve: () => new Promise(() => undefined) })
    const posting = { headers: {}, body: '' }
    const inName = slow(
      { ...posting, url: 'https://slow.example/', rules: { allow: new Set(['slow.example:443']), local: new Set() } },
      never,
    )
    const inAnswer = createPostOutward({ clock: fake })(
      { ...posting, url: `http://127.0.0.1:${port}/`, rules: local() },
      never,
    )
    const seen = Promise.allSettled([inName, inAnswer])
    while (hits.length === 0) await new Promise((resolve) => setImmediate(resolve))
    await fake.advance(OUTWARD_MS)
    expect((await seen).map((one) => one.status === 'rejected' && one.reason.message)).toEqual([
      'it took too long',
      'it took too long',
    ])
  })
})

describe('addresses', () => {
  it.each([
    ['8.8.8.8', 'public'],
    ['2606:4700::1111', 'public'],
    ['127.0.0.1', 'private'],
    ['::1', 'private'],
    ['fd12::1', 'private'],
    ['100.64.1.1', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.1', 'public'],
    ['169.254.1.1', 'never'],
    ['fe80::1%eth0', 'never'],
    ['::ffff:8.8.8.8', 'never'],
    ['64:ff9b::808:808', 'never'],
    ['203.0.113.7', 'never'],
    ['not an address', 'never'],
  ])('%s is %s', (address, kind) => expect(kindOfAddress(address)).toBe(kind))

  it('over http are for local hosts alone', () => {
    const rules = { allow: new Set(['good.example:80', 'good.example:443']), local: new Set<string>() }
    expect(() => judgeUrl('http://good.example/', rules)).toThrow(/use https/)
    expect(judgeUrl('https://good.example/', rules).host).toBe('good.example')
  })
})
