/** The text of the metrics (S0-12): the library is loaded with the first question, and that may fail. */
import { expect, test } from 'vitest'
import { createMetrics, type MetricsParts } from '../../../hub/observe/metrics.ts'
import { createFakeClock } from '../../support/fake-clock.ts'

test('S0-12: a library that could not be loaded, for want of a file handle, is loaded again for the next text', async () => {
  const clock = createFakeClock()
  let loads = 0
  // Nothing is read as long as nothing can write it down.
  const parts = { version: '1', clock } as unknown as MetricsParts
  const text = createMetrics(parts, () => {
    loads += 1
    return Promise.reject(new Error(`EMFILE ${loads}`))
  })
  await expect(text()).rejects.toThrow('EMFILE 1')
  await expect(text()).rejects.toThrow('EMFILE 1')
  await clock.advance(1000)
  await expect(text()).rejects.toThrow('EMFILE 2')
  expect(loads).toBe(2)
})
