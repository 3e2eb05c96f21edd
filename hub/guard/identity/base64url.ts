/** Base64url without the leniency of decoders: one byte string has exactly one spelling here (T4). */

const ALPHABET = /^[A-Za-z0-9_-]*$/

/** The bytes, or undefined when the text is padded, holds a foreign character or unused bits. */
export function decodeCanonical(text: string): Buffer | undefined {
  if (!ALPHABET.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}
