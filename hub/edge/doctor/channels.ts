/** The doctor's rows of alert channels, the hub's own and the watchdog's: whether an alert reaches anybody (docs/safety.md 7). */

import type { Arrivals } from '../../base/arrivals.ts'
import { toHubError } from '../../base/errors.ts'
import type { ChannelState } from '../../guard/alerts/delivery.ts'
import type { AlertRows } from '../../guard/alerts/rows.ts'
import type { AlertSettings } from '../../guard/alerts/settings.ts'
import { instantText } from '../../guard/alerts/wording.ts'
import type { Check } from './doctor.ts'

type Row = Readonly<Record<string, unknown>>
const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value)
const rowsOf = (value: unknown): readonly Row[] => (Array.isArray(value) ? value.filter(isRow) : [])
const textOf = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 300) : '')

/** The doctor's name for each thing that is missing in the configuration, and what fixes it. */
const LACKS: Readonly<Record<string, { name: string; mend: string }>> = {
  no_channel: { name: 'watchdog channels', mend: 'hub setup' },
  no_contact: { name: 'contact channels', mend: 'hub setup, then hub contact test' },
  no_outside: { name: 'outside ping', mend: 'hub setup --ping URL, of a check that expects a ping' },
}

function checkAtWatchdog(channels: readonly Row[], who: string, { name, mend }: { name: string; mend: string }): Check {
  const own = channels.filter((one) => one.who === who)
  const failing = own.filter((one) => Number(one.failures) > 0)
  const detail = own.map((one) => {
    const state = Number(one.failures) > 0 ? `fails: ${textOf(one.reason)}` : 'ok'
    return `${textOf(one.channel)} ${state}, ${Number(one.waiting)} waiting`
  })
  return { name, ok: failing.length > 0 ? null : true, detail: detail.join('; '), mend }
}

/**
 * What the watchdog says of its alerting (`GET /v1/status`). If nobody is told, that is broken. No contact, no outside ping, or no answer
 * from the watchdog is worth a look.
 */
export function createWatchdogChecks(askStatus: () => Promise<unknown>): () => Promise<Check[]> {
  return async () => {
    let alerting: unknown
    try {
      const status = await askStatus()
      alerting = isRow(status) ? status.alerting : undefined
    } catch (thrown) {
      const detail = toHubError(thrown).message
      return [{ name: 'watchdog channels', ok: null, detail, mend: 'hub up' }]
    }
    if (!isRow(alerting)) return []
    const lacks = new Map(rowsOf(alerting.lacks).map((lack) => [textOf(lack.name), lack]))
    const channels = rowsOf(alerting.channels)
    const outside = isRow(alerting.outside) ? alerting.outside : {}
    return Object.entries(LACKS).map(([key, words]): Check => {
      const lack = lacks.get(key)
      if (lack !== undefined)
        return { name: words.name, ok: lack.ok === false ? false : null, detail: textOf(lack.text), mend: words.mend }
      if (key === 'no_channel') return checkAtWatchdog(channels, 'operator', { ...words, mend: 'hub alert test' })
      if (key === 'no_contact') return checkAtWatchdog(channels, 'contact', { ...words, mend: 'hub contact test' })
      const reason = textOf(outside.reason)
      return { name: words.name, ok: reason === '' ? true : null, detail: reason || 'answered', mend: words.mend }
    })
  }
}

/** The hub's own channels. Pure. */
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
    // Taken does not mean arrived: a server may take a letter and lose it.
    if (!failing && arrivals[channel] === false)
      return { name, ok: null, detail: `${detail}; nobody has confirmed that it arrives`, mend: 'hub setup --arrived' }
    const ok = failing ? false : takenAt === 0 && kind !== 'file' ? null : true
    return { name, ok, detail, mend: `hub alert test --channel ${channel}` }
  })
  if (states.some(({ kind }) => kind !== 'file')) return each
  const [ok, detail] =
    settings.channels === undefined
      ? ([false, 'no channel is configured: alerts are only in logs/alerts.log, and nobody is told'] as const)
      : ([null, 'only a file is configured: nobody is told unless somebody reads it'] as const)
  return [...each, { name: 'alerts', ok, detail, mend: 'hub setup' }]
}
