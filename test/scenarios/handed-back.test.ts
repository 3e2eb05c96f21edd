/** A program that was told to stop gives its task back: no failure of its own, so the task is not lost (docs/safety.md 5, T93, S1-12). */
import { describe, expect, test } from 'vitest'
import { createHarness, forever, type TestAgent } from '../support/hub-harness.ts'

const cut = { outcome: 'failed', error: 'stopped before it was done: the container is being stopped', stopped: true }
const handBack = (agent: TestAgent) => agent.resultBody(cut)
/** Its container gets a SIGTERM that the hub did not send, as when the engine restarts. */
const cutOnce = () => {
  let starts = 0
  return async (agent: TestAgent) => {
    await agent.join()
    starts += 1
    if (starts > 1) return agent.result('whole')
    await handBack(agent)
    return forever(agent)
  }
}

describe('a task whose program was stopped by the engine or a person', () => {
  test('is started again if its card says repeatable, and then succeeds', async () => {
    await using h = await createHarness({ agents: { again: { script: cutOnce(), card: { repeatable: true } } } })
    const id = await h.submit('again')
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ state: 'succeeded', attempts: 2 })
    expect(h.sessionsOf(id)[0]).toMatchObject({ exitReason: 'orphan', detail: cut.error })
  })

  test('waits for the operator if not', async () => {
    await using h = await createHarness({ agents: { careful: { script: cutOnce() } } })
    const id = await h.submit('careful')
    await h.quiet()
    expect(h.task(id)).toMatchObject({ state: 'queued', held: true })
    expect((await h.operator('POST', `/v1/tasks/${id}/release`, {})).status).toBe(200)
    await h.ended(id)
    expect(h.task(id).state).toBe('succeeded')
  })

  test('is not restarted for ever because its program asks for it: after its restarts it is held', async () => {
    const script = async (agent: TestAgent) => {
      await agent.join()
      await handBack(agent)
      return forever(agent)
    }
    await using h = await createHarness({
      agents: { liar: { script, card: { repeatable: true, restarts: 2 } } },
      config: { limits: { recycles: 10 } },
    })
    const id = await h.submit('liar')
    await h.until(() => h.task(id).held, 'it is held')
    expect(h.task(id)).toMatchObject({ state: 'queued', attempts: 3, crashes: 2 + 1 })
  })

  test('comes back held when it was the hub that stops, whatever its card says', async () => {
    const script = async (agent: TestAgent) => {
      await agent.join()
      await agent.next(({ kind }) => kind === 'finish')
      await handBack(agent)
      return forever(agent)
    }
    await using h = await createHarness({ agents: { told: { script, card: { repeatable: true } } } })
    const [agent] = await h.bring('told')
    await h.operator('POST', '/v1/shutdown', {})
    expect(h.task(agent.joined?.task.task ?? '')).toMatchObject({ state: 'queued', held: true, crashes: 0 })
  })

  test('a success that says it was stopped is still a success', async () => {
    const script = async (agent: TestAgent) => {
      await agent.join()
      await agent.resultBody({ outcome: 'succeeded', value: 1, stopped: true })
      return forever(agent)
    }
    await using h = await createHarness({ agents: { done: { script } } })
    const id = await h.submit('done')
    await h.ended(id)
    expect(h.task(id).state).toBe('succeeded')
  })
})
