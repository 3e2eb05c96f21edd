/** The text of the metrics (S0-12): who gets which format, and a library that is loaded with the first question, which may fail. */
import { expect, test } from 'vitest'
import { formatFor } from '../../../hub/observe/door.ts'
import { createMetrics } from '../../../hub/observe/metrics.ts'
import type { MetricsParts } from '../../../hub/observe/readings.ts'
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

test.each([
  // Prometheus 2 and 3, as they ask.
  [
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    'openmetrics',
  ],
  [
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
    'openmetrics',
  ],
  ['Application/OpenMetrics-Text; Version=1.0.0', 'openmetrics'],
  ['application/openmetrics-text', 'openmetrics'],
  ['text/plain, application/openmetrics-text', 'openmetrics'],
  [undefined, 'prometheus'],
  ['', 'prometheus'],
  ['*/*', 'prometheus'],
  ['application/*', 'prometheus'],
  ['text/plain', 'prometheus'],
  ['text/html, application/xhtml+xml, */*;q=0.8', 'prometheus'],
  // Wanted less, not wanted, a version that is not spoken, and what makes no sense.
  ['text/plain, application/openmetrics-text;q=0.5', 'prometheus'],
  ['application/openmetrics-text;q=0', 'prometheus'],
  ['application/openmetrics-text;version=2.0.0', 'prometheus'],
  ['application/openmetrics-text;q=x', 'prometheus'],
  ['application/openmetrics-text;q=9', 'prometheus'],
  ['xapplication/openmetrics-text', 'prometheus'],
] as const)('S0-12: %s gets %s', (accept, format) => {
  expect(formatFor(accept)).toBe(format)
})
