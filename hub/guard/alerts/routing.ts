/** Which channel is told what, and when (docs/safety.md 7). Pure. */
import { TRIAL_SUFFIX } from '../../protocol/agent.ts'
import type { AlertEvent, Severity } from './kinds.ts'
import { kindOf } from './kinds.ts'
import type { AlertSettings, ChannelSettings } from './settings.ts'

/** Alerts about one channel, which that channel cannot tell. */
export const CHANNEL_FAILING = 'channel_failing'
export const OUTBOX_FULL = 'outbox_full'

/** The channels that tell of an alert: `info` goes to none, and neither does an alert about a trial, because its operator is watching (fault C11). */
export function channelsFor(
  channels: readonly ChannelSettings[],
  alert: { cause: string; severity: Severity },
): readonly ChannelSettings[] {
  if (alert.severity === 'info') return []
  if (alert.severity !== 'critical' && alert.cause.endsWith(TRIAL_SUFFIX)) return []
  const kind = kindOf(alert.cause)
  const about = kind === CHANNEL_FAILING || kind === OUTBOX_FULL ? alert.cause.slice(kind.length + 1) : undefined
  return channels.filter(({ name }) => name !== about)
}

/** Minutes since midnight in that zone. */
function minuteOfDay(atMs: number, zone: string): number {
  const parts = new Intl.DateTimeFormat('en-GB', {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    ...(zone === '' ? {} : { timeZone: zone }),
  }).formatToParts(atMs)
  const of = (type: string) => Number(parts.find((part) => part.type === type)?.value)
  return of('hour') * 60 + of('minute')
}
const minutesOf = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3))

/** Whether it is quiet now; over midnight too, and by the local clock on days that have 23 or 25 hours. */
export function isQuiet({ quiet, zone }: AlertSettings, nowMs: number): boolean {
  if (quiet === undefined) return false
  const [from, to, now] = [minutesOf(quiet.from), minutesOf(quiet.to), minuteOfDay(nowMs, zone)]
  return from <= to ? now >= from && now < to : now >= from || now < to
}

/** Whether this line may go now. Only a push waits, and only if it is not critical. A "resolved" wakes nobody. */
export const mayGo = (kind: ChannelSettings['kind'], severity: Severity, event: AlertEvent, quiet: boolean): boolean =>
  kind !== 'push' || !quiet || (severity === 'critical' && event !== 'resolved')
