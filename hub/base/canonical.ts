/** One way to turn a value into bytes (RFC 8785), and its digest under a label, so that a digest of one kind is never taken for another. */
import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { HubError } from './errors.ts'

/** RFC 8785 text of a JSON value. A value JSON cannot hold is our bug: `internal`. */
export function canonicalText(value: unknown): string {
  let text: string | undefined
  try {
    text = canonicalize(value)
  } catch (thrown) {
    throw new HubError('internal', '', { reason: `a value that JSON cannot hold: ${thrown}`, cause: thrown })
  }
  if (text === undefined) throw new HubError('internal', '', { reason: 'cannot digest a value that JSON cannot hold' })
  return text
}

// In one call: a hash object for each short text costs half as much again as hashing it.
export const sha256Hex = (data: string | Buffer): string => hash('sha256', data)

/** SHA-256 over `label NUL canonical-text`, in hex. */
export const digestOf = (label: string, value: unknown): string => sha256Hex(`${label}\0${canonicalText(value)}`)
