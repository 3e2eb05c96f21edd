/** Signed requests: Ed25519 by the joined key over method, path, timestamp, nonce and body digest (docs/protocol.md 3). */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Clock } from '../../base/clock.ts'
import { HEADER_NONCE, HEADER_SIGNATURE, HEADER_TIMESTAMP, signedText } from '../../protocol/signing.ts'
import { decodeCanonical } from './base64url.ts'
import { CLOCK_SKEW_MS } from './clock-skew.ts'
import { NONCE_KEEP_MS } from './nonces.ts'
import { unauthenticated } from './tokens.ts'

export interface SignedRequest {
  method: string
  /** As in the request line, query included. */
  path: string
  headers: IncomingHttpHeaders
  bodySha256: string
}

export interface VerifiedRequest {
  nonce: string
  /** Until when the nonce has to be remembered. */
  nonceExpiresAtMs: number
}

/** An Ed25519 public key from its 32 raw bytes in base64url, or undefined. */
export function publicKeyOf(text: string): KeyObject | undefined {
  const raw = decodeCanonical(text)
  if (raw?.length !== 32) return undefined
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: text }, format: 'jwk' })
  } catch {
    return undefined
  }
}

const single = (value: string | string[] | undefined): string => (typeof value === 'string' ? value : '')

/** Checks shape, time window (`heldBackMs` more of it after a stall, T75) and signature. Throws `unauthenticated`; the nonce is burned later, in the transaction of the effect. */
export function verifySignedRequest(
  request: SignedRequest,
  publicKey: KeyObject,
  clock: Clock,
  heldBackMs = 0,
): VerifiedRequest {
  const timestampMs = single(request.headers[HEADER_TIMESTAMP])
  const nonce = single(request.headers[HEADER_NONCE])
  const signature = decodeCanonical(single(request.headers[HEADER_SIGNATURE]))
  if (!/^\d{13}$/.test(timestampMs)) throw unauthenticated('the timestamp is not epoch milliseconds')
  if (decodeCanonical(nonce)?.length !== 16) throw unauthenticated('the nonce is not of 128 bits')
  if (signature?.length !== 64) throw unauthenticated('the signature is not of 64 bytes')
  const text = signedText({
    method: request.method,
    path: request.path,
    timestampMs,
    nonce,
    bodySha256: request.bodySha256,
  })
  if (!verify(null, Buffer.from(text), publicKey, signature)) throw unauthenticated('the request signature is wrong')
  const ageMs = clock.wallMs() - Number(timestampMs)
  if (ageMs > CLOCK_SKEW_MS + heldBackMs || -ageMs > CLOCK_SKEW_MS)
    throw unauthenticated('the timestamp is outside its window')
  return { nonce, nonceExpiresAtMs: Number(timestampMs) + CLOCK_SKEW_MS + NONCE_KEEP_MS }
}
