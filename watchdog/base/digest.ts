/** Canonical text, digests and MACs as the contract with the hub writes them; written a second time on purpose (no shared code). */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** JSON with sorted keys: equal to RFC 8785 for the strings, integers, lists and objects the contract uses. */
export function canonicalText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined)
    entries.sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalText(item)}`).join(',')}}`
  }
  return JSON.stringify(value)
}

export const sha256Hex = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')

/** HMAC-SHA256 over `label LF bytes`, in hex; without a label only over the bytes. */
export function macHex(key: Buffer, label: string, bytes: string | Buffer): string {
  return createHmac('sha256', key)
    .update(label === '' ? '' : `${label}\n`)
    .update(bytes)
    .digest('hex')
}

/** Compares two hex texts without telling by time where they differ. */
export function sameHex(a: string, b: string): boolean {
  const left = Buffer.from(a, 'utf8')
  const right = Buffer.from(b, 'utf8')
  return left.length === right.length && timingSafeEqual(left, right)
}
