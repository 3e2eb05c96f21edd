import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createContext } from '../../../../hub/client/cli/context.ts'
import { createDevCopy, openSubject } from '../../../../hub/client/cli/dev-copy.ts'
import { imageIdOf, nameImage, removeImage } from '../../../../hub/client/cli/engine.ts'
import { pathsOf } from '../../../../hub/client/cli/home.ts'
import { plain } from '../../../../hub/client/cli/text.ts'
import { type FakeDoor, hubSocketOf, makeHome, openFakeDoor, refusal, runHub } from '../../../support/fake-hub.ts'

const card = (name: string, more = '') => `name: ${name}\ndescription: d\nimage: hub/${name}\nrun: [x]\n${more}`
let home: string
let remove: () => void
let hub: FakeDoor
/** An engine that knows images alone. */
let images: Map<string, string>
let engine: http.Server

beforeEach(async () => {
  ;({ home, remove } = makeHome())
  for (const folder of ['agents/schemas', 'policy']) mkdirSync(path.join(home, folder), { recursive: true })
  writeFileSync(
    path.join(home, 'agents', 'a.yaml'),
    card('a', 'messages: { sends: { one: schemas/own.json, two: schemas/shared.json } }\n'),
  )
  writeFileSync(path.join(home, 'agents', 'b.yaml'), card('b', 'messages: { sends: { two: schemas/shared.json } }\n'))
  for (const schema of ['own', 'shared']) writeFileSync(path.join(home, 'agents', 'schemas', `${schema}.json`), '{}')
  writeFileSync(
    path.join(home, 'policy', 'data.json'),
    '{ "agents": { "a": { "ttlMs": 1000 }, "b": { "ttlMs": 1000 } } }\n',
  )
  images = new Map([
    ['hub/a:latest', 'sha256:a'],
    ['hub/b:latest', 'sha256:b'],
  ])
  const socket = path.join(home, 'run', 'engine.sock')
  writeFileSync(path.join(home, 'watchdog', 'config.json'), JSON.stringify({ engineSocket: socket }))
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
  hub = await openFakeDoor(hubSocketOf(home))
  hub.on('GET /v1/agents', () => ({
    body: {
      agents: [
        { name: 'a', sessions: 0, image: 'hub/a' },
        { name: 'b', sessions: 0, image: 'hub/b' },
      ],
      problems: [],
    },
  }))
  hub.on('POST /v1/policy/reload', () => ({ body: {} }))
  hub.on('POST /v1/agents/reload', () => ({ body: { agents: [], problems: [] } }))
})
afterEach(async () => {
  await hub.close()
  engine.closeAllConnections()
  await new Promise((resolve) => engine.close(resolve))
  remove()
})
const there = (...files: string[]) => files.map((file) => existsSync(path.join(home, 'agents', file)))
const rows = () =>
  Object.keys((JSON.parse(readFileSync(path.join(home, 'policy', 'data.json'), 'utf8')) as { agents: object }).agents)

test('fault C11: takes grant, card, its own schemas and its image, and nothing that another card names', async () => {
  const { code, stdout } = await runHub(home, ['agent', 'remove', 'a', '--yes', '--json'])
  expect([code, JSON.parse(stdout)]).toEqual([
    0,
    { agent: 'a', granted: true, schemas: ['schemas/own.json'], imageRemoved: true },
  ])
  expect(there('a.yaml', 'b.yaml', 'schemas/own.json', 'schemas/shared.json')).toEqual([false, true, false, true])
  expect(rows()).toEqual(['b'])
  expect([...images.keys()]).toEqual(['hub/b:latest'])
})

test('while sessions of it run, without a yes, or without a card nothing is removed', async () => {
  expect((await runHub(home, ['agent', 'remove', 'a'])).code).toBe(2)
  expect((await runHub(home, ['agent', 'remove', 'c', '--yes'])).stderr).toContain('no card of c in the home')
  expect((await runHub(home, ['agent', 'remove', '../a', '--yes'])).code).toBe(2)
  hub.on('GET /v1/agents', () => ({ body: { agents: [{ name: 'a', sessions: 2, image: 'hub/a' }], problems: [] } }))
  const busy = await runHub(home, ['agent', 'remove', 'a', '--yes'])
  expect([busy.code, busy.stderr]).toEqual([3, expect.stringContaining('2 sessions of a are running')])
  expect([there('a.yaml', 'schemas/own.json'), rows(), images.size]).toEqual([[true, true], ['a', 'b'], 2])
})

test('a hub that does not read the cards leaves the card as it was', async () => {
  hub.on('POST /v1/agents/reload', () => refusal('mode_draining', 'not now'))
  const { stderr } = await runHub(home, ['agent', 'remove', 'a', '--yes'])
  expect(stderr).toContain('the card is as it was')
  expect(there('a.yaml', 'schemas/own.json')).toEqual([true, true])
})

test('fault C11: the image of a trial goes with it, and its crashes are forgotten', async () => {
  images.set('hub/a--dev:latest', 'sha256:dev')
  const paths = pathsOf(home)
  expect(await removeImage(paths, 'hub/a--dev')).toBeUndefined()
  expect(images.has('hub/a--dev:latest')).toBe(false)
  // One that is gone already is no matter.
  expect(await removeImage(paths, 'hub/a--dev')).toBeUndefined()
  const resets: string[] = []
  hub.on('POST /v1/agents/:name/reset', ({ path: at }) => {
    resets.push(`${at} ${existsSync(path.join(home, 'agents', 'a--dev.yaml'))}`)
    return { body: {} }
  })
  const terminal = {
    out: () => {},
    bytes: async () => true,
    json: () => {},
    note: () => {},
    live: () => {},
    paint: plain,
    interactive: false,
    confirm: async () => true,
  }
  const copy = createDevCopy(createContext(home, false, terminal), () => openSubject(home, 'a'))
  writeFileSync(path.join(home, 'agents', 'a--dev.yaml'), card('a--dev'))
  await copy.remove()
  // While its card was there, which is what the hub knows it by.
  expect(resets).toEqual(['/v1/agents/a--dev/reset true'])
  expect(there('a--dev.yaml')).toEqual([false])
})

test('fault C36: an image can be given its former name again', async () => {
  const paths = pathsOf(home)
  expect(await imageIdOf(paths, 'hub/a')).toBe('sha256:a')
  expect(await nameImage(paths, 'sha256:before', 'hub/a')).toBe(true)
  expect(await imageIdOf(paths, 'hub/a')).toBe('sha256:before')
  expect(await imageIdOf(paths, 'hub/none')).toBeUndefined()
})
