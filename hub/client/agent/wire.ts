/** One signed HTTP exchange over the session's Unix socket (docs/protocol.md 3). Knows keys and bytes, not tokens' lives or retries. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { ClientRequest } from 'node:http'
import { HubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import { newNonce, systemRandom } from '../../base/random.ts'
import { HEADER_NONCE, HEADER_SIGNATURE, HEADER_TIMESTAMP, HEADER_TOKEN, signedText } from '../../protocol/signing.ts'

/** The hub could not be reached or stopped in the middle: it is restarting, so the same thing may be tried again. */
export class LinkLost extends Error {}

export interface Exchange {
  method: 'GET' | 'POST' | 'PUT'
  path: string
  token?: string
  /** JSON unless `contentType` says otherwise. A file is streamed; its digest must be known, because it is signed first. */
  body?: Buffer | { file: string; size: number; sha256: string }
  /** The body once a try may have arrived without an answer; the same without it. */
  again?: () => Buffer
  contentType?: string
  /** First and last byte, as in `Range`. */
  range?: { start: number; last: number }
  /** Silence after which the link counts as lost. */
  idleMs?: number
  answerBytesMax?: number
}

export interface Answer {
  status: number
  body: Buffer
}

export interface Wire {
  /** Raw 32 bytes of the session's key, base64url. Made in this process; the private half never leaves it. */
  readonly publicKey: string
  readonly socketPath: string
  /** Signs a text with the session's key, base64url. */
  sign(text: string): string
  /** Throws LinkLost, or `too_large` when the answer passes its limit. Any status is an answer. */
  exchange(exchange: Exchange): Promise<Answer>
  close(): void
}

const EMPTY = Buffer.alloc(0)

export function createWire(socketPath: string): Wire {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  // The hub allows four connections a session: one waits in receive, one may carry an artifact.
  const agent = new http.Agent({ keepAlive: true, maxSockets: 3 })

  const signed = (text: string) => sign(null, Buffer.from(text), privateKey).toString('base64url')

  function headersOf(exchange: Exchange): Record<string, string | number> {
    const { method, path, body } = exchange
    const timestampMs = String(Date.now())
    const nonce = newNonce(systemRandom)
    const bodySha256 =
      body !== undefined && 'file' in body
        ? body.sha256
        : createHash('sha256')
            .update(body ?? EMPTY)
            .digest('hex')
    const text = signedText({ method, path, timestampMs, nonce, bodySha256 })
    return {
      [HEADER_TIMESTAMP]: timestampMs,
      [HEADER_NONCE]: nonce,
      [HEADER_SIGNATURE]: signed(text),
      ...(exchange.token === undefined ? {} : { [HEADER_TOKEN]: exchange.token }),
      ...(body === undefined ? {} : { 'content-type': exchange.contentType ?? 'application/json' }),
      ...(body === undefined ? {} : { 'content-length': 'file' in body ? body.size : body.length }),
      ...(exchange.range === undefined ? {} : { range: `bytes=${exchange.range.start}-${exchange.range.last}` }),
    }
  }

  function once(exchange: Exchange): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const bytesMax = exchange.answerBytesMax ?? 8 * 1024 ** 2
      const { method, path } = exchange
      const outgoing = http.request({ socketPath, agent, method, path, headers: headersOf(exchange) })
      const lost = (thrown: Error) => reject(new LinkLost(thrown.message, { cause: [thrown, outgoing.reusedSocket] }))
      outgoing.setTimeout(exchange.idleMs ?? 60_000, () => outgoing.destroy(new Error('no answer in time')))
      outgoing.on('error', lost)
      outgoing.on('response', (incoming) => {
        const chunks: Buffer[] = []
        let bytes = 0
        incoming.on('error', lost)
        incoming.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          chunks.push(chunk)
          if (bytes <= bytesMax) return
          reject(new HubError('too_large', `the answer is over ${bytesMax} bytes; read it in ranges`))
          outgoing.destroy()
        })
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks, bytes) }))
        incoming.on('close', () => lost(new Error('the answer broke off')))
      })
      writeBody(outgoing, exchange.body, reject)
    })
  }

  return {
    publicKey: publicKey.export({ format: 'jwk' }).x ?? '',
    socketPath,
    sign: signed,
    async exchange(exchange) {
      try {
        return await once(exchange)
      } catch (thrown) {
        // An idle connection that the hub closed at the very moment of its reuse says nothing about the hub.
        if (!(thrown instanceof LinkLost) || (thrown.cause as unknown[])[1] !== true) throw thrown
        // What was asked may have arrived all the same.
        return await once({ ...exchange, ...(exchange.again === undefined ? {} : { body: exchange.again() }) })
      }
    },
    close: () => agent.destroy(),
  }
}

function writeBody(outgoing: ClientRequest, body: Exchange['body'], reject: (thrown: Error) => void): void {
  if (body === undefined || !('file' in body)) {
    outgoing.end(body)
    return
  }
  // A program may write to it meanwhile: never more than was said, or the rest would be read as the next request.
  const source = createReadStream(body.file, { end: Math.max(0, body.size - 1) })
  const { size, file } = body
  source.on('error', (thrown) => {
    // The file's fault, not the hub's: named before the broken request could be taken for a lost link.
    reject(thrown)
    outgoing.destroy()
  })
  outgoing.on('close', () => source.destroy())
  source.on('end', () => {
    if (source.bytesRead === size) return
    reject(Object.assign(new Error(`${file} was changed while it was read`), { code: 'ECHANGED' }))
    outgoing.destroy()
  })
  source.pipe(outgoing)
}
