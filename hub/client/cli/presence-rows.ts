/** The rows of `hub status` about the operator's presence: when a heartbeat is due and what happens without it, in the operator's zone. Pure. */
import type { ModeView } from '../answers.ts'
import { type Cell, spanWords, whenText } from './text.ts'

/** What the watchdog says of it; an older one says less. */
export interface PresenceView {
  dueInMs: number
  safeInMs: number
  stopInMs: number
  paused: boolean
  zone?: string
  weakAgeMs?: number | null
  weakMostInMs?: number
  quiet?: boolean
  away?: { untilInMs: number; keepWorking: boolean; note: string } | null
  stopped?: boolean
}

type Row = [string, Cell]

function withoutIt(beat: PresenceView, at: (inMs: number) => string): Row {
  const safe = beat.safeInMs > 0 ? `nothing starts after ${at(beat.safeInMs)}` : 'nothing starts now'
  return ['', `without it ${safe}, all stops ${at(beat.stopInMs)}`]
}

function awayRows(away: NonNullable<PresenceView['away']>, beat: PresenceView, at: (inMs: number) => string): Row[] {
  const work = away.keepWorking ? 'agents go on working' : 'nothing new starts'
  const note = away.note === '' ? '' : ` (${away.note})`
  const until: Cell = { text: `until ${at(away.untilInMs)}: ${work}${note}`, style: 'yellow' }
  return [
    ['away', until],
    ['', `not back by ${at(beat.safeInMs)}: the contact hears, all stops ${at(beat.stopInMs)}`],
  ]
}

/** `hub` is asked where the watchdog does not answer. `nowMs`: the wall clock's now. */
export function presenceRows(beat: PresenceView | undefined, hub: ModeView | null, nowMs: number): Row[] {
  const at = (inMs: number) => whenText(nowMs + inMs, nowMs, beat?.zone)
  if (beat?.stopped)
    return [['heartbeat', { text: 'the unattended stop holds: `hub up`, then `hub heartbeat`', style: 'red' }]]
  if (beat?.paused) return [['heartbeat', 'paused: nothing of this hub runs']]
  if (beat?.away) return awayRows(beat.away, beat, at)
  const dueInMs = beat?.dueInMs ?? hub?.lease?.deadlineInMs
  if (dueInMs === undefined) return []
  const due: Cell = dueInMs < 0 ? { text: `was due ${at(dueInMs)}`, style: 'red' } : `due ${at(dueInMs)}`
  const rows: Row[] = [['heartbeat', due]]
  if (beat === undefined) return rows
  rows.push(withoutIt(beat, at))
  if (typeof beat.weakAgeMs === 'number' && beat.weakMostInMs !== undefined)
    rows.push([
      '',
      `a webhook spoke ${spanWords(beat.weakAgeMs)} ago; alone it carries until ${at(beat.weakMostInMs)} at most`,
    ])
  if (beat.quiet) rows.push(['', 'quiet hours: reminders wait for their end'])
  return rows
}
