/**
 * T77, X6: kill -9 of a real hub at every numbered step of a task that delegates and of a rotation of the keys: around each commit, each
 * engine call, each write of ledger, key and socket. In the short run at a choice of them, under HUB_TEST_LONG=1 at every single one.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { judgeInvariants } from '../support/invariants.ts'
import { loadTrialImage, openTrialHome, type TrialHome } from '../support/trial-home.ts'

const LONG = process.env.HUB_TEST_LONG === '1'
const SHORT_STEPS = 5
const root = join(import.meta.dirname, '../..')

let trial: TrialHome
beforeAll(async () => {
  await loadTrialImage()
  trial = await openTrialHome({
    hubProgram: ['--import', join(root, 'test/support/crash-points.ts'), join(root, 'hub/main.ts'), 'serve'],
  })
})
afterAll(() => trial?.[Symbol.asyncDispose]())

/** One life of the hub under these words; the next one begins without them. */
async function startWith(words: Record<string, string>): Promise<void> {
  Object.assign(process.env, words)
  try {
    await trial.start('hub')
  } finally {
    for (const word of Object.keys(words)) delete process.env[word]
  }
}

/** A task with a child, and a rotation while it runs. Whoever asks may find the hub dead. */
async function playUntilCrash(): Promise<void> {
  const key = `crash-${performance.now()}`
  const ask = async (): Promise<boolean> => {
    try {
      const { task } = await trial.hub.call(
        'task.submit',
        { agent: 'trial', params: { what: 'delegate', children: 1, ms: 50 } },
        { headers: { 'idempotency-key': key } },
      )
      trial.acknowledged.push(task.id)
      return true
    } catch (thrown) {
      // A machine that is busy enough keeps the hub from normal mode for a moment; then it takes the task.
      return !/^mode_(?:degraded|safe)$/.test(String((thrown as { code?: unknown }).code))
    }
  }
  await trial.until('the task is taken, or nobody is there', ask, Boolean)
  await sleep(300)
  await trial.hub.call('keys.rotate', {}).catch(() => undefined)
  await trial.until(
    'the crash, or the end of what there was to do',
    async () => !trial.isUp('hub') || (await open()).length + (await trial.sessions()).length === 0,
    Boolean,
  )
}
const open = async () => {
  const { tasks } = await trial.hub.call('task.list', { limit: 100 })
  return tasks.filter(({ state }) => state === 'queued' || state === 'running')
}

/** What the hub makes of it afterwards: all done, nothing left. */
async function recover(): Promise<void> {
  await trial.start('hub')
  await trial.until(
    'all that was begun is done',
    async () => {
      for (const { id, held } of await open()) if (held) await trial.hub.call('task.release', { id })
      return (await open()).length + (await trial.sessions()).length
    },
    (left) => left === 0,
  )
  await trial.empty()
}

/** The names of all steps, by a run that is left alone. */
async function listSteps(from: 'submit' | 'start'): Promise<string[]> {
  const log = join(trial.home, `steps-${from}`)
  rmSync(log, { force: true })
  await trial.stopHub()
  await startWith({ HUB_CRASH_LOG: log, HUB_CRASH_FROM: from })
  await trial.untilNormal()
  await playUntilCrash()
  return readFileSync(log, 'utf8').trim().split('\n')
}

/** Every step in the long run; else so many, spread over the steps of different names. */
function chosen(names: readonly string[], count: number): number[] {
  const all = names.map((_, at) => at + 1)
  if (LONG) return all
  const first = all.filter((number) => names.indexOf(names[number - 1] ?? '') === number - 1)
  const every = first.length / Math.min(count, first.length)
  return Array.from({ length: Math.min(count, first.length) }, (_, at) => first[Math.floor((at + 0.5) * every)] ?? 1)
}

test('T77: killed at a step of a task, it begins again where it was: done once, nothing lost, nothing left', {
  timeout: LONG ? 7_200_000 : 900_000,
}, async () => {
  const names = await listSteps('submit')
  expect(names.length).toBeGreaterThan(60)
  for (const must of [
    '/containers/create',
    '/start',
    '/wait',
    'task.dispatched',
    'session.joined',
    'task.result_given',
    'keys.rotated',
    'ledger.json',
    'token',
  ])
    expect(
      names.filter((name) => name.includes(must)),
      must,
    ).not.toEqual([])
  const numbers = chosen(names, SHORT_STEPS)
  console.log(
    `${names.length} steps, killed at: ${numbers.map((number) => `${number} ${names[number - 1]}`).join('; ')}`,
  )
  await trial.stopHub()
  let killed = 0
  for (const number of numbers) {
    await startWith({ HUB_CRASH_AT: String(number) })
    await trial.untilNormal().catch(() => undefined)
    await playUntilCrash()
    if (trial.isUp('hub')) await trial.stopHub()
    else killed += 1
    await recover()
    await trial.stopHub()
    expect(
      judgeInvariants(trial.home, { acknowledged: trial.acknowledged, calm: true }),
      `step ${number}: ${names[number - 1]}`,
    ).toEqual([])
    expect(trial.witness.overlaps()).toEqual([])
  }
  expect(killed).toBeGreaterThan(numbers.length / 2)
})
