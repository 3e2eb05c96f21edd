/** 8. Audit and its witness. */
import type { Row } from './row.ts'

export const rows: readonly Row[] = []
