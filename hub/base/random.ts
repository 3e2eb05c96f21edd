/** Ids, nonces and secrets, from a source that is handed in so that a seed replays a storm. */
import { randomBytes, randomFillSync } from 'node:crypto'

export interface Random {
  bytes(count: number): Buffer
}

export const systemRandom: Random = { bytes: (count) => randomBytes(count) }

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'

/** `count` characters of lower-case base32, five bits each. */
export function base32(random: Random, count: number): string {
  let text = ''
  for (const byte of random.bytes(count)) text += BASE32[byte & 31]
  return text
}

/** A session id: `s` and 15 base32 characters (75 bits), short because a socket path holds 107 bytes (docs/sandbox.md 2). */
export const newSessionId = (random: Random): string => `s${base32(random, 15)}`

/** 128 random bits as base64url: a token id or a nonce (RFC 8725). */
export const newNonce = (random: Random): string => random.bytes(16).toString('base64url')

/** A UUID of version 7 (RFC 9562): sorts by the wall instant it was made at. */
export function newUuid(random: Random, wallMs: number): string {
  const bytes = random.bytes(16)
  bytes.writeUIntBE(wallMs, 0, 6)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** Overwrites a buffer that held a secret. */
export function scrub(secret: Buffer): void {
  randomFillSync(secret)
  secret.fill(0)
}
