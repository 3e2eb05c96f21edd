/** Receivers of the audit log that a batch is too much for: they get on all the same (S1-64). */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Batch, Sink } from '../../../hub/guard/forward/batch.ts'
import { tooMuchError } from '../../../hub/guard/forward/batch-size.ts'
import { createWebhookSink } from '../../../hub/guard/forward/sinks/webhook.ts'
import { createPostOutward } from '../../../hub/guard/outward/post.ts'
import { type AuditHome, createAuditHome } from '../../support/audit-home.ts'
import { forwardingOf, played, roundsUntil, seqsOf, targetOf, upTo } from '../../support/forwarding.ts'

let log: AuditHome
beforeEach(() => {
  log = createAuditHome()
})
afterEach(() => log[Symbol.dispose]())

const seqOf = (line: unknown) => (line as { data: { seq?: number } }).data.seq
const skips = () =>
  log.audit
    .page(0, log.audit.head().size)
    .records.filter(({ action, resource }) => action === 'hub.observed' && resource === 'forward:a')
    .map(({ effect }) => effect)

/** A receiver that takes so many bytes at once and answers 413 to more: at once, without reading them, or once it has read them. */
async function narrow(most: { bytes: number }, isPatient: boolean) {
  const got: number[] = []
  const bodies: number[] = []
  const server = http.createServer((request, response) => {
    const parts: Buffer[] = []
    const refuse = () => {
      response.statusCode = 413
      response.end()
    }
    if (!isPatient && Number(request.headers['content-length']) > most.bytes) {
      refuse()
      return request.socket.destroySoon()
    }
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts)
      if (body.length > most.bytes) return refuse()
      bodies.push(body.length)
      got.push(...(JSON.parse(body.toString()) as unknown[]).map(seqOf).filter((seq) => seq !== undefined))
      response.end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const settings = targetOf({ kind: 'webhook', name: 'a', url, local: new URL(url).host })
  const parts = { post: createPostOutward({ clock: log.clock }), secretOf: () => '', wallMs: log.clock.wallMs }
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  return { got, bodies, settings, sink: createWebhookSink(settings as never, parts), [Symbol.dispose]: close }
}

describe('a batch that is too much', () => {
  it.each([
    ['refuses it when it has read it', true],
    ['refuses it by its length and closes the connection', false],
  ])(
    'a webhook that %s (413) is sent halves until it takes them, all in order; what it takes lets them grow',
    async (_, isPatient) => {
      log.append(600)
      const most = { bytes: 20_000 }
      using receiver = await narrow(most, isPatient)
      const forwarder = forwardingOf(log, [receiver])
      await roundsUntil(log, forwarder, () => forwarder.states()[0]?.sentTo === 600, 100)
      expect([...new Set(receiver.got)]).toEqual(upTo(600))
      expect(Math.max(...receiver.bodies)).toBeGreaterThan(8000)
      most.bytes = 10_000_000
      log.append(2000)
      await roundsUntil(log, forwarder, () => forwarder.states()[0]?.sentTo === 2600, 100)
      expect([...new Set(receiver.got)]).toEqual(upTo(2600))
      expect(Math.max(...receiver.bodies)).toBeGreaterThan(200_000)
      expect(skips()).toEqual([])
    },
  )

  it('one that takes too long for it is sent less, and nothing of it is left out, however long that lasts', async () => {
    log.append(300)
    const got: number[] = []
    let most = 0
    const sink: Sink = async (batch) => {
      await log.clock.sleep(5000)
      if (batch.entries.length > most) throw tooMuchError('time', 'it took too long')
      got.push(...seqsOf(batch))
    }
    const forwarder = forwardingOf(log, [{ settings: played('a'), sink }])
    await roundsUntil(log, forwarder, () => log.clock.monotonicMs() > 3 * 3_600_000, 10_000)
    expect(forwarder.states()).toMatchObject([{ sentTo: 0, isBehind: true, fault: 'it took too long' }])
    most = 3
    await roundsUntil(log, forwarder, () => got.length === 300, 5000)
    expect(got).toEqual(upTo(300))
    expect(skips()).toEqual([])
  })

  it('sent more than it takes again and again, it is sent that less and less often', async () => {
    log.append(2000)
    let refused = 0
    let taken = 0
    const sink: Sink = async ({ entries }) => {
      if (entries.length > 8) {
        refused += 1
        throw tooMuchError('size', 'it answered 413')
      }
      taken += 1
    }
    const forwarder = forwardingOf(log, [{ settings: played('a'), sink }])
    await roundsUntil(log, forwarder, () => forwarder.states()[0]?.sentTo === 2000, 1000)
    expect(taken).toBeGreaterThan(200)
    expect(refused).toBeLessThan(20)
  })
})

describe('a record that is too large even alone', () => {
  const refusing = (isTooLarge: (batch: Batch) => boolean) => {
    const got: number[] = []
    const sink: Sink = async (batch) => {
      if (isTooLarge(batch)) throw tooMuchError('size', 'it answered 413: this is too large for it')
      got.push(...seqsOf(batch))
    }
    return { got, forwarder: forwardingOf(log, [{ settings: played('a'), sink }]) }
  }

  it('is left out after two minutes, never without a record that names it; the rest comes, that record too', async () => {
    log.append(20)
    const { got, forwarder } = refusing((batch) => seqsOf(batch).includes(7))
    const begun = log.clock.monotonicMs()
    await roundsUntil(log, forwarder, () => skips().length > 0, 1000)
    expect(log.clock.monotonicMs() - begun).toBeGreaterThan(120_000)
    expect(forwarder.told[0]).toMatch(/it answered 413.*It refuses record 7 even alone: let it take larger requests/)
    expect(skips()).toEqual([
      expect.stringMatching(
        /^record 7 \(\d+ bytes\) is left out for a, which refused it alone 8 times: it answered 413/,
      ),
    ])
    log.checkpoints.take()
    await roundsUntil(log, forwarder, () => forwarder.states()[0]?.sentTo === 21, 1000)
    expect(got).toEqual(upTo(21).filter((seq) => seq !== 7))
    expect([...forwarder.open]).toEqual([])
  })

  it('while that cannot be written it is not left out', async () => {
    log.append(3)
    const { got, forwarder } = refusing((batch) => seqsOf(batch).includes(2))
    log.store
      .prepare("create temp trigger no_record before insert on audit_record begin select raise(abort, 'no'); end")
      .run()
    await roundsUntil(log, forwarder, () => log.clock.monotonicMs() > 1_200_000, 5000)
    expect([got, forwarder.states()[0]?.sentTo]).toEqual([[1], 1])
    log.store.prepare('drop trigger no_record').run()
    await roundsUntil(log, forwarder, () => got.length === 2, 5000)
    expect(got).toEqual([1, 3])
    expect(skips()).toHaveLength(1)
  })

  it('of one that refuses everything little is left out, and never what says so: there would be no end of it', async () => {
    log.append(10)
    const { got, forwarder } = refusing(() => true)
    await roundsUntil(log, forwarder, () => log.clock.monotonicMs() > 3_600_000, 5000)
    expect(skips().length).toBeLessThan(6)
    log.checkpoints.take()
    await roundsUntil(log, forwarder, () => log.clock.monotonicMs() > 40 * 3_600_000, 60_000)
    log.checkpoints.take()
    await roundsUntil(log, forwarder, () => log.clock.monotonicMs() > 60 * 3_600_000, 60_000)
    expect(got).toEqual([])
    expect(forwarder.states()).toMatchObject([{ sentTo: 10, isBehind: true }])
    expect(skips()).toHaveLength(10)
  })
})
