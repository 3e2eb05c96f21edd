/** The audit log is sent on: to a file, to syslog, to a webhook. Nobody waits for it, and nothing is left out (S1-64). */
import { createHmac } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import tls from 'node:tls'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nextTurn } from '../../../hub/base/turn.ts'
import { judgeConfig } from '../../../hub/config.ts'
import type { Batch, Sink } from '../../../hub/guard/forward/batch.ts'
import { nextBatch } from '../../../hub/guard/forward/batch.ts'
import { createFileSink } from '../../../hub/guard/forward/sinks/file.ts'
import { createSyslogSink } from '../../../hub/guard/forward/sinks/syslog.ts'
import { createWebhookSink } from '../../../hub/guard/forward/sinks/webhook.ts'
import { createPostOutward } from '../../../hub/guard/outward/post.ts'
import { createExportJudge, headerLine } from '../../../hub/protocol/audit-export.ts'
import { httpSink, type Received } from '../../support/alert-sinks.ts'
import { type AuditHome, createAuditHome, entry } from '../../support/audit-home.ts'
import { forwardingOf, played, roundsUntil, seqsOf, targetOf, upTo } from '../../support/forwarding.ts'
import { OTHER_CERTIFICATE, RELAY_CERTIFICATE, RELAY_KEY } from '../../support/relay-certificate.ts'

let log: AuditHome
let place: string
beforeEach(() => {
  log = createAuditHome()
  place = mkdtempSync(join(tmpdir(), 'fw-'))
})
afterEach(() => {
  log[Symbol.dispose]()
  rmSync(place, { recursive: true })
})

const forwarding = (targets: Parameters<typeof forwardingOf>[1], open?: Map<string, string>) =>
  forwardingOf(log, targets, open)
const until = (forwarder: { round(): void }, holds: () => boolean, stepMs = 0) =>
  roundsUntil(log, forwarder, holds, stepMs)
/** Some more than two batches. */
const LAST = 4100
const all = () => nextBatch({ ...log, turn: nextTurn }, 0, log.checkpoints.newest()?.size ?? 0)
const idle = new AbortController().signal

describe('S1-64: the log is the queue', () => {
  it('every signed record comes in order, from tables and sealed files alike, and none before it is signed', async () => {
    log.twoMonths(600, 345)
    await log.sealing.round()
    await log.sealing.drop('2026-10')
    log.store.transaction(() => log.audit.append(entry('late')))
    const got: number[] = []
    const lines: string[] = []
    const sink: Sink = async (batch) => {
      got.push(...seqsOf(batch))
      lines.push(...batch.entries.flatMap((each) => each.lines))
    }
    const forwarder = forwarding([{ settings: played('a'), sink }])
    await until(forwarder, () => got.length >= 945)
    expect(got).toEqual(upTo(945))
    forwarder.round()
    expect(forwarder.states()).toMatchObject([{ sentTo: 945, waiting: 0, isBehind: false, fault: null }])
    const { hash = '' } = log.audit.page(944, 945).records[0] ?? {}
    const judge = createExportJudge({})
    judge.take(headerLine({ ...log.checkpoints.signer, size: 945, head: hash }))
    for (const line of lines) judge.take(line)
    expect(judge.end()).toMatchObject({ fault: undefined, size: 945 })
    expect(judge.end().checkpoints).toBeGreaterThan(8)
  })

  it('whatever a receiver does and whenever the hub is killed, each record comes at least once, in order, and only what it did not confirm comes again', async () => {
    log.append(LAST)
    const each = fc.array(fc.constantFrom('taken', 'fails', 'fails after', 'killed', 'killed after'), {
      minLength: 1,
      maxLength: 12,
    })
    await fc.assert(
      fc.asyncProperty(each, async (plan) => {
        log.store.prepare("delete from meta where key = 'audit_forwarded'").run()
        const got: number[] = []
        const steps = [...plan]
        let isKilled = false
        const sink: Sink = async (batch) => {
          const step = steps.shift() ?? 'taken'
          if (!['fails', 'killed'].includes(step)) {
            // It goes on where it was: at the next one, or again with what was not confirmed.
            expect(seqsOf(batch)[0] ?? 0).toBeLessThanOrEqual((got.at(-1) ?? 0) + 1)
            got.push(...seqsOf(batch))
          }
          if (step.startsWith('killed')) isKilled = true
          // Of a killed hub nothing more is heard.
          if (step.startsWith('killed')) return await new Promise(() => undefined)
          if (step !== 'taken') throw new Error(step)
        }
        while (got.at(-1) !== LAST) {
          isKilled = false
          const forwarder = forwarding([{ settings: played('a'), sink }])
          await until(forwarder, () => isKilled || forwarder.states()[0]?.sentTo === LAST, 1000)
        }
        expect([...new Set(got)]).toEqual(upTo(LAST))
        const unconfirmed = plan.filter((step) => step.endsWith('after')).length
        expect(got.length).toBeLessThanOrEqual(LAST + 2000 * unconfirmed)
      }),
      { numRuns: 10 },
    )
  })

  it('a new target begins with the first record, or with the next one, and a known one where it was', async () => {
    log.append(300)
    const got = new Map<string, number[]>()
    const taking = (name: string, more: Record<string, unknown> = {}) => ({
      settings: played(name, more),
      sink: async (batch: Batch) => void got.set(name, [...(got.get(name) ?? []), ...seqsOf(batch)]),
    })
    const both = () => forwarding([taking('all'), taking('new', { from: 'now' })])
    const first = both()
    await until(first, () => got.get('all')?.length === 300)
    first.stop()
    log.reopen()
    log.append(10)
    await until(both(), () => got.get('new')?.length === 10 && got.get('all')?.length === 310)
    expect(got.get('new')).toEqual(upTo(310).slice(300))
    expect(got.get('all')).toEqual(upTo(310))
  })

  it('a receiver that hangs holds up neither the hub nor another, and has an alert until it takes records again', async () => {
    log.append(100)
    let release = () => {}
    let isHanging = true
    const got: number[] = []
    const hangs: Sink = () =>
      isHanging
        ? new Promise((resolve) => {
            release = resolve
          })
        : Promise.resolve()
    const takes: Sink = async (batch) => void got.push(...seqsOf(batch))
    const forwarder = forwarding([
      { settings: played('hung'), sink: hangs },
      { settings: played('well'), sink: takes },
    ])
    await until(forwarder, () => got.length === 100)
    await until(forwarder, () => log.clock.monotonicMs() > 50_000, 5000)
    expect([...forwarder.open]).toEqual([])
    await until(forwarder, () => forwarder.open.size > 0, 5000)
    expect([...forwarder.open.keys()]).toEqual(['audit_forward:hung'])
    expect(forwarder.told[0]).toContain('100 records wait')
    expect(forwarder.states()).toMatchObject([
      { name: 'hung', sentTo: 0, waiting: 100, isBehind: true },
      { name: 'well', sentTo: 100, waiting: 0, isBehind: false },
    ])
    isHanging = false
    release()
    await until(forwarder, () => forwarder.open.size === 0)
    expect(forwarder.states()).toMatchObject([{ isBehind: false }, { isBehind: false }])
  })

  it('one that fails is tried again after growing pauses, at most a minute apart, and its alert says why', async () => {
    log.append(10)
    const tries: number[] = []
    const sink: Sink = async () => {
      tries.push(Math.round(log.clock.monotonicMs() / 1000))
      throw new Error('it answered 500')
    }
    const forwarder = forwarding([{ settings: played('a'), sink }])
    await until(forwarder, () => tries.length === 10, 1000)
    const pauses = tries.slice(1).map((at, nth) => at - (tries[nth] ?? 0))
    for (const [nth, pause] of pauses.entries()) expect(pause).toBeGreaterThanOrEqual(Math.min(2 ** nth, 60))
    expect(Math.max(...pauses)).toBeLessThanOrEqual(62)
    expect(forwarder.open.get('audit_forward:a')).toContain('it answered 500')
  })

  it('the alert of one that is not configured any more ends at the next start, and no other one does', async () => {
    log.append(10)
    const sink: Sink = async () => Promise.reject(new Error('it answered 500'))
    const both = ['gone', 'stays'].map((name) => ({ settings: played(name), sink }))
    const { open, ...first } = forwarding(both)
    await until(first, () => open.size === 2, 1000)
    first.stop()
    expect(forwarding(both.slice(1), open).resolved).toEqual(['audit_forward:gone'])
    expect(forwarding([], open).resolved).toEqual(['audit_forward:stays'])
  })

  it('a name that every object has a property of is one like any other', async () => {
    log.append(10)
    const got: number[] = []
    const settings = played('constructor')
    const forwarder = forwarding([{ settings, sink: async (batch) => void got.push(...seqsOf(batch)) }])
    await until(forwarder, () => got.length > 0)
    expect(got).toEqual(upTo(10))
  })

  it('a store that cannot be written stops nothing, and a file of a month that is gone is named', async () => {
    log.twoMonths(300, 10)
    await log.sealing.round()
    await log.sealing.drop('2026-10')
    const file = readFileSync(log.fileOf('2026-10'))
    rmSync(log.fileOf('2026-10'))
    const got: number[] = []
    const forwarder = forwarding([{ settings: played('a'), sink: async (batch) => void got.push(...seqsOf(batch)) }])
    await until(forwarder, () => forwarder.states()[0]?.fault !== null)
    expect(forwarder.states()[0]?.fault).toContain('2026-10.jsonl.gz')
    writeFileSync(log.fileOf('2026-10'), file)
    log.store.prepare("create temp trigger no_meta before insert on meta begin select raise(abort, 'no'); end").run()
    await until(forwarder, () => got.length === 310, 1000)
    expect(got).toEqual(upTo(310))
  })

  it('a batch is bounded in bytes, however long its records are, and holds at least one', async () => {
    log.append(20, { reason: 'x'.repeat(200_000) })
    const batch = await all()
    expect(batch.bytes).toBeLessThan(1024 ** 2)
    expect(batch.entries.length).toBeGreaterThan(3)
    log.append(1, { reason: 'x'.repeat(2_000_000) })
    expect((await nextBatch({ ...log, turn: nextTurn }, 20, 21)).entries).toHaveLength(1)
  })
})

describe('to a file', () => {
  const fileTo = (path: string) =>
    createFileSink(targetOf({ kind: 'file', path: resolve(place, path) }) as never, place)
  const text = (name: string) => readFileSync(join(place, name), 'utf8')

  it('lines are appended, also after a rename, and half a line of a crash is ended first', async () => {
    log.append(20)
    const sink = fileTo('log.jsonl')
    const lines = (await all()).entries.flatMap((each) => each.lines)
    await sink(await all(), idle)
    expect(text('log.jsonl')).toBe(`${lines.join('\n')}\n`)
    writeFileSync(join(place, 'log.jsonl'), '{"data":{"half')
    await sink(await all(), idle)
    expect(text('log.jsonl')).toBe(`{"data":{"half\n${lines.join('\n')}\n`)
  })

  it('what is no plain file is refused, and nothing is written through a link', async () => {
    log.append(1)
    mkdirSync(join(place, 'folder'))
    symlinkSync(join(place, 'elsewhere'), join(place, 'link'))
    for (const name of ['folder', 'link', '/dev/full', 'none/log'])
      await expect(fileTo(name)(await all(), idle)).rejects.toThrow()
    expect(() => text('elsewhere')).toThrow('ENOENT')
  })
})

/** A syslog receiver: what it was sent, frame by frame. `serve` says what it does with a connection. */
async function receiver(serve: (socket: Socket, take: () => void) => void, secured?: { key: string; cert: string }) {
  const frames: string[] = []
  const onSocket = (socket: Socket) => {
    const parts: Buffer[] = []
    socket.on('error', () => undefined)
    const take = () => {
      socket.on('data', (part) => parts.push(part))
      socket.on('end', () => {
        let rest = Buffer.concat(parts)
        while (rest.length > 0) {
          const space = rest.indexOf(0x20)
          const length = Number(rest.subarray(0, space))
          frames.push(rest.subarray(space + 1, space + 1 + length).toString('utf8'))
          rest = rest.subarray(space + 1 + length)
        }
      })
    }
    serve(socket, take)
  }
  const server = secured === undefined ? net.createServer(onSocket) : tls.createServer(secured, onSocket)
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { frames, port: (server.address() as AddressInfo).port, [Symbol.dispose]: () => void server.close() }
}

describe('to syslog', () => {
  const taking = (_socket: Socket, take: () => void) => take()
  const sinkTo = (port: number, more: Record<string, unknown> = {}) =>
    createSyslogSink(
      targetOf({ kind: 'syslog', host: '127.0.0.1', port, transport: 'tcp', local: true, ...more }) as never,
      { clock: log.clock, resolve: async () => [{ address: '127.0.0.1', family: 4 }] },
    )

  /** Lets a moment of the hub's clock pass again and again, each with turns enough for what is on its way. */
  async function taken(trying: Promise<void>): Promise<void> {
    let isOver = false
    const over = () => {
      isOver = true
    }
    trying.then(over, over)
    while (!isOver) {
      for (let turns = 0; turns < 50; turns += 1) await new Promise((resolve) => setImmediate(resolve))
      await log.clock.advance(100)
    }
    await trying
  }

  it('each record and each signed head is one RFC 5424 message with its length before it', async () => {
    log.append(150)
    log.append(1, { outcome: 'refused', action: `gate.${'refused'.repeat(8)}` })
    using found = await receiver(taking)
    await taken(sinkTo(found.port)(await all(), idle))
    const lines = (await all()).entries.flatMap((each) => each.lines)
    expect(found.frames).toHaveLength(lines.length)
    const shape = /^<(\d+)>1 (\S+) - hub - ([\x21-\x7e]{1,32}) (?:\[meta sequenceId="(\d+)"\]|-) (\{[\x20-\x7e]*\})$/
    for (const [at, frame] of found.frames.entries()) {
      const [, pri, time = '', id, , text = ''] = shape.exec(frame) ?? []
      expect(JSON.parse(text), frame.slice(0, 80)).toEqual(JSON.parse(lines[at] ?? ''))
      expect(new Date(time).toISOString()).toBe(time)
      expect([pri, id]).not.toContain(undefined)
    }
    expect(found.frames[0]).toMatch(/^<110>1 \S+ - hub - task\.submitted \[meta sequenceId="1"\] /)
    expect(found.frames.at(-2)).toMatch(/^<108>1 /)
    expect(found.frames.at(-1)).toMatch(/ signed - \{"data"/)
  })

  it('counts as taken only once the receiver has read to the end: not by one that never reads, goes early, or is not there', async () => {
    log.append(250, { reason: 'x'.repeat(3000) })
    const tried = async (serve: (socket: Socket, take: () => void) => void) => {
      using found = await receiver(serve)
      const trying = taken(sinkTo(found.port)(await all(), idle))
      return await trying.then(
        () => 'taken',
        (thrown: Error) => thrown.message,
      )
    }
    expect(await tried((socket) => void socket.pause())).toBe('it took too long')
    expect(await tried((socket) => void socket.once('data', () => socket.destroy()))).toMatch(/closed|ECONNRESET|EPIPE/)
    expect(await tried((socket) => void socket.end())).toMatch(/closed|ECONNRESET|EPIPE/)
    using gone = await receiver(taking)
    gone[Symbol.dispose]()
    await expect(sinkTo(gone.port)(await all(), idle)).rejects.toThrow('ECONNREFUSED')
  })

  it('over TLS only to whom a certificate names, and never to an address that is not listed (T37)', async () => {
    log.append(3)
    writeFileSync(join(place, 'ca.pem'), RELAY_CERTIFICATE)
    writeFileSync(join(place, 'other.pem'), OTHER_CERTIFICATE)
    using found = await receiver(taking, { key: RELAY_KEY, cert: RELAY_CERTIFICATE })
    const batch = await all()
    const over = (host: string, ca: string, local = true) =>
      taken(sinkTo(found.port, { host, transport: 'tls', local, caFile: join(place, ca) })(batch, idle))
    await over('debian', 'ca.pem')
    expect(found.frames.length).toBeGreaterThanOrEqual(3)
    const before = found.frames.length
    await expect(over('debian', 'other.pem')).rejects.toThrow()
    await expect(over('another', 'ca.pem')).rejects.toThrow()
    await expect(over('debian', 'ca.pem', false)).rejects.toThrow('its address is private')
    expect(found.frames).toHaveLength(before)
  })
})

describe('to a webhook', () => {
  it('a batch is one signed POST of CloudEvents; 500, a redirect and silence are no answer, and the same comes again', async () => {
    log.append(5)
    const sink = await httpSink()
    try {
      const { host } = new URL(sink.url)
      const settings = targetOf({ kind: 'webhook', url: `${sink.url}/in`, local: host, secretFrom: 'siem' })
      const { clock } = log
      const parts = { post: createPostOutward({ clock }), secretOf: () => 'key', wallMs: clock.wallMs }
      const send = createWebhookSink(settings as never, parts)
      sink.status = 500
      await expect(send(await all(), idle)).rejects.toThrow('it answered 500')
      sink.status = 302
      await expect(send(await all(), idle)).rejects.toThrow('302')
      sink.answer = () => undefined
      const silent = send(await all(), idle).catch((thrown: Error) => thrown.message)
      while (sink.received.length < 3) await new Promise((resolve) => setImmediate(resolve))
      await clock.advance(5001)
      expect(await silent).toBe('it took too long')
      sink.answer = undefined
      sink.status = 202
      await send(await all(), idle)
      const bodies = new Set(sink.received.map(({ body }) => body))
      expect(bodies.size).toBe(1)
      const { headers = {}, body = '' } = sink.received.at(-1) as Partial<Received>
      expect(JSON.parse(body)).toEqual(
        (await all()).entries.flatMap(({ lines }) => lines.map((line) => JSON.parse(line))),
      )
      expect(headers['content-type']).toBe('application/cloudevents-batch+json')
      const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
      expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', 'key').update(signed).digest('base64')}`)
    } finally {
      sink.close()
    }
  })
})

describe('its settings', () => {
  const faultOf = (forward: unknown): string => {
    try {
      const { faults } = judgeConfig(JSON.stringify({ audit: { forward } }))
      return faults.map((fault) => JSON.stringify(fault)).join(' ')
    } catch (thrown) {
      return (thrown as Error).message
    }
  }

  it('what is not supported is refused by name, and what would not be safe with its reason', () => {
    const syslog = { kind: 'syslog', host: 'logs.example.org' }
    for (const [forward, why] of [
      [[{ ...syslog, transport: 'udp' }], /syslog over udp is not supported: a datagram is lost/],
      [[{ ...syslog, transport: 'unix' }], /syslog over unix is not supported: .*rsyslog/],
      [[{ ...syslog, transport: 'tcp' }], /not encrypted/],
      [[{ ...syslog, transport: 'tcp', local: true, caFile: '/ca.pem' }], /goes with tls/],
      [[{ ...syslog, host: 'a b' }], /must be a host name/],
      [[{ kind: 'kafka' }], /kind/],
      [
        [
          { kind: 'file', path: 'logs/a' },
          { kind: 'file', path: 'logs/b' },
        ],
        /two of them are called file/,
      ],
      [[{ kind: 'file', path: 'hub.db' }], /must be below/],
      [[{ kind: 'file', path: 'logs/../keys/token.key' }], /must be below/],
      [[{ kind: 'webhook' }], /give either url or urlFrom/],
      [[{ kind: 'file', path: 'logs/a', sizeMax: '1MB' }], /sizeMax/],
      [Array.from({ length: 5 }, (_, at) => ({ kind: 'file', path: 'logs/a', name: `n${at}` })), /4/],
    ] as const)
      expect(faultOf(forward), JSON.stringify(forward)).toMatch(why)
    expect(faultOf([syslog, { kind: 'file', path: '/var/log/hub-audit.jsonl' }])).toBe('')
    expect(judgeConfig('').config?.audit).toEqual({ forward: [] })
  })
})
