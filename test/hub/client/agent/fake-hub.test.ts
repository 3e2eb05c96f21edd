/** One little agent against both: the real SDK over the real entrance's stand-in, and the fake hub. What it meets must be the same. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { HubError } from '../../../../hub/base/errors.ts'
import { createFakeHub, type FakeHub } from '../../../../hub/client/agent/fake-hub.ts'
import type { BudgetLowBody, ChildOutcome, HubAgent } from '../../../../hub/client/agent.ts'
import type { ResultBody } from '../../../../hub/protocol/envelope.ts'
import { createAgentEntrance, type EntranceSession } from '../../../support/agent-entrance.ts'

/** What the world around the agent does; both sides are made to do it. */
interface World {
  hub: HubAgent
  /** Runs the task and answers the result as the hub got it. */
  perform(): Promise<ResultBody>
  ask(type: string, body: Record<string, unknown>): Promise<unknown>
  kinds(): string[]
  stored(name: string): string | undefined
  warn(low: BudgetLowBody): void
  cancel(): void
}
const CHILD = { task: 't', outcome: 'succeeded', value: 7, artifacts: [] } satisfies ChildOutcome
const INPUTS = { 'b.txt': 'second', 'a.txt': 'first' }
const PARAMS = { name: 'Ada' }
const peerAnswers = (type: string) => {
  if (type === 'fail') throw new Error('broken')
  return type === 'number' ? 8 : { type }
}

let dir = ''
const cleanup: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fh-'))
})
afterEach(async () => {
  for (const each of cleanup.splice(0).reverse()) await each()
  process.removeAllListeners('SIGTERM')
  rmSync(dir, { recursive: true })
})

async function realWorld(): Promise<World> {
  const entrance = createAgentEntrance({
    dir,
    judge: (_, { type }) => (type === 'secret' ? { code: 'policy_denied' } : undefined),
    onAccepted(session, { kind, id, type }) {
      const reply = (body: Record<string, unknown>) => session.deliver({ kind: 'reply', correlationId: id, body })
      if (kind === 'delegate') reply(CHILD)
      if (kind === 'ask') reply({ answer: 'yes' })
      if (kind !== 'request' || session !== mine) return
      try {
        const value = peerAnswers(type)
        reply(typeof value === 'number' ? { value } : value)
      } catch (thrown) {
        reply({ error: (thrown as Error).message })
      }
    },
  })
  cleanup.push(() => entrance.close())
  // The fake's own folder, so that both read the same bytes.
  const source = createFakeHub({ inputs: INPUTS })
  const inputs = source.joined.task.inputs
  if (inputs === null) throw new Error('no inputs')
  for (const digest of Object.values(inputs)) entrance.store(await source.artifact.get(digest))
  let mine: EntranceSession | undefined
  const connected = async (task: object) => {
    const session = await entrance.addSession({ task })
    vi.resetModules()
    const { connect } = await import('../../../../hub/client/agent.ts')
    const hub = await connect({ socketPath: session.socketPath })
    cleanup.push(() => hub.close())
    return { session, hub }
  }
  const { hub, session } = await connected({ params: PARAMS, inputs })
  const peer = await connected({})
  // The peer's own requests are answered by the agent, everything of the agent by `onAccepted`.
  mine = session
  return {
    hub,
    async perform() {
      await hub.run()
      return await session.result
    },
    ask: (type, body) => peer.hub.request(`session:${session.session}`, type, body),
    kinds: () => session.seen.flatMap(({ envelope }) => (envelope === undefined ? [] : [envelope.kind])),
    stored: (name) => entrance.blobs.get(session.artifactNames.get(name) ?? '')?.toString(),
    warn: (body) => session.deliver({ kind: 'message', messageKind: 'event', type: 'budget.low', body: { ...body } }),
    cancel: () => session.deliver({ kind: 'cancel', body: {} }),
  }
}

async function fakeWorld(): Promise<World> {
  const hub: FakeHub = createFakeHub({
    task: { params: PARAMS },
    inputs: INPUTS,
    onDelegate: () => CHILD,
    onAsk: () => ({ answer: 'yes' }),
    onRequest: (_, type) => peerAnswers(type),
    refuse: ({ type }) => (type === 'secret' ? 'policy_denied' : undefined),
  })
  return {
    hub,
    perform: () => hub.perform(),
    ask: (type, body) => hub.deliver(type, body),
    kinds: () => [
      ...hub.sent.map(({ kind }) => kind),
      ...hub.progressed.slice(-1).map(() => 'progress'),
      ...(hub.result === undefined ? [] : ['result']),
    ],
    stored: (name) => hub.artifacts.get(name)?.toString(),
    warn: hub.warnBudgetLow,
    cancel: () => hub.cancel(),
  }
}

test('the fake hub asks a person where a test says so: one yes lets the act through once, a no does not', async () => {
  const hub = createFakeHub({
    refuse: ({ type }) => (type === 'pay' ? 'needs_approval' : undefined),
    onApproval: ({ body }) => (body.amount === 1 ? {} : { answer: 'rejected', text: 'too much' }),
  })
  hub.onTask(async () => {
    await hub.agreed(() => hub.publish('shop', 'pay', { amount: 1 }))
    return [
      await caught(hub.publish('shop', 'pay', { amount: 1 })),
      await caught(hub.agreed(() => hub.publish('shop', 'pay', { amount: 2 }))),
    ]
  })
  expect((await hub.perform()).value).toEqual(['needs_approval', 'approval_refused'])
  expect(hub.sent.map(({ body }) => body)).toEqual([{ amount: 1 }])
})

const codeOf = (thrown: unknown) => (thrown as HubError).code
const caught = (ask: Promise<unknown>) => ask.then(() => 'nothing', codeOf)

describe.each([
  ['the SDK over a socket', realWorld],
  ['the fake hub', fakeWorld],
])('an agent on %s', (_, open) => {
  test('does its task: reads its input, delegates, asks, stores, and posts what it returns', async () => {
    const { hub, perform, kinds, stored } = await open()
    hub.onTask(async (task) => {
      const names: string[] = []
      if (task.inputs === null) throw new Error('no inputs')
      for await (const { entry, chunks } of hub.folder(task.inputs).files()) {
        for await (const chunk of chunks) names.push(`${entry.path}=${chunk}`)
      }
      const peer = 'agent:peer'
      const child = await hub.delegate({ agent: 'reader' })
      const answers = [await hub.request(peer, 'number'), await hub.request(peer, 'fail'), await hub.ask('may I?')]
      await hub.publish('news', 'told', { n: 1 })
      hub.progress({ done: 1, total: 2 })
      hub.progress({ done: 2, total: 2 })
      await hub.artifact.put('out/a.txt', 'hello')
      return { name: task.params.name, names, child, answers }
    })
    expect(await perform()).toEqual({
      outcome: 'succeeded',
      value: {
        name: 'Ada',
        names: ['a.txt=first', 'b.txt=second'],
        child: CHILD,
        answers: [{ value: 8 }, { error: 'broken' }, { answer: 'yes' }],
      },
    })
    expect(kinds()).toEqual(['delegate', 'request', 'request', 'ask', 'event', 'progress', 'result'])
    expect(stored('out/a.txt')).toBe('hello')
  })

  test('posts a failure for a throw and for no handler at all', async () => {
    const thrown = await open()
    thrown.hub.onTask(() => {
      throw new Error('no such file')
    })
    expect(await thrown.perform()).toEqual({ outcome: 'failed', error: 'no such file' })
    expect((await (await open()).perform()).error).toContain('hub.onTask')
  })

  test('answers requests: an object, a bare value, a throw, an unknown type, and one that came before the task', async () => {
    const { hub, perform, ask } = await open()
    hub.onMessage('double', ({ n }) => ({ n: Number(n) * 2 }))
    hub.onMessage('bare', () => 'text')
    hub.onMessage('fail', () => {
      throw new Error('broken')
    })
    const early = ask('late', {})
    let asked: unknown
    hub.onTask(async () => {
      asked = [await ask('double', { n: 4 }), await ask('bare', {}), await ask('fail', {}), await ask('other', {})]
    })
    hub.onMessage('late', () => ({ ok: true }))
    await perform()
    expect(asked).toEqual([{ n: 8 }, { value: 'text' }, { error: 'broken' }, { error: 'no handler for other' }])
    expect(await early).toEqual({ ok: true })
  })

  test('hands every message without a handler to onAny, which answers requests by itself', async () => {
    const { hub, perform, ask } = await open()
    const accepted: string[] = []
    hub.onAny((message) => void hub.reply(message, { heard: message.type }))
    let answer: unknown
    hub.onTask(async () => {
      answer = await ask('whatever', {})
      await hub.request('agent:peer', 'number', {}, { onAccepted: () => accepted.push('request') })
      await hub.delegate({ agent: 'reader' }, { onAccepted: () => accepted.push('delegate') })
    })
    await perform()
    expect([answer, accepted]).toEqual([{ heard: 'whatever' }, ['request', 'delegate']])
  })

  test('is refused with the code of the refusal, and with too_large for what no message may carry', async () => {
    const { hub, perform } = await open()
    let codes: unknown
    hub.onTask(async () => {
      codes = [
        await caught(hub.publish('news', 'secret')),
        await caught(hub.request(`session:${hub.joined.session}`, 'secret')),
        await caught(hub.publish('news', 'large', { text: 'x'.repeat(70_000) })),
        await caught(hub.artifact.get('0'.repeat(64))),
      ]
    })
    await perform()
    expect(codes).toEqual(['policy_denied', 'policy_denied', 'too_large', 'unknown_artifact'])
  })

  test('is told that money runs low, also by a warning that came before its handler', async () => {
    const { hub, perform, warn } = await open()
    const low = (mark: 50 | 80): BudgetLowBody => ({ of: 'tree', mark, limitUsd: 200, spentUsd: mark * 2 })
    warn(low(50))
    const told: unknown[] = []
    hub.onTask(async () => {
      const both = Promise.withResolvers<void>()
      hub.onBudgetLow((given) => {
        if (told.push(given) === 2) both.resolve()
      })
      warn(low(80))
      await both.promise
    })
    expect((await perform()).outcome).toBe('succeeded')
    expect(told).toEqual([low(50), low(80)])
  })

  test('says in its result that a value is too large or no JSON', async () => {
    for (const value of ['x'.repeat(70_000), 10n]) {
      const { hub, perform } = await open()
      hub.onTask(() => value)
      expect((await perform()).error).toContain('store larger things as artifacts')
    }
  })

  test('reports what was done so far when it is cancelled, and may not speak after its end', async () => {
    const { hub, perform, cancel } = await open()
    hub.onTask((_task, signal) => {
      hub.partial({ sofar: 3 })
      cancel()
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    expect(await perform()).toMatchObject({ outcome: 'failed', value: { sofar: 3 } })
    expect(await caught(hub.log('late'))).toBe('cancelled')
  })
})

describe('the fake hub', () => {
  test('is a HubAgent in every member, by type', () => {
    const hub = createFakeHub()
    const real: Required<HubAgent> = hub
    // @ts-expect-error: a fake that lost a member would not type-check
    const wrong: HubAgent = { ...hub, delegate: undefined }
    expect([real.joined.session, wrong.delegate]).toEqual([hub.joined.session, undefined])
  })

  test('says which function is missing instead of waiting for an answer that cannot come', async () => {
    const hub = createFakeHub()
    await expect(hub.request('agent:x', 'y')).rejects.toThrow('onRequest')
    await expect(hub.delegate({ agent: 'x' })).rejects.toThrow('onDelegate')
    await expect(hub.ask('z')).rejects.toThrow('onAsk')
  })

  test('brings events of a topic to the handler that subscribed to it', async () => {
    const hub = createFakeHub()
    const heard: unknown[] = []
    await hub.subscribe('news', (body, { topic }) => heard.push([topic, body]))
    expect(await hub.deliver('told', { n: 1 }, { messageKind: 'event', topic: 'news' })).toBeUndefined()
    expect([heard, [...hub.subscribed]]).toEqual([[['news', { n: 1 }]], ['news']])
  })
})
