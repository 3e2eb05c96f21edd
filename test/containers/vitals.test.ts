/**
 * Containers that run and do not live, on a real hub and the real engine (S1-49). Shorter spans than the shipped ones, the same rule; and
 * long enough for a healthy program on a machine that has other things to do. They run out side by side.
 */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ContainerHome, openContainerHome, type Session, until } from '../support/container-home.ts'
import { loadProbe } from '../support/probe-session.ts'
import { load, spyImage } from '../support/spy-image.ts'

const card = (name: string) => ({
  name,
  description: 'Hangs',
  image: 'hub-test/spy',
  run: ['node', '/app/test/support/images/spy/main.js'],
  restarts: 0,
  limits: { ttl: '5m', memory: '128MiB' },
})

const JOIN_S = 30
let home: ContainerHome
let [wedged, mute] = [
  { task: '', containerId: '' },
  { task: '', containerId: '' },
]
beforeAll(async () => {
  await Promise.all([load([spyImage()]), loadProbe()])
  home = await openContainerHome({
    cards: [
      card('wedge'),
      card('frozen'),
      { ...card('mute'), image: 'hub-test/probe-agent' },
      { ...card('keeper'), mode: 'service', run: [...card('keeper').run, 'idle'] },
      'images/echo/agent.yaml',
    ],
    config: { health: { interval: '4s', timeout: '4s', failures: 3 }, limits: { joinWindow: `${JOIN_S}s` } },
  })
  wedged = await home.place('wedge', { what: 'wedge' })
  mute = await home.place('mute', {})
})
afterAll(() => home?.close())

/** Until the task has ended and its container is gone. */
async function gone(session: { task: string; containerId: string }) {
  const look = async () => ({
    ...(await home.shown(session.task)),
    isLeft: (await home.engine.inspect(session.containerId)) !== undefined,
  })
  const isOver = ({ task, isLeft }: Awaited<ReturnType<typeof look>>) => task.state !== 'running' && !isLeft
  const { task, attempts } = await until(`the end of ${session.task}`, look, isOver)
  return { task, exit: attempts[0]?.exit }
}

test('S1-49 `wedge`: an event loop that stands still stops asking for mail; the session is recycled as unhealthy long before its time to live', async () => {
  const { task, exit } = await gone(wedged)
  expect(exit).toBe('unhealthy')
  expect(task).toMatchObject({ state: 'failed', error: { code: 'agent_unhealthy' } })
  expect(JSON.stringify(task.error)).toContain('no sign of life for')
})

test('S1-49: a frozen process, whose socket the kernel keeps open, is found in the same way; a healthy agent beside it is not touched', async () => {
  const session = await home.place('frozen', { what: 'idle' })
  // Working by its own word: one that has only joined, and never asked for mail, owes no sign of life yet.
  await until(
    'it is at work',
    async () => ({
      exit: (await home.session(session.id)).exit,
      lines: (await home.door.call('task.logs', { id: session.task })).lines,
    }),
    ({ exit, lines }) => {
      if (exit) throw new Error(`it ended before it was at work: ${String(exit)}`)
      return JSON.stringify(lines).includes('about to try: idle')
    },
  )
  const { State } = (await home.engine.inspect(session.containerId)) as { State: { Pid: number } }
  // The engine's init is the container's first process; the shim is its child.
  const child = readFileSync(`/proc/${State.Pid}/task/${State.Pid}/children`, 'utf8').trim()
  process.kill(Number(child), 'SIGSTOP')
  const beside = home.run('echo', { well: true })
  const { exit } = await gone(session)
  expect(exit).toBe('unhealthy')
  expect((await beside).state).toBe('succeeded')
})

test('S1-49: a container that runs and never joins is recycled when the join window is over', async () => {
  const { task, exit } = await gone(mute)
  expect(exit).toBe('unhealthy')
  expect(JSON.stringify(task.error)).toContain(`did not join within ${JOIN_S} s`)
})

test('S0-1, S1-50: a service runs unasked; its container is killed and another session of it is there', async () => {
  const found = async () =>
    ((await home.door.call('session.list', { limit: 100 })).sessions as unknown as Session[]).find(
      (each) => each.agent === 'keeper' && each.state === 'working' && each.containerId !== null,
    )
  const keeper = async (fits: (session: Session) => boolean): Promise<Session> =>
    (await until('a session of the service at work', found, (each) => each !== undefined && fits(each))) as Session
  const first = await keeper(() => true)
  await home.engine.kill(first.containerId)
  const second = await keeper(({ id }) => id !== first.id)
  expect(second.task).toBe(first.task)
  const stopped = await home.hub('session', 'stop', second.id)
  expect(stopped.code).toBe(0)
  expect((await keeper(({ id }) => id !== second.id)).task).not.toBe(first.task)
})
