/** What is not ours, on the real engine: images that may not be used (T50), and the containers of another hub (T61). */
import { createHash } from 'node:crypto'
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Image } from '../../scripts/images/archive.ts'
import { type ContainerHome, openContainerHome } from '../support/container-home.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { load, spyImage } from '../support/spy-image.ts'

interface Agent {
  name: string
  imageId: string | null
  reason: string
}

/** The same layers under another name, with these settings added: what a builder would have written. */
function imageWith(name: string, settings: object): Image {
  const { layers, config, note } = spyImage()
  const told = JSON.parse(config.toString()) as { config: object }
  const changed = Buffer.from(JSON.stringify({ ...told, config: { ...told.config, ...settings } }))
  const configDigest = `sha256:${createHash('sha256').update(changed).digest('hex')}`
  return { reference: `hub-test/${name}:latest`, configDigest, config: changed, layers, below: [], note }
}
const cardOf = (name: string, image = `hub-test/${name}`) => ({
  name,
  description: 'Stands on an image of the test',
  image,
  run: ['node', '/app/test/support/images/spy/main.js'],
  restarts: 0,
  limits: { ttl: '10m', memory: '256MiB' },
})
const REFUSED: Record<string, [settings: object, says: RegExp]> = {
  'with-volume': [{ Volumes: { '/data': {} } }, /VOLUME \(\/data\)/],
  'with-root': [{ User: '0:0' }, /USER \(0:0\)/],
  'with-no-user': [{ User: '' }, /USER \(root\)/],
  'with-env': [{ Env: ['LD_PRELOAD=/x'] }, /ENV \(LD_PRELOAD=\/x\)/],
  'with-label': [{ Labels: { 'hub.instance': 'x' } }, /LABEL \(hub\.instance\)/],
}
const PINNED = 'spy-pinned'
const names = [...Object.keys(REFUSED), PINNED]

const remove = (name: string) =>
  new Promise<void>((resolve) => {
    const path = `/images/hub-test/${name}:latest`
    request({ socketPath: ENGINE_SOCKET, method: 'DELETE', path }, (answer) => answer.resume().on('end', resolve))
      .on('error', () => resolve())
      .end()
  })

/** As this engine names the first image of that name. */
let pinnedId = ''
let one: ContainerHome
let two: ContainerHome
beforeAll(async () => {
  const refused = Object.entries(REFUSED).map(([name, [settings]]) => imageWith(name, settings))
  const loaded = await load([spyImage(), imageWith(PINNED, {}), ...refused])
  pinnedId = loaded.find((each) => each.name === `hub-test/${PINNED}`)?.id ?? ''
  const cards = [...names, 'no-image'].map((name) => cardOf(name))
  one = await openContainerHome({ cards: ['test/support/images/spy/agent.yaml', ...cards] })
  two = await openContainerHome({ cards: ['test/support/images/spy/agent.yaml'] })
})
afterAll(async () => {
  await Promise.all([one?.close(), two?.close()])
  for (const name of names) await remove(name)
})
const agent = async (name: string) =>
  (await one.json<Agent[]>('agent', 'list')).find((each) => each.name === name) as Agent

describe('T50: an image is used by its id, and only if it carries nothing of its own', () => {
  test.each(Object.entries(REFUSED))('%s: refused by name, nothing starts', async (name, [, says]) => {
    expect((await agent(name)).imageId).toBe(null)
    expect((await agent(name)).reason).toMatch(says)
    expect((await one.hub('submit', name)).code).toBe(3)
    expect(await one.engine.list(one.instance)).toEqual([])
  })

  test('an image that is not there is refused by name', async () => {
    expect(await agent('no-image')).toMatchObject({ imageId: null, reason: 'image hub-test/no-image is missing' })
    expect((await one.hub('submit', 'no-image')).stderr).toContain('hub-test/no-image')
  })

  test('a name that moves on to another image changes nothing: the agent stays with the id it was registered with', async () => {
    expect((await agent(PINNED)).imageId).toBe(pinnedId)
    const [second] = await load([imageWith(PINNED, { WorkingDir: '/tmp' })])
    const session = await one.place(PINNED, { what: 'idle' })
    expect(await one.engine.inspect(session.containerId)).toMatchObject({ Image: pinnedId })
    await one.hub('session', 'stop', session.id)
    expect((await agent(PINNED)).imageId).toBe(pinnedId)
    // Below a session that is under way no other image is taken.
    const atWork = () => one.json<{ agent: string }[]>('session', 'list')
    await expect.poll(atWork, { timeout: 120_000 }).toEqual([])
    await one.hub('agent', 'reload')
    expect((await agent(PINNED)).imageId).toBe(second?.id)
  })
})

test('T61: two hubs on one engine: neither lists, shows, stops or sweeps away what is the other one’s', async () => {
  const theirs = await two.place('spy', { what: 'idle' })
  const ours = await one.place('spy', { what: 'idle' })
  const listed = (await one.json<{ id: string }[]>('session', 'list')).map(({ id }) => id)
  expect([listed.includes(ours.id), listed.includes(theirs.id)]).toEqual([true, false])
  for (const verb of ['show', 'logs', 'stop']) {
    const { code, stderr } = await one.hub('session', verb, theirs.id)
    expect([verb, code, stderr.includes(theirs.id)]).toEqual([verb, 3, true])
  }
  await one.hub('down')
  expect(await one.engine.list(one.instance)).toEqual([])
  expect(await two.engine.list(two.instance)).toMatchObject([{ id: theirs.containerId, state: 'running' }])
})
