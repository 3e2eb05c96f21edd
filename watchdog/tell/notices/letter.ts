/** A message to the backup contact, put into words when it is sent (docs/safety.md 6). Pure. */

import type { Contact, Operator } from '../../config/people.ts'
import type { Letter } from '../channels/letter.ts'
import type { Parcel } from '../delivery.ts'
import { english } from './english.ts'
import { german } from './german.ts'
import type { Notice } from './plan.ts'
import type { Words } from './words.ts'

export interface NoticeParcel extends Parcel {
  readonly kind: 'notice'
  readonly id: string
  readonly notice: Notice
  /** The first message to this channel about the matter: if it is taken back unsent, the channel needs no all-clear. */
  readonly first: boolean
}

const WORDS: Readonly<Record<Contact['language'], Words>> = { en: english, de: german }
/** Only for the contact to know. */
const NOTES = new Set<Notice['kind']>(['away', 'paused'])
const ENDS = new Set<Notice['kind']>(['all_clear', 'checked_in'])

/** "Monday 23 November 2026, 10:00 CET (in 24 h)". */
function instantOf(wallMs: number, nowMs: number, zone: string, words: Words): string {
  const format = new Intl.DateTimeFormat(words.locale, {
    weekday: 'long',
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short',
    ...(zone === '' ? {} : { timeZone: zone }),
  })
  return `${format.format(wallMs)} (${words.distance(wallMs - nowMs)})`
}

/** `nowMs`: the wall clock now, not when it was raised. */
export function noticeLetter(
  { id, notice, severity, wallMs }: Pick<NoticeParcel, 'id' | 'notice' | 'severity' | 'wallMs'>,
  options: { instance: string; contact: Contact; operator: Operator },
  nowMs: number,
): Letter {
  const { contact, operator } = options
  const words = WORDS[contact.language]
  const at = (instantMs: number | null) =>
    instantMs === null ? null : instantOf(instantMs, nowMs, contact.zone, words)
  const people = {
    contact: contact.name,
    operator: operator.name === '' ? words.someone : operator.name,
    phone: operator.phone,
    lastResort: contact.lastResort,
  }
  const told = {
    lastSeen: at(notice.lastSeenAtMs),
    next: at(notice.nextAtMs),
    note: notice.note,
    unconfirmed: notice.unconfirmed,
  }
  const { subject, paragraphs } = words[notice.kind](people, told)
  const text = `${paragraphs.join('\n\n')}\n`
  const over = ENDS.has(notice.kind)
  return {
    id,
    instance: options.instance,
    severity: over || NOTES.has(notice.kind) ? 'info' : severity,
    subject,
    text,
    alerts: [
      {
        name: `contact_${notice.kind}`,
        status: over ? 'resolved' : 'firing',
        severity,
        text,
        startsAtMs: wallMs,
        endsAtMs: over ? nowMs : null,
        fingerprint: notice.step,
      },
    ],
  }
}
