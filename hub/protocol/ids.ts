/** Ids and names: their patterns, all linear and length-capped (T26, T28), as zod shapes. */
import { z } from 'zod'

/** A name: agents, topics, capabilities, message type segments. */
export const nameShape = z
  .string()
  .max(63)
  .regex(/^[a-z0-9-]{1,63}$/, 'a name is 1 to 63 of a-z, 0-9 and -')
/** A message type: names joined by single dots, 127 characters at most. */
export const typeShape = z
  .string()
  .max(127)
  .regex(/^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/, 'a message type is names joined by dots')
/** A session id: `s` and 15 base32 characters. */
export const sessionIdShape = z.string().regex(/^s[a-z2-7]{15}$/, 'a session id is s and 15 base32 characters')
/** The id of an identity token (`jti`): 128 bits, base64url. */
export const tokenIdShape = z.string().regex(/^[A-Za-z0-9_-]{22}$/, 'a token id is 22 base64url characters')
/** Tasks, attempts, messages, decisions: UUID in lower case. */
export const uuidShape = z
  .string()
  .max(36)
  .regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/, 'an id is a lower-case UUID')
/** The beginning or the end of an id, from which a person means the whole (fault C9). */
export const uuidPartShape = z.string().regex(/^[0-9a-f-]{4,36}$/, 'a part of an id is 4 to 36 of 0-9, a-f and -')
export const sessionPartShape = z.string().regex(/^[a-z2-7]{4,16}$/, 'a part of a session id is 4 to 16 of a-z and 2-7')
export const sha256PartShape = z.string().regex(/^[0-9a-f]{4,64}$/, 'a part of a digest is 4 to 64 of 0-9 and a-f')
/** SHA-256 in hex: artifacts, digests, records. */
export const sha256Shape = z.string().regex(/^[0-9a-f]{64}$/, 'a digest is 64 hex characters')
/** W3C trace context; kept as it is, never interpreted for a decision. */
export const traceparentShape = z.string().regex(/^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/)
