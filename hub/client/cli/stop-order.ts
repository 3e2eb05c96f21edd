/** The order that `hub shutdown --emergency` leaves for a hub and a watchdog that are both dead: they obey it when they start. */
import { closeSync, constants, fsyncSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'

/** The file has this size from `hub init` on, so that writing it in place needs no room on the disk. */
const BYTES = 512
const REASON_MAX = 200

/** Writes the order; on disk when it returns. */
export function leaveStopOrder(home: string, order: { by: 'emergency' | 'contact'; reason: string }): void {
  const text = Buffer.from(JSON.stringify({ by: order.by, reason: order.reason.slice(0, REASON_MAX) }))
  const bytes = Buffer.alloc(Math.max(BYTES, text.length))
  text.copy(bytes)
  const fd = openSync(path.join(home, 'stop-order'), constants.O_RDWR | constants.O_CREAT, 0o600)
  try {
    writeSync(fd, bytes, 0, bytes.length, 0)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
