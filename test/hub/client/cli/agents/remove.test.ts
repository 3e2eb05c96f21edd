import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { createDevCopy, openSubject } from '../../../../../hub/client/cli/agents/dev-copy.ts'
import { createContext } from '../../../../../hub/client/cli/context.ts'
import { imageIdOf, nameImage, removeImage } from '../../../../../hub/client/cli/engine.ts'
import { pathsOf } from '../../../../../hub/client/cli/home.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { refusal } from '../../../../support/fake-hub.ts'
import { fakeTerminal } from '../../../../support/fake-terminal.ts'

const card = (name: string, more = '') => `name: ${name}\ndescription: d\nimage: hub/${name}\nrun: [x]\n${more}`
/** An engine that knows images alone. */
let images: Map<string, string>
let engine: http.Server

const at = commandHome(async () => {
  for (const folder of ['agents/schemas', 'policy']) mkdirSync(path.join(at.home, folder), { recursive: true })
  writeFileSync(
    path.join(at.home, 'agents', 'a.yaml'),
    card('a', 'messages: { sends: { one: schemas/own.json, two: schemas/shared.json } }\n'),
  )
  writeFileSync(
    path.join(at.home, 'agents', 'b.yaml'),
    card('b', 'messages: { sends: { two: schemas/shared.json } }\n'),
  )
  for (const schema of ['own', 'shared']) writeFileSync(path.join(at.home, 'agents', 'schemas', `${schema}.json`), '{}')
  writeFileSync(
    path.join(at.home, 'policy', 'data.json'),
    '{ "agents": { "a": { "ttlMs": 1000 }, "b": { "ttlMs": 1000 } } }\n',
  )
  images = new Map([
    ['hub/a:latest', 'sha256:a'],
    ['hub/b:latest', 'sha256:b'],
  ])
  const socket = path.join(at.home, 'run', 'engine.sock')
  writeFileSync(path.join(at.home, 'watchdog', 'config.json'), JSON.stringify({ engineSocket: socket }))
  engine = http.createServer((request, response) => {
    const [, , name = ''] =
      /^(\/v[\d.]+)?\/images\/(.+?)(?:\/json|\/tag\?.*)?$/.exec(decodeURIComponent(request.url ?? '')) ?? []
    const known = images.get(name)
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (request.url?.endsWith('/version')) return answer(200, { ApiVersion: '1.41', MinAPIVersion: '1.24' })
    if (request.method === 'POST') {
      images.set('hub/a:latest', name)
      return answer(201, {})
    }
    if (known === undefined) return answer(404, { message: 'No such image' })
    if (request.method === 'DELETE') images.delete(name)
    return answer(200, { Id: known })
  })
  await new Promise<void>((resolve) => engine.listen(socket, resolve))
  at.hub.on('GET /v1/agents', () => ({
    body: {
      agents: [
        { name: 'a', sessions: 0, image: 'hub/a' },
        { name: 'b', sessions: 0, image: 'hub/b' },
      ],
      problems: [],
    },
  }))
  at.hub.on('POST /v1/policy/reload', () => ({ body: {} }))
  at.hub.on('POST /v1/agents/reload', () => ({ body: { agents: [], problems: [] } }))
})
afterEach(async () => {
  engine.closeAllConnections()
  await new Promise((resolve) => engine.close(resolve))
})
const there = (...files: string[]) => files.map((file) => existsSync(path.join(at.home, 'agents', file)))
const rows = () =>
  Object.keys(
    (JSON.parse(readFileSync(path.join(at.home, 'policy', 'data.json'), 'utf8')) as { agents: object }).agents,
  )

test('fault C11: takes grant, card, its own schemas and its image, and nothing that another card names', async () => {
  const { code, stdout } = await at.run(['agent', 'remove', 'a', '--yes', '--json'])
  expect([code, JSON.parse(stdout)]).toEqual([
    0,
    { agent: 'a', granted: true, schemas: ['schemas/own.json'], imageRemoved: true, limits: false },
  ])
  expect(there('a.yaml', 'b.yaml', 'schemas/own.json', 'schemas/shared.json')).toEqual([false, true, false, true])
  expect(rows()).toEqual(['b'])
  expect([...images.keys()]).toEqual(['hub/b:latest'])
})

test('takes its own limits out of hub.yaml, after its card, and no other line', async () => {
  const file = path.join(at.home, 'hub.yaml')
  const others = '# mine\nlimits:\n  # of all\n  sessions: 6\n  agents:\n    b: { ttl: 2h } # stays\n'
  writeFileSync(file, `${others}    a: { ttl: 8h, memory: 4GiB }\n`)
  at.hub.on('POST /v1/agents/reload', () => {
    expect([there('a.yaml'), readFileSync(file, 'utf8')]).toEqual([[false], expect.stringContaining('a: {')])
    return { body: { agents: [], problems: [] } }
  })
  const { code, stdout } = await at.run(['agent', 'remove', 'a', '--yes', '--json'])
  expect([code, JSON.parse(stdout).limits, readFileSync(file, 'utf8')]).toEqual([0, true, others])
})

test('one that was made by a recipe and never built has no card: its grant and limits go', async () => {
  const file = path.join(at.home, 'hub.yaml')
  const data = path.join(at.home, 'policy', 'data.json')
  writeFileSync(file, '# mine\n\nlimits:\n  agents:\n    c: { ttl: 8h }\n')
  writeFileSync(data, readFileSync(data, 'utf8').replace('"b":', '"c": { "egress": ["openai"] }, "b":'))
  const { code, stdout } = await at.run(['agent', 'remove', 'c', '--yes', '--json'])
  expect([code, JSON.parse(stdout)]).toEqual([
    0,
    { agent: 'c', granted: true, schemas: [], imageRemoved: false, limits: true },
  ])
  expect([rows(), readFileSync(file, 'utf8').trim(), there('a.yaml')]).toEqual([['a', 'b'], '# mine', [true]])
  expect((await at.run(['agent', 'remove', 'c', '--yes'])).stderr).toContain('agent c has no card in the home')
})

test('while sessions of it run, without a yes, or without a card nothing is removed', async () => {
  expect((await at.run(['agent', 'remove', 'a'])).code).toBe(2)
  expect((await at.run(['agent', 'remove', 'c', '--yes'])).stderr).toContain('agent c has no card in the home')
  expect((await at.run(['agent', 'remove', '../a', '--yes'])).code).toBe(2)
  at.hub.on('GET /v1/agents', () => ({ body: { agents: [{ name: 'a', sessions: 2, image: 'hub/a' }], problems: [] } }))
  const busy = await at.run(['agent', 'remove', 'a', '--yes'])
  expect([busy.code, busy.stderr]).toEqual([3, expect.stringContaining('2 sessions of a are running')])
  expect([there('a.yaml', 'schemas/own.json'), rows(), images.size]).toEqual([[true, true], ['a', 'b'], 2])
})

test('a hub that does not read the cards leaves the card as it was', async () => {
  at.hub.on('POST /v1/agents/reload', () => refusal('mode_draining', 'not now'))
  const { stderr } = await at.run(['agent', 'remove', 'a', '--yes'])
  expect(stderr).toContain('the card is unchanged')
  expect(there('a.yaml', 'schemas/own.json')).toEqual([true, true])
})

test('fault C11: the image of a trial goes with it, and its crashes are forgotten', async () => {
  images.set('hub/a--dev:latest', 'sha256:dev')
  const paths = pathsOf(at.home)
  expect(await removeImage(paths, 'hub/a--dev')).toBeUndefined()
  expect(images.has('hub/a--dev:latest')).toBe(false)
  // One that is gone already is no matter.
  expect(await removeImage(paths, 'hub/a--dev')).toBeUndefined()
  const resets: string[] = []
  at.hub.on('POST /v1/agents/:name/reset', ({ path: where }) => {
    resets.push(`${where} ${existsSync(path.join(at.home, 'agents', 'a--dev.yaml'))}`)
    return { body: {} }
  })
  const terminal = fakeTerminal()
  const copy = createDevCopy(createContext(at.home, false, terminal), () => openSubject(at.home, 'a'))
  writeFileSync(path.join(at.home, 'agents', 'a--dev.yaml'), card('a--dev'))
  await copy.remove()
  // While its card was there, which is what the hub knows it by.
  expect(resets).toEqual(['/v1/agents/a--dev/reset true'])
  expect(there('a--dev.yaml')).toEqual([false])
})

test('fault C36: an image can be given its former name again', async () => {
  const paths = pathsOf(at.home)
  expect(await imageIdOf(paths, 'hub/a')).toBe('sha256:a')
  expect(await nameImage(paths, 'sha256:before', 'hub/a')).toBe(true)
  expect(await imageIdOf(paths, 'hub/a')).toBe('sha256:before')
  expect(await imageIdOf(paths, 'hub/none')).toBeUndefined()
})
