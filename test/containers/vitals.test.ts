/** Containers that run and do not live, on a real hub and the real engine (S1-49). Shorter spans than the shipped ones, the same rule. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ContainerHome, openContainerHome, type Task } from '../support/container-home.ts'
import { load, spyImage } from '../support/spy-image.ts'

const card = (name: string) => ({
  name,
  description: 'Hangs',
  image: 'hub-test/spy',
  run: ['node', '/app/test/support/images/spy/main.js'],
  restarts: 0,
  limits: { ttl: '5m', memory: '128MiB' },
})

let home: ContainerHome
beforeAll(async () => {
  await load([spyImage()])
  home = await openContainerHome({
    cards: [card('wedge'), card('frozen'), 'images/echo/agent.yaml'],
    config: { health: { interval: '2s', timeout: '1s', failures: 3 } },
  })
})
afterAll(() => home?.close())

const shown = async (id: string) => home.json<{ task: Task; attempts: { exit: string | null }[] }>('task', 'show', id)

/** Until the task has ended and its container is gone. */
async function gone(session: { task: string; containerId: string }) {
  for (;;) {
    const { task, attempts } = await shown(session.task)
    const left = await home.engine.inspect(session.containerId)
    if (task.state !== 'running' && left === undefined) return { task, exit: attempts[0]?.exit }
    await sleep(200)
  }
}

test('S1-49 `wedge`: an event loop that stands still stops asking for mail; the session is recycled as unhealthy long before its time to live', async () => {
  const session = await home.place('wedge', { what: 'wedge' })
  const { task, exit } = await gone(session)
  expect(exit).toBe('unhealthy')
  expect(task).toMatchObject({ state: 'failed', error: { code: 'agent_unhealthy' } })
  expect(JSON.stringify(task.error)).toContain('no sign of life for')
})

test('S1-49: a frozen process, whose socket the kernel keeps open, is found in the same way; a healthy agent beside it is not touched', async () => {
  const session = await home.place('frozen', { what: 'idle' })
  for (;;) {
    const { state } = await home.session(session.id)
    if (state === 'working') break
    await sleep(100)
  }
  const { State } = (await home.engine.inspect(session.containerId)) as { State: { Pid: number } }
  // The engine's init is the container's first process; the shim is its child.
  const child = readFileSync(`/proc/${State.Pid}/task/${State.Pid}/children`, 'utf8').trim()
  process.kill(Number(child), 'SIGSTOP')
  const beside = home.run('echo', { well: true })
  const { exit } = await gone(session)
  expect(exit).toBe('unhealthy')
  expect((await beside).state).toBe('succeeded')
  // Each was compared with what it was made from once more, right after its start (S1-51): nothing differed on this engine.
  const alerts = await home.json<{ cause: string; severity: string }[]>('alert', 'list', '--all')
  expect(alerts.filter(({ severity }) => severity === 'critical')).toEqual([])
  expect(alerts.map(({ cause }) => cause)).toContain('agent_unhealthy:frozen')
})
