/**
 * Puts into the state what an interrupted telling has already told. Otherwise a cause that is gone by the next round would never be
 * resolved. Such a telling is in the outbox and the alert file, under a number that the state does not know yet. Pure.
 */

import type { NoticesTold, State } from '../judge/state.ts'
import type { Notice } from './notices/plan.ts'
import type { AlertEvent } from './plan.ts'

/** Of a notice, what the alert file and the outbox keep of it. */
export interface ToldNotice {
  readonly id: string
  readonly kind: string
  readonly step: string
}
export type ToldEvent = Pick<AlertEvent, 'id' | 'event' | 'finding' | 'level'>

const numberOf = (id: string): number => {
  // Plain digits: the form of earlier versions.
  const [, digits, packed] = /^(?:(\d+)|w([0-9a-z]{1,11}))-/.exec(id) ?? []
  return digits !== undefined ? Number(digits) : Number.parseInt(packed ?? '', 36)
}

/** Whether an id belongs to a telling that the state has not counted: interrupted, or told while the state could not be written. */
export const isCutOff = (id: string, { told }: Pick<State, 'told'>): boolean => numberOf(id) >= told

function withNotice(known: NoticesTold, { kind, step }: ToldNotice, state: State): NoticesTold {
  if (kind === 'all_clear') return { ...known, open: false }
  if (kind === 'checked_in') return { ...known, checkedIn: true }
  const steps = { ...known.steps, [step]: state.lineMs }
  if (kind === 'away' || kind === 'paused') return { ...known, steps }
  const { nowMs, strongAtMs } = state.presence
  return { steps, open: true, toldAtMs: nowMs, strongAtMs, checkedIn: false }
}

const inOrder = <T extends { readonly id: string }>(told: readonly T[], state: State): T[] =>
  told.filter(({ id }) => isCutOff(id, state)).sort((a, b) => numberOf(a.id) - numberOf(b.id))

/** The state as if it had been written after them; unchanged if there was none. Doing it twice changes nothing. */
export function planRecovered(state: State, events: readonly ToldEvent[], notices: readonly ToldNotice[]): State {
  const told = inOrder(events, state)
  const said = inOrder(notices, state)
  const last = Math.max(state.told - 1, ...[...told, ...said].map(({ id }) => numberOf(id)))
  const alerts = { ...state.alerts }
  for (const { finding, event, level } of told) {
    if (event === 'resolved') delete alerts[finding]
    else alerts[finding] = { level, sinceMs: alerts[finding]?.sinceMs ?? state.lineMs }
  }
  const contactTold = said.reduce((known, one) => withNotice(known, one, state), state.contactTold)
  return { ...state, alerts, contactTold, told: last + 1 }
}

const EVENTS: readonly unknown[] = ['raised', 'louder', 'resolved']
type Line = Readonly<Record<string, unknown>> & { readonly id: string }

/** Whether a line of the alert file is an event. */
export const isToldEvent = (line: Line): line is Line & ToldEvent =>
  EVENTS.includes(line.event) && typeof line.finding === 'string' && typeof line.level === 'number'

/** What a line of the alert file says about a notice to the contact. */
export const toldNotice = ({ id, event, finding, step }: Line): ToldNotice | null =>
  event === 'contact' && typeof finding === 'string' && typeof step === 'string' ? { id, kind: finding, step } : null

/** What the outbox holds of tellings the state has not counted, by their number and each once. */
export function cutOff(
  events: readonly AlertEvent[],
  notices: readonly { readonly id: string; readonly notice: Notice }[],
  state: State,
): Map<number, { events: AlertEvent[]; notices: Notice[] }> {
  const parts = new Map<number, { events: AlertEvent[]; notices: Notice[] }>()
  const of = (id: string) => {
    const found = parts.get(numberOf(id)) ?? { events: [], notices: [] }
    parts.set(numberOf(id), found)
    return found
  }
  const once = <T extends { readonly id: string }>(list: readonly T[]): T[] => [
    ...new Map(inOrder(list, state).map((one) => [one.id, one])).values(),
  ]
  for (const event of once(events)) of(event.id).events.push(event)
  for (const { id, notice } of once(notices)) of(id).notices.push(notice)
  return parts
}
