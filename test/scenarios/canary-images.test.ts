/** Which image a canary session uses: a missing, broken or untrusted one is its agent's fault, and holds up no other agent. */
import { expect, test } from 'vitest'
import { CANARY_AGENT } from '../../hub/protocol/agent.ts'
import { playCanary } from '../support/canary-shim.ts'
import { fakeImage } from '../support/fake-engine.ts'
import { type AgentSpec, createHarness, type Harness, worker } from '../support/hub-harness.ts'

const idOf = (digit: number) => `sha256:${String(digit).repeat(64)}`
const agentOf = (image: string): AgentSpec => ({ script: worker(() => 1), card: { image } })

/** A hub with an agent per image, by name in their order; `broken` images end before they have joined. */
async function scene(images: Record<string, string>, broken: readonly string[] = []) {
  const agents = Object.fromEntries(Object.entries(images).map(([name, image]) => [name, agentOf(image)]))
  const h = await createHarness({ agents, canary: true, lease: false })
  const names = [...new Set(Object.values(images))]
  for (const [at, image] of names.entries()) h.engine.images.set(image, fakeImage(idOf(at + 2)))
  await h.hub.work.catalogue.registry.read()
  const isBroken = (id: string) => broken.some((image) => id === idOf(names.indexOf(image) + 2))
  const { seen, tried } = play(h, isBroken)
  return { h, seen, tried, [Symbol.asyncDispose]: () => h[Symbol.asyncDispose]() }
}
function play(h: Harness, isBroken: (id: string) => boolean) {
  const seen = playCanary(h)
  const tried: string[] = []
  const { onStart } = h.engine
  h.engine.onStart = (container) => {
    const { Image, Labels } = container.body
    if (Labels['hub.agent'] !== CANARY_AGENT) return onStart(container)
    tried.push(Image)
    if (!isBroken(Image)) return onStart(container)
    container.log = 'no such file: /app/shim.js\n'
    queueMicrotask(() => container.exit(127))
    return undefined
  }
  return { seen, tried }
}
const judged = (h: Harness) => h.until(() => h.hub.work.runtime.view().state !== 'waiting', 'it is judged', 200)
const creates = (h: Harness) => h.engine.calls.filter((call) => call.startsWith('create')).length

test('an image that ends before it has joined holds up no other agent: the next is tried, and the doctor names the first [cond-11]', async () => {
  await using own = await scene({ broken: 'hub/broken', good: 'hub/good' }, ['hub/broken'])
  const { h, tried } = own
  await h.lease()
  await judged(h)
  expect([tried, h.hub.work.runtime.view()]).toMatchObject([
    [idOf(2), idOf(3)],
    { state: 'passed', findings: ['agent_image'] },
  ])
  expect([
    h.engine.containers.size,
    h.hub.work.containment.ledger.list(),
    h.hub.work.containment.sockets.list(),
  ]).toEqual([0, [], []])
  const { body } = await h.operator('GET', '/v1/doctor')
  const row = (body as { checks: { name: string }[] }).checks.find(({ name }) => name === 'engine agent_image')
  expect(row).toMatchObject({
    ok: null,
    detail: expect.stringMatching(
      /^the image of agent broken did not join: .*exit code 127.*its log ends: no such file/,
    ),
    mend: expect.stringContaining('hub agent suspend broken'),
  })
  await h.ended(await h.submit('good'))
})

test('one that does not join in time holds up no other either', async () => {
  await using own = await scene({ mute: 'hub/mute', shipped: 'hub/good' })
  const { h, seen, tried } = own
  seen.play.joins = false
  await h.lease()
  await h.until(() => tried.length === 1)
  seen.play.joins = true
  await judged(h)
  expect([tried, h.hub.work.runtime.view().state]).toEqual([[idOf(2), idOf(3)], 'passed'])
})

test('an image that was removed since the cards were read is looked for again, and only its agent is without one', async () => {
  await using own = await scene({ gone: 'hub/gone', good: 'hub/good' })
  const { h, tried } = own
  h.engine.images.delete('hub/gone')
  await h.lease()
  await judged(h)
  expect([tried, h.hub.work.runtime.view()]).toMatchObject([[idOf(3)], { state: 'passed', findings: [] }])
  expect(h.hub.work.catalogue.registry.find('gone')?.imageId).toBeUndefined()
  await expect(h.submit('gone')).rejects.toThrow('image_missing')
  await h.ended(await h.submit('good'))
})

test('the image of an agent that was suspended is never run [cond-11]', async () => {
  await using own = await scene({ bad: 'hub/bad', good: 'hub/good' })
  const { h, tried } = own
  await h.operator('POST', '/v1/agents/bad/suspend', {})
  expect(h.hub.work.catalogue.registry.find('bad')?.state).toBe('suspended')
  await h.lease()
  await judged(h)
  expect([tried, h.hub.work.runtime.view().state]).toEqual([[idOf(3)], 'passed'])
})

test('if a second image fails in the same way the engine is blamed, and no third is tried [cond-11]', async () => {
  await using own = await scene({ a: 'hub/a', b: 'hub/b', c: 'hub/c' }, ['hub/a', 'hub/b', 'hub/c'])
  const { h, tried } = own
  await h.lease()
  await judged(h)
  expect([tried, h.hub.work.runtime.view()]).toMatchObject([
    [idOf(2), idOf(3)],
    { state: 'failed', findings: ['socket_folder'] },
  ])
  expect(h.hub.guard.modes.has('engine_unfit')).toBe(true)
})

test('agents that share the one broken image are no second image', async () => {
  await using own = await scene({ a: 'hub/a', b: 'hub/a' }, ['hub/a'])
  const { h, tried } = own
  await h.lease()
  await judged(h)
  expect([tried.length, h.hub.work.runtime.view().state]).toEqual([1, 'failed'])
})

test('what the engine itself refuses is blamed on it at once', async () => {
  await using own = await scene({ a: 'hub/a', b: 'hub/b' })
  const { h } = own
  h.engine.fault('create', 'refuse', 100)
  await h.lease()
  await judged(h)
  expect([creates(h), h.hub.work.runtime.view()]).toMatchObject([1, { state: 'failed', findings: ['canary_failed'] }])
})

test('if a container cannot be removed the engine is blamed, whatever its image did', async () => {
  await using own = await scene({ a: 'hub/a', b: 'hub/b' }, ['hub/a'])
  const { h, tried } = own
  h.engine.fault('remove', 'fail', 100)
  await h.lease()
  await judged(h)
  expect([tried, h.hub.work.runtime.view().state]).toEqual([[idOf(2)], 'failed'])
  h.engine.fault('remove', 'fail', 0)
})

test('an image that is shipped is tried before others', async () => {
  await using own = await scene({ a: 'hub/a', echo: 'hub/echo' })
  const { h, tried } = own
  await h.lease()
  await judged(h)
  expect(tried).toEqual([idOf(3)])
})

test('no card may bear the name of canary sessions, whose containers each canary ends', async () => {
  await using own = await scene({ [CANARY_AGENT]: 'hub/a', good: 'hub/good' })
  const { registry } = own.h.hub.work.catalogue
  expect(registry.list().map(({ card }) => card.name)).toEqual(['good'])
  expect(registry.problems()).toMatchObject([
    { file: `${CANARY_AGENT}.yaml`, message: expect.stringContaining('choose another') },
  ])
})
