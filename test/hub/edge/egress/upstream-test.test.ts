/** Trying an upstream: each way in which it can fail is said as such, with what mends it; never a body, never the key. */
import { afterEach, expect, it } from 'vitest'
import { createUpstreamTest } from '../../../../hub/edge/egress/upstream-test.ts'
import { type Upstream, upstreamsShape } from '../../../../hub/protocol/egress/upstreams.ts'
import { createEgressScene, type EgressScene, KEY, type SceneOptions } from '../../../support/egress-scene.ts'

let scene: EgressScene
afterEach(() => scene.close())
const start = async (options?: SceneOptions) => {
  scene = await createEgressScene(options)
  return scene
}
const test = (upstream: Upstream) => createUpstreamTest(scene.egress.trying)(upstream)
const declared = (given: Record<string, unknown>): Upstream => {
  const [upstream] = upstreamsShape.parse({ it: given })
  if (upstream === undefined) throw new Error('no upstream')
  return upstream
}
const local = (more: Record<string, unknown>) =>
  declared({ url: `http://127.0.0.1:${scene.port}`, local: true, secret: 'model-key', ...more })

it('asks for the list of models with the key, and says which address answered, how, and that the key was taken', async () => {
  await start()
  const seen: unknown[] = []
  scene.serve((request, response) => {
    seen.push([request.method, request.url, request.headers['x-api-key'], request.headers['anthropic-version']])
    response.end(`a body that nobody reads, with ${KEY}`)
  })
  const tried = await test(local({ kind: 'anthropic' }))
  expect(seen).toEqual([['GET', '/v1/models', KEY, '2023-06-01']])
  expect(tried).toMatchObject({ ok: true, asked: 'GET /v1/models', tls: null, status: 200, key: 'taken', mend: '' })
  expect(tried.address).toBe(`127.0.0.1:${scene.port}`)
  expect(JSON.stringify(tried)).not.toContain(KEY)
  expect(JSON.stringify(tried)).not.toContain('nobody reads')
})

it('each kind asks what costs nothing, and nothing that is not listed', async () => {
  await start()
  const seen: string[] = []
  scene.serve((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    response.end()
  })
  const git = { kind: 'git', repositories: ['all/*', 'me/tool'] }
  for (const given of [
    { kind: 'openai', url: `http://127.0.0.1:${scene.port}/api/v1` },
    { kind: 'google' },
    git,
    { kind: 'npm' },
    { kind: 'pypi', url: `http://127.0.0.1:${scene.port}/simple` },
    { kind: 'http', allow: ['POST /a', 'GET /v1/forecast*'] },
  ])
    expect(await test(local(given))).toMatchObject({ ok: true, status: 200 })
  expect(seen).toEqual([
    'GET /api/v1/models',
    'GET /v1beta/models',
    'GET /me/tool.git/info/refs?service=git-upload-pack',
    'HEAD /',
    'HEAD /simple/',
    'HEAD /v1/forecast',
  ])
  // Without anything that only reads, there is no call but the connection.
  for (const given of [
    { ...git, repositories: ['me/*'] },
    { kind: 'http', allow: ['POST /a'] },
  ])
    expect(await test(local(given))).toMatchObject({ ok: true, asked: null, status: null })
  expect(seen).toHaveLength(6)
})

it('a refused key, a wrong path, a redirect and a fault are told apart', async () => {
  await start()
  let status = 200
  scene.serve((_, response) => response.writeHead(status, { location: 'https://elsewhere.example/' }).end())
  const say = async (next: number, given: Record<string, unknown> = { kind: 'openai' }) => {
    status = next
    const { ok, key, detail, mend } = await test(local(given))
    return [ok, key, `${detail}; ${mend}`]
  }
  for (const refused of [401, 403])
    expect(await say(refused)).toEqual([
      false,
      'refused',
      expect.stringMatching(/refused the key \(40[13]\); put a valid key into HOME\/secrets\/model-key/),
    ])
  expect(await say(401, { kind: 'openai', secret: undefined })).toEqual([
    false,
    'none',
    expect.stringContaining('asks for a key (401), and none is declared'),
  ])
  expect(await say(404)).toEqual([false, 'unknown', expect.stringContaining('look at upstreams.it.url')])
  expect(await say(302)).toEqual([false, 'unknown', expect.stringContaining('the hub follows none')])
  expect(await say(503)).toEqual([false, 'unknown', expect.stringContaining('a fault of its own (503)')])
  expect(await say(429)).toEqual([true, 'unknown', expect.stringContaining('quota is used up')])
  expect(await say(200, { kind: 'http', allow: ['GET /a'] })).toEqual([
    true,
    'unknown',
    expect.stringContaining('cannot be seen from this call'),
  ])
})

it('a name that does not resolve, a private address, no TLS, a closed port and a missing key each name their mending [E2]', async () => {
  const names: Record<string, string> = { 'inside.example.org': '10.0.0.7', 'plain.lan': '127.0.0.1' }
  await start({
    resolve: async (host) => {
      const address = names[host]
      if (address === undefined) throw Object.assign(new Error('no'), { code: 'ENOTFOUND' })
      return [{ address, family: 4 }]
    },
  })
  const say = async (given: Record<string, unknown>) => {
    const { ok, address, status, detail, mend } = await test(declared(given))
    expect([ok, status]).toEqual([false, null])
    return `${address}: ${detail}; ${mend}`
  }
  const openai = { kind: 'openai', secret: 'model-key' }
  expect(await say({ ...openai, url: 'https://nowhere.example.org' })).toMatch(
    /^null: .*cannot be resolved: ENOTFOUND; look at the name/,
  )
  expect(await say({ ...openai, url: 'https://inside.example.org' })).toMatch(
    /^null: .*10\.0\.0\.7 is private.*local: true/,
  )
  // The port speaks http.
  expect(await say({ ...openai, url: `https://plain.lan:${scene.port}`, local: true })).toMatch(
    /^null: no TLS with plain\.lan.*; its certificate must be valid/,
  )
  expect(await say({ ...openai, url: 'http://127.0.0.1:1', local: true })).toMatch(
    /nobody takes the connection: ECONNREFUSED; start it, and look at the port/,
  )
  expect(await say({ kind: 'openai', secret: 'absent', url: `http://127.0.0.1:${scene.port}`, local: true })).toMatch(
    /^127\.0\.0\.1:\d+: the secret absent is missing; `hub upstream list`/,
  )
})
