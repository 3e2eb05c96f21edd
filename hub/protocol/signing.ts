/** The bytes a signed request signs, and its headers: one place, read by the hub and by every client (docs/protocol.md 3). */

export const HEADER_TOKEN = 'hub-token'
export const HEADER_TIMESTAMP = 'hub-timestamp'
export const HEADER_NONCE = 'hub-nonce'
export const HEADER_SIGNATURE = 'hub-signature'

export interface SignedParts {
  method: string
  /** Path with its query, as in the request line. */
  path: string
  timestampMs: string
  nonce: string
  /** SHA-256 of the raw body, hex; of the empty body if there is none. */
  bodySha256: string
}

/** The text an Ed25519 signature of the joined key covers. Every part is free of line breaks by its own pattern. */
export const signedText = (parts: SignedParts): string =>
  `hub-request-v1\n${parts.method}\n${parts.path}\n${parts.timestampMs}\n${parts.nonce}\n${parts.bodySha256}`
