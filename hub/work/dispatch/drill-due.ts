/** When a drill is due: monthly with the operator, quarterly with the contact (safety.md section 5). Pure. */
import type { DrillState } from './drill.ts'

const DAY_MS = 86_400_000
export const DRILL_DAYS = 31
export const CONTACT_DRILL_DAYS = 92

export interface DrillDue {
  /** Whole days since the last good one, or since there is a hub to drill; null: there was none yet. */
  days: number | null
  contactDays: number | null
  overdue: boolean
  contactOverdue: boolean
}

/** @param contactSinceMs since when there is a contact to drill with; null without one, and then none is due with them */
export function judgeDrill(state: DrillState, wallMs: number, contactSinceMs: number | null): DrillDue {
  const days = (atMs: number | null) => (atMs === null ? null : Math.max(0, Math.floor((wallMs - atMs) / DAY_MS)))
  const isOver = (atMs: number | null, most: number) => (days(atMs ?? state.sinceMs) ?? 0) > most
  const theirs = contactSinceMs === null ? null : (state.contactAtMs ?? Math.max(contactSinceMs, state.sinceMs))
  return {
    days: days(state.goodAtMs),
    contactDays: days(state.contactAtMs),
    overdue: isOver(state.goodAtMs, DRILL_DAYS),
    contactOverdue: theirs !== null && isOver(theirs, CONTACT_DRILL_DAYS),
  }
}
