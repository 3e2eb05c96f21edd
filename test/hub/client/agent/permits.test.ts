/** Whether a tool may be used, as the SDK asks: what is a yes, and what is not (docs/permissions.md). */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import type { Body } from '../../../../hub/client/agent/contract.ts'
import { createFakeHub } from '../../../../hub/client/agent/fake-hub.ts'
import { askPermit, type Permit, withdrawing } from '../../../../hub/client/agent/permits.ts'

const PERMIT: Permit = { tool: 'Bash', kind: 'execute' }

/** A question whose answer the test gives by hand. */
function asking(permit = PERMIT) {
  const abort = new AbortController()
  const { promise, resolve, reject } = Promise.withResolvers<Body>()
  const sent: Body[] = []
  const answer = askPermit(permit, {
    signal: abort.signal,
    giveUp: reject,
    exchange(body) {
      sent.push(body)
      return promise
    },
  })
  return { abort, resolve, reject, sent, answer }
}

describe('a yes', () => {
  it('is the literal yes of the hub; anything else is a no', async () => {
    const said = async (body: Body) => {
      const one = asking()
      one.resolve(body)
      return await one.answer
    }
    expect(await said({ approved: true, text: 'go on' })).toEqual({ allowed: true, reason: 'go on' })
    for (const approved of [false, 'true', 1, null, undefined, {}])
      expect(await said({ approved, text: 'x' })).toEqual({ allowed: false, reason: 'x' })
    expect(await said({})).toEqual({ allowed: false, reason: '' })
  })

  it('is none if the question was refused, is not answered in time, or its answer was lost', async () => {
    for (const code of ['policy_denied', 'timed_out', 'store_unavailable', 'rate_limited', 'token_revoked'] as const) {
      const one = asking()
      one.reject(new HubError(code, 'why'))
      expect(await one.answer).toEqual({ allowed: false, reason: expect.stringMatching(new RegExp(`^${code}: `)) })
    }
  })

  it('is none after a stop, whether that comes while it waits, with the yes, or before', async () => {
    const waits = asking()
    waits.abort.abort(new HubError('cancelled', 'the task was cancelled'))
    const no = { allowed: false, reason: 'cancelled: the task is being stopped: the task was cancelled' }
    expect(await waits.answer).toEqual(no)
    const both = asking()
    both.resolve({ approved: true })
    both.abort.abort(new HubError('cancelled', 'the task was cancelled'))
    expect(await both.answer).toEqual(no)
    const sent: Body[] = []
    const exchange = async (body: Body) => {
      sent.push(body)
      return { approved: true }
    }
    const late = await askPermit(PERMIT, { signal: both.abort.signal, giveUp: () => {}, exchange })
    expect([late, sent]).toEqual([no, []])
  })
})

describe('a question that nobody waits for any more is taken back (S4-29)', () => {
  it.each(['before', 'after'])('once, where the hub took it %s that', async (when) => {
    const over = new AbortController()
    let [withdrawn, fail, accept] = [0, (_: HubError) => {}, () => {}]
    const withdraw = () => {
      withdrawn += 1
    }
    const answer = askPermit(PERMIT, {
      ...{ signal: new AbortController().signal, withdrawn: over.signal, giveUp: (why: HubError) => fail(why) },
      exchange: withdrawing(withdraw, undefined, (_, onAccepted) => {
        accept = onAccepted
        return new Promise((__, reject) => {
          fail = reject
        })
      }),
    })
    if (when === 'before') accept()
    over.abort()
    expect(await answer).toEqual({ allowed: false, reason: 'cancelled: the question was taken back' })
    expect(withdrawn).toBe(when === 'before' ? 1 : 0)
    if (when === 'after') accept()
    expect(withdrawn).toBe(1)
  })

  it('not one that has its answer, or that the hub did not take', async () => {
    let withdrawn = 0
    const withdraw = () => {
      withdrawn += 1
    }
    const taken = withdrawing(withdraw, undefined, async (_, onAccepted) => {
      onAccepted()
      return { approved: true }
    })
    await taken({})
    const refused = withdrawing(withdraw, undefined, async () => {
      throw new HubError('policy_denied', 'no')
    })
    await refused({}).catch(() => undefined)
    expect(withdrawn).toBe(0)
  })
})

describe('what is sent', () => {
  it('has a name, title and arguments that the hub takes, whatever the program gives', async () => {
    const text = 'x'.repeat(40_000)
    const { sent, resolve, answer } = asking({
      ...{ tool: `${'t'.repeat(127)}\u{1f600}`, kind: 'k'.repeat(99), title: 'a'.repeat(999) },
      arguments: { text },
    })
    resolve({})
    await answer
    const whole = JSON.stringify({ text })
    expect(sent).toEqual([
      {
        tool: `${'t'.repeat(127)}\ufffd`,
        kind: 'k'.repeat(64),
        title: 'a'.repeat(300),
        arguments: {
          beginning: whole.slice(0, 8_192),
          bytes: whole.length,
          sha256: createHash('sha256').update(whole).digest('hex'),
        },
      },
    ])
  })

  it('is nothing if the arguments cannot be written down, and that is a no', async () => {
    const round: Record<string, unknown> = {}
    round.self = round
    const { sent, answer } = asking({ ...PERMIT, arguments: round })
    expect((await answer).allowed).toBe(false)
    expect(sent).toEqual([])
  })
})

it('the hub of unit tests answers by a function, and without one refuses', async () => {
  const silent = createFakeHub()
  expect(await silent.permit(PERMIT)).toEqual({ allowed: false, reason: expect.stringContaining('onPermit') })
  const hub = createFakeHub({ onPermit: ({ kind }) => (kind === 'read' ? true : { allowed: false, reason: 'no' }) })
  expect(await hub.permit({ tool: 'cat', kind: 'read' })).toEqual({ allowed: true, reason: '' })
  expect(await hub.permit(PERMIT)).toEqual({ allowed: false, reason: 'no' })
  expect(hub.sent.map(({ kind, body }) => [kind, body.tool])).toEqual([
    ['permit', 'cat'],
    ['permit', 'Bash'],
  ])
})
