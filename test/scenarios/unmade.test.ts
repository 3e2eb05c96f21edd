/** A session that cannot be made, in whichever step of its making (S4-2, S4-3): nothing of it stays, and the next one is made. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
import { createHarness, type Harness, worker } from '../support/hub-harness.ts'

const agents = { echo: { script: worker(() => 'done') } }
/** As often as the launcher tries one task; the next one is made. */
const no = () => new HubError('engine_refused', 'told to fail', { facts: { engineStatus: 500 } })

/** The next `times` calls of a method throw, after the first `skip` of them. */
function failing<Part extends object, Name extends keyof Part>(
  part: Part,
  name: Name,
  skip = 0,
  when = (_: unknown) => true,
) {
  const real = part[name] as (...args: unknown[]) => unknown
  let left = skip
  part[name] = ((...args: unknown[]) => {
    if (!when(args[0])) return real.apply(part, args)
    left -= 1
    if (left === -1) throw no()
    return real.apply(part, args)
  }) as Part[Name]
}

const left = (h: Harness) => ({
  containers: [...h.engine.containers.values()].map(({ name }) => name),
  ledger: h.hub.work.containment.ledger.list(),
  folders: readdirSync(join(h.home, 'run', 's')),
  open: h.hub.work.tasks.sessionsOpen(),
  cards: h.hub.guard.store.prepare('select count(*) as count from session_card').get(),
  keys: h.hub.guard.store
    .prepare("select count(*) as count from session where public_key is not null and state <> 'recycled'")
    .get(),
})
const NOTHING = { containers: [], ledger: [], folders: [], open: [], cards: { count: 0 }, keys: { count: 0 } }

test.each<[string, (h: Harness) => void]>([
  ['the folder of its sockets', (h) => failing(h.hub.work.containment.sockets, 'make')],
  ['the ledger', (h) => failing(h.hub.work.containment.ledger, 'put')],
  ['its container as the rules see it', (h) => failing(h.hub.work.containment.containers, 'plan')],
  [
    'the rules',
    (h) =>
      failing(h.hub.guard.gate, 'admit', 0, (act) => (act as { operation: string }).operation === 'session.provision'),
  ],
  ['creating', (h) => h.engine.fault('create', 'refuse', 1)],
  ['comparing', (h) => h.engine.fault('inspect', 'refuse', 1)],
  ['waiting for its end', (h) => h.engine.fault('waitNextExit', 'refuse', 1)],
  ['its row', (h) => failing(h.hub.work.tasks, 'provisioned')],
  ['the ledger, once its container is made', (h) => failing(h.hub.work.containment.ledger, 'put', 1)],
  ['starting', (h) => h.engine.fault('start', 'refuse', 1)],
])('what fails is %s: no workspace, container, socket folder or token is left (S4-3)', async (_, fail) => {
  await using h = await createHarness({ agents })
  fail(h)
  const id = await h.submit('echo')
  await h.ended(id)
  await h.quiet()
  const sessions = h.sessionsOf(id)
  expect(sessions.length).toBeGreaterThan(0)
  expect(sessions[0]).toMatchObject({ state: 'recycled', publicKey: null })
  expect(left(h)).toEqual(NOTHING)
  await h.ended(await h.submit('echo'))
  await h.quiet()
  expect(left(h)).toEqual(NOTHING)
})

test('the order in which a session is made (S4-2)', async () => {
  await using h = await createHarness({ agents })
  const steps: string[] = []
  const { sockets, ledger, containers } = h.hub.work.containment
  const told = <Part extends object>(part: Part, name: keyof Part & string) => {
    const real = part[name] as (...args: unknown[]) => unknown
    part[name] = ((...args: unknown[]) => {
      steps.push(name)
      return real.apply(part, args)
    }) as never
  }
  told(sockets, 'make')
  told(ledger, 'put')
  told(containers, 'plan')
  told(h.hub.work.tasks, 'provisioned')
  const calls = h.engine.calls.length
  await h.ended(await h.submit('echo'))
  const asked = h.engine.calls.slice(calls).map((call) => call.split(' ')[0] ?? '')
  expect(steps.slice(0, 5)).toEqual(['make', 'put', 'plan', 'provisioned', 'put'])
  expect(asked.filter((verb) => ['create', 'inspect', 'start'].includes(verb)).slice(0, 3)).toEqual([
    'create',
    'inspect',
    'start',
  ])
})

test('an image that was removed between build and start fails its task by name, and the next one is refused before it is queued', async () => {
  await using h = await createHarness({ agents })
  const [[name, { id }] = ['', { id: '' }]] = [...h.engine.images]
  h.engine.images.clear()
  const task = await h.submit('echo')
  await h.ended(task)
  expect(h.task(task).error).toMatchObject({
    code: 'image_missing',
    detail: `the engine has no image ${id} any more; it was removed since it was built`,
  })
  expect(h.hub.work.catalogue.registry.find('echo')).toMatchObject({
    imageId: undefined,
    reason: `image ${name} is missing`,
  })
  await expect(h.submit('echo')).rejects.toThrow('image_missing')
  await h.quiet()
  expect(left(h)).toEqual(NOTHING)
})
