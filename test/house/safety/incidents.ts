/** Threats and incidents of the absent operator: T71-T76, T87-T98, T100, X1-X14. */
import type { Row } from './row.ts'

export const rows: readonly Row[] = []
