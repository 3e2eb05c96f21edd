/** X11: a client may go away at any moment; what was begun is settled once, and one event says so. */
import { request } from 'node:http'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createHarness, puppet } from '../support/hub-harness.ts'

/** Sends the head and so much of the body, and is gone. */
function askAndGo(socketPath: string, path: string, body: string, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const sent = request({ socketPath, method: 'POST', path, headers, agent: false })
    sent.on('error', () => resolve())
    sent.on('close', () => resolve())
    sent.write(body.slice(0, bytes), () => setImmediate(() => sent.destroy()))
  })
}

describe('X11: a client that disconnects', () => {
  test.each([
    ['before its whole request is there changes nothing', 1, 'running', 0],
    ['when all of it is there has its task cancelled all the same, once', 2, 'cancelled', 1],
  ])('%s', async (_name, bytes, state, completed) => {
    await using h = await createHarness({ agents: { puppet: { script: puppet } } })
    const [agent] = await h.bring('puppet')
    const id = agent.joined?.task.task ?? ''
    await h.pumped(askAndGo(join(h.home, 'run', 'operator.sock'), `/v1/tasks/${id}/cancel`, '{}', bytes))
    if (state === 'cancelled') await h.quiet()
    else await h.clock.advance(2000)
    expect(h.task(id).state).toBe(state)
    const told = h.events('hub.task.completed.v1').filter(({ subject }) => subject === `task:${id}`)
    expect(told).toHaveLength(completed)
    expect(h.audit().filter(({ action, outcome }) => action === 'task.cancelled' && outcome === 'ok')).toHaveLength(
      completed,
    )
  })

  test('while a shutdown is under way does not end it: every container is gone, every task held', async () => {
    await using h = await createHarness({ agents: { puppet: { script: puppet } }, config: { shutdownTimeout: '1s' } })
    const [agent] = await h.bring('puppet')
    await h.pumped(askAndGo(join(h.home, 'run', 'operator.sock'), '/v1/shutdown', '{}', 2))
    await h.until(() => h.exits.length > 0, 'the hub may go')
    expect(h.engine.containers.size).toBe(0)
    expect(h.task(agent.joined?.task.task ?? '')).toMatchObject({ state: 'queued', held: true })
  })
})
