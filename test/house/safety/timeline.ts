/** 3. The timeline: reminders, safe mode, stop, waking, absence, backlog. */
import type { Row } from './row.ts'

export const rows: readonly Row[] = []
