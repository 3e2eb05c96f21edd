/**
 * On Docker 29 with both image stores, and on 26, what the other files here hold on the machine's engine: those files themselves, run once more on
 * engines of their own; and what none of them shows: an engine that restarts, is upgraded or killed below running agents.
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Check } from '../../hub/edge/doctor.ts'
import { judgeInvariants } from '../support/invariants.ts'
import { createOwnEngine, type EngineName, type OwnEngine, whyNoEngine } from '../support/own-engine.ts'
import { type FileOutcome, runSuite } from '../support/suite-run.ts'
import { loadTrialImage, openTrialHome, type TrialHome } from '../support/trial-home.ts'

const LONG = process.env.HUB_TEST_LONG === '1'
const absent = { 29: whyNoEngine('29'), 26: whyNoEngine('26') }
for (const [version, why] of Object.entries(absent))
  if (why !== undefined) console.warn(`Docker ${version} is left out of the matrix: ${why}`)
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
  'phases',
  'spy-bombs',
  'stop-disk',
]
const MORE = [...LONGER, 'stop-drain', 'stop-engine', 'stop-hung', 'storm', 'strangers', 'survivors', 'vitals']
const BRIEF = ['profile', 'altered', 'survey']
const filesOf = (name: EngineName) => {
  const short = name === '26' ? BRIEF : Object.keys(SHORT)
  return [...(LONG ? [...Object.keys(SHORT), ...MORE] : short)].map((file) => `${HERE}/${file}.test.ts`)
}

const ENGINES: readonly { name: EngineName; called: string }[] = [
  { name: '29', called: 'Docker 29, images in containerd' },
  { name: '29-classic', called: 'Docker 29, images in the classic store' },
  { name: '26', called: 'Docker 26' },
]

interface Built {
  name: string
  id: string
  state: string
}
const buildImages = (socket: string): Built[] =>
  execFileSync(process.execPath, [join(root, 'scripts/build-images.ts'), '--json', '--socket', socket], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Built)

async function openOn({ socket }: OwnEngine, hubYaml?: string): Promise<TrialHome> {
  await loadTrialImage(socket)
  return openTrialHome({
    engineSocket: socket,
    callTimeout: '5s',
    watchdog: { engineTimeoutMs: 2_000 },
    ...(hubYaml === undefined ? {} : { hubYaml }),
  })
}

const away = (trial: TrialHome) =>
  trial.until('degraded', trial.mode, ({ conditions }) => conditions.some(({ name }) => name === 'engine_unavailable'))

async function calm(trial: TrialHome): Promise<void> {
  for (const id of trial.acknowledged) await trial.hub.call('task.cancel', { id }).catch(() => undefined)
  await trial.until('no session is open', trial.sessions, (open) => open.length === 0)
  await trial.empty()
  await trial.stopHub()
  expect(judgeInvariants(trial.home, { acknowledged: trial.acknowledged, calm: true })).toEqual([])
}

type Open = Awaited<ReturnType<TrialHome['sessions']>>
/** The sessions of these tasks, each of which has asked the operator. */
async function asking(trial: TrialHome, tasks: readonly string[]): Promise<Open> {
  const mine = (open: Open) => open.filter(({ task }) => tasks.includes(String(task)))
  const all = await trial.until(
    'all have asked',
    async () => mine(await trial.sessions()),
    (open) => open.length === tasks.length && open.every(({ state }) => state === 'input_required'),
  )
  return all
}

/** A yes to each, and each succeeds where it was. */
async function goOn(trial: TrialHome, tasks: readonly string[], before: Open): Promise<void> {
  const { approvals } = (await trial.hub.call('approval.list')) as { approvals: { id: string }[] }
  expect(approvals).toHaveLength(tasks.length)
  for (const { id } of approvals) await trial.hub.call('approval.answer', { id, approve: true })
  for (const task of await trial.ended(...tasks)) {
    expect(task).toMatchObject({ state: 'succeeded', attempts: 1 })
    expect(before.map(({ id }) => id)).toContain((task.outcome as { value: { session: string } }).value.session)
  }
}

/** What mentions the folder: mounts in it, and processes, by pid and program. */
function leftOf(folder: string): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return [...mounts.filter((line) => line.includes(folder)), ...processesOf(folder)]
}
function processesOf(word: string): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
  const lines = pids.map((pid) => `${pid} ${commandOf(pid)}`)
  return lines.filter((line) => line.includes(word))
}
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

/** A container that nobody of ours knows; answers what its process is called by. */
async function runSomething(socket: string): Promise<string> {
  const mark = `mark-${process.pid}-${Math.round(performance.now())}`
  const Cmd = ['node', '-e', 'setInterval(() => undefined, 1000)', mark]
  const { Id } = JSON.parse(
    await post(socket, '/containers/create', { Image: 'hub/echo', Cmd, HostConfig: { NetworkMode: 'none' } }),
  ) as { Id: string }
  await post(socket, `/containers/${Id}/start`)
  return mark
}
function post(socketPath: string, path: string, body?: object): Promise<string> {
  const text = JSON.stringify(body) ?? ''
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  return new Promise((done, fail) => {
    const asked = request({ socketPath, method: 'POST', path, headers }, (answer) => {
      let said = ''
      answer.setEncoding('utf8').on('data', (piece: string) => {
        said += piece
      })
      answer.on('end', () => ((answer.statusCode ?? 500) < 400 ? done(said) : fail(new Error(`${path}: ${said}`))))
    })
    asked.on('error', fail).end(text)
  })
}

describe.each(ENGINES)('$called', ({ name }) => {
  const why = absent[name === '26' ? 26 : 29]
  const files = filesOf(name)
  let engine: OwnEngine
  beforeAll(() => {
    if (why !== undefined) return
    engine = createOwnEngine(name)
    engine.up()
  })
  afterAll(() => engine?.close())

  test.skipIf(why !== undefined)(
    'the images are built, and found the second time; their ids are what the engine says',
    async () => {
      const build = () => buildImages(engine.socket)
      const [first, second] = [build(), build()]
      expect(first.length).toBeGreaterThan(5)
      expect(first.map(({ state }) => state)).toEqual(first.map(() => 'built'))
      expect(second).toEqual(first.map((image) => ({ ...image, state: 'present' })))
    },
  )

  test.skipIf(why !== undefined)(
    'the canary session goes its whole way, and what it finds blocks nothing',
    async () => {
      await using trial = await openOn(engine)
      const { checks } = (await trial.hub.call('doctor.run', {}, { deadlineMs: 60_000 })) as { checks: Check[] }
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
    },
  )

  // All of them are run by whichever row comes first.
  let running: Promise<Map<string, FileOutcome>> | undefined
  test.skipIf(why !== undefined).each(files)(
    'as on the machine’s engine: %s',
    { timeout: SUITE_MS_MAX },
    async (file) => {
      running ??= runSuite(files, engine.socket)
      const outcome = (await running).get(file)
      expect(outcome?.failed).toEqual([])
      expect(outcome?.passed).toBeGreaterThan(0)
    },
  )

  test.skipIf(why !== undefined)(
    'restarted without live-restore, its agents are told to stop: what may be repeated is, the rest is held, nothing is left',
    async () => {
      await using trial = await openOn(engine)
      const again = await trial.submit('trial', { what: 'work', ms: 8_000 })
      const once = await trial.submit('trial-once', { what: 'work', ms: 8_000 })
      await trial.working(2)
      await engine.end()
      await away(trial)
      engine.up()
      await trial.untilNormal()
      await trial.until(
        'the one is done, the other held or done',
        () => Promise.all([again, once].map(trial.task)),
        ([a, b]) => a?.state === 'succeeded' && (b?.held === true || b?.state === 'succeeded'),
        120_000,
      )
      await calm(trial)
    },
  )

  test.skipIf(why !== undefined)(
    'restarted with live-restore, its agents go on in their sessions; one that ended meanwhile is heard of',
    async () => {
      await engine.end()
      engine.up({ args: '--live-restore' })
      await using trial = await openOn(engine)
      const live = await Promise.all(Array.from({ length: 3 }, () => trial.submit('trial-once', { what: 'ask' })))
      const short = await trial.submit('trial-once', { what: 'work', ms: 1_500 })
      const before = await asking(trial, live)
      await engine.end()
      await away(trial)
      await trial.ended(short)
      engine.up({ args: '--live-restore' })
      await trial.untilNormal()
      await goOn(trial, live, before)
      expect(await trial.task(short)).toMatchObject({ state: 'succeeded', attempts: 1 })
      await calm(trial)
    },
  )
})

const older = existsSync('/usr/sbin/dockerd')
  ? execFileSync('/usr/sbin/dockerd', ['--version'], { encoding: 'utf8' })
  : ''
const isOlder = Number(/version (\d+)\./.exec(older)?.[1] ?? 99) < 29

test.skipIf(absent[29] !== undefined || !isOlder)(
  'fault A3: the machine’s engine is upgraded to 29, which refuses the API of before, below twelve agents at work: all go on in their sessions, and all can be stopped',
  { timeout: 300_000 },
  async () => {
    const engine = createOwnEngine('29-classic')
    try {
      engine.up({ program: 'machine', args: '--live-restore' })
      await using trial = await openOn(
        engine,
        'limits: { sessions: 13, sessionsPerAgent: 13, delegationDepth: 1, questionWait: 0 }',
      )
      const live = await Promise.all(Array.from({ length: 6 }, () => trial.submit('trial-once', { what: 'ask' })))
      const stay = await Promise.all(Array.from({ length: 6 }, () => trial.submit('trial-once', { what: 'hang' })))
      const before = await asking(trial, live)
      await trial.until(
        'twelve agents at work',
        trial.sessions,
        (open) => open.filter(({ state }) => state === 'working').length === stay.length,
      )
      await engine.end()
      engine.up({ args: '--live-restore', env: { DOCKER_MIN_API_VERSION: '1.44' } })
      await trial.untilNormal()
      await goOn(trial, live, before)
      await trial.ended(await trial.submit('trial', { what: 'work' }))
      for (const { id } of await trial.sessions()) await trial.hub.call('session.stop', { id }, { deadlineMs: 60_000 })
      await trial.ended(...stay)
      await calm(trial)
    } finally {
      engine.close()
    }
  },
)

describe.skipIf(absent[29] !== undefined)('an engine of a test leaves nothing behind', () => {
  test.each([
    ['when it was killed below a container', true],
    ['when the test that it is for has ended', false],
  ])('%s', { timeout: 120_000 }, async (_, killed) => {
    const holder = spawn('sleep', ['600'])
    const engine = createOwnEngine('29-classic', holder.pid)
    const folder = dirname(dirname(engine.socket))
    engine.up()
    buildImages(engine.socket)
    const name = await runSomething(engine.socket)
    expect(leftOf(folder)).not.toEqual([])
    expect(processesOf(name)).not.toEqual([])
    if (killed) {
      await engine.end('SIGKILL')
      engine.close()
    } else {
      holder.kill('SIGKILL')
      for (let at = 0; existsSync(folder) && at < 600; at += 1) await sleep(100)
    }
    holder.kill('SIGKILL')
    expect(existsSync(folder)).toBe(false)
    // Who watches over the engine looks once a second, sees that the folder is gone, and ends.
    for (let at = 0; leftOf(folder).length > 0 && at < 100; at += 1) await sleep(100)
    expect(leftOf(folder)).toEqual([])
    expect(processesOf(name)).toEqual([])
  })
})
