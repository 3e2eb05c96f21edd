/** The name that a TLS client asks for, read from its first bytes (E6). */
import { createServer } from 'node:net'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createHelloReader, HELLO_BYTES_MAX } from '../../../../hub/protocol/egress/client-hello.ts'

const readClientHello = (bytes: Buffer) => createHelloReader().take(bytes)

/** What OpenSSL sends first, for this name. */
function realHello(servername: string | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.once('data', (bytes) => {
        socket.destroy()
        server.close()
        resolve(bytes)
      })
    })
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      connect({
        host: '127.0.0.1',
        port,
        ...(servername === undefined ? {} : { servername }),
        ALPNProtocols: ['h2', 'http/1.1'],
      }).on('error', () => undefined)
    })
    server.once('error', reject)
  })
}

const sized = (bytes: Buffer, lengthBytes: number): Buffer => {
  const head = Buffer.alloc(lengthBytes)
  head.writeUIntBE(bytes.length, 0, lengthBytes)
  return Buffer.concat([head, bytes])
}
const extension = (kind: number, value: Buffer): Buffer => {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(kind)
  return Buffer.concat([head, sized(value, 2)])
}
const sni = (name: string, kind = 0) =>
  extension(0, sized(Buffer.concat([Buffer.from([kind]), sized(Buffer.from(name), 2)]), 2))
const record = (bytes: Buffer) => Buffer.concat([Buffer.from([0x16, 3, 1]), sized(bytes, 2)])
const message = (extensions: Buffer[], kind = 1): Buffer =>
  Buffer.concat([
    Buffer.from([kind]),
    sized(
      Buffer.concat([
        Buffer.alloc(34, 3),
        sized(Buffer.alloc(32), 1),
        sized(Buffer.from([0x13, 1]), 2),
        Buffer.from([1, 0]),
        sized(Buffer.concat(extensions), 2),
      ]),
      3,
    ),
  ])
const other = extension(43, Buffer.from([2, 3, 4]))

/** The answer where the bytes come in these pieces. */
function inPieces(bytes: Buffer, cuts: readonly number[]) {
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  const reader = createHelloReader()
  let from = 0
  for (const end of [...ends, bytes.length]) {
    const answer = reader.take(bytes.subarray(from, end))
    if (answer.kind !== 'more') return answer
    from = end
  }
  return { kind: 'more' as const }
}
/** The same message in records of these sizes. */
function inRecords(bytes: Buffer, sizes: readonly number[]): Buffer {
  const records: Buffer[] = []
  let at = 0
  for (let n = 0; at < bytes.length; n += 1) {
    const size = sizes[n % sizes.length] ?? 1
    records.push(record(bytes.subarray(at, at + size)))
    at += size
  }
  return Buffer.concat(records)
}

const SAMPLES: [string, Buffer, string][] = [
  ['a name', record(message([other, sni('Files.Example.ORG')])), 'files.example.org'],
  ['no name', record(message([other])), 'names no host'],
  [
    'an encrypted hello',
    record(message([sni('outer.example.org'), extension(0xfe0d, Buffer.alloc(40))])),
    'encrypted_client_hello',
  ],
  [
    'an encrypted hello in front',
    record(message([extension(0xfe0d, Buffer.alloc(40)), sni('a.example.org')])),
    'encrypted_client_hello',
  ],
  ['two names', record(message([sni('a.example.org'), sni('b.example.org')])), 'twice'],
  ['a name of another kind', record(message([sni('a.example.org', 7)])), 'no proper form'],
  ['a name with a zero byte', record(message([sni('a.example.org\0.evil.test')])), 'no proper form'],
  ['a name with a dot behind it', record(message([sni('a.example.org.')])), 'no proper form'],
  ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\nhost: a.example.org\r\n\r\n'), 'does not begin with TLS'],
  ['SSH', Buffer.from('SSH-2.0-x\r\n'), 'does not begin with TLS'],
  ['an answer of a server', record(message([sni('a.example.org')], 2)), 'no hello of a client'],
  ['an alert', Buffer.from([0x15, 3, 1, 0, 2, 2, 40]), 'does not begin with TLS'],
  [
    'two messages in one record',
    record(Buffer.concat([message([sni('a.example.org')]), message([sni('b.example.org')])])),
    'something else',
  ],
  ['an empty record', Buffer.from([0x16, 3, 1, 0, 0]), 'no proper length'],
  ['a hello that promises too much', record(Buffer.from([1, 1, 0, 0])), 'over'],
  [
    'a hello of 17 KiB',
    inRecords(message([extension(21, Buffer.alloc(17_000)), sni('a.example.org')]), [9000]),
    'over',
  ],
  [
    'extensions cut off',
    record(
      Buffer.concat([
        Buffer.from([1]),
        sized(Buffer.concat([Buffer.alloc(34), Buffer.from([0, 0, 2, 1, 1, 1, 0, 0, 9])]), 3),
      ]),
    ),
    'malformed',
  ],
]

describe('the hello of a client [E6]', () => {
  it.each(SAMPLES)('with %s', (_what, bytes, says) => {
    const answer = readClientHello(bytes)
    expect(answer.kind === 'hello' ? answer.name : answer.kind === 'refused' ? answer.why : answer.kind).toContain(says)
  })

  it('of a real client is read', async () => {
    expect(readClientHello(await realHello('real.example.org'))).toEqual({ kind: 'hello', name: 'real.example.org' })
    expect(readClientHello(await realHello(undefined))).toMatchObject({ kind: 'refused' })
  })

  it('gets the same answer however it is cut into segments', () => {
    fc.assert(
      fc.property(fc.constantFrom(...SAMPLES), fc.array(fc.nat(20_000), { maxLength: 12 }), ([, bytes], cuts) => {
        expect(inPieces(bytes, cuts)).toEqual(readClientHello(bytes))
      }),
      { numRuns: 400 },
    )
  })

  it('gets the same answer however it is cut into records', () => {
    const whole = message([other, sni('files.example.org'), extension(21, Buffer.alloc(300))])
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(5000), { maxLength: 8 }),
        (given, cuts) => {
          // Never more records than may be.
          const sizes = [...given, Math.ceil(whole.length / 4)]
          const bytes = inRecords(whole, sizes)
          expect(readClientHello(bytes)).toEqual({ kind: 'hello', name: 'files.example.org' })
          expect(inPieces(bytes, cuts)).toEqual({ kind: 'hello', name: 'files.example.org' })
        },
      ),
      { numRuns: 200 },
    )
  })

  it('may be cut into 64 records, and a byte in each of more is refused, however it is cut into segments [E12]', () => {
    const whole = message([other, sni('files.example.org')])
    const sizes = (records: number) => [...Array.from({ length: records - 1 }, () => 1), whole.length]
    expect(readClientHello(inRecords(whole, sizes(64)))).toEqual({ kind: 'hello', name: 'files.example.org' })
    const refusal = { kind: 'refused', why: 'its hello is cut into more than 64 records' }
    const many = inRecords(whole, [1])
    expect(readClientHello(many)).toEqual(refusal)
    const each = many.map((_, at) => at)
    expect(inPieces(many, [...each])).toEqual(refusal)
    // Told with the first byte of that record.
    expect(readClientHello(many.subarray(0, 64 * 6))).toEqual({ kind: 'more' })
    expect(readClientHello(many.subarray(0, 64 * 6 + 1))).toEqual(refusal)
  })

  it('is never read wrong, never throws and never waits beyond its limit, whatever the bytes are', () => {
    const base = record(message([other, sni('files.example.org')]))
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.uint8Array({ maxLength: 64 }),
        fc.array(fc.nat(400), { maxLength: 6 }),
        (changes, behind, cuts) => {
          const bytes = Buffer.concat([base, behind])
          for (const [at, value] of changes) bytes[at] = value
          const answer = readClientHello(bytes)
          expect(inPieces(bytes, cuts)).toEqual(answer)
          if (answer.kind === 'hello') expect(bytes.toString('latin1').toLowerCase()).toContain(answer.name)
          const long = readClientHello(Buffer.concat([bytes, Buffer.alloc(HELLO_BYTES_MAX)]))
          expect(long.kind).not.toBe('more')
        },
      ),
      { numRuns: 1000 },
    )
  })
})
