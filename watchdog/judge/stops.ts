/**
 * Stops that were asked for, as the watchdog remembers them (docs/safety.md 5). Pure; the order in the home is read in act/stop-order.ts.
 * S1 `emergency` holds until the operator resumes; heartbeats, restarts and reboots do not change it (T97).
 * S2 each stop has its own id, which goes with every lease: a hub that missed a stop learns of it and holds its tasks.
 */
import { instantText } from '../base/time-text.ts'
import type { Finding } from './findings.ts'
import type { StopBy } from './lease.ts'
import type { State } from './state.ts'

/** Characters; the state has to fit its slot. */
export const REASON_MAX = 200
/** The state once a stop was asked for; the first emergency stays until it is ended. Pure. */
export function planStop(state: State, by: StopBy, reason: string): State {
  // Never the same twice, whatever the wall clock does: it only names the stop, and is not used as a time.
  const stopId = Math.max(state.stopId + 1, state.mark.wallMs)
  if (by !== 'contact' && by !== 'emergency') return { ...state, stopId }
  return {
    ...state,
    stopId,
    emergency: state.emergency ?? { by, reason: reason.slice(0, REASON_MAX), sinceMs: state.lineMs },
  }
}

/** What the operator reads while it holds; otherwise nothing. */
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
