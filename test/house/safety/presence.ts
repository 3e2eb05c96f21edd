/** 2. Presence: the lease, strong and weak heartbeats. */
import type { Row } from './row.ts'

export const rows: readonly Row[] = []
