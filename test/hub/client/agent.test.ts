import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ErrorCode } from '../../../hub/base/errors.ts'
import type { HubAgent } from '../../../hub/client/agent.ts'
import { createAgentEntrance, type EntranceOptions, type SessionOptions } from '../../support/agent-entrance.ts'

let dir = ''
let entrance: ReturnType<typeof createAgentEntrance>
const open: HubAgent[] = []
let judge: EntranceOptions['judge']

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ag-'))
  judge = undefined
  entrance = createAgentEntrance({ dir, judge: (session, envelope) => judge?.(session, envelope) })
})
afterEach(async () => {
  vi.useRealTimers()
  for (const hub of open.splice(0)) hub.close()
  process.removeAllListeners('SIGTERM')
  await entrance.close()
  rmSync(dir, { recursive: true })
})

/** A session and its agent, as if in a process of its own. */
async function joined(options: SessionOptions = {}) {
  const session = await entrance.addSession(options)
  vi.resetModules()
  const { connect } = await import('../../../hub/client/agent.ts')
  const hub = await connect({ socketPath: session.socketPath })
  open.push(hub)
  return { session, hub, connect }
}
const until = (what: () => boolean) => expect.poll(what, { interval: 10 }).toBe(true)

/** From here on the test moves the time, of both ends; what goes over the socket goes on by itself. */
const takeTime = () =>
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'],
  })
/** Moves the time in steps of a second until it holds; how long that was, in ms. */
async function passing(what: () => boolean): Promise<number> {
  for (let passedMs = 0; ; passedMs += 1000) {
    // What is under way over the socket comes first.
    for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    if (what()) return passedMs
    expect(passedMs).toBeLessThan(3_600_000)
    await vi.advanceTimersByTimeAsync(1000)
  }
}
const sent = (session: Awaited<ReturnType<typeof joined>>['session'], kind: string) =>
  session.seen.filter(({ envelope }) => envelope?.kind === kind)

describe('the agent SDK', () => {
  test('answered for another session than it is for, it goes: no signal is held back from the process, no timer is left', async () => {
    const session = await entrance.addSession()
    vi.resetModules()
    const { connect } = await import('../../../hub/client/agent.ts')
    const before = process.listenerCount('SIGTERM')
    vi.stubEnv('HUB_SESSION', 'saaaaaaaaaaaaaaa')
    try {
      await expect(connect({ socketPath: session.socketPath })).rejects.toMatchObject({ code: 'unauthenticated' })
    } finally {
      vi.unstubAllEnvs()
    }
    expect(process.listenerCount('SIGTERM')).toBe(before)
  })

  test('SIGTERM while it joins: its task is given back as stopped, and is no crash', async () => {
    const session = await entrance.addSession()
    vi.resetModules()
    const { connect } = await import('../../../hub/client/agent.ts')
    const joining = connect({ socketPath: session.socketPath })
    // The hub has it as joined from here on, and the program has no answer yet.
    while (session.joinedAt() === undefined) await new Promise((resolve) => setImmediate(resolve))
    expect(process.emit('SIGTERM')).toBe(true)
    const hub = await joining
    open.push(hub)
    expect(hub.signal.aborted).toBe(true)
    hub.onTask((_, signal) => ({ begun: !signal.aborted }))
    await hub.run()
    expect(await session.result).toMatchObject({ outcome: 'failed', stopped: true, value: { begun: false } })
  })

  test('joins once per process, whoever asks', async () => {
    const { session, hub, connect } = await joined()
    expect(await connect()).toBe(hub)
    expect(session.seen.map(({ path }) => path)).toEqual(['/v1/join'])
    expect(hub.joined.session).toBe(session.session)
  })

  test('posts what a handler returns as the result, and what it throws as a failure', async () => {
    const good = await joined({ task: { params: { n: 20 } } })
    good.hub.onTask(({ params }) => Number(params.n) + 1)
    await good.hub.run()
    expect(await good.session.result).toEqual({ outcome: 'succeeded', value: 21 })
    const bad = await joined()
    bad.hub.onTask(() => {
      throw new Error('no such file')
    })
    await bad.hub.run()
    expect(await bad.session.result).toEqual({ outcome: 'failed', error: 'no such file' })
    const none = await joined()
    await none.hub.run()
    expect((await none.session.result).error).toContain('hub.onTask')
  })

  test('answers a request with what its handler returns, an error with what it throws, and an unknown type by name', async () => {
    const a = await joined()
    const b = await joined()
    const to = `session:${b.session.session}`
    b.hub.onMessage('double', ({ n }) => ({ n: Number(n) * 2 }))
    b.hub.onMessage('fail', () => {
      throw new Error('broken')
    })
    b.hub.onTask((_, signal) => new Promise((resolve) => signal.addEventListener('abort', resolve)))
    void b.hub.run().catch(() => {})
    expect(await a.hub.request(to, 'double', { n: 4 })).toEqual({ n: 8 })
    expect(await a.hub.request(to, 'fail')).toEqual({ error: 'broken' })
    expect(await a.hub.request(to, 'other')).toEqual({ error: 'no handler for other' })
  })

  test('holds early messages until the task begins, so that a handler registered late still gets them', async () => {
    const a = await joined()
    const b = await joined()
    const answer = a.hub.request(`session:${b.session.session}`, 'late')
    await until(() => sent(a.session, 'request').length > 0)
    await b.hub.subscribe('news', () => {})
    await until(() => b.session.seen.some(({ path }) => path.startsWith('/v1/receive?after=1')))
    b.hub.onMessage('late', () => ({ ok: true }))
    b.hub.onTask(() => answer)
    await b.hub.run()
    expect(await answer).toEqual({ ok: true })
  })

  test('S0-11: passes the trace of its task on with whatever it says, and that of a message with the answer to it', async () => {
    const [own, other] = [`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, `00-${'c'.repeat(32)}-${'d'.repeat(16)}-01`]
    const { session, hub } = await joined({ task: { traceparent: own } })
    hub.onMessage('greet', () => ({ hello: true }))
    hub.onTask(async () => {
      await hub.log('begun')
      await hub.publish('news', 'note')
      session.deliver({
        kind: 'message',
        id: crypto.randomUUID(),
        from: { agent: 'peer', session: 's000000000000001' },
        messageKind: 'request',
        type: 'greet',
        traceparent: other,
        body: {},
      })
      await until(() => sent(session, 'reply').length === 1)
    })
    await hub.run()
    const traceOf = (kind: string) => sent(session, kind).map(({ envelope }) => envelope?.traceparent)
    expect([traceOf('log'), traceOf('event'), traceOf('reply'), traceOf('result')]).toEqual([
      [own],
      [own],
      [other],
      [own],
    ])

    const plain = await joined()
    plain.hub.onTask(() => plain.hub.log('begun'))
    await plain.hub.run()
    for (const { envelope } of plain.session.seen) expect(envelope ?? {}).not.toHaveProperty('traceparent')
  })

  test('does an act again after the yes to it, and only then; no other agent can say so, and a no is a refusal [ask-12]', async () => {
    const asked = { code: 'needs_approval', approval: 'one' } as const
    let isAsked = true
    judge = (_, { kind }) => (isAsked && kind === 'event' ? asked : undefined)
    const { session, hub } = await joined()
    const say = (approval: string, answer: string, from?: { agent: string; session: string }) =>
      session.deliver({
        ...{ kind: 'message', messageKind: 'event', type: 'approval.answered' },
        ...(from === undefined ? {} : { from }),
        body: { approval, answer, text: 'because' },
      })
    const told: string[] = []
    const publish = () => hub.publish('news', 'note', { n: 1 })
    const agreed = hub.agreed(publish, { onAsked: (approval) => told.push(approval) })
    await until(() => told.length === 1)
    say('one', 'approved', { agent: 'peer', session: 's000000000000001' })
    await until(() => session.seen.filter(({ path }) => path.startsWith('/v1/receive')).length > 1)
    expect(sent(session, 'event')).toHaveLength(1)
    isAsked = false
    say('one', 'approved')
    await agreed
    const bodies = sent(session, 'event').map(({ envelope }) => envelope?.body)
    expect([bodies, told]).toEqual([[{ n: 1 }, { n: 1 }], ['one']])
    // Kept for whoever waits for it later.
    expect(await hub.answered('one')).toEqual({ approval: 'one', answer: 'approved', text: 'because' })

    isAsked = true
    judge = () => ({ code: 'needs_approval', approval: 'two' })
    say('two', 'rejected')
    const no = await hub.agreed(publish).catch((thrown) => thrown)
    expect([no.code, no.message, no.facts.approval]).toEqual(['approval_refused', 'a person said no: because', 'two'])
    judge = () => ({ code: 'needs_approval' })
    expect((await hub.agreed(publish).catch((thrown) => thrown)).code).toBe('needs_approval')
    expect((await hub.answered('three', { timeoutMs: 1 }).catch((thrown) => thrown)).code).toBe('timed_out')
    const left = hub.answered('four').catch((thrown) => thrown.code)
    hub.close()
    expect(await left).toBe('cancelled')
  })

  test('is told that money runs low, by the hub alone; what came before a handler is kept, and one that fails is a line of the log (S2-30)', async () => {
    const { session, hub } = await joined()
    const low = (mark: number) => ({ of: 'tree', mark, limitUsd: 2_000_000, spentUsd: mark * 20_000 })
    const warn = (mark: number, from?: { agent: string; session: string }) =>
      session.deliver({
        ...{ kind: 'message', messageKind: 'event', type: 'budget.low' },
        ...(from === undefined ? {} : { from }),
        body: low(mark),
      })
    const messages: unknown[] = []
    hub.onMessage('budget.low', (body) => void messages.push(body))
    const told: unknown[] = []
    hub.onTask(async () => {
      warn(50)
      warn(80, { agent: 'peer', session: 's000000000000001' })
      await until(() => messages.length === 1)
      expect(told).toEqual([])
      hub.onBudgetLow((given) => {
        told.push(given)
        if (given.mark === 100) throw new Error('no time')
      })
      warn(100)
      await until(() => sent(session, 'log').length === 1)
    })
    await hub.run()
    expect((await session.result).outcome).toBe('succeeded')
    expect([told, messages]).toEqual([[low(50), low(100)], [low(80)]])
    expect(sent(session, 'log')[0]?.envelope?.body.text).toBe('the handler of onBudgetLow failed: Error: no time')
  })

  test('a message that is taken back ends the wait for its answer, is sent anew where a person is asked now, or is a line of the log [ask-3]', async () => {
    const { session, hub } = await joined()
    const body = { code: 'needs_approval', detail: 'the rules changed', returned: true }
    const takeBack = (id: string | undefined) => session.deliver({ kind: 'refused', correlationId: id ?? '', body })
    const alone = hub.request('agent:peer', 'pay').catch((thrown) => thrown)
    await until(() => sent(session, 'request').length === 1)
    takeBack(sent(session, 'request')[0]?.envelope?.id)
    expect([(await alone).code, (await alone).message]).toEqual(['needs_approval', 'the rules changed'])
    const agreed = hub.agreed(() => hub.request('agent:peer', 'pay'))
    await until(() => sent(session, 'request').length === 2)
    takeBack(sent(session, 'request')[1]?.envelope?.id)
    await until(() => sent(session, 'request').length === 3)
    const last = sent(session, 'request')[2]?.envelope?.id ?? ''
    session.deliver({ kind: 'reply', correlationId: last, body: { paid: true } })
    expect(await agreed).toEqual({ paid: true })
    takeBack('an event of which nobody waits for an answer')
    await until(() => sent(session, 'log').length === 1)
    expect(sent(session, 'log')[0]?.envelope?.body.text).toBe('a message was not delivered: the rules changed')
  })

  test('drops a message that is offered twice by id, whatever its number, and keeps equal ids of other senders', async () => {
    const { session, hub } = await joined()
    const heard: unknown[] = []
    hub.onMessage('tick', ({ n }) => void heard.push(n))
    hub.onTask((_, signal) => new Promise((resolve) => signal.addEventListener('abort', resolve)))
    void hub.run().catch(() => {})
    const tick = (id: string, from: string, n: number) =>
      session.deliver({
        kind: 'message',
        id,
        from: { agent: 'x', session: from },
        messageKind: 'event',
        type: 'tick',
        body: { n },
      })
    tick('one', 'sa', 1)
    tick('one', 'sa', 2)
    tick('one', 'sb', 3)
    await until(() => heard.length === 2)
    tick('two', 'sa', 4)
    await until(() => heard.length === 3)
    expect(heard).toEqual([1, 3, 4])
  })

  test('times out a request that nobody answers, and refuses at once what the policy denies, with its code', async () => {
    const { hub } = await joined()
    const quiet = await joined()
    const to = `session:${quiet.session.session}`
    await expect(hub.request(to, 'x', {}, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'timed_out' })
    judge = (_, { type }) => (type === 'secret' ? { code: 'policy_denied' } : undefined)
    await expect(hub.request(to, 'secret')).rejects.toMatchObject({ code: 'policy_denied' })
    await expect(hub.publish('news', 'secret')).rejects.toMatchObject({ code: 'policy_denied' })
  })

  test('takes a question to the operator back once it waits no more; one that was refused waits for nobody', async () => {
    const { hub, session } = await joined()
    const asked = () => sent(session, 'ask').map(({ envelope }) => envelope)
    await expect(hub.ask('Well?', { timeoutMs: 50 })).rejects.toMatchObject({ code: 'timed_out' })
    await until(() => asked().length === 2)
    expect(asked().map((each) => each?.body)).toEqual([{ text: 'Well?' }, { withdraw: asked()[0]?.id }])
    judge = (_, { kind }) => (kind === 'ask' ? { code: 'policy_denied' } : undefined)
    await expect(hub.ask('May I?', { timeoutMs: 50 })).rejects.toMatchObject({ code: 'policy_denied' })
    judge = undefined
    await hub.log('later')
    expect(asked().map((each) => each?.body?.text)).toEqual(['Well?', undefined, 'May I?'])
  })

  test('renews at half life without being asked', async () => {
    takeTime()
    const { session } = await joined({ tokenMs: 300_000 })
    const renewals = () => session.seen.filter(({ path }) => path === '/v1/renew').length
    expect(await passing(() => renewals() === 1)).toBe(150_000)
    expect(await passing(() => renewals() === 2)).toBe(150_000)
  })

  test('tries a renewal that was refused in time again before the token ends, without a call of the program', async () => {
    takeTime()
    const { session } = await joined({ tokenMs: 300_000 })
    session.refuseRenewals(1)
    const passedMs = await passing(() => session.seen.filter(({ path }) => path === '/v1/renew').length === 2)
    expect([passedMs > 150_000, passedMs < 300_000]).toEqual([true, true])
    expect(session.seen.map(({ path }) => path)).toEqual(['/v1/join', '/v1/renew', '/v1/renew'])
  })

  test('renews once on a refused token and repeats with the same id and a new nonce', async () => {
    const { session, hub } = await joined()
    session.revokeToken()
    await hub.log('hello')
    expect(session.seen.map(({ path }) => path)).toEqual(['/v1/join', '/v1/renew', '/v1/send'])
  })

  test('a request signed before a jump of the clock and judged after it goes again, though no token is renewed then (T71)', async () => {
    const { session, hub } = await joined()
    session.stepClock()
    await hub.log('hello')
    expect(session.seen.map(({ path }) => path)).toEqual(['/v1/join', '/v1/renew', '/v1/send'])
  })

  test('repeats what lost its answer, a join or a message, under the same id', async () => {
    const fresh = await entrance.addSession()
    fresh.loseAnswer('/v1/join')
    vi.resetModules()
    const { connect } = await import('../../../hub/client/agent.ts')
    const hub = await connect({ socketPath: fresh.socketPath })
    open.push(hub)
    expect(fresh.seen.map(({ path }) => path)).toEqual(['/v1/join', '/v1/join'])
    fresh.loseAnswer('/v1/send')
    await hub.log('once')
    const logs = sent(fresh, 'log')
    expect(logs).toHaveLength(2)
    expect(new Set(logs.map(({ envelope }) => envelope?.id)).size).toBe(1)
    // Fault G6: what may have arrived before says so.
    expect(logs.map(({ envelope }) => envelope?.repeated ?? false)).toEqual([false, true])
  })

  test('waits with a delegation that the hub cannot write down now, and throws what is for the program (fault D5) [mode-2]', async () => {
    const { session, hub } = await joined()
    const codes: ErrorCode[] = ['mode_degraded', 'mode_safe', 'store_unavailable']
    judge = () => (codes.length === 0 ? undefined : { code: codes.shift() ?? 'internal' })
    const child = hub.delegate({ agent: 'kid' })
    await until(() => sent(session, 'delegate').length === 4)
    const [first] = sent(session, 'delegate')
    session.deliver({
      kind: 'reply',
      correlationId: first?.envelope?.id ?? '',
      body: { outcome: 'succeeded', value: 7 },
    })
    expect(await child).toMatchObject({ outcome: 'succeeded', value: 7 })
    expect(new Set(sent(session, 'delegate').map(({ envelope }) => envelope?.id)).size).toBe(1)
    for (const code of ['mode_draining', 'policy_denied', 'delegation_wider'] as const) {
      judge = () => ({ code })
      await expect(hub.delegate({ agent: 'kid' })).rejects.toMatchObject({ code })
    }
    judge = () => ({ code: 'mode_degraded' })
    await expect(hub.request('agent:kid', 'say')).rejects.toMatchObject({ code: 'mode_degraded' })
  })

  test('waits as long as a rate limit says, then goes on', async () => {
    const { session, hub } = await joined()
    let refusals = 0
    judge = () => (refusals++ < 2 ? { code: 'rate_limited', retryAfterMs: 30 } : undefined)
    await hub.log('patient')
    expect(sent(session, 'log')).toHaveLength(3)
    expect(sent(session, 'log').some(({ envelope }) => envelope?.repeated)).toBe(false)
  })

  test('lives through a killed hub: renews first, reads the new numbering from its start, repeats what is unanswered (T95)', async () => {
    const { session, hub } = await joined()
    for (const n of [1, 2, 3]) {
      session.deliver({
        kind: 'message',
        from: { agent: 'x', session: 'sx' },
        type: 'old',
        messageKind: 'event',
        body: { n },
      })
    }
    const child = hub.delegate({ agent: 'reader' })
    await until(() => sent(session, 'delegate').length === 1)
    await until(() => session.seen.some(({ path }) => path.startsWith('/v1/receive?after=3')))
    await session.crash()
    const before = session.seen.length
    await new Promise((resolve) => setTimeout(resolve, 150))
    await session.listen()
    await until(() => sent(session, 'delegate').length === 2)
    expect(session.seen[before]?.path).toBe('/v1/renew')
    const delegates = sent(session, 'delegate').map(({ envelope }) => envelope?.id)
    expect(new Set(delegates).size).toBe(1)
    expect(sent(session, 'delegate').map(({ envelope }) => envelope?.repeated ?? false)).toEqual([false, true])
    const body = { task: 't', outcome: 'succeeded', value: 7, artifacts: [] }
    session.deliver({ kind: 'reply', correlationId: delegates[0] ?? '', body })
    expect(await child).toEqual(body)
  })

  test('stores and reads artifacts, whole, by range and by name', async () => {
    const { session, hub } = await joined()
    const { sha256 } = await hub.artifact.put('out/a b.txt', 'hello world')
    expect(session.artifactNames.get('out/a b.txt')).toBe(sha256)
    expect((await hub.artifact.get(sha256)).toString()).toBe('hello world')
    expect((await hub.artifact.get(sha256, { start: 6, end: 9 })).toString()).toBe('wor')
    expect(await hub.artifact.list()).toMatchObject([{ name: 'out/a b.txt', sha256 }])
    await expect(hub.artifact.get(sha256, { bytesMax: 4 })).rejects.toMatchObject({ code: 'too_large' })
    await expect(hub.artifact.get('0'.repeat(64))).rejects.toMatchObject({ code: 'unknown_artifact' })
    await expect(hub.artifact.put('gone', { file: join(dir, 'none') })).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test('reads a folder by ranges, and refuses a pack that does not hold what its manifest says', async () => {
    const { session, hub } = await joined()
    const sha = (text: string) => createHash('sha256').update(text).digest('hex')
    const entry = (path: string, text: string, offset: number) => ({
      path,
      mode: 0o644,
      size: text.length,
      offset,
      sha256: sha(text),
    })
    const files = [entry('a', 'first', 0), entry('b', '', 5), entry('c', 'third', 5), entry('d', 'other', 10)]
    const manifest = entrance.store(JSON.stringify({ version: 1, files }))
    const folder = hub.folder({ manifest, pack: entrance.store('firstthirdOTHER') })
    const heard: string[] = []
    for await (const { entry: file, chunks } of folder.files(0, 3)) {
      for await (const chunk of chunks) heard.push(`${file.path}=${chunk}`)
    }
    expect(heard).toEqual(['a=first', 'c=third'])
    expect(session.seen.flatMap(({ range }) => range ?? [])).toEqual(['bytes=0-9'])
    const third = (await folder.manifest()).files[2]
    if (third === undefined) throw new Error('no third file')
    expect((await folder.read(third, { start: 1, end: 3 })).toString()).toBe('hi')
    const spoilt = async () => {
      for await (const { chunks } of folder.files(3)) for await (const chunk of chunks) heard.push(String(chunk))
    }
    await expect(spoilt()).rejects.toMatchObject({ code: 'conflict' })
  })

  test('sends only the latest progress of a burst, and the last before the result', async () => {
    const { session, hub } = await joined()
    hub.onTask(() => {
      for (let done = 0; done <= 500; done += 1) hub.progress({ done, total: 500 })
    })
    await hub.run()
    const kinds = session.seen.flatMap(({ envelope }) => envelope ?? []).map(({ kind, body }) => [kind, body.done])
    expect(kinds).toEqual([
      ['progress', 500],
      ['result', undefined],
    ])
  })

  test('stops on cancel, on a drain and shortly before the deadline; what was done so far is a failed result, told to finish in time a whole one', async () => {
    const stopped = (hub: HubAgent, signal: AbortSignal) => {
      hub.partial({ sofar: 3 })
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    }
    const cancel = await joined()
    cancel.hub.onTask((_, signal) => stopped(cancel.hub, signal))
    cancel.session.deliver({ kind: 'cancel', body: {} })
    await cancel.hub.run()
    expect(await cancel.session.result).toMatchObject({ outcome: 'failed', value: { sofar: 3 }, stopped: true })
    const drain = await joined()
    drain.hub.onTask(async (_, signal) => {
      await stopped(drain.hub, signal).catch(() => {})
      return { part: 'final' }
    })
    drain.session.deliver({ kind: 'finish', body: { graceMs: 3_000 } })
    await drain.hub.run()
    expect(await drain.session.result).toEqual({ outcome: 'succeeded', value: { part: 'final' } })
    const cut = await joined()
    cut.hub.onTask((_, signal) => stopped(cut.hub, signal))
    cut.session.deliver({ kind: 'finish', body: { graceMs: 3_000 } })
    await cut.hub.run()
    expect(await cut.session.result).toMatchObject({ outcome: 'failed', value: { sofar: 3 }, stopped: true })
    takeTime()
    const late = await joined({ ttlMs: 60_000 })
    late.hub.onTask((_, signal) => stopped(late.hub, signal))
    let isDone = false
    void late.hub.run().then(() => {
      isDone = true
    })
    expect(await passing(() => isDone)).toBeLessThan(60_000)
    expect(await late.session.result).toMatchObject({ error: expect.stringContaining('time to live') })
    expect(await late.session.result).not.toHaveProperty('stopped')
  })

  test('reports even when the handler ignores its signal', async () => {
    takeTime()
    const { session, hub } = await joined({ ttlMs: 60_000 })
    hub.partial('half')
    hub.onTask(() => new Promise(() => {}))
    let isDone = false
    void hub.run().then(() => {
      isDone = true
    })
    expect(await passing(() => isDone)).toBeLessThan(60_000)
    expect(await session.result).toMatchObject({ outcome: 'failed', value: 'half' })
  })

  test('says plainly that a returned value is too large or no JSON', async () => {
    const large = await joined()
    large.hub.onTask(() => 'x'.repeat(70_000))
    await large.hub.run()
    expect((await large.session.result).error).toContain('store larger things as artifacts')
    const odd = await joined()
    odd.hub.onTask(() => 10n)
    await odd.hub.run()
    expect((await odd.session.result).error).toContain('refused')
  })
})
