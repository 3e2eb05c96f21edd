/** S1-12, T93: a container stopped by a hand or by its engine has not failed its task, on the real engine with the real SDK. */
import { beforeAll, expect, test } from 'vitest'
import { loadTrialImage, openTrialHome } from '../support/trial-home.ts'

beforeAll(() => loadTrialImage())

test('who is stopped from outside gives the task back: repeated where the card allows it, else held [away-18]', async () => {
  await using trial = await openTrialHome({})
  const again = await trial.submit('trial', { what: 'work', ms: 240_000, laterMs: 0 })
  const once = await trial.submit('trial-once', { what: 'work', ms: 240_000 })
  await trial.working(2)
  const open = await trial.sessions()
  await Promise.all(open.map(({ containerId }) => trial.engine.stop(containerId ?? '', 5)))
  await trial.until(
    'the one is done, the other held',
    () => Promise.all([again, once].map(trial.task)),
    ([a, b]) => a?.state === 'succeeded' && b?.held === true,
  )
  expect(await trial.task(again)).toMatchObject({ state: 'succeeded', attempts: 2 })
  expect(await trial.task(once)).toMatchObject({ state: 'queued', held: true, attempts: 1 })
})
