/** `/healthz` says what the work loops did, not that a listener answers (T88, docs/safety.md 4). */
import { expect, test, vi } from 'vitest'
import { createHarness, puppet } from '../support/hub-harness.ts'

test('T88: 503 once no round of the work has ended for 15 s, by either loop; reads and the stop go on; 200 after the next round [watch-22]', async () => {
  await using h = await createHarness({ agents: { a: { script: puppet } } })
  await h.bring('a')
  const health = async () => (await h.operator('GET', '/healthz')).status
  const { dispatcher, reaper } = h.hub.work.supervision
  for (const part of [dispatcher, reaper]) {
    await h.clock.advance(2000)
    expect(await health()).toBe(200)
    const round = vi.spyOn(part, 'round').mockImplementation(() => {
      throw new Error('stuck')
    })
    await h.clock.advance(13_000)
    expect(await health(), 'not yet').toBe(200)
    await h.clock.advance(2500)
    expect(await health()).toBe(503)
    expect((await h.operator('GET', '/v1/mode')).status).toBe(200)
    round.mockRestore()
    await h.clock.advance(31_000)
    expect(await health(), 'it works again').toBe(200)
  }
  vi.spyOn(dispatcher, 'round').mockImplementation(() => {
    throw new Error('stuck')
  })
  await h.clock.advance(20_000)
  expect(await health()).toBe(503)
  expect((await h.operator('POST', '/v1/shutdown', {})).body).toMatchObject({ requested: 1 })
  expect(h.engine.containers.size).toBe(0)
})
