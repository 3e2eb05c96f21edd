/** Request lines and headers by kind: the closed lists. */
import { describe, expect, it } from 'vitest'
import type { Upstream, UpstreamKind } from '../../../../../hub/protocol/egress/upstreams.ts'
import { judgeHead, passAnswerHeaders } from '../../../../../hub/work/egress/wire.ts'
import { JSON_HEADERS, passedIn, refusalIn, upstreamOf } from '../../../../support/wire-requests.ts'

const OF_KIND: Readonly<Record<UpstreamKind, Partial<Upstream>>> = {
  anthropic: {},
  openai: {},
  google: {},
  git: { repositories: ['me/*', 'team/tool'], push: ['hub/*'] },
  npm: { files: 'https://files.example.org/base' },
  pypi: { files: 'https://files.example.org' },
  http: { allow: ['GET /v1/forecast*', 'POST /v1/report'] },
}
const judge = (kind: UpstreamKind, line: string, headers: readonly string[] = [], change: Partial<Upstream> = {}) => {
  const [method = '', target = ''] = line.split(' ')
  const typed = method === 'POST' && headers.length === 0 ? JSON_HEADERS : headers
  return judgeHead(upstreamOf(kind, { ...OF_KIND[kind], ...change }), { method, target, headers: typed })
}

const PASSED: readonly [UpstreamKind, string, object][] = [
  ['anthropic', 'POST /v1/messages', { class: 'metered', shape: 'messages' }],
  ['anthropic', 'POST /v1/messages?beta=true', { class: 'metered', query: 'beta=true' }],
  ['anthropic', 'POST /v1/messages/count_tokens', { class: 'free', shape: 'count' }],
  ['anthropic', 'GET /v1/models?limit=10', { class: 'free', shape: undefined }],
  ['openai', 'POST /v1/chat/completions', { class: 'metered', shape: 'chat' }],
  ['openai', 'POST /v1/responses?api-version=2026-01-01', { class: 'metered', shape: 'responses' }],
  ['openai', 'POST /v1/embeddings', { class: 'metered', shape: 'embeddings' }],
  ['openai', 'POST /v1/responses/input_tokens', { class: 'free', shape: 'count' }],
  ['openai', 'GET /v1/models', { class: 'free' }],
  ['google', 'POST /v1beta/models/gemini-3-pro:generateContent', { class: 'metered', model: 'gemini-3-pro' }],
  ['google', 'POST /v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse', { class: 'metered', query: 'alt=sse' }],
  ['google', 'POST /v1beta/models/e:embedContent', { class: 'metered', shape: 'embedContent' }],
  ['google', 'POST /v1beta/models/e:batchEmbedContents', { class: 'metered', shape: 'embedContent' }],
  ['google', 'POST /v1beta/models/m:countTokens', { class: 'free', shape: 'count' }],
  ['google', 'GET /v1beta/models?pageSize=50', { class: 'free' }],
  ['git', 'GET /me/tool.git/info/refs?service=git-upload-pack', { class: 'read' }],
  ['git', 'GET /me/group/tool/info/refs?service=git-upload-pack', { class: 'read' }],
  ['git', 'POST /team/tool.git/git-upload-pack', { class: 'read' }],
  ['git', 'POST /team/tool/git-upload-pack', { class: 'read' }],
  ['git', 'GET /me/tool.git/info/refs?service=git-receive-pack', { class: 'write' }],
  ['git', 'POST /me/tool.git/git-receive-pack', { class: 'write' }],
  ['npm', 'GET /left-pad', { class: 'read', path: '/left-pad' }],
  ['npm', 'GET /@scope%2fname', { path: '/@scope%2fname' }],
  ['npm', 'GET /@scope/name', { path: '/@scope/name' }],
  ['npm', 'GET /@scope/name/-/name-1.0.0.tgz', { path: '/@scope/name/-/name-1.0.0.tgz' }],
  ['npm', 'HEAD /left-pad/1.0.0', { class: 'read' }],
  ['npm', 'GET /-/package/@scope%2fname/dist-tags', { path: '/-/package/@scope%2fname/dist-tags' }],
  ['npm', 'GET /-files/left-pad/-/left-pad-1.0.0.tgz', { host: 'files', path: '/base/left-pad/-/left-pad-1.0.0.tgz' }],
  ['pypi', 'GET /simple/', { class: 'read' }],
  ['pypi', 'GET /simple/requests/', { path: '/simple/requests/' }],
  [
    'pypi',
    'GET /-files/packages/a/b/requests-2.0-py3-none-any.whl',
    { host: 'files', path: '/packages/a/b/requests-2.0-py3-none-any.whl' },
  ],
  ['pypi', 'GET /-files/packages/a/x-1.tar.gz.metadata', { host: 'files' }],
  ['http', 'GET /v1/forecast?city=Rome', { class: 'read', query: 'city=Rome' }],
  ['http', 'GET /v1/forecast/today', { class: 'read' }],
  ['http', 'POST /v1/report', { class: 'write' }],
]
const REFUSED: readonly [UpstreamKind, string, RegExp][] = [
  ['anthropic', 'GET /v1/messages', /not on the list/],
  ['anthropic', 'POST /v1/messages/batches', /batches/],
  ['anthropic', 'POST /v1/files', /send bytes inline/],
  ['anthropic', 'GET /v1/files/file_1/content', /send bytes inline/],
  ['anthropic', 'POST /v1/messages?beta=false', /key beta/],
  ['anthropic', 'POST /v1/complete', /not on the list/],
  ['anthropic', 'HEAD /api/hello', /goes on without/],
  ['openai', 'POST /v1/files', /stored at the provider/],
  ['openai', 'POST /v1/batches', /batches/],
  ['openai', 'POST /v1/assistants', /conversations/],
  ['openai', 'GET /v1/realtime', /realtime/],
  ['openai', 'GET /v1/responses/resp_1', /`store` is always false/],
  ['openai', 'POST /v1/responses/resp_1/cancel', /`store` is always false/],
  ['openai', 'DELETE /v1/models/m', /not on the list/],
  ['openai', 'POST /v1/images/generations', /no price/],
  ['openai', 'POST /v1/vector_stores', /stored at the provider/],
  ['openai', 'POST /chat/completions', /begin the path with \/v1/],
  ['google', 'POST /v1beta/models/m:streamGenerateContent', /needs alt/],
  ['google', 'POST /v1beta/models/m:streamGenerateContent?alt=json', /key alt/],
  ['google', 'POST /v1beta/models/m:generateContent?$alt=sse', /key \$alt/],
  ['google', 'POST /v1beta/models/m:batchGenerateContent', /nobody waits/],
  ['google', 'POST /v1beta/cachedContents', /send bytes inline/],
  ['google', 'POST /upload/v1beta/files', /send bytes inline/],
  ['google', 'POST /v1beta/tunedModels/m:generateContent', /send bytes inline/],
  ['google', 'POST /v1beta/models/a/b:generateContent', /not on the list/],
  ['git', 'GET /other/tool.git/info/refs?service=git-upload-pack', /repository other\/tool is not listed/],
  ['git', 'GET /me.git/info/refs?service=git-upload-pack', /repository me is not listed/],
  ['git', 'GET /me/tool.git/info/refs', /dumb protocol/],
  ['git', 'GET /me/tool.git/HEAD', /dumb protocol/],
  ['git', 'GET /me/tool.git/objects/info/packs', /dumb protocol/],
  ['git', 'GET /me/tool.git/info/refs?service=git-upload-archive', /not on the list/],
  ['git', 'GET /me/tool.git/info/refs?service=git-upload-pack&x=1', /dumb protocol/],
  ['git', 'POST /me/tool.git/info/lfs/objects/batch', /LFS/],
  ['git', 'POST /me/tool.git/git-upload-archive', /not on the list/],
  ['git', 'GET /me/tool/raw/main/file', /not on the list/],
  ['npm', 'PUT /left-pad', /nothing is published/],
  ['npm', 'POST /-/npm/v1/security/advisories/bulk', /audit=false/],
  ['npm', 'GET /-/v1/search?text=x', /key|not on the list|searching/],
  ['npm', 'GET /-/whoami', /not on the list/],
  ['npm', 'GET /a%2fb', /escaped slash|not on the list/],
  ['npm', 'GET /@a%2f..%2fb', /not on the list|escaped slash/],
  ['npm', 'GET /left-pad/-/left-pad-1.0.0.exe', /not on the list/],
  ['npm', 'GET /-files/private/file.json', /not on the list/],
  ['pypi', 'POST /legacy/', /nothing is uploaded/],
  ['pypi', 'GET /pypi', /not on the list/],
  ['pypi', 'GET /simple/../admin/', /not on the list/],
  ['pypi', 'GET /-files/packages/secret.txt', /not on the list/],
  ['http', 'POST /v1/forecast', /not on the list/],
  ['http', 'GET /v2/forecast', /not on the list/],
  ['http', 'HEAD /v1/forecast', /not on the list/],
  ['http', 'POST /v1/report/more', /not on the list/],
  ['http', 'GET /v1/forecast%2f..%2fadmin', /escaped slash/],
  ['http', 'GET /v1/forecast/../admin', /not on the list/],
]

describe('the head of a request', () => {
  it.each(PASSED)('passes: %s %s', (kind, line, facts) => {
    expect(passedIn(judge(kind, line))).toMatchObject(facts)
  })

  it.each(REFUSED)('E4, E22: is refused by name: %s %s', (kind, line, words) => {
    const { code, detail } = refusalIn(judge(kind, line))
    expect(code).toBe('egress_denied')
    expect(detail).toMatch(words)
  })

  it('says where a push is to be listed, if no branch is', () => {
    for (const line of ['POST /me/tool/git-receive-pack', 'GET /me/tool/info/refs?service=git-receive-pack'])
      expect(refusalIn(judge('git', line, [], { push: [] })).detail).toContain('upstreams.up.push')
  })

  it('knows an index by its address with and without its last part', () => {
    const path = (url: string) => passedIn(judge('pypi', 'GET /simple/requests/', [], { url })).path
    expect(path('https://pypi.org')).toBe('/simple/requests/')
    expect(path('https://pypi.org/simple')).toBe('/simple/requests/')
  })

  it('asks for the form that has times of publication where a minimum age is set', () => {
    const accept = ['accept', 'application/vnd.npm.install-v1+json']
    expect(passedIn(judge('npm', 'GET /left-pad', accept)).headers).toContainEqual(['accept', accept[1]])
    expect(passedIn(judge('npm', 'GET /left-pad', accept, { minAgeMs: 1 })).headers).toEqual([
      ['accept', 'application/json'],
    ])
    expect(passedIn(judge('pypi', 'GET /simple/x/', [], { minAgeMs: 1 })).headers).toEqual([
      ['accept', 'application/vnd.pypi.simple.v1+json'],
    ])
    expect(passedIn(judge('npm', 'GET /a/-/a-1.tgz', ['accept', '*/*'], { minAgeMs: 1 })).headers).toEqual([
      ['accept', '*/*'],
    ])
  })
})

const POST: readonly string[] = JSON_HEADERS
const sent = (headers: readonly string[], change: Partial<Upstream> = {}, kind: UpstreamKind = 'anthropic') =>
  passedIn(judge(kind, kind === 'anthropic' ? 'POST /v1/messages' : 'POST /v1/chat/completions', headers, change))

describe('the headers of a request', () => {
  it("E5, E6: pass only by the list: no key, nothing of the line, nobody's name, no other request", () => {
    const never = [
      ...[
        'Authorization',
        'Bearer own',
        'X-Api-Key',
        'own',
        'X-Goog-Api-Key',
        'own',
        'api-key',
        'own',
        'Cookie',
        'a=b',
        'Proxy-Authorization',
        'x',
      ],
      ...[
        'Host',
        'evil.example',
        'Connection',
        'keep-alive, x-api-key',
        'Keep-Alive',
        'x',
        'TE',
        'trailers',
        'Trailer',
        'x',
        'Upgrade',
        'websocket',
      ],
      ...[
        'Expect',
        '100-continue',
        'Accept-Encoding',
        'gzip',
        'Via',
        'x',
        'Forwarded',
        'for=1',
        'X-Forwarded-For',
        '1',
        'X-Forwarded-Host',
        'x',
      ],
      ...[
        'X-Real-IP',
        '1',
        'X-HTTP-Method-Override',
        'DELETE',
        'X-Method-Override',
        'DELETE',
        'X-Original-URL',
        '/admin',
        'X-Rewrite-URL',
        '/admin',
      ],
      ...[
        'OpenAI-Organization',
        'org',
        'OpenAI-Project',
        'p',
        'Anthropic-Organization-Id',
        'x',
        'X-Goog-User-Project',
        'p',
        'Idempotency-Key',
        'x',
      ],
      ...[
        'X-Stainless-Lang',
        'js',
        'Session-Id',
        'x',
        'Content-Length',
        '5',
        'X-Header-Of-Tomorrow',
        'x',
        'Sec-Fetch-Mode',
        'cors',
      ],
    ]
    const listed = {
      headers: never
        .filter((_, at) => at % 2 === 0)
        .map((name) => name.toLowerCase())
        .filter((name) => !/tomorrow|stainless|sec-|session/.test(name)),
    }
    expect(sent([...POST, ...never]).headers).toEqual([['content-type', 'application/json']])
    expect(sent([...POST, ...never], listed).headers).toEqual([['content-type', 'application/json']])
    expect(
      sent([...POST, ...never], { auth: { form: 'header', name: 'x-own' }, headers: ['x-own'] }).headers,
    ).toHaveLength(1)
  })

  it('pass in their forms, and are left out in others', () => {
    expect(
      sent([...POST, 'Anthropic-Version', '2023-06-01', 'Accept', 'text/event-stream', 'User-Agent', 'a/1']).headers,
    ).toEqual([
      ['content-type', 'application/json'],
      ['anthropic-version', '2023-06-01'],
      ['accept', 'text/event-stream'],
      ['user-agent', 'a/1'],
    ])
    expect(
      sent([...POST, 'anthropic-version', 'tomorrow', 'user-agent', 'a'.repeat(300), 'accept', 'caf\u00e9']).headers,
    ).toHaveLength(1)
  })

  it('E21, E22: pass betas by a closed list, and by what the upstream lists; a dear one is named', () => {
    const betas = (value: string, change: Partial<Upstream> = {}) => {
      const judged = sent([...POST, 'anthropic-beta', value], change)
      return [new Map(judged.headers).get('anthropic-beta'), judged.surcharges]
    }
    expect(betas('interleaved-thinking-2025-05-14, mcp-client-2025-11-20,files-api-2025-04-14')).toEqual([
      'interleaved-thinking-2025-05-14',
      [],
    ])
    expect(betas('code-execution-2025-05-22,server-side-fallback-2026-07-01,skills-2025-10-02')).toEqual([
      undefined,
      [],
    ])
    expect(betas('context-1m-2025-08-07')).toEqual(['context-1m-2025-08-07', ['long_context']])
    expect(betas('new-2027-01-01,x', { headers: ['anthropic-beta: new-2027-01-01'] })).toEqual(['new-2027-01-01', []])
    expect(
      new Map(sent([...POST, 'openai-beta', 'assistants=v2'], {}, 'openai').headers).get('openai-beta'),
    ).toBeUndefined()
    expect(
      new Map(sent([...POST, 'X-Title', 'mine'], { headers: ['x-title: mine'] }, 'openai').headers).get('x-title'),
    ).toBe('mine')
    expect(
      new Map(sent([...POST, 'X-Title', 'other'], { headers: ['x-title: mine'] }, 'openai').headers).get('x-title'),
    ).toBeUndefined()
  })

  it('E6: show a placeholder in a place for credentials, whichever it is, and nowhere else', () => {
    const basic = Buffer.from('user:hub-placeholder-c').toString('base64')
    const judged = sent([
      ...POST,
      'Authorization',
      'Bearer hub-placeholder-a',
      'X-Api-Key',
      'hub-placeholder-b',
      'cookie',
      'k=hub-placeholder-d',
      'User-Agent',
      'hub-placeholder-e',
      'X-Other',
      'hub-placeholder-f',
    ])
    expect([...judged.placeholders].sort()).toEqual(['hub-placeholder-a', 'hub-placeholder-b', 'hub-placeholder-d'])
    expect(sent([...POST, 'authorization', `Basic ${basic}`]).placeholders).toEqual(['hub-placeholder-c'])
    expect(sent([...POST, 'authorization', 'Bearer own-key']).placeholders).toEqual([])
    const google = judge('google', 'POST /v1beta/models/m:generateContent?key=hub-placeholder-g')
    expect(passedIn(google)).toMatchObject({ query: '', placeholders: ['hub-placeholder-g'] })
    expect(refusalIn(judge('http', 'GET /v1/forecast?api_key=own')).detail).toContain('place for a credential')
  })

  it.each([
    [['content-length', '5', 'content-length', '6'], 'given twice'],
    [['content-length', '5', 'Content-Length', '5'], 'given twice'],
    [['content-length', '5', 'transfer-encoding', 'chunked'], 'given twice'],
    [['transfer-encoding', 'chunked', 'transfer-encoding', 'identity'], 'given twice'],
    [['transfer-encoding', 'gzip, chunked'], 'chunked and nothing else'],
    [['transfer-encoding', 'xchunked'], 'chunked and nothing else'],
    [['content-length', '+5'], 'no number'],
    [['content-length', '0x5'], 'no number'],
    [['content-length', '5, 5'], 'no number'],
    [['accept', 'a\r\nx-api-key: own'], 'control character'],
    [['accept', 'a\n b'], 'control character'],
    [['x-other', 'a\u0000'], 'control character'],
    [['x api-key', 'own'], 'no proper name'],
    [['x-api-key:', 'own'], 'no proper name'],
    [[' folded', 'x'], 'no proper name'],
    [['', 'x'], 'no proper name'],
    [['accept', 'a/b', 'Accept', 'c/d'], 'twice'],
    [Array.from({ length: 202 }, (_, at) => (at % 2 === 0 ? `x-${at}` : 'v')), 'at most 100'],
  ])('E5: are refused where two parsers could differ: %j', (headers, words) => {
    const { code, detail } = refusalIn(judge('anthropic', 'POST /v1/messages', [...POST, ...headers]))
    expect([code, detail]).toEqual(['egress_denied', expect.stringContaining(words)])
  })

  it('E23: say that the body is plain JSON in UTF-8, or it is not read', () => {
    const forms = [
      'application/json; charset=utf-16',
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/json; boundary=x',
      'multipart/form-data',
    ]
    for (const form of forms)
      expect(refusalIn(judge('anthropic', 'POST /v1/messages', ['content-type', form])).code).toBe('encoding_refused')
    expect(refusalIn(judge('anthropic', 'POST /v1/messages', ['accept', '*/*'])).code).toBe('encoding_refused')
    for (const coding of ['gzip', 'identity', 'zstd', ''])
      expect(refusalIn(judge('openai', 'POST /v1/responses', [...POST, 'content-encoding', coding])).code).toBe(
        'encoding_refused',
      )
    expect(
      passedIn(judge('anthropic', 'POST /v1/messages', ['content-type', 'application/json; charset=utf-8'])).headers,
    ).toEqual([['content-type', 'application/json']])
  })

  it('let git zip what it asks for, and nothing that is pushed', () => {
    const zipped = [
      'content-type',
      'application/x-git-upload-pack-request',
      'content-encoding',
      'gzip',
      'git-protocol',
      'version=2',
    ]
    expect(passedIn(judge('git', 'POST /me/tool/git-upload-pack', zipped)).headers).toEqual([
      ['content-type', 'application/x-git-upload-pack-request'],
      ['git-protocol', 'version=2'],
      ['content-encoding', 'gzip'],
    ])
    expect(refusalIn(judge('git', 'POST /me/tool/git-receive-pack', zipped)).code).toBe('encoding_refused')
  })

  it('E5: give a GET no body', () => {
    for (const headers of [
      ['content-length', '1'],
      ['transfer-encoding', 'chunked'],
    ])
      expect(refusalIn(judge('http', 'GET /v1/forecast', headers)).detail).toBe('GET has no body here')
    expect(passedIn(judge('http', 'GET /v1/forecast', ['content-length', '0'])).headers).toEqual([])
  })
})

describe('the headers of an answer', () => {
  it('E5: pass only by the list, each once, none that could split an answer', () => {
    const raw = [
      ...[
        'Content-Type',
        'text/event-stream',
        'Retry-After',
        '5',
        'X-Request-Id',
        'r',
        'anthropic-ratelimit-tokens-remaining',
        '7',
        'x-ratelimit-reset-requests',
        '1s',
      ],
      ...[
        'Set-Cookie',
        'a=b',
        'Location',
        'https://evil.example',
        'Connection',
        'close',
        'Transfer-Encoding',
        'chunked',
        'Content-Encoding',
        'gzip',
        'Content-Length',
        '9',
      ],
      ...[
        'anthropic-organization-id',
        'org',
        'openai-organization',
        'org',
        'Www-Authenticate',
        'Basic',
        'Trailer',
        'x',
        'Upgrade',
        'h2c',
        'Alt-Svc',
        'h3=":443"',
        'Link',
        '<x>',
      ],
      ...['request-id', 'a\r\nset-cookie: x', 'retry-after', '9', 'Server', 'x'],
    ]
    expect(passAnswerHeaders(raw)).toEqual([
      ['content-type', 'text/event-stream'],
      ['retry-after', '5'],
      ['x-request-id', 'r'],
      ['anthropic-ratelimit-tokens-remaining', '7'],
      ['x-ratelimit-reset-requests', '1s'],
    ])
  })
})
