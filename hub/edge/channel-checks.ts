/** The doctor's rows of alert channels: whether anybody would hear, and when each was last heard through (safety.md section 7). Pure. */

import type { Arrivals } from '../base/arrivals.ts'
import type { ChannelState } from '../guard/alerts/delivery.ts'
import type { AlertRows } from '../guard/alerts/rows.ts'
import type { AlertSettings } from '../guard/alerts/settings.ts'
import { instantText } from '../guard/alerts/wording.ts'
import type { Check } from './doctor.ts'

const MEND = 'hub setup'

export function channelChecks(
  settings: AlertSettings,
  states: readonly ChannelState[],
  rows: Pick<AlertRows, 'lastEnd'>,
  nowMs: number,
  arrivals: Arrivals = {},
): Check[] {
  const each = states.map(({ channel, kind, waiting, failedInARow, lastError, takenAtMs }): Check => {
    const [sent, lost] = [rows.lastEnd(channel, 'sent'), rows.lastEnd(channel, 'given_up')]
    const takenAt = Math.max(takenAtMs ?? 0, sent?.endedAtMs ?? 0)
    const failing = failedInARow > 0 || (lost?.endedAtMs ?? 0) > takenAt
    const last =
      takenAt === 0 ? 'has delivered nothing yet' : `last delivered ${instantText(takenAt, nowMs, settings.zone)}`
    const why = failing ? `; fails: ${lastError || lost?.detail || 'unknown'}` : ''
    const queue = waiting === 0 ? '' : `; ${waiting} wait`
    const name = `alerts ${channel}`
    const detail = `${kind}; ${last}${queue}${why}`
    // Taken is not arrived: a server may take a letter and lose it.
    if (!failing && arrivals[channel] === false)
      return { name, ok: null, detail: `${detail}; nobody has said that it arrives`, mend: 'hub setup --arrived' }
    const ok = failing ? false : takenAt === 0 && kind !== 'file' ? null : true
    return { name, ok, detail, mend: `hub alert test --channel ${channel}` }
  })
  if (states.some(({ kind }) => kind !== 'file')) return each
  const [ok, detail] =
    settings.channels === undefined
      ? ([false, 'no channel is configured: alerts stand in logs/alerts.log, and nobody is told'] as const)
      : ([null, 'only a file is configured: nobody is told unless somebody reads it'] as const)
  return [...each, { name: 'alerts', ok, detail, mend: MEND }]
}
