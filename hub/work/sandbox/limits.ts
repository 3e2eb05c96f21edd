/** Limits of one session: ceiling in code >= configuration >= card (sandbox.md section 5). A card only lowers, zero is an error. */
import { HubError } from '../../base/errors.ts'
import type { AgentCard, SessionLimits } from '../../protocol/agent.ts'

/** Each limit: its key in a card, and whether it must be whole. */
const ROWS = {
  ttlMs: { key: 'ttl', whole: true },
  memoryBytes: { key: 'memory', whole: true },
  cpus: { key: 'cpus', whole: false },
  pids: { key: 'pids', whole: true },
  tmpBytes: { key: 'tmp', whole: true },
  workspaceBytes: { key: 'workspace', whole: true },
  openFiles: { key: 'openFiles', whole: true },
} as const satisfies Record<keyof SessionLimits, { key: keyof AgentCard['limits']; whole: boolean }>

const NAMES = Object.keys(ROWS) as (keyof SessionLimits)[]

/** Below 24 MiB the shim does not get as far as its join (measured): it lives, hangs, and says nothing. */
const MEMORY_BYTES_MIN = 32 * 1024 ** 2

function refuse(key: string, value: unknown, ceiling: number, what: string): HubError {
  return new HubError('limit_exceeded', `limits.${key} is ${String(value)}: ${what} ${ceiling}`, {
    facts: { key: `limits.${key}`, value, ceiling },
  })
}

/** Throws `limit_exceeded`, naming key, value and ceiling, unless every limit is finite, above zero and below its ceiling (T96). */
export function assertLimits(limits: SessionLimits, ceilings: SessionLimits): void {
  for (const name of NAMES) {
    const value: unknown = limits[name]
    const { key, whole } = ROWS[name]
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0 || (whole && !Number.isSafeInteger(value))) {
      throw refuse(key, value, ceilings[name], `it must be ${whole ? 'a whole number' : 'a number'} above 0, at most`)
    }
    if (value > ceilings[name]) throw refuse(key, value, ceilings[name], 'its ceiling is')
  }
  if (limits.memoryBytes < MEMORY_BYTES_MIN) {
    throw refuse('memory', limits.memoryBytes, ceilings.memoryBytes, `it must be at least ${MEMORY_BYTES_MIN}, at most`)
  }
}

/**
 * The limits one agent's sessions get: what is configured for it, lowered by its card.
 * Throws `limit_exceeded` for a configured value above its ceiling or a card value above the ceiling; a card that asks
 * for more than is configured gets what is configured.
 */
export function limitsFor(
  card: AgentCard['limits'],
  configured: SessionLimits,
  ceilings: SessionLimits,
): SessionLimits {
  assertLimits(configured, ceilings)
  const limits = { ...configured }
  for (const name of NAMES) {
    const asked = card[ROWS[name].key]
    if (asked === undefined) continue
    if (asked > ceilings[name]) throw refuse(ROWS[name].key, asked, ceilings[name], 'its ceiling is')
    limits[name] = Math.min(configured[name], asked)
  }
  assertLimits(limits, ceilings)
  return limits
}
