/**
 * The first message of a TLS connection, read without an answer (E6): which name the client asks for. Pure; whatever the cut of the bytes, the
 * answer is the same. RFC 8446 4.1.2, 5.1; RFC 6066 3; RFC 9849 for `encrypted_client_hello`.
 */

/** A hello is smaller, also with post-quantum keys. */
export const HELLO_BYTES_MAX = 16 * 1024
const HANDSHAKE = 0x16
const CLIENT_HELLO = 0x01
const RECORD_BYTES_MAX = 16 * 1024
const EXTENSION_SNI = 0
const EXTENSIONS_ECH = [0xfe0d, 0xff02, 0xfd00]
const HOST_NAME = 0

export type HelloAnswer =
  /** More bytes are needed. */
  | { kind: 'more' }
  /** `name` in lower case. */
  | { kind: 'hello'; name: string }
  | { kind: 'refused'; why: string }

const refused = (why: string): HelloAnswer => ({ kind: 'refused', why })
const MORE: HelloAnswer = { kind: 'more' }
const TOO_LONG = refused(`its hello is over ${HELLO_BYTES_MAX} bytes`)

/** Reads big-endian fields of a whole buffer; after the end `isOver` is true and everything is empty. */
function createCursor(bytes: Buffer) {
  let at = 0
  let isOver = false
  const take = (count: number): Buffer => {
    if (at + count > bytes.length) {
      isOver = true
      return Buffer.alloc(0)
    }
    at += count
    return bytes.subarray(at - count, at)
  }
  function number(count: number): number {
    const found = take(count)
    return found.length === 0 ? 0 : found.readUIntBE(0, count)
  }
  return {
    number,
    /** A field that begins with its length, of so many bytes. */
    field(lengthBytes: number): Buffer {
      return take(number(lengthBytes))
    },
    skip: (count: number) => void take(count),
    get isOver() {
      return isOver
    },
    get isAtEnd() {
      return at === bytes.length
    },
  }
}

/** What the bytes that a client has sent so far say. What follows the first 16 KiB is not looked at. */
export function readClientHello(bytes: Buffer): HelloAnswer {
  const found = handshakeOf(bytes.subarray(0, HELLO_BYTES_MAX))
  if (Buffer.isBuffer(found)) return judgeHello(found)
  return found.kind === 'more' && bytes.length >= HELLO_BYTES_MAX ? TOO_LONG : found
}

/**
 * The body of the hello, put together from its records; or why there is none (yet). Each check looks only at bytes before those of the next,
 * so that a refusal does not depend on how many came at once.
 */
function handshakeOf(bytes: Buffer): Buffer | HelloAnswer {
  let message = Buffer.alloc(0)
  let promised = 0
  for (let at = 0; ; ) {
    const head = bytes.subarray(at, at + 5)
    if (head.length > 0 && head[0] !== HANDSHAKE) return refused('it does not begin with TLS')
    if (head.length > 1 && head[1] !== 3) return refused('it does not begin with TLS')
    if (head.length < 5) return MORE
    const length = head.readUInt16BE(3)
    if (length === 0 || length > RECORD_BYTES_MAX) return refused('its first record has no proper length')
    const part = bytes.subarray(at + 5, at + 5 + length)
    message = Buffer.concat([message, part])
    promised += length
    at += 5 + length
    if (message.length > 0 && message[0] !== CLIENT_HELLO) return refused('its first message is no hello of a client')
    if (message.length >= 4) {
      const wanted = 4 + message.readUIntBE(1, 3)
      if (wanted > HELLO_BYTES_MAX) return TOO_LONG
      // Behind a hello in its record would be a second message before any answer.
      if (promised > wanted) return refused('something else follows its hello in the same record')
      if (message.length === wanted) return message.subarray(4)
    }
    if (part.length < length) return MORE
  }
}

function judgeHello(body: Buffer): HelloAnswer {
  const hello = createCursor(body)
  hello.skip(2 + 32)
  hello.field(1)
  hello.field(2)
  hello.field(1)
  if (hello.isOver) return refused('its hello is cut off')
  if (hello.isAtEnd) return refused('its hello names no host (SNI)')
  const extensions = createCursor(hello.field(2))
  if (hello.isOver || !hello.isAtEnd) return refused('its hello is malformed')
  const seen = new Set<number>()
  let name: string | undefined
  while (!extensions.isAtEnd) {
    const kind = extensions.number(2)
    const value = extensions.field(2)
    if (extensions.isOver) return refused('its hello is malformed')
    // The second of two could be the one that the server reads.
    if (seen.has(kind)) return refused('its hello has an extension twice')
    seen.add(kind)
    if (EXTENSIONS_ECH.includes(kind))
      return refused('its hello is encrypted (encrypted_client_hello): switch that off in the program')
    if (kind !== EXTENSION_SNI) continue
    name = nameOf(value)
    if (name === undefined) return refused('its hello names a host in no proper form')
  }
  return name === undefined ? refused('its hello names no host (SNI)') : { kind: 'hello', name }
}

/** The one host name of the extension; undefined if there is not exactly one, of printable ASCII. */
function nameOf(value: Buffer): string | undefined {
  const whole = createCursor(value)
  const list = createCursor(whole.field(2))
  const kind = list.number(1)
  const name = list.field(2)
  if (whole.isOver || !whole.isAtEnd || list.isOver || !list.isAtEnd || kind !== HOST_NAME) return undefined
  const text = name.toString('latin1')
  return /^[a-z\d](?:[a-z\d._-]{0,251}[a-z\d])?$/i.test(text) ? text.toLowerCase() : undefined
}
