/** I1 to I6 after a storm: random work, kills of hub, watchdog and agents, engine faults and mode changes at once (T77, T93). */
import { randomInt } from 'node:crypto'
import { beforeAll, expect, test } from 'vitest'
import { runStorm } from '../storm/storm.ts'
import { loadTrialImage } from '../support/trial-home.ts'

const SECONDS = process.env.HUB_TEST_LONG === '1' ? 120 : 20
const seed = Number(process.env.HUB_STORM_SEED ?? randomInt(2 ** 31))

beforeAll(() => loadTrialImage())

test(`the storm of seed ${seed} ends in a calm in which every invariant holds`, {
  timeout: (SECONDS + 900) * 1000,
}, async () => {
  const report = await runStorm({ seed, seconds: SECONDS, say: (line) => console.log(line) })
  console.log(JSON.stringify(report))
  expect(report.broken).toEqual([])
  expect(report.tasks.succeeded).toBeGreaterThan(0)
})
