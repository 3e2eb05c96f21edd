/** 5. Ways to stop, and the drill. */
import type { Row } from './row.ts'

export const rows: readonly Row[] = []
