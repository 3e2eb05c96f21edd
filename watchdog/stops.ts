/**
 * Stops that were asked for, as the watchdog remembers them (safety.md section 5). Pure but for the one file it reads.
 * S1 `emergency` holds until the operator resumes; a heartbeat, a restart of either process and a reboot leave it as it is (T97).
 * S2 each stop has an id of its own, which goes with every lease: a hub that slept through a stop, or was dead, learns of it and holds its tasks.
 */
import { closeSync, constants, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import type { Finding } from './findings.ts'
import type { StopBy } from './lease.ts'
import type { State } from './state.ts'
import { instantText } from './wording.ts'

const REASON_MAX = 200
/** Of the order's file, from `hub init` on: writing it in place needs no room on the disk. */
const ORDER_BYTES = 512

/** The state once a stop was asked for; the first emergency stands until it is ended. Pure. */
export function planStop(state: State, by: StopBy, reason: string): State {
  // Never the same twice, whatever the wall clock does: it names the stop, nobody reads it as an instant.
  const stopId = Math.max(state.stopId + 1, state.mark.wallMs)
  if (by !== 'contact' && by !== 'emergency') return { ...state, stopId }
  return {
    ...state,
    stopId,
    emergency: state.emergency ?? { by, reason: reason.slice(0, REASON_MAX), sinceMs: state.lineMs },
  }
}

/** What the operator reads while it holds; nothing where it does not. */
export function emergencyFindings(state: State, zone: string): Finding[] {
  const { emergency } = state
  if (emergency === null) return []
  const who = emergency.by === 'contact' ? 'the backup contact' : 'an emergency stop'
  const { wallMs } = state.mark
  const when = instantText(wallMs - (state.lineMs - emergency.sinceMs), wallMs, zone)
  const reason = emergency.reason === '' ? '' : ` (${emergency.reason})`
  const text = `Everything was stopped by ${who}${reason} ${when}. Nothing starts until: hub up, then hub resume`
  return [{ id: 'emergency_stop', level: 1, severity: 'warning', text }]
}

/**
 * What `hub shutdown --emergency` left in the home while neither process could be told: `{"by","reason"}` in one line, zeros or nothing
 * otherwise. A file that cannot be understood is an order all the same: it was meant to stop something.
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
