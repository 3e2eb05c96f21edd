/** Limits of one session: ceiling in code >= configuration >= card (docs/sandbox.md 5). A card can only lower them; zero is an error. */
import { HubError } from '../../base/errors.ts'
import { type AgentCard, LIMIT_KEYS, MEMORY_BYTES_MIN, type SessionLimits } from '../../protocol/agent.ts'

const NAMES = Object.keys(LIMIT_KEYS) as (keyof SessionLimits)[]
const WHOLE = (name: keyof SessionLimits): boolean => name !== 'cpus'

function refuse(name: keyof SessionLimits, value: unknown, words: string, most: number): HubError {
  const { key, written } = LIMIT_KEYS[name]
  const shown = typeof value === 'number' && Number.isFinite(value) && value > 0 ? written(value) : String(value)
  return new HubError('limit_exceeded', `limits.${key} is ${shown}; ${words}`, {
    facts: { key: `limits.${key}`, value, ceiling: most },
  })
}

/** Throws `limit_exceeded` with key, value and ceiling, unless every limit is finite, above zero and at most its ceiling (T96). */
export function assertLimits(limits: SessionLimits, ceilings: SessionLimits): void {
  for (const name of NAMES) {
    const value: unknown = limits[name]
    const most = ceilings[name]
    const ceiling = LIMIT_KEYS[name].written(most)
    if (
      typeof value !== 'number' ||
      !Number.isFinite(value) ||
      value <= 0 ||
      (WHOLE(name) && !Number.isSafeInteger(value))
    ) {
      const kind = WHOLE(name) ? 'a whole number' : 'a number'
      throw refuse(name, value, `it must be ${kind} above 0, at most ${ceiling}`, most)
    }
    if (value > most) throw refuse(name, value, `its ceiling is ${ceiling}`, most)
  }
  if (limits.memoryBytes < MEMORY_BYTES_MIN) {
    const least = LIMIT_KEYS.memoryBytes.written(MEMORY_BYTES_MIN)
    throw refuse('memoryBytes', limits.memoryBytes, `it must be at least ${least}`, ceilings.memoryBytes)
  }
}

/**
 * The limits of one agent's sessions: what is configured for it, lowered by its card. Throws `limit_exceeded` with both figures if a
 * configured value is above its ceiling, or if a card asks for more than is configured. Nothing is lowered without a word (S1-52).
 */
export function limitsFor(
  card: AgentCard['limits'],
  configured: SessionLimits,
  ceilings: SessionLimits,
  agent = 'NAME',
): SessionLimits {
  assertLimits(configured, ceilings)
  const limits = { ...configured }
  for (const name of NAMES) {
    const { key, written } = LIMIT_KEYS[name]
    const asked = card[key]
    if (asked === undefined) continue
    const [allowed, ceiling] = [configured[name], ceilings[name]]
    if (asked > ceiling) throw refuse(name, asked, `its ceiling is ${written(ceiling)}`, ceiling)
    if (asked > allowed) {
      const way = `hub.yaml allows ${written(allowed)}: ask for less, or raise limits.agents.${agent}.${key} there (its ceiling is ${written(ceiling)})`
      throw refuse(name, asked, way, allowed)
    }
    limits[name] = asked
  }
  assertLimits(limits, ceilings)
  return limits
}
