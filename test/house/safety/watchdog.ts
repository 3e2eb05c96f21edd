/** 4. The watchdog: its checks. */
import type { Row } from './row.ts'

export const rows: readonly Row[] = []
