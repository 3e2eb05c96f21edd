/** The SDK's fast line against a whole hub: real socket, real SQLite, real policy; only the engine is the fake one. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createFastLane, createFastQueue } from '../../../hub/client/agent/fast-lane.ts'
import type { ConnectOptions, HubAgent } from '../../../hub/client/agent.ts'
import { createAgentEntrance } from '../../support/agent-entrance.ts'
import { type AgentSpec, createHarness, forever, type Harness } from '../../support/hub-harness.ts'

const words = { sends: { work: null, other: null }, receives: { work: null } }
const agent = (message: string[]): AgentSpec => ({
  script: forever,
  card: { messages: words, may: { message }, limits: { ttl: '60m' } },
})
const agents = { one: agent(['two']), two: agent(['one']) }
const config = { limits: { messages: { perSecond: 50_000 } } }
const open: HubAgent[] = []

afterEach(() => {
  for (const hub of open.splice(0)) hub.close()
  process.removeAllListeners('SIGTERM')
  vi.restoreAllMocks()
})

async function harness(): Promise<Harness> {
  const h = await createHarness({ agents, config })
  // The SDK signs by the machine's clock, the hub judges by its own: here both are the one that tests move.
  vi.spyOn(Date, 'now').mockImplementation(() => h.clock.wallMs())
  return h
}

async function connectTo(socketPath: string, session: ConnectOptions['session']): Promise<HubAgent> {
  vi.resetModules()
  const { connect } = await import('../../../hub/client/agent.ts')
  const hub = await connect({ socketPath, ...(session === undefined ? {} : { session }) })
  open.push(hub)
  return hub
}

/** Starts a session of the agent and joins it with the SDK, as if in a process of its own. */
async function sdk(h: Harness, name: string, session: ConnectOptions['session'] = 'always'): Promise<HubAgent> {
  await h.submit(name)
  const mine = () => h.started.findLast((each) => each.agent === name)
  await h.until(() => mine())
  return await connectTo(mine()?.socketPath ?? '', session)
}

/** Takes what it is sent, replies too, until the test ends. */
function listens(hub: HubAgent, onWork: (n: number) => unknown = () => undefined): void {
  hub.onMessage('work', ({ n }) => onWork(Number(n)))
  hub.onTask((_, signal) => new Promise((resolve) => signal.addEventListener('abort', resolve)))
  void hub.run().catch(() => {})
}
const openings = (h: Harness) =>
  h.audit().filter(({ action, outcome }) => action === 'session.opened' && outcome === 'ok').length
/** Of a message by signed request, a nonce was burned. */
const nonces = (h: Harness) => h.hub.guard.nonces.size()
const until = (what: () => boolean) => expect.poll(what, { interval: 5 }).toBe(true)
const count = (size: number, from = 0) => Array.from({ length: size }, (_, n) => from + n)

describe('messages on the fast line', () => {
  test('two thousand, said without waiting, arrive once each and in their order, and every one is acknowledged', async () => {
    await using h = await harness()
    const [one, two] = [await sdk(h, 'one'), await sdk(h, 'two')]
    const got: number[] = []
    listens(one)
    listens(two, (n) => got.push(n))
    // The receive that was waiting when the line was opened is the last signed request.
    const before = nonces(h)
    for (let first = 0; first < 2000; first += 200) {
      // Fewer at once than a mailbox holds: a full one refuses, and what is said again comes later.
      await Promise.all(count(200, first).map((n) => one.send('request', 'agent:two', 'work', { n })))
      await until(() => got.length === first + 200)
    }
    expect(got).toEqual(count(2000))
    expect(openings(h)).toBe(2)
    expect(nonces(h)).toBe(before)
  })

  test('more than may be unconfirmed wait their turn and keep their order', async () => {
    await using h = await harness()
    const one = await sdk(h, 'one')
    const said = count(3000).map((n) => one.log(String(n)))
    await Promise.all(said)
    const lines = h.hub.work.catalogue.journal.linesOf(one.joined.task.task).map(({ text }) => Number(text))
    expect(lines.length).toBeGreaterThan(100)
    expect(lines).toEqual(count(lines.length, 3000 - lines.length))
  })

  test('a refused one rejects with the code of its refusal, and its neighbours go through', async () => {
    await using h = await harness()
    const [one, two] = [await sdk(h, 'one'), await sdk(h, 'two')]
    const got: number[] = []
    listens(two, (n) => got.push(n))
    const settled = await Promise.allSettled(
      count(100).map((n) =>
        n % 10 === 3
          ? one.send('request', 'agent:two', 'other', { n })
          : one.send('request', n % 10 === 7 ? 'agent:one' : 'agent:two', 'work', { n }),
      ),
    )
    const codes = settled.map((each) => (each.status === 'fulfilled' ? 'ok' : (each.reason as { code: string }).code))
    expect(codes).toEqual(count(100).map((n) => ({ 3: 'schema_invalid', 7: 'policy_denied' })[n % 10] ?? 'ok'))
    await until(() => got.length === 80)
    expect(got).toEqual(count(100).filter((n) => n % 10 !== 3 && n % 10 !== 7))
  })

  test('ten thousand leave the memory flat', async () => {
    await using h = await harness()
    const [one, two] = [await sdk(h, 'one'), await sdk(h, 'two')]
    let got = 0
    listens(one)
    listens(two, () => {
      got += 1
    })
    const heap: number[] = []
    for (let first = 0; first < 10_000; first += 250) {
      await Promise.all(count(250, first).map((n) => one.send('request', 'agent:two', 'work', { n })))
      await until(() => got === first + 250)
      heap.push(process.memoryUsage().heapUsed)
    }
    const least = (from: number, to: number) => Math.min(...heap.slice(from, to))
    expect((least(30, 40) - least(5, 15)) / 2 ** 20).toBeLessThan(30)
  })
})

describe('when a line is opened', () => {
  test('by itself, once more than twenty messages went within a second; none waits for it, and a result never goes by it', async () => {
    await using h = await harness()
    const one = await sdk(h, 'one', 'auto')
    // The SDK's own watch, which the machine's speed does not move.
    let nowMs = performance.now()
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
    for (const n of count(40)) {
      await one.log(String(n))
      nowMs += 51
    }
    expect(openings(h), 'twenty in a second are no reason').toBe(0)
    nowMs += 1000
    for (const n of count(20)) await one.log(String(n))
    expect(openings(h)).toBe(0)
    await one.log('one more')
    await until(() => openings(h) === 1)
    vi.mocked(performance.now).mockRestore()
    // Once the welcome is there too, none goes by a request of its own.
    const byFrame = async () => {
      const before = nonces(h)
      await one.log('by frame')
      return nonces(h) === before
    }
    await expect.poll(byFrame).toBe(true)
    expect(await byFrame()).toBe(true)
    const before = nonces(h)
    one.onTask(() => 'done')
    await one.run()
    expect(nonces(h)).toBeGreaterThan(before)
    expect(h.task(one.joined.task.task)).toMatchObject({ state: 'succeeded', outcome: { value: 'done' } })
  })

  test('never, when that is asked for', async () => {
    await using h = await harness()
    const one = await sdk(h, 'one', 'never')
    for (const n of count(60)) await one.log(String(n))
    expect(openings(h)).toBe(0)
  })

  test('a hub without fast sessions is spoken to by signed requests', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fl-'))
    const entrance = createAgentEntrance({ dir })
    const session = await entrance.addSession()
    const one = await connectTo(session.socketPath, 'always')
    for (const n of count(5)) await one.log(String(n))
    expect(session.seen.filter(({ envelope }) => envelope?.kind === 'log')).toHaveLength(5)
    one.close()
    await entrance.close()
    rmSync(dir, { recursive: true })
  })
})

describe('when a line ends', () => {
  test('what it did not confirm goes out first on the next, then what was said meanwhile, all in order', async () => {
    const said: string[][] = []
    const line = () => {
      const own: string[] = []
      said.push(own)
      return { say: (envelope: Buffer) => own.push(envelope.toString()), seen: () => {}, close: () => {} }
    }
    const queue = createFastQueue((problem) => problem)
    queue.attach(line())
    const settled: string[] = []
    const say = (...words: string[]) => {
      for (const word of words)
        queue.send(Buffer.from(word)).then(
          () => settled.push(word),
          () => settled.push(`no ${word}`),
        )
    }
    say('a', 'b', 'c', 'd')
    queue.take({ upTo: 2, refused: new Map([[1, {}]]) })
    queue.attach(undefined)
    say('e')
    queue.attach(line())
    say('f')
    queue.take({ upTo: 2, refused: new Map() })
    queue.failAll(new Error('lost'))
    await queue.settled()
    await Promise.resolve()
    expect(said).toEqual([
      ['a', 'b', 'c', 'd'],
      ['c', 'd', 'e', 'f'],
    ])
    expect(settled.sort()).toEqual(['b', 'c', 'd', 'no a', 'no e', 'no f'])
  })

  test('one the hub takes back is opened again at once, three times in vain; any other end is told as a lost link', async () => {
    const ends: ((code: number) => void)[] = []
    let lost = 0
    const lane = createFastLane('always', {
      openLine: async ({ onClosed }) => {
        ends.push(onClosed)
        return { say: () => 1, seen: () => {}, close: () => {} }
      },
      errorOf: (problem) => problem,
      onLost: () => {
        lost += 1
      },
    })
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    await lane.open()
    for (const opened of [2, 3, 4, 4]) {
      ends.at(-1)?.(4001)
      await turn()
      expect(ends.length).toBe(opened)
    }
    expect([lost, lane.isOpen()]).toEqual([1, false])
    await lane.open()
    ends.at(-1)?.(1006)
    await turn()
    expect([lost, lane.isOpen(), ends.length]).toEqual([2, false, 5])
  })

  test('too old a session is opened anew under way: nothing is lost, nothing comes twice, the order holds', async () => {
    await using h = await harness()
    const [one, two] = [await sdk(h, 'one'), await sdk(h, 'two')]
    const got: number[] = []
    listens(one)
    listens(two, (n) => got.push(n))
    await Promise.all(count(100).map((n) => one.send('request', 'agent:two', 'work', { n })))
    const said: Promise<void>[] = []
    for (const round of [1, 2]) {
      await h.clock.advance(15 * 60_000 - 1000)
      await h.lease()
      await until(() => got.length === said.length + 100)
      for (const n of count(200, round * 200 - 100)) said.push(one.send('request', 'agent:two', 'work', { n }))
      await h.until(() => openings(h) === 2 + 2 * round, 'both are opened anew')
      await Promise.all(said)
      await until(() => got.length === said.length + 100)
    }
    expect(got).toEqual(count(500))
  })

  test.each(['stop', 'kill'] as const)(
    'the hub goes by %s in the middle of requests: each is answered, each is handled once (T13)',
    async (how) => {
      await using h = await harness()
      const [one, two] = [await sdk(h, 'one'), await sdk(h, 'two')]
      const handled: number[] = []
      // The last ones are answered after the restart, however fast the others were.
      const isBack = Promise.withResolvers<void>()
      listens(two, async (n) => {
        handled.push(n)
        if (n >= 350) await isBack.promise
        return { n }
      })
      let answered = 0
      const asked = count(400).map(async (n) => {
        await new Promise((resolve) => setTimeout(resolve, n))
        const answer = await one.request('agent:two', 'work', { n }, { timeoutMs: 300_000 })
        answered += 1
        return answer.n
      })
      await until(() => answered > 100)
      await h[how]()
      await h.start()
      expect(answered).toBeLessThan(400)
      isBack.resolve()
      expect(await h.pumped(Promise.all(asked), 1)).toEqual(count(400))
      expect(handled.sort((a, b) => a - b)).toEqual(count(400))
    },
  )
})
