/**
 * `<home>/stop-order`: how `hub shutdown --emergency` reaches a hub and a watchdog that are both dead (docs/safety.md 5). Both read it
 * when they start. It has its full size from the beginning and is written in place, so that a full disk does not stop an order.
 */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const STOP_ORDER_BYTES = 512
const REASON_MAX = 200
const pathOf = (home: string): string => join(home, 'stop-order')

/** Makes the file that holds no order; one that is there is left as it is. */
export function makeStopOrder(home: string): void {
  if (!existsSync(pathOf(home))) writeFileSync(pathOf(home), '\0'.repeat(STOP_ORDER_BYTES), { mode: 0o600, flag: 'wx' })
}

/** The order that was left, or undefined. One that cannot be understood counts: it was meant to stop something. */
export function readStopOrder(home: string): string | undefined {
  let text: string
  try {
    text = readFileSync(pathOf(home), 'utf8').replaceAll('\0', '').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    return `the stop order cannot be read: ${(error as Error).message}`
  }
  if (text === '') return undefined
  try {
    const { reason } = JSON.parse(text) as { reason?: unknown }
    return String(reason ?? 'no reason given').slice(0, REASON_MAX)
  } catch {
    return 'the stop order is damaged'
  }
}

/** Takes the order back; on disk when it returns. */
export function clearStopOrder(home: string): void {
  if (readStopOrder(home) === undefined) return
  const fd = openSync(pathOf(home), 'r+')
  try {
    writeSync(fd, Buffer.alloc(STOP_ORDER_BYTES), 0, STOP_ORDER_BYTES, 0)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
