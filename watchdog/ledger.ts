/** The hub's ledger of live sessions: read when the hub does not answer. Missing and damaged are different facts, and neither kills. */
import { readFileSync, statSync } from 'node:fs'
import { canonicalText, macHex, sameHex } from './digest.ts'
import { isSession, type Session } from './lease.ts'

export type Ledger =
  | { readonly kind: 'read'; readonly sessions: readonly Session[] }
  | { readonly kind: 'missing' }
  | { readonly kind: 'damaged'; readonly reason: string }

const BYTES_MAX = 4 * 1024 * 1024

/** Reads `ledger.json`. Only a whole document of our instance with a right MAC counts (T92, D14). */
export function readLedger(file: string, key: Buffer, instance: string): Ledger {
  let text: string
  try {
    if (statSync(file).size > BYTES_MAX) return { kind: 'damaged', reason: 'it is too large' }
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'missing' }
    return { kind: 'damaged', reason: (error as Error).message }
  }
  return parseLedger(text, key, instance)
}

/** Judges the text of a ledger. Pure. */
export function parseLedger(text: string, key: Buffer, instance: string): Ledger {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { kind: 'damaged', reason: 'it is not JSON' }
  }
  if (typeof value !== 'object' || value === null) return { kind: 'damaged', reason: 'it is not an object' }
  const { mac, ...body } = value as Record<string, unknown>
  if (typeof mac !== 'string' || !sameHex(mac, macHex(key, '', canonicalText(body)))) {
    return { kind: 'damaged', reason: 'its MAC is wrong' }
  }
  if (body.version !== 1) return { kind: 'damaged', reason: 'its version is unknown' }
  if (body.instance !== instance) return { kind: 'damaged', reason: 'it is of another instance' }
  const sessions = body.sessions
  if (!Array.isArray(sessions) || !sessions.every(isSession))
    return { kind: 'damaged', reason: 'its sessions are malformed' }
  return { kind: 'read', sessions }
}
