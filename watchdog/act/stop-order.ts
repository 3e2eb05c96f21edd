/** The order to stay stopped that is left in the home while neither process can be told. */
import { closeSync, constants, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { REASON_MAX } from '../judge/stops.ts'

/** The size of the order's file, from `hub init` on: writing it in place needs no room on the disk. */
const ORDER_BYTES = 512

/**
 * What `hub shutdown --emergency` left in the home while neither process could be told: `{"by","reason"}` in one line, else zeros or
 * nothing. A file that cannot be understood counts as an order: it was meant to stop something.
 */
export function readStopOrder(file: string): { by: 'contact' | 'emergency'; reason: string } | null {
  let text: string
  try {
    text = readFileSync(file, 'utf8').replaceAll('\0', '').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    return { by: 'emergency', reason: `the stop order cannot be read: ${(error as Error).message}` }
  }
  if (text === '') return null
  try {
    const { by, reason } = JSON.parse(text) as { by?: unknown; reason?: unknown }
    return { by: by === 'contact' ? 'contact' : 'emergency', reason: String(reason ?? '').slice(0, REASON_MAX) }
  } catch {
    return { by: 'emergency', reason: 'the stop order is damaged' }
  }
}

/** Leaves such an order, on disk when it returns. @throws what the file system throws */
export function leaveStopOrder(file: string, order: { by: 'contact' | 'emergency'; reason: string }): void {
  const text = Buffer.from(JSON.stringify({ by: order.by, reason: order.reason.slice(0, REASON_MAX) }))
  const bytes = Buffer.alloc(Math.max(ORDER_BYTES, text.length))
  text.copy(bytes)
  const fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600)
  try {
    writeSync(fd, bytes, 0, bytes.length, 0)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
