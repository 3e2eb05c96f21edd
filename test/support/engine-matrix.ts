/**
 * On one engine of its own, what the files of `test/containers` hold on the machine's engine: those files themselves, run once more; and what none of
 * them shows: an engine that restarts below running agents. A test file for each engine, so that they run side by side.
 */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { judgeInvariants } from './invariants.ts'
import { createOwnEngine, type EngineName, type OwnEngine, whyNoEngine } from './own-engine.ts'
import { type FileOutcome, runSuite } from './suite-run.ts'
import { loadTrialImage, openTrialHome, type TrialHome } from './trial-home.ts'

const LONG = process.env.HUB_TEST_LONG === '1'
const root = join(import.meta.dirname, '../..')
const HERE = 'test/containers'
const SUITE_MS_MAX = 3_600_000

/** What each file is run for. Those of the long run hold no rule that none of the short run holds. */
const SHORT: Readonly<Record<string, string>> = {
  profile: 'what is sent is what inspect shows; the sandbox from inside; ends, logs, events',
  altered: 'a container that the engine shows otherwise never starts',
  spy: 'the attack harness, and the grade of the hardening',
  survey: 'echo and survey, from submit to report; a container taken over after kill -9',
  stops: 'every way to stop, the time to live by label',
  watchdog: 'the orphan scan with the hub dead',
  secrets: 'a secret on its way, quarantine and its bundle',
  'engine-faults': 'events and waits cut, routes of a start that fail',
}
const LONGER = [
  'agent-new',
  'contact',
  'crash-points',
  'drivers',
  'handed-back',
  'load',
  'own-image',
  'phases',
  'spy-bombs',
  'stop-disk',
]
const MORE = [
  ...LONGER,
  'hung-or-cut',
  'stop-drain',
  'stop-engine',
  'stop-hung',
  'storm',
  'strangers',
  'survivors',
  'vitals',
]
/** On one version of an engine all of the short run; on the others what differs by version and by how images are kept. */
const BRIEF = ['profile', 'altered', 'survey']
const filesOf = (name: EngineName) => {
  const short = name === '29' ? Object.keys(SHORT) : BRIEF
  return [...(LONG ? [...Object.keys(SHORT), ...MORE] : short)].map((file) => `${HERE}/${file}.test.ts`)
}

interface Built {
  name: string
  id: string
  state: string
}
export const buildImages = (socket: string): Built[] =>
  execFileSync(process.execPath, [join(root, 'scripts/build-images.ts'), '--json', '--socket', socket], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Built)

export async function openOn({ socket }: OwnEngine, hubYaml?: string): Promise<TrialHome> {
  await loadTrialImage(socket)
  return openTrialHome({
    engineSocket: socket,
    ...(hubYaml === undefined ? {} : { hubYaml }),
  })
}

const away = (trial: TrialHome) =>
  trial.until('degraded', trial.mode, ({ conditions }) => conditions.some(({ name }) => name === 'engine_unavailable'))

export async function calm(trial: TrialHome): Promise<void> {
  for (const id of trial.acknowledged) await trial.hub.call('task.cancel', { id }).catch(() => undefined)
  await trial.until('no session is open', trial.sessions, (open) => open.length === 0)
  await trial.empty()
  await trial.stopHub()
  expect(judgeInvariants(trial.home, { acknowledged: trial.acknowledged, calm: true })).toEqual([])
}

type Open = Awaited<ReturnType<TrialHome['sessions']>>
/** The sessions of these tasks, each of which has asked the operator. */
export async function asking(trial: TrialHome, tasks: readonly string[]): Promise<Open> {
  const mine = (open: Open) => open.filter(({ task }) => tasks.includes(String(task)))
  const all = await trial.until(
    'all have asked',
    async () => mine(await trial.sessions()),
    (open) => open.length === tasks.length && open.every(({ state }) => state === 'input_required'),
  )
  return all
}

/** A yes to each, and each succeeds where it was. */
export async function goOn(trial: TrialHome, tasks: readonly string[], before: Open): Promise<void> {
  const { approvals } = await trial.hub.call('approval.list')
  expect(approvals).toHaveLength(tasks.length)
  for (const { id } of approvals) await trial.hub.call('approval.answer', { id, approve: true })
  for (const task of await trial.ended(...tasks)) {
    expect(task).toMatchObject({ state: 'succeeded', attempts: 1 })
    expect(before.map(({ id }) => id)).toContain((task.outcome as { value: { session: string } }).value.session)
  }
}

/** Whether this engine cannot be had here; why, it says. */
export function isLeftOut(version: '29' | '26'): boolean {
  const why = whyNoEngine(version)
  if (why !== undefined) console.warn(`Docker ${version} is left out of the matrix: ${why}`)
  return why !== undefined
}

/** `called`: how the names of its tests begin. */
export function runMatrixOn(name: EngineName, called: string): void {
  describe.skipIf(isLeftOut(name === '26' ? '26' : '29'))(called, () => {
    let engine: OwnEngine
    beforeAll(() => {
      engine = createOwnEngine(name)
      engine.up()
    })
    afterAll(() => engine?.close())
    testImagesAndCanary(name, () => engine)
    testFilesOn(name, () => engine)
    // The classic store of images has no part in it, and 29 and 26 both have it.
    if (LONG || name !== '29-classic') testRestarts(() => engine)
  })
}

function testImagesAndCanary(name: EngineName, engine: () => OwnEngine): void {
  test('the images are built, and found the second time; their ids are what the engine says', async () => {
    const build = () => buildImages(engine().socket)
    const [first, second] = [build(), build()]
    expect(first.length).toBeGreaterThan(5)
    expect(first.map(({ state }) => state)).toEqual(first.map(() => 'built'))
    expect(second).toEqual(first.map((image) => ({ ...image, state: 'present' })))
  })
  test('the canary session goes its whole way, and what it finds blocks nothing', async () => {
    await using trial = await openOn(engine())
    const { checks } = await trial.hub.call('doctor.run', {}, { deadlineMs: 60_000 })
    const canary = checks.find((check) => check.name === 'canary')
    // Out of memory is seen, not only waited for.
    expect(checks.map((check) => check.name)).not.toContain('engine oom_not_seen')
    expect(canary).toMatchObject({
      ok: true,
      detail: expect.stringMatching(/^passed in \d+ ms: create, .*, remove$/),
    })
    console.log(`${name}: ${canary?.detail}`)
    expect(checks.filter((check) => /^(?:engine|runtime)/.test(check.name) && check.ok === false)).toEqual([])
    await calm(trial)
  })
}

function testFilesOn(name: EngineName, engine: () => OwnEngine): void {
  const files = filesOf(name)
  // All of them are run by whichever row comes first.
  let running: Promise<Map<string, FileOutcome>> | undefined
  test.each(files)('as on the machine’s engine: %s', { timeout: SUITE_MS_MAX }, async (file) => {
    running ??= runSuite(files, engine().socket)
    const outcome = (await running).get(file)
    expect(outcome?.failed).toEqual([])
    expect(outcome?.passed).toBeGreaterThan(0)
  })
}

function testRestarts(engine: () => OwnEngine): void {
  test('restarted without live-restore, its agents are told to stop: what may be repeated is, the rest is held, nothing is left', async () => {
    await using trial = await openOn(engine())
    const again = await trial.submit('trial', { what: 'work', ms: 120_000, laterMs: 0 })
    const once = await trial.submit('trial-once', { what: 'work', ms: 120_000 })
    await trial.working(2)
    await engine().end()
    await away(trial)
    engine().up()
    await trial.untilNormal()
    await trial.until(
      'the one is done, the other held or done',
      () => Promise.all([again, once].map(trial.task)),
      ([a, b]) => a?.state === 'succeeded' && (b?.held === true || b?.state === 'succeeded'),
    )
    await calm(trial)
  })

  test('restarted with live-restore, its agents go on in their sessions; one that ended meanwhile is heard of', async () => {
    await engine().end()
    engine().up({ args: '--live-restore' })
    await using trial = await openOn(engine())
    const live = await Promise.all(Array.from({ length: 3 }, () => trial.submit('trial-once', { what: 'ask' })))
    const before = await asking(trial, live)
    const short = await trial.submit('trial-once', { what: 'work', ms: 5_000 })
    // From here on it needs no engine. It is done while there is none, or a moment earlier on a machine that is slow to end one.
    const isAtWork = async () =>
      (await trial.sessions()).some(({ task, state }) => task === short && state === 'working') ||
      (await trial.task(short)).state === 'succeeded'
    await trial.until('it is at work', isAtWork, Boolean)
    await engine().end()
    await away(trial)
    await trial.ended(short)
    engine().up({ args: '--live-restore' })
    await trial.untilNormal()
    await goOn(trial, live, before)
    expect(await trial.task(short)).toMatchObject({ state: 'succeeded', attempts: 1 })
    await calm(trial)
  })
}
