/** Bytes as they are over a real socket, for what no HTTP client would send. */
import { connect, type NetConnectOpts } from 'node:net'

export interface Heard {
  text: string
  /** Status codes of all answers, in order. */
  statuses: number[]
  /** The other side ended the connection. */
  closed: boolean
}

const FIRST_BYTE_MS = 60_000

/** Writes the pieces, then listens until the other side ends, or, once it has begun to answer, says nothing for `quietMs`. */
export function talk(
  where: NetConnectOpts,
  pieces: string | Buffer | readonly (string | Buffer)[],
  quietMs = 1000,
): Promise<Heard> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const socket = connect(where)
    const settle = (closed: boolean) => {
      heard += 1
      clearTimeout(timer)
      socket.destroy()
      const text = Buffer.concat(chunks).toString('latin1')
      resolve({ text, statuses: [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => Number(match[1])), closed })
    }
    let heard = 0
    /** Where this very process stood still, what was said meanwhile is read first. */
    const settleQuiet = async () => {
      const before = heard
      for (let turn = 0; turn < 20 && heard === before; turn += 1) await new Promise((done) => setImmediate(done))
      if (heard === before) settle(false)
    }
    // A busy machine may take seconds to the first byte; the quiet counts from there.
    let timer = setTimeout(settleQuiet, Math.max(quietMs, FIRST_BYTE_MS))
    const again = () => {
      heard += 1
      clearTimeout(timer)
      timer = setTimeout(settleQuiet, quietMs)
    }
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      again()
    })
    socket.on('error', () => settle(true))
    socket.on('close', () => settle(true))
    socket.on('connect', () => {
      for (const piece of typeof pieces === 'string' || Buffer.isBuffer(pieces) ? [pieces] : pieces) socket.write(piece)
    })
  })
}

/** Opens a connection and keeps it; `closed` settles when the other side ends it. */
export function hold(where: NetConnectOpts, first = '') {
  const socket = connect(where)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  socket.on('error', () => undefined)
  if (first !== '') socket.write(first)
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return { socket, closed, heard: () => text, end: () => void socket.destroy() }
}

/** Ways to leave two readers in doubt where a request ends (T31): each is the header block after the request line. */
export const SMUGGLING: readonly string[] = [
  'Content-Length: 2\r\nContent-Length: 3\r\n',
  'Content-Length: 2, 3\r\n',
  'Content-Length: +2\r\n',
  'Content-Length: -1\r\n',
  'Content-Length: 0x2\r\n',
  'Content-Length: 2 3\r\n',
  'Content-Length: 99999999999999999999\r\n',
  'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n',
  'Transfer-Encoding: chunked\r\nContent-Length: 2\r\n',
  'Transfer-Encoding: chunked, identity\r\n',
  'Transfer-Encoding: identity\r\n',
  'Transfer-Encoding: xchunked\r\n',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n',
  'Transfer-Encoding:\x0bchunked\r\n',
  'Transfer-Encoding : chunked\r\n',
  ' Transfer-Encoding: chunked\r\n',
  'Content-Length : 2\r\n',
  'Content-Length: 2\r\n folded: yes\r\n',
  'X-Folded: a\r\n\tb\r\n',
  'X-Bare: a\nContent-Length: 2\r\n',
  'X-Bare: a\rContent-Length: 2\r\n',
  'X-Nul: a\0b\r\n',
  'X Space: a\r\n',
  ': empty\r\n',
]

/** Bodies in chunks that are malformed. */
export const CHUNKS: readonly string[] = [
  'zz\r\n{}\r\n0\r\n\r\n',
  '2\n{}\r\n0\r\n\r\n',
  '-2\r\n{}\r\n0\r\n\r\n',
  '0x2\r\n{}\r\n0\r\n\r\n',
  '2\r\n{}x\r\n0\r\n\r\n',
  'ffffffffffffffffff\r\n{}\r\n0\r\n\r\n',
]
