/** Messages to the operator: how alerts are packed into parcels, and how a parcel reads. Pure. */

import { PAYLOAD_BYTES_MAX } from '../base/slot.ts'
import { instantText } from '../base/time-text.ts'
import type { Letter } from './channels/letter.ts'
import type { Parcel } from './delivery.ts'
import type { AlertEvent } from './plan.ts'

export interface AlertParcel extends Parcel {
  readonly kind: 'alerts'
  readonly events: readonly AlertEvent[]
}

const TEXT_CHARS_MAX = 700
/** What a parcel's other fields take of a slot, at most. */
const REST_BYTES = 400

/** Events packed into as few parcels as possible, each of which fits a slot. Critical ones are apart, because they are sent differently. */
export function packEvents(events: readonly AlertEvent[], base: Omit<AlertParcel, 'events' | 'severity' | 'kind'>) {
  const parcels: AlertParcel[] = []
  for (const severity of ['critical', 'warning'] as const) {
    let pack: AlertEvent[] = []
    const close = () => {
      if (pack.length > 0) parcels.push({ ...base, kind: 'alerts', severity, events: pack })
      pack = []
    }
    for (const event of events.filter((one) => one.severity === severity)) {
      // Control characters would take six bytes each, and mean nothing to a reader.
      const text = event.text
        .replaceAll(/[^\P{Cc}\n]+/gu, ' ')
        .slice(0, TEXT_CHARS_MAX)
        .toWellFormed()
      const short = { ...event, text }
      const bytes = Buffer.byteLength(JSON.stringify([...pack, short]))
      if (bytes > PAYLOAD_BYTES_MAX - REST_BYTES) close()
      pack.push(short)
    }
    close()
  }
  return parcels
}

/** "Mon 5 Jan 2026, 09:00 GMT". */
export const whenText = (wallMs: number, zone: string): string => instantText(wallMs, wallMs, zone).replace(/ \(.*/, '')

export function operatorLetter(parcel: AlertParcel, options: { instance: string; zone: string }): Letter {
  const { events, severity, wallMs } = parcel
  const names = [...new Set(events.map((one) => one.finding.replaceAll('_', ' ')))].join(', ')
  const over = events.every((one) => one.event === 'resolved') ? 'resolved' : severity
  const ended = (one: AlertEvent) => one.event === 'resolved'
  const lines = events.map((one) => `${one.event}: ${one.text}`)
  return {
    id: events[0]?.id ?? '',
    instance: options.instance,
    severity,
    subject: `hub watchdog, ${over}: ${names}`.slice(0, 200),
    text: `${whenText(wallMs, options.zone)}\n\n${lines.join('\n\n')}\n\nInstance ${options.instance}\n`,
    alerts: events.map((one) => ({
      name: one.finding,
      status: ended(one) ? 'resolved' : 'firing',
      severity: one.severity,
      text: one.text,
      startsAtMs: wallMs - one.forMs,
      endsAtMs: ended(one) ? wallMs : null,
      fingerprint: one.finding,
    })),
  }
}
