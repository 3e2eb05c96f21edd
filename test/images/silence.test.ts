/** A program that says nothing, as its shim sees it: real processes (docs/agents.md). */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SILENCE_TYPE } from '../../hub/protocol/silence.ts'
import { KEEP_BEFORE_END_MS } from '../../images/agent/outputs.ts'
import { worksBelow } from '../../images/agent/silence.ts'
import { createShimBench } from '../support/shim-process.ts'

let bench: ReturnType<typeof createShimBench>
beforeEach(() => {
  bench = createShimBench()
})
afterEach(() => bench.close())

const tell = (ran: Awaited<ReturnType<typeof bench.start>>, step: 'ask' | 'end', more = {}) =>
  ran.session.deliver({ kind: 'message', type: SILENCE_TYPE, body: { step, why: 'it said nothing', ...more } })
const ready = async (ran: Awaited<ReturnType<typeof bench.start>>) =>
  expect.poll(() => ran.logs(), { interval: 20 }).toContain('ready')
const TEXT = 'open("out/half.txt", "w").write("half"); print("ready", file=sys.stderr, flush=True)\n'
const start = (driver: 'command' | 'stream-json' | 'json-lines', text: string) =>
  bench.start({ program: { driver, run: bench.python(TEXT + text) } })

test.each(['command', 'stream-json', 'json-lines'] as const)(
  '%s: silence is asked, and then ended by SIGTERM; what it left is kept, unfinished, and what it says at the end is no success',
  async (driver) => {
    const ran = await start(driver, 'signal.signal(15, lambda *_: sys.exit(0))\nwhile True: time.sleep(1)')
    await ready(ran)
    tell(ran, 'ask')
    tell(ran, 'end')
    expect(await ran.exit).toBe(1)
    expect(ran.envelopes('result')).toEqual([])
    expect(ran.artifact('half.txt')).toBe('half')
    const asked = driver === 'json-lines' ? 'it was asked, and did not answer' : 'it could not be asked'
    expect(ran.logs().at(-1)).toBe(`it said nothing; ${asked}`)
  },
)

test('S1-49: one that is asked can answer, by JSON lines and by the SDK; while a process of it lives it is not asked', async () => {
  const file = join(bench.dir, 'asked.mjs')
  writeFileSync(
    file,
    `import { connect } from '${new URL('../../hub/client/agent.ts', import.meta.url).pathname}'
     const hub = await connect()
     hub.onTask(() => new Promise((done) => { hub.onQuiet(({ why }) => done(why)); void hub.log('ready') }))`,
  )
  const lines = bench.python(`hear(); child = subprocess.Popen(["sleep", "600"])
say(op="log", text="ready")
hold = hear(); child.kill(); child.wait(); say(op="log", text="alone")
say(op="result", id=1, value=[hold["type"], hear()])`)
  const sdk = await bench.start({ program: { driver: 'sdk', run: ['node', file] } })
  await ready(sdk)
  tell(sdk, 'ask')
  expect(await sdk.session.result).toMatchObject({ outcome: 'succeeded', value: 'it said nothing' })
  const ran = await bench.start({ program: { driver: 'json-lines', run: lines } })
  await ready(ran)
  tell(ran, 'ask')
  await expect.poll(() => ran.logs().at(-1), { interval: 20 }).toMatch(/waits for sleep/)
  ran.session.deliver({
    kind: 'message',
    type: 'go',
    messageKind: 'event',
    from: { agent: 'a', session: 's' },
    body: {},
  })
  await expect.poll(() => ran.logs(), { interval: 20 }).toContain('alone')
  tell(ran, 'ask')
  const value = ['go', { op: 'quiet', why: 'it said nothing' }]
  expect(await ran.session.result).toMatchObject({ outcome: 'succeeded', value })
})

test('while a process that it started lives it is asked and never ended, and the log says what works', async () => {
  // It is ready only once that process is there, under its own name.
  const run = bench.python(`p = subprocess.Popen(["sleep", "600"])\n${TEXT}p.wait()\nsys.exit(3)`)
  const ran = await bench.start({ program: { driver: 'command', run } })
  await ready(ran)
  tell(ran, 'ask')
  tell(ran, 'end')
  const works = expect.stringMatching(/^its program says nothing, and waits for sleep \(\d+\)$/)
  await expect.poll(() => ran.logs(), { interval: 20 }).toEqual(['ready', works, works])
  // Once the card says that a stalled session is ended, it is.
  tell(ran, 'end', { force: true })
  expect(await ran.exit).toBe(1)
  expect(ran.artifact('half.txt')).toBe('half')
})

test('an sdk program that falls, or is ended, keeps what it left as others do', async () => {
  const file = join(bench.dir, 'main.mjs')
  writeFileSync(
    file,
    `import { mkdirSync, writeFileSync } from 'node:fs'
     import { connect } from '${new URL('../../hub/client/agent.ts', import.meta.url).pathname}'
     const hub = await connect()
     hub.onTask(async ({ params }) => {
       writeFileSync(process.env.HUB_WORKSPACE + '/out/half.txt', 'half')
       await hub.log('ready')
       if (params.falls) setTimeout(() => { throw new Error('out of luck') }, 1)
       await new Promise((resolve) => setTimeout(resolve, 600_000))
     })`,
  )
  for (const falls of [true, false]) {
    const ran = await bench.start({ program: { driver: 'sdk', run: ['node', file] }, task: { params: { falls } } })
    await ready(ran)
    if (!falls) tell(ran, 'end')
    expect(await ran.exit).toBe(1)
    expect(ran.artifact('half.txt')).toBe('half')
    expect(ran.envelopes('result')).toEqual([])
  }
})

test('S4-41: one whose session the hub has ended is told to, and hands in what it has within the time that it is given', async () => {
  const ran = await start('command', 'signal.signal(15, lambda *_: sys.exit(0))\nwhile True: time.sleep(1)')
  await ready(ran)
  ran.session.end(60_000)
  expect(await ran.exit).toBe(0)
  expect(ran.artifact('half.txt')).toBe('half')
  expect(ran.envelopes('result')).toMatchObject([
    { body: { outcome: 'failed', stopped: true, error: expect.stringContaining('takes what there is') } },
  ])
})

test('S4-41: half a minute before its end what there is is kept, while the program works', async () => {
  const run = bench.python('while True: time.sleep(1)')
  const ran = await bench.start({ program: { driver: 'command', run }, ttlMs: KEEP_BEFORE_END_MS + 1_000 })
  // Here, and not by the program: how soon that begins is a matter of the machine.
  mkdirSync(join(ran.workspace, 'out'))
  writeFileSync(join(ran.workspace, 'out/half.txt'), 'half')
  await expect.poll(() => ran.artifact('half.txt'), { interval: 50 }).toBe('half')
  expect(ran.envelopes('result')).toEqual([])
})

test('what works is all below the shim but the program itself, however deep, and nothing else', () => {
  const one = (pid: number, parent: number) => ({ pid, parent, name: `p${pid}` })
  const all = [one(1, 0), one(10, 1), one(11, 10), one(12, 11), one(13, 12), one(20, 1)]
  expect(worksBelow(all, 10, 11).map(({ pid }) => pid)).toEqual([12, 13])
  expect(worksBelow(all, 1, 10).map(({ pid }) => pid)).toEqual([20, 11, 12, 13])
  expect(worksBelow(all, 13, undefined)).toEqual([])
})
