import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { judgeHead } from '../../../../../hub/work/egress/wire.ts'
import { JSON_HEADERS, passedIn, refusalIn, upstreamOf } from '../../../../support/wire-requests.ts'

const anywhere = upstreamOf('http', { url: 'https://api.example.org/base', allow: ['GET /*'] })
const openai = upstreamOf('openai')

const at = (target: string, upstream = anywhere) => judgeHead(upstream, { method: 'GET', target, headers: [] })
const post = (target: string) => judgeHead(openai, { method: 'POST', target, headers: JSON_HEADERS })

describe('a request line', () => {
  it.each([
    ['/v1/chat/completions', '/v1/chat/completions'],
    ['//v1/chat/completions', '/v1/chat/completions'],
    ['/v1//chat///completions', '/v1/chat/completions'],
    ['/v1/./chat/completions', '/v1/chat/completions'],
    ['/v1/files/../chat/completions', '/v1/chat/completions'],
    ['/v1/files/%2e%2e/chat/completions', '/v1/chat/completions'],
    ['/v1/files/.%2E/chat/completions', '/v1/chat/completions'],
    ['/v1/ch%61t/completions', '/v1/chat/completions'],
    ['/%76%31/chat/completions', '/v1/chat/completions'],
    ['/v1/chat/completions?', '/v1/chat/completions'],
    ['/v1/chat/completions?&', '/v1/chat/completions'],
  ])('E4: is sent as it was judged: %s', (target, path) => {
    expect(passedIn(post(target))).toMatchObject({ path, query: '', class: 'metered' })
  })

  it.each([
    // Out of the list, by dots and slashes.
    '/v1/chat/completions/',
    '/v1/chat/completions/.',
    '/v1/chat/completions/..',
    '/v1/chat/completions/../../files',
    '/v1/chat/completions/%2e%2e/%2e%2e/files',
    '/v1/chat/completions/..%2f..%2ffiles',
    '/v1/chat/completions%2f..%2f..%2ffiles',
    '/v1%2fchat%2fcompletions',
    '/../v1/chat/completions',
    '/%2e%2e/v1/chat/completions',
    '/v1/../../v1/chat/completions',
    '/v1/chat/completions;x=1',
    '/v1/chat;/completions',
    '/v1/files/..;/chat/completions',
    '/v1/files/..%3b/chat/completions',
    '/v1/chat/completions%3bx',
    '\\v1\\chat\\completions',
    '/v1\\chat/completions',
    '/v1/chat%5ccompletions',
    '/v1/..%5c..%5cfiles',
    '/v1/chat/completions%00',
    '/v1/chat/completions%0a',
    '/v1/chat/completions%0d%0aHost:%20x',
    '/v1/chat/completions%7f',
    '/v1/chat/completions%20',
    '/v1/chat/completions%25',
    '/v1/chat%252fcompletions',
    '/v1/%252e%252e/files',
    '/v1/chat/completions%',
    '/v1/chat/completions%2',
    '/v1/chat/completions%zz',
    '/v1/chat/completions%u002f',
    '/v1/chat/completions%c0%ae',
    '/v1/chat/completions%ff',
    '/v1/chat/completions%23',
    '/v1/chat/completions#x',
    '/v1/chat/completions%3fx=1',
    // Other ways to write where it goes.
    'https://api.example.org/v1/chat/completions',
    'http://user@10.0.0.1/v1/chat/completions',
    '//user:pass@evil.example/v1/chat/completions',
    'v1/chat/completions',
    '@evil.example/v1/chat/completions',
    ':8080/v1/chat/completions',
    '*',
    'evil.example:443',
    '/http://evil.example/v1/chat/completions',
    // Signs that are no part of a path.
    '/v1/chat/completions ',
    '/v1/chat/completions\t',
    '/v1/chat/completions\r\nX: y',
    '/v1/chat/completions\u0000',
    '/v1/chat/completion\u017f',
    '/v1/chat/\uff43ompletions',
    '/v1/chat/completions"',
    '/v1/<chat>/completions',
    '/v1/{chat}/completions',
    '/v1/chat|/completions',
    '/v1/chat^/completions',
    '/v1/`chat`/completions',
    '/V1/chat/completions',
    '/v1/Chat/completions',
    '/v1/chat/completions.json',
    '/v1/chat%C2%ADcompletions',
    `/v1/chat/completions/${'a'.repeat(9000)}`,
    // A query that the list does not have.
    '/v1/chat/completions?x=1',
    '/v1/chat/completions?api-version=1&api-version=2',
    '/v1/chat/completions?api-version=1;x=2',
    '/v1/chat/completions?api-version=a%00b',
    '/v1/chat/completions?api-version=a%',
    '/v1/chat/completions?a%26b=1',
    '/v1/chat/completions?=1',
    '/v1/chat/completions?__proto__=1',
    '/v1/chat/completions?constructor=1',
  ])('E3, E4: is refused in every other spelling: %j', (target) => {
    expect(refusalIn(post(target)).code).toBe('egress_denied')
  })

  it.each([
    ['/a?q=x%20y&p=%c3%a9', 'q=x%20y&p=%C3%A9'],
    ['/a?q=%41%2d%5f', 'q=A-_'],
    ['/a?q=1+1&r=1%2B1', 'q=1+1&r=1%2B1'],
    ['/a?q=a;b', 'q=a%3Bb'],
    ['/a?q=<>"', 'q=%3C%3E%22'],
    ['/a?q=a=b&flag', 'q=a%3Db&flag'],
    ['/a?list%5B%5D=1', 'list[]=1'],
    ['/a?q=%26%23', 'q=%26%23'],
  ])('E4: writes a query anew: %s', (target, query) => {
    expect(passedIn(at(target)).query).toBe(query)
  })

  const piece = fc.constantFrom(
    ...[
      '/',
      '//',
      '.',
      '..',
      '%2e',
      '%2E%2e',
      '%2f',
      '%5c',
      ';',
      '\\',
      '%00',
      '%',
      '%25',
      'a',
      'b',
      'A',
      '~',
      '%7e',
      '%41',
      '+',
      '%2B',
      '%20',
      '%c3%a9',
      '@',
      ':',
    ],
    ...['?', '&', '=', 'q', 'key', '#', 'https:', '%3d', '%26', '%3b', '<', '"', "'", '*', '[', '%5b', '!'],
  )
  const target = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`)

  it('E4: normalised twice is normalised once', () => {
    let passed = 0
    fc.assert(
      fc.property(target, (raw) => {
        const once = at(raw)
        if ('code' in once) return
        passed += 1
        const again = passedIn(at(`${once.path.slice('/base'.length)}${once.query === '' ? '' : `?${once.query}`}`))
        expect([again.path, again.query]).toEqual([once.path, once.query])
      }),
      { numRuns: 3000 },
    )
    expect(passed).toBeGreaterThan(300)
  })

  it('E4: never leaves the base path, as another parser reads it', () => {
    fc.assert(
      fc.property(target, (raw) => {
        const judged = at(raw)
        if ('code' in judged) return
        const read = new URL(`https://api.example.org${judged.path}?${judged.query}`)
        expect(read.pathname).toBe(judged.path)
        expect(read.pathname.startsWith('/base/')).toBe(true)
        expect(decodeURIComponent(read.pathname)).not.toMatch(/\/\.\.?(?:\/|$)|\\|;/)
        expect([...read.searchParams.keys()].length).toBe(new Set(read.searchParams.keys()).size)
      }),
      { numRuns: 3000 },
    )
  })

  it('takes the version of a base address that names one in place of the version of the client', () => {
    const sent = (url: string) =>
      passedIn(
        judgeHead(upstreamOf('openai', { url }), {
          method: 'POST',
          target: '/v1/chat/completions',
          headers: JSON_HEADERS,
        }),
      ).path
    expect(sent('https://api.openai.com')).toBe('/v1/chat/completions')
    expect(sent('https://openrouter.ai/api/v1')).toBe('/api/v1/chat/completions')
    expect(sent('https://x.openai.azure.com/openai/v1')).toBe('/openai/v1/chat/completions')
    expect(sent('https://proxy.example.org/llm')).toBe('/llm/v1/chat/completions')
    const vertex = upstreamOf('google', {
      url: 'https://aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google',
    })
    const head = { method: 'POST', target: '/v1beta/models/gemini-3-pro:generateContent', headers: JSON_HEADERS }
    expect(passedIn(judgeHead(vertex, head)).path).toBe(
      '/v1/projects/p/locations/l/publishers/google/models/gemini-3-pro:generateContent',
    )
  })

  it.each([
    ['/v1;x', 'semicolon'],
    ['/v1\\x', 'backslash'],
    ['/v1#x', 'fragment'],
    ['/../x', 'leaves the upstream'],
    ['/v1%2fx', 'escaped slash'],
    ['https://x/v1', 'no scheme'],
  ])('is refused by name: %s', (target, words) => {
    expect(refusalIn(at(target)).detail).toContain(words)
  })

  it('takes no method beside the usual ones', () => {
    for (const method of ['CONNECT', 'TRACE', 'OPTIONS', 'get', 'PROPFIND', 'GET /x HTTP/1.1\r\n', ''])
      expect(refusalIn(judgeHead(anywhere, { method, target: '/', headers: [] })).code).toBe('egress_denied')
  })
})
