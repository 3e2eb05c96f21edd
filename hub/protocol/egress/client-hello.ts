/**
 * The first message of a TLS connection, read without an answer (E6): which name the client asks for. Whatever the cut of the bytes, the answer is
 * the same, and each byte is looked at once. RFC 8446 4.1.2, 5.1; RFC 6066 3; RFC 9849 for `encrypted_client_hello`.
 */

/** A hello is smaller, also with post-quantum keys. */
export const HELLO_BYTES_MAX = 16 * 1024
const HANDSHAKE = 0x16
const CLIENT_HELLO = 0x01
const RECORD_BYTES_MAX = 16 * 1024
/** Clients send one, and a few where their keys are large or they hide the name from a filter. */
const RECORDS_MAX = 64
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

export interface HelloReader {
  /** What the bytes that a client has sent so far say, with these behind them. What follows the first 16 KiB is not looked at. */
  take(piece: Buffer): HelloAnswer
}

/**
 * Reads one hello. Each check looks only at bytes before those of the next, so that a refusal does not depend on how many came at once.
 */
export function createHelloReader(): HelloReader {
  const message = Buffer.allocUnsafe(HELLO_BYTES_MAX)
  let came = 0
  let has = 0
  let records = 0
  /** Of the head of a record: how many of its five bytes have come, and the length that they say. */
  let headBytes = 0
  let length = 0
  /** Of the record: bytes that have not come yet. */
  let left = 0
  /** Bytes of all records. */
  let promised = 0

  function headByte(byte: number): HelloAnswer | undefined {
    headBytes += 1
    if (headBytes === 1) {
      records += 1
      if (records > RECORDS_MAX) return refused(`its hello is cut into more than ${RECORDS_MAX} records`)
      return byte === HANDSHAKE ? undefined : refused('it does not begin with TLS')
    }
    if (headBytes === 2) return byte === 3 ? undefined : refused('it does not begin with TLS')
    length = headBytes === 3 ? 0 : length * 256 + byte
    if (headBytes < 5) return undefined
    if (length === 0 || length > RECORD_BYTES_MAX) return refused('its first record has no proper length')
    headBytes = 0
    left = length
    promised += length
    return lookAtMessage()
  }

  function lookAtMessage(): HelloAnswer | undefined {
    if (has > 0 && message[0] !== CLIENT_HELLO) return refused('its first message is no hello of a client')
    if (has < 4) return undefined
    const wanted = 4 + message.readUIntBE(1, 3)
    if (wanted > HELLO_BYTES_MAX) return TOO_LONG
    // Behind a hello in its record would be a second message before any answer.
    if (promised > wanted) return refused('something else follows its hello in the same record')
    return has === wanted ? judgeHello(message.subarray(4, wanted)) : undefined
  }

  return {
    take(piece) {
      const bytes = piece.subarray(0, HELLO_BYTES_MAX - came)
      came += bytes.length
      for (let at = 0; at < bytes.length; ) {
        let answer: HelloAnswer | undefined
        if (left === 0) {
          answer = headByte(bytes[at] as number)
          at += 1
        } else {
          const copied = bytes.copy(message, has, at, Math.min(bytes.length, at + left))
          has += copied
          left -= copied
          at += copied
          answer = lookAtMessage()
        }
        if (answer !== undefined) return answer
      }
      return came === HELLO_BYTES_MAX ? TOO_LONG : MORE
    },
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
