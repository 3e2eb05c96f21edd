/** T93: an engine of its own is killed with kill -9 below working agents, and started again. Long run only, as root, where dockerd is installed. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { judgeInvariants } from '../support/invariants.ts'
import { loadTrialImage, openTrialHome } from '../support/trial-home.ts'

const root = join(import.meta.dirname, '../..')
const canRun = process.env.HUB_TEST_LONG === '1' && process.getuid?.() === 0 && existsSync('/usr/sbin/dockerd')
const folder = canRun ? mkdtempSync('/tmp/hub-engine-') : ''
const socket = join(folder, 'engine.sock')
const env = {
  ...process.env,
  HUB_ENGINE_SOCKET: socket,
  HUB_ENGINE_ROOT: join(folder, 'data'),
  HUB_ENGINE_RUN: join(folder, 'run'),
  HUB_ENGINE_ARGS: '--bridge=none --iptables=false',
}
const engine = (verb: 'up' | 'down') => execFileSync(join(root, 'scripts/engine'), [verb], { env, stdio: 'pipe' })

beforeAll(async () => {
  if (!canRun) return
  engine('up')
  await loadTrialImage(socket)
})
afterAll(() => {
  if (!canRun) return
  engine('down')
  // Killed, it leaves its data folder mounted on itself.
  execFileSync('umount', ['-l', env.HUB_ENGINE_ROOT])
  rmSync(folder, { recursive: true, force: true })
})

test.skipIf(!canRun)(
  'kill -9 of the engine: degraded until it is back, then every task has ended or is held, nothing is left, every invariant holds',
  { timeout: 900_000 },
  async () => {
    await using trial = await openTrialHome({ engineSocket: socket })
    const tasks = [
      ...(await Promise.all(
        Array.from({ length: 3 }, () => trial.submit('trial', { what: 'work', ms: 30_000, laterMs: 0 })),
      )),
      await trial.submit('trial-once', { what: 'work', ms: 30_000 }),
      await trial.submit('trial-once', { what: 'hang' }, { ttlMs: 90_000 }),
    ]
    await trial.working(tasks.length)
    process.kill(Number(readFileSync(join(folder, 'run', 'dockerd.pid'), 'utf8')), 'SIGKILL')
    await trial.until('degraded', trial.mode, ({ conditions }) =>
      conditions.some(({ name }) => name === 'engine_unavailable'),
    )
    await sleep(1_000)
    rmSync(join(folder, 'run', 'dockerd.pid'), { force: true })
    engine('up')
    await trial.untilNormal()
    await trial.until(
      'all ended or held',
      () => Promise.all(tasks.map(trial.task)),
      (seen) => seen.every(({ state, held }) => held || (state !== 'queued' && state !== 'running')),
      240_000,
    )
    // Told to stop by an engine that comes back, no program has failed for that: what may be repeated is, the rest waits for a word.
    const seen = await Promise.all(tasks.map(trial.task))
    expect(seen.slice(0, 3).map(({ state }) => state)).toEqual(['succeeded', 'succeeded', 'succeeded'])
    expect(seen[3]?.held === true || seen[3]?.state === 'succeeded').toBe(true)
    await trial.until('no session is open', trial.sessions, (open) => open.length === 0)
    await trial.empty()
    await trial.stopHub()
    expect(judgeInvariants(trial.home, { acknowledged: trial.acknowledged, calm: true })).toEqual([])
  },
)
