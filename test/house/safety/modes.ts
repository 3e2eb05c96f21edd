/** 1. Modes: conditions, what each mode lets through. */
import type { Row } from './row.ts'

export const rows: readonly Row[] = []
