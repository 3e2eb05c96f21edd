import { describe, expect, it, test } from 'vitest'
import { decideVitals, failuresOf, pingMsOf, pollMsOf, type VitalFacts } from '../../../../hub/work/dispatch/vitals.ts'

const spans = { intervalMs: 30_000, timeoutMs: 5_000, failuresMax: 3 }
const well: VitalFacts = {
  hasJoined: true,
  isListening: true,
  sinceStartMs: 3_600_000,
  silentMs: 0,
  idleMs: 0,
  mayWait: false,
  joinWindowMs: 30_000,
  spans,
  stallAfterMs: 600_000,
  onStall: 'alert',
}
const kindOf = (facts: Partial<VitalFacts>) => decideVitals({ ...well, ...facts }).kind

test.each([
  [0, 0],
  [34_999, 0],
  [35_000, 1],
  [64_999, 1],
  [65_000, 2],
  [94_999, 2],
  [95_000, 3],
])('S1-49: %i ms of silence are %i failures; each interval of 30 s has 5 s of patience', (silentMs, failures) => {
  expect(failuresOf(silentMs, spans)).toBe(failures)
})

describe('S1-49: a session', () => {
  it.each<[string, Partial<VitalFacts>, string]>([
    ['that listens and was silent for two intervals is well', { silentMs: 94_999 }, 'well'],
    ['that listens and missed its third in a row is unhealthy', { silentMs: 95_000 }, 'unhealthy'],
    ['that never asked for mail owes only its renewal', { isListening: false, silentMs: 329_999 }, 'well'],
    ['that did not renew its token is unhealthy', { isListening: false, silentMs: 330_000 }, 'unhealthy'],
    ['that has not joined yet has its window', { hasJoined: false, sinceStartMs: 29_999, silentMs: 29_999 }, 'well'],
    ['that has not joined within its window is unhealthy', { hasJoined: false, sinceStartMs: 30_000 }, 'unhealthy'],
    ['that joined is not judged by the window', { sinceStartMs: 30_000 }, 'well'],
    ['that gets on with nothing stalls', { idleMs: 600_000 }, 'stalled'],
    ['that did something a moment before does not', { idleMs: 599_999 }, 'well'],
    ['that may wait never stalls', { idleMs: 36_000_000, mayWait: true }, 'well'],
    ['that may wait has to live all the same', { silentMs: 95_000, mayWait: true }, 'unhealthy'],
    ['is recycled when it stalls, if its card says so', { idleMs: 600_000, onStall: 'recycle' }, 'unhealthy'],
  ])('%s', (_name, facts, kind) => expect(kindOf(facts)).toBe(kind))
})

it.each([1000, 30_000, 600_000])(
  'asks often enough that a healthy session of interval %i never fails',
  (intervalMs) => {
    const each = { ...spans, intervalMs }
    for (const askedMs of [pollMsOf(each), pingMsOf(each)]) expect(failuresOf(askedMs + 4_999, each)).toBe(0)
  },
)
