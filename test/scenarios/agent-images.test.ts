/** What is kept of an agent across a restart: the image it runs from, and that it may not start (S1-3, S1-11, S1-56). */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { noteImageBuilds } from '../../hub/base/image-builds.ts'
import { fakeImage } from '../support/fake-engine.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'

const idOf = (digit: number) => `sha256:${String(digit).repeat(64)}`
const agents = {
  echo: { script: worker(() => 'done'), card: { image: 'hub/echo' } },
  crash: {
    script: async () => {
      throw new Error('as always')
    },
    card: { restarts: 0 },
  },
}
/** A hub whose agent `echo` was first seen with the image 2. */
async function scene(more: Record<string, object> = {}) {
  const h = await createHarness({ agents: { ...agents, ...more } as never })
  h.engine.images.set('hub/echo', fakeImage(idOf(2)))
  expect((await reload(h)).status).toBe(200)
  return h
}
const reload = (h: Harness) => h.operator('POST', '/v1/agents/reload', {})
const imageOf = (h: Harness) => h.hub.work.catalogue.registry.find('echo')?.imageId
/** The engine gives the name to another image; the former one stays, without a name, or goes. */
function rebuild(h: Harness, digit: number, keeps = true): void {
  const former = h.engine.images.get('hub/echo')
  if (keeps && former !== undefined) h.engine.images.set(`former-${former.id}`, former)
  h.engine.images.set('hub/echo', fakeImage(idOf(digit)))
}
const changes = (h: Harness) =>
  h
    .audit()
    .filter(({ action, resource }) => action === 'hub.observed' && resource === 'agent:echo')
    .map(({ outcome, effect }) => [outcome, effect])
async function ranFrom(h: Harness): Promise<string | undefined> {
  const id = await h.submit('echo')
  await h.ended(id)
  const [session] = h.sessionsOf(id)
  await h.quiet()
  return session?.imageId
}

test('fault D2: the image that was taken outlives a restart and an outage of the engine, whatever its name means then', async () => {
  await using h = await scene()
  rebuild(h, 3)
  await h.stop()
  await h.start()
  expect(await ranFrom(h)).toBe(idOf(2))
  await h.kill()
  await h.start()
  expect(imageOf(h)).toBe(idOf(2))
  // The cards are read while the engine is away, and once more when it is back.
  await h.stop()
  h.engine.fault('inspectImage', 'fail', 4)
  await h.start()
  expect(imageOf(h)).toBeUndefined()
  await h.until(() => imageOf(h) !== undefined, 'the images are looked up again')
  expect(await ranFrom(h)).toBe(idOf(2))
  expect([changes(h), h.events('hub.agent.image_changed.v1')]).toEqual([[], []])
  const { checks } = (await h.operator('GET', '/v1/doctor')).body as { checks: { name: string }[] }
  expect(checks.find(({ name }) => name === 'agent echo')).toMatchObject({
    ok: null,
    detail: `hub/echo now names another image (333333333333) than the one that the agent runs from (222222222222); only \`hub agent reload\` takes it`,
    mend: 'hub agent reload',
  })
})

test('a reload takes what the name means now: an event and a record with both ids, once', async () => {
  await using h = await scene()
  rebuild(h, 3)
  expect(((await reload(h)).body.agents as { name: string }[]).find(({ name }) => name === 'echo')).toMatchObject({
    imageId: idOf(3),
    imageNote: null,
  })
  await reload(h)
  expect(changes(h)).toEqual([
    ['ok', expect.stringMatching(`^image:${idOf(2)} -> ${idOf(3)} .hub/echo, card [0-9a-f]{12}.$`)],
  ])
  expect(h.events('hub.agent.image_changed.v1')).toMatchObject([
    {
      subject: 'agent:echo',
      data: { image: 'hub/echo', imageId: idOf(3), former: idOf(2), card: expect.stringMatching(/^[0-9a-f]{64}$/) },
    },
  ])
  await h.stop()
  await h.start()
  expect(await ranFrom(h)).toBe(idOf(3))
})

test('it is refused while a session of that agent is under way, and taken by the next reload', async () => {
  await using h = await scene({ echo: { script: puppet, card: { image: 'hub/echo', limits: { sessions: 1 } } } })
  const [echo] = await h.bring('echo')
  rebuild(h, 3)
  const { body } = await reload(h)
  expect((body.agents as { name: string }[]).find(({ name }) => name === 'echo')).toMatchObject({
    imageId: idOf(2),
    imageNote: expect.stringContaining('it cannot be taken while a session of the agent runs'),
    state: 'registered',
  })
  const behind = await h.submit('echo')
  await h.pumped(echo.result())
  await h.until(() => h.sessionsOf(behind)[0]?.state === 'working')
  expect(h.sessionsOf(behind)[0]?.imageId).toBe(idOf(2))
  await h.operator('POST', `/v1/tasks/${behind}/cancel`)
  await h.quiet()
  expect([changes(h), imageOf(h)]).toEqual([[], idOf(2)])
  await reload(h)
  expect([changes(h).length, imageOf(h)]).toEqual([1, idOf(3)])
})

test('if the image that was taken is gone, another of its name is not run in its place until the operator says so', async () => {
  await using h = await scene()
  rebuild(h, 3, false)
  await h.stop()
  await h.start()
  expect(imageOf(h)).toBeUndefined()
  await expect(h.submit('echo')).rejects.toThrow(
    'image_refused: image hub/echo is not the image that was taken (222222222222), and that one is gone; only `hub agent reload` takes it',
  )
  await reload(h)
  expect(await ranFrom(h)).toBe(idOf(3))
})

test('a card that names another image is followed at once, with a record; what cannot be recorded is not taken', async () => {
  await using h = await scene()
  h.engine.images.set('hub/other', fakeImage(idOf(4)))
  const card = join(h.home, 'agents', 'echo.yaml')
  await h.stop()
  writeFileSync(card, readFileSync(card, 'utf8').replace('hub/echo', 'hub/other'))
  await h.start()
  expect([imageOf(h), changes(h)]).toEqual([
    idOf(4),
    [['ok', expect.stringMatching(`^image:${idOf(2)} -> ${idOf(4)} .hub/other, card `)]],
  ])
  h.engine.images.set('former', fakeImage(idOf(4)))
  h.engine.images.set('hub/other', fakeImage(idOf(5)))
  h.hub.guard.store
    .prepare("create trigger broken before insert on audit_record begin select raise(abort, 'broken'); end")
    .run()
  await h.hub.work.catalogue.registry.read(true)
  expect([imageOf(h), h.hub.work.catalogue.registry.find('echo')?.imageNote]).toEqual([
    idOf(4),
    expect.stringContaining('it could not be taken: '),
  ])
  h.hub.guard.store.prepare('drop trigger broken').run()
  await h.hub.work.catalogue.registry.read(true)
  expect([imageOf(h), changes(h).map(([outcome]) => outcome)]).toEqual([idOf(5), ['ok', 'refused', 'ok']])
})

test('unhealthy and suspended outlive a restart; without its row the agent is there again, as its card says (S1-11)', async () => {
  await using h = await scene()
  await h.ended(await h.submit('crash'))
  await h.operator('POST', '/v1/agents/echo/suspend', {})
  const states = () =>
    h.hub.work.catalogue.registry.list().map(({ card, state, crashes }) => [card.name, state, crashes])
  for (const how of ['stop', 'kill'] as const) {
    await h.quiet()
    await h[how]()
    await h.start()
    expect(states(), how).toEqual([
      ['crash', 'unhealthy', 1],
      ['echo', 'suspended', 0],
    ])
    await expect(h.submit('crash'), how).rejects.toThrow('agent_unhealthy')
    await expect(h.submit('echo'), how).rejects.toThrow('agent_unhealthy')
  }
  const { store } = h.hub.guard
  store.transaction(() => store.prepare('delete from agent').run())
  await h.stop()
  await h.start()
  expect(states()).toEqual([
    ['crash', 'registered', 0],
    ['echo', 'registered', 0],
  ])
  expect(await ranFrom(h)).toBe(idOf(2))
})

test('S1-56: an image that the program of the operator refuses runs nowhere, and its agent says why; the card is kept with the image', async () => {
  // Its only question to the machine is whether such a file is there.
  const flag = join(mkdtempSync(join(tmpdir(), 'sig-')), 'signed')
  const images = { signature: { mode: 'enforce', run: ['/usr/bin/test', '-e', flag], timeout: '60s' } }
  await using h = await createHarness({ agents: { echo: agents.echo }, config: { images } })
  h.engine.images.set('hub/echo', fakeImage(idOf(2)))
  expect((await reload(h)).status).toBe(200)
  expect(imageOf(h)).toBeUndefined()
  const refused = await h.operator('POST', '/v1/tasks', { agent: 'echo' })
  expect([refused.body.code, String(refused.body.detail)]).toEqual([
    'image_refused',
    expect.stringMatching(/is refused: the signature program says no: exit code 1$/),
  ])
  writeFileSync(flag, '')
  expect((await reload(h)).status).toBe(200)
  const taken = imageOf(h) ?? ''
  expect(await ranFrom(h)).toBe(taken)
  const ofImage = h.audit().filter(({ resource }) => resource === `image:${taken}`)
  expect(ofImage.map(({ effect }) => effect)).toEqual([
    'signature of hub/echo: failed (exit code 1)',
    'signature of hub/echo: passed (exit code 0)',
  ])
  // Another image of its name, which the program would refuse, stops nobody until the operator asks for it.
  const former = h.engine.images.get('hub/echo') as ReturnType<typeof fakeImage>
  rmSync(flag)
  rebuild(h, 3)
  await h.hub.work.catalogue.registry.read()
  expect([imageOf(h), h.audit().filter(({ resource }) => resource === `image:${idOf(3)}`)]).toEqual([taken, []])
  await reload(h)
  expect(imageOf(h)).toBeUndefined()
  h.engine.images.set('hub/echo', former)
  writeFileSync(flag, '')
  await reload(h)
  // A card of other words and the same image is a record; it tells which card was read with which image.
  const card = join(h.home, 'agents', 'echo.yaml')
  writeFileSync(card, `${readFileSync(card, 'utf8')}\n# another\n`)
  await reload(h)
  expect(changes(h)).toEqual([['ok', expect.stringMatching(`^card:[0-9a-f]{64} -> [0-9a-f]{64} .image ${taken}.$`)]])
  // Another program by a change of hub.yaml: until it has answered, nothing starts by the answer of the one before. It reads a pipe to its end.
  const pipe = join(dirname(flag), 'pipe')
  spawnSync('mkfifo', [pipe])
  const other = { signature: { mode: 'enforce', run: ['/usr/bin/cat', pipe], timeout: '60s' } }
  const ports = { http: { port: 0 }, metrics: { port: 0 } }
  writeFileSync(join(h.home, 'hub.yaml'), JSON.stringify({ ...ports, images: other }))
  const { registry } = h.hub.work.catalogue
  await h.until(() => registry.find('echo')?.doubt !== undefined, 'the change counts')
  const waiting = await h.submit('echo')
  const fromMs = h.clock.monotonicMs()
  await h.until(() => h.clock.monotonicMs() - fromMs > 3000, 'rounds of the dispatcher')
  expect([h.task(waiting).state, h.sessionsOf(waiting)]).toEqual(['queued', []])
  await writeFile(pipe, '')
  await h.ended(waiting)
  expect(h.sessionsOf(waiting).map(({ imageId }) => imageId)).toEqual([taken])
})

test('an agent whose image was built before its card asked for an addition is refused by name, with the next step; an image of which nobody can say it is taken', async () => {
  const cards = {
    mcp: { mcp: ['stdio'] },
    both: { driver: 'acp', mode: 'chat', mcp: ['stdio'], run: ['x'] },
    plain: {},
  }
  const names = Object.keys(cards)
  const made = Object.entries(cards).map(([name, card]) => [
    name,
    { script: worker(() => 'done'), card: { image: `hub/${name}`, ...card } },
  ])
  await using h = await createHarness({ agents: Object.fromEntries(made) })
  for (const [at, name] of names.entries()) h.engine.images.set(`hub/${name}`, fakeImage(idOf(at + 2)))
  writeFileSync(join(h.home, 'instance'), h.instance)
  const build = (additions: Record<string, string[]>) => {
    const rows = names.map((name, at) => ({ id: idOf(at + 2), name: `hub/${name}`, additions: additions[name] ?? [] }))
    noteImageBuilds(h.home, rows, 1)
  }
  /** What each is refused with; undefined for one that gets work. */
  const refused = async () => {
    await reload(h)
    const answers = names.map((agent) => h.operator('POST', '/v1/tasks', { agent }))
    return (await Promise.all(answers)).map(({ status, body }) =>
      status === 200 ? undefined : [body.code, body.detail],
    )
  }
  const why = (what: string, name: string) => [
    'image_refused',
    `its card asks for ${what}, and hub/${name} was built without: \`hub agent build FOLDER\`, then \`hub agent reload\``,
  ]
  expect(await refused()).toEqual([undefined, undefined, undefined])
  const dispatch = (value: boolean) => h.operator('POST', '/v1/flags/dispatch', { value })
  await dispatch(false)
  const waiting = await h.submit('mcp')
  build({})
  expect(await refused()).toEqual([why('mcp', 'mcp'), why('acp and mcp', 'both'), undefined])
  await dispatch(true)
  await h.clock.advance(5000)
  const waitsFor = async () =>
    ((await h.operator('GET', `/v1/tasks/${waiting}`)).body.task as { waitsFor: string }).waitsFor
  expect(await waitsFor()).toContain(`agent mcp may not use its image: ${why('mcp', 'mcp')[1]}; `)
  build({ mcp: ['acp'], both: ['mcp'] })
  expect(await refused()).toEqual([why('mcp', 'mcp'), why('acp', 'both'), undefined])
  const { checks } = (await h.operator('GET', '/v1/doctor')).body as { checks: { name: string }[] }
  expect(checks.find(({ name }) => name === 'agent mcp')).toMatchObject({ ok: false, mend: 'hub agent build FOLDER' })
  // Built again, as the assembly writes it down.
  build({ mcp: ['mcp'], both: ['acp', 'mcp'] })
  expect(await refused()).toEqual([undefined, undefined, undefined])
  await h.ended(waiting)
})
